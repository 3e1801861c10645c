//! Rewrap: after a rotation, every data key of a namespace is put under the active key version, in the background, while reads
//! and writes are served.
//!
//! ```text
//! RotateKey with rewrap: keyring ‖ job row, one commit          StartRewrap: job row
//!    │ wakes
//! Vault::rewrap ── a run for each job that is running
//!    count rows ─▶ page of rows ─▶ rewrap off the runtime ─▶ batches ─▶ cursor, now and then ─▶ … ─▶ count rows ─▶ end
//!                  heads, then older versions                  │
//!                    each expects its rows AND the keyring as they were read; quiet: a watch tells nothing of it
//! ```
//!
//! | word | meaning |
//! |---|---|
//! | job | the newest rewrap of a namespace: one row of class `w`, under the system key; running, paused or done |
//! | run | a job under way in this process, from its cursor on. A lost cursor costs a second look at rows that are done |
//! | pass | from the first row to the last. A newer key version, or a newer order, begins it again |
//! | quiet | `revision` of a secret changes, since its row does; but it is no change of the secret, and no watch tells of it |
//!
//! Rows that are written meanwhile are under the active version already, or make a batch conflict and are read again. Heads come
//! before older versions since a head moves there with its key: what moves behind the cursor was rewrapped as a head.
//!
//! | file | what |
//! |---|---|
//! | `job` | the job's row, what is in memory of it, and who may write it |
//! | `order` | start, pause, resume, list, watch: what needs a permit |
//! | `run` | one pass, step by step ([`Step`]) |
//! | `rows` | one row, one batch |
//! | `pace` | rows a second: the bound, and the measured rate |
//! | `count` | how many rows lie under which key version |
//! | `work` | the vault's own work: runs, counts, keys that are over age |

mod count;
#[cfg(test)]
pub(super) mod halt;
mod job;
mod order;
mod pace;
mod rows;
mod run;
mod work;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::model::NamespaceId;

use super::Error;
use super::record::{RewrapJob, RewrapState};
use super::row;
use super::rows::SystemRows;

pub(super) use count::Counted;
pub(super) use job::{Job, Writing};
pub use order::{RewrapInfo, RewrapOrder, RewrapStatus, RewrapWatch};
pub use run::Step;
pub use work::KeyFigures;

/// What an open vault knows of its rewraps.
pub(super) struct Rewraps {
    jobs: Mutex<HashMap<NamespaceId, Arc<Job>>>,
    counts: Mutex<HashMap<NamespaceId, Counted>>,
    /// Key versions of which it was said that they are over age.
    warned: Mutex<HashSet<(NamespaceId, u32)>>,
    /// Rows that were rewrapped since the vault was opened.
    rewrapped: AtomicU64,
    wake: Notify,
}

impl Rewraps {
    /// All that there were when the vault was closed.
    pub(super) async fn load(rows: &SystemRows) -> Result<Self, Error> {
        let mut jobs = HashMap::new();
        for (_, record, revision) in rows.records::<RewrapJob>(&row::rewraps_prefix()).await? {
            let id = record.namespace()?;
            jobs.insert(id, Arc::new(Job::new(id, record, revision)));
        }
        let (counts, warned, rewrapped, wake) = Default::default();
        Ok(Self { jobs: Mutex::new(jobs), counts, warned, rewrapped, wake })
    }

    /// A namespace's job, of which nothing may have been written yet.
    pub(super) fn of(&self, id: NamespaceId) -> Arc<Job> {
        lock(&self.jobs).entry(id).or_insert_with(|| Arc::new(Job::none(id))).clone()
    }

    /// The same, if there ever was one.
    pub(super) fn existing(&self, id: NamespaceId) -> Option<Arc<Job>> {
        lock(&self.jobs).get(&id).filter(|job| job.state() != RewrapState::Unspecified).cloned()
    }

    fn running(&self) -> Vec<NamespaceId> {
        lock(&self.jobs).values().filter(|job| job.state() == RewrapState::Running).map(|job| job.namespace).collect()
    }

    /// How many rows lay under which version, if they were counted.
    pub(super) fn counted(&self, id: NamespaceId) -> Option<Counted> {
        lock(&self.counts).get(&id).cloned()
    }

    fn note_count(&self, id: NamespaceId, counted: Counted) {
        lock(&self.counts).insert(id, counted);
    }

    fn note_rewrapped(&self, rows: u64) {
        self.rewrapped.fetch_add(rows, Ordering::Relaxed);
    }
}

/// Each change of these maps is one step.
fn lock<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}
