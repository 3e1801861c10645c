//! The one writer: the only thread that changes the store.

use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::super::{Condition, Revision, STANDSTILL, StoreError};
use super::count::Count;
use super::disk::Disk;
use super::folder::{Folder, failed};
use super::group::{Group, Request};
use super::ledger::Ledger;
use super::log::{Log, Pending};
use super::witness::Witness;
use super::{Mode, Progress, Shared, SledOptions};

/// Batches that share one sync.
const GROUP_BATCHES: usize = 256;
/// Bytes after which a group takes no more.
const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// How often a writer without work looks whether the store is well, or well again.
const TICK: Duration = Duration::from_secs(1);
/// Rows that are counted before a log is believed: some 50 ms.
pub(super) const COUNTED_AT_OPENING: usize = 16 * 1024;
/// Rows that are counted at once from then on, and how long the writer waits for other work before it counts on: a batch
/// that comes meanwhile waits for a millisecond or two, and some half of a core is left to others.
const COUNTED_AT_ONCE: usize = 512;
const COUNT_PAUSE: Duration = Duration::from_millis(1);

/// What the writer is asked.
pub(super) enum Message {
    Commit(Request),
    StandStill(StandsFor),
    Close,
}

/// Whom the writer stands still for.
pub(super) struct StandsFor {
    pub(super) ready: oneshot::Sender<Revision>,
    /// Disconnected when the standstill is dropped.
    pub(super) released: Receiver<()>,
    /// Set before the writer goes on by itself.
    pub(super) is_over: Arc<AtomicBool>,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    inbox: Receiver<Message>,
    folder: Folder,
    witness: Witness,
    options: SledOptions,
    /// As of the last durable group.
    ledger: Ledger,
    /// Of the rows that the log was opened with; `None` when all of them were counted.
    count: Option<Count>,
    /// Whether sled takes writes; if not, its log has to be opened again.
    is_sound: bool,
    /// A poisoned log is not opened again before this.
    next_try: Instant,
    /// Once the group before it is served.
    stands_for: Option<StandsFor>,
    is_closing: bool,
}

/// A log that was opened and believed.
pub(super) struct Opened {
    pub(super) log: Log,
    pub(super) ledger: Ledger,
    /// What was counted so far, if rows are left.
    pub(super) count: Option<Count>,
}

/// Opens the log, and believes it only after its first rows were counted (a small store's are all of them) and everything
/// recovered was synced.
pub(super) fn open_log(folder: &Folder, disk: &Disk, options: &SledOptions, mode: Mode) -> Result<Opened, StoreError> {
    let log = Log::open(folder, options.cache_bytes)?;
    log.note_size(disk.log_bytes());
    match believe(&log, folder, disk, mode) {
        Ok((ledger, count)) => Ok(Opened { log, ledger, count }),
        Err(error) => {
            if close(log) {
                Err(error)
            } else {
                Err(StoreError::Fatal(format!("the log could not be closed after this: {error}")))
            }
        }
    }
}

fn believe(log: &Log, folder: &Folder, disk: &Disk, mode: Mode) -> Result<(Ledger, Option<Count>), StoreError> {
    if let Some(revision) = mode.begins_after() {
        let mut first = Pending::default();
        first.record(Ledger::after(revision));
        log.write(first)?;
    }
    let ledger = log.ledger()?;
    let mut count = Count::default();
    let is_counted = count.go_on(log, &ledger, COUNTED_AT_OPENING)?;
    let witness = Witness::open(folder)?;
    if mode == Mode::OpenExisting {
        witness.confirm(ledger.revision)?;
    }
    disk.sync().map_err(failed(folder.path(), "cannot be synced"))?;
    witness.record(ledger.revision);
    folder.tighten()?;
    Ok((ledger, (!is_counted).then_some(count)))
}

/// Drops it, and says whether that went well: sled panics when its last fsync fails.
pub(super) fn close<T>(log: T) -> bool {
    catch_unwind(AssertUnwindSafe(|| drop(log))).is_ok()
}

/// What went wrong, without the words that a [`Condition`] says by itself.
fn cause(error: StoreError) -> String {
    match error {
        StoreError::Fatal(why) | StoreError::Full(why) => why,
        other => other.to_string(),
    }
}

impl Writer {
    pub(super) fn start(
        shared: Arc<Shared>,
        inbox: Receiver<Message>,
        folder: Folder,
        options: SledOptions,
        ledger: Ledger,
        count: Option<Count>,
    ) -> Result<JoinHandle<()>, StoreError> {
        let path = folder.path().to_owned();
        let watched = Arc::downgrade(&shared);
        spawn("store-waker", move || wake_sleepers(&watched)).map_err(failed(&path, "has no thread to serve it"))?;
        let witness = Witness::open(&folder)?;
        let next_try = Instant::now();
        let writer =
            Self { shared, inbox, folder, witness, options, ledger, count, is_sound: true, next_try, stands_for: None, is_closing: false };
        spawn("store-writer", move || writer.run()).map_err(failed(&path, "has no thread to serve it"))
    }

