//! Why an operation of the vault failed.

use crate::access::ChangeRefused;
use crate::audit::IN_DOUBT;
use crate::backup::BackupError;
use crate::crypto::CryptoError;
use crate::gate::Failure;
use crate::model::SlotId;
use crate::seal::SealError;
use crate::storage::{CommitError, StoreError};

/// Why an operation of the vault failed. Each variant says whether anything changed: but for [`Error::Unknown`], nothing did.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The vault was sealed meanwhile.
    #[error("the vault is sealed")]
    Sealed,
    /// There is no such thing.
    #[error("there is no such {0}")]
    Absent(&'static str),
    /// The name is taken.
    #[error("the name is taken")]
    Exists,
    /// It changed since the caller looked.
    #[error("it has changed since: read it again")]
    Conflict,
    /// It is in a state in which that cannot be done.
    #[error("{0}")]
    State(&'static str),
    /// A field makes no sense.
    #[error("{field}: {why}")]
    Invalid {
        /// The API's name of the field.
        field: &'static str,
        /// What is wrong with it; a constant, which repeats no value.
        why: &'static str,
    },
    /// The value does not fit into the answer beside those before it; it was not opened.
    #[error("the answer has no room for it")]
    NoRoom,
    /// What has changed since that revision is not held any more.
    #[error("the changes since then are not held any more")]
    Behind,
    /// There are too many of them at this time.
    #[error("too many {0} at this time")]
    TooMany(&'static str),
    /// Nobody confirms what they proposed themselves.
    #[error("nobody approves their own proposal: ask another person")]
    OwnProposal,
    /// Rows are under a key version that nothing may be under.
    #[error("{0} values are still under this key version: enable it, `keys rotate --rewrap`, and try again")]
    RowsUnderKey(u64),
    /// Slots must be opened first.
    #[error("{}", slots_missing(.0))]
    SlotsMissing(Vec<SlotId>),
    /// The proposal is somebody else's.
    #[error("the proposal is somebody else's: only who proposed it may do that")]
    NotYours,
    /// The policy may not be changed like that.
    #[error(transparent)]
    Policy(#[from] ChangeRefused),
    /// The store is whole, but not the one that it should be: another vault's, or this one's of another day.
    #[error("{0}")]
    NotThisVault(&'static str),
    /// What was read is not what was written. Somebody changed the store, or the disk did.
    #[error("{0} is damaged")]
    Integrity(&'static str),
    /// The store did not do it.
    #[error("the store did not do it")]
    Store(#[source] StoreError),
    /// Nobody knows whether the change happened.
    #[error("nobody knows whether the change happened: read again")]
    Unknown,
    /// The random generator failed, so nothing was encrypted.
    #[error("nothing could be encrypted")]
    Crypto(#[source] CryptoError),
    /// The archive of a backup.
    #[error(transparent)]
    Backup(BackupError),
    /// The header could not be opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// There were as many shares as a slot needs, and it did not open. All of them are forgotten.
    #[error("{why}")]
    Quorum {
        /// Why not.
        #[source]
        why: SealError,
        /// Who gave them, for the audit log: each custodian with the number of the share, and how often in a row shares failed of which
        /// one was theirs.
        custodians: String,
    },
}

fn slots_missing(slots: &[SlotId]) -> String {
    let ids: Vec<_> = slots.iter().map(ToString::to_string).collect();
    format!("nothing was brought yet that opens what this needs: present the secret of {}", ids.join(", "))
}

impl From<CryptoError> for Error {
    fn from(error: CryptoError) -> Self {
        match error {
            CryptoError::Random(_) | CryptoError::ContextTooLong => Self::Crypto(error),
            CryptoError::NoSuchKey(_) | CryptoError::KeyOutOfService(_) => {
                Self::State("the key version of this value is disabled or destroyed")
            }
            CryptoError::WrongTransition(_) => Self::State("the key version cannot go to that state"),
            CryptoError::TooManyKeys => Self::State("a keyring has at most 256 live versions: retire old ones"),
            CryptoError::Refused | CryptoError::Malformed(_) => Self::Integrity("a wrapped key"),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict(_) => Self::Conflict,
            CommitError::Unknown => Self::Unknown,
            CommitError::Refused(error) => Self::Store(error),
        }
    }
}

impl Failure for Error {
    fn word(&self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Absent(_) => "not_found",
            Self::Exists => "already_exists",
            Self::Conflict => "conflict",
            Self::State(_) => "failed_precondition",
            Self::Invalid { .. } => "invalid_argument",
            Self::NoRoom => "no_room",
            Self::Behind => "behind",
            Self::TooMany(_) => "too_many",
            Self::OwnProposal => "own_proposal",
            Self::NotYours => "not_yours",
            Self::RowsUnderKey(_) => "rows_under_key",
            Self::SlotsMissing(_) => "slots_missing",
            Self::Policy(_) => "policy_refused",
            Self::NotThisVault(_) => "not_this_vault",
            Self::Integrity(_) => "integrity",
            Self::Store(_) => "store",
            Self::Unknown => IN_DOUBT,
            Self::Crypto(_) => "crypto",
            Self::Backup(_) => "backup",
            Self::Seal(_) => "seal_refused",
            Self::Quorum { .. } => "quorum_failed",
        }
    }

    fn detail(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Quorum { custodians, .. } => vec![("custodians", custodians.clone())],
            _ => Vec::new(),
        }
    }
}
