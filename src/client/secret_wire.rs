//! Secrets and what can be asked about them, between the wire and their typed form.

use super::secret_requests::{Expiry, MetadataUpdate, NewSecret, Reveal, SecretUpdate};
use super::secrets::{AccessToken, SecretInfo, SecretState, VersionInfo};
use super::{ClientError, convert};
use crate::api;

pub(super) fn secret(wire: Option<api::Secret>) -> Result<SecretInfo, ClientError> {
    convert::required(wire, "no secret")?.try_into()
}

impl TryFrom<api::Secret> for SecretInfo {
    type Error = ClientError;

    fn try_from(wire: api::Secret) -> Result<Self, ClientError> {
        Ok(Self {
            name: convert::parsed(&wire.name, "a secret's name")?,
            secret_id: convert::parsed(&wire.secret_id, "a secret's id")?,
            kind: convert::kind(wire.kind)?,
            state: state(wire.state)?,
            version: wire.version,
            revision: wire.revision,
            create_time: convert::required_time(wire.create_time)?,
            update_time: convert::required_time(wire.update_time)?,
            updated_by: wire.updated_by,
            expire_time: convert::time(wire.expire_time)?,
            expired: wire.expired,
            purge_time: convert::time(wire.purge_time)?,
            labels: wire.labels.into_iter().collect(),
            access_token: wire.access_token.map(AccessToken::from),
            kek_version: wire.kek_version,
        })
    }
}

impl TryFrom<api::SecretVersion> for VersionInfo {
    type Error = ClientError;

    fn try_from(wire: api::SecretVersion) -> Result<Self, ClientError> {
        Ok(Self {
            version: wire.version,
            latest: wire.latest,
            create_time: convert::required_time(wire.create_time)?,
            created_by: wire.created_by,
            expire_time: convert::time(wire.expire_time)?,
            kek_version: wire.kek_version,
        })
    }
}

impl From<api::AccessTokenDetails> for AccessToken {
    fn from(wire: api::AccessTokenDetails) -> Self {
        Self { provider: wire.provider, subject: wire.subject, scopes: wire.scopes, token_type: wire.token_type }
    }
}

fn state(wire: i32) -> Result<SecretState, ClientError> {
    match api::SecretState::try_from(wire) {
        Ok(api::SecretState::Enabled) => Ok(SecretState::Enabled),
        Ok(api::SecretState::Disabled) => Ok(SecretState::Disabled),
        Ok(api::SecretState::Destroyed) => Ok(SecretState::Destroyed),
        _ => Err(ClientError::Answer("an unknown state of a secret")),
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

impl Expiry {
    fn wire(self) -> (Option<prost_types::Timestamp>, bool) {
        match self {
            Self::Unchanged => (None, false),
            Self::Never => (None, true),
            Self::At(time) => (Some(convert::wire_time(time)), false),
        }
    }
}
