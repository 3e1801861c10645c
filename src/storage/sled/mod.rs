//! The embedded store: sled 0.34.7, and what has to stand around it so that it keeps what it acknowledges.
//!
//! ```text
//! commit -> inbox -> the one writer thread:  group of up to 256 batches
//!                      room on the disk? -> expectations against tree and group -> one apply_batch -> flush
//!                      -> fdatasync on our own handle of the log -> witness -> watchers -> answers
//! stand_still -> inbox -> between two groups the writer waits until it is dropped, for 2 s at most
//! get    -> straight from the tree; a row (or a deletion) newer than what is durable is waited for
//! ```
//!
//! | file | guards against |
//! |---|---|
//! | `folder` | a second process, an unmounted disk, loose file modes, a torn snapshot |
//! | `disk` | sled's flush, which is no fsync; a disk that runs full; a log that was removed |
//! | `log` | sled's types leaking out; its threads that would wait for ever after an error |
//! | `ledger`, `count` | rows that recovery drops without a word: their number and the sum of their revisions are kept, and counted after each opening |
//! | `witness` | a tail of the log that recovery drops without a word |
//! | `group` | two batches of one group that contradict each other |
//! | `writer` | two mutators; an acknowledgement before its time; a second try after a failed fsync |

mod count;
mod disk;
mod folder;
mod group;
mod ledger;
mod log;
#[cfg(test)]
mod tests;
mod witness;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use tokio::sync::{Semaphore, oneshot, watch};

use self::disk::Disk;
use self::folder::Folder;
use self::group::Request;
use self::log::Log;
use self::writer::{Message, Opened, StandsFor, Writer};
use super::{
    Batch, Changes, CommitError, Condition, Feed, Key, Page, PageSize, Revision, Row, Standstill, Store, StoreError, StoreStatus,
    check_keys,
};

/// Batches that may wait for the writer; further callers wait before they hand theirs over.
const INBOX_BATCHES: usize = 1024;

/// Whether a store is to be made or to be found. There is no "either": an unmounted disk must not become a fresh vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The folder is absent or empty, and becomes a store.
    CreateNew,
    /// The same, and its next revision is the one after this: no revision of the store that it takes the place of comes again.
    CreateAfter(Revision),
    /// The folder is a store.
    OpenExisting,
}

impl Mode {
    /// The revision after which a new store begins; none for one that is to be found.
    const fn begins_after(self) -> Option<Revision> {
        match self {
            Self::CreateNew => Some(Revision::ABSENT),
            Self::CreateAfter(revision) => Some(revision),
            Self::OpenExisting => None,
        }
    }
}

/// What an operator may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SledOptions {
    /// Memory for pages of the tree. The process takes more: some 60 MiB at a million rows (see `docs/performance.md`).
    pub cache_bytes: u64,
    /// Free space under which writes are refused, so that the log itself never meets a full disk.
    pub reserve_bytes: u64,
}

