//! Who a connection proves to be.

use std::fmt;
use std::str::FromStr;

use super::{Invalid, limits};

/// The trust domain of a SPIFFE ID: lowercase letters, digits, `.`, `-` and `_`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(String);

/// A SPIFFE ID, `spiffe://trust-domain/path`, in the one spelling that the SPIFFE ID specification allows.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    text: String,
    domain_end: usize,
}

/// What kind of party a principal is. It comes from the trust anchor, never from the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// A program: an application's backend.
    Workload,
    /// A human.
    Operator,
}

/// Who a connection proves to be: the one SPIFFE ID of its client certificate, and the class of its trust anchor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Principal {
    /// The one URI SAN of the certificate.
    pub id: SpiffeId,
    /// From the anchor that the chain was verified against.
    pub class: Class,
}

impl SpiffeId {
    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> TrustDomain {
        TrustDomain(self.text[SCHEME.len()..self.domain_end].to_owned())
    }
}

const SCHEME: &str = "spiffe://";

impl TrustDomain {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        if text.is_empty() || text.len() > limits::TRUST_DOMAIN_BYTES || !text.bytes().all(fits) {
            return Err(Invalid("a trust domain is 1 to 255 of a-z, 0-9, `.`, `-` and `_`"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for SpiffeId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const WHY: Invalid = Invalid("a SPIFFE ID is spiffe://trust-domain/path, with segments of letters, digits, `.`, `-` and `_`");
        if text.len() > limits::SPIFFE_ID_BYTES {
            return Err(Invalid("a SPIFFE ID has at most 2048 bytes"));
        }
        if super::looks_like_token(text) {
            return Err(Invalid("looks like an access token, which has no place in a SPIFFE ID"));
        }
        let rest = text.strip_prefix(SCHEME).ok_or(WHY)?;
        let (domain, path) = rest.split_once('/').ok_or(WHY)?;
        domain.parse::<TrustDomain>()?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let segment_fits = |segment: &str| !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(fits);
        if !path.split('/').all(segment_fits) {
            return Err(WHY);
        }
        Ok(Self { text: text.to_owned(), domain_end: SCHEME.len() + domain.len() })
    }
}

impl Class {
    /// The word for it in configuration and audit entries.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Workload => "workload",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spiffe_id_has_one_spelling() {
        let id: SpiffeId = "spiffe://shop.example/backend/eu-1".parse().expect("valid");
        assert_eq!(id.trust_domain().as_str(), "shop.example");
        // immune: row-23
        for text in [
            "",
            "spiffe://",
            "spiffe://a",
            "spiffe://a/",
            "spiffe:///a",
            "SPIFFE://a/b",
            "spiffe://A/b",
            "spiffe://a/b/",
            "spiffe://a//b",
            "spiffe://a/./b",
            "spiffe://a/../b",
            "spiffe://a/*",
            "spiffe://a/+",
            "spiffe://a/b,c",
            "spiffe://a/b c",
            "spiffe://a:8/b",
            "spiffe://a@b/c",
            "spiffe://a/b?c",
            "spiffe://a/b#c",
            "spiffe://a/%2e",
            "https://a/b",
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn bounds_hold_at_the_edge() {
        let of_length = |length: usize| format!("spiffe://a/{}", "x".repeat(length - "spiffe://a/".len()));
        assert!(of_length(2048).parse::<SpiffeId>().is_ok());
        assert!(of_length(2049).parse::<SpiffeId>().is_err());
        assert!("x".repeat(255).parse::<TrustDomain>().is_ok());
        assert!("x".repeat(256).parse::<TrustDomain>().is_err());
    }
}
