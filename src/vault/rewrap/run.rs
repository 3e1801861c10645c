//! One pass of a rewrap, step by step. While a page's batches are committed the next page is read and rewrapped, so that one sync
//! of the store serves many rows; the cursor follows behind what is on disk.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use crate::gate::{Gate, NamespaceAt, Permit, Refusal, Unreleased};
use crate::model::{Action, NamespaceId};
use crate::storage::{Key, PageSize, Row};

use super::super::namespace::Namespace;
use super::super::record::{RewrapJob, RewrapState};
use super::super::{Error, Open, row};
use super::job::Job;
use super::pace::{Pace, Rate};
use super::rows::{BATCH_ROWS, Chunk, Rewrapper, Tally};

/// What is done one after the other. After each of them the process may be killed: the rest is done after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The order is on disk; no row was looked at.
    Ordered,
    /// The rows are counted, and their number is on disk.
    Counted,
    /// A page's new rows are made, and none is on disk.
    Rewrapped,
    /// A page's new rows are on disk; the cursor does not know of them.
    Committed,
    /// The cursor is on disk.
    Noted,
    /// All rows were looked at; the job does not say so.
    Passed,
    /// The end is on disk; its outcome may not be on record.
    Ended,
}

impl Step {
    /// All of them, in their order.
    pub const ALL: [Self; 7] = [Self::Ordered, Self::Counted, Self::Rewrapped, Self::Committed, Self::Noted, Self::Passed, Self::Ended];
}

/// Rows of a page: so many batches.
const PAGE_ROWS: usize = 8 * BATCH_ROWS;
/// A page takes this part of a second at least, so that a slow rewrap stops within it.
const PAGES_PER_S: u32 = 10;
/// The cursor is written when so many rows were done since, or so much time has passed.
const NOTED_ROWS: u64 = 8_192;
const NOTED_EVERY: Duration = Duration::from_secs(1);

/// Why a pass stops.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    /// Every row was looked at.
    Passed,
    /// It was begun again, or there is a newer key: from the record on.
    Again,
    /// It is paused, or has ended.
    Rests,
}

/// A pass under way.
struct Run {
    open: Arc<Open>,
    job: Arc<Job>,
    namespace: Arc<Namespace>,
    rewrapper: Rewrapper,
    begun: u64,
    /// How far pages were read; the record's cursor follows.
    read_to: Option<Key>,
    pace: Pace,
    rate: Rate,
    noted: (Instant, u64),
}

/// A page whose batches are being committed.
struct Committing {
    rows: u64,
    last: Key,
    tally: Tally,
    batches: JoinSet<Result<Tally, Error>>,
}

impl Open {
    /// Runs a namespace's job until it has ended or rests.
    pub(super) async fn run_rewrap(self: &Arc<Self>, id: NamespaceId, gate: &Gate) -> Result<(), Refusal<Error>> {
        let job = self.rewraps.of(id);
        loop {
            let stop = match Run::begin(self, &job).await {
                Ok(Some(mut run)) => run.pass().await.map(|stop| (stop, run.begun)),
                Ok(None) => return Ok(()),
                Err(error) => Err(error),
            };
            match stop {
                Ok((Stop::Rests, _)) => return Ok(()),
                Ok((Stop::Again, _)) => {}
                // The keyring is another than the one that was read: what lies there is in force.
                Err(Error::Conflict) => self.look_at_keyring(id, &row::keyring_key(id)).await.map_err(Refusal::Failed)?,
                Err(error) => return Err(Refusal::Failed(error)),
                Ok((Stop::Passed, begun)) => match self.end_rewrap(&job, begun, gate).await {
                    Err(Refusal::Failed(Error::Conflict)) => {}
                    ended => return ended,
                },
            }
        }
    }

    async fn end_rewrap(self: &Arc<Self>, job: &Arc<Job>, begun: u64, gate: &Gate) -> Result<(), Refusal<Error>> {
        let counted = self.count_rows(job.namespace, Duration::ZERO).await.map_err(Refusal::Failed)?;
        self.rewraps.note_count(job.namespace, counted);
        step(Step::Passed, job).await;
        let name = self.namespace(job.namespace).map_err(Refusal::Failed)?.info.name.clone();
        let at = NamespaceAt { id: job.namespace, name };
        let end = |permit: Permit<NamespaceId>| async move {
            let done = self.write_end(job, begun, &permit).await;
            step(Step::Ended, job).await;
            done
        };
        gate.run_own("FinishRewrap", Action::Rotate, at, end).await
    }

