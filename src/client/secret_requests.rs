//! What can be asked about secrets, built up word by word. No `Debug` here shows a value.

use std::collections::BTreeMap;

use super::{AccessToken, ClientError, convert};
use crate::api;
use crate::model::{SecretBytes, SecretName, Timestamp};

/// A new secret.
#[derive(Debug)]
pub struct NewSecret {
    name: SecretName,
    value: SecretBytes,
    access_token: Option<AccessToken>,
    labels: BTreeMap<String, String>,
    expire_time: Option<Timestamp>,
    request_id: String,
}

/// A new version of a secret.
#[derive(Debug)]
pub struct SecretUpdate {
    name: SecretName,
    value: SecretBytes,
    expected_revision: u64,
    expiry: Expiry,
    access_token: Option<AccessToken>,
    request_id: String,
}

/// New labels or a new expiry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataUpdate {
    name: SecretName,
    expected_revision: u64,
    set_labels: BTreeMap<String, String>,
    remove_labels: Vec<String>,
    expiry: Expiry,
    request_id: String,
}

/// What happens to a secret's expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expiry {
    /// It stays as it is.
    #[default]
    Unchanged,
    /// There is none any more.
    Never,
    /// It is then.
    At(Timestamp),
}

/// Which value to reveal, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reveal {
    name: SecretName,
    version: u64,
    reason: String,
    ticket: String,
}

/// Which secret to disable, enable, destroy, restore or purge, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    pub(super) name: String,
    pub(super) expected_revision: u64,
    pub(super) reason: String,
    pub(super) request_id: String,
}

impl NewSecret {
    /// Bytes that mean nothing to the vault: 1 byte to 64 KiB, unless the namespace allows less.
    #[must_use]
    pub fn opaque(name: &SecretName, value: SecretBytes) -> Self {
        Self { name: name.clone(), value, access_token: None, labels: BTreeMap::new(), expire_time: None, request_id: String::new() }
    }

    /// The token that `provider` gave for `subject`, each of 1 to 255 bytes.
    #[must_use]
    pub fn access_token(name: &SecretName, value: SecretBytes, provider: impl Into<String>, subject: impl Into<String>) -> Self {
        let details = AccessToken { provider: provider.into(), subject: subject.into(), scopes: Vec::new(), token_type: String::new() };
        Self { access_token: Some(details), ..Self::opaque(name, value) }
    }

    /// What the token may do, in the provider's words. For access tokens alone.
    #[must_use]
    pub fn scopes(mut self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        if let Some(details) = &mut self.access_token {
            details.scopes = scopes.into_iter().map(Into::into).collect();
        }
        self
    }

    /// The token's type, e.g. `BEARER`. For access tokens alone.
    #[must_use]
    pub fn token_type(mut self, token_type: impl Into<String>) -> Self {
        if let Some(details) = &mut self.access_token {
            details.token_type = token_type.into();
        }
        self
    }

    /// A label: a key of 1 to 63 bytes, a value of 1 to 255.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// When the value stops being revealed.
    #[must_use]
    pub fn expires(self, time: Timestamp) -> Self {
        Self { expire_time: Some(time), ..self }
    }

    /// The caller's own request id, 1 to 128 bytes, in place of a random one: makes a retry safe across restarts.
    #[must_use]
    pub fn request_id(self, id: impl Into<String>) -> Self {
        Self { request_id: id.into(), ..self }
    }
}

impl SecretUpdate {
    /// A value that replaces the one seen at `expected_revision`.
    #[must_use]
    pub fn new(name: &SecretName, value: SecretBytes, expected_revision: u64) -> Self {
        let (expiry, request_id) = (Expiry::Unchanged, String::new());
        Self { name: name.clone(), value, expected_revision, expiry, access_token: None, request_id }
    }

    /// The new value's expiry.
    #[must_use]
    pub fn expiry(self, expiry: Expiry) -> Self {
        Self { expiry, ..self }
    }

    /// New scopes and type; provider and subject must be the secret's own.
    #[must_use]
    pub fn access_token(self, details: AccessToken) -> Self {
        Self { access_token: Some(details), ..self }
    }

    /// As [`NewSecret::request_id`].
    #[must_use]
    pub fn request_id(self, id: impl Into<String>) -> Self {
        Self { request_id: id.into(), ..self }
    }
}

impl MetadataUpdate {
    /// A change of what was seen at `expected_revision`.
    #[must_use]
    pub fn new(name: &SecretName, expected_revision: u64) -> Self {
        let (set_labels, remove_labels, expiry, request_id) = Default::default();
        Self { name: name.clone(), expected_revision, set_labels, remove_labels, expiry, request_id }
    }

