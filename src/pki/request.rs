//! Requests for a certificate (PKCS #10, RFC 2986), so that a key never leaves the machine on which it is used.

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData, SubjectPublicKeyInfo};
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509CertificationRequest};

use super::PkiError;

/// The public key of a request whose sender has the private one. Names and extensions that it asks for are not read: who
/// somebody is, the authority says.
pub struct CertificateRequest(SubjectPublicKeyInfo);

impl CertificateRequest {
    /// Out of PEM (`BEGIN CERTIFICATE REQUEST`).
    ///
    /// # Errors
    /// Not a request, not signed with its own key, or a key that is neither ECDSA on P-256 or P-384 nor Ed25519.
    pub fn from_pem(text: &str) -> Result<Self, PkiError> {
        let der = CertificateSigningRequestDer::from_pem_slice(text.as_bytes())
            .map_err(|_| PkiError::Request("it is not PEM (BEGIN CERTIFICATE REQUEST)"))?;
        Self::from_der(&der)
    }

    fn from_der(der: &[u8]) -> Result<Self, PkiError> {
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| PkiError::Request("it cannot be read"))?;
        if !rest.is_empty() {
            return Err(PkiError::Request("something follows it"));
        }
        const KIND: PkiError = PkiError::Request("its key must be ECDSA on P-256 or P-384, or Ed25519");
        let key = SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw).map_err(|_| KIND)?;
        // The length goes with the algorithm, so that a key of one kind cannot be named as another.
        let kinds = [(&PKCS_ECDSA_P256_SHA256, 65), (&PKCS_ECDSA_P384_SHA384, 97), (&PKCS_ED25519, 32)];
        if !kinds.into_iter().any(|(algorithm, bytes)| key.algorithm() == algorithm && key.der_bytes().len() == bytes) {
            return Err(KIND);
        }
        request.verify_signature().map_err(|_| PkiError::Request("it is not signed with the key that it holds"))?;
        Ok(Self(key))
    }

    pub(super) fn public_key(&self) -> &SubjectPublicKeyInfo {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, PKCS_ECDSA_P521_SHA512, PKCS_RSA_SHA256, SanType};
    use x509_parser::prelude::X509Certificate;

    use super::*;
    use crate::model::{Clock, SystemClock};
    use crate::pki::{Authority, Usage};

    fn request(key: &KeyPair) -> String {
        let mut wishes = CertificateParams::default();
        wishes.subject_alt_names = vec![SanType::URI("spiffe://shop.example/strongroom".try_into().expect("ASCII"))];
        wishes.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wishes.serialize_request(key).expect("made").pem().expect("PEM")
    }

    fn why(refused: Result<CertificateRequest, PkiError>) -> &'static str {
        match refused {
            Err(PkiError::Request(why)) => why,
            other => panic!("{:?}", other.map(|_| "accepted")),
        }
    }

    #[test]
    fn only_the_key_of_a_request_counts() {
        let now = SystemClock.now();
        let authority = Authority::create("Shop workloads", "shop.example".parse().expect("valid"), now).expect("created");
        let profile = authority
            .profile(&"spiffe://shop.example/backend".parse().expect("valid"), Usage::Client, now, Duration::from_secs(60))
            .expect("possible");
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
            let key = KeyPair::generate_for(algorithm).expect("generated");
            let request = CertificateRequest::from_pem(&request(&key)).expect("accepted");
            let leaf = authority.issue_to(&request, &profile).expect("issued");
            let (_, leaf) = X509Certificate::from_der(&leaf.der).expect("a certificate");
            assert!(authority.has_signed(&leaf));
            assert_eq!(&*leaf.public_key().subject_public_key.data, key.der_bytes());
            let names = leaf.subject_alternative_name().expect("readable").expect("there").value.general_names.iter();
            assert_eq!(names.map(ToString::to_string).collect::<Vec<_>>(), ["URI(spiffe://shop.example/backend)"]);
            assert!(!leaf.is_ca());
        }
    }

    #[test]
    fn a_request_for_somebody_elses_key_is_refused() {
        let pem = request(&KeyPair::generate().expect("generated"));
        let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).expect("PEM");
        let other = KeyPair::generate().expect("generated");
        let mine = X509CertificationRequest::from_der(&der).expect("a request").1.certification_request_info.subject_pki.raw.to_vec();
        let theirs = other.subject_public_key_info();
        let at = der.windows(mine.len()).position(|bytes| bytes == mine).expect("in it");
        let mut forged = der.to_vec();
        forged[at..at + theirs.len()].copy_from_slice(&theirs);
        assert_eq!(why(CertificateRequest::from_der(&forged)), "it is not signed with the key that it holds");
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let of = |text: &str| why(CertificateRequest::from_pem(text));
        assert!(of("").contains("not PEM"));
        assert!(of("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n").contains("cannot be read"));
        for algorithm in [&PKCS_RSA_SHA256, &PKCS_ECDSA_P521_SHA512] {
            assert!(of(&request(&KeyPair::generate_for(algorithm).expect("generated"))).contains("must be ECDSA"));
        }
    }
}
