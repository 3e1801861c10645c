//! What goes on beside the requests.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;

use super::parts::{Parts, note_in_force};
use crate::audit::AuditLog;
use crate::gate::Gate;
use crate::identity::{LiveTls, Stranger};
use crate::metrics::Reasons;
use crate::storage::{Condition, Store};
use crate::vault::Vault;

/// How often what was only counted is written.
const SUMMARY: Duration = Duration::from_secs(60);
/// How often recovery windows are looked at.
const HOUSEKEEPING: Duration = Duration::from_secs(10);
/// Strangers whose entries in full wait to be written: as many as there are in a minute.
const STRANGERS: usize = 1_024;

/// Starts all of it.
pub(super) fn start(parts: &Parts, live: Arc<LiveTls>, end: watch::Sender<bool>, stop: impl Future<Output = ()> + Send + 'static) {
    let ending = end.subscribe();
    tokio::spawn(until(ending.clone(), summarise(parts.gate.clone(), parts.vault.clone(), parts.audit.clone(), live)));
    tokio::spawn(until(ending.clone(), keep_keys(parts.vault.clone(), parts.gate.clone())));
    tokio::spawn(until(ending, housekeep(parts.vault.clone(), parts.gate.clone())));
    tokio::spawn(stop_on(parts.vault.clone(), parts.store.clone(), stop, end));
}

/// Ready when the server ends.
pub(super) async fn ended(mut ending: watch::Receiver<bool>) {
    // If the sender is gone, so is the server.
    let _ = ending.wait_for(|ending| *ending).await;
}

pub(super) async fn until(ending: watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = ended(ending) => {}
        () = work => {}
    }
}

/// What goes into the log once a minute: the counts; and what is in force, in each new segment and until the newest
/// numbers of revocation lists stand there.
async fn summarise(gate: Arc<Gate>, vault: Arc<Vault>, audit: Arc<AuditLog>, live: Arc<LiveTls>) {
    let newest_segment = || {
        let audit = audit.clone();
        async move { tokio::task::spawn_blocking(move || audit.status().newest_segment).await.unwrap_or_default() }
    };
    let mut noted = (newest_segment().await, live.highest_lists());
    let mut ticks = interval(SUMMARY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        gate.summarise().await;
        let found = (newest_segment().await, live.highest_lists());
        if found != noted && note_in_force(&audit, &vault, &live).await.is_ok() {
            noted = found;
        }
    }
}

async fn housekeep(vault: Arc<Vault>, gate: Arc<Gate>) {
    let mut openings = vault.openings();
    let mut ticks = interval(HOUSEKEEPING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            changed = openings.changed() => if changed.is_err() { return },
        }
        if let Err(error) = vault.housekeep(&gate).await {
            tracing::warn!(%error, "the vault's own work is put off");
        }
    }
}

/// Rewraps, counts rows, rotates what is over age.
async fn keep_keys(vault: Arc<Vault>, gate: Arc<Gate>) {
    vault.keep_keys(&gate).await;
}

/// Ends the server when it is told to, or when the store fails for good: then the vault is sealed at once, and nothing is
/// tried again on a disk of which nobody knows what is on it.
async fn stop_on(vault: Arc<Vault>, store: Arc<dyn Store>, stop: impl Future<Output = ()>, end: watch::Sender<bool>) {
    let mut conditions = store.conditions();
    let why = tokio::select! {
        () = stop => None,
        () = ended(end.subscribe()) => None,
        condition = conditions.wait_for(Condition::is_fatal) => match condition.as_deref() {
            Ok(Condition::Fatal { why, .. }) => Some(why.clone()),
            _ => None,
        },
    };
    if let Some(why) = why {
        tracing::error!(why, "the store failed for good: the vault is sealed, the server ends");
        vault.shut().await;
    }
    end.send_replace(true);
}

/// Takes reports of strangers without ever blocking, and hands them to the gate one after the other.
pub(super) fn strangers(gate: Arc<Gate>, counted: Reasons) -> impl Fn(Stranger) + Send + Sync + 'static {
    let writer = gate.clone();
    let (report, mut reports) = tokio::sync::mpsc::channel::<Stranger>(STRANGERS);
    tokio::spawn(async move {
        while let Some(Stranger { address, why, .. }) = reports.recv().await {
            writer.write_stranger(address, why).await;
        }
    });
    move |stranger| {
        counted.count(stranger.why);
        if let Some(peer) = &stranger.proved {
            return gate.count_refused(peer, None, stranger.why);
        }
        if gate.count_stranger(stranger.address, stranger.why) {
            let _ = report.try_send(stranger);
        }
    }
}

/// The standard health service: serving while the vault is open.
pub(super) fn health(vault: &Arc<Vault>) -> HealthServer<impl Health> {
    let (reporter, service) = tonic_health::server::health_reporter();
    tokio::spawn(follow(reporter, vault.openings()));
    service
}

async fn follow(reporter: HealthReporter, mut openings: watch::Receiver<bool>) {
    loop {
        let status =
            if *openings.borrow_and_update() { tonic_health::ServingStatus::Serving } else { tonic_health::ServingStatus::NotServing };
        for service in ["", "strongroom.v1.SecretService"] {
            reporter.set_service_status(service, status).await;
        }
        if openings.changed().await.is_err() {
            return;
        }
    }
}
