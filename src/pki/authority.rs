//! One certificate authority and its key.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
    SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use super::files::{read_private, write_private};
use super::leaf::moment;
use super::{CertificateRequest, Issued, LeafProfile, PkiError, SignedLeaf, Usage};
use crate::model::{SpiffeId, Timestamp, TrustDomain};

/// How long a new authority is valid.
const LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A self-signed CA of one trust domain, with its key, which is wiped when this is dropped.
pub struct Authority {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key: Zeroizing<KeyPair>,
    domain: TrustDomain,
    not_after: Timestamp,
}

impl Authority {
    /// A new authority with a new key, valid for 10 years from `now`. `name` becomes its common name, by which revocation
    /// lists find it: two authorities of one vault need two names.
    ///
    /// # Errors
    /// A name that cannot stand in a certificate, or no randomness.
    pub fn create(name: &str, domain: TrustDomain, now: Timestamp) -> Result<Self, PkiError> {
        let key = Zeroizing::new(KeyPair::generate()?);
        let mut parameters = CertificateParams::default();
        parameters.serial_number = Some(SerialNumber::from_slice(&random_serial()?));
        parameters.not_before = moment(now);
        parameters.not_after = moment(now.plus(LIFETIME));
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.subject_alt_names = vec![SanType::URI(format!("spiffe://{domain}").as_str().try_into()?)];
        // Path length 0: whatever it signs cannot sign in turn.
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        // Without CrlSign no verifier would believe its revocation lists.
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = parameters.self_signed(&*key)?;
        let not_after = now.plus(LIFETIME);
        Ok(Self { certificate_pem: certificate.pem(), certificate: certificate.into(), key, domain, not_after })
    }

    /// The authority of an earlier run, from [`Authority::certificate_pem`] and [`Authority::key_pem`].
    ///
    /// # Errors
    /// Not PEM, not a CA of exactly one trust domain, or a key that is not the certificate's.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let key = Zeroizing::new(KeyPair::from_pem(key_pem).map_err(|_| PkiError::NotAnAuthority("the key is not PKCS#8 in PEM"))?);
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|_| PkiError::NotAnAuthority("the certificate is not PEM"))?;
        let (_, parsed) =
            X509Certificate::from_der(&certificate).map_err(|_| PkiError::NotAnAuthority("the certificate cannot be read"))?;
        if !parsed.is_ca() {
            return Err(PkiError::NotAnAuthority("the certificate is not a CA's"));
        }
        if *parsed.public_key().subject_public_key.data != *key.der_bytes() {
            return Err(PkiError::NotAnAuthority("the key belongs to another certificate"));
        }
        let domain = domain_of(&parsed)?;
        let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        let not_after = Timestamp::from_unix_ms(seconds.saturating_mul(1_000)).unwrap_or(Timestamp::MAX);
        Ok(Self { certificate_pem: certificate_pem.to_owned(), certificate, key, domain, not_after })
    }

    /// The authority that was [saved](Authority::save) into two files.
    ///
    /// # Errors
    /// A file cannot be read, others may read the key, and as [`Authority::from_pem`].
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, PkiError> {
        let certificate = std::fs::read_to_string(certificate).map_err(|source| PkiError::File { path: certificate.to_owned(), source })?;
        Self::from_pem(&certificate, &read_private(key)?)
    }

    /// Writes both as private files, the key first: where there is a certificate, there is its key.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, certificate: &Path, key: &Path) -> Result<(), PkiError> {
        write_private(key, &self.key_pem())?;
        write_private(certificate, &self.certificate_pem)
    }

    /// The one trust domain whose IDs it issues.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// Its own certificate in DER: the root to trust.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// When it ends. Nothing that it signs outlives it.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Its own certificate in PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Its private key in PKCS#8 PEM.
    #[must_use]
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.key.serialize_pem())
    }

    /// A server's leaf for one SPIFFE ID, valid from `now`. The names and addresses are for clients of other makes that look
    /// at them; ours go by the SPIFFE ID.
    ///
    /// # Errors
    /// An ID of another trust domain, a lifetime of zero or beyond the authority's own, a name that cannot stand in a
    /// certificate, no randomness.
    pub fn issue_server(
        &self,
        id: &SpiffeId,
        dns_names: &[&str],
        addresses: &[IpAddr],
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Issued, PkiError> {
        let mut profile = self.profile(id, Usage::Server, now, lifetime)?;
        profile.dns_names = dns_names.iter().map(|&name| name.to_owned()).collect();
        profile.addresses = addresses.to_vec();
        self.issue(&profile)
    }

    /// A client's leaf for one SPIFFE ID, valid from `now`.
    ///
    /// # Errors
    /// As [`Authority::issue_server`].
    pub fn issue_client(&self, id: &SpiffeId, now: Timestamp, lifetime: Duration) -> Result<Issued, PkiError> {
        self.issue(&self.profile(id, Usage::Client, now, lifetime)?)
    }

    /// Signs whatever the profile says, with a new key and a random serial number.
    ///
    /// # Errors
    /// A name that cannot stand in a certificate, or no randomness.
    pub fn issue(&self, profile: &LeafProfile) -> Result<Issued, PkiError> {
        let key = Zeroizing::new(KeyPair::generate()?);
        Ok(Issued { leaf: self.sign(profile, &*key)?, key })
    }

    /// Signs whatever the profile says, for the public key of a request. What else the request asks for counts for nothing.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn issue_to(&self, request: &CertificateRequest, profile: &LeafProfile) -> Result<SignedLeaf, PkiError> {
        self.sign(profile, request.public_key())
    }

    /// Whether this authority's key signed the certificate.
    #[must_use]
    pub fn has_signed(&self, certificate: &X509Certificate<'_>) -> bool {
        let root = X509Certificate::from_der(&self.certificate);
        root.is_ok_and(|(_, root)| certificate.verify_signature(Some(root.public_key())).is_ok())
    }

    /// What a good leaf for one SPIFFE ID says, for [`Authority::issue`] and [`Authority::issue_to`].
    ///
    /// # Errors
    /// An ID of another trust domain, a lifetime of zero or beyond the authority's own.
    pub fn profile(&self, id: &SpiffeId, usage: Usage, now: Timestamp, lifetime: Duration) -> Result<LeafProfile, PkiError> {
        if id.trust_domain() != self.domain {
            return Err(PkiError::ForeignDomain);
        }
        if lifetime < Duration::from_secs(1) {
            return Err(PkiError::Validity("a certificate is valid for a second or more"));
        }
        let not_after = now.plus(lifetime);
        if not_after > self.not_after {
            return Err(PkiError::Validity("a certificate cannot outlive the authority that signs it"));
        }
        Ok(LeafProfile::new(id, usage, now, not_after))
    }

    fn sign(&self, profile: &LeafProfile, key: &impl PublicKeyData) -> Result<SignedLeaf, PkiError> {
        let serial = random_serial()?;
        let certificate = profile.parameters(serial)?.signed_by(key, &self.issuer()?)?;
        Ok(SignedLeaf { pem: certificate.pem(), der: certificate.into(), serial })
    }

    /// Read out of the certificate each time, so that a new authority and one that was read back sign alike.
    pub(super) fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, PkiError> {
        Ok(Issuer::from_ca_cert_der(&self.certificate, &*self.key)?)
    }
}

