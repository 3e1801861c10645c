//! The one construction that encrypts everything: AES-256-GCM under a key derived for this one ciphertext, with a commitment to
//! the key (the shape of the AWS Encryption SDK's suite 0x0478).
//!
//! ```text
//! encrypt(K, context, P):
//!   salt = 32 random bytes
//!   okm  = HKDF-Expand-SHA-256(K, info ‖ salt, 64)        RFC 5869, section 2.3; K is uniform, so there is no extract step
//!   ek, com = okm[0..32], okm[32..64]
//!   C ‖ T = AES-256-GCM(ek, nonce = 0^96, aad = info, P)  NIST SP 800-38D
//!   out  = 01 ‖ salt ‖ com ‖ C ‖ T                        |P| + 81 bytes
//! ```
//!
//! The nonce is constant because `ek` encrypts once: its salt is new each time. `com` makes a ciphertext open under one key only,
//! which plain GCM does not promise; it is compared, in constant time, before GCM is asked.

#![expect(clippy::disallowed_types, reason = "the one home of the AEAD")]

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Nonce, Tag};
use ring::hkdf;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::{Context, CryptoError, Key, Random};
use crate::memory::leaving_no_trace;
use crate::model::SecretBytes;

/// The first byte of every ciphertext: which construction made it.
const SUITE: u8 = 1;
const SALT_BYTES: usize = 32;
const COMMITMENT_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + SALT_BYTES + COMMITMENT_BYTES;

/// The one nonce: a derived key encrypts once.
const NONCE: [u8; 12] = [0; 12];

/// More of the stack than HKDF, AES's key schedule and GCM use: 8.4 KiB; a test looks.
const STACK_BYTES: usize = 12 * 1024;

/// By how many bytes a ciphertext is longer than its plaintext.
pub const OVERHEAD_BYTES: usize = HEAD_BYTES + TAG_BYTES;

/// Bytes of an encrypted key.
pub const WRAPPED_KEY_BYTES: usize = 32 + OVERHEAD_BYTES;

/// An encrypted key.
pub type WrappedKey = [u8; WRAPPED_KEY_BYTES];

/// Encrypts under a key derived from `key` for this one ciphertext: `plaintext.len() + 81` bytes.
///
/// # Errors
/// [`CryptoError::Random`] and [`CryptoError::ContextTooLong`]; nothing has been encrypted then.
pub fn encrypt(key: &Key, context: &Context<'_>, plaintext: &[u8], random: &dyn Random) -> Result<Vec<u8>, CryptoError> {
    let mut out = vec![0; plaintext.len() + OVERHEAD_BYTES];
    seal_into(key, context, plaintext, random, &mut out)?;
    Ok(out)
}

/// Decrypts what [`encrypt`] made with this key in this context.
///
/// # Errors
/// [`CryptoError::Refused`], whatever is wrong with the ciphertext; [`CryptoError::ContextTooLong`].
pub fn decrypt(key: &Key, context: &Context<'_>, ciphertext: &[u8]) -> Result<SecretBytes, CryptoError> {
    let length = ciphertext.len().checked_sub(OVERHEAD_BYTES).ok_or(CryptoError::Refused)?;
    let mut plaintext = Zeroizing::new(vec![0; length]);
    open_into(key, context, ciphertext, &mut plaintext)?;
    Ok(SecretBytes::new(std::mem::take(&mut *plaintext)))
}

/// Encrypts a key under a key.
///
/// # Errors
/// As for [`encrypt`].
pub fn wrap_key(key: &Key, context: &Context<'_>, inner: &Key, random: &dyn Random) -> Result<WrappedKey, CryptoError> {
    let mut out = [0; WRAPPED_KEY_BYTES];
    seal_into(key, context, inner.expose(), random, &mut out)?;
    Ok(out)
}

/// Decrypts what [`wrap_key`] made, straight into the arena.
///
/// # Errors
/// As for [`decrypt`].
pub fn unwrap_key(key: &Key, context: &Context<'_>, wrapped: &[u8]) -> Result<Key, CryptoError> {
    Key::try_fill(|inner| open_into(key, context, wrapped, inner))
}

/// `out` must be [`OVERHEAD_BYTES`] longer than `plaintext`; it holds no byte of it unless all went well.
fn seal_into(key: &Key, context: &Context<'_>, plaintext: &[u8], random: &dyn Random, out: &mut [u8]) -> Result<(), CryptoError> {
    let info = context.info()?;
    let mut salt = [0; SALT_BYTES];
    random.fill(&mut salt)?;
    leaving_no_trace::<STACK_BYTES, _>(|| seal_with_salt(key, &info, &salt, plaintext, out))
}

