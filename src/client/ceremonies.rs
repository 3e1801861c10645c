//! Slots, and the ceremonies that change them or the root key.

use serde::Serialize;

use super::convert::{self, as_text, as_text_or_null};
use super::proposals::ProposalInfo;
use super::seal::QuorumProgress;
use super::{Client, ClientError};
use crate::api;
use crate::model::{ProposalId, SecretBytes, SlotId, Timestamp};

/// What somebody knows or holds of a slot.
#[derive(Debug)]
pub enum SlotSecret {
    /// Its passphrase.
    Passphrase(SecretBytes),
    /// One of its shares, as text.
    Share(SecretBytes),
}

/// A slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlotInfo {
    /// Its id.
    #[serde(serialize_with = "as_text")]
    pub slot_id: SlotId,
    /// What opens it.
    #[serde(flatten)]
    pub kind: SlotKind,
    /// When it was made.
    #[serde(serialize_with = "as_text")]
    pub create_time: Timestamp,
    /// When it last opened, as far as is known. A slot that never did does not count as working.
    #[serde(serialize_with = "as_text_or_null")]
    pub last_open_time: Option<Timestamp>,
    /// Who opened it then.
    pub last_opened_by: String,
}

/// What opens a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SlotKind {
    /// A passphrase.
    Passphrase {
        /// What one try costs, in KiB of memory for Argon2id.
        argon2_memory_kib: u32,
        /// Passes over that memory.
        argon2_passes: u32,
    },
    /// A key in an HSM, through PKCS#11.
    Token {
        /// The token's label.
        token_label: String,
        /// The key's label in it.
        key_label: String,
    },
    /// Some of several shares.
    Quorum {
        /// How many open it.
        threshold: u32,
        /// How many there are.
        shares: u32,
    },
}

/// What came of a slot's secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotAnswer {
    /// The slot opened.
    Opened(SlotInfo),
    /// The share was taken; more are needed.
    Waiting(QuorumProgress),
}

/// What came of a secret that was brought for a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// What came of it.
    pub answer: SlotAnswer,
    /// The slots that must still be opened.
    pub missing: Vec<SlotId>,
}

/// What was done.
#[derive(Debug)]
pub struct CarriedOut {
    /// The proposal.
    pub proposal: ProposalInfo,
    /// The new slot, if there is one.
    pub slot: Option<SlotInfo>,
    /// Its shares.
    pub shares: Vec<NewShare>,
}

/// A share of a new slot. It exists nowhere else.
#[derive(Debug)]
pub struct NewShare {
    /// Its number.
    pub number: u32,
    /// Its text, or an armored age file of it.
    pub text: SecretBytes,
    /// Whom it is encrypted to; empty for nobody.
    pub recipient: String,
}

impl Client {
    /// The slots, the oldest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list_slots(&self) -> Result<Vec<SlotInfo>, ClientError> {
        self.call(api::ListSlotsRequest {}).await?.slots.into_iter().map(SlotInfo::try_from).collect()
    }

    /// Proves that a passphrase or shares still open a slot.
    ///
    /// # Errors
    /// Refused where they do not; see [`ClientError`].
    pub async fn test_slot(&self, secret: SlotSecret) -> Result<SlotAnswer, ClientError> {
        let (passphrase, share) = secret.into_parts();
        let answer = self.call(api::TestSlotRequest { passphrase, share }).await?;
        SlotAnswer::of(answer.slot, answer.quorum)
    }

    /// Brings a passphrase or a share for an approved proposal.
    ///
    /// # Errors
    /// Refused where nothing opens with it; see [`ClientError`].
    pub async fn present_secret(&self, proposal: ProposalId, secret: SlotSecret) -> Result<Presented, ClientError> {
        let (passphrase, share) = secret.into_parts();
        let answer = self.call(api::PresentSecretRequest { proposal_id: proposal.to_string(), passphrase, share }).await?;
        let missing = answer.missing_slot_ids.iter().map(|id| convert::parsed(id, "a slot's id")).collect::<Result<_, _>>()?;
        Ok(Presented { answer: SlotAnswer::of(answer.slot, answer.quorum)?, missing })
    }

    /// Does what was proposed. Never sent twice by itself: new shares are sent once.
    ///
    /// # Errors
    /// Refused where it is not approved, or slots must still be opened; see [`ClientError`].
    pub async fn carry_out_proposal(
        &self,
        proposal: ProposalId,
        new_passphrase: Option<SecretBytes>,
        reason: &str,
    ) -> Result<CarriedOut, ClientError> {
        let reason = convert::remark("reason", reason.to_owned())?;
        let new_passphrase = new_passphrase.map(SecretBytes::into_exposed).unwrap_or_default();
        let answer = self.call(api::CarryOutProposalRequest { proposal_id: proposal.to_string(), new_passphrase, reason }).await?;
        let share =
            |share: api::NewShare| NewShare { number: share.number, text: SecretBytes::new(share.text), recipient: share.recipient };
        // First of all, so that no error below leaves one unwiped.
        let shares = answer.shares.into_iter().map(share).collect();
        Ok(CarriedOut {
            shares,
            proposal: convert::required(answer.proposal, "no proposal")?.try_into()?,
            slot: answer.slot.map(SlotInfo::try_from).transpose()?,
        })
    }
}

impl SlotSecret {
    /// Passphrase and share, as they stand in requests.
    pub(super) fn into_parts(self) -> (Vec<u8>, Vec<u8>) {
        match self {
            Self::Passphrase(passphrase) => (passphrase.into_exposed(), Vec::new()),
            Self::Share(share) => (Vec::new(), share.into_exposed()),
        }
    }
}

impl SlotAnswer {
    fn of(slot: Option<api::Slot>, quorum: Option<api::QuorumProgress>) -> Result<Self, ClientError> {
        match (slot, quorum) {
            (Some(slot), _) => slot.try_into().map(Self::Opened),
            (None, Some(quorum)) => quorum.try_into().map(Self::Waiting),
            (None, None) => Err(ClientError::Answer("neither a slot nor how far its shares have come")),
        }
    }
}

impl TryFrom<api::Slot> for SlotInfo {
    type Error = ClientError;

    fn try_from(wire: api::Slot) -> Result<Self, ClientError> {
        let kind = match wire.kind() {
            api::SlotKind::Passphrase => {
                SlotKind::Passphrase { argon2_memory_kib: wire.argon2_memory_kib, argon2_passes: wire.argon2_passes }
            }
            api::SlotKind::Token => SlotKind::Token { token_label: wire.token_label, key_label: wire.key_label },
            api::SlotKind::Quorum => SlotKind::Quorum { threshold: wire.threshold, shares: wire.shares },
            api::SlotKind::Unspecified => return Err(ClientError::Answer("an unknown kind of slot")),
        };
        Ok(Self {
            slot_id: convert::parsed(&wire.slot_id, "a slot's id")?,
            kind,
            create_time: convert::required_time(wire.create_time)?,
            last_open_time: convert::time(wire.last_open_time)?,
            last_opened_by: wire.last_opened_by,
        })
    }
}
