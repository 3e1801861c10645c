//! Shares that are read back, and texts that are none.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::crypto::split_key;
use crate::crypto::testing::{CountingRandom, bytes, each_flipped_bit, frozen};
use crate::memory::bytes_at;

const VAULT: VaultId = VaultId::from_bytes([0x11; 16]);
const SLOT: SlotId = SlotId::from_bytes([0x44; 16]);

fn shares() -> Vec<Share> {
    let (random, size) = (CountingRandom::new("shares"), QuorumSize::new(3, 5).expect("within the bounds"));
    let secret = Key::generate(&random).expect("it counts");
    split_key(&secret, size, &random).expect("it counts").into_iter().map(|point| Share::new(VAULT, SLOT, point)).collect()
}

fn text_of(share: &Share) -> String {
    String::from_utf8(share.to_text().into_exposed()).expect("a share is text")
}

fn text() -> String {
    text_of(&shares()[0])
}

fn parse(text: impl AsRef<[u8]>) -> Result<Share, ShareError> {
    Share::parse(&SecretBytes::new(text.as_ref().to_vec()))
}

/// The text of any data, with a checksum that is right.
fn with_checksum(data: &[u8]) -> String {
    let mut text = String::new();
    bech32::encode_lower_to_fmt::<Bech32m, _>(&mut text, PREFIX, data).expect("short");
    text
}

fn data_of(text: &str) -> Vec<u8> {
    CheckedHrpstring::new::<Bech32m>(text).expect("a share").byte_iter().collect()
}

#[test]
fn what_is_written_is_read() {
    for share in shares() {
        let text = text_of(&share);
        assert_eq!((text.len(), &text[..8]), (CHARACTERS, START));
        for typed in [text.clone(), text.to_uppercase(), format!("  {}\r\n", text), text.replace('x', "x \t\n")] {
            let again = parse(&typed).expect("a share");
            assert_eq!(again.point().value.expose(), share.point().value.expose());
            assert_eq!((again.index(), again.is_of_vault(VAULT), again.is_of_slot(SLOT)), (share.index(), true, true));
            assert_eq!(text_of(&again), text);
        }
    }
    let share = &shares()[0];
    assert!(!share.is_of_vault(VaultId::from_bytes([0x44; 16])) && !share.is_of_slot(SlotId::from_bytes([0x11; 16])));
}

#[test]
fn each_wrong_character_is_found() {
    const ALPHABET: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let text = text();
    for at in START.len()..text.len() {
        for other in ALPHABET.chars().filter(|other| !text[at..].starts_with(*other)) {
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert_eq!(parse(&changed).err(), Some(ShareError::Typo), "{at}");
        }
    }
    for at in START.len()..text.len() - 1 {
        let mut swapped = text.clone().into_bytes();
        swapped.swap(at, at + 1);
        assert!(swapped == text.as_bytes() || parse(&swapped).err() == Some(ShareError::Typo), "{at}");
    }
}

#[test]
fn what_is_wrong_is_told_and_where() {
    let text = text();
    let refused = |typed: String| parse(typed).expect_err("it is wrong");
    for typed in [String::new(), "srshare".into(), text.replacen("srshare1", "srshare2", 1), text[8..].into(), "x".repeat(88)] {
        assert_eq!(refused(typed), ShareError::NotAShare);
    }
    assert_eq!(refused(" ".repeat(1025)), ShareError::NotAShare);
    assert_eq!(refused(text.clone() + &" ".repeat(1024 - 88 + 1)), ShareError::NotAShare);
    assert!(parse(text.clone() + &" ".repeat(1024 - 88)).is_ok());
    assert_eq!(refused(text[..87].into()), ShareError::Length(87));
    assert_eq!(refused(text.clone() + "q"), ShareError::Length(89));
    assert_eq!(refused(format!("{}{}", &text[..20], &text[21..])), ShareError::Length(87));
    for wrong in ['1', 'b', 'i', 'o', 'O', '-', '\0', 'é', '\u{2003}'] {
        assert_eq!(refused(format!("{} {wrong}{}", &text[..20], &text[21..])), ShareError::Character(21), "{wrong}");
    }
    assert_eq!(refused(text.replacen('s', "S", 1)), ShareError::MixedCase);
    let data = data_of(&text);
    assert_eq!(refused(with_checksum(&[&[2], &data[1..]].concat())), ShareError::UnknownVersion(2));
    assert_eq!(refused(with_checksum(&[&[2], &data[..]].concat())), ShareError::UnknownVersion(2), "of any length");
    for index in [0, 17, 255] {
        let mut changed = data.clone();
        changed[13] = index;
        assert!(matches!(refused(with_checksum(&changed)), ShareError::Malformed(_)), "share number {index}");
        changed[13] = 16;
        assert!(parse(with_checksum(&changed)).is_ok());
    }
    for changed in [&data[..0], &data[..45], &[&data[..], &[0]].concat()] {
        assert!(matches!(refused(with_checksum(changed)), ShareError::Malformed(_)), "{} bytes", changed.len());
    }
}

