//! What goes wrong in a store. No value of a row ever stands in an error.

use std::io;
use std::path::PathBuf;

use super::Key;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A value longer than [`VALUE_BYTES`](super::VALUE_BYTES).
    #[error("row too large: {bytes} bytes")]
    RowTooLarge {
        /// Of the value.
        bytes: usize,
    },
    /// More than a batch, or the keys of a get, may have.
    #[error("batch too large: {0}")]
    BatchTooLarge(&'static str),
    /// A batch that no caller can have meant.
    #[error("senseless batch: {0}")]
    BatchSenseless(&'static str),
    /// No space, or a file system that became read-only. It passes when the cause does.
    #[error("the store takes no writes: {0}")]
    Full(String),
    /// The disk did not do what was asked of it: from here on nobody knows what is on it. The process has to end.
    #[error("the store failed for good: {0}")]
    Fatal(String),
    /// What is on disk is not what was written.
    #[error("the store is corrupt: {0}")]
    Corrupt(String),
    /// [`Store::close`](super::Store::close) came before.
    #[error("the store is closed")]
    Closed,
    /// The folder cannot be used, or a file in it cannot be read.
    #[error("{}: {why}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What is the matter with it.
        why: &'static str,
        /// What the system said, if anything.
        #[source]
        source: Option<io::Error>,
    },
}

/// Why a commit did not return a revision.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The row under this key is not at the revision that was expected. Nothing was changed.
    #[error("the row {0} has another revision than expected")]
    Conflict(Key),
    /// The answer was lost: it happened or it did not. Read again and compare the request id.
    #[error("nobody knows whether the change happened")]
    Unknown,
    /// Nothing was changed.
    #[error(transparent)]
    Refused(#[from] StoreError),
}
