//! The client: what a backend in Rust depends on, and all that the command line stands on.
//!
//! | file | holds |
//! |---|---|
//! | `options`, `profile` | where the vault is and who the caller is: from code, or from a TOML file |
//! | `tls` | mutual TLS 1.3; the server must prove to be the SPIFFE ID that the caller expects |
//! | `call` | the one way of every call: request id, deadline, attempts, errors |
//! | `retry` | when and after how long a call is sent again (pure), and randomness |
//! | `error` | [`ClientError`]: what is wrong and what to do next |
//! | `secrets`, `batch`, `watch`, `namespaces`, `access`, `keys`, `rewraps`, `retirement`, `proposals`, `ceremonies`, `seal`, `audit`, `backups` | one typed method for each RPC, and their words |
//! | `page` | [`Page`], [`Listed`], [`collect`]: lists in pages |
//! | `secret_requests` | what can be asked about secrets, built up word by word |
//! | `convert`, `secret_wire`, `access_wire` | between the wire's types and the typed ones |
//!
//! # Example
//!
//! Store a merchant's WePay access token, and read it back:
//!
//! ```no_run
//! # async fn example(token: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
//! use strongroom::client::{Client, ClientOptions, Credentials, NewSecret, Reveal};
//! use strongroom::model::{SecretBytes, SecretName};
//!
//! let credentials = Credentials { ca: "ca.pem".into(), certificate: "backend.pem".into(), key: "backend.key".into() };
//! let server = "spiffe://shop.example/strongroom".parse()?;
//! let client = Client::connect(ClientOptions::new("vault.internal:7443", server, credentials)).await?;
//!
//! let name: SecretName = "wepay-prod/merchants/12345".parse()?;
//! let token = NewSecret::access_token(&name, SecretBytes::new(token), "wepay", "12345").token_type("BEARER");
//! client.create_secret(token).await?;
//!
//! let revealed = client.reveal_secret(Reveal::latest(&name).reason("charge for order 4711")).await?;
//! println!("version {}, {} bytes", revealed.version, revealed.value.expose().len());
//! # Ok(())
//! # }
//! ```
//!
//! # What every call does
//!
//! It has a deadline (10 s unless [`ClientOptions::deadline`] says otherwise) for all its attempts together, which the
//! server is told. While the server is unavailable it is sent again, after a jittered and growing pause, but only
//! where that is safe: reads, and changes that carry a request id. A change without one is given a random one, and the
//! same id is sent on each attempt. Values go in and come out as [`SecretBytes`](crate::model::SecretBytes); requests that hold one are never
//! copied for another attempt, and are wiped after the last.

mod access;
mod access_wire;
mod audit;
mod backups;
mod batch;
mod call;
mod ceremonies;
mod convert;
mod error;
mod keys;
mod namespaces;
mod options;
mod page;
mod profile;
mod proposals;
mod retirement;
mod retry;
mod rewraps;
mod seal;
mod secret_requests;
mod secret_wire;
mod secrets;
pub mod tls;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tonic::transport::Channel;

use tls::{ClientFiles, ClientTls, ConnectError, ExpectedServer, Timeouts};

pub use crate::api::Method;
pub use access::{BindingFilter, BindingInfo, BindingScope, Grant, NewBinding, NewRole, RoleInfo};
pub use audit::{AuditEntry, AuditFilter};
pub use backups::{BackupInfo, BackupStream, BackupSummary, RecoveryRecipientInfo};
pub use batch::RevealBatch;
pub use ceremonies::{CarriedOut, NewShare, Presented, SlotAnswer, SlotInfo, SlotKind, SlotSecret};
pub use error::{ClientError, FieldProblem, Refusal};
pub use keys::{KeyInfo, KeyState};
pub use namespaces::{NamespaceInfo, NamespaceLimits, NewNamespace};
pub use options::{ClientOptions, Credentials};
pub use page::{Listed, Page, collect};
pub use profile::Profile;
pub use proposals::{ProposalInfo, ProposalState, ProposedChange, VoteInfo};
pub use rewraps::{RewrapInfo, RewrapOrder, RewrapState, RewrapWatch};
pub use seal::{ConditionInfo, QuorumProgress, SealState, StatusInfo, Unsealing};
pub use secret_requests::{Expiry, MetadataUpdate, NewSecret, Reveal, SecretUpdate, StateChange};
pub use secrets::{AccessToken, Revealed, SecretInfo, SecretState, Stored, VersionInfo};
pub use watch::{ChangeKind, SecretChange, SecretWatch, Watch};

/// A connection to the vault. Cheap to clone; clones share the connection, which is made again when it breaks.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    address: Arc<str>,
    deadline: Duration,
    retries: u32,
    pins_server_key: bool,
}

impl Client {
    /// Reads the certificate files and connects. The address is tried once: a caller that starts before the vault
    /// does should try again while the error is [`ClientError::Unreachable`].
    ///
    /// # Errors
    /// [`ClientError::Invalid`] for an address that is not `host:port` or a deadline of zero, [`ClientError::Tls`] for
    /// certificate files that cannot be used or a server that is not the one expected, [`ClientError::Unreachable`].
    pub async fn connect(options: ClientOptions) -> Result<Self, ClientError> {
        options.check()?;
        let ClientOptions { address, server_id, server_public_keys, credentials, deadline, retries } = options;
        let failed = |error: ConnectError| ClientError::of_connect(&address, &error);
        let files = ClientFiles { roots: credentials.ca, certificate: credentials.certificate, key: credentials.key };
        let pins_server_key = server_public_keys.is_some();
        let server = ExpectedServer::with_keys_of(server_id, server_public_keys.as_deref()).map_err(failed)?;
        let tls = ClientTls::from_files(&files, server).map_err(failed)?;
        let timeouts = Timeouts { connect: deadline.min(Timeouts::default().connect), ..Timeouts::default() };
        let channel = tls::connect(&address, &tls, timeouts).await.map_err(failed)?;
        Ok(Self { channel, address: address.into(), deadline, retries, pins_server_key })
    }

    /// The same connection with another deadline for its calls.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { deadline, ..self.clone() }
    }

    /// Whether it speaks to nobody but the holder of a key that its options pin, and not just to the holder of the server's id.
    #[must_use]
    pub const fn pins_server_key(&self) -> bool {
        self.pins_server_key
    }

    /// Where it is connected to: `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("address", &self.address).field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
