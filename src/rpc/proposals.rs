//! `ProposalService`.

use tonic::{Request, Response, Status};

use super::door::Door;
use super::field::{Fault, InField, optional_time, parsed, reason, request_id};
use super::show;
use crate::api::proposal_service_server::ProposalService;
use crate::api::{self, Method};
use crate::crypto::{QuorumSize, Recipient};
use crate::gate::{Call, WholeVault};
use crate::model::{ProposalId, SlotId, Text};
use crate::vault::{NewRecipient, NewSlot, ProposalDraft, ProposalInfo, ProposalState, ProposedChange, VOTES_NEEDED};

const VAULT: WholeVault = WholeVault::VAULT;

pub(super) struct Proposals {
    door: Door,
}

impl Proposals {
    pub(super) const fn new(door: Door) -> Self {
        Self { door }
    }
}

/// Notes which proposal a call is about.
pub(super) fn proposal_id(call: &mut Call, text: &str) -> Result<ProposalId, Fault> {
    let id: ProposalId = parsed(text, "proposal_id")?;
    call.detail.push(("proposal", id.to_string()));
    Ok(id)
}

fn draft(message: api::CreateProposalRequest, call: &mut Call) -> Result<ProposalDraft, Fault> {
    request_id(call, &message.request_id)?;
    let change = change(message.change.unwrap_or_default())?;
    call.detail.push(("change", change.to_string()));
    let why = Text::parse(&message.reason).in_field("reason")?;
    call.reason = Some(why.clone());
    Ok(ProposalDraft { change, reason: why, expires: optional_time(message.expire_time.as_ref(), "expire_time")? })
}

fn change(wire: api::ProposedChange) -> Result<ProposedChange, Fault> {
    let api::ProposedChange {
        add_passphrase_slot,
        add_quorum_slot,
        remove_slot,
        replace_root_key,
        add_token_slot,
        enrol_recipient,
        remove_recipient,
    } = wire;
    let all = [
        add_passphrase_slot.map(|_| Ok(ProposedChange::AddSlot(NewSlot::Passphrase))),
        add_quorum_slot.map(|new| quorum(&new).map(ProposedChange::AddSlot)),
        remove_slot.map(|gone| parsed(&gone.slot_id, "change.remove_slot.slot_id").map(ProposedChange::RemoveSlot)),
        replace_root_key.map(|new| root_key(&new)),
        add_token_slot.map(|new| parsed(&new.hsm, "change.add_token_slot.hsm").map(|hsm| ProposedChange::AddSlot(NewSlot::Token(hsm)))),
        enrol_recipient.map(|new| enrolment(&new).map(ProposedChange::EnrolRecipient)),
        remove_recipient.map(|gone| parsed(&gone.recipient, "change.remove_recipient.recipient").map(ProposedChange::RemoveRecipient)),
    ];
    let mut named = all.into_iter().flatten();
    match (named.next(), named.next()) {
        (Some(change), None) => change,
        _ => Err(Fault { field: "change", why: "name exactly one thing to be done" }),
    }
}

fn root_key(new: &api::RootKeyReplacement) -> Result<ProposedChange, Fault> {
    const FIELD: &str = "change.replace_root_key.dropped_slot_ids";
    let dropped = new.dropped_slot_ids.iter().map(|id| parsed::<SlotId>(id, FIELD)).collect::<Result<Vec<_>, _>>()?;
    if dropped.iter().enumerate().any(|(at, id)| dropped[..at].contains(id)) {
        return Err(Fault { field: FIELD, why: "a slot is named twice" });
    }
    Ok(ProposedChange::ReplaceRootKey { dropped })
}

fn enrolment(new: &api::RecipientEnrolment) -> Result<NewRecipient, Fault> {
    let name = Text::parse(&new.name).in_field("change.enrol_recipient.name")?;
    Ok(NewRecipient { name, recipient: parsed(&new.recipient, "change.enrol_recipient.recipient")? })
}

fn quorum(new: &api::NewQuorumSlot) -> Result<NewSlot, Fault> {
    let number = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
    let size = QuorumSize::new(number(new.threshold), number(new.shares)).in_field("change.add_quorum_slot.threshold")?;
    const RECIPIENTS: &str = "change.add_quorum_slot.recipients";
    if new.recipients.len() > usize::from(QuorumSize::MOST_SHARES) {
        return Err(Fault { field: RECIPIENTS, why: "name a recipient for each share, or none" });
    }
    let recipients = new.recipients.iter().map(|text| parsed::<Recipient>(text, RECIPIENTS)).collect::<Result<_, _>>()?;
    NewSlot::quorum(size, recipients).in_field(RECIPIENTS)
}

