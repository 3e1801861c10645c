//! Ed25519 (RFC 8032): the key with which the vault will sign the heads of its audit log. Its public half is pinned.

use ring::signature::{Ed25519KeyPair, KeyPair};

use super::{CryptoError, Key};

/// An Ed25519 key pair out of a 32-byte seed.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// From the seed.
    ///
    /// # Errors
    /// ring refuses the seed; no seed of 32 bytes is known that it does.
    pub fn from_seed(seed: &Key) -> Result<Self, CryptoError> {
        Ed25519KeyPair::from_seed_unchecked(seed.expose()).map(Self).map_err(|_| CryptoError::Malformed)
    }

    /// The public key: 32 bytes.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes")
    }
}
