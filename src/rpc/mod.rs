//! The gRPC door: one file a service, each handler a few lines: understand the message, pass the gate, show the answer.
//!
//! ```text
//! request ── Front: is there room? ── Door::understand: who, from the connection ── parse: fields or a field's fault ── Door::run: gate, vault ── show
//! ```
//! `status` is the one map from a refusal to a `tonic::Status`: causes are logged and never sent, and what is absent and
//! what is forbidden are one and the same answer.

mod access;
mod answer;
mod audit;
mod backups;
mod batch;
mod bill;
mod ceremonies;
mod door;
mod field;
mod front;
mod keys;
mod namespaces;
mod proposals;
mod rewrap;
mod seal;
mod secrets;
mod show;
mod status;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch::Receiver;
use tonic::service::Routes;

use crate::api::access_service_server::AccessServiceServer;
use crate::api::audit_service_server::AuditServiceServer;
use crate::api::backup_service_server::BackupServiceServer;
use crate::api::ceremony_service_server::CeremonyServiceServer;
use crate::api::key_service_server::KeyServiceServer;
use crate::api::namespace_service_server::NamespaceServiceServer;
use crate::api::proposal_service_server::ProposalServiceServer;
use crate::api::seal_service_server::SealServiceServer;
use crate::audit::AuditLog;
use crate::gate::Gate;
use crate::memory::Hardening;
use crate::metrics::Calls;
use crate::model::Clock;
use crate::traces::Traces;
use crate::vault::Vault;
use door::Door;
pub use front::{Answering, Front, Fronted};

/// What the handlers work with.
#[derive(Clone)]
pub struct Services {
    /// The one door to every operation.
    pub gate: Arc<Gate>,
    /// The vault behind it.
    pub vault: Arc<Vault>,
    /// The log whose condition `status` tells.
    pub audit: Arc<AuditLog>,
    /// Where its files lie, for `audit show`.
    pub audit_folder: PathBuf,
    /// The vault's time.
    pub clock: Arc<dyn Clock>,
    /// How far the process is protected.
    pub hardening: Hardening,
    /// Longest message in either direction, in bytes.
    pub message_max_bytes: usize,
    /// Longest payload that any namespace may have, in bytes.
    pub payload_max_bytes: usize,
    /// Longest page of a list.
    pub page_max_items: usize,
    /// Calls under way at once.
    pub calls_max: usize,
    /// Where calls are counted.
    pub calls: Calls,
    /// Where they get their spans.
    pub traces: Traces,
    /// Watches of secrets at once, and as many of rewraps.
    pub watches_max: usize,
    /// How often a watch that has nothing to tell says so.
    pub watch_heartbeat: Duration,
    /// True once the server ends: watches end then, which would go on for ever.
    pub ending: Receiver<bool>,
}

/// A service whose messages are as long as the configuration lets them be.
macro_rules! bounded {
    ($services:expr, $server:ident, $service:expr) => {
        $server::new($service).max_decoding_message_size($services.message_max_bytes).max_encoding_message_size($services.message_max_bytes)
    };
}
use bounded;

/// All services but that of secrets, which [`Front`] has, health and reflection.
#[must_use]
pub fn routes(services: &Services) -> Routes {
    let door = Door::new(services);
    Routes::new(bounded!(services, NamespaceServiceServer, namespaces::Namespaces::new(door.clone())))
        .add_service(bounded!(services, AccessServiceServer, access::Access::new(door.clone())))
        .add_service(bounded!(services, KeyServiceServer, keys::Keys::new(door.clone(), watch::Watches::new(services))))
        .add_service(bounded!(services, ProposalServiceServer, proposals::Proposals::new(door.clone())))
        .add_service(bounded!(services, CeremonyServiceServer, ceremonies::Ceremonies::new(door.clone(), services.clock.clone())))
        .add_service(bounded!(services, AuditServiceServer, audit::Audit::new(door.clone(), services.audit_folder.clone())))
        .add_service(bounded!(services, BackupServiceServer, backups::Backups::new(door.clone(), services.clone())))
        .add_service(bounded!(services, SealServiceServer, seal::Seal::new(door, services.clone())))
}
