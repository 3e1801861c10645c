//! Cryptography, format 1. One construction encrypts everything; every label and context stands in one file.
//!
//! | file | what |
//! |---|---|
//! | `random` | [`Random`]: where randomness comes from, so that its failure can be tested |
//! | `key` | [`Key`]: 32 bytes in the arena |
//! | `keys` | [`Context`]: every label and authenticate context there is |
//! | `aead` | [`encrypt`], [`decrypt`], [`wrap_key`], [`unwrap_key`]: committing AES-256-GCM under a derived key |
//! | `envelope` | [`seal`] and open one version of a secret: KEK over DEK over metadata and payload |
//! | `names` | [`IndexKey`], [`NameKey`]: keyed hashes that stand for names in the store |
//! | `keyring` | [`Keyring`]: a namespace's KEK versions and its index key |
//! | `shamir` | [`split_key`], [`combine_key`]: a key in shares, of which some give it back |
//! | `recipient` | [`Recipient`]: encrypting to a person, in the age format |
//! | `note` | [`sign_note`], [`verify_note`]: a text that people keep, signed |
//! | `signing` | [`SigningKey`]: the vault's audit identity |
//!
//! ```text
//! root key ─ system key ┬─ the vault's own secrets          (Context::Secret)
//!                       ├─ rows of policy, jobs, …          (Context::Row)
//!                       └─ keyring of a namespace ┬─ index key ─ names in row keys
//!                                                 └─ KEK v ─ DEK of a version ─ metadata, payload
//! ```
//!
//! Nothing here takes a nonce or a salt from its caller. Whatever is wrong with a ciphertext, the answer is the one error
//! [`CryptoError::Refused`]. `docs/crypto.md` has the bytes.

mod aead;
pub(crate) mod codec;
mod digest;
mod envelope;
mod key;
mod keyring;
mod keys;
mod names;
mod note;
mod random;
mod recipient;
mod shamir;
mod signing;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod vectors;

pub use aead::{OVERHEAD_BYTES, WRAPPED_KEY_BYTES, WrappedKey, decrypt, encrypt, unwrap_key, wrap_key};
pub use digest::{Sha256, sha256};
pub use envelope::{EnvelopeIds, Sealed, open_both, open_meta, open_payload, reseal_meta, rewrap, seal};
pub use key::Key;
pub use keyring::{KeyInfo, KeyState, Keyring};
pub use keys::{Context, TagLabel};
pub(crate) use keys::{header_mac_key, token_context};
pub use names::{IndexKey, NameKey};
pub use note::{sign_note, verify_note};
pub use random::{Random, RandomFailed, SystemRandom};
pub use recipient::Recipient;
pub use shamir::{Point, QuorumSize, combine_key, split_key};
pub use signing::SigningKey;

use crate::model::Invalid;

/// Why something cryptographic did not happen. No variant carries a byte of a key, a plaintext or a ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// Nothing was encrypted: there was no randomness.
    #[error(transparent)]
    Random(#[from] RandomFailed),
    /// A ciphertext that this key, in this context, did not make: wrong key, wrong context, changed, cut or of an unknown suite.
    /// Which of them is not told.
    #[error("the ciphertext was refused")]
    Refused,
    /// A part of a context is longer than its length field can say.
    #[error("a context is too long")]
    ContextTooLong,
    /// The namespace has no KEK of this version.
    #[error("there is no key version {0}")]
    NoSuchKey(u32),
    /// The KEK of this version may not be used in its present state.
    #[error("key version {0} is out of service")]
    KeyOutOfService(u32),
    /// The KEK of this version cannot go from its present state to the one asked for.
    #[error("key version {0} cannot go to that state")]
    WrongTransition(u32),
    /// The namespace has as many live KEK versions as it may have.
    #[error("too many live key versions")]
    TooManyKeys,
    /// A record that is not in the one form that the encoder gives it.
    #[error("malformed record: {0}")]
    Malformed(#[source] Invalid),
}
