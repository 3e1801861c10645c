//! What a leaf says, and the leaf once it is signed.

use std::net::IpAddr;

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, SerialNumber};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::PkiError;
use crate::model::{SpiffeId, Timestamp};

/// Everything that a leaf will say. Nothing of it is checked: [`super::Authority::issue`] signs whatever stands here.
#[derive(Debug, Clone)]
pub struct LeafProfile {
    /// The subject's common name, which nothing in Strongroom ever looks at.
    pub common_name: Option<String>,
    /// Subject alternative names of type URI. A good leaf has exactly one, its SPIFFE ID.
    pub uris: Vec<String>,
    /// Subject alternative names of type DNS.
    pub dns_names: Vec<String>,
    /// Subject alternative names of type IP address.
    pub addresses: Vec<IpAddr>,
    /// Extended key usages; with none the extension is left out.
    pub usages: Vec<Usage>,
    /// Start of validity; whole seconds count.
    pub not_before: Timestamp,
    /// End of validity; whole seconds count.
    pub not_after: Timestamp,
}

/// What a leaf may be used for (RFC 5280, section 4.2.1.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// `id-kp-clientAuth`.
    Client,
    /// `id-kp-serverAuth`.
    Server,
}

/// A signed leaf.
pub struct SignedLeaf {
    pub(super) der: CertificateDer<'static>,
    pub(super) pem: String,
    pub(super) serial: [u8; 16],
}

/// A signed leaf and its private key, which is wiped when this is dropped.
pub struct Issued {
    pub(super) leaf: SignedLeaf,
    pub(super) key: Zeroizing<rcgen::KeyPair>,
}

impl LeafProfile {
    /// A good leaf: one SPIFFE ID and one usage.
    #[must_use]
    pub fn new(id: &SpiffeId, usage: Usage, not_before: Timestamp, not_after: Timestamp) -> Self {
        Self {
            common_name: None,
            uris: vec![id.to_string()],
            dns_names: Vec::new(),
            addresses: Vec::new(),
            usages: vec![usage],
            not_before,
            not_after,
        }
    }

    pub(super) fn parameters(&self, serial: [u8; 16]) -> Result<CertificateParams, PkiError> {
        let mut parameters = CertificateParams::default();
        parameters.serial_number = Some(SerialNumber::from_slice(&serial));
        parameters.not_before = moment(self.not_before);
        parameters.not_after = moment(self.not_after);
        parameters.distinguished_name = DistinguishedName::new();
        if let Some(name) = &self.common_name {
            parameters.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        parameters.subject_alt_names = self.names()?;
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = self.usages.iter().map(|usage| usage.purpose()).collect();
        parameters.use_authority_key_identifier_extension = true;
        Ok(parameters)
    }

    fn names(&self) -> Result<Vec<SanType>, PkiError> {
        let mut names = Vec::new();
        for uri in &self.uris {
            names.push(SanType::URI(uri.as_str().try_into()?));
        }
        for name in &self.dns_names {
            names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        names.extend(self.addresses.iter().copied().map(SanType::IpAddress));
        Ok(names)
    }
}

impl Usage {
    fn purpose(self) -> ExtendedKeyUsagePurpose {
        match self {
            Self::Client => ExtendedKeyUsagePurpose::ClientAuth,
            Self::Server => ExtendedKeyUsagePurpose::ServerAuth,
        }
    }
}

impl SignedLeaf {
    /// The leaf in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The serial number: 32 lowercase hex digits.
    #[must_use]
    pub fn serial(&self) -> String {
        hex::encode(self.serial)
    }
}

impl Issued {
    /// The leaf without its key.
    #[must_use]
    pub fn into_leaf(self) -> SignedLeaf {
        self.leaf
    }

    /// The leaf in DER.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.leaf.der
    }

    /// The leaf in PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.leaf.pem
    }

    /// The private key in PKCS#8 DER.
    #[must_use]
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    /// The private key in PKCS#8 PEM.
    #[must_use]
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.key.serialize_pem())
    }

    /// The public key in PEM, as clients pin it.
    #[must_use]
    pub fn public_key_pem(&self) -> String {
        self.key.public_key_pem()
    }

    /// The serial number: 32 lowercase hex digits.
    #[must_use]
    pub fn serial(&self) -> String {
        self.leaf.serial()
    }
}

/// Certificates count in whole seconds.
pub(super) fn moment(time: Timestamp) -> OffsetDateTime {
    let seconds = i64::try_from(time.unix_ms() / 1_000).expect("a Timestamp lies before the year 10000");
    OffsetDateTime::from_unix_timestamp(seconds).expect("a Timestamp lies before the year 10000")
}
