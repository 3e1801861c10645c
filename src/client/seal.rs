//! The vault as a whole: its condition, and whether it is sealed.

use serde::Serialize;

use super::convert::{self, as_text, as_text_or_null};
use super::{Client, ClientError};
use crate::api;
use crate::model::{SecretBytes, SlotId, Timestamp, VaultId};

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
    /// How far the shares that were given to unseal have come, for each slot of which there are any.
    pub quorums: Vec<QuorumProgress>,
    /// Why the vault has not opened itself yet, if it is to.
    pub automatic_unseal: Option<ConditionInfo>,
}

/// How far the shares of a slot have come. It does not tell whether any of them is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuorumProgress {
    /// The slot.
    #[serde(serialize_with = "as_text")]
    pub slot_id: SlotId,
    /// How many shares open it.
    pub threshold: u32,
    /// How many there are.
    pub shares: u32,
    /// How many different ones were given.
    pub given: u32,
    /// When they are forgotten, unless another one is given before.
    #[serde(serialize_with = "as_text")]
    pub forget_time: Timestamp,
}

/// What came of a share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsealing {
    /// The vault is open.
    Open(VaultId),
    /// More shares are needed.
    Waiting(QuorumProgress),
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
        let answer = self.call(api::UnsealRequest { passphrase: passphrase.into_exposed(), share: Vec::new() }).await?;
        convert::parsed(&answer.vault_id, "a vault's id")
    }

    /// Gives one of the shares that open a slot together. Never sent twice by itself.
    ///
    /// # Errors
    /// Refused for a share that belongs elsewhere, where the shares do not open the slot, or where the caller is no custodian; see
    /// [`ClientError`].
    pub async fn unseal_with_share(&self, share: SecretBytes) -> Result<Unsealing, ClientError> {
        let answer = self.call(api::UnsealRequest { passphrase: Vec::new(), share: share.into_exposed() }).await?;
        match answer.quorum {
            Some(quorum) => quorum.try_into().map(Unsealing::Waiting),
            None => convert::parsed(&answer.vault_id, "a vault's id").map(Unsealing::Open),
        }
    }

    /// Forgets the shares that were given so far; says how many there were.
    ///
    /// # Errors
    /// Refused where the caller is no custodian; see [`ClientError`].
    pub async fn forget_shares(&self, reason: &str) -> Result<u32, ClientError> {
        let reason = convert::remark("reason", reason.to_owned())?;
        Ok(self.call(api::ForgetSharesRequest { reason }).await?.forgotten)
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
            quorums: wire.quorums.into_iter().map(QuorumProgress::try_from).collect::<Result<_, _>>()?,
            automatic_unseal: wire.automatic_unseal.map(|waits| condition(Some(waits))).transpose()?,
        })
    }
}

impl TryFrom<api::QuorumProgress> for QuorumProgress {
    type Error = ClientError;

    fn try_from(wire: api::QuorumProgress) -> Result<Self, ClientError> {
        Ok(Self {
            slot_id: convert::parsed(&wire.slot_id, "a slot's id")?,
            threshold: wire.threshold,
            shares: wire.shares,
            given: wire.given,
            forget_time: convert::required_time(wire.forget_time)?,
        })
    }
}

fn condition(wire: Option<api::Condition>) -> Result<ConditionInfo, ClientError> {
    let wire = convert::required(wire, "no condition of a part")?;
    Ok(ConditionInfo { healthy: wire.healthy, problem: wire.problem, since: convert::time(wire.since)? })
}
