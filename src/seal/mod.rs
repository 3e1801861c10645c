//! From what people know or hold to the system key.
//!
//! | file | what |
//! |---|---|
//! | `passphrase` | [`Passphrase`], [`Argon2Parameters`]: what a person knows, made into a key |
//! | `share` | [`Share`]: what one of several people holds, and its text |
//! | `quorum` | [`Quorum`]: collects shares until they open a slot |
//! | `token` | [`TokenKey`]: what is asked of a key in an HSM |
//! | `slot` | [`SlotKind`], one independent way to the root key; [`OpenSlot`], the proof of having opened one |
//! | `slot_key` | [`SlotKey`]: what opens a slot, all at once |
//! | `header` | [`Header`]: the store's one plaintext row, holding the slots and the wrapped system key |
//! | `header/ceremony` | what who has opened a slot may change: slots, the root key, the system key |
//!
//! ```text
//! passphrase ─Argon2id─┐
//! shares ────combined──┤
//! ciphertext ───HSM────┴ slot secret ─opens─ root key ─checks─ the header's HMAC ─opens─ system key
//! ```
//!
//! The root key is wiped as soon as the system key is open. Sealing is dropping the system key.

mod header;
mod passphrase;
mod quorum;
mod share;
mod slot;
mod slot_key;
mod token;

pub use header::{HEADER_ROW_KEY, Header, NewHeader, ReplacedSystemKey, SlotInfo};
pub use passphrase::{Argon2Parameters, Passphrase};
pub use quorum::{Added, Quorum};
#[cfg(test)]
pub(crate) use share::forged_share;
pub use share::{Share, ShareError};
pub use slot::{OpenSlot, SlotKind};
pub use slot_key::SlotKey;
pub use token::{TOKEN_CIPHERTEXT_BYTES, TokenCiphertext, TokenError, TokenKey, TokenLabel, TokenLabels};

pub use crate::crypto::QuorumSize;

use crate::crypto::{CryptoError, RandomFailed};
use crate::model::{Invalid, SlotId};

/// Why there is no system key, or why a ceremony changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// A passphrase that none can have: too short, too long, not text.
    #[error("passphrase: {0}")]
    Passphrase(#[source] Invalid),
    /// Argon2id parameters out of their bounds.
    #[error("Argon2id parameters: {0}")]
    Parameters(#[source] Invalid),
    /// No slot opened: a wrong passphrase, or slots that were changed. Which of them cannot be told.
    #[error("no slot opens with this")]
    NoSlotOpens,
    /// A slot opened, and yet the header is not the one that its root key has authenticated: somebody has changed it.
    #[error("the header has been changed")]
    Tampered,
    /// As many shares as a slot needs, and it did not open: a wrong share, or a slot that was changed. All of them are forgotten.
    #[error("the shares do not open the slot: one of them is wrong, or the slot was changed; all are forgotten, so give them again")]
    QuorumFailed,
    /// Fewer different shares than the slot needs.
    #[error("{given} different shares were given, and the slot needs {needed}")]
    TooFewShares {
        /// How many there were.
        given: usize,
        /// How many it takes.
        needed: u8,
    },
    /// A share that is none, or belongs elsewhere.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The HSM did not open its slot.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The header has no such slot, or one of another kind.
    #[error("there is no slot {0} of this kind")]
    NoSuchSlot(SlotId),
    /// There are eight slots.
    #[error("a vault has 8 slots at most: remove one first")]
    TooManySlots,
    /// Without it nothing would open the vault any more.
    #[error("the last slot cannot be removed: add another one first")]
    LastSlot,
    /// A slot that would be lost with the old root key, though nobody said so.
    #[error("slot {0} is neither opened nor named to be dropped: do one of the two")]
    SlotUnaccounted(SlotId),
    /// A slot that stands twice among those opened and those named to be dropped.
    #[error("slot {0} is named twice")]
    SlotNamedTwice(SlotId),
    /// Bytes that are no header.
    #[error("malformed header: {0}")]
    Malformed(#[source] Invalid),
    /// Argon2id's memory is not to be had.
    #[error("not enough memory for Argon2id")]
    OutOfMemory,
    /// There is no randomness.
    #[error(transparent)]
    Random(#[from] RandomFailed),
    /// Encryption failed for another reason.
    #[error(transparent)]
    Crypto(CryptoError),
}

impl From<CryptoError> for SealError {
    fn from(error: CryptoError) -> Self {
        match error {
            CryptoError::Random(failed) => Self::Random(failed),
            other => Self::Crypto(other),
        }
    }
}
