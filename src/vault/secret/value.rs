//! What a new value must be.

use std::collections::BTreeMap;

use crate::model::{Environment, SecretBytes, Text, Timestamp, limits};

use super::super::Error;
use super::super::namespace::NamespaceInfo;
use super::{SecretInfo, TokenDetails};

/// A secret to be stored.
#[derive(Debug)]
pub struct NewSecret {
    /// The value.
    pub payload: SecretBytes,
    /// For an access token, what it is for.
    pub token: Option<TokenDetails>,
    /// The caller's labels.
    pub labels: BTreeMap<Text<{ limits::LABEL_KEY_BYTES }>, Text<{ limits::LABEL_VALUE_BYTES }>>,
    /// When the value stops being revealed.
    pub expires: Option<Timestamp>,
}

/// What becomes of a secret's expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// It stays.
    Unchanged,
    /// The value never expires.
    Never,
    /// The value stops being revealed then.
    At(Timestamp),
}

/// What was stored.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The secret.
    pub info: SecretInfo,
    /// What looks odd but was not refused.
    pub warnings: Vec<&'static str>,
}

impl Expiry {
    /// The new expiry in milliseconds, 0 for none.
    pub(super) fn applied(self, old_ms: u64, now: Timestamp) -> Result<u64, Error> {
        match self {
            Self::Unchanged => Ok(old_ms),
            Self::Never => Ok(0),
            Self::At(time) => check_expiry(Some(time), now),
        }
    }

    /// Whether it could have left this expiry.
    pub(super) fn left(self, expires_ms: u64) -> bool {
        match self {
            Self::Unchanged => true,
            Self::Never => expires_ms == 0,
            Self::At(time) => expires_ms == time.unix_ms(),
        }
    }
}

/// The expiry in milliseconds, 0 for none; it must lie ahead.
pub(super) fn check_expiry(expires: Option<Timestamp>, now: Timestamp) -> Result<u64, Error> {
    match expires {
        None => Ok(0),
        Some(time) if time <= now => Err(Error::Invalid { field: "expire_time", why: "must lie ahead" }),
        Some(time) => Ok(time.unix_ms()),
    }
}

/// Whether a value fits its namespace. Returns what looks odd.
pub(super) fn check_payload(payload: &SecretBytes, provider: Option<&str>, namespace: &NamespaceInfo) -> Result<Vec<&'static str>, Error> {
    let invalid = |why| Err(Error::Invalid { field: "payload", why });
    let is_wepay = provider == Some("wepay");
    if payload.is_empty() {
        return invalid("must not be empty");
    }
    if payload.len() > namespace.limits.payload_max_bytes as usize {
        return invalid("longer than the namespace allows");
    }
    if is_wepay && payload.len() > limits::WEPAY_TOKEN_BYTES {
        return invalid("a WePay token has at most 255 bytes");
    }
    if Environment::named_by(payload.expose()).is_some_and(|named| named != namespace.environment) {
        return invalid("the token names another environment than the namespace's: stage and production must not mix");
    }
    Ok(if is_wepay && !has_wepay_form(payload.expose()) { vec!["the value has not the usual form of a WePay token"] } else { Vec::new() })
}

/// `STAGE_` or `PRODUCTION_` and 64 lowercase hex digits: the usual form, which only warns.
fn has_wepay_form(token: &[u8]) -> bool {
    let rest = token.strip_prefix(b"STAGE_").or_else(|| token.strip_prefix(b"PRODUCTION_"));
    rest.is_some_and(|rest| rest.len() == 64 && rest.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}