    fn run(mut self) {
        while !self.is_closing {
            let group = self.next_group();
            let served = catch_unwind(AssertUnwindSafe(|| {
                self.serve(group);
                self.stand_still();
                self.count_on();
            }));
            if served.is_err() {
                self.fail("the writer panicked");
            }
        }
        self.close();
    }

    /// Waits for a batch and takes what else is there. Empty: it is time to look how the store is.
    fn next_group(&mut self) -> Vec<Request> {
        let mut message = self.inbox.recv_timeout(if self.count.is_some() { COUNT_PAUSE } else { TICK });
        let (mut group, mut bytes) = (Vec::new(), 0);
        loop {
            match message {
                Ok(Message::Commit(request)) => {
                    bytes += request.batch.bytes();
                    group.push(request);
                }
                Ok(Message::StandStill(whom)) => {
                    self.stands_for = Some(whom);
                    return group;
                }
                Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => self.is_closing = true,
                Err(RecvTimeoutError::Timeout) => return group,
            }
            if self.is_closing || group.len() == GROUP_BATCHES || bytes >= GROUP_BYTES {
                return group;
            }
            message = self.inbox.try_recv().map_err(|_| RecvTimeoutError::Timeout);
        }
    }

    fn serve(&mut self, requests: Vec<Request>) {
        let log = if self.is_ready() { self.shared.log.load_full() } else { None };
        let Some(log) = log else {
            requests.into_iter().for_each(|request| request.answer(Err(self.shared.refusal().into())));
            return;
        };
        let mut group = Group::after(self.ledger);
        for request in requests {
            let outcome = group.decide(&log, &request.batch);
            group.answers.push((request, outcome));
        }
        let written = if group.changes.is_empty() { Ok(()) } else { self.write(&log, &mut group) };
        drop(log);
        match written {
            Ok(()) => self.acknowledge(group),
            Err(StoreError::Full(why)) => self.doubt(group, &why),
            Err(other) => {
                self.fail(&cause(other));
                group.answer_unknown(&self.shared);
            }
        }
    }

    /// Nothing is decided until whoever asked has read, or has taken too long. Where the store takes no writes nobody knows at
    /// which revision it stands, and the asker is told why by its condition.
    fn stand_still(&mut self) {
        let Some(StandsFor { ready, released, is_over }) = self.stands_for.take() else { return };
        if !self.is_ready() || ready.send(self.ledger.revision).is_err() {
            return;
        }
        if released.recv_timeout(STANDSTILL) == Err(RecvTimeoutError::Timeout) {
            is_over.store(true, Ordering::SeqCst);
        }
    }

    /// Returns when the group is on disk.
    fn write(&self, log: &Log, group: &mut Group) -> Result<(), StoreError> {
        // Announced before it is made: a reader who misses a row then knows since when it may be missing.
        self.shared.newest_deletion.fetch_max(group.newest_deletion.number(), Ordering::SeqCst);
        group.pending.record(group.ledger);
        log.write(mem::take(&mut group.pending))?;
        log.note_size(self.shared.disk.log_bytes());
        self.sync()
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.shared.disk.sync().map_err(|error: io::Error| StoreError::Fatal(format!("the log could not be synced: {error}")))
    }

    fn acknowledge(&mut self, group: Group) {
        if !group.changes.is_empty() {
            self.ledger = group.ledger;
            if let Some(count) = &mut self.count {
                count.follow(&group.replacements);
            }
            self.witness.record(self.ledger.revision);
        }
        // It is on disk. Told before it can be read: whoever reads a row can ask whether its change is still to be told.
        for (revision, changes) in group.changes {
            self.shared.feed.publish(revision, changes);
        }
        self.shared.progress.send_modify(|progress| progress.durable = self.ledger.revision);
        group.answers.into_iter().for_each(|(request, outcome)| request.answer(outcome));
    }

