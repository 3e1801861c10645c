//! Shares that open a slot, and those that do not.

use serde_json::json;

use super::*;
use crate::crypto::testing::{CountingRandom, bytes, each_flipped_bit, frozen};
use crate::crypto::{Key, Point, Random};
use crate::model::{SecretBytes, Timestamp};
use crate::seal::{Argon2Parameters, Passphrase, SlotKind};

const VAULT: VaultId = VaultId::from_bytes([1; 16]);
const PASSPHRASE: &str = "correct horse battery staple";

fn size(threshold: u8, shares: u8) -> QuorumSize {
    QuorumSize::new(threshold, shares).expect("within the bounds")
}

fn now() -> Timestamp {
    Timestamp::parse("2026-11-24T08:00:00Z").expect("valid")
}

fn passphrase() -> Passphrase {
    Passphrase::parse(&SecretBytes::new(PASSPHRASE.into())).expect("long enough")
}

/// A vault with a passphrase slot and a quorum slot, its system key, and the texts of the shares.
struct Fixture {
    header: Header,
    slot: SlotId,
    system: [u8; 32],
    texts: Vec<String>,
}

fn fixture_of(vault: VaultId, size: QuorumSize, random: &dyn Random) -> Fixture {
    let (header, system) = Header::create(vault, &passphrase(), Argon2Parameters::for_throwaway(), random, now()).expect("it counts");
    let open = header.open(&passphrase()).expect("its own");
    let (header, slot, shares) = header.with_quorum(&open, size, random, now()).expect("it counts");
    let texts = shares.iter().map(|share| String::from_utf8(share.to_text().into_exposed()).expect("text")).collect();
    Fixture { header, slot, system: *system.expose(), texts }
}

fn fixture(size: QuorumSize) -> Fixture {
    fixture_of(VAULT, size, &CountingRandom::new("quorum"))
}

impl Fixture {
    /// The share of this number.
    fn share(&self, number: usize) -> Share {
        Share::parse(&SecretBytes::new(self.texts[number - 1].clone().into_bytes())).expect("a share")
    }

    /// The share of this number with another value, which its own checksum calls right.
    fn wrong(&self, number: usize) -> Share {
        let (index, value) = (u8::try_from(number).expect("16 at most"), Key::from_bytes(&mut [9; 32]));
        Share::new(VAULT, self.slot, Point { index, value })
    }

    fn quorum(&self) -> Quorum {
        self.header.quorum(self.slot).expect("it is there")
    }

    /// What comes of these shares, one after the other.
    fn add_all(&self, header: &Header, numbers: impl IntoIterator<Item = usize>) -> Result<Added, SealError> {
        let mut quorum = self.quorum();
        let mut last = Ok(Added::Waiting);
        for number in numbers {
            assert!(matches!(last, Ok(Added::Waiting)), "{last:?}");
            last = quorum.add(header, self.share(number));
        }
        last
    }
}

fn system_key(header: &Header, added: Result<Added, SealError>) -> Result<[u8; 32], SealError> {
    match added? {
        Added::Open(open) => header.system_key(&open).map(|key| *key.expose()),
        other => panic!("{other:?}"),
    }
}

// immune: row-34
#[test]
fn every_quorum_opens_the_slot_and_nothing_smaller_does() {
    let fixture = fixture(size(3, 5));
    let header = Header::decode(&fixture.header.encode()).expect("encoded above");
    for subset in 0..1_u32 << 5 {
        let numbers = (1..=5).filter(|number| subset >> (number - 1) & 1 == 1);
        match subset.count_ones() {
            0..=2 => assert!(matches!(fixture.add_all(&header, numbers), Ok(Added::Waiting)), "{subset:b}"),
            3 => assert_eq!(system_key(&header, fixture.add_all(&header, numbers)), Ok(fixture.system), "{subset:b}"),
            _ => {}
        }
    }
    assert_eq!(system_key(&header, fixture.add_all(&header, [5, 1, 3])), Ok(fixture.system), "in any order");
    assert_eq!(header.unseal(&passphrase()).expect("the other slot").expose(), &fixture.system);
}

#[test]
fn it_tells_how_many_are_there_and_begins_afresh_when_it_has_opened() {
    let fixture = fixture(size(2, 3));
    let mut quorum = fixture.quorum();
    assert_eq!((quorum.present(), quorum.size().threshold(), quorum.size().shares(), quorum.slot()), (0, 2, 3, fixture.slot));
    for _ in 0..2 {
        assert!(matches!(quorum.add(&fixture.header, fixture.share(3)), Ok(Added::Waiting)));
        assert_eq!(quorum.present(), 1);
        let Ok(Added::Open(open)) = quorum.add(&fixture.header, fixture.share(1)) else { panic!("two of three") };
        assert_eq!((open.id(), quorum.present()), (fixture.slot, 0));
        assert!(!format!("{open:?} {quorum:?}").contains(&hex::encode(&open.secret.expose()[..4])));
        assert_eq!(format!("{open:?}"), format!("OpenSlot {{ id: {:?}, secret: Key(..), root: Key(..) }}", fixture.slot));
    }
    assert!(matches!(quorum.add(&fixture.header, fixture.share(2)), Ok(Added::Waiting)));
    quorum.forget();
    assert_eq!(quorum.present(), 0);
}

