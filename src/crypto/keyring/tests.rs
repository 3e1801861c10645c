//! The life of a key version, and the record's one form.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::crypto::testing::{BrokenRandom, CountingRandom, each_flipped_bit};
use crate::crypto::{decrypt, encrypt};

const VAULT: VaultId = VaultId::from_bytes([1; 16]);
const NAMESPACE: NamespaceId = NamespaceId::from_bytes([2; 16]);

fn now() -> Timestamp {
    Timestamp::parse("2026-11-24T08:00:00Z").expect("valid")
}

fn system() -> Key {
    Key::from_bytes(&mut [3; 32])
}

fn keyring() -> (Keyring, CountingRandom) {
    let random = CountingRandom::new("keyring");
    (Keyring::create(VAULT, NAMESPACE, &system(), &random, now()).expect("it counts"), random)
}

/// Version 1 in the state asked for, version 2 active.
fn with_first_in(state: KeyState) -> Keyring {
    let (keyring, random) = keyring();
    let mut keyring = keyring.rotate(&system(), &random, now()).expect("it counts");
    for step in [KeyState::Disabled, KeyState::Scheduled(now()), KeyState::Destroyed] {
        if keyring.inventory().next().map(|first| first.state) == Some(state) {
            break;
        }
        keyring = keyring.with_state(1, step, &system()).expect("a step along the line");
    }
    keyring
}

fn decode(record: &[u8]) -> Result<Keyring, CryptoError> {
    Keyring::decode(VAULT, NAMESPACE, &system(), record)
}

#[test]
fn rotation_makes_a_new_key_and_keeps_the_old_for_reading() {
    let (before, random) = keyring();
    let after = before.rotate(&system(), &random, now().plus(Duration::from_secs(1))).expect("it counts");
    assert_eq!((before.active().0, after.active().0), (1, 2));
    assert_ne!(before.active().1.expose(), after.active().1.expose());
    assert_eq!(after.for_decrypt(1).expect("decrypt-only").expose(), before.active().1.expose());
    assert_eq!(after.for_decrypt(2).expect("active").expose(), after.active().1.expose());
    assert_eq!(before.for_decrypt(2).err(), Some(CryptoError::NoSuchKey(2)), "a snapshot does not change");
    let states: Vec<_> = after.inventory().map(|info| (info.version, info.state)).collect();
    assert_eq!(states, [(1, KeyState::DecryptOnly), (2, KeyState::Active)]);
}

#[test]
fn a_key_out_of_service_decrypts_nothing_and_is_not_in_memory() {
    for state in [KeyState::Disabled, KeyState::Scheduled(now()), KeyState::Destroyed] {
        let keyring = with_first_in(state);
        for keyring in [decode(&keyring.encode()).expect("encoded above"), keyring] {
            assert_eq!(keyring.for_decrypt(1).err(), Some(CryptoError::KeyOutOfService(1)), "{state:?}");
            assert!(keyring.versions[0].key.is_none());
            assert_eq!(keyring.versions[0].wrapped.is_none(), state == KeyState::Destroyed);
        }
    }
}

#[test]
fn states_go_one_step_at_a_time() {
    use KeyState::{Active, DecryptOnly, Destroyed, Disabled, Scheduled};
    let allowed = [
        (DecryptOnly, Disabled),
        (Disabled, DecryptOnly),
        (Disabled, Scheduled(now())),
        (Scheduled(now()), Disabled),
        (Scheduled(now()), Destroyed),
    ];
    for from in [DecryptOnly, Disabled, Scheduled(now()), Destroyed] {
        for to in [Active, DecryptOnly, Disabled, Scheduled(now()), Destroyed] {
            let outcome = with_first_in(from).with_state(1, to, &system());
            assert_eq!(outcome.is_ok(), allowed.contains(&(from, to)), "{from:?} to {to:?}");
        }
    }
    let (keyring, _) = keyring();
    for to in [DecryptOnly, Disabled, Destroyed] {
        assert_eq!(keyring.with_state(1, to, &system()).err(), Some(CryptoError::WrongTransition(1)), "the active key stays");
    }
    let back = with_first_in(Disabled).with_state(1, DecryptOnly, &system()).expect("disabled keys come back");
    assert_eq!(back.for_decrypt(1).expect("in service again").expose(), keyring.active().1.expose());
}

