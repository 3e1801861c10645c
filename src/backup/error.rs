//! What goes wrong with an archive.

use std::io;
use std::path::PathBuf;

use crate::model::Invalid;

/// Why an archive was not made, or not believed. Nothing of its content stands in an error.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file cannot be used.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file of that name is there.
    #[error("{} exists already: choose another name, or move it away", .0.display())]
    Exists(PathBuf),
    /// It is no age file, or one of another version.
    #[error("this is no backup: it has no age header that can be read")]
    NoArchive,
    /// It is encrypted to others.
    #[error("none of the identities opens this backup: it was made for other recovery recipients")]
    NotForYou,
    /// What was read is not what was written: cut, changed, or two files in one.
    #[error("the backup is damaged, and nothing was done with it: {0}")]
    Damaged(&'static str),
    /// The bytes are whole, but are none of this program's.
    #[error("the backup has an unknown form: {0}")]
    Malformed(#[from] Invalid),
    /// A recipient or an identity that is none.
    #[error("{0}")]
    Key(&'static str),
    /// The archive could not be encrypted.
    #[error("the backup could not be encrypted")]
    Encrypt(#[source] io::Error),
}
