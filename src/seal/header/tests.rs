//! Headers that open, and those that must not.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::crypto::testing::{BrokenRandom, CountingRandom, bytes, each_flipped_bit, frozen};
use crate::model::SecretBytes;

const VAULT: VaultId = VaultId::from_bytes([1; 16]);
/// Where the first slot's parameters begin, after format, vault, epoch, created, slots, and the slot's id, type, created, length.
const PARAMETERS: usize = 34 + 16 + 1 + 8 + 2;

const PASSPHRASE: &str = "correct horse battery staple";

fn now() -> Timestamp {
    Timestamp::parse("2026-11-24T08:00:00Z").expect("valid")
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::parse(&SecretBytes::new(text.as_bytes().to_vec())).expect("long enough")
}

fn create(random: &dyn Random) -> Result<(Header, Key), SealError> {
    Header::create(VAULT, &passphrase(PASSPHRASE), Argon2Parameters::for_throwaway(), random, now())
}

fn header() -> (Header, Key) {
    create(&CountingRandom::new("header")).expect("it counts")
}

/// The secret that the passphrase leads to in the header's one slot; taken once, since Argon2id is slow by intention.
fn secret_of(header: &Header) -> Key {
    header.slots[0].secret(&passphrase(PASSPHRASE)).expect("19 MiB are to be had").expect("a passphrase slot")
}

/// What the header gives to who has this secret for each slot.
fn unseal_with(header: &Header, secret: &Key) -> Result<Key, SealError> {
    header.system_key(&header.open_with(|_| Ok(Some(copy(secret))))?)
}

fn copy(key: &Key) -> Key {
    Key::from_bytes(&mut key.expose().clone())
}

#[test]
fn the_passphrase_gives_the_system_key_back() {
    let (header, system) = header();
    let again = Header::decode(&header.encode()).expect("encoded above");
    assert_eq!(again.unseal(&passphrase(PASSPHRASE)).expect("the right one").expose(), system.expose());
    assert_eq!((again.vault_id(), again.epoch(), again.created()), (VAULT, 1, now()));
    let slots: Vec<_> = again.slots().collect();
    assert_eq!((slots.len(), slots[0].kind), (1, SlotKind::Passphrase(Argon2Parameters::for_throwaway())));
    assert_eq!(again.encode(), header.encode());
}

#[test]
fn another_passphrase_opens_nothing() {
    let outcome = header().0.unseal(&passphrase("correct horse battery stapler"));
    assert_eq!(outcome.err(), Some(SealError::NoSlotOpens));
}

#[test]
fn each_of_several_slots_opens() {
    let random = CountingRandom::new("slots");
    let (mut header, system) = create(&random).expect("it counts");
    let root = header.slots[0].open(VAULT, &secret_of(&header)).expect("its own secret");
    let second = passphrase("the second custodian's own words");
    let slot = Slot::for_passphrase(VAULT, &root, &second, Argon2Parameters::for_throwaway(), &random, now()).expect("it counts");
    header.slots.push(slot.0);
    assert_eq!(header.unseal(&second).err(), Some(SealError::Tampered), "a slot that the root key has not authenticated");
    header.mac = mac(&root, &header.authenticated_bytes());
    let again = Header::decode(&header.encode()).expect("encoded above");
    for words in [&second, &passphrase(PASSPHRASE)] {
        assert_eq!(again.unseal(words).expect("a slot's own").expose(), system.expose());
    }
}