/// A proposal in the words of the wire.
pub(super) fn proposal(info: ProposalInfo) -> api::Proposal {
    let state = match info.state {
        ProposalState::Open => api::ProposalState::Open,
        ProposalState::Approved => api::ProposalState::Approved,
        ProposalState::CarriedOut => api::ProposalState::CarriedOut,
        ProposalState::Withdrawn => api::ProposalState::Withdrawn,
        ProposalState::Expired => api::ProposalState::Expired,
    };
    let vote = |(voter, time)| api::Vote { principal: format!("{voter}"), time: Some(show::time(time)) };
    let (closed_by, close_time) = info.ended.unzip();
    api::Proposal {
        proposal_id: info.id.to_string(),
        summary: info.change.to_string(),
        change: Some(shown_change(&info.change)),
        reason: info.reason,
        state: state.into(),
        proposed_by: info.proposed_by.to_string(),
        create_time: Some(show::time(info.created)),
        expire_time: Some(show::time(info.expires)),
        votes: info.votes.into_iter().map(vote).collect(),
        votes_needed: u32::try_from(VOTES_NEEDED.get()).expect("a few people"),
        closed_by: closed_by.map(|who| who.to_string()).unwrap_or_default(),
        close_time: close_time.map(show::time),
    }
}

fn shown_change(change: &ProposedChange) -> api::ProposedChange {
    let mut wire = api::ProposedChange::default();
    match change {
        ProposedChange::AddSlot(NewSlot::Passphrase) => wire.add_passphrase_slot = Some(api::NewPassphraseSlot {}),
        ProposedChange::AddSlot(NewSlot::Token(hsm)) => wire.add_token_slot = Some(api::NewTokenSlot { hsm: hsm.to_string() }),
        ProposedChange::AddSlot(NewSlot::Quorum { size, recipients }) => {
            wire.add_quorum_slot = Some(api::NewQuorumSlot {
                threshold: size.threshold().into(),
                shares: size.shares().into(),
                recipients: recipients.iter().map(ToString::to_string).collect(),
            });
        }
        ProposedChange::EnrolRecipient(new) => {
            let (name, recipient) = (new.name.to_string(), new.recipient.to_string());
            wire.enrol_recipient = Some(api::RecipientEnrolment { name, recipient });
        }
        ProposedChange::RemoveRecipient(gone) => wire.remove_recipient = Some(api::RecipientRemoval { recipient: gone.to_string() }),
        ProposedChange::RemoveSlot(slot) => wire.remove_slot = Some(api::SlotRemoval { slot_id: slot.to_string() }),
        ProposedChange::ReplaceRootKey { dropped } => {
            let dropped_slot_ids = dropped.iter().map(ToString::to_string).collect();
            wire.replace_root_key = Some(api::RootKeyReplacement { dropped_slot_ids });
        }
    }
    wire
}

#[tonic::async_trait]
impl ProposalService for Proposals {
    async fn create_proposal(&self, request: Request<api::CreateProposalRequest>) -> Result<Response<api::CreateProposalResponse>, Status> {
        let (call, draft) = self.door.understand(Method::CreateProposal, request, draft).await?;
        let made = self.door.run(call, VAULT, |vault, permit| async move { vault.open()?.propose(permit, draft).await }).await?;
        Ok(Response::new(api::CreateProposalResponse { proposal: Some(proposal(made)) }))
    }

    async fn approve_proposal(
        &self,
        request: Request<api::ApproveProposalRequest>,
    ) -> Result<Response<api::ApproveProposalResponse>, Status> {
        let (call, id) = self
            .door
            .understand(Method::ApproveProposal, request, |message, call| {
                reason(call, &message.reason)?;
                proposal_id(call, &message.proposal_id)
            })
            .await?;
        let approved = self.door.run(call, VAULT, move |vault, permit| async move { vault.open()?.approve(permit, id).await }).await?;
        Ok(Response::new(api::ApproveProposalResponse { proposal: Some(proposal(approved)) }))
    }

    async fn withdraw_proposal(
        &self,
        request: Request<api::WithdrawProposalRequest>,
    ) -> Result<Response<api::WithdrawProposalResponse>, Status> {
        let (call, id) = self
            .door
            .understand(Method::WithdrawProposal, request, |message, call| {
                reason(call, &message.reason)?;
                proposal_id(call, &message.proposal_id)
            })
            .await?;
        let ended = self.door.run(call, VAULT, move |vault, permit| async move { vault.open()?.withdraw(permit, id).await }).await?;
        Ok(Response::new(api::WithdrawProposalResponse { proposal: Some(proposal(ended)) }))
    }

    async fn describe_proposal(
        &self,
        request: Request<api::DescribeProposalRequest>,
    ) -> Result<Response<api::DescribeProposalResponse>, Status> {
        let (call, id) =
            self.door.understand(Method::DescribeProposal, request, |message, call| proposal_id(call, &message.proposal_id)).await?;
        let described = self.door.run(call, VAULT, move |vault, permit| async move { vault.open()?.describe_proposal(permit, id).await });
        Ok(Response::new(api::DescribeProposalResponse { proposal: Some(proposal(described.await?)) }))
    }

    async fn list_proposals(&self, request: Request<api::ListProposalsRequest>) -> Result<Response<api::ListProposalsResponse>, Status> {
        let (call, (only_pending, items, token)) = self
            .door
            .understand(Method::ListProposals, request, |message, _| {
                Ok((message.only_pending, self.door.page(message.page_size)?, message.page_token))
            })
            .await?;
        let listed = self
            .door
            .run(call, VAULT, move |vault, permit| async move { vault.open()?.list_proposals(permit, only_pending, items, &token).await });
        let page = listed.await?;
        let proposals = page.items.into_iter().map(proposal).collect();
        Ok(Response::new(api::ListProposalsResponse { proposals, next_page_token: page.next_page_token }))
    }
}
