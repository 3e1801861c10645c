//! The archive of a backup: all rows of a vault at one revision, encrypted to people who keep their keys elsewhere.
//!
//! ```text
//! age file (age-encryption.org/v1), to each recovery recipient
//!   magic ‖ manifest ‖ rows … ‖ changes … ‖ trailer
//! ```
//! Rows are ciphertexts already: whoever decrypts an archive still needs a slot of the vault to read a value, and whoever holds a
//! slot still needs an archive's identity. The bytes are in `docs/crypto.md`.
//!
//! | word | meaning |
//! |---|---|
//! | [`Recipient`], [`Identity`] | to whom an archive is encrypted; what decrypts it. The vault never has an identity |
//! | [`Manifest`] | whose rows they are, since when and until when |
//! | [`Trailer`] | at which revision they stood, how many there are, and the digest over everything before |
//! | row, change | a row as the scan met it; what it became, or that it went, while the scan went on |
//! | [`Verified`] | the evidence that an archive was read to its end and is whole: only then are its rows given out |
//!
//! | file | what |
//! |---|---|
//! | `format` | manifest, trailer and frames as bytes |
//! | `keys` | recipients and identities |
//! | `writer` | makes an archive as a stream |
//! | `reader` | reads one from a file: twice, for a restore |
//! | `file` | an archive's file: whole under its name, or not there |
//! | `step` | the steps of backup and restore, so that a test can stop at each of them |

mod error;
mod file;
mod format;
mod keys;
mod reader;
mod step;
#[cfg(test)]
mod tests;
mod writer;

pub use crate::crypto::Recipient;
pub use error::BackupError;
pub use file::{PartFile, Saved};
pub use format::{Class, Counts, Manifest, Trailer};
pub use keys::Identity;
pub use reader::{Archive, Verified, check_header};
pub use step::{Step, Steps};
pub use writer::{ArchiveWriter, Standing};