/// `out` must be [`OVERHEAD_BYTES`] shorter than `ciphertext`; it holds zeros unless all went well.
fn open_into(key: &Key, context: &Context<'_>, ciphertext: &[u8], out: &mut [u8]) -> Result<(), CryptoError> {
    let info = context.info()?;
    leaving_no_trace::<STACK_BYTES, _>(|| open_with_info(key, &info, ciphertext, out))
}

fn seal_with_salt(key: &Key, info: &[u8], salt: &[u8; SALT_BYTES], plaintext: &[u8], out: &mut [u8]) -> Result<(), CryptoError> {
    let derived = Derived::new(key, info, salt);
    let (head, rest) = out.split_at_mut(HEAD_BYTES);
    let (body, tag) = rest.split_at_mut(plaintext.len());
    head[0] = SUITE;
    head[1..=SALT_BYTES].copy_from_slice(salt);
    head[1 + SALT_BYTES..].copy_from_slice(derived.commitment());
    body.copy_from_slice(plaintext);
    tag.copy_from_slice(&gcm_encrypt(derived.encryption_key(), &NONCE, info, body)?);
    Ok(())
}

fn open_with_info(key: &Key, info: &[u8], ciphertext: &[u8], out: &mut [u8]) -> Result<(), CryptoError> {
    let parts = Parts::of(ciphertext).filter(|parts| parts.body.len() == out.len()).ok_or(CryptoError::Refused)?;
    let derived = Derived::new(key, info, parts.salt);
    if !bool::from(derived.commitment().ct_eq(parts.commitment)) {
        return Err(CryptoError::Refused);
    }
    out.copy_from_slice(parts.body);
    gcm_decrypt(derived.encryption_key(), &NONCE, info, out, parts.tag)
}

/// A ciphertext taken apart.
struct Parts<'a> {
    salt: &'a [u8; SALT_BYTES],
    commitment: &'a [u8; COMMITMENT_BYTES],
    body: &'a [u8],
    tag: &'a [u8; TAG_BYTES],
}

impl<'a> Parts<'a> {
    fn of(ciphertext: &'a [u8]) -> Option<Self> {
        let (suite, rest) = ciphertext.split_first()?;
        let (salt, rest) = rest.split_first_chunk()?;
        let (commitment, rest) = rest.split_first_chunk()?;
        let (body, tag) = rest.split_last_chunk()?;
        (*suite == SUITE).then_some(Self { salt, commitment, body, tag })
    }
}

/// What is derived for one ciphertext: `ek ‖ com`, wiped when dropped.
struct Derived(Zeroizing<[u8; 64]>);

impl Derived {
    fn new(key: &Key, info: &[u8], salt: &[u8; SALT_BYTES]) -> Self {
        let mut okm = Zeroizing::new([0; 64]);
        expand(key.expose(), &[info, salt], &mut okm);
        Self(okm)
    }

    fn encryption_key(&self) -> &[u8; 32] {
        self.0.first_chunk().expect("64 bytes begin with 32")
    }

    fn commitment(&self) -> &[u8; COMMITMENT_BYTES] {
        self.0.last_chunk().expect("64 bytes end with 32")
    }
}

/// HKDF-Expand-SHA-256(key, info, 64): RFC 5869, section 2.3. `key` is uniform.
fn expand(key: &[u8], info: &[&[u8]], out: &mut [u8; 64]) {
    struct Length;
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            64
        }
    }
    let key = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, key);
    let filled = key.expand(info, Length).and_then(|okm| okm.fill(out));
    filled.expect("64 bytes are fewer than 255 hashes, and as many as asked for");
}

/// AES-256-GCM, NIST SP 800-38D, in place; gives the tag. A nonce must never be used twice with a key.
fn gcm_encrypt(key: &[u8; 32], nonce: &[u8; 12], aad: &[u8], body: &mut [u8]) -> Result<[u8; TAG_BYTES], CryptoError> {
    let sealed = AesGcm::<Aes256, U12>::new(key.into()).encrypt_inout_detached(&Nonce::from(*nonce), aad, body.into());
    sealed.map(Into::into).map_err(|_| {
        body.zeroize(); // longer than GCM can: 64 GiB
        CryptoError::Refused
    })
}

/// The other way, in place. The tag is checked before anything is decrypted; after a wrong one the body is zero.
fn gcm_decrypt(key: &[u8; 32], nonce: &[u8; 12], aad: &[u8], body: &mut [u8], tag: &[u8; TAG_BYTES]) -> Result<(), CryptoError> {
    let opened = AesGcm::<Aes256, U12>::new(key.into()).decrypt_inout_detached(&Nonce::from(*nonce), aad, body.into(), &Tag::from(*tag));
    opened.map_err(|_| {
        body.zeroize();
        CryptoError::Refused
    })
}

#[cfg(test)]
mod tests;