#[test]
fn a_share_twice_is_harmless_and_another_value_is_told() {
    let fixture = fixture(size(2, 3));
    let mut quorum = fixture.quorum();
    assert!(matches!(quorum.add(&fixture.header, fixture.share(1)), Ok(Added::Waiting)));
    for _ in 0..3 {
        assert!(matches!(quorum.add(&fixture.header, fixture.share(1)), Ok(Added::Repeated)));
        let other = quorum.add(&fixture.header, fixture.wrong(1));
        assert_eq!(other.err(), Some(SealError::Share(ShareError::OtherValue(1))));
        assert_eq!(quorum.present(), 1);
    }
    let opened = quorum.add(&fixture.header, fixture.share(2));
    assert_eq!(system_key(&fixture.header, opened), Ok(fixture.system), "the share that was first is still the one that counts");
}

// immune: row-31
#[test]
fn shares_from_elsewhere_in_a_loop_do_not_stop_the_collection() {
    let ours = fixture(size(3, 5));
    let open = ours.header.open(&passphrase()).expect("its own");
    let random = CountingRandom::new("second slot");
    let (header, _, second_slot) = ours.header.with_quorum(&open, size(2, 2), &random, now()).expect("it counts");
    let other_vault = fixture_of(VaultId::from_bytes([2; 16]), size(3, 5), &CountingRandom::new("quorum"));
    let mut quorum = ours.quorum();
    for (present, number) in [(0, 1), (1, 4), (2, 2)] {
        for _ in 0..100 {
            let refused = quorum.add(&header, other_vault.share(number)).err();
            assert_eq!(refused, Some(SealError::Share(ShareError::OtherVault)));
            for share in &second_slot {
                let share = Share::parse(&share.to_text()).expect("a share");
                assert_eq!(quorum.add(&header, share).err(), Some(SealError::Share(ShareError::OtherSlot)));
            }
            for number in 6..=16 {
                let refused = quorum.add(&header, ours.wrong(number)).err();
                assert_eq!(refused, Some(SealError::Share(ShareError::NoSuchIndex(u8::try_from(number).expect("small")))));
            }
            assert_eq!(quorum.present(), present);
        }
        let added = quorum.add(&header, ours.share(number));
        match number {
            2 => assert_eq!(system_key(&header, added), Ok(ours.system)),
            _ => assert!(matches!(added, Ok(Added::Waiting))),
        }
    }
}

#[test]
fn a_wrong_share_never_gives_a_root_and_everything_is_forgotten() {
    let fixture = fixture(size(3, 5));
    for wrong in 0..3 {
        let mut quorum = fixture.quorum();
        for at in 0..2 {
            let share = if at == wrong { fixture.wrong(at + 1) } else { fixture.share(at + 1) };
            assert!(matches!(quorum.add(&fixture.header, share), Ok(Added::Waiting)), "nothing tells which is right");
        }
        let last = if wrong == 2 { fixture.wrong(3) } else { fixture.share(3) };
        assert_eq!(quorum.add(&fixture.header, last).err(), Some(SealError::QuorumFailed));
        assert_eq!(quorum.present(), 0);
        for number in [1, 2] {
            assert!(matches!(quorum.add(&fixture.header, fixture.share(number)), Ok(Added::Waiting)), "afresh");
        }
        assert_eq!(system_key(&fixture.header, quorum.add(&fixture.header, fixture.share(3))), Ok(fixture.system));
    }
}

#[test]
fn a_passphrase_never_opens_a_quorum_slot() {
    let fixture = fixture(size(2, 2));
    let open = fixture.header.open(&passphrase()).expect("its own");
    let first = open.id();
    let alone = fixture.header.without_slot(&open, first).expect("another is left");
    assert_eq!(alone.unseal(&passphrase()).err(), Some(SealError::NoSlotOpens));
    assert_eq!(alone.open_slot(fixture.slot, &passphrase()).err(), Some(SealError::NoSuchSlot(fixture.slot)));
    assert_eq!(system_key(&alone, fixture.add_all(&alone, [1, 2])), Ok(fixture.system));
    assert_eq!(fixture.header.quorum(first).err(), Some(SealError::NoSuchSlot(first)));
    let kinds: Vec<_> = alone.slots().map(|slot| (slot.kind, slot.kind.word())).collect();
    assert_eq!(kinds, [(SlotKind::Quorum(size(2, 2)), "quorum")]);
}

#[test]
fn the_first_share_tells_the_slot() {
    let fixture = fixture(size(2, 3));
    assert_eq!(fixture.header.quorum_of(&fixture.share(2)).expect("it is there").slot(), fixture.slot);
    let other = fixture_of(VaultId::from_bytes([2; 16]), size(2, 3), &CountingRandom::new("quorum"));
    assert_eq!(fixture.header.quorum_of(&other.share(1)).err(), Some(SealError::Share(ShareError::OtherVault)));
    let second = fixture_of(VAULT, size(2, 3), &CountingRandom::new("another slot"));
    assert_eq!(fixture.header.quorum_of(&second.share(1)).err(), Some(SealError::Share(ShareError::OtherSlot)));
}