    /// Counts some more of the rows that the log was opened with.
    fn count_on(&mut self) {
        if !self.is_sound || self.is_closing {
            return;
        }
        let (Some(count), Some(log)) = (&mut self.count, self.shared.log.load_full()) else { return };
        match count.go_on(&log, &self.ledger, COUNTED_AT_ONCE) {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!(rows = count.rows(), "the store's rows were counted: none is missing");
                self.count = None;
            }
            // A reader's write failed: sled is opened again, and then everything is counted anew.
            Err(StoreError::Full(_)) => {}
            Err(other) => self.fail(&other.to_string()),
        }
    }

    /// A write failed for want of room: what sled had already written only a reopening tells.
    fn doubt(&mut self, group: Group, why: &str) {
        self.stumble(why);
        match self.is_ready() {
            true if self.ledger.revision >= group.ledger.revision => {
                group.answers.into_iter().for_each(|(request, outcome)| request.answer(outcome));
            }
            true => group.answers.into_iter().for_each(|(request, _)| request.answer(Err(StoreError::Full(why.to_owned()).into()))),
            false => group.answer_unknown(&self.shared),
        }
    }

    /// Readers make sled write too, when they meet a page that is due to be split or merged.
    fn look_for_poison(&mut self) {
        let poison = self.shared.log.load().as_ref().and_then(|log| log.poison());
        match poison {
            Some(StoreError::Full(why)) if self.is_sound => self.stumble(&why),
            Some(StoreError::Full(_)) | None => {}
            Some(other) => self.fail(&cause(other)),
        }
    }

    /// sled takes no more until it is opened again.
    fn stumble(&mut self, why: &str) {
        self.is_sound = false;
        self.refuse(why);
        self.shared.progress.send_modify(|progress| progress.halted = true);
        // If the room ran out while pages were written back, they are lost, and this is where it is told.
        if let Err(error) = self.sync() {
            self.fail(&cause(error));
        }
    }

    /// Whether the store takes writes; if it did not, whether the cause is gone.
    fn is_ready(&mut self) -> bool {
        self.look_for_poison();
        if self.shared.condition.borrow().is_fatal() {
            return false;
        }
        if let Err(why) = self.shared.disk.room() {
            self.refuse(&why);
            return false;
        }
        if !self.is_sound && !self.reopen() {
            return false;
        }
        if *self.shared.condition.borrow() != Condition::Healthy {
            tracing::info!("the store takes writes again");
            self.shared.condition.send_replace(Condition::Healthy);
        }
        true
    }

    /// Opens a poisoned log again.
    fn reopen(&mut self) -> bool {
        if Instant::now() < self.next_try {
            return false;
        }
        let started_at = Instant::now();
        self.let_go();
        let opened = self.folder.set_aside_torn_snapshots();
        match opened.and_then(|()| open_log(&self.folder, &self.shared.disk, &self.options, Mode::OpenExisting)) {
            Ok(opened) => {
                // Nothing can be read meanwhile: where every write fails, at most a tenth of the time goes into openings.
                self.next_try = Instant::now() + TICK + 9 * started_at.elapsed();
                self.take_up(opened);
                true
            }
            Err(StoreError::Full(_)) => {
                self.next_try = Instant::now() + TICK;
                false
            }
            Err(other) => {
                self.fail(&cause(other));
                false
            }
        }
    }

    fn take_up(&mut self, Opened { log, ledger, count }: Opened) {
        self.is_sound = true;
        self.count = count;
        if ledger.revision > self.ledger.revision {
            self.shared.feed.restart(ledger.revision);
        }
        self.ledger = ledger;
        self.shared.log.store(Some(Arc::new(log)));
        // A deletion that was announced and did not happen is waited for by nobody: before the new opening is seen, it is gone.
        self.shared.newest_deletion.store(0, Ordering::SeqCst);
        let opening = self.shared.progress.borrow().opening + 1;
        self.shared.progress.send_replace(Progress { durable: ledger.revision, opening, halted: false });
    }

    /// Closes sled as soon as the last reader has left it.
    fn let_go(&mut self) {
        let Some(log) = self.shared.log.swap(None) else { return };
        while Arc::strong_count(&log) > 1 {
            log.wake_sleepers();
            thread::sleep(Duration::from_millis(1));
        }
        if !close(log) {
            self.fail("the log could not be closed");
        }
    }

    fn refuse(&self, why: &str) {
        self.shared.condition.send_if_modified(|condition| {
            let is_new = *condition == Condition::Healthy;
            if is_new {
                tracing::error!(why, "the store refuses writes");
                *condition = Condition::refusing(why);
            }
            is_new
        });
    }

    /// The end: nothing is read or written any more. sled is left as it stands, since closing it would sync once again.
    fn fail(&mut self, why: &str) {
        if self.shared.condition.borrow().is_fatal() {
            return;
        }
        tracing::error!(why, "the store failed for good");
        self.count = None;
        self.shared.condition.send_replace(Condition::fatal(why));
        mem::forget(self.shared.log.swap(None));
        self.shared.progress.send_modify(|progress| progress.halted = true);
        self.shared.feed.close();
    }

    fn close(mut self) {
        while let Ok(message) = self.inbox.try_recv() {
            if let Message::Commit(request) = message {
                request.answer(Err(StoreError::Closed.into()));
            }
        }
        if !self.shared.condition.borrow().is_fatal() {
            self.shared.condition.send_replace(Condition::Closed);
        }
        self.let_go();
        self.shared.progress.send_modify(|progress| progress.halted = true);
        self.shared.feed.close();
    }
}

/// Ends with the store.
fn wake_sleepers(shared: &Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        if let Some(log) = &*shared.log.load() {
            log.wake_sleepers();
        }
        drop(shared);
        thread::sleep(TICK / 2);
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}
