//! The vault's own work on keys: runs of jobs, counts of rows, and keys that are over age.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::gate::{Gate, NamespaceAt, Permit, Refusal};
use crate::model::{Action, NamespaceId, Timestamp};

use super::super::key::Rotation;
use super::super::namespace::Namespace;
use super::super::record::RewrapState;
use super::super::{Error, Open, Vault};
use super::{RewrapOrder, lock};

/// Jobs that run at once; more of them wait.
const AT_ONCE: usize = 8;
/// How often it is looked for jobs that run and for keys that are over age, beside when something was ordered.
const LOOKED_EVERY: Duration = Duration::from_secs(10);
/// After a run that failed.
const REST: Duration = Duration::from_secs(1);

/// What machines that watch machines ask of keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyFigures {
    /// Namespaces whose active key is over age.
    pub over_age: usize,
    /// The age of the oldest active key.
    pub oldest_active: Duration,
    /// Rewraps that go on.
    pub running: usize,
    /// Rewraps that wait to be resumed.
    pub paused: usize,
    /// Rows that were rewrapped since the vault was opened.
    pub rewrapped: u64,
}

impl Vault {
    /// Works on keys whenever the vault is open. Never ends; a seal stops all of it at once.
    pub async fn keep_keys(&self, gate: &Arc<Gate>) {
        let mut openings = self.openings();
        loop {
            openings.mark_unchanged();
            if let Ok(open) = self.open() {
                tokio::select! {
                    changed = openings.changed() => if changed.is_err() { return },
                    () = open.run_rewraps(gate) => {}
                    () = open.keep_counts() => {}
                    () = self.rotate_when_due(&open, gate) => {}
                }
            } else if openings.changed().await.is_err() {
                return;
            }
        }
    }

    /// Figures of all keys; none while sealed.
    #[must_use]
    pub fn key_figures(&self) -> Option<KeyFigures> {
        self.open().ok().map(|open| open.key_figures())
    }

    async fn rotate_when_due(&self, open: &Arc<Open>, gate: &Gate) {
        let mut ticks = interval(LOOKED_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // A clock that jumped must not rotate every key.
            if self.implausible_clock().is_none() {
                open.rotate_due(gate).await;
            }
        }
    }
}

impl Open {
    /// Runs every job that is running. Never ends.
    async fn run_rewraps(self: &Arc<Self>, gate: &Arc<Gate>) {
        let (mut runs, mut under_way) = (JoinSet::new(), HashMap::<Id, NamespaceId>::new());
        loop {
            for id in self.rewraps.running() {
                if under_way.len() < AT_ONCE && !under_way.values().any(|running| *running == id) {
                    let (open, gate) = (self.clone(), gate.clone());
                    under_way.insert(runs.spawn(async move { open.run_or_rest(id, &gate).await }).id(), id);
                }
            }
            tokio::select! {
                Some(ended) = runs.join_next_with_id() => {
                    let task = ended.map_or_else(|error| error.id(), |(task, ())| task);
                    under_way.remove(&task);
                }
                () = self.rewraps.wake.notified() => {}
                () = sleep(LOOKED_EVERY) => {}
            }
        }
    }

    async fn run_or_rest(self: &Arc<Self>, id: NamespaceId, gate: &Gate) {
        if let Err(error) = self.run_rewrap(id, gate).await {
            tracing::warn!(%error, namespace = %id, "a rewrap is put off");
            sleep(REST).await;
        }
    }

    /// One look at all active keys: those over age are rotated where their namespace says so, and told of otherwise.
    pub(in crate::vault) async fn rotate_due(self: &Arc<Self>, gate: &Gate) {
        let all: Vec<_> = self.namespaces.load().values().cloned().collect();
        for namespace in all {
            let id = namespace.info.id;
            let active = namespace.keys().keyring.active().0;
            if !namespace.is_over_age(self.clock.now()) {
                continue;
            }
            let is_new = lock(&self.rewraps.warned).insert((id, active));
            let name = namespace.info.name.clone();
            if !namespace.info.limits.auto_rotate {
                if is_new {
                    tracing::warn!(namespace = %name, version = active, "a key is older than its cryptoperiod: rotate it");
                }
                continue;
            }
            // A call may have rotated it since: only this very version is replaced.
            let rotation = Rotation { expected_active: active, rewrap: Some(RewrapOrder::default()) };
            let rotate = |permit: Permit<NamespaceId>| self.rotate_key(permit, rotation);
            match gate.run_own("RotateDue", Action::Rotate, NamespaceAt { id, name: name.clone() }, rotate).await {
                Ok(_) => tracing::info!(namespace = %name, "a key was older than its cryptoperiod, and was rotated"),
                Err(Refusal::Failed(Error::Conflict)) => {}
                Err(error) => tracing::error!(%error, namespace = %name, "a key that is over age could not be rotated"),
            }
        }
    }

    fn key_figures(&self) -> KeyFigures {
        let (now, namespaces) = (self.clock.now(), self.namespaces.load());
        let states: Vec<_> = lock(&self.rewraps.jobs).values().map(|job| job.state()).collect();
        let count = |wanted| states.iter().filter(|state| **state == wanted).count();
        KeyFigures {
            over_age: namespaces.values().filter(|namespace| namespace.is_over_age(now)).count(),
            oldest_active: namespaces.values().filter_map(|namespace| namespace.age_of_active(now)).max().unwrap_or_default(),
            running: count(RewrapState::Running),
            paused: count(RewrapState::Paused),
            rewrapped: self.rewraps.rewrapped.load(Ordering::Relaxed),
        }
    }
}

impl Namespace {
    /// How long its active key has encrypted; nothing where the clock went back to before it was made.
    pub(in crate::vault) fn age_of_active(&self, now: Timestamp) -> Option<Duration> {
        self.keys().keyring.inventory().last().map(|active| now.since(active.created))
    }

    /// Whether that is longer than its cryptoperiod.
    pub(in crate::vault) fn is_over_age(&self, now: Timestamp) -> bool {
        self.age_of_active(now).is_some_and(|age| age >= self.info.limits.cryptoperiod)
    }
}
