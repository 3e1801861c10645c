//! What can be typed: times, durations, labels, prefixes, remarks. Every refusal is a constant: what was typed in the
//! wrong place may be a secret, and is not repeated.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rustls_pki_types::DnsName;

use crate::client::Expiry;
use crate::model::{Clock, Invalid, NamespaceName, SecretPath, SystemClock, Text, Timestamp, limits};

/// A duration: a whole number and one of `s`, `m`, `h`, `d`, `w`, e.g. `90m`; longer than nothing, at most 100 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(pub Duration);

/// A point in time in RFC 3339, e.g. `2026-11-24T08:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(pub Timestamp);

/// A point in time, or how far away it is: `2026-11-24T08:00:00Z` or `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Then.
    At(Timestamp),
    /// So far from now.
    Away(Duration),
}

/// When a value stops being revealed: as [`When`], or `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NewExpiry(Option<When>);

/// How far to look ahead: a duration, or `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window(pub Duration);

/// A label, written `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Label {
    /// 1 to 63 bytes.
    pub key: String,
    /// 1 to 255 bytes.
    pub value: String,
}

/// What to list: `NAMESPACE` or `NAMESPACE/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(pub String);

const CENTURY_S: u64 = 100 * 365 * 24 * 3600;

impl When {
    /// The point, where a duration reaches ahead.
    pub(super) fn ahead(self) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Away(span) => SystemClock.now().plus(span),
        }
    }

    /// The point, where a duration reaches back.
    pub(super) fn ago(self) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Away(span) => before(SystemClock.now(), span),
        }
    }
}

impl NewExpiry {
    pub(super) fn expiry(self) -> Expiry {
        self.0.map_or(Expiry::Never, |when| Expiry::At(when.ahead()))
    }
}

fn before(time: Timestamp, span: Duration) -> Timestamp {
    let milliseconds = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_unix_ms(time.unix_ms().saturating_sub(milliseconds)).unwrap_or_default()
}

/// As it would be typed, in the largest unit that leaves no rest.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let units = [(24 * 3600, "d"), (3600, "h"), (60, "m")];
        let (unit_s, unit) = units.into_iter().find(|(unit_s, _)| seconds > 0 && seconds.is_multiple_of(*unit_s)).unwrap_or((1, "s"));
        write!(f, "{}{unit}", seconds / unit_s)
    }
}

impl FromStr for Span {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const WHY: Invalid = Invalid("a duration is a whole number and one of s, m, h, d, w, e.g. 90m or 30d; at most 100 years");
        let (unit_at, unit) = text.char_indices().next_back().ok_or(WHY)?;
        let unit_s = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 24 * 3600,
            'w' => 7 * 24 * 3600,
            _ => return Err(WHY),
        };
        let seconds = number::<u64>(&text[..unit_at]).map_err(|_| WHY)?.checked_mul(unit_s).ok_or(WHY)?;
        if seconds == 0 || seconds > CENTURY_S { Err(WHY) } else { Ok(Self(Duration::from_secs(seconds))) }
    }
}

impl FromStr for Window {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text == "never" { Ok(Self(Duration::ZERO)) } else { text.parse().map(|Span(span)| Self(span)) }
    }
}

impl FromStr for Moment {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Timestamp::parse(text).map(Self)
    }
}

impl FromStr for When {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const WHY: Invalid = Invalid("a time is RFC 3339, e.g. 2026-11-24T08:00:00Z, or a duration from now, e.g. 90m or 30d");
        let span = || text.parse().map(|Span(span)| Self::Away(span)).map_err(|_| WHY);
        Timestamp::parse(text).map(Self::At).or_else(|_| span())
    }
}

impl FromStr for NewExpiry {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text == "never" { Ok(Self(None)) } else { text.parse().map(|when| Self(Some(when))) }
    }
}

impl FromStr for Label {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (key, value) = text.split_once('=').ok_or(Invalid("a label is written KEY=VALUE"))?;
        Ok(Self { key: label_key(key)?, value: Text::<{ limits::LABEL_VALUE_BYTES }>::parse(value)?.as_str().to_owned() })
    }
}

impl FromStr for Prefix {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (namespace, path) = text.split_once('/').map_or((text, None), |(namespace, path)| (namespace, Some(path)));
        namespace.parse::<NamespaceName>()?;
        path.map(str::parse::<SecretPath>).transpose()?;
        Ok(Self(text.to_owned()))
    }
}

