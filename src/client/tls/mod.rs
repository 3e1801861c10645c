//! The client's side of mutual TLS: TLS 1.3 alone, and a server that is who it should be.
//!
//! A server is identified by the one SPIFFE ID of its certificate (SPIFFE X.509-SVID), which the client pins, and not by
//! a host name: whoever controls DNS or an address gains nothing, and a server may be reached under any name. The host of
//! an address only says where to connect.
//!
//! The handshakes themselves are tested from the other side, in `identity/tests/`: a client cannot import a server.

mod connect;
mod files;
mod verifier;

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub use connect::{Timeouts, connect, connect_lazy};
pub use files::ClientFiles;
pub use verifier::{ExpectedServer, WrongServer};

use crate::model::SpiffeId;
use files::Material;
use verifier::PinnedServer;

/// A client's certificate and key, the CAs it trusts and the server that it expects. Clones share what they hold.
#[derive(Clone)]
pub struct ClientTls {
    current: Arc<ArcSwap<ClientConfig>>,
    server: ExpectedServer,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A file can be read, and is not what it should be.
    #[error("{}: {why}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// Certificate, key and roots make no TLS configuration.
    #[error("{0}")]
    Material(&'static str),
    /// The address is not `host:port`.
    #[error("an address is host:port, e.g. strongroom.example:8443 or [2001:db8::1]:8443")]
    Address,
    /// The server's chain is good, and its name is another one.
    #[error(transparent)]
    WrongServer(#[from] WrongServer),
    /// No TCP connection, no TLS session, or the server turned this client away.
    #[error("no connection to {address}")]
    Transport {
        /// `host:port` as it was given.
        address: String,
        /// What went wrong.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl ClientTls {
    /// From the CAs that may have issued the server's certificate, the client's chain (leaf first), its key, and the one
    /// SPIFFE ID that the server must prove; with [`ExpectedServer`], one of some keys, too.
    ///
    /// # Errors
    /// No or unreadable roots, an empty chain, or a key that is not the certificate's.
    pub fn new(
        roots: Vec<CertificateDer<'static>>,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        server: impl Into<ExpectedServer>,
    ) -> Result<Self, ConnectError> {
        let server = server.into();
        let config = configure(roots, chain, key, &server)?;
        Ok(Self { current: Arc::new(ArcSwap::from_pointee(config)), server })
    }

    /// The same from PEM files.
    ///
    /// # Errors
    /// As [`ClientTls::new`]; and a file that cannot be read or holds something else, or a key that others may read.
    pub fn from_files(files: &ClientFiles, server: impl Into<ExpectedServer>) -> Result<Self, ConnectError> {
        let Material { roots, chain, key } = files.load()?;
        Self::new(roots, chain, key, server)
    }

    /// Reads the files again, for certificates that are renewed while the client runs. Connections made from now on use
    /// them, those of clones and of channels that exist included; the pinned ID stays.
    ///
    /// # Errors
    /// As [`ClientTls::from_files`]; then what was there stays in use.
    pub fn reload(&self, files: &ClientFiles) -> Result<(), ConnectError> {
        let Material { roots, chain, key } = files.load()?;
        self.current.store(Arc::new(configure(roots, chain, key, &self.server)?));
        Ok(())
    }

    /// The server that is expected.
    #[must_use]
    pub fn server_id(&self) -> &SpiffeId {
        self.server.id()
    }

    /// The rustls configuration in use, for clients that bring their own HTTP/2.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        self.current.load_full()
    }
}

fn configure(
    roots: Vec<CertificateDer<'static>>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    server: &ExpectedServer,
) -> Result<ClientConfig, ConnectError> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root).map_err(|_| ConnectError::Material("a CA certificate cannot be read"))?;
    }
    if store.is_empty() {
        return Err(ConnectError::Material("no CA certificate"));
    }
    let kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1];
    let provider = Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() });
    let algorithms = provider.signature_verification_algorithms;
    let verifier = PinnedServer { roots: store, expected: server.clone(), algorithms };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has TLS 1.3 suites and groups")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain, key)
        .map_err(|_| ConnectError::Material("the private key does not belong to the certificate, or cannot be used"))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}
