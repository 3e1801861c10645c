//! Signed notes: a text for people, with the vault's Ed25519 signature below it (C2SP signed-note).
//!
//! ```text
//! text: lines, none of them empty
//! (an empty line)
//! — name base64(key id 4 ‖ signature 64)
//! ```
//!
//! The key id is the beginning of `SHA-256(name ‖ 0A ‖ 01 ‖ public key)`; what is signed is the text with its last newline. Each note
//! here has one signature.

use base64ct::{Base64, Encoding};
use ring::signature::{ED25519, UnparsedPublicKey};

use super::{SigningKey, sha256};
use crate::model::Invalid;

/// Longest note that is read, in bytes.
const NOTE_BYTES: usize = 64 * 1024;
/// Begins a signature line: an em dash and a blank.
const MARK: &str = "\u{2014} ";
/// The algorithm's byte: Ed25519.
const ED25519_BYTE: u8 = 1;
const ID_BYTES: usize = 4;
const SIGNATURE_BYTES: usize = 64;

/// A text under its signature.
///
/// # Errors
/// The text is no lines, or one of them is empty or holds a control character; the name is empty or has a blank or a `+`.
pub fn sign_note(text: &str, name: &str, key: &SigningKey) -> Result<String, Invalid> {
    check_text(text)?;
    check_name(name)?;
    let signed = [&key_id(name, &key.public_key())[..], &key.sign(text.as_bytes())].concat();
    Ok(format!("{text}\n{MARK}{name} {}\n", Base64::encode_string(&signed)))
}

/// The text of a note that this key has signed under this name.
///
/// # Errors
/// It is no note, is signed by another key or under another name, or was changed: the words say which.
pub fn verify_note<'a>(note: &'a str, name: &str, public_key: &[u8; 32]) -> Result<&'a str, Invalid> {
    if note.len() > NOTE_BYTES {
        return Err(Invalid("longer than any signed statement"));
    }
    let (before, line) = note.rsplit_once("\n\n").ok_or(Invalid("this is no signed statement: no signature stands below an empty line"))?;
    let text = &note[..before.len() + "\n".len()];
    check_text(text)?;
    let (signer, signed) = signature(line).ok_or(Invalid("the signature line is malformed"))?;
    let (id, signature) = signed.split_at(ID_BYTES);
    if signer != name || id != key_id(name, public_key) {
        return Err(Invalid("it is signed by another vault, or with another key than the one given"));
    }
    let verified = UnparsedPublicKey::new(&ED25519, public_key).verify(text.as_bytes(), signature);
    verified.map_err(|_| Invalid("the signature does not match: the statement was changed"))?;
    Ok(text)
}

/// Whose, and what follows the name.
fn signature(line: &str) -> Option<(&str, [u8; ID_BYTES + SIGNATURE_BYTES])> {
    let (signer, encoded) = line.strip_prefix(MARK)?.strip_suffix('\n')?.split_once(' ')?;
    let mut signed = [0; ID_BYTES + SIGNATURE_BYTES];
    let decoded = Base64::decode(encoded, &mut signed).ok()?;
    (decoded.len() == ID_BYTES + SIGNATURE_BYTES).then_some((signer, signed))
}

fn key_id(name: &str, public_key: &[u8; 32]) -> [u8; ID_BYTES] {
    let hash = sha256(&[name.as_bytes(), &[b'\n', ED25519_BYTE], public_key].concat());
    hash[..ID_BYTES].try_into().expect("a hash is longer")
}

fn check_text(text: &str) -> Result<(), Invalid> {
    if text.is_empty() || !text.ends_with('\n') || text.lines().any(str::is_empty) {
        return Err(Invalid("a statement is lines of text, none of them empty"));
    }
    if text.chars().any(|character| character.is_control() && character != '\n') {
        return Err(Invalid("a statement holds no control characters"));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Invalid> {
    let is_unfit = |character: char| character.is_whitespace() || character.is_control() || character == '+';
    if name.is_empty() || name.contains(is_unfit) { Err(Invalid("a signer's name has no blanks and no `+`")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Key;

    const TEXT: &str = "strongroom/v1 a statement\nnamespace: wepay-prod\nrows: 0\n";

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_seed(&Key::from_bytes(&mut [byte; 32]))
    }

    #[test]
    fn a_signed_text_comes_back_and_nothing_else() {
        let note = sign_note(TEXT, "strongroom/0a", &key(1)).expect("plain");
        let public = key(1).public_key();
        assert_eq!(verify_note(&note, "strongroom/0a", &public), Ok(TEXT));
        assert!(verify_note(&note, "strongroom/0b", &public).is_err());
        assert!(verify_note(&note, "strongroom/0a", &key(2).public_key()).is_err());
        for at in 0..note.len() {
            for bit in 0..8 {
                let mut changed = note.clone().into_bytes();
                changed[at] ^= 1 << bit;
                let Ok(changed) = String::from_utf8(changed) else { continue };
                assert!(verify_note(&changed, "strongroom/0a", &public).is_err(), "bit {bit} of byte {at}");
            }
            if let Some(cut) = note.get(..at) {
                assert!(verify_note(cut, "strongroom/0a", &public).is_err(), "cut at {at}");
            }
        }
        let longer = format!("{TEXT}{note}");
        assert!(verify_note(&longer, "strongroom/0a", &public).is_err());
        assert!(verify_note(&format!("{note}\n"), "strongroom/0a", &public).is_err());
    }

    /// Frozen: statements that people keep for years are verified by later programs, and by others'.
    #[test]
    fn a_note_is_these_bytes() {
        let note = sign_note("one line\n", "strongroom/0a", &key(7)).expect("plain");
        let (text, line) = note.split_once("\n\n").expect("two parts");
        assert_eq!(text, "one line");
        let hash = sha256(&[b"strongroom/0a\n\x01", &key(7).public_key()[..]].concat());
        let expected = [&hash[..4], &key(7).sign(b"one line\n")].concat();
        assert_eq!(line, format!("\u{2014} strongroom/0a {}\n", Base64::encode_string(&expected)));
    }

    #[test]
    fn no_text_or_name_can_be_mistaken_for_another_part() {
        for text in ["", "\n", "a", "a\n\nb\n", "a\n\n", "a\tb\n", "a\u{7}\n", "a\r\n"] {
            assert!(sign_note(text, "a", &key(1)).is_err(), "{text:?}");
        }
        for name in ["", "a b", "a+b", "a\n", "a\u{a0}b"] {
            assert!(sign_note(TEXT, name, &key(1)).is_err(), "{name:?}");
        }
        let long = format!("{}\n", "x".repeat(NOTE_BYTES));
        assert!(verify_note(&sign_note(&long, "a", &key(1)).expect("plain"), "a", &key(1).public_key()).is_err());
    }
}
