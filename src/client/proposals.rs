//! Proposals: what one person wants to be done, and another confirms.

use serde::Serialize;

use super::convert::{self, as_text, as_text_or_null};
use super::{Client, ClientError, Listed, Page};
use crate::api;
use crate::model::{HsmName, ProposalId, SlotId, SpiffeId, Timestamp};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposedChange {
    /// A new slot with a passphrase.
    AddPassphraseSlot,
    /// A new slot with shares.
    AddQuorumSlot {
        /// How many open it: 2 to `shares`.
        threshold: u8,
        /// How many there are: at most 16.
        shares: u8,
        /// An age recipient for each, or none.
        recipients: Vec<String>,
    },
    /// A new slot that an HSM opens: its name in the server's configuration.
    AddTokenSlot(HsmName),
    /// One more recovery recipient.
    EnrolRecipient {
        /// Who keeps the identity, in words: 1 to 63 bytes.
        name: String,
        /// The age recipient.
        recipient: String,
    },
    /// A recovery recipient less.
    RemoveRecipient(String),
    /// A slot less.
    RemoveSlot(SlotId),
    /// Another root key; the slots named go with the old one, and every other must be opened for it.
    ReplaceRootKey {
        /// The slots that are not taken along.
        dropped: Vec<SlotId>,
    },
}

/// How far a proposal has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProposalState {
    /// It waits for somebody to agree.
    Open,
    /// Who proposed it can carry it out.
    Approved,
    /// It was done.
    CarriedOut,
    /// Somebody ended it.
    Withdrawn,
    /// Its time ran out.
    Expired,
}

/// A proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProposalInfo {
    /// Its id.
    #[serde(serialize_with = "as_text")]
    pub proposal_id: ProposalId,
    /// What is to be done, in words.
    pub summary: String,
    /// Why.
    pub reason: String,
    /// How far it has come.
    pub state: ProposalState,
    /// Who proposed it.
    #[serde(serialize_with = "as_text")]
    pub proposed_by: SpiffeId,
    /// When.
    #[serde(serialize_with = "as_text")]
    pub create_time: Timestamp,
    /// When it ends if it was not carried out.
    #[serde(serialize_with = "as_text")]
    pub expire_time: Timestamp,
    /// Who agreed.
    pub votes: Vec<VoteInfo>,
    /// How many must agree.
    pub votes_needed: u32,
    /// Who ended it; empty until then.
    pub closed_by: String,
    /// When.
    #[serde(serialize_with = "as_text_or_null")]
    pub close_time: Option<Timestamp>,
    /// Whether it is for a new slot that a passphrase opens, which is then asked for.
    pub needs_new_passphrase: bool,
    /// Whether it is for a new slot with shares, and how many.
    pub new_shares: u32,
}

/// Somebody's agreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VoteInfo {
    /// Who agreed.
    #[serde(serialize_with = "as_text")]
    pub principal: SpiffeId,
    /// When.
    #[serde(serialize_with = "as_text")]
    pub time: Timestamp,
}

impl ProposalState {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::CarriedOut => "carried_out",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
        }
    }
}

impl Client {
    /// Proposes a change; the reason is for those who are to agree. It ends at `expire_time`, or after 24 hours.
    ///
    /// # Errors
    /// Refused where the caller lacks `rotate` on the vault or is no operator; see [`ClientError`].
    pub async fn propose(
        &self,
        change: &ProposedChange,
        reason: &str,
        expire_time: Option<Timestamp>,
    ) -> Result<ProposalInfo, ClientError> {
        let request = api::CreateProposalRequest {
            change: Some(wire_change(change)),
            reason: convert::remark("reason", reason.to_owned())?,
            expire_time: expire_time.map(convert::wire_time),
            request_id: String::new(),
        };
        convert::required(self.call(request).await?.proposal, "no proposal")?.try_into()
    }

    /// Agrees to somebody else's proposal.
    ///
    /// # Errors
    /// Refused where it is one's own or has ended; see [`ClientError`].
    pub async fn approve_proposal(&self, id: ProposalId, reason: &str) -> Result<ProposalInfo, ClientError> {
        let reason = convert::remark("reason", reason.to_owned())?;
        let answer = self.call(api::ApproveProposalRequest { proposal_id: id.to_string(), reason }).await?;
        convert::required(answer.proposal, "no proposal")?.try_into()
    }

