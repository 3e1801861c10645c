//! An entry as it is read back. The order of its fields is the order in the line, and frozen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::line;
use crate::model::{Action, Class, Timestamp};

/// What kind of entry it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// Something was read; written before the answer leaves.
    Read,
    /// A change is about to be made; written before the commit.
    Intent,
    /// How that change ended.
    Outcome,
    /// A call was refused.
    Denied,
    /// Counts of what was not written one by one.
    Summary,
    /// What the vault did by itself or for its own sake: start, seal, unseal, stop.
    System,
}

/// What the gate decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The call was let through.
    Allow,
    /// The call was refused.
    Deny,
}

/// One entry of the log. Fields that were absent are `None`. Text is as it was written; a reader that shows it to a human
/// escapes it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was queued; never earlier than that of the entry before.
    #[serde(with = "rfc3339")]
    pub time: Timestamp,
    /// Its number, from 1, without gaps.
    pub sequence: u64,
    /// Which node wrote it.
    pub node: String,
    /// What kind of entry it is.
    pub event: Event,
    /// The RPC, or a fixed word for what is none.
    pub method: String,
    /// SPIFFE ID of the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Class of the caller.
    #[serde(default, with = "class_word", skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// Serial number of the client certificate, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Address and port of the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The key exchange of the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_group: Option<String>,
    /// What the caller wanted to do.
    #[serde(default, with = "action_word", skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// To what: `namespace/path`, `namespace`, or a word for the vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// What the gate decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Text of the rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Why, in the caller's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The caller's ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The caller's id of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Sequence of the intent that an outcome closes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<u64>,
    /// `ok` or the word of an error code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Version of the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Further words, sorted by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub detail: BTreeMap<String, String>,
}

impl Entry {
    /// The line without its newline: the bytes that the log holds for this entry, and the leaf of its Merkle tree.
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        line::write(&mut out, self);
        out
    }
}

mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::model::Timestamp;

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(time)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        Timestamp::parse(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

mod action_word {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use crate::model::Action;

    pub(super) fn serialize<S: Serializer>(action: &Option<Action>, to: S) -> Result<S::Ok, S::Error> {
        action.map(Action::word).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Action>, D::Error> {
        let word = Option::<String>::deserialize(from)?;
        word.map(|word| word.parse().map_err(D::Error::custom)).transpose()
    }
}

pub(super) mod class_word {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use crate::model::Class;

    pub(in crate::audit) fn serialize<S: Serializer>(class: &Option<Class>, to: S) -> Result<S::Ok, S::Error> {
        class.map(Class::word).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Class>, D::Error> {
        let word = Option::<String>::deserialize(from)?;
        let class = |word: String| [Class::Workload, Class::Operator].into_iter().find(|class| class.word() == word);
        word.map(|word| class(word).ok_or_else(|| D::Error::custom("not a class"))).transpose()
    }
}