    /// A label to set.
    #[must_use]
    pub fn set_label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.set_labels.insert(key.into(), value.into());
        self
    }

    /// A label to remove.
    #[must_use]
    pub fn remove_label(mut self, key: impl Into<String>) -> Self {
        self.remove_labels.push(key.into());
        self
    }

    /// The new expiry.
    #[must_use]
    pub fn expiry(self, expiry: Expiry) -> Self {
        Self { expiry, ..self }
    }

    /// As [`NewSecret::request_id`].
    #[must_use]
    pub fn request_id(self, id: impl Into<String>) -> Self {
        Self { request_id: id.into(), ..self }
    }
}

impl Reveal {
    /// The latest version.
    #[must_use]
    pub fn latest(name: &SecretName) -> Self {
        Self { name: name.clone(), version: 0, reason: String::new(), ticket: String::new() }
    }

    /// That version.
    #[must_use]
    pub fn version(self, version: u64) -> Self {
        Self { version, ..self }
    }

    /// Why, for the audit log: at most 512 bytes; required of operators.
    #[must_use]
    pub fn reason(self, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..self }
    }

    /// The ticket it belongs to, for the audit log: at most 512 bytes.
    #[must_use]
    pub fn ticket(self, ticket: impl Into<String>) -> Self {
        Self { ticket: ticket.into(), ..self }
    }
}

impl StateChange {
    /// Whatever its revision.
    #[must_use]
    pub fn of(name: &SecretName) -> Self {
        let (expected_revision, reason, request_id) = Default::default();
        Self { name: name.to_string(), expected_revision, reason, request_id }
    }

    /// Only if this is still its revision.
    #[must_use]
    pub fn expected_revision(self, expected_revision: u64) -> Self {
        Self { expected_revision, ..self }
    }

    /// Why, for the audit log: at most 512 bytes.
    #[must_use]
    pub fn reason(self, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..self }
    }

    /// As [`NewSecret::request_id`].
    #[must_use]
    pub fn request_id(self, id: impl Into<String>) -> Self {
        Self { request_id: id.into(), ..self }
    }

    pub(super) fn checked(self) -> Result<Self, ClientError> {
        Ok(Self { reason: convert::remark("reason", self.reason)?, ..self })
    }
}

impl Expiry {
    fn wire(self) -> (Option<prost_types::Timestamp>, bool) {
        match self {
            Self::Unchanged => (None, false),
            Self::Never => (None, true),
            Self::At(time) => (Some(convert::wire_time(time)), false),
        }
    }
}

impl From<AccessToken> for api::AccessTokenDetails {
    fn from(typed: AccessToken) -> Self {
        Self { provider: typed.provider, subject: typed.subject, scopes: typed.scopes, token_type: typed.token_type }
    }
}

impl From<NewSecret> for api::CreateSecretRequest {
    fn from(typed: NewSecret) -> Self {
        Self {
            name: typed.name.to_string(),
            payload: typed.value.into_exposed(),
            access_token: typed.access_token.map(Into::into),
            labels: typed.labels.into_iter().collect(),
            expire_time: typed.expire_time.map(convert::wire_time),
            request_id: typed.request_id,
        }
    }
}

impl From<SecretUpdate> for api::UpdateSecretRequest {
    fn from(typed: SecretUpdate) -> Self {
        let (expire_time, never_expires) = typed.expiry.wire();
        Self {
            name: typed.name.to_string(),
            payload: typed.value.into_exposed(),
            expected_revision: typed.expected_revision,
            expire_time,
            never_expires,
            access_token: typed.access_token.map(Into::into),
            request_id: typed.request_id,
        }
    }
}

impl From<MetadataUpdate> for api::UpdateSecretMetadataRequest {
    fn from(typed: MetadataUpdate) -> Self {
        let (expire_time, never_expires) = typed.expiry.wire();
        Self {
            name: typed.name.to_string(),
            expected_revision: typed.expected_revision,
            set_labels: typed.set_labels.into_iter().collect(),
            remove_labels: typed.remove_labels,
            expire_time,
            never_expires,
            request_id: typed.request_id,
        }
    }
}

impl TryFrom<Reveal> for api::RevealSecretRequest {
    type Error = ClientError;

    fn try_from(typed: Reveal) -> Result<Self, ClientError> {
        let (reason, ticket) = (convert::remark("reason", typed.reason)?, convert::remark("ticket", typed.ticket)?);
        Ok(Self { name: typed.name.to_string(), version: typed.version, reason, ticket })
    }
}
