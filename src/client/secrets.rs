//! Secrets: what is known of them, and one typed method for each of their RPCs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::convert::{self, as_kind, as_text, as_text_or_null};
use super::secret_requests::{MetadataUpdate, NewSecret, Reveal, SecretUpdate, StateChange};
use super::secret_wire::secret;
use super::{Client, ClientError, Listed, Page};
use crate::api;
use crate::model::{NamespaceName, SecretBytes, SecretId, SecretKind, SecretName, Timestamp};

/// Everything about a secret but its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretInfo {
    /// `namespace/path/segments`.
    #[serde(serialize_with = "as_text")]
    pub name: SecretName,
    /// The secret's id. A name that is used again after a purge keeps it.
    #[serde(serialize_with = "as_text")]
    pub secret_id: SecretId,
    /// What the value is.
    #[serde(serialize_with = "as_kind")]
    pub kind: SecretKind,
    /// Whether it can be revealed.
    pub state: SecretState,
    /// The newest version's number, from 1.
    pub version: u64,
    /// The store's number of the last change: a change that names it replaces exactly what was seen here.
    pub revision: u64,
    /// When it was created.
    #[serde(serialize_with = "as_text")]
    pub create_time: Timestamp,
    /// When anything about it last changed.
    #[serde(serialize_with = "as_text")]
    pub update_time: Timestamp,
    /// The SPIFFE ID of who last changed it.
    pub updated_by: String,
    /// When the value stops being revealed, if ever.
    #[serde(serialize_with = "as_text_or_null")]
    pub expire_time: Option<Timestamp>,
    /// Whether that time has come.
    pub expired: bool,
    /// When the recovery window of a destroyed secret ends.
    #[serde(serialize_with = "as_text_or_null")]
    pub purge_time: Option<Timestamp>,
    /// The callers' own labels.
    pub labels: BTreeMap<String, String>,
    /// What an access token is for; `None` for an opaque secret.
    pub access_token: Option<AccessToken>,
    /// The version of the key-encryption key that wraps the data key.
    pub kek_version: u32,
}

/// Whether a secret can be revealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretState {
    /// It can, unless it is past its expiry.
    Enabled,
    /// Not until it is enabled again.
    Disabled,
    /// Not at all; it can be restored until its `purge_time`.
    Destroyed,
}

/// What an access token is for. None of it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccessToken {
    /// Who issued the token, e.g. `wepay`. Never changes.
    pub provider: String,
    /// Whose token it is at the provider. Never changes.
    pub subject: String,
    /// What the token may do, in the provider's words.
    pub scopes: Vec<String>,
    /// The token's type, e.g. `BEARER`; may be empty.
    pub token_type: String,
}

/// One version of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionInfo {
    /// Its number.
    pub version: u64,
    /// Whether this is the one that is revealed when no version is named.
    pub latest: bool,
    /// When it was stored.
    #[serde(serialize_with = "as_text")]
    pub create_time: Timestamp,
    /// The SPIFFE ID of who stored it.
    pub created_by: String,
    /// When it stops being revealed, if ever.
    #[serde(serialize_with = "as_text_or_null")]
    pub expire_time: Option<Timestamp>,
    /// The version of the key-encryption key that wraps its data key.
    pub kek_version: u32,
}

/// A secret as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stored {
    /// The secret.
    pub secret: SecretInfo,
    /// What looked odd but was not refused.
    pub warnings: Vec<String>,
}

/// A value in the clear. Its `Debug` shows the value's length alone.
#[derive(Debug)]
pub struct Revealed {
    /// The value.
    pub value: SecretBytes,
    /// Its version.
    pub version: u64,
    /// The secret's revision.
    pub revision: u64,
    /// When this value stops being revealed, if ever.
    pub expire_time: Option<Timestamp>,
}

/// Each fails with [`ClientError`]: [`ClientError::Refused`] says why the server would not.
impl Client {
    /// Stores a value under a name that holds none.
    ///
    /// # Errors
    /// Refused where the name is taken (`AlreadyExists`) or the caller lacks `create`; see [`ClientError`].
    pub async fn create_secret(&self, new: NewSecret) -> Result<Stored, ClientError> {
        let answer = self.call(api::CreateSecretRequest::from(new)).await?;
        Ok(Stored { secret: secret(answer.secret)?, warnings: answer.warnings })
    }

    /// Replaces a value: a new version, if the secret's revision is still the expected one.
    ///
    /// # Errors
    /// Refused where somebody was faster (`Aborted`) or the caller lacks `update`; see [`ClientError`].
    pub async fn update_secret(&self, update: SecretUpdate) -> Result<Stored, ClientError> {
        let answer = self.call(api::UpdateSecretRequest::from(update)).await?;
        Ok(Stored { secret: secret(answer.secret)?, warnings: answer.warnings })
    }

    /// Changes labels or expiry; the value and its version stay.
    ///
    /// # Errors
    /// As [`Client::update_secret`].
    pub async fn update_secret_metadata(&self, update: MetadataUpdate) -> Result<SecretInfo, ClientError> {
        secret(self.call(api::UpdateSecretMetadataRequest::from(update)).await?.secret)
    }

