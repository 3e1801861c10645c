//! Why the office did not do what it was asked.

use std::path::PathBuf;

use crate::model::Timestamp;
use crate::pki::PkiError;

/// What went wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OfficeError {
    /// The authority would not, or a file could not be read or written.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Something lies where something new was to be put.
    #[error("{}: {why}", path.display())]
    InTheWay {
        /// What.
        path: PathBuf,
        /// What it is, and what to do.
        why: &'static str,
    },
    /// The folder is not that of a PKI.
    #[error("{} holds no PKI: name its folder with --dir, or make one with `strongroom pki init`", path.display())]
    NoPki {
        /// Which one.
        path: PathBuf,
    },
    /// A file of the PKI is not what this program writes.
    #[error("{}: {why}", path.display())]
    Damaged {
        /// Which one.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: &'static str,
    },
    /// The books cannot take more.
    #[error(
        "{} would be longer than {most_mib} MiB, and stays as it is: a certificate leaves it a year after its end, once `strongroom pki crl` \
         has made a list since; if that is too late, make another PKI with `strongroom pki init --dir` and let it be trusted beside this one",
        path.display()
    )]
    Full {
        /// The books.
        path: PathBuf,
        /// As much as they may hold.
        most_mib: u64,
    },
    /// No leaf of this PKI is meant.
    #[error("{0}")]
    Unknown(String),
    /// What was taken back cannot be renewed.
    #[error(
        "certificate {serial} was revoked on {since}, and is not renewed: `strongroom pki issue` gives its holder another, if they should have one"
    )]
    Revoked {
        /// Its serial number.
        serial: String,
        /// When it was taken back.
        since: Timestamp,
    },
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
}
