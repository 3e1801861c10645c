//! Key-encryption keys. No call returns a key.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::convert::{self, as_text, as_text_or_null};
use super::{Client, ClientError, Listed, Page, RewrapInfo, RewrapOrder};
use crate::api;
use crate::model::{NamespaceName, Timestamp};

/// One version of a namespace's key-encryption key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyInfo {
    /// The namespace.
    #[serde(serialize_with = "as_text")]
    pub namespace: NamespaceName,
    /// The version's number, from 1.
    pub version: u32,
    /// What it may be used for.
    pub state: KeyState,
    /// The algorithm, e.g. `AES-256-GCM-HKDF-SHA256-COMMIT`.
    pub algorithm: String,
    /// When it was made.
    #[serde(serialize_with = "as_text")]
    pub create_time: Timestamp,
    /// When it is destroyed, of a scheduled version.
    #[serde(serialize_with = "as_text_or_null")]
    pub destroy_time: Option<Timestamp>,
    /// How many rows (current and older versions of secrets) lay under it when they were last counted; `None` if they have
    /// not been counted since the vault was opened.
    pub rows: Option<u64>,
    /// When they were counted.
    #[serde(serialize_with = "as_text_or_null")]
    pub rows_time: Option<Timestamp>,
    /// When a rewrap to it has ended, as far as the namespace's newest rewrap tells.
    #[serde(serialize_with = "as_text_or_null")]
    pub rewrap_time: Option<Timestamp>,
    /// How long a version of this keyring encrypts. In JSON: `cryptoperiod_s`.
    #[serde(rename = "cryptoperiod_s", serialize_with = "as_seconds")]
    pub cryptoperiod: Duration,
    /// Whether it is active although that time is over: rotate it.
    pub over_age: bool,
}

/// What a key version may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Encrypts and decrypts. Exactly one version of a keyring is active.
    Active,
    /// Decrypts what it encrypted.
    DecryptOnly,
    /// Does nothing until it is enabled again.
    Disabled,
    /// Does nothing, and will be destroyed.
    Scheduled,
    /// Is no more.
    Destroyed,
}

impl KeyState {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::DecryptOnly => "decrypt_only",
            Self::Disabled => "disabled",
            Self::Scheduled => "scheduled",
            Self::Destroyed => "destroyed",
        }
    }
}

impl Client {
    /// Makes a new active version. With `expected_active_version` only if that is the active one now; 0 for any. Never
    /// sent twice by itself: a second rotation would be a second version.
    ///
    /// # Errors
    /// Refused where another version is active (`Aborted`) or the caller lacks `rotate`; see [`ClientError`].
    pub async fn rotate_key(&self, namespace: &NamespaceName, expected_active_version: u32, reason: &str) -> Result<KeyInfo, ClientError> {
        let reason = convert::remark("reason", reason.to_owned())?;
        let request =
            api::RotateKeyRequest { namespace: namespace.to_string(), expected_active_version, reason, ..api::RotateKeyRequest::default() };
        convert::required(self.call(request).await?.key, "no key")?.try_into()
    }

    /// The same, and every data key is then put under the new version, in the background.
    ///
    /// # Errors
    /// As for [`Client::rotate_key`].
    pub async fn rotate_key_and_rewrap(
        &self,
        namespace: &NamespaceName,
        expected_active_version: u32,
        order: RewrapOrder,
        reason: &str,
    ) -> Result<(KeyInfo, RewrapInfo), ClientError> {
        let RewrapOrder { reencrypt, rate_per_s } = order;
        let (namespace, reason) = (namespace.to_string(), convert::remark("reason", reason.to_owned())?);
        let request = api::RotateKeyRequest { namespace, expected_active_version, reason, rewrap: true, reencrypt, rate_per_s };
        let answer = self.call(request).await?;
        Ok((convert::required(answer.key, "no key")?.try_into()?, convert::required(answer.rewrap, "no rewrap")?.try_into()?))
    }

    /// One page of the key versions of a namespace, or of every namespace that the caller may rotate.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list_keys(&self, namespace: Option<&NamespaceName>, page: Page) -> Result<Listed<KeyInfo>, ClientError> {
        let namespace = namespace.map(ToString::to_string).unwrap_or_default();
        let answer = self.call(api::ListKeysRequest { namespace, page_size: page.size, page_token: page.token }).await?;
        Listed::of(answer.keys, answer.next_page_token, KeyInfo::try_from)
    }
}

impl TryFrom<api::Key> for KeyInfo {
    type Error = ClientError;

    fn try_from(wire: api::Key) -> Result<Self, ClientError> {
        let state = match api::KeyState::try_from(wire.state) {
            Ok(api::KeyState::Active) => KeyState::Active,
            Ok(api::KeyState::DecryptOnly) => KeyState::DecryptOnly,
            Ok(api::KeyState::Disabled) => KeyState::Disabled,
            Ok(api::KeyState::Scheduled) => KeyState::Scheduled,
            Ok(api::KeyState::Destroyed) => KeyState::Destroyed,
            _ => return Err(ClientError::Answer("an unknown state of a key")),
        };
        Ok(Self {
            namespace: convert::parsed(&wire.namespace, "a namespace's name")?,
            version: wire.version,
            state,
            algorithm: wire.algorithm,
            create_time: convert::required_time(wire.create_time)?,
            destroy_time: convert::time(wire.destroy_time)?,
            rows: wire.rows,
            rows_time: convert::time(wire.rows_time)?,
            rewrap_time: convert::time(wire.rewrap_time)?,
            cryptoperiod: wire
                .cryptoperiod
                .and_then(|period| Duration::try_from(period).ok())
                .ok_or(ClientError::Answer("a key without cryptoperiod"))?,
            over_age: wire.over_age,
        })
    }
}

fn as_seconds<S: Serializer>(period: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(period.as_secs())
}