/// The embedded store.
pub struct SledStore {
    shared: Arc<Shared>,
    inbox: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// The writer waits until this is dropped.
struct Held {
    shared: Arc<Shared>,
    revision: Revision,
    is_over: Arc<AtomicBool>,
    _release: mpsc::Sender<()>,
}

/// What readers and the writer share. Only the writer changes it.
struct Shared {
    /// `None` while the log is opened again, and after the end.
    log: ArcSwapOption<Log>,
    /// The newest revision that deletes something and was handed to sled: an absent row may be absent since then.
    newest_deletion: AtomicU64,
    progress: watch::Sender<Progress>,
    condition: watch::Sender<Condition>,
    feed: Feed,
    disk: Disk,
}

#[derive(Debug, Clone, Copy)]
struct Progress {
    /// Every change up to this one is on disk.
    durable: Revision,
    /// How often the log was opened: what was read from an earlier opening and was not durable may never have been.
    opening: u64,
    /// Whether `durable` stands still because a write failed.
    halted: bool,
}

impl Default for SledOptions {
    /// 40 MiB of cache, 64 MiB of reserve.
    fn default() -> Self {
        Self { cache_bytes: 40 * 1024 * 1024, reserve_bytes: 64 * 1024 * 1024 }
    }
}

impl SledStore {
    /// Makes or opens the store in a folder. Blocks: it reads the log's end and counts the first rows. The others are counted
    /// while it serves; if some are missing or older than they were, its condition is [`Condition::Fatal`] from then on.
    ///
    /// # Errors
    /// The folder is in use, is not what `mode` says, or cannot be written; rows are corrupt, missing or older than they
    /// were.
    pub fn open(path: &Path, options: &SledOptions, mode: Mode) -> Result<Self, StoreError> {
        let folder = match mode {
            Mode::CreateNew | Mode::CreateAfter(_) => Folder::create(path)?,
            Mode::OpenExisting => Folder::existing(path)?,
        };
        let disk = Disk::open(&folder, options.reserve_bytes)?;
        let opened = writer::open_log(&folder, &disk, options, mode)?;
        Self::serve(folder, disk, options, opened)
    }

    fn serve(folder: Folder, disk: Disk, options: &SledOptions, opened: Opened) -> Result<Self, StoreError> {
        let Opened { log, ledger, count } = opened;
        let shared = Arc::new(Shared {
            log: ArcSwapOption::from_pointee(log),
            newest_deletion: AtomicU64::new(0),
            progress: watch::Sender::new(Progress { durable: ledger.revision, opening: 0, halted: false }),
            condition: watch::Sender::new(Condition::Healthy),
            feed: Feed::new(ledger.revision),
            disk,
        });
        let (inbox, messages) = mpsc::channel();
        let writer = Writer::start(Arc::clone(&shared), messages, folder, options.clone(), ledger, count).inspect_err(|_| {
            // Here, where a panic of its closing is caught.
            shared.log.swap(None).map(writer::close);
        })?;
        Ok(Self { shared, inbox, room: Arc::new(Semaphore::new(INBOX_BATCHES)), writer: Mutex::new(Some(writer)) })
    }

    fn ask_to_close(&self) -> Option<JoinHandle<()>> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        self.room.close();
        // The writer is gone only if it was closed before.
        let _ = self.inbox.send(Message::Close);
        Some(writer)
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        if let Some(writer) = self.ask_to_close() {
            join(writer);
        }
    }
}

/// A panic of the writer was caught and reported where it happened.
fn join(writer: JoinHandle<()>) {
    let _ = writer.join();
}

#[async_trait]
impl Store for SledStore {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError> {
        check_keys(keys)?;
        self.shared.get(keys).await
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: PageSize) -> Result<Page, StoreError> {
        loop {
            let opening = self.shared.opening();
            let (shared, prefix, after) = (Arc::clone(&self.shared), prefix.clone(), after.cloned());
            let scan = tokio::task::spawn_blocking(move || shared.read(|log| Page::gather(log.rows_under(&prefix, after.as_ref()), limit)));
            let page = scan.await.map_err(|_| StoreError::Corrupt("a scan panicked".to_owned()))??;
            if self.shared.is_settled(opening, self.shared.newest_in(&page)).await? {
                return Ok(page);
            }
        }
    }

    async fn commit(&self, batch: Batch) -> Result<Revision, CommitError> {
        batch.check()?;
        let Ok(permit) = Arc::clone(&self.room).acquire_owned().await else { return Err(self.shared.refusal().into()) };
        let (answer, outcome) = oneshot::channel();
        let request = Request { batch, answer, _permit: permit };
        if self.inbox.send(Message::Commit(request)).is_err() {
            return Err(self.shared.refusal().into());
        }
        outcome.await.unwrap_or(Err(CommitError::Unknown))
    }

    async fn watch(&self, prefix: &Key, after: Revision) -> Result<Changes, StoreError> {
        match &*self.shared.condition.borrow() {
            Condition::Closed => Err(StoreError::Closed),
            _ => Ok(self.shared.feed.watch(prefix, after)),
        }
    }

