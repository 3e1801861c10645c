//! Revocation lists (RFC 5280, section 5): what an authority takes back.

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber};
use serde::{Deserialize, Serialize};

use super::leaf::moment;
use super::{Authority, PkiError};
use crate::model::Timestamp;

/// A leaf that was taken back, as the list says it.
#[derive(Debug, Clone, Copy)]
pub struct RevokedLeaf<'a> {
    /// Its serial number in hex.
    pub serial: &'a str,
    /// When it was taken back.
    pub time: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// Why a leaf was taken back (RFC 5280, section 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Nobody said.
    #[default]
    Unspecified,
    /// The key is, or may be, in other hands.
    KeyCompromise,
    /// Another leaf has taken its place.
    Superseded,
    /// The holder has another part to play now.
    AffiliationChanged,
    /// The holder is gone.
    CessationOfOperation,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Unspecified, Self::KeyCompromise, Self::Superseded, Self::AffiliationChanged, Self::CessationOfOperation];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key-compromise",
            Self::Superseded => "superseded",
            Self::AffiliationChanged => "affiliation-changed",
            Self::CessationOfOperation => "cessation-of-operation",
        }
    }

    /// The section says to leave the code out rather than to say "unspecified".
    fn code(self) -> Option<RevocationReason> {
        match self {
            Self::Unspecified => None,
            Self::KeyCompromise => Some(RevocationReason::KeyCompromise),
            Self::Superseded => Some(RevocationReason::Superseded),
            Self::AffiliationChanged => Some(RevocationReason::AffiliationChanged),
            Self::CessationOfOperation => Some(RevocationReason::CessationOfOperation),
        }
    }
}

impl Authority {
    /// The revocation list number `number` in PEM, with the serial numbers in hex of everything that this authority ever
    /// revoked, taken back now for no stated reason, and the time by which the next one will have replaced it.
    ///
    /// # Errors
    /// As [`Authority::revocation_list`].
    pub fn crl(&self, revoked: &[&str], number: u64, now: Timestamp, next_update: Timestamp) -> Result<String, PkiError> {
        let revoked: Vec<_> = revoked.iter().map(|&serial| RevokedLeaf { serial, time: now, reason: Reason::Unspecified }).collect();
        self.revocation_list(&revoked, number, now, next_update)
    }

    /// The same, with the time and the reason of each.
    ///
    /// # Errors
    /// A serial number that is none, or a next update that is not after `now`.
    pub fn revocation_list(
        &self,
        revoked: &[RevokedLeaf<'_>],
        number: u64,
        now: Timestamp,
        next_update: Timestamp,
    ) -> Result<String, PkiError> {
        let revoked_certs = revoked.iter().map(line).collect::<Result<_, _>>()?;
        let parameters = CertificateRevocationListParams {
            this_update: moment(now),
            next_update: moment(next_update),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(parameters.signed_by(&self.issuer()?)?.pem()?)
    }
}

fn line(revoked: &RevokedLeaf<'_>) -> Result<RevokedCertParams, PkiError> {
    let bytes = hex::decode(revoked.serial).map_err(|_| PkiError::Serial)?;
    if bytes.is_empty() || bytes.len() > 20 {
        return Err(PkiError::Serial);
    }
    Ok(RevokedCertParams {
        serial_number: SerialNumber::from(bytes),
        revocation_time: moment(revoked.time),
        reason_code: revoked.reason.code(),
        invalidity_date: None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Clock, SystemClock};

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_serial_number_is_hex_of_at_most_20_bytes() {
        let now = SystemClock.now();
        let authority = Authority::create("Shop workloads", "shop.example".parse().expect("valid"), now).expect("created");
        for serial in ["", "xy", "abc", &"ab".repeat(21)] {
            assert!(matches!(authority.crl(&[serial], 1, now, now.plus(HOUR)), Err(PkiError::Serial)), "{serial:?}");
        }
        assert!(authority.crl(&["0f", &"ab".repeat(20)], 1, now, now.plus(HOUR)).is_ok());
        assert!(matches!(authority.crl(&[], 1, now, now), Err(PkiError::Build(_))));
    }
}
