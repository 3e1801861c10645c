//! `SealService`.

use tonic::{Request, Response, Status};

use super::Services;
use super::door::Door;
use super::field::{reason, slot_secret};
use super::show;
use crate::api::seal_service_server::SealService;
use crate::api::{self, Method, SealState};
use crate::gate::{Unreleased, WholeVault};
use crate::memory;
use crate::model::Timestamp;
use crate::vault::{QuorumProgress, Unsealing};
use crate::{audit, storage};

const VAULT: WholeVault = WholeVault::VAULT;

pub(super) struct Seal {
    door: Door,
    services: Services,
    started: Timestamp,
}

impl Seal {
    pub(super) fn new(door: Door, services: Services) -> Self {
        Self { door, started: services.clock.now(), services }
    }
}

fn healthy() -> api::Condition {
    api::Condition { healthy: true, problem: String::new(), since: None }
}

fn unhealthy(problem: String, since: Option<Timestamp>) -> api::Condition {
    api::Condition { healthy: false, problem, since: since.map(show::time) }
}

fn store_condition(condition: storage::Condition) -> api::Condition {
    match condition {
        storage::Condition::Healthy => healthy(),
        storage::Condition::RefusingWrites { since, why } => unhealthy(format!("takes no writes until this ends: {why}"), Some(since)),
        storage::Condition::Fatal { since, why } => unhealthy(format!("failed for good, the server ends: {why}"), Some(since)),
        storage::Condition::Closed => unhealthy("closed: the server ends".to_owned(), None),
    }
}

fn audit_condition(condition: audit::Condition) -> api::Condition {
    match condition {
        audit::Condition::Writable => healthy(),
        audit::Condition::Failing { why, since } => {
            unhealthy(format!("cannot be written, so no secret leaves and nothing changes until this ends: {why}"), Some(since))
        }
    }
}

fn status(services: &Services, started: Timestamp) -> api::GetStatusResponse {
    let store = services.vault.store_status();
    let audit = services.audit.status_last_seen();
    let clock = services.vault.implausible_clock().map_or_else(healthy, |ahead| {
        let problem =
            format!("is {} s ahead of the time that passed or of the machine's clock: nothing is purged while it is", ahead.as_secs());
        unhealthy(problem, None)
    });
    api::GetStatusResponse {
        seal_state: if services.vault.is_open() { SealState::Open } else { SealState::Sealed }.into(),
        vault_id: services.vault.pins().vault_id.to_string(),
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
        start_time: Some(show::time(started)),
        now: Some(show::time(services.clock.now())),
        store: Some(store_condition(store.condition)),
        store_bytes: store.size_on_disk_bytes,
        audit: Some(audit_condition(services.audit.condition())),
        audit_sequence: audit.last_sequence,
        audit_bytes: audit.bytes,
        key_memory: memory::backing().word().to_owned(),
        memory_protected: services.hardening.complete(),
        clock: Some(clock),
        quorums: services.vault.unsealing().into_iter().map(|progress| quorum(progress, services.clock.now())).collect(),
        automatic_unseal: services.vault.waiting().map(|waiting| unhealthy(waiting.why.clone(), Some(waiting.since))),
    }
}

/// How far a slot's shares have come, in the words of the wire.
pub(super) fn quorum(progress: QuorumProgress, now: Timestamp) -> api::QuorumProgress {
    api::QuorumProgress {
        slot_id: progress.slot.to_string(),
        threshold: progress.threshold.into(),
        shares: progress.shares.into(),
        given: progress.given.into(),
        forget_time: Some(show::time(now.plus(progress.forgotten_in))),
    }
}

#[tonic::async_trait]
impl SealService for Seal {
    async fn get_status(&self, request: Request<api::GetStatusRequest>) -> Result<Response<api::GetStatusResponse>, Status> {
        let (call, ()) = self.door.understand(Method::GetStatus, request, |_, _| Ok(())).await?;
        let (services, started) = (self.services.clone(), self.started);
        let answer = self.door.run(call, VAULT, move |_, _| async move { Ok(Unreleased::new(status(&services, started))) }).await?;
        Ok(Response::new(answer))
    }

    async fn unseal(&self, request: Request<api::UnsealRequest>) -> Result<Response<api::UnsealResponse>, Status> {
        let (call, secret) =
            self.door.understand(Method::Unseal, request, |message, _| slot_secret(message.passphrase, message.share)).await?;
        let unsealing = self.door.run(call, VAULT, |vault, permit| async move { vault.unseal(permit, secret).await }).await?;
        let (seal_state, progress) = match unsealing {
            Unsealing::Open(_) => (SealState::Open, None),
            Unsealing::Waiting(progress) => (SealState::Sealed, Some(quorum(progress, self.services.clock.now()))),
        };
        let vault_id = self.services.vault.pins().vault_id.to_string();
        Ok(Response::new(api::UnsealResponse { vault_id, seal_state: seal_state.into(), quorum: progress }))
    }

    async fn forget_shares(&self, request: Request<api::ForgetSharesRequest>) -> Result<Response<api::ForgetSharesResponse>, Status> {
        let (call, ()) = self.door.understand(Method::ForgetShares, request, |message, call| reason(call, &message.reason)).await?;
        let forgotten = self.door.run(call, VAULT, |vault, permit| async move { Ok(vault.forget_shares(permit)) }).await?;
        Ok(Response::new(api::ForgetSharesResponse { forgotten: u32::try_from(forgotten).expect("8 slots of 16 shares at most") }))
    }

    async fn seal(&self, request: Request<api::SealRequest>) -> Result<Response<api::SealResponse>, Status> {
        let (call, ()) = self.door.understand(Method::Seal, request, |message, call| reason(call, &message.reason)).await?;
        self.door.run(call, VAULT, |vault, permit| async move { vault.seal(permit).await }).await?;
        Ok(Response::new(api::SealResponse {}))
    }
}