    async fn write_end(&self, job: &Job, begun: u64, permit: &Permit<NamespaceId>) -> Result<Unreleased<()>, Error> {
        let writing = self.write_rewrap(job, false, |record| {
            if job.now().begun != begun || record.state() == RewrapState::Done {
                return Err(Error::Conflict);
            }
            record.set_state(RewrapState::Done);
            record.finished_ms = permit.now().unix_ms();
            record.cursor.clear();
            record.intent = permit.intent();
            Ok(())
        });
        self.commit_rewrap(writing.await?).await?;
        let RewrapJob { seen, rewrapped, damaged, target_version, .. } = job.now().record;
        if damaged > 0 {
            tracing::error!(namespace = %job.namespace, damaged, "a rewrap has ended with rows that could not be opened");
        }
        let told = Unreleased::new(()).version(target_version.into());
        Ok(told.with("seen", seen).with("rewrapped", rewrapped).with("damaged", damaged))
    }
}

impl Run {
    /// Takes up a job where its record says; one that was for an older key begins again for the newer one. None if it rests.
    async fn begin(open: &Arc<Open>, job: &Arc<Job>) -> Result<Option<Self>, Error> {
        step(Step::Ordered, job).await;
        let namespace = open.namespace(job.namespace)?;
        let keys = namespace.keys();
        let target = keys.keyring.active().0;
        if job.state() == RewrapState::Running && job.now().record.target_version != target {
            let anew = |record: &mut RewrapJob| {
                record.target_version = target;
                record.cursor.clear();
                (record.total, record.seen, record.rewrapped, record.damaged) = (0, 0, 0, 0);
                Ok(())
            };
            open.commit_rewrap(open.write_rewrap(job, true, anew).await?).await?;
        }
        let now = job.now();
        if now.record.state() != RewrapState::Running {
            return Ok(None);
        }
        let rewrapper = Rewrapper::new(open, job.namespace, keys, now.record.reencrypt);
        let read_to = Key::new(now.record.cursor).ok();
        let (now_is, noted) = (Instant::now(), (Instant::now(), 0));
        let (open, job) = (open.clone(), job.clone());
        Ok(Some(Self {
            open,
            job,
            namespace,
            rewrapper,
            begun: now.begun,
            read_to,
            pace: Pace::new(now_is),
            rate: Rate::new(now_is),
            noted,
        }))
    }

    async fn pass(&mut self) -> Result<Stop, Error> {
        if let Some(stop) = self.count().await? {
            return Ok(stop);
        }
        let mut under_way: Option<Committing> = None;
        let stop = loop {
            if let Some(stop) = self.stop() {
                break stop;
            }
            tokio::select! {
                () = sleep_until(self.pace.due()) => {}
                () = self.job.stirred() => continue,
            }
            let rows = self.next_page().await?;
            let Some((last, _)) = rows.last() else { break Stop::Passed };
            let (count, last) = (rows.len() as u64, last.clone());
            let (chunks, tally) = self.rewrap(rows).await?;
            step(Step::Rewrapped, &self.job).await;
            if let Some(before) = under_way.take() {
                self.finish(before).await?;
            }
            under_way = Some(self.commit(count, last, chunks, tally));
        };
        if let Some(last) = under_way {
            self.finish(last).await?;
        }
        if self.noted.1 > 0 && stop != Stop::Again {
            self.note().await;
        }
        Ok(stop)
    }

    /// Whether it is to stop here.
    fn stop(&self) -> Option<Stop> {
        let now = self.job.now();
        let is_newest = self.namespace.keys().revision == self.rewrapper.keys.revision;
        match now.record.state() {
            _ if now.begun != self.begun => Some(Stop::Again),
            RewrapState::Running if is_newest => None,
            RewrapState::Running => Some(Stop::Again),
            _ => Some(Stop::Rests),
        }
    }

