//! Fields of messages: parsed into words of the model, or at fault. A fault names the field and never repeats its value.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use prost_types::Timestamp as WireTimestamp;

use crate::api;
use crate::gate::Call;
use crate::model::{Invalid, NamespaceName, SecretBytes, SecretPath, Text, Timestamp, limits};
use crate::vault::{Expiry, SlotSecret, TokenDetails};

/// A field that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) field: &'static str,
    pub(super) why: &'static str,
}

type Labels = BTreeMap<Text<{ limits::LABEL_KEY_BYTES }>, Text<{ limits::LABEL_VALUE_BYTES }>>;

/// Names the field of a fault.
pub(super) trait InField<T> {
    fn in_field(self, field: &'static str) -> Result<T, Fault>;
}

impl<T> InField<T> for Result<T, Invalid> {
    fn in_field(self, field: &'static str) -> Result<T, Fault> {
        self.map_err(|Invalid(why)| Fault { field, why })
    }
}

/// Anything with a parser of its own.
pub(super) fn parsed<T: FromStr<Err = Invalid>>(text: &str, field: &'static str) -> Result<T, Fault> {
    text.parse().in_field(field)
}

/// The same, where the empty text says none.
pub(super) fn optional<T: FromStr<Err = Invalid>>(text: &str, field: &'static str) -> Result<Option<T>, Fault> {
    if text.is_empty() { Ok(None) } else { parsed(text, field).map(Some) }
}

/// Notes the caller's request id.
pub(super) fn request_id(call: &mut Call, text: &str) -> Result<(), Fault> {
    call.request_id = Text::parse_optional(text).in_field("request_id")?;
    Ok(())
}

/// Notes the caller's reason.
pub(super) fn reason(call: &mut Call, text: &str) -> Result<(), Fault> {
    call.reason = Text::parse_optional(text).in_field("reason")?;
    Ok(())
}

/// Notes the caller's ticket.
pub(super) fn ticket(call: &mut Call, text: &str) -> Result<(), Fault> {
    call.ticket = Text::parse_optional(text).in_field("ticket")?;
    Ok(())
}

/// A time.
pub(super) fn time(wire: &WireTimestamp, field: &'static str) -> Result<Timestamp, Fault> {
    let fault = |why| Fault { field, why };
    let seconds = u64::try_from(wire.seconds).map_err(|_| fault("before 1970"))?;
    let nanos = u64::try_from(wire.nanos).ok().filter(|nanos| *nanos < 1_000_000_000).ok_or(fault("nanos must be 0 to 999,999,999"))?;
    let milliseconds =
        seconds.checked_mul(1_000).and_then(|ms| ms.checked_add(nanos / 1_000_000)).ok_or(fault("later than the year 9999"))?;
    Timestamp::from_unix_ms(milliseconds).in_field(field)
}

/// A time that may be absent.
pub(super) fn optional_time(wire: Option<&WireTimestamp>, field: &'static str) -> Result<Option<Timestamp>, Fault> {
    wire.map(|wire| time(wire, field)).transpose()
}

/// What becomes of an expiry.
pub(super) fn expiry(expire_time: Option<&WireTimestamp>, never_expires: bool) -> Result<Expiry, Fault> {
    match (optional_time(expire_time, "expire_time")?, never_expires) {
        (Some(_), true) => Err(Fault { field: "never_expires", why: "contradicts expire_time: give one of them" }),
        (Some(time), false) => Ok(Expiry::At(time)),
        (None, true) => Ok(Expiry::Never),
        (None, false) => Ok(Expiry::Unchanged),
    }
}

/// What somebody knows or holds of a slot: one of the two.
pub(super) fn slot_secret(passphrase: Vec<u8>, share: Vec<u8>) -> Result<SlotSecret, Fault> {
    let (passphrase, share) = (SecretBytes::new(passphrase), SecretBytes::new(share));
    match (passphrase.is_empty(), share.is_empty()) {
        (false, true) => Ok(SlotSecret::Passphrase(passphrase)),
        (true, false) => Ok(SlotSecret::Share(share)),
        (true, true) => Err(Fault { field: "passphrase", why: "give a passphrase or a share" }),
        (false, false) => Err(Fault { field: "share", why: "contradicts passphrase: give one of them" }),
    }
}

/// Labels.
pub(super) fn labels(wire: &BTreeMap<String, String>, field: &'static str) -> Result<Labels, Fault> {
    if wire.len() > limits::LABELS {
        return Err(Fault { field, why: "at most 32 labels" });
    }
    wire.iter().map(|(key, value)| Ok((Text::parse(key).in_field(field)?, Text::parse(value).in_field(field)?))).collect()
}

/// Keys of labels.
pub(super) fn label_keys(wire: &[String], field: &'static str) -> Result<BTreeSet<Text<{ limits::LABEL_KEY_BYTES }>>, Fault> {
    if wire.len() > limits::LABELS {
        return Err(Fault { field, why: "at most 32 labels" });
    }
    wire.iter().map(|key| Text::parse(key).in_field(field)).collect()
}

/// What an access token is for.
pub(super) fn token_details(wire: &api::AccessTokenDetails) -> Result<TokenDetails, Fault> {
    if wire.scopes.len() > limits::SCOPES {
        return Err(Fault { field: "access_token.scopes", why: "at most 64 scopes" });
    }
    Ok(TokenDetails {
        provider: Text::parse(&wire.provider).in_field("access_token.provider")?,
        subject: Text::parse(&wire.subject).in_field("access_token.subject")?,
        scopes: wire.scopes.iter().map(|scope| Text::parse(scope).in_field("access_token.scopes")).collect::<Result<_, _>>()?,
        token_type: Text::parse_optional(&wire.token_type).in_field("access_token.token_type")?,
    })
}

/// `namespace` or `namespace/path`.
pub(super) fn prefix(text: &str, field: &'static str) -> Result<(NamespaceName, Vec<String>), Fault> {
    let (namespace, path) = text.split_once('/').map_or((text, None), |(namespace, path)| (namespace, Some(path)));
    let segments = match path {
        Some(path) => parsed::<SecretPath>(path, field)?.segments().map(str::to_owned).collect(),
        None => Vec::new(),
    };
    Ok((parsed(namespace, field)?, segments))
}

/// How many items a page is to have.
pub(super) fn page_items(asked: u32, most: usize) -> Result<usize, Fault> {
    let asked = usize::try_from(asked).unwrap_or(usize::MAX);
    match asked {
        0 => Ok(limits::DEFAULT_PAGE_ITEMS.min(most)),
        asked if asked <= most => Ok(asked),
        _ => Err(Fault { field: "page_size", why: "larger than a page may be" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_hold_at_the_edge() {
        let wire = |seconds, nanos| WireTimestamp { seconds, nanos };
        assert!(time(&wire(-1, 0), "t").is_err());
        assert!(time(&wire(0, -1), "t").is_err());
        assert!(time(&wire(0, 1_000_000_000), "t").is_err());
        assert!(time(&wire(253_402_300_799, 999_999_999), "t").is_ok());
        assert!(time(&wire(253_402_300_800, 0), "t").is_err());
        assert!(time(&wire(i64::MAX, 0), "t").is_err());
    }

    #[test]
    fn pages_hold_at_the_edge() {
        assert_eq!(page_items(0, 1_000), Ok(100));
        assert_eq!(page_items(0, 10), Ok(10));
        assert_eq!(page_items(1_000, 1_000), Ok(1_000));
        assert!(page_items(1_001, 1_000).is_err());
    }

    // immune: row-21
    #[test]
    fn a_prefix_is_canonical_or_refused() {
        for text in ["", "/", "a/", "a//b", "a/../b", "a/.", "A/b", "../a", "a/*"] {
            assert!(prefix(text, "prefix").is_err(), "{text:?}");
        }
        assert_eq!(prefix("a/b/c", "prefix").map(|(_, segments)| segments.len()), Ok(2));
    }
}
