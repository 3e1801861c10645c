//! `CeremonyService`.

use tonic::{Request, Response, Status};

use super::door::Door;
use super::field::{reason, slot_secret};
use super::proposals::{proposal, proposal_id};
use super::seal::quorum;
use super::show;
use crate::api::ceremony_service_server::CeremonyService;
use crate::api::{self, Method};
use crate::gate::WholeVault;
use crate::model::{Clock, SecretBytes};
use crate::seal::SlotKind;
use crate::vault::{NewShare, SlotDetails, Tried};

const VAULT: WholeVault = WholeVault::VAULT;

pub(super) struct Ceremonies {
    door: Door,
    clock: std::sync::Arc<dyn Clock>,
}

impl Ceremonies {
    pub(super) const fn new(door: Door, clock: std::sync::Arc<dyn Clock>) -> Self {
        Self { door, clock }
    }
}

fn slot(details: SlotDetails) -> api::Slot {
    let (last_open, last_opened_by) = details.last_opened.unzip();
    let mut slot = api::Slot {
        slot_id: details.info.id.to_string(),
        create_time: Some(show::time(details.info.created)),
        last_open_time: last_open.map(show::time),
        last_opened_by: last_opened_by.unwrap_or_default(),
        ..api::Slot::default()
    };
    match details.info.kind {
        SlotKind::Passphrase(cost) => {
            slot.set_kind(api::SlotKind::Passphrase);
            (slot.argon2_memory_kib, slot.argon2_passes) = (cost.memory_kib(), cost.passes());
        }
        SlotKind::Token(labels) => {
            slot.set_kind(api::SlotKind::Token);
            (slot.token_label, slot.key_label) = (labels.token.to_string(), labels.key.to_string());
        }
        SlotKind::Quorum(size) => {
            slot.set_kind(api::SlotKind::Quorum);
            (slot.threshold, slot.shares) = (size.threshold().into(), size.shares().into());
        }
    }
    slot
}

fn share(share: NewShare) -> api::NewShare {
    api::NewShare { number: share.number.into(), text: share.text.into_exposed(), recipient: share.recipient.unwrap_or_default() }
}

#[tonic::async_trait]
impl CeremonyService for Ceremonies {
    async fn list_slots(&self, request: Request<api::ListSlotsRequest>) -> Result<Response<api::ListSlotsResponse>, Status> {
        let (call, ()) = self.door.understand(Method::ListSlots, request, |_, _| Ok(())).await?;
        let slots = self.door.run(call, VAULT, |vault, permit| async move { vault.list_slots(permit).await }).await?;
        Ok(Response::new(api::ListSlotsResponse { slots: slots.into_iter().map(slot).collect() }))
    }

    async fn test_slot(&self, request: Request<api::TestSlotRequest>) -> Result<Response<api::TestSlotResponse>, Status> {
        let (call, secret) =
            self.door.understand(Method::TestSlot, request, |message, _| slot_secret(message.passphrase, message.share)).await?;
        let tried = self.door.run(call, VAULT, |vault, permit| async move { vault.test_slot(permit, secret).await }).await?;
        Ok(Response::new(match tried {
            Tried::Opened(details) => api::TestSlotResponse { slot: Some(slot(details)), quorum: None },
            Tried::Waiting(progress) => api::TestSlotResponse { slot: None, quorum: Some(quorum(progress, self.clock.now())) },
        }))
    }

    async fn present_secret(&self, request: Request<api::PresentSecretRequest>) -> Result<Response<api::PresentSecretResponse>, Status> {
        let (call, (id, secret)) = self
            .door
            .understand(Method::PresentSecret, request, |message, call| {
                let secret = slot_secret(message.passphrase, message.share)?;
                Ok((proposal_id(call, &message.proposal_id)?, secret))
            })
            .await?;
        let presented = self.door.run(call, VAULT, move |vault, permit| async move { vault.present(permit, id, secret).await }).await?;
        let missing_slot_ids = presented.missing.iter().map(ToString::to_string).collect();
        Ok(Response::new(match presented.slot {
            Ok(details) => api::PresentSecretResponse { slot: Some(slot(details)), quorum: None, missing_slot_ids },
            Err(progress) => api::PresentSecretResponse { slot: None, quorum: Some(quorum(progress, self.clock.now())), missing_slot_ids },
        }))
    }

    async fn carry_out_proposal(
        &self,
        request: Request<api::CarryOutProposalRequest>,
    ) -> Result<Response<api::CarryOutProposalResponse>, Status> {
        let (call, (id, new_passphrase)) = self
            .door
            .understand(Method::CarryOutProposal, request, |message, call| {
                let new_passphrase = SecretBytes::new(message.new_passphrase);
                reason(call, &message.reason)?;
                Ok((proposal_id(call, &message.proposal_id)?, Some(new_passphrase).filter(|passphrase| !passphrase.is_empty())))
            })
            .await?;
        let done =
            self.door.run(call, VAULT, move |vault, permit| async move { vault.carry_out(permit, id, new_passphrase).await }).await?;
        Ok(Response::new(api::CarryOutProposalResponse {
            proposal: Some(proposal(done.proposal)),
            slot: done.slot.map(slot),
            shares: done.shares.into_iter().map(share).collect(),
        }))
    }
}