#[test]
fn a_share_has_one_text() {
    use bech32::primitives::iter::{ByteIterExt, Fe32IterExt};

    let data = data_of(&text());
    let mut symbols: Vec<Fe32> = data.iter().copied().bytes_to_fes().collect();
    let last = symbols.pop().expect("74 of them");
    for spare in 0..4 {
        // 46 bytes are 368 bits, and 74 characters have 370.
        let symbol = Fe32::try_from(last.to_u8() | spare).expect("below 32");
        let typed: String = symbols.iter().copied().chain([symbol]).with_checksum::<Bech32m>(&PREFIX).chars().collect();
        assert_eq!(parse(&typed).is_ok(), spare == 0, "{spare}");
    }
    let mut older = String::new();
    bech32::encode_lower_to_fmt::<bech32::Bech32, _>(&mut older, PREFIX, &data).expect("short");
    assert_eq!(parse(&older).err(), Some(ShareError::Typo), "BIP-173's checksum");
}

// immune: row-41
#[test]
fn no_error_and_no_debug_shows_a_share() {
    let text = text();
    let parts: Vec<_> = text.as_bytes()[START.len()..].windows(5).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    let mut typed =
        vec![text[..87].to_owned(), text.clone() + "q", text.replace(&text[30..31], "b"), text.replacen('s', "S", 1), text[8..].into()];
    typed.extend(each_flipped_bit(text.as_bytes()).filter_map(|changed| String::from_utf8(changed).ok()));
    for typed in typed {
        let Err(error) = parse(&typed) else { continue };
        let shown = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
        assert!(!parts.iter().any(|part| shown.contains(part.as_str())), "{shown}");
    }
    assert_eq!(format!("{:?}", shares()[2]), "Share { index: 3, .. }");
}

#[test]
fn a_share_leaves_no_trace_on_the_stack() {
    const SEEN: usize = 64 * 1024;
    // In another thread, whose stack is gone; hidden, so that the comparison's own copies do not count.
    let hidden = std::thread::spawn(|| {
        let share = &shares()[0];
        let seen = [&share.point().value.expose()[..], &text_of(share).as_bytes()[START.len()..]].concat();
        seen.into_iter().map(|byte| !byte).collect::<Vec<_>>()
    });
    let hidden = hidden.join().expect("it splits");
    let looked = std::thread::spawn(move || {
        let here = 0_u8;
        let share = parse(text()).expect("a share");
        let _ = share.to_text();
        let stack = bytes_at(std::ptr::from_ref(&here) as usize - SEEN, SEEN);
        stack.windows(8).filter(|seen| hidden.chunks_exact(8).any(|part| seen.iter().zip(part).all(|(seen, part)| *seen == !part))).count()
    });
    assert_eq!(looked.join().expect("it looks"), 0);
}

#[test]
fn the_form_is_frozen() {
    let shares = shares();
    let made = json!({
        "vault": VAULT.to_string(), "slot": SLOT.to_string(), "threshold": 3,
        "secret": hex::encode(crate::crypto::combine_key(shares[2..].iter().map(Share::point)).expect("three of five").expose()),
        "shares": shares.iter().map(|share| json!({
            "index": share.index(), "value": hex::encode(share.point().value.expose()), "text": text_of(share),
        })).collect::<Vec<_>>(),
    });
    let file = frozen("shares.json", &made);
    let read = |at: usize| parse(file["shares"][at]["text"].as_str().expect("a text")).expect("frozen");
    let combined = crate::crypto::combine_key([read(4), read(0), read(2)].iter().map(Share::point)).expect("three of five");
    assert_eq!(combined.expose()[..], bytes(&file["secret"]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_share_is_read_back(vault: [u8; 16], slot: [u8; 16], index in 1..=16_u8, mut value: [u8; 32], blanks in proptest::collection::vec(0..88_usize, 0..20)) {
        let kept = value;
        let share = Share::new(VaultId::from_bytes(vault), SlotId::from_bytes(slot), Point { index, value: Key::from_bytes(&mut value) });
        let mut typed = text_of(&share);
        blanks.into_iter().for_each(|at| typed.insert(at, ' '));
        let again = parse(&typed).expect("a share");
        prop_assert_eq!((again.index(), again.point().value.expose()), (index, &kept));
        prop_assert!(again.is_of_vault(VaultId::from_bytes(vault)) && again.is_of_slot(SlotId::from_bytes(slot)));
    }

    #[test]
    fn up_to_four_wrong_characters_are_always_found(changes in proptest::collection::btree_map(8..88_usize, 1..32_u8, 1..=4)) {
        let mut typed = text().into_bytes();
        for (at, change) in changes {
            let symbol = Fe32::from_char(char::from(typed[at])).expect("a share's").to_u8() ^ change;
            typed[at] = Fe32::try_from(symbol).expect("below 32").to_char() as u8;
        }
        prop_assert_eq!(parse(&typed).err(), Some(ShareError::Typo));
    }

    #[test]
    fn no_bytes_bring_the_reader_down(kept in 0..=88_usize, rest in proptest::collection::vec(any::<u8>(), 0..200)) {
        let typed = [&text().as_bytes()[..kept], &rest].concat();
        if let Ok(share) = parse(&typed) {
            let blankless: Vec<u8> = typed.into_iter().filter(|byte| !byte.is_ascii_whitespace()).collect();
            prop_assert_eq!(text_of(&share).into_bytes(), blankless.to_ascii_lowercase());
        }
    }

    #[test]
    fn no_data_with_a_right_checksum_bring_the_reader_down(version in 0..3_u8, rest in proptest::collection::vec(any::<u8>(), 0..100)) {
        let text = with_checksum(&[&[version], &rest[..]].concat());
        if let Ok(share) = parse(&text) {
            prop_assert_eq!(text_of(&share), text);
        }
    }
}
