//! The audit log: who did what to which secret, when, why, and by which rule. Nothing that a caller asked for leaves the
//! vault before its entry is on disk.
//!
//! | word | meaning | file |
//! |---|---|---|
//! | [`Draft`] | an entry as its maker writes it: no time, no number | `draft` |
//! | [`Entry`] | one line of the log, as it is read back | `entry` |
//! | line | the entry as one object of JSON, at most [`LINE_BYTES`]; without its newline it is the leaf of a later Merkle tree | `line` |
//! | group | the entries that one write takes to disk, and the gate at which their callers wait | `group` |
//! | segment | one file, `audit-<first sequence>.jsonl`, zero-filled ahead of use | `segment`, `lines` |
//! | spare | the next segment, made ready by a helper thread | `spare` |
//! | reserve | the last room of a segment when no spare can be made: for entries of [`Importance::Always`] | `queue` |
//! | [`Tally`] | counts strangers and repeated denials, so that nobody can fill the disk | `tally` |
//!
//! The flow: [`AuditLog::enqueue`] renders the draft on its caller's thread, gives it a time and the next sequence under one
//! lock (`queue`), and returns a [`Pending`]. The writer thread takes all that is queued as one group, checks that segment
//! and folder are still the ones it opened, writes once with `RWF_DSYNC`, and opens the group's gate (`writer`). Any fault
//! closes the log: everything waiting is refused, nothing is acknowledged, and the writer tries a fresh segment until one
//! holds. [`Reader`] reads the same folder at any time; `recover` is what it takes to go on after a crash.
//!
//! What is promised: an entry that was acknowledged is in the log, at its sequence, and numbers have no gaps. What is not:
//! that an entry in the log was acknowledged; a caller may have been refused, or have died, while the write was under way.

mod draft;
mod entry;
mod group;
mod line;
mod lines;
mod log;
mod queue;
mod reader;
mod recover;
mod segment;
mod spare;
mod status;
mod tally;
mod writer;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use draft::{Draft, Importance, Resource};
pub use entry::{Decision, Entry, Event};
pub use group::{Pending, Written};
pub use log::{AuditLog, AuditOptions, Condition};
pub use reader::{Entries, Filter, Order, Page, PageBounds, Reader};
pub use recover::Recovered;
pub use status::Status;
pub use tally::{Observed, Tally, TallyKey};

/// Longest line, its newline included.
pub const LINE_BYTES: usize = 8 * 1024;

/// Outcome of a change of which nobody knew whether it happened. Its intent stays open until another outcome settles it.
pub const IN_DOUBT: &str = "in_doubt";

/// Why the audit log refused. No variant carries an entry's text.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file system refused while the log was opened or read.
    #[error("{doing} {path}", path = .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The entry is not on disk and may not be taken for written. The log recovers by itself when the fault ends.
    #[error("the audit log cannot be written: {0}")]
    Unwritable(Arc<str>),
    /// The entry's line would be longer than [`LINE_BYTES`]; nothing was written.
    #[error("an audit entry of {0} bytes is longer than the 8192 allowed")]
    TooLong(usize),
    /// More entries wait for the disk than may.
    #[error("too many audit entries wait for the disk")]
    Busy,
    /// The log was closed.
    #[error("the audit log is closed")]
    Closed,
    /// Another process writes into this folder.
    #[error("another process writes the audit log in {}", .0.display())]
    Locked(PathBuf),
    /// A line does not parse, is out of sequence, or is missing where others follow.
    #[error("the audit log is damaged: {file}, line {line}: {why}", file = .file.display())]
    Damaged {
        /// The segment.
        file: PathBuf,
        /// The line in it, from 1.
        line: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// An option makes no sense.
    #[error("audit options: {0}")]
    Options(&'static str),
}

impl AuditError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}
