//! Secrets: named values with numbered versions.
//!
//! | file | operations |
//! |---|---|
//! | `shown` | what callers see of a secret: never its value |
//! | `head` | reading one head row: find, open, check that it is the permit's |
//! | `read` | reveal, describe, versions |
//! | `list` | list below a prefix, find by provider and subject |
//! | `watch`, `expiring` | what changes below a prefix, and what will soon expire |
//! | `create`, `update` | new secrets, new versions |
//! | `state` | labels and expiry, disable, enable, destroy, restore |
//! | `purge` | delete what was destroyed |
//! | `value` | what a new value must be |

mod create;
mod expiring;
mod head;
mod list;
mod purge;
mod read;
mod shown;
mod state;
mod update;
mod value;
mod watch;

pub use read::{Revealed, Room, VersionInfo};
pub use shown::{SecretInfo, ShownState, TokenDetails};
pub use state::{MetadataChange, StateChange};
pub use update::NewVersion;
pub use value::{Expiry, NewSecret, Stored};
pub use watch::{ChangeKind, SecretChange, Watch, WatchFrom};

use std::time::Duration;

use crate::storage::{CommitError, Key};

use super::Error;
use super::row;

/// How often a write begins again because a key was rotated meanwhile, or somebody was faster. Each time it looks again,
/// so the next try either does it or says why not.
const TRIES: u32 = 16;
/// Between two of them; all together less than a second.
const LONGEST_PAUSE: Duration = Duration::from_millis(64);

/// What to do after a commit that did not go through.
enum AfterCommit {
    /// Look again: a key was rotated, or the row changed. This is the row that was not as expected.
    LookAgain(Key),
    /// Nobody knows whether it happened: look whether the row carries this change's intent.
    Settle,
}

fn after(error: CommitError) -> Result<AfterCommit, Error> {
    match error {
        CommitError::Conflict(key) => Ok(AfterCommit::LookAgain(key)),
        CommitError::Unknown => Ok(AfterCommit::Settle),
        CommitError::Refused(error) => Err(Error::Store(error)),
    }
}
