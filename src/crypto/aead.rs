//! The one construction for every ciphertext: AES-256-GCM under a key derived for this ciphertext alone, with a
//! commitment to the key. The shape of the AWS Encryption SDK's committing suite 0x0478.
//!
//! ```text
//! encrypt(K, context, P):                            K: 32 uniform bytes
//!   salt = 32 random bytes
//!   info = "strongroom/1 " ‖ label ‖ 00 ‖ context
//!   okm  = HKDF-Expand-SHA-256(K, info ‖ salt, 64)   ek = okm[0..32], com = okm[32..64]
//!   C‖T  = AES-256-GCM(ek, nonce = 0^96, aad = info, P)
//!   out  = 01 ‖ salt ‖ com ‖ C ‖ T                   |P| + 81 bytes
//! ```
//! `ek` encrypts once, so the nonce may be constant (NIST SP 800-38D, section 8, asks that key and nonce never repeat
//! together: the salt makes the key new). The commitment keeps one ciphertext from opening under two keys, which plain GCM
//! allows (Len, Grubbs, Ristenpart: Partitioning Oracle Attacks, 2021).

use aes_gcm::aead::{AeadInOut, KeyInit, inout::InOutBuf};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::model::SecretBytes;

use super::{Context, CryptoError, Key, Random, hkdf_expand};

const SUITE: u8 = 1;
const SALT_BYTES: usize = 32;
const COMMITMENT_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + SALT_BYTES + COMMITMENT_BYTES;
/// By how much a ciphertext is longer than its plaintext.
pub const OVERHEAD_BYTES: usize = HEAD_BYTES + TAG_BYTES;
const NONCE: [u8; 12] = [0; 12];

/// The key of one ciphertext, and the commitment to the key that it was derived from.
struct Derived(Zeroizing<[u8; 64]>);

impl Derived {
    fn new(key: &Key, info: &[u8], salt: &[u8]) -> Self {
        let mut okm = Zeroizing::new([0; 64]);
        hkdf_expand(key.expose(), &[info, salt], &mut okm);
        Self(okm)
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new_from_slice(&self.0[..32]).expect("the key has 32 bytes")
    }

    fn commitment(&self) -> &[u8] {
        &self.0[32..]
    }
}

/// Encrypts `plaintext` (at most 2^32 bytes) for this context. The result is [`OVERHEAD_BYTES`] longer.
///
/// # Errors
/// The generator failed, or the plaintext is too long; then nothing was encrypted.
pub fn encrypt(key: &Key, context: &Context<'_>, plaintext: &[u8], random: &dyn Random) -> Result<Vec<u8>, CryptoError> {
    let mut out = vec![0; OVERHEAD_BYTES + plaintext.len()];
    let (head, body) = out.split_at_mut(HEAD_BYTES);
    let (text, tag) = body.split_at_mut(plaintext.len());
    head[0] = SUITE;
    random.fill(&mut head[1..=SALT_BYTES])?;
    let info = context.info();
    let derived = Derived::new(key, &info, &head[1..=SALT_BYTES]);
    head[1 + SALT_BYTES..].copy_from_slice(derived.commitment());
    // Read from the plaintext, write to the result: it never lies there in the clear.
    let text = InOutBuf::new(plaintext, text).map_err(|_| CryptoError::TooLong)?;
    let made = derived.cipher().encrypt_inout_detached(&Nonce::from(NONCE), &info, text).map_err(|_| CryptoError::TooLong)?;
    tag.copy_from_slice(&made);
    Ok(out)
}

/// Decrypts what [`encrypt`] made under the same key for the same context.
///
/// # Errors
/// [`CryptoError::Refused`], for whatever is wrong with it; nothing of the plaintext is kept.
pub fn decrypt(key: &Key, context: &Context<'_>, ciphertext: &[u8]) -> Result<SecretBytes, CryptoError> {
    if ciphertext.len() < OVERHEAD_BYTES || ciphertext[0] != SUITE {
        return Err(CryptoError::Refused);
    }
    let (head, body) = ciphertext.split_at(HEAD_BYTES);
    let (text, tag) = body.split_at(body.len() - TAG_BYTES);
    let info = context.info();
    let derived = Derived::new(key, &info, &head[1..=SALT_BYTES]);
    if !bool::from(derived.commitment().ct_eq(&head[1 + SALT_BYTES..])) {
        return Err(CryptoError::Refused);
    }
    let tag = Tag::try_from(tag).map_err(|_| CryptoError::Refused)?;
    let mut plaintext = Zeroizing::new(vec![0; text.len()]);
    let buffer = InOutBuf::new(text, &mut plaintext).map_err(|_| CryptoError::Refused)?;
    derived.cipher().decrypt_inout_detached(&Nonce::from(NONCE), &info, buffer, &tag).map_err(|_| CryptoError::Refused)?;
    Ok(SecretBytes::new(std::mem::take(&mut *plaintext)))
}
