//! Ceremonies, and headers that nobody who has opened a slot has made.

use super::*;
use crate::crypto::testing::{BrokenRandom, CountingRandom, each_flipped_bit};
use crate::model::{SecretBytes, VaultId};
use crate::seal::{Added, SlotKind};

const VAULT: VaultId = VaultId::from_bytes([1; 16]);
const COST: Argon2Parameters = Argon2Parameters::for_throwaway();
const FIRST: &str = "the first custodian's own words";
const SECOND: &str = "the second custodian's own words";
/// Where the slots begin: after format, vault, epoch, created and their number.
const SLOTS: usize = 34;
/// Bytes of a passphrase slot and of a quorum slot.
const SLOT_BYTES: [usize; 2] = [184, 142];

fn now() -> Timestamp {
    Timestamp::parse("2026-11-24T08:00:00Z").expect("valid")
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::parse(&SecretBytes::new(text.into())).expect("long enough")
}

fn size() -> QuorumSize {
    QuorumSize::new(2, 3).expect("within the bounds")
}

fn create(random: &dyn Random) -> (Header, OpenSlot, Key) {
    let (header, system) = Header::create(VAULT, &passphrase(FIRST), COST, random, now()).expect("it counts");
    let open = header.open(&passphrase(FIRST)).expect("its own");
    (header, open, system)
}

/// The header as the store would give it back.
fn stored(header: &Header) -> Header {
    Header::decode(&header.encode()).expect("encoded above")
}

fn open_quorum(header: &Header, shares: &[Share]) -> Result<OpenSlot, SealError> {
    let mut quorum = header.quorum_of(&shares[0])?;
    for share in shares {
        let share = Share::parse(&share.to_text()).expect("a share");
        if let Added::Open(open) = quorum.add(header, share)? {
            return Ok(open);
        }
    }
    panic!("two shares are enough")
}

fn ids(header: &Header) -> Vec<SlotId> {
    header.slots().map(|slot| slot.id).collect()
}

fn key_of(header: &Header, open: Result<OpenSlot, SealError>) -> Result<[u8; 32], SealError> {
    Ok(*header.system_key(&open?)?.expose())
}

/// Another handle on the same slot, without Argon2id's delay.
fn again(open: &OpenSlot) -> OpenSlot {
    let copy = |key: &Key| Key::from_bytes(&mut key.expose().clone());
    OpenSlot { id: open.id, secret: copy(&open.secret), root: copy(&open.root) }
}

/// Three slots (passphrase, passphrase, quorum), the first two open, and the shares of the third.
fn three_slots(random: &dyn Random) -> (Header, [OpenSlot; 2], Vec<Share>, Key) {
    let (header, first, system) = create(random);
    let (header, second_id) = header.with_passphrase(&first, &passphrase(SECOND), COST, random, now()).expect("it counts");
    let second = header.open_slot(second_id, &passphrase(SECOND)).expect("its own");
    let (header, _, shares) = header.with_quorum(&first, size(), random, now()).expect("it counts");
    (header, [first, second], shares, system)
}

#[test]
fn every_slot_that_was_added_opens() {
    let (header, [first, second], shares, system) = three_slots(&CountingRandom::new("add"));
    let header = stored(&header);
    assert_eq!(
        header.slots().map(|slot| slot.kind).collect::<Vec<_>>(),
        [SlotKind::Passphrase(COST), SlotKind::Passphrase(COST), SlotKind::Quorum(size())]
    );
    assert_eq!(ids(&header)[..2], [first.id(), second.id()]);
    for text in [FIRST, SECOND] {
        assert_eq!(header.unseal(&passphrase(text)).expect("a slot's own").expose(), system.expose());
    }
    assert_eq!(key_of(&header, open_quorum(&header, &shares[1..])), Ok(*system.expose()));
}

#[test]
fn a_named_slot_is_proved_by_its_own_passphrase_alone() {
    let (header, [first, second], ..) = three_slots(&CountingRandom::new("prove"));
    assert_eq!(header.open_slot(second.id(), &passphrase(SECOND)).expect("its own").id(), second.id());
    assert_eq!(header.open_slot(first.id(), &passphrase(SECOND)).err(), Some(SealError::NoSlotOpens));
    let absent = SlotId::from_bytes([9; 16]);
    assert_eq!(header.open_slot(absent, &passphrase(FIRST)).err(), Some(SealError::NoSuchSlot(absent)));
}

