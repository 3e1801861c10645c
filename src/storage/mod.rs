//! Where rows lie: one ordered table of opaque keys and opaque values, changed by atomic batches.
//!
//! The layers above bring ciphertext (names included); nothing here knows a role, a namespace or a key of cryptography.
//!
//! | word | meaning |
//! |---|---|
//! | [`Key`] | 1 to 512 bytes; rows are ordered by them |
//! | [`Row`] | a value, and the [`Revision`] of its last change |
//! | [`Batch`] | expectations (key -> revision) and writes (put, delete): all of it happens, or none |
//! | [`Revision`] | the store's own number: each commit takes the next one, for all of its rows; never used twice |
//! | [`Changes`] | what was committed after a revision, for the caches of other nodes |
//! | [`Standstill`] | all rows as they are at one revision |
//! | [`Condition`] | healthy, refusing writes (since when, why), fatal, closed |
//!
//! The flow of a change: `Batch::check` (bounds) -> every expectation holds, or `Conflict(key)` -> durable -> acknowledged
//! -> told to the watchers. A read returns only what a crash cannot take back.
//!
//! | file | what |
//! |---|---|
//! | `row`, `batch` | the words above, and their bounds |
//! | `error`, `condition` | what goes wrong, and how a store says how it is |
//! | `feed` | the bounded memory of recent changes behind [`Store::watch`] |
//! | `memory` | a store for tests |
//! | `sled` | the embedded store, and the guards around it |
//! | `contract` | the one suite that every store passes |

mod batch;
mod condition;
#[cfg(test)]
mod contract;
mod error;
mod feed;
mod memory;
mod row;
mod sled;

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

pub use self::batch::{BATCH_BYTES, BATCH_EXPECTATIONS, BATCH_WRITES, Batch, Write};
pub use self::condition::{Condition, StoreStatus};
pub use self::error::{CommitError, StoreError};
pub use self::feed::{Change, ChangeEvent, ChangeKind, Changes, Feed};
pub use self::memory::MemoryStore;
pub use self::row::{GET_KEYS, KEY_BYTES, Key, PAGE_BYTES, PAGE_ROWS, Page, PageSize, Revision, Row, VALUE_BYTES, Value};
pub use self::sled::{Mode, SledOptions, SledStore};

/// The longest that a store holds commits back for one [`Standstill`].
pub const STANDSTILL: Duration = Duration::from_secs(2);

/// All rows at one revision: every commit up to it, and none after. Dropping it lets the store go on.
#[async_trait]
pub trait Standstill: Send + Sync {
    /// Which. Every watcher has been told of what was committed up to it.
    fn revision(&self) -> Revision;

    /// The rows under these keys, in the order asked for. At most [`GET_KEYS`] keys.
    ///
    /// # Errors
    /// As for [`Store::get`]; [`StoreError::Full`] where it has lasted longer than [`STANDSTILL`]: then the store has gone on.
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError>;
}

/// A store of rows. It fits an embedded log, a relational database and etcd alike; `contract` is what all of them pass.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The rows under these keys, in the order asked for; `None` where there is none. At most [`GET_KEYS`] keys.
    ///
    /// Each row is durable, and current at some moment of the call; two rows need not be of the same moment. What must
    /// hold together is said as expectations of a batch.
    ///
    /// # Errors
    /// Too many keys, a corrupt row, a store that is closed, fatal, or cannot say yet what became of a failed write.
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError>;

    /// The rows whose keys begin with `prefix` and come after `after`, in the order of their keys. A page ends at `limit`
    /// rows or [`PAGE_BYTES`] of values, whichever comes first, and says whether there is more.
    ///
    /// # Errors
    /// As for [`Store::get`].
    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: PageSize) -> Result<Page, StoreError>;

    /// Does all of a batch, or none of it. When it returns `Ok`, the change is on disk. If the caller stops waiting, the
    /// batch may still happen.
    ///
    /// # Errors
    /// An expectation that does not hold ([`CommitError::Conflict`]); nobody knows whether it happened
    /// ([`CommitError::Unknown`]: read again); it certainly did not ([`CommitError::Refused`]).
    async fn commit(&self, batch: Batch) -> Result<Revision, CommitError>;

    /// What is committed after a revision to rows whose keys begin with `prefix`, but for what was committed
    /// [quietly](Batch::quietly). Whoever can read a row can be told of it. A watcher that asks for a revision that
    /// is no longer held, or falls behind, is told to [`ChangeEvent::Resync`].
    ///
    /// # Errors
    /// The store is closed.
    async fn watch(&self, prefix: &Key, after: Revision) -> Result<Changes, StoreError>;

    /// All rows as they are at one revision, for who reads what has changed since a long scan. A store may have to hold commits
    /// back meanwhile: whoever asks for it reads little, and drops it.
    ///
    /// # Errors
    /// As for [`Store::get`].
    async fn stand_still(&self) -> Result<Box<dyn Standstill>, StoreError>;

    /// How the store is, without asking the disk for more than a file's length.
    fn status(&self) -> StoreStatus;

    /// The condition as it changes. Whoever runs the process waits here for [`Condition::Fatal`], seals and exits.
    fn conditions(&self) -> watch::Receiver<Condition>;

    /// Ends it: what was acknowledged is on disk, the folder is free for another, later calls get [`StoreError::Closed`].
    async fn close(&self);
}

/// What every store asks of a get.
fn check_keys(keys: &[Key]) -> Result<(), StoreError> {
    if keys.len() > GET_KEYS { Err(StoreError::BatchTooLarge("more than 128 keys")) } else { Ok(()) }
}
