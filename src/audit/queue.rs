//! What waits for the disk: lines in order, as one buffer, and the group that they belong to.
//!
//! Time and sequence are given here, under one lock, so that both rise together. Only what must be in order happens under it.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::group::{Group, Pending, Refused, Written};
use super::{AuditError, Importance, LINE_BYTES, line};
use crate::model::Timestamp;

/// Most bytes of one group. Ordinary entries may fill half of it.
pub(super) const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// The queue, and the bell that its writer sleeps on.
pub(super) struct Shared {
    queue: Mutex<Queue>,
    pub(super) bell: Condvar,
}

/// Entries that wait, and what the log knows of itself.
pub(super) struct Queue {
    prefix: Prefix,
    bytes: Vec<u8>,
    pub(super) count: usize,
    ordinary: bool,
    group: Arc<Group>,
    oldest: Option<Instant>,
    in_flight: Option<Instant>,
    next: u64,
    /// The last sequence that is on disk.
    pub(super) durable: u64,
    /// Bytes that the segment still takes after those in flight.
    pub(super) room: u64,
    reserve: u64,
    /// Set while no segment can be made after this one.
    pub(super) no_spare: Option<Fault>,
    /// Set while nothing can be written at all.
    pub(super) fault: Option<Fault>,
    /// The writer wants to be woken when this many wait.
    pub(super) wake_at: usize,
    /// Somebody was refused because of the fault, and would like to know whether it is over.
    pub(super) poked: bool,
    pub(super) closing: bool,
    pub(super) counts: Counts,
}

/// How often the writer has done what nobody sees from outside.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Pauses in which callers could come back.
    pub(super) pauses: u64,
    /// Attempts to get out of a fault, those that failed included.
    pub(super) attempts: u64,
}

/// Why, and since when.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) why: Arc<str>,
    pub(super) since: Timestamp,
}

/// What the writer takes to disk at once. Dropped without an answer, it refuses its callers: no panic leaves them waiting.
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) count: usize,
    pub(super) first: u64,
    /// Whether an ordinary entry is among them: the group may not use the reserve then.
    pub(super) ordinary: bool,
    pub(super) group: Arc<Group>,
}

/// `{"time":…,"sequence":…,"node":…`: what the log adds to a draft.
struct Prefix {
    time: Timestamp,
    stamp: String,
    node: Vec<u8>,
}