#[test]
fn there_are_eight_slots_at_most() {
    let random = CountingRandom::new("eight");
    let (mut header, open, system) = create(&random);
    for _ in 1..8 {
        header = header.with_quorum(&open, size(), &random, now()).expect("room for it").0;
    }
    let full = stored(&header);
    assert_eq!((full.slots().count(), key_of(&full, Ok(again(&open)))), (8, Ok(*system.expose())));
    assert_eq!(full.with_quorum(&open, size(), &random, now()).err(), Some(SealError::TooManySlots));
    assert_eq!(full.with_passphrase(&open, &passphrase(SECOND), COST, &random, now()).err(), Some(SealError::TooManySlots));
    let fewer = full.without_slot(&open, ids(&full)[7]).expect("others are left");
    assert!(fewer.with_quorum(&open, size(), &random, now()).is_ok());
}

#[test]
fn a_removed_slot_opens_nothing_and_the_last_one_stays() {
    let (header, [first, second], shares, system) = three_slots(&CountingRandom::new("remove"));
    let header = stored(&header.without_slot(&second, first.id()).expect("others are left"));
    assert_eq!(header.unseal(&passphrase(FIRST)).err(), Some(SealError::NoSlotOpens));
    assert_eq!(header.without_slot(&second, first.id()).err(), Some(SealError::NoSuchSlot(first.id())));
    let header = stored(&header.without_slot(&second, second.id()).expect("one may remove the slot that one has opened"));
    assert_eq!(header.unseal(&passphrase(SECOND)).err(), Some(SealError::NoSlotOpens));
    let open = open_quorum(&header, &shares).expect("two of three");
    assert_eq!(header.system_key(&open).expect("its own").expose(), system.expose());
    assert_eq!(header.without_slot(&open, open.id()).err(), Some(SealError::LastSlot));
}

#[test]
fn a_new_root_keeps_the_opened_slots_and_the_system_key() {
    let random = CountingRandom::new("root");
    let (header, [first, second], shares, system) = three_slots(&random);
    let third = open_quorum(&header, &shares).expect("two of three");
    let new = stored(&header.with_new_root(&[again(&third), again(&first)], &[second.id()], &random).expect("each is accounted for"));
    assert_eq!((ids(&new), new.epoch(), new.created()), (vec![first.id(), third.id()], 1, header.created()));
    assert_eq!(new.unseal(&passphrase(FIRST)).expect("taken along").expose(), system.expose());
    assert_eq!(key_of(&new, open_quorum(&new, &shares[1..])), Ok(*system.expose()));
    assert_eq!(new.unseal(&passphrase(SECOND)).err(), Some(SealError::NoSlotOpens));
    let of_now = new.open(&passphrase(FIRST)).expect("taken along");
    assert_ne!(of_now.root.expose(), first.root.expose());
    for old in [&first, &second, &third] {
        assert_eq!(new.system_key(old).err(), Some(SealError::Tampered), "the old root key opens nothing new");
        assert_eq!(new.without_slot(old, first.id()).err(), Some(SealError::Tampered));
        assert_eq!(new.with_quorum(old, size(), &random, now()).err(), Some(SealError::Tampered));
        assert_eq!(new.with_passphrase(old, &passphrase(SECOND), COST, &random, now()).err(), Some(SealError::Tampered));
        assert_eq!(new.with_new_system_key(old, &random).err(), Some(SealError::Tampered));
        assert_eq!(new.with_new_root(&[again(old)], &[], &random).err(), Some(SealError::Tampered));
    }
    let mixed = [again(&of_now), again(&third)];
    assert_eq!(new.with_new_root(&mixed, &[], &random).err(), Some(SealError::Tampered), "each opened slot must be of this root");
}

