//! What callers see of a secret: everything but its value.

use std::collections::BTreeMap;

use crate::model::{SecretId, SecretKind, SecretName, Text, Timestamp, limits};
use crate::storage::Revision;

use super::super::Error;
use super::super::page::Shown;
use super::super::record::{self, SecretMeta, State};
use super::row::Head;

/// Bounded text of an access token's details.
type Detail = Text<{ limits::TOKEN_FIELD_BYTES }>;

/// What an access token is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenDetails {
    /// Who issued it. Never changes.
    pub provider: Detail,
    /// Whose it is at the provider. Never changes.
    pub subject: Detail,
    /// What it may do, in the provider's words.
    pub scopes: Vec<Detail>,
    /// Its type, e.g. `BEARER`.
    pub token_type: Option<Detail>,
}

/// Whether a secret can be revealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShownState {
    /// It can, unless it is expired.
    Enabled,
    /// Not until it is enabled again.
    Disabled,
    /// Not unless it is restored in time.
    Destroyed,
}

/// Everything about a secret but its value.
#[derive(Debug, Clone)]
pub struct SecretInfo {
    /// Its name.
    pub name: SecretName,
    /// Its id.
    pub id: SecretId,
    /// What the value is.
    pub kind: SecretKind,
    /// Whether it can be revealed.
    pub state: ShownState,
    /// The newest version's number.
    pub version: u64,
    /// The store's number of the last change.
    pub revision: u64,
    /// When it was created.
    pub created: Timestamp,
    /// When anything about it last changed.
    pub updated: Timestamp,
    /// The SPIFFE ID of who last changed it.
    pub updated_by: String,
    /// When the value stops being revealed.
    pub expires: Option<Timestamp>,
    /// Whether that time has come.
    pub expired: bool,
    /// When the recovery window of a destroyed secret ends.
    pub purge: Option<Timestamp>,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// What an access token is for.
    pub token: Option<TokenDetails>,
    /// The version of the key-encryption key around this version's data key.
    pub kek_version: u32,
}

impl SecretInfo {
    /// Of an open head. None for a purged secret: its row only keeps the numbering.
    pub(super) fn of(
        name: SecretName,
        head: &Head<'_>,
        meta: &SecretMeta,
        revision: Revision,
        now: Timestamp,
    ) -> Result<Option<Self>, Error> {
        let state = match meta.state() {
            State::Enabled => ShownState::Enabled,
            State::Disabled => ShownState::Disabled,
            State::Destroyed => ShownState::Destroyed,
            State::Purged => return Ok(None),
            State::Unspecified => return Err(Error::Integrity("a secret's state")),
        };
        Ok(Some(Self {
            name,
            id: head.secret,
            kind: meta.secret_kind()?,
            state,
            version: head.version,
            revision: revision.number(),
            created: record::time(meta.created_ms)?,
            updated: record::time(meta.updated_ms)?,
            updated_by: meta.updated_by.clone(),
            expires: meta.expires()?,
            expired: meta.is_expired(now),
            purge: record::optional_time(meta.purge_ms)?,
            labels: meta.labels.clone(),
            token: meta.token.as_ref().map(TokenDetails::try_from).transpose()?,
            kek_version: head.kek_version,
        }))
    }
}

impl TryFrom<&record::TokenDetails> for TokenDetails {
    type Error = Error;

    fn try_from(details: &record::TokenDetails) -> Result<Self, Error> {
        let text = |text: &String| Detail::parse(text).map_err(|_| Error::Integrity("a token's details"));
        Ok(Self {
            provider: text(&details.provider)?,
            subject: text(&details.subject)?,
            scopes: details.scopes.iter().map(text).collect::<Result<_, _>>()?,
            token_type: Detail::parse_optional(&details.token_type).map_err(|_| Error::Integrity("a token's type"))?,
        })
    }
}

impl From<&TokenDetails> for record::TokenDetails {
    fn from(details: &TokenDetails) -> Self {
        Self {
            provider: details.provider.to_string(),
            subject: details.subject.to_string(),
            scopes: details.scopes.iter().map(ToString::to_string).collect(),
            token_type: details.token_type.as_ref().map_or_else(String::new, ToString::to_string),
        }
    }
}

impl Shown for SecretInfo {
    fn shown_bytes(&self) -> usize {
        let labels: usize = self.labels.iter().map(|(key, value)| 12 + key.len() + value.len()).sum();
        let token = self.token.as_ref().map_or(0, |token| {
            let scopes: usize = token.scopes.iter().map(|scope| 4 + scope.as_str().len()).sum();
            16 + token.provider.as_str().len() + token.subject.as_str().len() + scopes + limits::TOKEN_FIELD_BYTES
        });
        256 + self.name.to_string().len() + self.updated_by.len() + labels + token
    }
}
