//! A PKI for people without one: two authorities in a folder, with their books.
//!
//! ```text
//! DIR/                 mode 0700, as the folders in it; every file 0600
//!   lock               held by whoever is at work in it
//!   workloads/         the authority of programs, the server among them
//!   operators/         the authority of people
//! ```
//!
//! | word | meaning |
//! |---|---|
//! | [`Office`] | the folder, locked: [`Office::issue`], [`Office::renew`], [`Office::revoke`], [`Office::lists`], [`Office::overview`] |
//! | [`Kind`] | server, workload, operator: which authority, which usage, how long |
//! | [`Registered`] | a leaf in the books: what nobody can have who is not in them |
//! | [`List`] | a revocation list; numbered, and no number is given twice |
//!
//! The order of every change: the books first, whole, then what goes out. So a crash leaves a leaf in the books that nobody
//! has, or a number without a list, and never a leaf or a list that the books do not know.

mod branch;
mod error;
mod issue;
mod kind;
mod overview;
mod register;
mod revoke;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use branch::List;
pub use error::OfficeError;
pub use issue::{NewKey, Order, Renewed};
pub use kind::Kind;
pub use overview::{Overview, Standing};
pub use register::{Registered, Revoked, State};
pub use revoke::{Revocation, Which};

use super::files::{closed_folder, sync_folder};
use super::{PkiError, private_folder};
use crate::model::{Class, Timestamp, TrustDomain};
use branch::Branch;

/// How long a revocation list is good for if nobody says otherwise.
pub const LIFE_OF_LIST: Duration = Duration::from_secs(30 * 24 * 3600);

/// The folder. As long as this lives, nobody else works in it.
pub struct Office {
    folder: PathBuf,
    _lock: File,
}

impl Office {
    /// Makes an office: two authorities, each with an empty list. It is made beside its place and moved there whole.
    ///
    /// # Errors
    /// One domain for both, something in the place, or what the operating system says.
    pub fn init(folder: &Path, workloads: &TrustDomain, operators: &TrustDomain, now: Timestamp) -> Result<Self, OfficeError> {
        if workloads == operators {
            let why = "programs and people need two trust domains: what class somebody has, the vault goes by the domain";
            return Err(OfficeError::Invalid(why.to_owned()));
        }
        let beside = place(folder)?;
        let failed = |path: &Path, source| PkiError::File { path: path.to_owned(), source };
        DirBuilder::new().mode(0o700).create(&beside).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => {
                let why = "another `init` is at work, or was cut short: if none is, remove this folder and try again";
                OfficeError::InTheWay { path: beside.clone(), why }
            }
            _ => failed(&beside, source).into(),
        })?;
        let make = || {
            for (class, domain) in [(Class::Workload, workloads), (Class::Operator, operators)] {
                // A revocation list is found by its authority's name, so a second PKI of the domain needs another.
                let name = format!("Strongroom {} CA {}", class.word(), now.unix_ms());
                Branch::of(class, &beside).create(&name, domain.clone(), now, LIFE_OF_LIST)?;
            }
            lock_file(&beside)?;
            // Onto nothing or an empty folder alone.
            fs::rename(&beside, folder).and_then(|()| sync_folder(folder)).map_err(|source| failed(folder, source))?;
            Ok(())
        };
        let made: Result<(), OfficeError> = make();
        if made.is_err() {
            // What was made so far is nobody's yet; if it cannot be removed, the next try says that it is there.
            let _ = fs::remove_dir_all(&beside);
        }
        made?;
        Self::open(folder)
    }

    /// Waits until nobody else works in it.
    ///
    /// # Errors
    /// There is none, others may enter its folder, or what the operating system says.
    pub fn open(folder: &Path) -> Result<Self, OfficeError> {
        if [Class::Workload, Class::Operator].into_iter().any(|class| !Branch::of(class, folder).certificate().exists()) {
            return Err(OfficeError::NoPki { path: folder.to_owned() });
        }
        closed_folder(folder)?;
        let lock = lock_file(folder)?;
        lock.lock().map_err(|source| PkiError::File { path: folder.join(LOCK), source })?;
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    fn branch(&self, class: Class) -> Branch {
        Branch::of(class, &self.folder)
    }

    fn branches(&self) -> [Branch; 2] {
        [Class::Workload, Class::Operator].map(|class| self.branch(class))
    }
}

const LOCK: &str = "lock";

/// A copy that was put back may lack it.
fn lock_file(folder: &Path) -> Result<File, PkiError> {
    let path = folder.join(LOCK);
    // Reading is enough for a lock, so that a medium that cannot be written can be looked at.
    let opened = File::open(&path).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path),
        _ => Err(error),
    });
    opened.map_err(|source| PkiError::File { path, source })
}

/// The name beside `folder` under which a new office is made.
fn place(folder: &Path) -> Result<PathBuf, OfficeError> {
    let in_the_way = |why| Err(OfficeError::InTheWay { path: folder.to_owned(), why });
    if Branch::of(Class::Workload, folder).certificate().exists() {
        return in_the_way("there is a PKI already: name another folder with --dir, or use this one");
    }
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return in_the_way("the folder is not empty: name another with --dir");
    }
    let Some(name) = folder.file_name() else {
        return Err(OfficeError::Invalid("the folder of a PKI needs a name of its own: --dir pki, for instance".to_owned()));
    };
    let mut beside = name.to_owned();
    beside.push(".new");
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.exists() => private_folder(parent)?,
        _ => {}
    }
    Ok(folder.with_file_name(beside))
}