#[test]
fn shares_do_not_open_what_the_slot_has_become() {
    let fixture = fixture(size(2, 3));
    let open = fixture.header.open(&passphrase()).expect("its own");
    let gone = fixture.header.without_slot(&open, fixture.slot).expect("another is left");
    assert_eq!(fixture.add_all(&gone, [1, 2]).err(), Some(SealError::NoSuchSlot(fixture.slot)));
    let other_vault = fixture_of(VaultId::from_bytes([2; 16]), size(2, 3), &CountingRandom::new("quorum"));
    assert_eq!(other_vault.slot, fixture.slot, "the same id and secret, in another vault");
    assert_eq!(fixture.add_all(&other_vault.header, [1, 2]).err(), Some(SealError::NoSuchSlot(fixture.slot)));
}

// immune: row-38
#[test]
fn every_flipped_bit_of_the_header_is_refused_with_all_the_shares() {
    let fixture = fixture(size(2, 3));
    let encoded = fixture.header.encode();
    let (mut malformed, mut failed, mut tampered, mut missing) = (0, 0, 0, 0);
    for changed in each_flipped_bit(&encoded) {
        let outcome = Header::decode(&changed).and_then(|header| {
            // Whoever changes the size changes how many shares are collected, too.
            let mut quorum = header.quorum(fixture.slot)?;
            let mut last = Ok(Added::Waiting);
            for number in (1..=3).take(usize::from(quorum.size().threshold())) {
                last = quorum.add(&header, fixture.share(number));
                last.as_ref().map_err(|error| *error)?;
            }
            system_key(&header, last)
        });
        match outcome {
            Err(SealError::Malformed(_)) => malformed += 1,
            Err(SealError::QuorumFailed) => failed += 1,
            Err(SealError::Tampered) => tampered += 1,
            Err(SealError::NoSuchSlot(_) | SealError::Share(_)) => missing += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(
        malformed > 0 && failed > 113 * 8 && tampered > (113 + 32) * 8 && missing >= 16 * 8,
        "{malformed} {failed} {tampered} {missing}"
    );
}

// immune: row-34
#[test]
fn the_size_is_authenticated_with_the_root_key() {
    let fixture = fixture(size(3, 4));
    let encoded = fixture.header.encode();
    let at = encoded.windows(4).rposition(|bytes| bytes == [0, 2, 3, 4]).expect("its parameters") + 2;
    for (threshold, shares) in [(2, 4), (4, 4), (3, 3), (3, 5)] {
        let mut changed = encoded.clone();
        changed[at..at + 2].copy_from_slice(&[threshold, shares]);
        let header = Header::decode(&changed).expect("its form is right");
        let mut quorum = header.quorum(fixture.slot).expect("it is there");
        let last = (1..=usize::from(threshold)).map(|number| quorum.add(&header, fixture.share(number))).last();
        // Not even the slot opens, whatever the header's HMAC would say afterwards.
        assert_eq!(last.expect("some").err(), Some(SealError::QuorumFailed), "{threshold} of {shares}");
    }
}

#[test]
fn a_size_out_of_bounds_is_no_header() {
    let fixture = fixture(size(2, 16));
    let encoded = fixture.header.encode();
    let at = encoded.windows(2).rposition(|bytes| bytes == [2, 16]).expect("its parameters");
    for (threshold, shares, right) in
        [(2, 16, true), (16, 16, true), (2, 2, true), (1, 16, false), (0, 0, false), (2, 17, false), (17, 17, false), (3, 2, false)]
    {
        let mut changed = encoded.clone();
        changed[at..at + 2].copy_from_slice(&[threshold, shares]);
        assert_eq!(Header::decode(&changed).is_ok(), right, "{threshold} of {shares}");
    }
}

#[test]
fn the_format_is_frozen() {
    let fixture = fixture(size(2, 3));
    let made = json!({
        "passphrase": PASSPHRASE, "vault": VAULT.to_string(), "slot": fixture.slot.to_string(), "shares": fixture.texts,
        "system_key": hex::encode(fixture.system), "header": hex::encode(fixture.header.encode()),
    });
    let file = frozen("quorum.json", &made);
    let header = Header::decode(&bytes(&file["header"])).expect("frozen");
    let read =
        |at: usize| Share::parse(&SecretBytes::new(file["shares"][at].as_str().expect("a text").as_bytes().to_vec())).expect("frozen");
    let mut quorum = header.quorum_of(&read(2)).expect("frozen");
    assert!(matches!(quorum.add(&header, read(2)), Ok(Added::Waiting)));
    let opened = quorum.add(&header, read(1));
    assert_eq!(system_key(&header, opened).expect("frozen")[..], bytes(&file["system_key"]));
    assert_eq!(header.unseal(&passphrase()).expect("frozen").expose()[..], bytes(&file["system_key"]));
}