#[test]
fn a_new_root_loses_no_slot_by_oversight() {
    let random = CountingRandom::new("oversight");
    let (header, [first, second], _, _) = three_slots(&random);
    let third = ids(&header)[2];
    let with = |opened: &[&OpenSlot], dropped: &[SlotId]| {
        let opened: Vec<_> = opened.iter().map(|open| again(open)).collect();
        header.with_new_root(&opened, dropped, &random).map(|header| ids(&header))
    };
    let absent = SlotId::from_bytes([9; 16]);
    assert_eq!(with(&[], &[first.id(), second.id(), third]), Err(SealError::LastSlot));
    assert_eq!(with(&[&first], &[]), Err(SealError::SlotUnaccounted(second.id())));
    assert_eq!(with(&[&first, &second], &[]), Err(SealError::SlotUnaccounted(third)));
    assert_eq!(with(&[&first, &second], &[third, second.id()]), Err(SealError::SlotNamedTwice(second.id())));
    assert_eq!(with(&[&first, &second], &[third, third]), Err(SealError::SlotNamedTwice(third)));
    assert_eq!(with(&[&first, &first, &second], &[third]), Err(SealError::SlotNamedTwice(first.id())));
    assert_eq!(with(&[&first, &second], &[third, absent]), Err(SealError::NoSuchSlot(absent)));
    assert_eq!(with(&[&first], &[second.id(), third]), Ok(vec![first.id()]));
    assert_eq!(with(&[&second, &first], &[third]), Ok(vec![first.id(), second.id()]), "in the order that they had");
}

#[test]
fn a_new_system_key_is_the_next_epochs_and_the_old_one_comes_back() {
    let random = CountingRandom::new("system");
    let (header, [first, second], shares, system) = three_slots(&random);
    let ReplacedSystemKey { header: new, old, new: key } = header.with_new_system_key(&first, &random).expect("it counts");
    let new = stored(&new);
    assert_eq!((old.expose() == system.expose(), key.expose() == system.expose(), new.epoch()), (true, false, 2));
    assert_eq!(ids(&new), ids(&header));
    assert_eq!(new.unseal(&passphrase(SECOND)).expect("a slot's own").expose(), key.expose());
    assert_eq!(key_of(&new, open_quorum(&new, &shares)), Ok(*key.expose()));
    let both = new.with_new_root(&[first, second], &[ids(&header)[2]], &random).expect("what was opened before goes on");
    assert_eq!((both.epoch(), *both.unseal(&passphrase(FIRST)).expect("taken along").expose()), (2, *key.expose()));
    assert!(
        format!("{:?}", header.with_new_system_key(&header.open(&passphrase(FIRST)).expect("its own"), &random)).contains("old: Key(..)")
    );
}

#[test]
fn there_is_no_epoch_after_the_last() {
    let random = CountingRandom::new("epochs");
    let (mut header, open, _) = create(&random);
    header.epoch = u64::MAX;
    header.wrapped_system =
        wrap_key(&open.root, &Context::System { vault: VAULT, epoch: u64::MAX }, &open.secret, &random).expect("it counts");
    let header = header.authenticated_by(&open.root);
    assert!(matches!(header.with_new_system_key(&open, &random), Err(SealError::Malformed(_))));
}

/// Each ceremony on a header, by who has opened its first slot.
fn ceremonies(header: &Header, open: &OpenSlot, random: &dyn Random) -> [Result<Header, SealError>; 5] {
    let others: Vec<_> = ids(header).into_iter().filter(|id| *id != open.id).collect();
    [
        header.with_passphrase(open, &passphrase(SECOND), COST, random, now()).map(|(header, _)| header),
        header.with_quorum(open, size(), random, now()).map(|(header, ..)| header),
        header.without_slot(open, *others.last().expect("more than one")),
        header.with_new_root(&[again(open)], &others, random),
        header.with_new_system_key(open, random).map(|replaced| replaced.header),
    ]
}

// immune: row-38
#[test]
fn no_ceremony_authenticates_a_changed_byte() {
    let (header, [first, _], ..) = three_slots(&CountingRandom::new("flip"));
    ceremonies(&header, &first, &CountingRandom::new("more")).into_iter().for_each(|made| assert!(made.is_ok(), "{made:?}"));
    let broken = BrokenRandom::after(0); // refused before a random byte is asked for, and before Argon2id runs
    let mut refused = 0;
    for changed in each_flipped_bit(&header.encode()) {
        let Ok(changed) = Header::decode(&changed) else { continue };
        assert!(changed.system_key(&first).is_err());
        for outcome in ceremonies(&changed, &first, &broken) {
            assert_eq!(outcome.err(), Some(SealError::Tampered));
            refused += 1;
        }
    }
    assert!(refused > 5 * 8 * (2 * 184 + 142 - 40), "{refused}");
}

