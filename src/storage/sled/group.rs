//! A group: batches that are decided together and share one sync.

use std::collections::HashMap;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::super::{Batch, Change, CommitError, Key, Revision, StoreError, Write};
use super::Shared;
use super::ledger::Ledger;
use super::log::{Log, Pending};

/// A batch, already checked against the bounds.
pub(super) struct Request {
    pub(super) batch: Batch,
    pub(super) answer: oneshot::Sender<Result<Revision, CommitError>>,
    pub(super) _permit: OwnedSemaphorePermit,
}

/// Batches decided together, and what is to be answered once it is known what became of them.
pub(super) struct Group {
    pub(super) pending: Pending,
    pub(super) ledger: Ledger,
    /// Where the rows that it writes will be.
    revisions: HashMap<Key, Revision>,
    /// What it does to each row: from where to where, in order.
    pub(super) replacements: Vec<(Key, Revision, Revision)>,
    pub(super) newest_deletion: Revision,
    pub(super) changes: Vec<(Revision, Vec<Change>)>,
    pub(super) answers: Vec<(Request, Result<Revision, CommitError>)>,
}

impl Group {
    pub(super) fn after(ledger: Ledger) -> Self {
        Self {
            pending: Pending::default(),
            ledger,
            revisions: HashMap::new(),
            replacements: Vec::new(),
            newest_deletion: Revision::ABSENT,
            changes: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Whether a batch may happen after those before it; if so, it is part of the group.
    pub(super) fn decide(&mut self, log: &Log, batch: &Batch) -> Result<Revision, CommitError> {
        for (key, expected) in batch.expectations() {
            if self.revision_of(log, key)? != *expected {
                return Err(CommitError::Conflict(key.clone()));
            }
        }
        // All reads come before the first change: a batch that fails has left no trace.
        let old: Vec<_> = batch.writes().iter().map(|(key, _)| self.revision_of(log, key)).collect::<Result<_, _>>()?;
        let revision = self.ledger.revision.next();
        self.ledger.revision = revision;
        for ((key, write), old) in batch.writes().iter().zip(old) {
            self.write(key, write, old, revision);
        }
        self.changes.push((revision, Change::of(batch, revision).collect()));
        Ok(revision)
    }

    fn write(&mut self, key: &Key, write: &Write, old: Revision, revision: Revision) {
        let new = match write {
            Write::Put(value) => {
                self.pending.put(key, revision, value);
                revision
            }
            Write::Delete => {
                self.pending.delete(key);
                self.newest_deletion = revision;
                Revision::ABSENT
            }
        };
        self.ledger.replace(old, new);
        self.replacements.push((key.clone(), old, new));
        self.revisions.insert(key.clone(), new);
    }

    fn revision_of(&self, log: &Log, key: &Key) -> Result<Revision, StoreError> {
        match self.revisions.get(key) {
            Some(revision) => Ok(*revision),
            None => Ok(log.get(key)?.map_or(Revision::ABSENT, |row| row.revision)),
        }
    }

    /// A batch that was refused certainly did not happen; of the others nobody knows.
    pub(super) fn answer_unknown(self, shared: &Shared) {
        for (request, outcome) in self.answers {
            let error = if outcome.is_ok() { CommitError::Unknown } else { shared.refusal().into() };
            request.answer(Err(error));
        }
    }
}

impl Request {
    /// Nobody may be waiting any more, which changes nothing.
    pub(super) fn answer(self, outcome: Result<Revision, CommitError>) {
        let _ = self.answer.send(outcome);
    }
}