/// 16 bytes, 126 bits of them random: the first two bits are 01, so that the number is positive and never shorter
/// (RFC 5280, section 4.1.2.2, allows 20 bytes and asks for more than 64 random bits).
fn random_serial() -> Result<[u8; 16], PkiError> {
    let mut serial = [0; 16];
    rustls::crypto::aws_lc_rs::default_provider().secure_random.fill(&mut serial).map_err(|_| PkiError::Randomness)?;
    serial[0] = serial[0] & 0x3f | 0x40;
    Ok(serial)
}

/// The trust domain that a CA certificate names in its one URI (SPIFFE X.509-SVID, section 3.2).
fn domain_of(certificate: &X509Certificate<'_>) -> Result<TrustDomain, PkiError> {
    const WHY: PkiError = PkiError::NotAnAuthority("the certificate names no single trust domain");
    let names = certificate.subject_alternative_name().map_err(|_| WHY)?.ok_or(WHY)?;
    match names.value.general_names.as_slice() {
        [GeneralName::URI(uri)] => uri.strip_prefix("spiffe://").ok_or(WHY)?.parse().map_err(|_| WHY),
        _ => Err(WHY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Clock, SystemClock};

    const HOUR: Duration = Duration::from_secs(3600);

    fn authority() -> Authority {
        let domain = "shop.example".parse().expect("valid");
        Authority::create("Shop workloads", domain, SystemClock.now()).expect("created")
    }

    fn id(text: &str) -> SpiffeId {
        text.parse().expect("valid")
    }

    #[test]
    fn an_authority_that_was_read_back_signs_under_the_same_name_and_key() {
        let first = authority();
        let second = Authority::from_pem(first.certificate_pem(), &first.key_pem()).expect("read back");
        assert_eq!(second.trust_domain(), first.trust_domain());
        let leaf = second.issue_client(&id("spiffe://shop.example/backend"), SystemClock.now(), HOUR).expect("issued");
        let (_, leaf) = X509Certificate::from_der(leaf.certificate()).expect("a certificate");
        let (_, root) = X509Certificate::from_der(first.certificate()).expect("a certificate");
        assert_eq!(leaf.issuer(), root.subject());
        let serial = leaf.raw_serial();
        assert_eq!((serial.len(), serial[0] >> 6), (16, 1));
    }

    #[test]
    fn what_is_not_an_authority_is_not_read_back() {
        let (one, other) = (authority(), authority());
        assert!(matches!(Authority::from_pem(one.certificate_pem(), &other.key_pem()), Err(PkiError::NotAnAuthority(_))));
        let leaf = one.issue_client(&id("spiffe://shop.example/a"), SystemClock.now(), HOUR).expect("issued");
        assert!(matches!(Authority::from_pem(leaf.certificate_pem(), &leaf.key_pem()), Err(PkiError::NotAnAuthority(_))));
        assert!(matches!(Authority::from_pem("", &one.key_pem()), Err(PkiError::NotAnAuthority(_))));
    }

    #[test]
    fn it_signs_for_its_own_domain_and_not_beyond_its_own_end() {
        let (authority, now) = (authority(), SystemClock.now());
        assert!(matches!(authority.issue_client(&id("spiffe://other.example/a"), now, HOUR), Err(PkiError::ForeignDomain)));
        let mine = id("spiffe://shop.example/a");
        assert!(matches!(authority.issue_client(&mine, now, LIFETIME + HOUR), Err(PkiError::Validity(_))));
        assert!(matches!(authority.issue_client(&mine, now, Duration::ZERO), Err(PkiError::Validity(_))));
    }

    #[test]
    fn its_certificate_may_sign_leaves_and_lists_and_no_other_authority() {
        let authority = authority();
        let (_, root) = X509Certificate::from_der(authority.certificate()).expect("a certificate");
        let usage = root.key_usage().expect("readable").expect("present").value;
        assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
        let constraints = root.basic_constraints().expect("readable").expect("present").value;
        assert_eq!((constraints.ca, constraints.path_len_constraint), (true, Some(0)));
    }
}