// immune: row-38
#[test]
fn slots_are_neither_reordered_nor_put_back() {
    let random = CountingRandom::new("put back");
    let (header, [first, second], shares, _) = three_slots(&random);
    let encoded = header.encode();
    let slot = |at: usize| &encoded[SLOTS + at * SLOT_BYTES[0]..SLOTS + at * SLOT_BYTES[0] + SLOT_BYTES[usize::from(at == 2)]];
    let rest = &encoded[SLOTS + 2 * SLOT_BYTES[0] + SLOT_BYTES[1]..];
    let with_slots = |slots: &[&[u8]], count: u8, rest: &[u8]| {
        Header::decode(&[&encoded[..SLOTS - 1], &[count], &slots.concat(), rest].concat()).expect("its form is right")
    };
    assert!(with_slots(&[slot(0), slot(1), slot(2)], 3, rest).unseal(&passphrase(FIRST)).is_ok(), "taken apart where slots begin");
    for slots in [[1, 0, 2], [0, 2, 1], [2, 1, 0], [0, 0, 2]] {
        let header = with_slots(&slots.map(slot), 3, rest);
        assert_eq!(header.open(&passphrase(FIRST)).err().or(header.system_key(&first).err()), Some(SealError::Tampered), "{slots:?}");
        assert_eq!(open_quorum(&header, &shares).err(), Some(SealError::Tampered));
    }
    for kept in 0..3 {
        assert_eq!(with_slots(&[slot(kept)], 1, rest).system_key(&first).err(), Some(SealError::Tampered), "only {kept} is left");
    }
    // The second custodian's slot is removed; then somebody puts it back into the header of now.
    let removed = header.without_slot(&first, second.id()).expect("others are left").encode();
    let rest = &removed[SLOTS + SLOT_BYTES[0] + SLOT_BYTES[1]..];
    let put_back = with_slots(&[slot(0), slot(1), slot(2)], 3, rest);
    assert_eq!(put_back.unseal(&passphrase(SECOND)).err(), Some(SealError::Tampered));
    assert_eq!(put_back.unseal(&passphrase(FIRST)).err(), Some(SealError::Tampered));
    // The same after the root key was replaced: it does not even lead to the root key of now.
    let replaced = header.with_new_root(&[first], &[second.id(), ids(&header)[2]], &random).expect("accounted for").encode();
    let (kept, rest) = replaced[SLOTS..].split_at(SLOT_BYTES[0]);
    let put_back = with_slots(&[kept, slot(1)], 2, rest);
    assert_eq!(put_back.unseal(&passphrase(SECOND)).err(), Some(SealError::Tampered));
    assert_eq!(put_back.unseal(&passphrase(FIRST)).err(), Some(SealError::Tampered));
}

// immune: row-35
#[test]
fn without_randomness_no_ceremony_changes_anything() {
    let (header, [first, second], ..) = three_slots(&CountingRandom::new("broken"));
    let dropped = [ids(&header)[2]];
    let opened = [first, second];
    let before = header.encode();
    let fails_until = |calls: u64, ceremony: &dyn Fn(&dyn Random) -> Result<(), SealError>| {
        for after in 0..calls {
            let outcome = ceremony(&BrokenRandom::after(after));
            assert!(matches!(outcome, Err(SealError::Random(_))), "after {after} of {calls} calls: {outcome:?}");
        }
        assert_eq!(ceremony(&BrokenRandom::after(calls)), Ok(()));
    };
    // Id, salt, wrapping. Id, secret, coefficients, wrapping. Root, two slots, system key. Key, wrapping.
    fails_until(3, &|random| header.with_passphrase(&opened[0], &passphrase(FIRST), COST, random, now()).map(drop));
    fails_until(4, &|random| header.with_quorum(&opened[0], size(), random, now()).map(drop));
    fails_until(4, &|random| header.with_new_root(&opened, &dropped, random).map(drop));
    fails_until(2, &|random| header.with_new_system_key(&opened[0], random).map(drop));
    assert_eq!(header.encode(), before);
}
