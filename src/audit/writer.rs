//! The one thread that writes: takes groups from the queue, appends each with one durable write, and finds its way back after
//! a fault.
//!
//! A range that failed is never written again, since nobody can say what of it reached the disk. The segment is cut back to
//! its last durable byte and left; a fresh one goes on at the sequence after it. Should the cut fail too, a reader ignores
//! what the old segment holds beyond the first sequence of the next.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::group::Refused;
use super::queue::{Batch, Fault, Queue, Shared};
use super::segment::{Folder, Segment, fill};
use super::spare::Spare;
use crate::model::Clock;

/// Without work, how often the writer looks whether segment and folder are still there, or whether a fault has ended.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// Least time between two attempts to get out of a fault.
const RETRY: Duration = Duration::from_millis(250);
/// What is written to a fresh segment to see whether it can be.
const PROBE_BYTES: u64 = 4096;
/// From this many callers at once the writer waits for them to come back before it takes the next group.
const PAUSE_FROM: usize = 4;

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) folder: Arc<Folder>,
    pub(super) segment: Segment,
    pub(super) spare: Spare,
    pub(super) segment_bytes: u64,
    pub(super) reserve_bytes: u64,
    pub(super) pause: Duration,
    pub(super) tick: Duration,
    pub(super) callers: usize,
    pub(super) last_attempt: Instant,
}

enum Turn {
    Group(Batch),
    Tick,
    Close,
}

/// Why a group could not be written.
enum Stop {
    /// There is no next segment; this one is sound.
    NoRoom(Arc<str>),
    /// The segment or its folder can no longer be relied on.
    Fault(Arc<str>),
}