    /// Returns a value in the clear, which the server puts on record first.
    ///
    /// # Errors
    /// Refused where the secret is disabled, expired or destroyed (`FailedPrecondition`), where the caller lacks
    /// `reveal`, or is an operator who gave no reason; see [`ClientError`].
    pub async fn reveal_secret(&self, reveal: Reveal) -> Result<Revealed, ClientError> {
        let answer = self.call(api::RevealSecretRequest::try_from(reveal)?).await?;
        // First of all, so that the value is wiped whatever the rest of the answer is.
        let value = SecretBytes::new(answer.payload);
        Ok(Revealed { value, version: answer.version, revision: answer.revision, expire_time: convert::time(answer.expire_time)? })
    }

    /// Everything about a secret but its value.
    ///
    /// # Errors
    /// Refused where it does not exist or the caller lacks `describe` (both `NotFound`); see [`ClientError`].
    pub async fn describe_secret(&self, name: &SecretName) -> Result<SecretInfo, ClientError> {
        secret(self.call(api::DescribeSecretRequest { name: name.to_string() }).await?.secret)
    }

    /// One page of the secrets below a prefix (`namespace` or `namespace/path`) that the caller may describe, in an
    /// order that is stable but not alphabetical.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list_secrets(&self, prefix: &str, page: Page) -> Result<Listed<SecretInfo>, ClientError> {
        let request = api::ListSecretsRequest { prefix: prefix.to_owned(), page_size: page.size, page_token: page.token };
        let answer = self.call(request).await?;
        Listed::of(answer.secrets, answer.next_page_token, SecretInfo::try_from)
    }

    /// One page of the versions that a secret still has, newest first.
    ///
    /// # Errors
    /// As [`Client::describe_secret`].
    pub async fn list_secret_versions(&self, name: &SecretName, page: Page) -> Result<Listed<VersionInfo>, ClientError> {
        let request = api::ListSecretVersionsRequest { name: name.to_string(), page_size: page.size, page_token: page.token };
        let answer = self.call(request).await?;
        Listed::of(answer.versions, answer.next_page_token, VersionInfo::try_from)
    }

    /// The access tokens of a namespace with this provider and subject, at most 64, that the caller may describe.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn find_secrets(&self, namespace: &NamespaceName, provider: &str, subject: &str) -> Result<Vec<SecretInfo>, ClientError> {
        let (provider, subject) = (provider.to_owned(), subject.to_owned());
        let answer = self.call(api::FindSecretsRequest { namespace: namespace.to_string(), provider, subject }).await?;
        answer.secrets.into_iter().map(SecretInfo::try_from).collect()
    }

    /// Stops a secret from being revealed until it is enabled again.
    ///
    /// # Errors
    /// As [`Client::update_secret`].
    pub async fn disable_secret(&self, change: StateChange) -> Result<SecretInfo, ClientError> {
        let StateChange { name, expected_revision, reason, request_id } = change.checked()?;
        secret(self.call(api::DisableSecretRequest { name, expected_revision, reason, request_id }).await?.secret)
    }

    /// Lets a disabled secret be revealed again.
    ///
    /// # Errors
    /// As [`Client::update_secret`].
    pub async fn enable_secret(&self, change: StateChange) -> Result<SecretInfo, ClientError> {
        let StateChange { name, expected_revision, reason, request_id } = change.checked()?;
        secret(self.call(api::EnableSecretRequest { name, expected_revision, reason, request_id }).await?.secret)
    }

    /// Makes a secret unreadable for every caller at once; [`SecretInfo::purge_time`] says until when it can be restored.
    ///
    /// # Errors
    /// Refused where the caller lacks `destroy`; see [`ClientError`].
    pub async fn destroy_secret(&self, change: StateChange) -> Result<SecretInfo, ClientError> {
        let StateChange { name, expected_revision, reason, request_id } = change.checked()?;
        secret(self.call(api::DestroySecretRequest { name, expected_revision, reason, request_id }).await?.secret)
    }

    /// Brings a destroyed secret back while its recovery window runs.
    ///
    /// # Errors
    /// As [`Client::destroy_secret`].
    pub async fn restore_secret(&self, change: StateChange) -> Result<SecretInfo, ClientError> {
        let StateChange { name, expected_revision, reason, request_id } = change.checked()?;
        secret(self.call(api::RestoreSecretRequest { name, expected_revision, reason, request_id }).await?.secret)
    }

    /// Deletes a destroyed secret's rows now; returns how many.
    ///
    /// # Errors
    /// As [`Client::destroy_secret`].
    pub async fn purge_secret(&self, change: StateChange) -> Result<u32, ClientError> {
        let StateChange { name, expected_revision, reason, request_id } = change.checked()?;
        Ok(self.call(api::PurgeSecretRequest { name, expected_revision, reason, request_id }).await?.deleted_rows)
    }
}

impl SecretState {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Destroyed => "destroyed",
        }
    }
}