    /// How many rows there are: at the beginning alone.
    async fn count(&mut self) -> Result<Option<Stop>, Error> {
        if self.read_to.is_some() || self.job.now().record.total > 0 {
            return Ok(None);
        }
        let counted = tokio::select! {
            counted = self.open.count_rows(self.job.namespace, Duration::ZERO) => counted?,
            () = self.job.stirred() => return Ok(Some(self.stop().unwrap_or(Stop::Again))),
        };
        let total = counted.total();
        self.open.rewraps.note_count(self.job.namespace, counted);
        self.job.tell(self.begun, |now| now.record.total = total);
        self.note().await;
        step(Step::Counted, &self.job).await;
        Ok(None)
    }

    /// The next rows: heads first, then older versions. None at the end.
    async fn next_page(&mut self) -> Result<Vec<(Key, Row)>, Error> {
        let rate = self.job.now().record.rate_per_s;
        let rows = usize::try_from(rate / PAGES_PER_S).unwrap_or(PAGE_ROWS).clamp(1, PAGE_ROWS);
        let size = PageSize::new(rows).expect("1 to 504 rows");
        let id = self.job.namespace;
        for prefix in [row::heads_prefix(id), row::all_versions_prefix(id)] {
            let is_past = |key: &Key| key.as_bytes()[0] > prefix.as_bytes()[0];
            if self.read_to.as_ref().is_some_and(is_past) {
                continue;
            }
            let page = self.open.rows.store.scan(&prefix, self.read_to.as_ref(), size).await?;
            if let Some((last, _)) = page.rows.last() {
                self.read_to = Some(last.clone());
                self.pace.take(page.rows.len(), rate, Instant::now());
                return Ok(page.rows);
            }
        }
        Ok(Vec::new())
    }

    /// Off the runtime, which has calls to answer.
    async fn rewrap(&self, rows: Vec<(Key, Row)>) -> Result<(Vec<Chunk>, Tally), Error> {
        let rewrapper = self.rewrapper.clone();
        let made = spawn_blocking(move || rewrapper.chunks(rows.iter().map(|(key, row)| (key, row))));
        made.await.map_err(|_| Error::Integrity("a page of rows"))?
    }

    fn commit(&self, rows: u64, last: Key, chunks: Vec<Chunk>, tally: Tally) -> Committing {
        let mut batches = JoinSet::new();
        for chunk in chunks {
            batches.spawn(self.rewrapper.clone().commit(chunk));
        }
        Committing { rows, last, tally, batches }
    }

    /// Once all of a page is on disk, the job may say so.
    async fn finish(&mut self, mut page: Committing) -> Result<(), Error> {
        while let Some(done) = page.batches.join_next().await {
            page.tally.add(done.map_err(|_| Error::Integrity("a batch of rows"))??);
        }
        step(Step::Committed, &self.job).await;
        self.open.rewraps.note_rewrapped(page.tally.rewrapped);
        let rate = self.rate.count(page.rows, Instant::now());
        self.job.tell(self.begun, |now| {
            now.record.cursor = page.last.as_bytes().to_vec();
            now.record.seen += page.rows;
            now.record.rewrapped += page.tally.rewrapped;
            now.record.damaged += page.tally.damaged;
            now.rows_per_s = rate.unwrap_or(now.rows_per_s);
        });
        self.noted.1 += page.rows;
        if self.noted.1 >= NOTED_ROWS || self.noted.0.elapsed() >= NOTED_EVERY {
            self.note().await;
            step(Step::Noted, &self.job).await;
        }
        Ok(())
    }

    /// Writes the cursor. Where that fails, the next time will do: a lost cursor costs a second look.
    async fn note(&mut self) {
        self.noted = (Instant::now(), 0);
        let written = match self.open.write_rewrap(&self.job, false, |_| Ok(())).await {
            Ok(writing) => self.open.commit_rewrap(writing).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            tracing::warn!(%error, namespace = %self.job.namespace, "how far a rewrap is could not be written");
        }
    }
}

/// A run has come so far. Tests stop it here, as a kill would.
async fn step(step: Step, job: &Job) {
    tracing::trace!(?step, namespace = %job.namespace, "rewrap");
    #[cfg(test)]
    super::halt::at(step, job.namespace).await;
}
