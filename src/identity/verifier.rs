//! The verifier of clients: one SPIFFE ID, under the anchor of its own trust domain.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::leaf::Leaf;
use super::{IdentityError, Refusal, Revocation, TrustAnchor};
use crate::model::{Class, Principal, TrustDomain};

/// Decides on a client's chain. A chain counts only under the anchor of the trust domain that its leaf names, so a CA
/// can speak for its own domain alone, and the class that the anchor confers cannot be had from another CA.
#[derive(Debug)]
pub struct SpiffeVerifier {
    anchors: HashMap<TrustDomain, Anchor>,
    algorithms: WebPkiSupportedAlgorithms,
    schemes: Vec<SignatureScheme>,
}

#[derive(Debug)]
struct Anchor {
    class: Class,
    chains: Arc<dyn ClientCertVerifier>,
    /// A client may leave these out of its chain.
    intermediates: Vec<CertificateDer<'static>>,
    max_lifetime: Option<Duration>,
}

impl SpiffeVerifier {
    /// Over checked anchors, with the signature algorithms of `provider`.
    ///
    /// # Errors
    /// No anchor, two of one trust domain, or one whose certificates or lists the TLS library cannot read.
    pub fn new(anchors: Vec<TrustAnchor>, provider: &Arc<CryptoProvider>) -> Result<Self, IdentityError> {
        if anchors.is_empty() {
            return Err(IdentityError::NoAnchor);
        }
        let mut built = HashMap::with_capacity(anchors.len());
        for anchor in anchors {
            let domain = anchor.domain.clone();
            if built.insert(domain.clone(), Anchor::build(anchor, provider)?).is_some() {
                return Err(IdentityError::TwoAnchors(domain));
            }
        }
        let algorithms = provider.signature_verification_algorithms;
        let schemes = algorithms.supported_schemes().into_iter().filter(|&scheme| signs_tls13(scheme)).collect();
        Ok(Self { anchors: built, algorithms, schemes })
    }

    /// Who a chain proves its holder to be, at `now`. `intermediates` is whatever the client sent beside its leaf.
    ///
    /// # Errors
    /// Why it proves nothing.
    pub fn principal(&self, leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>], now: UnixTime) -> Result<Principal, Refusal> {
        let (leaf, class) = self.verify(leaf, intermediates, now)?;
        Ok(Principal { id: leaf.id, class })
    }

    pub(super) fn class_of(&self, domain: &TrustDomain) -> Option<Class> {
        self.anchors.get(domain).map(|anchor| anchor.class)
    }

    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(Leaf, Class), Refusal> {
        let said = Leaf::parse(leaf)?;
        let anchor = self.anchors.get(&said.id.trust_domain()).ok_or(Refusal::UnknownDomain)?;
        if !said.for_clients {
            return Err(Refusal::WrongUse);
        }
        if anchor.max_lifetime.is_some_and(|longest| said.not_after.since(said.not_before) > longest) {
            return Err(Refusal::TooLongLived);
        }
        let between: Vec<_> = intermediates.iter().chain(&anchor.intermediates).map(|ca| CertificateDer::from(&**ca)).collect();
        anchor.chains.verify_client_cert(leaf, &between, now).map_err(|error| Refusal::from(&error))?;
        Ok((said, anchor.class))
    }
}

impl Anchor {
    fn build(anchor: TrustAnchor, provider: &Arc<CryptoProvider>) -> Result<Self, IdentityError> {
        let TrustAnchor { domain, class, roots, intermediates, revocation, .. } = anchor;
        let refused = |why| IdentityError::Anchor { domain: domain.clone(), why };
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root).map_err(|_| refused("a CA certificate cannot be read"))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider));
        let (builder, max_lifetime) = match revocation {
            // The builder's defaults stand behind this: the whole chain is checked, and an unknown status is refused.
            Revocation::Crls(lists) => (builder.with_crls(lists).enforce_revocation_expiration(), None),
            Revocation::NoneByConfiguration => (builder, None),
            Revocation::ShortLived { max_lifetime } => (builder, Some(max_lifetime)),
        };
        let chains = builder.build().map_err(|_| refused("a revocation list is of a kind that cannot be used"))?;
        Ok(Self { class, chains, intermediates, max_lifetime })
    }
}

impl ClientCertVerifier for SpiffeVerifier {
    /// None: the names of the CAs are nobody's business before he has shown a certificate.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// Schemes that may sign a TLS 1.3 handshake: RFC 8446, section 4.2.3, leaves out PKCS#1 v1.5 and SHA-1.
fn signs_tls13(scheme: SignatureScheme) -> bool {
    use SignatureScheme as Scheme;
    !matches!(
        scheme,
        Scheme::RSA_PKCS1_SHA1 | Scheme::RSA_PKCS1_SHA256 | Scheme::RSA_PKCS1_SHA384 | Scheme::RSA_PKCS1_SHA512 | Scheme::ECDSA_SHA1_Legacy
    )
}