impl Writer {
    /// Works until the log is closed and all that was queued is settled.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut buffer = Vec::new();
        loop {
            match self.next_turn(&mut buffer) {
                Turn::Group(batch) => buffer = self.commit(batch),
                Turn::Tick => self.tick(),
                Turn::Close => break,
            }
        }
        self.segment.cut()?;
        self.spare.discard()
    }

    /// Sleeps until there is something to do. After a group of several callers they get `pause` to come back with their next
    /// entries, and no longer than it takes the last of them: fewer, larger writes serve all sooner. A single caller is never
    /// made to wait.
    fn next_turn(&mut self, buffer: &mut Vec<u8>) -> Turn {
        let mut queue = self.shared.lock();
        if self.callers >= PAUSE_FROM {
            queue.counts.pauses += 1;
            queue.wake_at = self.callers;
            queue = wait(&self.shared, queue, self.pause, |queue| queue.count < queue.wake_at && !queue.closing);
        }
        queue.wake_at = 1;
        queue = wait(&self.shared, queue, self.tick, |queue| queue.count == 0 && !queue.closing && !queue.poked);
        if queue.count > 0 {
            Turn::Group(queue.take(std::mem::take(buffer)))
        } else if queue.closing {
            Turn::Close
        } else {
            Turn::Tick
        }
    }

    /// Writes a group and opens its gate. Returns the buffer, for use again.
    fn commit(&mut self, mut batch: Batch) -> Vec<u8> {
        match self.write(&batch) {
            Ok(()) => self.settle(&batch),
            Err(Stop::NoRoom(why)) => self.refuse(&batch, why, false),
            Err(Stop::Fault(why)) => self.refuse(&batch, why, true),
        }
        let mut buffer = std::mem::take(&mut batch.bytes);
        buffer.clear();
        buffer
    }

    fn write(&mut self, batch: &Batch) -> Result<(), Stop> {
        self.check_in_place().map_err(Stop::Fault)?;
        let end = self.segment.length + batch.bytes.len() as u64;
        if batch.ordinary && end + self.reserve_bytes > self.segment_bytes {
            // The reserve may be given away only when there is another: being prepared is not enough.
            self.spare.wait().map_err(Stop::NoRoom)?;
        }
        if self.segment.length > 0 && end > self.segment_bytes {
            self.rotate(batch.first)?;
        }
        self.segment.append(&batch.bytes).map_err(|error| Stop::Fault(why("write", &error)))
    }

    fn settle(&mut self, batch: &Batch) {
        let no_spare = self.spare.missing();
        let room = self.segment_bytes.saturating_sub(self.segment.length);
        let mut queue = self.shared.lock();
        queue.settle(batch, room);
        queue.no_spare =
            no_spare.map(|why| Fault { why, since: queue.no_spare.as_ref().map_or_else(|| self.clock.now(), |old| old.since) });
        self.callers = batch.count + queue.count;
        drop(queue);
        batch.group.finish(Ok(()));
    }

    /// Refuses the group and all that waits behind it. After a fault, whatever comes is refused until [`Writer::reopen`] has
    /// succeeded.
    fn refuse(&mut self, batch: &Batch, why: Arc<str>, fault: bool) {
        let mut queue = self.shared.lock();
        let behind = queue.give_up();
        let entry = Some(Fault { why: why.clone(), since: self.clock.now() });
        if fault {
            queue.fault = entry;
        } else {
            queue.no_spare = entry;
            queue.room = self.segment_bytes.saturating_sub(self.segment.length);
        }
        drop(queue);
        self.callers = 0;
        self.last_attempt = Instant::now();
        if fault {
            // Best effort: what cannot be cut is ignored by readers.
            drop(self.segment.cut());
        }
        batch.group.finish(Err(Refused::Unwritable(why.clone())));
        behind.finish(Err(Refused::Unwritable(why)));
    }

    /// What is done when nothing else is: look whether all is well, or whether it can be made so.
    fn tick(&mut self) {
        self.callers = 0;
        let failing = {
            let mut queue = self.shared.lock();
            queue.poked = false;
            queue.fault.is_some()
        };
        if failing {
            thread::sleep(RETRY.saturating_sub(self.last_attempt.elapsed()));
            self.try_again();
        } else if let Err(why) = self.check_in_place() {
            self.shared.lock().fault = Some(Fault { why, since: self.clock.now() });
        } else {
            let missing = self.spare.missing();
            let mut queue = self.shared.lock();
            let since = queue.no_spare.as_ref().map_or_else(|| self.clock.now(), |old| old.since);
            queue.no_spare = missing.map(|why| Fault { why, since });
        }
    }

    fn try_again(&mut self) {
        let reopened = self.reopen();
        self.last_attempt = Instant::now();
        let mut queue = self.shared.lock();
        queue.counts.attempts += 1;
        match reopened {
            Ok(()) => {
                queue.fault = None;
                queue.no_spare = None;
                queue.room = self.segment_bytes.saturating_sub(self.segment.length);
            }
            Err(why) => {
                let since = queue.fault.as_ref().map_or_else(|| self.clock.now(), |old| old.since);
                queue.fault = Some(Fault { why, since });
            }
        }
    }

    fn rotate(&mut self, first: u64) -> Result<(), Stop> {
        let file = self.spare.take().map_err(Stop::NoRoom)?;
        let named = self.folder.name_spare(first, false);
        named.map_err(|error| Stop::Fault(why("name the next segment", &error)))?;
        // The new one counts from here on: if its name cannot be made durable, it is an empty segment at fault.
        let closed = std::mem::replace(&mut self.segment, Segment { first, file, length: 0 });
        self.folder.sync().map_err(|error| Stop::Fault(why("sync the folder", &error)))?;
        self.spare.begin_next(Some(closed));
        Ok(())
    }

    /// The way out of a fault: a fresh segment after the last durable entry. Three cases: the segment at fault holds nothing,
    /// and is replaced; it holds entries, and is left; it was removed while its entries are still in our hands, and is
    /// written again under its name.
    fn reopen(&mut self) -> Result<(), Arc<str>> {
        self.check_folder()?;
        let removed = !self.folder.holds(&self.segment).map_err(|error| why("look at the segment", &error))?;
        let file = self.spare.take_or_make()?;
        let empty = self.segment.length == 0;
        let (first, length) = match removed && !empty {
            true => (self.segment.first, self.segment.length),
            false => (self.shared.lock().durable + 1, 0),
        };
        // A spare made before the fault proves nothing: its last block is written once more.
        let end = self.segment_bytes;
        fill(&file, end.saturating_sub(PROBE_BYTES), end).map_err(|error| why("write to a fresh segment", &error))?;
        copy(&self.segment.file, &file, length).map_err(|error| why("write the removed segment again", &error))?;
        self.folder.name_spare(first, empty && !removed).map_err(|error| why("name a fresh segment", &error))?;
        self.segment = Segment { first, file, length };
        self.folder.sync().map_err(|error| why("sync the folder", &error))?;
        self.spare.begin_next(None);
        Ok(())
    }

    fn check_in_place(&self) -> Result<(), Arc<str>> {
        self.check_folder()?;
        match self.folder.holds(&self.segment) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Arc::from("the segment was removed, moved or replaced")),
            Err(error) => Err(why("look at the segment", &error)),
        }
    }

    fn check_folder(&self) -> Result<(), Arc<str>> {
        match self.folder.is_in_place() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Arc::from("the folder was removed, moved, replaced or mounted over")),
            Err(error) => Err(why("look at the folder", &error)),
        }
    }
}

/// However the thread ends, nobody is left waiting and nobody is let in.
impl Drop for Writer {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.closing = true;
        let behind = queue.give_up();
        drop(queue);
        behind.finish(Err(Refused::Closed));
    }
}

fn wait<'a>(
    shared: &Shared,
    queue: MutexGuard<'a, Queue>,
    at_most: Duration,
    while_so: impl FnMut(&mut Queue) -> bool,
) -> MutexGuard<'a, Queue> {
    shared.bell.wait_timeout_while(queue, at_most, while_so).unwrap_or_else(PoisonError::into_inner).0
}

fn copy(from: &File, to: &File, length: u64) -> io::Result<()> {
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    from.read_exact_at(&mut bytes, 0)?;
    to.write_all_at(&bytes, 0)?;
    to.sync_all()
}

fn why(doing: &str, error: &io::Error) -> Arc<str> {
    format!("{doing}: {error}").into()
}
