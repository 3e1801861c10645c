//! One small function for each primitive: its formula, its standard, its precondition.

use ring::{digest, hkdf, hmac};

/// HKDF-Expand with SHA-256 (RFC 5869, section 2.3), without Extract: `key` must be uniform (section 3.3), as every key
/// here is. `out` has at most 255 × 32 bytes.
pub fn hkdf_expand<const N: usize>(key: &[u8; 32], info: &[&[u8]], out: &mut [u8; N]) {
    const { assert!(N <= 255 * 32, "RFC 5869 ends there") };
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let derived = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, key);
    let okm = derived.expand(info, Length(N)).expect("the length was checked when this was compiled");
    okm.fill(out).expect("the length is the one just asked for");
}

/// HMAC-SHA-256 (RFC 2104, FIPS 198-1).
#[must_use]
pub fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    context.sign().as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes")
}

/// Whether `tag` is the HMAC-SHA-256 of `message`; compared in constant time.
#[must_use]
pub fn verify_hmac_sha256(key: &[u8; 32], message: &[u8], tag: &[u8]) -> bool {
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), message, tag).is_ok()
}

/// SHA-256 (FIPS 180-4).
#[must_use]
pub fn sha256(message: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, message).as_ref().try_into().expect("SHA-256 gives 32 bytes")
}