/// A label's key.
pub(super) fn label_key(text: &str) -> Result<String, Invalid> {
    Text::<{ limits::LABEL_KEY_BYTES }>::parse(text).map(|key| key.as_str().to_owned())
}

/// A reason, ticket or description.
pub(super) fn remark(text: &str) -> Result<String, Invalid> {
    Text::<{ limits::REASON_BYTES }>::parse(text).map(|text| text.as_str().to_owned())
}

/// A provider, subject, scope or token type.
pub(super) fn token_field(text: &str) -> Result<String, Invalid> {
    Text::<{ limits::TOKEN_FIELD_BYTES }>::parse(text).map(|text| text.as_str().to_owned())
}

/// A host name, as it stands in a certificate.
pub(super) fn host_name(text: &str) -> Result<String, Invalid> {
    let name = DnsName::try_from(text).map_err(|_| Invalid("a host name is labels of letters, digits and -, with dots between them"))?;
    Ok(name.as_ref().to_owned())
}

/// The name of a file, without its folder and ending.
pub(super) fn file_stem(text: &str) -> Result<String, Invalid> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let plain = !text.is_empty() && text.len() <= 200 && !text.starts_with(['.', '-']) && text.bytes().all(fits);
    if plain {
        Ok(text.to_owned())
    } else {
        Err(Invalid("a name of a file is letters, digits, `.`, `-` and `_`, and begins with none of these signs"))
    }
}

/// A whole number. clap's own parser would repeat what it refuses.
pub(super) fn number<T: FromStr>(text: &str) -> Result<T, Invalid> {
    const WHY: Invalid = Invalid("must be a whole number, and not too large");
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().map_err(|_| WHY) } else { Err(WHY) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, seconds) in [("1s", 1), ("90m", 5400), ("1h", 3600), ("30d", 2_592_000), ("2w", 1_209_600), ("36500d", CENTURY_S)] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_secs(seconds))), "{text}");
        }
        for text in [
            "",
            "h",
            "1",
            "0s",
            "-1h",
            "+1h",
            "1 h",
            "1h30m",
            "1.5h",
            "1H",
            "1y",
            "36501d",
            "99999999999999999999s",
            "1ｈ",
            "18446744073709551615w",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text:?}");
        }
        for text in ["1s", "61s", "90m", "25h", "14d"] {
            assert_eq!(text.parse::<Span>().map(|span| span.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn times_are_points_or_distances() {
        let point = Timestamp::parse("2026-11-24T08:00:00Z").expect("valid");
        assert_eq!("2026-11-24T08:00:00Z".parse(), Ok(When::At(point)));
        assert_eq!("2026-11-24T08:00:00Z".parse::<NewExpiry>().map(NewExpiry::expiry), Ok(Expiry::At(point)));
        assert_eq!("never".parse::<NewExpiry>().map(NewExpiry::expiry), Ok(Expiry::Never));
        let now = SystemClock.now();
        let hour = "1h".parse::<When>().expect("valid");
        assert!(hour.ahead().since(now) >= Duration::from_secs(3600) && hour.ahead().since(now) < Duration::from_secs(3660));
        assert!(now.since(hour.ago()) <= Duration::from_secs(3600) && now.since(hour.ago()) > Duration::from_secs(3540));
        assert_eq!(before(Timestamp::default(), Duration::from_secs(1)), Timestamp::default());
        for text in ["", "tomorrow", "Never", "2026-11-24", "2026-11-24 08:00"] {
            assert!(text.parse::<NewExpiry>().is_err() && text.parse::<When>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn labels_and_prefixes_are_checked_before_they_are_sent() {
        assert_eq!("tier=gold=1".parse(), Ok(Label { key: "tier".to_owned(), value: "gold=1".to_owned() }));
        for text in ["", "tier", "=gold", "tier=", "a\nb=c"] {
            assert!(text.parse::<Label>().is_err(), "{text:?}");
        }
        assert!("wepay-prod".parse::<Prefix>().is_ok() && "wepay-prod/merchants".parse::<Prefix>().is_ok());
        for text in ["", "/", "wepay-prod/", "Wepay", "wepay-prod/*"] {
            assert!(text.parse::<Prefix>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn numbers_are_digits() {
        assert_eq!(number("42"), Ok(42_u64));
        assert_eq!(number::<u32>("4294967296"), Err(Invalid("must be a whole number, and not too large")));
        for text in ["", "+1", "-1", "0x1", "1 "] {
            assert!(number::<u64>(text).is_err(), "{text:?}");
        }
    }
}
