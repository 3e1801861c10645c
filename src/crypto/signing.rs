//! Ed25519 (RFC 8032): the vault's audit identity, whose public key `init` prints to be pinned.

use std::fmt;

use ring::signature::{Ed25519KeyPair, KeyPair};

use super::Key;
use crate::memory::leaving_no_trace;

/// More of the stack than ring's Ed25519 uses: 4.5 KiB.
const STACK_BYTES: usize = 16_384;

/// A signing key, made of a 32-byte seed. ring does not wipe it: it lies on the heap, which the wiping allocator wipes.
pub struct SigningKey(Box<Ed25519KeyPair>);

impl SigningKey {
    /// The key of this seed. Any 32 bytes are a seed.
    #[must_use]
    pub fn from_seed(seed: &Key) -> Self {
        let expand = || Ed25519KeyPair::from_seed_unchecked(seed.expose()).expect("every 32 bytes are an Ed25519 seed");
        Self(leaving_no_trace::<STACK_BYTES, _>(|| Box::new(expand())))
    }

    /// The public key: 32 bytes, as in RFC 8032, section 5.1.5.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes")
    }

    /// The signature: 64 bytes, always the same for a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = leaving_no_trace::<STACK_BYTES, _>(|| self.0.sign(message));
        signature.as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(public {})", hex::encode(self.public_key()))
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    fn array<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).expect("hex").try_into().expect("as many bytes")
    }

    #[test]
    fn the_second_vector_of_rfc_8032() {
        let mut seed = array("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let key = SigningKey::from_seed(&Key::from_bytes(&mut seed));
        assert_eq!(key.public_key(), array("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"));
        let expected = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        assert_eq!(key.sign(&[0x72]), array(expected));
        assert!(UnparsedPublicKey::new(&ED25519, key.public_key()).verify(&[0x72], &key.sign(&[0x72])).is_ok());
    }

    #[test]
    fn nothing_secret_shows() {
        let key = SigningKey::from_seed(&Key::from_bytes(&mut [0xA5; 32]));
        assert!(!format!("{key:?}").contains("a5a5"));
    }
}
