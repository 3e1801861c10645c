//! Between the wire's types and the typed ones, and from those to JSON text.

use std::fmt::Display;
use std::str::FromStr;

use serde::Serializer;

use super::ClientError;
use crate::api;
use crate::model::{Environment, SecretKind, Text, Timestamp, limits};

/// A time that may be absent.
pub(super) fn time(wire: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>, ClientError> {
    const WHY: ClientError = ClientError::Answer("a time outside the years 1970 to 9999");
    let Some(wire) = wire else { return Ok(None) };
    let seconds = u64::try_from(wire.seconds).map_err(|_| WHY)?;
    let milliseconds = u64::try_from(wire.nanos).map_err(|_| WHY)? / 1_000_000;
    let total = seconds.checked_mul(1000).and_then(|ms| ms.checked_add(milliseconds)).ok_or(WHY)?;
    Timestamp::from_unix_ms(total).map(Some).map_err(|_| WHY)
}

/// A time that must be there.
pub(super) fn required_time(wire: Option<prost_types::Timestamp>) -> Result<Timestamp, ClientError> {
    time(wire)?.ok_or(ClientError::Answer("a time is missing"))
}

/// A time for the wire.
pub(super) fn wire_time(time: Timestamp) -> prost_types::Timestamp {
    let (seconds, milliseconds) = (time.unix_ms() / 1000, time.unix_ms() % 1000);
    prost_types::Timestamp {
        seconds: i64::try_from(seconds).expect("a Timestamp ends with the year 9999"),
        nanos: i32::try_from(milliseconds * 1_000_000).expect("under a thousand million"),
    }
}

/// A part of an answer that must be there.
pub(super) fn required<T>(wire: Option<T>, what: &'static str) -> Result<T, ClientError> {
    wire.ok_or(ClientError::Answer(what))
}

/// A word of an answer.
pub(super) fn parsed<T: FromStr>(text: &str, what: &'static str) -> Result<T, ClientError> {
    text.parse().map_err(|_| ClientError::Answer(what))
}

/// A reason, a ticket or another text of at most 512 bytes, refused here already if it looks like a token: that has no
/// place in an audit log, and on the wire neither. Empty for none.
pub(super) fn remark(field: &'static str, text: String) -> Result<String, ClientError> {
    match Text::<{ limits::REASON_BYTES }>::parse_optional(&text) {
        Ok(_) => Ok(text),
        Err(invalid) => Err(ClientError::Invalid { field, why: invalid.0 }),
    }
}

pub(super) fn environment(wire: i32) -> Result<Environment, ClientError> {
    match api::Environment::try_from(wire) {
        Ok(api::Environment::Stage) => Ok(Environment::Stage),
        Ok(api::Environment::Production) => Ok(Environment::Production),
        _ => Err(ClientError::Answer("an unknown environment")),
    }
}

pub(super) fn kind(wire: i32) -> Result<SecretKind, ClientError> {
    match api::SecretKind::try_from(wire) {
        Ok(api::SecretKind::Opaque) => Ok(SecretKind::Opaque),
        Ok(api::SecretKind::AccessToken) => Ok(SecretKind::AccessToken),
        _ => Err(ClientError::Answer("an unknown kind of secret")),
    }
}

/// For `serialize_with`: the text of a value.
pub(super) fn as_text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// For `serialize_with`: the text of a value, or null.
pub(super) fn as_text_or_null<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// For `serialize_with`: the word of a kind.
pub(super) fn as_kind<S: Serializer>(kind: &SecretKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.word())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_wire_and_absurd_ones_are_refused() {
        for text in ["1970-01-01T00:00:00.000Z", "2026-11-24T08:00:00.123Z", "9999-12-31T23:59:59.999Z"] {
            let moment = Timestamp::parse(text).expect("valid");
            assert_eq!(time(Some(wire_time(moment))).expect("in range"), Some(moment));
        }
        for (seconds, nanos) in [(-1, 0), (0, -1), (i64::MAX, 0), (253_402_300_800, 0)] {
            assert!(time(Some(prost_types::Timestamp { seconds, nanos })).is_err(), "{seconds} {nanos}");
        }
        assert!(required_time(None).is_err());
    }

    // immune: row-40
    #[test]
    fn a_token_as_a_reason_does_not_leave_the_client() {
        let refused = remark("reason", format!("STAGE_{}", "0a".repeat(32))).expect_err("a token");
        assert!(!format!("{refused} {refused:?}").contains("0a0a"));
        assert_eq!(remark("reason", "case 4711".to_owned()).expect("fine"), "case 4711");
        assert_eq!(remark("reason", String::new()).expect("none"), "");
        assert!(remark("ticket", "x".repeat(513)).is_err());
    }
}
