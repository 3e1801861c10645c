//! The server's side of TLS: built once from checked parts, and replaced as a whole.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::server::NoServerSessionStorage;
use rustls::time_provider::TimeProvider;
use rustls::{Error, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use super::leaf::Leaf;
use super::lists::LISTS_MAX;
use super::{IdentityError, RevocationList, SpiffeVerifier, TrustAnchor};
use crate::model::{Clock, SpiffeId, Timestamp};

/// The server's certificate, its key, and whom it lets in. To change any of it, build another and [`replace`](super::LiveTls::replace) it.
pub struct ServerTls {
    pub(super) config: Arc<ServerConfig>,
    pub(super) verifier: Arc<SpiffeVerifier>,
    pub(super) clock: Arc<dyn Clock>,
    id: SpiffeId,
    not_after: Timestamp,
    lists: Vec<RevocationList>,
}

impl ServerTls {
    /// From the server's own chain (leaf first) and key, and the anchors of whoever may connect. `clock` decides what has
    /// expired.
    ///
    /// # Errors
    /// A leaf without exactly one SPIFFE ID (clients pin it), not for server authentication, expired, or not the key's; and
    /// whatever [`SpiffeVerifier::new`] finds in the anchors.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        anchors: Vec<TrustAnchor>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, IdentityError> {
        let own = chain.first().ok_or(IdentityError::ServerCertificate("there is none"))?;
        let own = Leaf::parse(own).map_err(|refusal| IdentityError::ServerCertificate(refusal.why()))?;
        if !own.for_servers {
            return Err(IdentityError::ServerCertificate("it needs keyUsage digitalSignature and extendedKeyUsage serverAuth"));
        }
        if own.not_after <= clock.now() {
            return Err(IdentityError::ServerCertificate("it has expired: issue a new one"));
        }
        let lists: Vec<_> = anchors.iter().flat_map(|anchor| anchor.lists.clone()).collect();
        if lists.len() > LISTS_MAX {
            return Err(IdentityError::TooManyLists(lists.len()));
        }
        let provider = Arc::new(provider());
        let verifier = Arc::new(SpiffeVerifier::new(anchors, &provider)?);
        let config = Arc::new(configure(chain, key, provider, &verifier, &clock)?);
        Ok(Self { config, verifier, clock, id: own.id, not_after: own.not_after, lists })
    }

    /// The server's own SPIFFE ID, which its clients pin.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The end of the server's own certificate: to be replaced before.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The revocation lists that it goes by.
    #[must_use]
    pub fn lists(&self) -> &[RevocationList] {
        &self.lists
    }
}

fn configure(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: Arc<CryptoProvider>,
    verifier: &Arc<SpiffeVerifier>,
    clock: &Arc<dyn Clock>,
) -> Result<ServerConfig, IdentityError> {
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(VaultTime(Arc::clone(clock))))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has TLS 1.3 suites and groups")
        .with_client_cert_verifier(Arc::<SpiffeVerifier>::clone(verifier))
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            Error::InconsistentKeys(_) => IdentityError::ServerCertificate("the private key belongs to another certificate"),
            _ => IdentityError::ServerCertificate("the private key is of a kind that cannot be used"),
        })?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session takes over the identity of the first and is not looked up in the revocation list again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    // Early data can be replayed.
    config.max_early_data_size = 0;
    Ok(config)
}

/// X25519MLKEM768 first (draft-ietf-tls-ecdhe-mlkem): what is recorded today must not be readable later. rustls goes by
/// the client's order, so a client that asks for X25519 first gets it, and `Peer::post_quantum` tells.
fn provider() -> CryptoProvider {
    let kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1];
    CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() }
}

pub(super) fn unix_time(clock: &dyn Clock) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(clock.now().unix_ms()))
}

/// The vault's clock for rustls, so that setting the machine's back revives no certificate.
struct VaultTime(Arc<dyn Clock>);

impl TimeProvider for VaultTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(&*self.0))
    }
}

impl fmt::Debug for VaultTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VaultTime")
    }
}
