//! What can be asked about secrets, built up word by word. No `Debug` here shows a value.

use std::collections::BTreeMap;

use super::{AccessToken, ClientError, convert};
use crate::model::{SecretBytes, SecretName, Timestamp};

/// A new secret.
#[derive(Debug)]
pub struct NewSecret {
    pub(super) name: SecretName,
    pub(super) value: SecretBytes,
    pub(super) access_token: Option<AccessToken>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) expire_time: Option<Timestamp>,
    pub(super) request_id: String,
}

/// A new version of a secret.
#[derive(Debug)]
pub struct SecretUpdate {
    pub(super) name: SecretName,
    pub(super) value: SecretBytes,
    pub(super) expected_revision: u64,
    pub(super) expiry: Expiry,
    pub(super) access_token: Option<AccessToken>,
    pub(super) request_id: String,
}

/// New labels or a new expiry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataUpdate {
    pub(super) name: SecretName,
    pub(super) expected_revision: u64,
    pub(super) set_labels: BTreeMap<String, String>,
    pub(super) remove_labels: Vec<String>,
    pub(super) expiry: Expiry,
    pub(super) request_id: String,
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
    pub(super) name: SecretName,
    pub(super) version: u64,
    pub(super) reason: String,
    pub(super) ticket: String,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api;

    fn name() -> SecretName {
        "wepay-prod/merchants/12345".parse().expect("valid")
    }

    fn canary() -> SecretBytes {
        SecretBytes::new(b"STAGE_canary".to_vec())
    }

    // immune: row-40
    #[test]
    fn debug_shows_no_value() {
        let new = NewSecret::access_token(&name(), canary(), "wepay", "12345").label("tier", "gold");
        let update = SecretUpdate::new(&name(), canary(), 7);
        let revealed = super::super::Revealed { value: canary(), version: 1, revision: 7, expire_time: None };
        let as_numbers = format!("{:?}", canary().expose());
        for shown in [format!("{new:?}"), format!("{update:?}"), format!("{revealed:?}"), format!("{new:#?}")] {
            assert!(shown.contains("SecretBytes(12 bytes)"), "{shown}");
            assert!(!shown.contains("canary") && !shown.contains(as_numbers.trim_matches(['[', ']'])), "{shown}");
        }
    }

    #[test]
    fn a_value_moves_into_its_request_without_a_copy() {
        let value = canary();
        let place = value.expose().as_ptr();
        let request = api::CreateSecretRequest::from(NewSecret::opaque(&name(), value));
        assert_eq!(request.payload.as_ptr(), place);
        let value = canary();
        let place = value.expose().as_ptr();
        let request = api::UpdateSecretRequest::from(SecretUpdate::new(&name(), value, 7));
        assert_eq!(request.payload.as_ptr(), place);
    }

    #[test]
    fn unset_words_say_nothing() {
        let request = api::CreateSecretRequest::from(NewSecret::opaque(&name(), canary()).scopes(["send_money"]).token_type("BEARER"));
        assert_eq!((request.access_token, request.expire_time, request.labels.len()), (None, None, 0));
        let request = api::UpdateSecretRequest::from(SecretUpdate::new(&name(), canary(), 7).expiry(Expiry::Never));
        assert_eq!((request.never_expires, request.expire_time, request.expected_revision), (true, None, 7));
        let request = api::UpdateSecretMetadataRequest::from(MetadataUpdate::new(&name(), 7).remove_label("tier"));
        assert_eq!((request.never_expires, request.expire_time, request.remove_labels), (false, None, vec!["tier".to_owned()]));
    }
}
