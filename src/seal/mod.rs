//! From what people know or hold to the system key.
//!
//! | file | what |
//! |---|---|
//! | `passphrase` | [`Passphrase`], [`Argon2Parameters`]: what a person knows, made into a key |
//! | `slot` | [`SlotKind`], one independent way to the root key |
//! | `header` | [`Header`]: the store's one plaintext row, holding the slots and the wrapped system key |
//!
//! ```text
//! passphrase ─Argon2id─ slot secret ─opens─ root key ─checks─ the header's HMAC ─opens─ system key
//! ```
//!
//! The root key is wiped as soon as the system key is open. Sealing is dropping the system key.

mod header;
mod passphrase;
mod slot;

pub use header::{HEADER_ROW_KEY, Header, SlotInfo};
pub use passphrase::{Argon2Parameters, Passphrase};
pub use slot::SlotKind;

use crate::crypto::{CryptoError, RandomFailed};
use crate::model::Invalid;

/// Why there is no system key.
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
