//! The entries that one write takes to disk, and the gate at which their callers wait. Each group has a gate of its own, so
//! that a write wakes only those whose entries it carried.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use super::AuditError;
use crate::model::Timestamp;

/// What a durable entry was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Its number.
    pub sequence: u64,
    /// Its time.
    pub time: Timestamp,
}

/// An entry on its way to disk. Resolves when it is durable, or when the log gave up on it. Dropping it changes nothing for
/// the entry.
#[derive(Debug)]
#[must_use = "an entry may be relied on only when this has resolved"]
pub struct Pending {
    group: Arc<Group>,
    written: Written,
    place: Option<usize>,
}

#[derive(Debug, Default)]
pub(super) struct Group {
    end: OnceLock<Result<(), Refused>>,
    waiting: Mutex<Vec<Waker>>,
}

/// Why a whole group was given up.
#[derive(Debug, Clone)]
pub(super) enum Refused {
    Unwritable(Arc<str>),
    Closed,
}

impl Group {
    /// Opens the gate and wakes all who wait. Only the first call counts.
    pub(super) fn finish(&self, end: Result<(), Refused>) {
        if self.end.set(end).is_ok() {
            let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

impl Pending {
    pub(super) fn new(group: Arc<Group>, written: Written) -> Self {
        Self { group, written, place: None }
    }

    /// The number that the entry has if it becomes durable. For an intent: what its row and its outcome refer to.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.written.sequence
    }

    fn end(&self) -> Option<Result<Written, AuditError>> {
        self.group.end.get().map(|end| match end {
            Ok(()) => Ok(self.written),
            Err(Refused::Unwritable(why)) => Err(AuditError::Unwritable(why.clone())),
            Err(Refused::Closed) => Err(AuditError::Closed),
        })
    }
}

impl Future for Pending {
    type Output = Result<Written, AuditError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(end) = self.end() {
            return Poll::Ready(end);
        }
        let group = Arc::clone(&self.group);
        let mut waiting = group.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // `finish` sets the end before it takes this lock: looked at again here, no wake-up can be missed.
        if let Some(end) = self.end() {
            return Poll::Ready(end);
        }
        match self.place {
            Some(place) => waiting[place].clone_from(context.waker()),
            None => {
                self.place = Some(waiting.len());
                waiting.push(context.waker().clone());
            }
        }
        Poll::Pending
    }
}