// immune: row-38
#[test]
fn every_flipped_bit_is_refused_even_with_the_slots_secret() {
    let (header, _) = header();
    let secret = secret_of(&header);
    assert!(unseal_with(&header, &secret).is_ok());
    let (mut malformed, mut no_slot, mut tampered) = (0, 0, 0);
    for changed in each_flipped_bit(&header.encode()) {
        match Header::decode(&changed).and_then(|header| unseal_with(&header, &secret)) {
            Err(SealError::Malformed(_)) => malformed += 1,
            Err(SealError::NoSlotOpens) => no_slot += 1,
            Err(SealError::Tampered) => tampered += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(malformed > 0 && no_slot > 113 * 8 && tampered > (113 + 32) * 8, "{malformed} {no_slot} {tampered}");
}

#[test]
fn parts_of_two_headers_of_one_root_do_not_mix() {
    let (mut header, _) = header();
    let secret = secret_of(&header);
    let root = header.slots[0].open(VAULT, &secret).expect("its own secret");
    let random = CountingRandom::new("old");
    header.wrapped_system =
        wrap_key(&root, &Context::System { vault: VAULT, epoch: 1 }, &Key::generate(&random).expect("it counts"), &random)
            .expect("it counts");
    assert_eq!(unseal_with(&header, &secret).err(), Some(SealError::Tampered), "wrapped by the root, yet not this header's");
}

// immune: row-70
#[test]
fn a_slot_with_another_keys_commitment_is_refused() {
    let (header, _) = header();
    let (encoded, secret) = (header.encode(), secret_of(&header));
    let other = create(&CountingRandom::new("other")).expect("it counts").0.encode();
    let commitment = PARAMETERS + 44 + 1 + 32;
    let mut changed = encoded.clone();
    changed[commitment..commitment + 32].copy_from_slice(&other[commitment..commitment + 32]);
    assert_ne!(changed, encoded);
    let outcome = unseal_with(&Header::decode(&changed).expect("its form is right"), &secret);
    assert_eq!(outcome.err(), Some(SealError::NoSlotOpens));
}

// immune: row-35
#[test]
fn without_randomness_there_is_no_vault() {
    for calls in 0..6 {
        assert_eq!(create(&BrokenRandom::after(calls)).err(), Some(SealError::Random(crate::crypto::RandomFailed)), "after {calls} calls");
    }
    assert!(create(&BrokenRandom::after(6)).is_ok());
}

#[test]
fn no_cut_and_no_added_byte_is_a_header() {
    let encoded = header().0.encode();
    for length in 0..encoded.len() {
        assert!(matches!(Header::decode(&encoded[..length]), Err(SealError::Malformed(_))), "cut at {length}");
    }
    assert!(Header::decode(&[&encoded[..], &[0]].concat()).is_err());
    let mut longer = encoded;
    assert_eq!(longer[PARAMETERS - 2..PARAMETERS], [0, 44]);
    longer[PARAMETERS - 1] += 1;
    longer.insert(PARAMETERS + 44, 0);
    assert!(matches!(Header::decode(&longer), Err(SealError::Malformed(_))), "a byte more in the parameters");
}

#[test]
fn the_format_is_frozen() {
    let (header, system) = header();
    let made = json!({
        "passphrase": PASSPHRASE, "vault": VAULT.to_string(), "system_key": hex::encode(system.expose()), "header": hex::encode(header.encode()),
    });
    let file = frozen("header.json", &made);
    let opened = Header::decode(&bytes(&file["header"])).expect("frozen").unseal(&passphrase(PASSPHRASE)).expect("frozen");
    assert_eq!(opened.expose()[..], bytes(&file["system_key"]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_bring_the_decoder_down(kept in 0..400_usize, rest in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut row = bytes(&json!(HEADER));
        row.truncate(kept);
        row.extend(rest);
        if let Ok(header) = Header::decode(&row) {
            prop_assert_eq!(header.encode(), row);
        }
    }
}

/// The beginning of a header: format, vault, epoch, created, one slot's id, type, created, parameters of 44 bytes.
const HEADER: &str = concat!(
    "01",
    "01010101010101010101010101010101",
    "0000000000000001",
    "0000019d00000000",
    "01",
    "02020202020202020202020202020202",
    "01",
    "0000019d00000000",
    "002c",
    "00004c00",
    "00000002",
    "00000001",
);
