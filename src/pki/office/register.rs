//! The books of one authority: every leaf that it issued, and its last revocation list. A JSON file, replaced whole.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::kind::Kind;
use crate::model::{SpiffeId, Timestamp};
use crate::pki::{Reason, RevokedLeaf};

/// The form of the file; another is refused.
const FORMAT: u32 = 1;
/// How long a leaf stays in the books after its end.
const KEPT: Duration = Duration::from_secs(365 * 24 * 3600);

/// One leaf in the books.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registered {
    /// 32 lowercase hex digits.
    pub serial: String,
    /// Whose it is.
    #[serde(with = "as_text")]
    pub id: SpiffeId,
    /// What it is for.
    pub kind: Kind,
    /// Host names, of a server alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_names: Vec<String>,
    /// Addresses, of a server alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// Its start.
    #[serde(with = "as_time")]
    pub not_before: Timestamp,
    /// Its end.
    #[serde(with = "as_time")]
    pub not_after: Timestamp,
    /// Whether it was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revoked>,
}

/// When a leaf was taken back, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoked {
    /// When.
    #[serde(with = "as_time")]
    pub time: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// What becomes of a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It can be used.
    Valid,
    /// It has ended.
    Expired,
    /// It was taken back.
    Revoked,
}

/// A revocation list that was made, or is about to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListRecord {
    pub(super) number: u64,
    #[serde(with = "as_time")]
    pub(super) this_update: Timestamp,
    #[serde(with = "as_time")]
    pub(super) next_update: Timestamp,
}

/// All of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Register {
    format: u32,
    pub(super) list: ListRecord,
    pub(super) leaves: Vec<Registered>,
}

impl Registered {
    /// What became of it by `now`.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> State {
        match self.revoked {
            Some(_) => State::Revoked,
            None if self.not_after <= now => State::Expired,
            None => State::Valid,
        }
    }
}

impl State {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl Register {
    pub(super) fn new(list: ListRecord) -> Self {
        Self { format: FORMAT, list, leaves: Vec::new() }
    }

    /// # Errors
    /// What is wrong, and what to do.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let register: Self = serde_json::from_str(text).map_err(|_| "is no register of this program: put back your newest copy")?;
        if register.format == FORMAT { Ok(register) } else { Err("is of another version of this program: use that one") }
    }

    pub(super) fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("texts, numbers and lists of them are JSON");
        text.push('\n');
        text
    }

    pub(super) fn find(&self, serial: &str) -> Option<&Registered> {
        self.leaves.iter().find(|leaf| leaf.serial == serial)
    }

    /// Notes that a leaf is taken back; returns what it says of it now. Its first time and reason stay.
    pub(super) fn revoke(&mut self, serial: &str, now: Timestamp, reason: Reason) -> Option<&Registered> {
        let leaf = self.leaves.iter_mut().find(|leaf| leaf.serial == serial)?;
        leaf.revoked.get_or_insert(Revoked { time: now, reason });
        Some(leaf)
    }

    /// Drops each leaf whose end is more than [`KEPT`] ago, by the clock and by the last list: a clock that is wrong for once
    /// costs nothing. What was taken back has been on a list that was made after its end by then (RFC 5280, section 3.3): the
    /// last one, which must lie in its place.
    pub(super) fn forget(&mut self, now: Timestamp) {
        let made = self.list.this_update;
        let is_long_over = |leaf: &Registered| made.min(now).since(leaf.not_after) > KEPT;
        let was_listed = |revoked: Revoked| revoked.time < made;
        self.leaves.retain(|leaf| !(is_long_over(leaf) && leaf.revoked.is_none_or(was_listed)));
    }

    pub(super) fn revoked(&self) -> Vec<RevokedLeaf<'_>> {
        let line = |leaf: &'_ Registered| leaf.revoked.map(|Revoked { time, reason }| (time, reason));
        self.leaves.iter().filter_map(|leaf| line(leaf).map(|(time, reason)| RevokedLeaf { serial: &leaf.serial, time, reason })).collect()
    }
}

/// As it is written.
mod as_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// RFC 3339.
mod as_time {
    use serde::{Deserialize, Deserializer, de};

    use super::Timestamp;
    pub(super) use super::as_text::serialize;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Timestamp::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
