//! The verifier of servers: a good chain, and the pinned SPIFFE ID.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::ConnectError;
use super::files::load_public_keys;
use crate::model::SpiffeId;

/// Who the server must be: the holder of an id, and perhaps of one of some keys.
#[derive(Debug, Clone)]
pub struct ExpectedServer {
    id: SpiffeId,
    /// None: any key that its CA has certified.
    keys: Option<Vec<SubjectPublicKeyInfoDer<'static>>>,
}

impl ExpectedServer {
    /// With the public keys of a PEM file, if there is one.
    ///
    /// # Errors
    /// It cannot be read, or holds none.
    pub fn with_keys_of(id: SpiffeId, file: Option<&Path>) -> Result<Self, ConnectError> {
        Ok(Self { id, keys: file.map(load_public_keys).transpose()? })
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> &SpiffeId {
        &self.id
    }

    fn has_key(&self, certificate: &CertificateDer<'_>) -> bool {
        let Some(keys) = &self.keys else { return true };
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
        keys.iter().any(|key| key.as_ref() == certificate.public_key().raw)
    }
}

impl From<SpiffeId> for ExpectedServer {
    fn from(id: SpiffeId) -> Self {
        Self { id, keys: None }
    }
}

/// A server proved to be another one than the client expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongServer {
    /// The ID that the client pins.
    pub expected: SpiffeId,
    /// The ID that the server proved, if its certificate has exactly one.
    pub shown: Option<SpiffeId>,
}

/// Verifies a server's chain against the roots, and pins its SPIFFE ID.
#[derive(Debug)]
pub(super) struct PinnedServer {
    pub(super) roots: RootCertStore,
    pub(super) expected: ExpectedServer,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for PinnedServer {
    /// The name of the host is not looked at. The chain comes first, so that an error shows only an ID that was proved.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _host: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, self.algorithms.all)?;
        let shown = spiffe_id(end_entity);
        if shown.as_ref() == Some(&self.expected.id) && self.expected.has_key(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        let wrong = WrongServer { expected: self.expected.id.clone(), shown };
        Err(CertificateError::Other(OtherError(Arc::new(wrong))).into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The SPIFFE ID of a certificate that has exactly one URI, and that one canonical.
fn spiffe_id(certificate: &CertificateDer<'_>) -> Option<SpiffeId> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let uri = uris.next()?;
    if uris.next().is_some() { None } else { uri.parse().ok() }
}

impl WrongServer {
    /// Looks for one among an error and its sources: of a `tonic::Status`, for instance.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(wrong) = error.downcast_ref() {
                return Some(wrong);
            }
            next = error.source();
        }
        None
    }
}

impl fmt::Display for WrongServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shown {
            Some(shown) if *shown == self.expected => {
                write!(f, "wrong server: it proved to be {shown}, but with a key that is not among those that the client pins")
            }
            Some(shown) => write!(f, "wrong server: expected {}, shown {shown}", self.expected),
            None => write!(f, "wrong server: expected {}, shown a certificate without exactly one SPIFFE ID", self.expected),
        }
    }
}

impl Error for WrongServer {}
