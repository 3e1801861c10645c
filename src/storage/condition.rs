//! How a store is.

use super::{Revision, StoreError};
use crate::model::{Clock, SystemClock, Timestamp};

/// Whether a store works.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Condition {
    /// It reads and writes.
    #[default]
    Healthy,
    /// It reads, but refuses writes, and will take them again by itself when the cause is gone.
    RefusingWrites {
        /// Since when.
        since: Timestamp,
        /// The cause.
        why: String,
    },
    /// It does nothing more: the disk failed in a way after which trying again would lie. The process seals and exits.
    Fatal {
        /// Since when.
        since: Timestamp,
        /// The cause.
        why: String,
    },
    /// It was closed.
    Closed,
}

/// How a store is, in figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStatus {
    /// Bytes that its log takes on disk, deleted and replaced rows included; 0 where the store cannot tell.
    pub size_on_disk_bytes: u64,
    /// Every change up to this one is on disk.
    pub durable: Revision,
    /// Whether it works.
    pub condition: Condition,
}

impl Condition {
    /// From now on without writes.
    pub(super) fn refusing(why: impl Into<String>) -> Self {
        Self::RefusingWrites { since: SystemClock.now(), why: why.into() }
    }

    /// From now on of no use.
    pub(super) fn fatal(why: impl Into<String>) -> Self {
        Self::Fatal { since: SystemClock.now(), why: why.into() }
    }

    /// Whether nothing more will come of this store.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Fatal { .. })
    }

    /// What a call is told that cannot be served in this condition. A healthy store has no rows to show for a moment, while
    /// it opens its log again: that is told as `Full` too, since it passes.
    pub(super) fn refusal(&self) -> StoreError {
        match self {
            Self::Healthy => StoreError::Full("opening the log again".to_owned()),
            Self::RefusingWrites { why, .. } => StoreError::Full(why.clone()),
            Self::Fatal { why, .. } => StoreError::Fatal(why.clone()),
            Self::Closed => StoreError::Closed,
        }
    }
}
