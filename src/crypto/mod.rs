//! Cryptography: one construction for every ciphertext, and the keys around it. Nothing outside this folder encrypts,
//! derives or signs, but for the passphrase hash in `seal`.
//!
//! ```text
//! RK root ─ encrypt ─> SK system ─ encrypt ─> KEK of a namespace ─ encrypt ─> DEK of a version ─ encrypt ─> meta, payload
//!                              └─ encrypt ─> IK of a namespace (names)   └─ the vault's own secrets
//! ```
//!
//! | file | what |
//! |---|---|
//! | `random` | [`Random`]: where randomness comes from, and fails |
//! | `key` | [`Key`]: 32 bytes in locked memory |
//! | `context` | [`Context`]: every label and every authenticate context, in one place |
//! | `aead` | [`encrypt`], [`decrypt`]: the one construction, with key commitment |
//! | `envelope` | one version of a secret: a data key of its own, wrapped, around metadata and payload |
//! | `names` | [`IndexKey`]: names as keyed hashes |
//! | `keyring` | [`Keyring`]: the versions of a namespace's key-encryption key |
//! | `signing` | [`SigningKey`]: Ed25519 |
//! | `primitives` | HKDF-Expand, HMAC and SHA-256, one function each |
//!
//! The formats are in `docs/crypto.md`, and frozen by `tests/vectors/`.

mod aead;
mod context;
pub mod envelope;
mod key;
mod keyring;
mod names;
mod primitives;
mod random;
mod signing;

pub use aead::{OVERHEAD_BYTES, decrypt, encrypt};
pub use context::{Context, SecretContext};
pub use key::Key;
pub use keyring::{ALGORITHM, KeyState, Keyring};
pub use names::IndexKey;
pub use primitives::{hkdf_expand, hmac_sha256, sha256, verify_hmac_sha256};
pub use random::{Random, RandomFailed, SystemRandom};
pub use signing::SigningKey;

/// Why cryptography failed. None of them says more of a ciphertext than that it is not the one that was written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// The ciphertext is not what was written here under this key: too short, an unknown suite, another key, another
    /// context, or altered. One error for all of them.
    #[error("the ciphertext is not what was written here under this key")]
    Refused,
    /// The random generator failed; nothing was encrypted.
    #[error("the random generator failed")]
    Random(#[from] RandomFailed),
    /// The key version is not there, or may not be used.
    #[error("the key version is not there, or may not be used")]
    KeyUnavailable,
    /// A record of keys is malformed.
    #[error("a record of keys is malformed")]
    Malformed,
    /// More than the construction takes: 2^32 bytes.
    #[error("too long to be encrypted")]
    TooLong,
}
