//! The seal: from a slot's secret to the root key, and from the root key to the system key.
//!
//! | word | meaning |
//! |---|---|
//! | slot | one independent way to the root key, as in LUKS; here a passphrase |
//! | header | the one row in the clear: vault id, epoch, slots, wrapped system key, under an HMAC that only the root key makes |
//!
//! ```text
//! passphrase ── Argon2id ──> slot secret ── decrypt ──> root key ── checks the header, decrypts ──> system key
//! ```
//! The root key is wiped as soon as the system key is out.

mod header;
mod passphrase;

pub use header::Header;
pub use passphrase::Argon2Parameters;

use crate::crypto::CryptoError;

/// Why a header was not made or not opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The passphrase may not be used for a vault.
    #[error("a vault's passphrase has 15 to 1024 bytes")]
    PassphraseLength,
    /// The parameters of Argon2id are out of bounds.
    #[error("the parameters of Argon2id are out of bounds")]
    Parameters,
    /// No slot opens with this passphrase: it is wrong, or the slot was altered. Which, cannot be told.
    #[error("the passphrase is wrong, or its slot was altered")]
    WrongPassphrase,
    /// The header is not one, or not as it was written.
    #[error("the vault's header is damaged")]
    Damaged,
    /// Memory for Argon2id is lacking.
    #[error("not enough memory for Argon2id")]
    Memory,
    /// The generator failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}
