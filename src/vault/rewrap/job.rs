//! A job: its row, and what is in memory of it. Whoever holds the row's revision may write the row; so a pause, a rotation and
//! the run's own cursor do not undo each other.

use tokio::sync::{Mutex, MutexGuard, Notify, watch};

use crate::model::NamespaceId;
use crate::storage::{Batch, CommitError, Key, Revision, Value};

use super::super::record::{RewrapJob, RewrapState};
use super::super::{Error, Open, row};

/// The newest rewrap of a namespace.
pub(in crate::vault) struct Job {
    pub(super) namespace: NamespaceId,
    row: Mutex<Revision>,
    now: watch::Sender<Now>,
    /// Something was ordered: who waits looks again.
    stir: Notify,
}

/// A job at this moment. Cursor and counts may be ahead of its row.
#[derive(Debug, Clone, Default)]
pub(super) struct Now {
    pub(super) record: RewrapJob,
    /// How often it was begun in this process: a run of an earlier begin has nothing more to say.
    pub(super) begun: u64,
    pub(super) rows_per_s: u32,
}

/// A change of the job's row that is to be committed, perhaps together with others.
pub(in crate::vault) struct Writing<'a> {
    job: &'a Job,
    revision: MutexGuard<'a, Revision>,
    record: RewrapJob,
    begins: bool,
    key: Key,
    value: Value,
}

impl Job {
    pub(super) fn new(namespace: NamespaceId, record: RewrapJob, revision: Revision) -> Self {
        let now = watch::Sender::new(Now { record, begun: 0, rows_per_s: 0 });
        Self { namespace, row: Mutex::new(revision), now, stir: Notify::new() }
    }

    pub(super) fn none(namespace: NamespaceId) -> Self {
        Self::new(namespace, RewrapJob::default(), Revision::ABSENT)
    }

    pub(super) fn now(&self) -> Now {
        self.now.borrow().clone()
    }

    pub(super) fn state(&self) -> RewrapState {
        self.now.borrow().record.state()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Now> {
        self.now.subscribe()
    }

    /// Ready when something is ordered.
    pub(super) async fn stirred(&self) {
        self.stir.notified().await;
    }

    /// How far a run is; ignored if the job was begun again since.
    pub(super) fn tell(&self, begun: u64, change: impl FnOnce(&mut Now)) {
        self.now.send_if_modified(|now| {
            let is_current = now.begun == begun;
            if is_current {
                change(now);
            }
            is_current
        });
    }
}

impl Writing<'_> {
    /// The same batch, with this in it.
    pub(in crate::vault) fn add_to(&self, batch: Batch) -> Batch {
        batch.expecting(self.key.clone(), *self.revision).put(self.key.clone(), self.value.clone())
    }

    /// It was committed.
    pub(in crate::vault) fn done(self, revision: Revision) {
        let record = self.record.clone();
        self.take_up(record, revision);
    }

    fn take_up(mut self, record: RewrapJob, revision: Revision) {
        *self.revision = revision;
        self.job.now.send_modify(|now| {
            now.record = record;
            now.begun += u64::from(self.begins);
            now.rows_per_s = if now.record.state() == RewrapState::Running { now.rows_per_s } else { 0 };
        });
        self.job.stir.notify_one();
    }
}

impl Open {
    /// A change of a job that is to be committed. `begins`: it begins again, whatever a run under way may still say.
    pub(in crate::vault) async fn write_rewrap<'a>(
        &self,
        job: &'a Job,
        begins: bool,
        change: impl FnOnce(&mut RewrapJob) -> Result<(), Error>,
    ) -> Result<Writing<'a>, Error> {
        let revision = job.row.lock().await;
        let mut record = job.now().record;
        change(&mut record)?;
        record.namespace_id = job.namespace.as_bytes().to_vec();
        let key = row::rewrap_key(job.namespace);
        let value = self.rows.seal(&key, &record)?;
        Ok(Writing { job, revision, record, begins, key, value })
    }

    /// Commits it by itself.
    pub(super) async fn commit_rewrap(&self, writing: Writing<'_>) -> Result<(), Error> {
        match self.rows.store.commit(writing.add_to(Batch::new())).await {
            Ok(revision) => {
                writing.done(revision);
                Ok(())
            }
            Err(CommitError::Refused(error)) => Err(error.into()),
            Err(CommitError::Unknown | CommitError::Conflict(_)) => self.settle_rewrap(writing).await,
        }
    }

    /// Nobody knows whether it happened: what lies there is what counts.
    pub(in crate::vault) async fn settle_rewrap(&self, mut writing: Writing<'_>) -> Result<(), Error> {
        let found = self.rows.record::<RewrapJob>(&writing.key).await.map_err(|_| Error::Unknown)?;
        let (record, revision) = found.unwrap_or((RewrapJob::default(), Revision::ABSENT));
        let is_done = record == writing.record;
        // What a run still holds in its hands may be of another order.
        writing.begins = true;
        writing.take_up(record, revision);
        if is_done { Ok(()) } else { Err(Error::Unknown) }
    }
}
