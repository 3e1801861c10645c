//! `SealService`.

use tonic::{Request, Response, Status};

use super::Services;
use super::door::Door;
use super::field::reason;
use super::show;
use crate::api::seal_service_server::SealService;
use crate::api::{self, Method, SealState};
use crate::gate::{Unreleased, WholeVault};
use crate::memory;
use crate::model::{SecretBytes, Timestamp};
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
        let (call, passphrase) =
            self.door.understand(Method::Unseal, request, |message, _| Ok(SecretBytes::new(message.passphrase))).await?;
        let opened = self.door.run(call, VAULT, |vault, permit| async move { vault.unseal(permit, passphrase).await });
        Ok(Response::new(api::UnsealResponse { vault_id: opened.await?.to_string() }))
    }

    async fn seal(&self, request: Request<api::SealRequest>) -> Result<Response<api::SealResponse>, Status> {
        let (call, ()) = self.door.understand(Method::Seal, request, |message, call| reason(call, &message.reason)).await?;
        self.door.run(call, VAULT, |vault, permit| async move { vault.seal(permit).await }).await?;
        Ok(Response::new(api::SealResponse {}))
    }
}
