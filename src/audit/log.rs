//! The log as its callers see it.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::queue::{GROUP_BYTES, Queue, Shared};
use super::recover::{Recovered, recover};
use super::segment::Folder;
use super::spare::Spare;
use super::status::{Found, Status};
use super::writer::{TICK, Writer};
use super::{AuditError, Draft, Importance, Pending, Written};
use crate::model::{Clock, Timestamp};

const LEAST_SEGMENT_BYTES: u64 = 64 * 1024;
/// Readers and the recovery after a removal hold one segment in memory.
const MOST_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// How the log is to work.
#[derive(Debug, Clone)]
pub struct AuditOptions {
    /// Name of this node, as it stands in every entry: 1 to 64 of `A-Z`, `a-z`, `0-9`, `.`, `-` and `_`.
    pub node: String,
    /// Size at which a segment is closed, 64 KiB to 64 MiB; that much room is held ready twice.
    pub segment_bytes: u64,
    /// The last room of a segment, for entries of [`Importance::Always`] when no further segment can be made; at most
    /// half of a segment.
    pub reserve_bytes: u64,
    /// How long the writer waits at most for callers to come back before it takes the next group, while there are several.
    pub pause: Duration,
}

/// The audit log of one node, open for writing. Dropping it closes it.
pub struct AuditLog {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    folder: PathBuf,
    found: Mutex<Found>,
    writer: Mutex<Option<JoinHandle<io::Result<()>>>>,
}

/// Whether entries can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// They can.
    Writable,
    /// They cannot; only those of [`Importance::Always`], if there is room in the reserve. It ends by itself when the
    /// fault does.
    Failing {
        /// What is wrong.
        why: Arc<str>,
        /// Since when.
        since: Timestamp,
    },
}

impl AuditOptions {
    /// The defaults: segments of 16 MiB, 256 KiB in reserve, a pause of 1 ms.
    #[must_use]
    pub fn new(node: impl Into<String>) -> Self {
        let (segment_bytes, reserve_bytes) = (16 * 1024 * 1024, 256 * 1024);
        Self { node: node.into(), segment_bytes, reserve_bytes, pause: Duration::from_millis(1) }
    }

    fn check(&self) -> Result<(), AuditError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if self.node.is_empty() || self.node.len() > 64 || !self.node.bytes().all(plain) {
            return Err(AuditError::Options("a node's name is 1 to 64 of A-Z, a-z, 0-9, `.`, `-` and `_`"));
        }
        if !(LEAST_SEGMENT_BYTES..=MOST_SEGMENT_BYTES).contains(&self.segment_bytes) {
            return Err(AuditError::Options("a segment has 64 KiB to 64 MiB"));
        }
        if self.reserve_bytes > self.segment_bytes / 2 {
            return Err(AuditError::Options("the reserve is at most half of a segment"));
        }
        if self.pause > Duration::from_millis(100) {
            return Err(AuditError::Options("the pause is at most 100 ms"));
        }
        Ok(())
    }
}

impl AuditLog {
    /// Opens the log in `folder`, which is made if its parent exists, mends what a crash left, and starts the writer. Blocks
    /// while it reads the newest segments and makes room for the next.
    ///
    /// # Errors
    /// `Options`; `Locked` if another process writes there; `Damaged` if entries are missing or broken; `Io` if the folder
    /// cannot be read or written.
    pub fn open(folder: &Path, options: AuditOptions, clock: Arc<dyn Clock>) -> Result<(Arc<Self>, Recovered), AuditError> {
        Self::open_with_tick(folder, options, clock, TICK)
    }

    /// The same; without work, the writer looks that often whether all is well.
    pub(super) fn open_with_tick(
        folder: &Path,
        options: AuditOptions,
        clock: Arc<dyn Clock>,
        tick: Duration,
    ) -> Result<(Arc<Self>, Recovered), AuditError> {
        options.check()?;
        let held = Arc::new(Folder::open(folder)?);
        let (segment, recovered) = recover(&held, options.segment_bytes)?;
        let room = options.segment_bytes.saturating_sub(segment.length);
        let last_time = recovered.last_time.unwrap_or_default();
        let queue = Queue::new(&options.node, recovered.last_sequence, last_time, room, options.reserve_bytes);
        let shared = Arc::new(Shared::new(queue));
        let writer = Writer {
            shared: Arc::clone(&shared),
            clock: Arc::clone(&clock),
            spare: Spare::begin(Arc::clone(&held), options.segment_bytes),
            folder: held,
            segment,
            segment_bytes: options.segment_bytes,
            reserve_bytes: options.reserve_bytes,
            pause: options.pause,
            tick,
            callers: 0,
            last_attempt: Instant::now(),
        };
        let thread = thread::Builder::new().name("audit-writer".into()).spawn(|| writer.run());
        let thread = thread.map_err(AuditError::io("start a writer for", folder))?;
        let found = Mutex::new(Found::in_folder(folder));
        let log = Self { shared, clock, folder: folder.to_owned(), found, writer: Mutex::new(Some(thread)) };
        Ok((Arc::new(log), recovered))
    }

