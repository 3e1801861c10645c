//! What a leaf says of its holder: one SPIFFE ID. Common name, DNS names and the rest are not read at all.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::Refusal;
use crate::model::{SpiffeId, Timestamp};

/// Longest serial number (RFC 5280, section 4.1.2.2).
const SERIAL_BYTES: usize = 20;

/// The parts of a leaf that count. Reading them proves nothing: the chain must be verified as well.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) id: SpiffeId,
    /// Lowercase hex without leading zero bytes, as CAs print it.
    pub(super) serial: String,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) for_clients: bool,
    pub(super) for_servers: bool,
}

impl Leaf {
    pub(super) fn parse(der: &CertificateDer<'_>) -> Result<Self, Refusal> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| Refusal::Unreadable)?;
        if !rest.is_empty() {
            return Err(Refusal::Unreadable);
        }
        let signs = may_sign(&certificate)?;
        let usage = certificate.extended_key_usage().map_err(|_| Refusal::Unreadable)?;
        let (client, server) = usage.map_or((false, false), |usage| (usage.value.client_auth, usage.value.server_auth));
        Ok(Self {
            id: identity(&certificate)?,
            serial: serial(certificate.raw_serial())?,
            not_before: timestamp(certificate.validity().not_before.timestamp()),
            not_after: timestamp(certificate.validity().not_after.timestamp()),
            for_clients: signs && client,
            for_servers: signs && server,
        })
    }
}

/// Exactly one URI, and that a SPIFFE ID in its one spelling (X.509-SVID, section 2).
fn identity(certificate: &X509Certificate<'_>) -> Result<SpiffeId, Refusal> {
    // An error here also stands for two extensions of this kind, of which another reader might take the other.
    let names = certificate.subject_alternative_name().map_err(|_| Refusal::Unreadable)?.ok_or(Refusal::NoIdentity)?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(Ok(*uri)),
        GeneralName::Invalid(..) => Some(Err(Refusal::Unreadable)),
        _ => None,
    });
    let uri = uris.next().ok_or(Refusal::NoIdentity)??;
    if uris.next().is_some() {
        return Err(Refusal::ManyIdentities);
    }
    uri.parse().map_err(|_| Refusal::NotCanonical)
}

/// Whether the key may sign a handshake and nothing above it (X.509-SVID, section 4.3: the extension must be there, with
/// digitalSignature, without keyCertSign and cRLSign).
fn may_sign(certificate: &X509Certificate<'_>) -> Result<bool, Refusal> {
    let usage = certificate.key_usage().map_err(|_| Refusal::Unreadable)?;
    Ok(usage.is_some_and(|usage| usage.value.digital_signature() && !usage.value.key_cert_sign() && !usage.value.crl_sign()))
}

fn serial(raw: &[u8]) -> Result<String, Refusal> {
    let significant = raw.iter().position(|&byte| byte != 0).map_or(&[][..], |first| &raw[first..]);
    if significant.is_empty() || significant.len() > SERIAL_BYTES {
        return Err(Refusal::Unreadable);
    }
    Ok(hex::encode(significant))
}

/// Before 1970 counts as 1970, after 9999 as its end; both lie beyond any certificate that is valid now.
pub(super) fn timestamp(seconds: i64) -> Timestamp {
    let milliseconds = u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000);
    Timestamp::from_unix_ms(milliseconds).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_bounded_and_has_one_spelling() {
        assert_eq!(serial(&[0, 0x80, 1]), Ok("8001".to_owned()));
        assert!(serial(&[0x7f; 20]).is_ok());
        assert!(serial(&[0, 0]).is_err() && serial(&[]).is_err() && serial(&[0x7f; 21]).is_err());
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused_without_panic() {
        for bytes in [&b""[..], b"0", b"0\x82\xff\xff", b"-----BEGIN CERTIFICATE-----", &[0x30; 512]] {
            assert_eq!(Leaf::parse(&CertificateDer::from(bytes)).err(), Some(Refusal::Unreadable));
        }
    }
}
