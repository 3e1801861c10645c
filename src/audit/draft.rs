//! An entry as its maker writes it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::entry::{Decision, Event, class_word};
use super::line;
use crate::model::{Action, Class, NamespaceName, Principal, SecretName, SpiffeId, Text, limits};

/// An entry without time, sequence and node, which the log assigns. Every field but `event` and `method` may be absent.
///
/// There is no field for bytes, and what callers send arrives in types that refuse what looks like a token, so that a value
/// cannot get in by accident:
///
/// ```compile_fail,E0277
/// use strongroom::audit::{Draft, Event};
/// use strongroom::model::SecretBytes;
/// Draft::new(Event::Read, "GetSecret").with("value", SecretBytes::new(vec![1]));
/// ```
#[derive(Debug, Clone, Serialize)]
pub struct Draft {
    /// What kind of entry it is.
    pub event: Event,
    /// The RPC, or a fixed word for what is none.
    pub method: &'static str,
    /// Who called: the SPIFFE ID of the client certificate.
    #[serde(serialize_with = "shown", skip_serializing_if = "Option::is_none")]
    pub principal: Option<SpiffeId>,
    /// The class that the trust anchor gives the principal.
    #[serde(serialize_with = "class", skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// Serial number of the client certificate, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Address and port that the connection came from.
    #[serde(serialize_with = "shown", skip_serializing_if = "Option::is_none")]
    pub peer: Option<SocketAddr>,
    /// The key exchange of the connection, e.g. `X25519MLKEM768`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_group: Option<&'static str>,
    /// What the caller wanted to do.
    #[serde(serialize_with = "shown", skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// To what.
    #[serde(serialize_with = "shown", skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
    /// What the gate decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Text of the rule that decided.
    #[serde(serialize_with = "shown", skip_serializing_if = "Option::is_none")]
    pub rule: Option<Arc<str>>,
    /// Why the caller says that he needs it.
    #[serde(serialize_with = "shown", skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text<{ limits::REASON_BYTES }>>,
    /// The ticket that he names.
    #[serde(serialize_with = "shown", skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Text<{ limits::REASON_BYTES }>>,
    /// The caller's id of the request.
    #[serde(serialize_with = "shown", skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Text<{ limits::REQUEST_ID_BYTES }>>,
    /// Sequence of the intent that this outcome closes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<u64>,
    /// `ok` or the word of an error code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'static str>,
    /// Version of the secret that was read or written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    /// Further words, sorted by key, e.g. the counts of a summary.
    /// Further words, sorted by key, e.g. the counts of a summary; filled by [`Draft::with`].
    pub detail: BTreeMap<&'static str, String>,
    /// Whether it may use the space held in reserve. Not part of the entry.
    #[serde(skip)]
    pub importance: Importance,
}

/// Whether an entry may use the space held in reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Importance {
    /// Refused when only the reserve is left.
    #[default]
    Ordinary,
    /// May use the reserve: `status`, `seal`, `unseal`, denials, outcomes.
    Always,
}

/// What an entry is about, as text: `namespace/path`, `namespace`, or a fixed word for the vault. Made from parsed names
/// only, so that nothing else can stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource(String);

impl Draft {
    /// An entry with these two alone. [`Importance::Always`] if it is an outcome, otherwise [`Importance::Ordinary`].
    #[must_use]
    pub fn new(event: Event, method: &'static str) -> Self {
        let importance = if event == Event::Outcome { Importance::Always } else { Importance::Ordinary };
        Self {
            event,
            method,
            principal: None,
            class: None,
            certificate: None,
            peer: None,
            tls_group: None,
            action: None,
            resource: None,
            decision: None,
            rule: None,
            reason: None,
            ticket: None,
            request_id: None,
            intent: None,
            outcome: None,
            version: None,
            detail: BTreeMap::new(),
            importance,
        }
    }

    /// The same, with the principal's id and class.
    #[must_use]
    pub fn by(mut self, principal: &Principal) -> Self {
        self.principal = Some(principal.id.clone());
        self.class = Some(principal.class);
        self
    }

    /// The same, with one more detail, e.g. `policy_generation`. A key given twice keeps the last.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.detail.insert(key, value.to_string());
        self
    }

    /// What stands in the line after the node: `,"event":…}`.
    pub(super) fn render(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(512);
        line::write(&mut body, self);
        body[0] = b',';
        body
    }
}

impl Resource {
    /// A secret: `namespace/path`.
    #[must_use]
    pub fn secret(name: &SecretName) -> Self {
        Self(name.into())
    }

    /// A namespace.
    #[must_use]
    pub fn namespace(name: &NamespaceName) -> Self {
        Self(name.to_string())
    }

    /// What lies below a prefix, as a list asks for it: `namespace/segments/`.
    #[must_use]
    pub fn below(namespace: &NamespaceName, prefix: &[String]) -> Self {
        let segments: String = prefix.iter().flat_map(|segment| [segment.as_str(), "/"]).collect();
        Self(format!("{namespace}/{segments}"))
    }

    /// A fixed word, for what belongs to the vault as a whole.
    #[must_use]
    pub fn word(word: &'static str) -> Self {
        Self(word.to_owned())
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn shown<S: Serializer>(value: &Option<impl fmt::Display>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.collect_str(value),
        None => to.serialize_none(),
    }
}

fn class<S: Serializer>(value: &Option<Class>, to: S) -> Result<S::Ok, S::Error> {
    class_word::serialize(value, to)
}
