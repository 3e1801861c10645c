//! The vault as a whole: its condition, and whether it is sealed.

use serde::Serialize;

use super::convert::{self, as_text, as_text_or_null};
use super::{Client, ClientError};
use crate::api;
use crate::model::{SecretBytes, Timestamp, VaultId};

/// The vault's condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatusInfo {
    /// Whether it is sealed.
    pub seal_state: SealState,
    /// The vault's id.
    #[serde(serialize_with = "as_text")]
    pub vault_id: VaultId,
    /// The server's version.
    pub server_version: String,
    /// When the server started.
    #[serde(serialize_with = "as_text")]
    pub start_time: Timestamp,
    /// The vault's present.
    #[serde(serialize_with = "as_text")]
    pub now: Timestamp,
    /// The store.
    pub store: ConditionInfo,
    /// Bytes of the store on disk.
    pub store_bytes: u64,
    /// The audit log. While it is not healthy, no secret leaves and nothing changes.
    pub audit: ConditionInfo,
    /// The number of the newest audit entry.
    pub audit_sequence: u64,
    /// Bytes of the audit log on disk.
    pub audit_bytes: u64,
    /// Where keys lie in memory: `memfd_secret`, `mlock` or `heap`.
    pub key_memory: String,
    /// Whether core dumps are off and other processes cannot read the server's memory.
    pub memory_protected: bool,
    /// The clock.
    pub clock: ConditionInfo,
}

/// Whether the vault has its system key in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SealState {
    /// It has not: nothing can be read or stored.
    Sealed,
    /// It has.
    Open,
}

/// How a part of the server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConditionInfo {
    /// Whether it does its work.
    pub healthy: bool,
    /// What is wrong and what to do; empty when healthy.
    pub problem: String,
    /// Since when it has been so.
    #[serde(serialize_with = "as_text_or_null")]
    pub since: Option<Timestamp>,
}

impl Client {
    /// The vault's condition. Answers while the vault is sealed, too.
    ///
    /// # Errors
    /// Refused where the caller lacks `operate`; see [`ClientError`].
    pub async fn status(&self) -> Result<StatusInfo, ClientError> {
        self.call(api::GetStatusRequest {}).await?.try_into()
    }

    /// Opens the vault with the secret of one slot; returns the vault's id. Never sent twice by itself.
    ///
    /// # Errors
    /// Refused for a wrong passphrase, or where the caller is no custodian; see [`ClientError`].
    pub async fn unseal(&self, passphrase: SecretBytes) -> Result<VaultId, ClientError> {
        let answer = self.call(api::UnsealRequest { passphrase: passphrase.into_exposed() }).await?;
        convert::parsed(&answer.vault_id, "a vault's id")
    }

    /// Wipes the keys from the server's memory.
    ///
    /// # Errors
    /// Refused where the caller lacks `operate`; see [`ClientError`].
    pub async fn seal(&self, reason: &str) -> Result<(), ClientError> {
        let reason = convert::remark("reason", reason.to_owned())?;
        self.call(api::SealRequest { reason }).await.map(|_| ())
    }
}

impl TryFrom<api::GetStatusResponse> for StatusInfo {
    type Error = ClientError;

    fn try_from(wire: api::GetStatusResponse) -> Result<Self, ClientError> {
        let seal_state = match api::SealState::try_from(wire.seal_state) {
            Ok(api::SealState::Sealed) => SealState::Sealed,
            Ok(api::SealState::Open) => SealState::Open,
            _ => return Err(ClientError::Answer("an unknown seal state")),
        };
        Ok(Self {
            seal_state,
            vault_id: convert::parsed(&wire.vault_id, "a vault's id")?,
            server_version: wire.server_version,
            start_time: convert::required_time(wire.start_time)?,
            now: convert::required_time(wire.now)?,
            store: condition(wire.store)?,
            store_bytes: wire.store_bytes,
            audit: condition(wire.audit)?,
            audit_sequence: wire.audit_sequence,
            audit_bytes: wire.audit_bytes,
            key_memory: wire.key_memory,
            memory_protected: wire.memory_protected,
            clock: condition(wire.clock)?,
        })
    }
}

fn condition(wire: Option<api::Condition>) -> Result<ConditionInfo, ClientError> {
    let wire = convert::required(wire, "no condition of a part")?;
    Ok(ConditionInfo { healthy: wire.healthy, problem: wire.problem, since: convert::time(wire.since)? })
}