    /// Ends a proposal.
    ///
    /// # Errors
    /// Refused where it is somebody else's and the caller lacks `approve`, or has ended; see [`ClientError`].
    pub async fn withdraw_proposal(&self, id: ProposalId, reason: &str) -> Result<ProposalInfo, ClientError> {
        let reason = convert::remark("reason", reason.to_owned())?;
        let answer = self.call(api::WithdrawProposalRequest { proposal_id: id.to_string(), reason }).await?;
        convert::required(answer.proposal, "no proposal")?.try_into()
    }

    /// Tells of a proposal.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn describe_proposal(&self, id: ProposalId) -> Result<ProposalInfo, ClientError> {
        let answer = self.call(api::DescribeProposalRequest { proposal_id: id.to_string() }).await?;
        convert::required(answer.proposal, "no proposal")?.try_into()
    }

    /// One page of the proposals, the newest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list_proposals(&self, only_pending: bool, page: Page) -> Result<Listed<ProposalInfo>, ClientError> {
        let answer = self.call(api::ListProposalsRequest { only_pending, page_size: page.size, page_token: page.token }).await?;
        Listed::of(answer.proposals, answer.next_page_token, ProposalInfo::try_from)
    }
}

fn wire_change(change: &ProposedChange) -> api::ProposedChange {
    let mut wire = api::ProposedChange::default();
    match change {
        ProposedChange::AddPassphraseSlot => wire.add_passphrase_slot = Some(api::NewPassphraseSlot {}),
        ProposedChange::AddQuorumSlot { threshold, shares, recipients } => {
            let (threshold, shares) = (u32::from(*threshold), u32::from(*shares));
            wire.add_quorum_slot = Some(api::NewQuorumSlot { threshold, shares, recipients: recipients.clone() });
        }
        ProposedChange::AddTokenSlot(hsm) => wire.add_token_slot = Some(api::NewTokenSlot { hsm: hsm.to_string() }),
        ProposedChange::EnrolRecipient { name, recipient } => {
            let (name, recipient) = (name.clone(), recipient.clone());
            wire.enrol_recipient = Some(api::RecipientEnrolment { name, recipient });
        }
        ProposedChange::RemoveRecipient(recipient) => {
            wire.remove_recipient = Some(api::RecipientRemoval { recipient: recipient.clone() });
        }
        ProposedChange::RemoveSlot(slot) => wire.remove_slot = Some(api::SlotRemoval { slot_id: slot.to_string() }),
        ProposedChange::ReplaceRootKey { dropped } => {
            let dropped_slot_ids = dropped.iter().map(ToString::to_string).collect();
            wire.replace_root_key = Some(api::RootKeyReplacement { dropped_slot_ids });
        }
    }
    wire
}

impl TryFrom<api::Proposal> for ProposalInfo {
    type Error = ClientError;

    fn try_from(wire: api::Proposal) -> Result<Self, ClientError> {
        let state = match api::ProposalState::try_from(wire.state) {
            Ok(api::ProposalState::Open) => ProposalState::Open,
            Ok(api::ProposalState::Approved) => ProposalState::Approved,
            Ok(api::ProposalState::CarriedOut) => ProposalState::CarriedOut,
            Ok(api::ProposalState::Withdrawn) => ProposalState::Withdrawn,
            Ok(api::ProposalState::Expired) => ProposalState::Expired,
            _ => return Err(ClientError::Answer("an unknown state of a proposal")),
        };
        let vote = |vote: api::Vote| {
            let principal = convert::parsed(&vote.principal, "a principal's id")?;
            Ok(VoteInfo { principal, time: convert::required_time(vote.time)? })
        };
        let change = wire.change.unwrap_or_default();
        Ok(Self {
            proposal_id: convert::parsed(&wire.proposal_id, "a proposal's id")?,
            summary: wire.summary,
            reason: wire.reason,
            state,
            proposed_by: convert::parsed(&wire.proposed_by, "a principal's id")?,
            create_time: convert::required_time(wire.create_time)?,
            expire_time: convert::required_time(wire.expire_time)?,
            votes: wire.votes.into_iter().map(vote).collect::<Result<_, ClientError>>()?,
            votes_needed: wire.votes_needed,
            closed_by: wire.closed_by,
            close_time: convert::time(wire.close_time)?,
            needs_new_passphrase: change.add_passphrase_slot.is_some(),
            new_shares: change.add_quorum_slot.map_or(0, |new| new.shares),
        })
    }
}