    /// Queues an entry at once, and resolves when it is on disk. Only then may what it speaks of leave the vault.
    ///
    /// An entry of [`Importance::Always`] that was refused is queued once more, since it may have shared its group with
    /// ordinary ones that had no claim to the reserve. Its number may then be another than the first.
    ///
    /// # Errors
    /// As for [`AuditLog::enqueue`], and `Unwritable` if the entry did not become durable.
    pub fn append(&self, draft: Draft) -> impl Future<Output = Result<Written, AuditError>> + Send + use<> {
        let (shared, clock) = (Arc::clone(&self.shared), Arc::clone(&self.clock));
        let (body, importance) = (draft.render(), draft.importance);
        let first = shared.push(&body, importance, clock.now());
        async move {
            match first?.await {
                Err(AuditError::Unwritable(_)) if importance == Importance::Always => shared.push(&body, importance, clock.now())?.await,
                end => end,
            }
        }
    }

    /// Queues entries one behind the other in one group, at once, and resolves when all of them are on disk.
    ///
    /// # Errors
    /// As for [`AuditLog::enqueue`], for the first that was refused: those before it ride with their group all the same, and
    /// those behind it were not queued. `Unwritable` if they did not become durable.
    pub fn append_all(&self, drafts: Vec<Draft>) -> impl Future<Output = Result<(), AuditError>> + Send + use<> {
        let bodies: Vec<_> = drafts.iter().map(|draft| (draft.render(), draft.importance)).collect();
        let last = self.shared.push_all(&bodies, self.clock.now());
        async move {
            match last? {
                Some(last) => last.await.map(drop),
                None => Ok(()),
            }
        }
    }

    /// Queues an entry behind those queued before. Its [`Pending`] may be dropped: the entry rides with its group all the same,
    /// and shares its end.
    ///
    /// # Errors
    /// `TooLong`; `Busy` if too much waits; `Unwritable` if the log fails or only the reserve is left; `Closed`. Nothing was
    /// queued then.
    pub fn enqueue(&self, draft: Draft) -> Result<Pending, AuditError> {
        self.shared.push(&draft.render(), draft.importance, self.clock.now())
    }

    /// Whether ordinary entries can be written now. Also true to the state of the disk without traffic: the writer looks once
    /// a second.
    #[must_use]
    pub fn condition(&self) -> Condition {
        match self.shared.lock().obstacle() {
            Some(fault) => Condition::Failing { why: fault.why.clone(), since: fault.since },
            None => Condition::Writable,
        }
    }

    /// Figures for people and metrics. Lists the folder, which takes as long as its disk does; what cannot be read there
    /// counts nothing.
    #[must_use]
    pub fn status(&self) -> Status {
        let found = Found::in_folder(&self.folder);
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
        self.with(found)
    }

    /// The same without a look at the folder: its figures are those of the last look, which was at the opening or with the
    /// last [`AuditLog::status`]. Never waits for a disk.
    #[must_use]
    pub fn status_last_seen(&self) -> Status {
        self.with(*self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn with(&self, Found { bytes, segments, newest_segment }: Found) -> Status {
        let queue = self.shared.lock();
        let oldest_unflushed = queue.oldest_unflushed().map(|since| since.elapsed());
        Status { bytes, segments, newest_segment, last_sequence: queue.durable, oldest_unflushed }
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> super::queue::Counts {
        self.shared.lock().counts
    }

    /// Takes no more entries, writes those that wait, cuts the last segment's zeros and ends the writer. Blocks until that is
    /// done. Closing again does nothing.
    ///
    /// # Errors
    /// `Io` if the segment could not be cut; all that was acknowledged is on disk even so.
    pub fn close(&self) -> Result<(), AuditError> {
        self.shared.lock().closing = true;
        self.shared.bell.notify_all();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = writer.map_or(Ok(()), |thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("the writer ended early"))));
        ended.map_err(AuditError::io("close", &self.folder))
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        // There is nobody left to tell; what was acknowledged is on disk.
        drop(self.close());
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("folder", &self.folder).finish_non_exhaustive()
    }
}

// A whole group fits into the largest segment, so that one is never closed before it holds anything.
const _: () = assert!((GROUP_BYTES as u64) <= MOST_SEGMENT_BYTES);