    async fn stand_still(&self) -> Result<Box<dyn Standstill>, StoreError> {
        let (ready, stands) = oneshot::channel();
        let (release, released) = mpsc::channel();
        let is_over = Arc::new(AtomicBool::new(false));
        let message = Message::StandStill(StandsFor { ready, released, is_over: is_over.clone() });
        self.inbox.send(message).map_err(|_| self.shared.refusal())?;
        let revision = stands.await.map_err(|_| self.shared.refusal())?;
        Ok(Box::new(Held { shared: self.shared.clone(), revision, is_over, _release: release }))
    }

    fn status(&self) -> StoreStatus {
        StoreStatus {
            size_on_disk_bytes: self.shared.disk.log_bytes(),
            durable: self.shared.progress.borrow().durable,
            condition: self.shared.condition.borrow().clone(),
        }
    }

    fn conditions(&self) -> watch::Receiver<Condition> {
        self.shared.condition.subscribe()
    }

    async fn close(&self) {
        if let Some(writer) = self.ask_to_close() {
            // It can fail only if the runtime itself ends, and then the writer ends by itself.
            let _ = tokio::task::spawn_blocking(|| join(writer)).await;
        }
    }
}

#[async_trait]
impl Standstill for Held {
    fn revision(&self) -> Revision {
        self.revision
    }

    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError> {
        check_keys(keys)?;
        let rows = self.shared.get(keys).await?;
        // Asked after the rows were read: had the writer gone on before, it would have said so before.
        if self.is_over.load(Ordering::SeqCst) {
            return Err(StoreError::Full("the standstill lasted too long".to_owned()));
        }
        Ok(rows)
    }
}

impl Shared {
    fn read<T>(&self, read: impl FnOnce(&Log) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match &*self.log.load() {
            Some(log) => read(log),
            None => Err(self.refusal()),
        }
    }

    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError> {
        loop {
            // In place, on the caller's thread: a hit takes a microsecond or two, and a miss one read of a page.
            let opening = self.opening();
            let rows = self.read(|log| keys.iter().map(|key| log.get(key)).collect::<Result<Vec<_>, _>>())?;
            if self.is_settled(opening, self.newest_seen(&rows)).await? {
                return Ok(rows);
            }
        }
    }

    fn refusal(&self) -> StoreError {
        self.condition.borrow().refusal()
    }

    /// To be asked before the rows are read: then a reopening in between is noticed.
    fn opening(&self) -> u64 {
        self.progress.borrow().opening
    }

    /// The newest change that these answers rest on. Read after the rows: a deletion is announced before it is made.
    fn newest_seen(&self, rows: &[Option<Row>]) -> Revision {
        let of_row = |row: &Option<Row>| row.as_ref().map_or_else(|| self.newest_deletion(), |row| row.revision);
        rows.iter().map(of_row).max().unwrap_or_default()
    }

    fn newest_in(&self, page: &Page) -> Revision {
        let newest_row = page.rows.iter().map(|(_, row)| row.revision).max().unwrap_or_default();
        newest_row.max(self.newest_deletion())
    }

    fn newest_deletion(&self) -> Revision {
        Revision::from_number(self.newest_deletion.load(Ordering::SeqCst))
    }

    /// Waits until everything up to `newest`, read in this `opening` of the log, is on disk. `false`: read again.
    async fn is_settled(&self, opening: u64, newest: Revision) -> Result<bool, StoreError> {
        let is_over = |progress: &Progress| progress.durable >= newest || progress.opening != opening || progress.halted;
        let mut progress = *self.progress.borrow();
        if !is_over(&progress) {
            progress = *self.progress.subscribe().wait_for(is_over).await.map_err(|_| StoreError::Closed)?;
        }
        match progress {
            Progress { opening: now, .. } if now != opening => Ok(false),
            Progress { durable, .. } if durable >= newest => Ok(true),
            _ => Err(self.refusal()),
        }
    }
}