#[test]
fn live_versions_are_bounded_and_destroyed_ones_forgotten() {
    let (mut keyring, random) = keyring();
    for version in 1..=limits::KEY_VERSIONS as u32 - 1 {
        keyring = keyring.rotate(&system(), &random, now()).expect("below the bound");
        assert_eq!(keyring.active().0, version + 1);
    }
    assert_eq!(keyring.rotate(&system(), &random, now()).err(), Some(CryptoError::TooManyKeys));
    let destroyed = |number| {
        let info = KeyInfo { version: number, state: KeyState::Destroyed, created: now() };
        Version { info, wrapped: None, key: None }
    };
    let mut versions: Vec<_> = (1..=REMEMBERED as u32 + 1).map(destroyed).collect();
    forget_oldest_destroyed(&mut versions);
    assert_eq!((versions.len(), versions[0].info.version), (REMEMBERED, 2));
}

#[test]
fn the_record_gives_the_keyring_back() {
    for state in [KeyState::DecryptOnly, KeyState::Disabled, KeyState::Scheduled(now()), KeyState::Destroyed] {
        let keyring = with_first_in(state);
        let again = decode(&keyring.encode()).expect("encoded above");
        assert_eq!(again.encode(), keyring.encode());
        assert!(again.inventory().eq(keyring.inventory()));
        assert_eq!(again.active().1.expose(), keyring.active().1.expose());
        assert_eq!(again.index_key().head_key(NAMESPACE, &["a"]), keyring.index_key().head_key(NAMESPACE, &["a"]));
    }
}

#[test]
fn keys_belong_to_their_namespace_vault_and_system_key() {
    let record = keyring().0.encode();
    let other = NamespaceId::from_bytes([9; 16]);
    assert!(Keyring::decode(VAULT, other, &system(), &record).is_err());
    assert!(Keyring::decode(VaultId::from_bytes([9; 16]), NAMESPACE, &system(), &record).is_err());
    assert!(Keyring::decode(VAULT, NAMESPACE, &Key::from_bytes(&mut [9; 32]), &record).is_err());
}

// immune: row-38
#[test]
fn every_flipped_bit_of_the_stored_row_is_refused() {
    let context = Context::Row { vault: VAULT, key: b"k\x02" };
    let row = encrypt(&system(), &context, &keyring().0.encode(), &CountingRandom::new("row")).expect("it counts");
    assert!(decode(decrypt(&system(), &context, &row).expect("encrypted above").expose()).is_ok());
    for changed in each_flipped_bit(&row) {
        assert!(decrypt(&system(), &context, &changed).is_err());
    }
}

#[test]
fn a_record_has_one_form() {
    let keyring = with_first_in(KeyState::Scheduled(now()));
    let record = keyring.encode();
    for length in 0..record.len() {
        assert!(matches!(decode(&record[..length]), Err(CryptoError::Malformed(_))), "cut at {length}");
    }
    assert!(decode(&[&record[..], &[0]].concat()).is_err());
    for changed in each_flipped_bit(&record) {
        if let Ok(accepted) = decode(&changed) {
            assert_eq!(accepted.encode(), changed, "what is accepted is what is written");
        }
    }
}

#[test]
fn numbers_ascend_and_the_newest_alone_is_active() {
    let keyring = with_first_in(KeyState::DecryptOnly);
    let changed = |change: fn(&mut Vec<Version>)| {
        let mut versions = keyring.versions.clone();
        change(&mut versions);
        matches!(decode(&record::encode(&keyring.index, &versions)), Err(CryptoError::Malformed(_)))
    };
    assert!(!changed(|_| {}), "unchanged it is read");
    assert!(changed(Vec::clear), "no version");
    assert!(changed(|versions| versions.truncate(1)), "none active");
    assert!(changed(|versions| versions[0].info.state = KeyState::Active), "two active");
    assert!(changed(|versions| versions[0].info.version = 2), "one number twice");
    assert!(changed(|versions| versions[0].info.version = 3), "descending");
}

// immune: row-35
#[test]
fn without_randomness_there_is_no_new_key() {
    let (keyring, _) = keyring();
    for calls in 0..4 {
        assert!(Keyring::create(VAULT, NAMESPACE, &system(), &BrokenRandom::after(calls), now()).is_err());
    }
    for calls in 0..2 {
        assert!(keyring.rotate(&system(), &BrokenRandom::after(calls), now()).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_bring_the_decoder_down(bytes in proptest::collection::vec(any::<u8>(), 0..600), at in 0..600_usize) {
        let mut record = with_first_in(KeyState::Destroyed).encode();
        let at = at.min(record.len());
        record.splice(at.., bytes);
        let _ = decode(&record);
    }
}