impl Shared {
    pub(super) fn new(queue: Queue) -> Self {
        Self { queue: Mutex::new(queue), bell: Condvar::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an entry in. `now` may be a little old: time never goes back.
    pub(super) fn push(&self, body: &[u8], importance: Importance, now: Timestamp) -> Result<Pending, AuditError> {
        let mut queue = self.lock();
        let pushed = queue.push(body, importance, now);
        self.leave(queue, 1);
        pushed
    }

    /// Takes entries in, all into one group: the last stands for all of them. None of none.
    pub(super) fn push_all(&self, bodies: &[(Vec<u8>, Importance)], now: Timestamp) -> Result<Option<Pending>, AuditError> {
        let mut queue = self.lock();
        let pushed = bodies.iter().try_fold(None, |_, (body, importance)| queue.push(body, *importance, now).map(Some));
        self.leave(queue, bodies.len());
        pushed
    }

    /// Rings if the writer waits for one of the entries that were just taken in, or to hear of somebody refused.
    fn leave(&self, queue: MutexGuard<'_, Queue>, pushed: usize) {
        let was = queue.count.saturating_sub(pushed);
        let ring = queue.poked || (was < queue.wake_at && queue.wake_at <= queue.count);
        drop(queue);
        if ring {
            self.bell.notify_one();
        }
    }
}

impl Queue {
    /// An empty one that goes on after `last`.
    pub(super) fn new(node: &str, last: u64, time: Timestamp, room: u64, reserve: u64) -> Self {
        let mut quoted = Vec::new();
        line::write(&mut quoted, &node);
        Self {
            prefix: Prefix { time, stamp: time.to_string(), node: quoted },
            bytes: Vec::new(),
            count: 0,
            ordinary: false,
            group: Arc::default(),
            oldest: None,
            in_flight: None,
            next: last + 1,
            durable: last,
            room,
            reserve,
            no_spare: None,
            fault: None,
            wake_at: 1,
            poked: false,
            closing: false,
            counts: Counts::default(),
        }
    }

    fn push(&mut self, body: &[u8], importance: Importance, now: Timestamp) -> Result<Pending, AuditError> {
        let start = self.bytes.len();
        self.admit(start + body.len() + self.prefix.length_bound(), importance)?;
        self.prefix.write(&mut self.bytes, self.next, now);
        self.bytes.extend_from_slice(body);
        self.bytes.push(b'\n');
        let length = self.bytes.len() - start;
        if length > LINE_BYTES {
            self.bytes.truncate(start);
            return Err(AuditError::TooLong(length));
        }
        let written = Written { sequence: self.next, time: self.prefix.time };
        self.next += 1;
        self.count += 1;
        self.ordinary |= importance == Importance::Ordinary;
        self.oldest.get_or_insert_with(Instant::now);
        Ok(Pending::new(Arc::clone(&self.group), written))
    }

    fn admit(&mut self, queued: usize, importance: Importance) -> Result<(), AuditError> {
        if self.closing {
            return Err(AuditError::Closed);
        }
        if let Some(fault) = &self.fault {
            self.poked = true;
            return Err(AuditError::Unwritable(fault.why.clone()));
        }
        let (most, needed) = match importance {
            Importance::Ordinary => (GROUP_BYTES / 2, self.least_for_ordinary()),
            Importance::Always => (GROUP_BYTES, queued as u64),
        };
        if queued > most {
            return Err(AuditError::Busy);
        }
        match &self.no_spare {
            Some(fault) if needed > self.room => Err(AuditError::Unwritable(fault.why.clone())),
            _ => Ok(()),
        }
    }

    /// The room that must be left for an ordinary entry of any length, so that those are all taken or all refused.
    fn least_for_ordinary(&self) -> u64 {
        (self.bytes.len() + LINE_BYTES) as u64 + self.reserve
    }

    /// All that waits, as one group; `buffer` is used for what comes next.
    pub(super) fn take(&mut self, buffer: Vec<u8>) -> Batch {
        let bytes = std::mem::replace(&mut self.bytes, buffer);
        let count = std::mem::take(&mut self.count);
        self.room = self.room.saturating_sub(bytes.len() as u64);
        self.in_flight = self.oldest.take();
        let (ordinary, group) = (std::mem::take(&mut self.ordinary), std::mem::take(&mut self.group));
        Batch { bytes, count, first: self.next - count as u64, ordinary, group }
    }

    /// The batch is on disk.
    pub(super) fn settle(&mut self, batch: &Batch, room: u64) {
        self.durable = batch.first + batch.count as u64 - 1;
        self.in_flight = None;
        self.room = room;
    }

    /// The batch in flight is lost, and with it all that waits behind: their numbers are given again.
    pub(super) fn give_up(&mut self) -> Arc<Group> {
        self.bytes.clear();
        self.count = 0;
        self.ordinary = false;
        self.oldest = None;
        self.in_flight = None;
        self.next = self.durable + 1;
        std::mem::take(&mut self.group)
    }

    /// What keeps ordinary entries out, if anything does.
    pub(super) fn obstacle(&self) -> Option<&Fault> {
        let reserve_only = self.least_for_ordinary() > self.room;
        self.fault.as_ref().or_else(|| self.no_spare.as_ref().filter(|_| reserve_only))
    }

    /// When the oldest entry that is not on disk was queued.
    pub(super) fn oldest_unflushed(&self) -> Option<Instant> {
        self.in_flight.or(self.oldest)
    }
}

impl Prefix {
    fn write(&mut self, out: &mut Vec<u8>, sequence: u64, now: Timestamp) {
        if now > self.time {
            self.time = now;
            self.stamp = now.to_string();
        }
        out.extend_from_slice(b"{\"time\":\"");
        out.extend_from_slice(self.stamp.as_bytes());
        out.extend_from_slice(b"\",\"sequence\":");
        write!(out, "{sequence}").expect("a Vec takes every byte");
        out.extend_from_slice(b",\"node\":");
        out.extend_from_slice(&self.node);
    }

    fn length_bound(&self) -> usize {
        self.node.len() + 80
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.group.finish(Err(Refused::Closed));
    }
}
