//! A share: what one custodian holds of a quorum slot's secret, and its text, which people keep, print and type.
//!
//! ```text
//! srshare1 ‖ 74 characters ‖ 6 of checksum               88 in all: Bech32m, BIP-350
//! data: 01 ‖ vault 6 ‖ slot 6 ‖ index u8 ‖ value 32      46 bytes; of the vault's and the slot's id their first 6 bytes
//! ```
//!
//! Bech32m, because it is published, made to be copied by hand (no `b`, `i` or `o`, and `1` only once; upper case does as well), and
//! has a checksum that finds any four wrong characters in a text of up to 90. That is why ids are cut: whole ones would make it 120.
//! They tell people that they took the wrong share, and protect nothing; 6 bytes are enough.
//!
//! Reading the text is not done in constant time: it happens once for each share.

use std::fmt;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Fe32, Hrp};
use zeroize::Zeroizing;

use crate::crypto::codec::Reader;
use crate::crypto::{Key, Point, QuorumSize};
use crate::memory::leaving_no_trace;
use crate::model::{Invalid, SecretBytes, SlotId, VaultId};

const PREFIX: Hrp = Hrp::parse_unchecked("srshare");
/// How every share begins; the `1` is Bech32's separator.
const START: &str = "srshare1";

const VERSION: u8 = 1;
const ID_BYTES: usize = 6;
const DATA_BYTES: usize = 1 + 2 * ID_BYTES + 1 + 32;
/// Characters of a share.
const CHARACTERS: usize = 88;

/// More than this, blanks included, is some other file.
const MOST_TYPED_BYTES: usize = 1024;

/// More of the stack than reading and writing a share use; Bech32's buffer alone is 1 KiB. A test looks.
const STACK_BYTES: usize = 16 * 1024;

/// Why a text is no share, or a share is not taken. No variant holds anything of the share's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// It begins otherwise.
    #[error("this is no share: a share begins with `{START}`")]
    NotAShare,
    /// Upper and lower case at once.
    #[error("upper and lower case are mixed: type the share in one of them")]
    MixedCase,
    /// A character that no share has, and its place, counted from 1 without blanks.
    #[error(
        "character {0} of the share, blanks not counted, is none that a share has: there are digits but `1` and letters but `b`, `i`, `o`"
    )]
    Character(usize),
    /// Too short or too long, and how long.
    #[error("a share has {CHARACTERS} characters, this one has {0}: see which are missing or too many")]
    Length(usize),
    /// The checksum does not match.
    #[error("the share has a typing error: its checksum does not match; compare it with the original")]
    Typo,
    /// The text is whole, but of a form that this program does not know.
    #[error("the share is of version {0}, which this program does not know: use a newer one")]
    UnknownVersion(u8),
    /// The text is whole, but no share that was ever given out.
    #[error("this is no share: {0}")]
    Malformed(#[source] Invalid),
    /// It belongs to another vault.
    #[error("this is a share of another vault")]
    OtherVault,
    /// It belongs to this vault, but to another slot, perhaps one that was removed.
    #[error("this is a share of another slot of this vault, or of one that was removed")]
    OtherSlot,
    /// The slot has fewer shares than that.
    #[error("the slot has no share number {0}")]
    NoSuchIndex(u8),
    /// A share of this number is there, with another value.
    #[error("share number {0} was given before, with another value: one of the two is wrong, and which of them cannot be told")]
    OtherValue(u8),
}

/// One custodian's share. Wiped when dropped; no `Clone`, no `==`, no `Serialize`; `Debug` shows the number alone.
pub struct Share {
    vault: [u8; ID_BYTES],
    slot: [u8; ID_BYTES],
    point: Point,
}

impl Share {
    pub(super) fn new(vault: VaultId, slot: SlotId, point: Point) -> Self {
        Self { vault: beginning(vault.as_bytes()), slot: beginning(slot.as_bytes()), point }
    }

    /// Reads a share as it was typed, or stands in a file: blanks and line ends, wherever they are, do not count.
    ///
    /// # Errors
    /// [`ShareError`], which says what is wrong, and where if that can be told.
    pub fn parse(typed: &SecretBytes) -> Result<Self, ShareError> {
        leaving_no_trace::<STACK_BYTES, _>(|| read(typed.expose()))
    }

    /// The text: 88 characters in lower case.
    #[must_use]
    pub fn to_text(&self) -> SecretBytes {
        let mut text = Zeroizing::new(String::with_capacity(CHARACTERS));
        leaving_no_trace::<STACK_BYTES, _>(|| {
            let mut data = Zeroizing::new(Vec::with_capacity(DATA_BYTES));
            data.push(VERSION);
            data.extend_from_slice(&self.vault);
            data.extend_from_slice(&self.slot);
            data.push(self.point.index);
            data.extend_from_slice(self.point.value.expose());
            let written = bech32::encode_lower_to_fmt::<Bech32m, _>(&mut *text, PREFIX, &data);
            written.expect("88 characters are fewer than the code's 1,023, and a string takes them all");
        });
        SecretBytes::new(std::mem::take(&mut *text).into_bytes())
    }

    /// Its number: 1 to 16.
    #[must_use]
    pub const fn index(&self) -> u8 {
        self.point.index
    }

    pub(super) const fn point(&self) -> &Point {
        &self.point
    }

    /// Whether it says that it is of this vault.
    pub(super) fn is_of_vault(&self, vault: VaultId) -> bool {
        self.vault == beginning(vault.as_bytes())
    }

    /// Whether it says that it is of this slot, whatever the vault.
    pub(super) fn is_of_slot(&self, slot: SlotId) -> bool {
        self.slot == beginning(slot.as_bytes())
    }
}

/// A share with the right ids and a value of its own: for tests of what happens with wrong ones.
#[cfg(test)]
pub(crate) fn forged_share(vault: VaultId, slot: SlotId, index: u8) -> String {
    let share = Share::new(vault, slot, Point { index, value: Key::from_bytes(&mut [9; 32]) });
    String::from_utf8(share.to_text().into_exposed()).expect("text")
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share").field("index", &self.point.index).finish_non_exhaustive()
    }
}

fn beginning(id: &[u8; 16]) -> [u8; ID_BYTES] {
    *id.first_chunk().expect("16 bytes begin with 6")
}

fn read(typed: &[u8]) -> Result<Share, ShareError> {
    let text = without_blanks(typed)?;
    check_characters(&text)?;
    let text = std::str::from_utf8(&text).map_err(|_| ShareError::NotAShare)?; // ASCII, as was just checked
    let Ok(checked) = CheckedHrpstring::new::<Bech32m>(text) else {
        return Err(if text.len() == CHARACTERS { ShareError::Typo } else { ShareError::Length(text.len()) });
    };
    let mut data = Zeroizing::new(Vec::with_capacity(text.len()));
    data.extend(checked.byte_iter());
    match data.first() {
        Some(&VERSION) => {}
        Some(&other) => return Err(ShareError::UnknownVersion(other)),
        None => return Err(ShareError::Malformed(Invalid("it is empty"))),
    }
    if checked.validate_segwit_padding().is_err() {
        return Err(ShareError::Malformed(Invalid("it has bits after its end")));
    }
    from_data(&data).map_err(ShareError::Malformed)
}

fn without_blanks(typed: &[u8]) -> Result<Zeroizing<Vec<u8>>, ShareError> {
    if typed.len() > MOST_TYPED_BYTES {
        return Err(ShareError::NotAShare);
    }
    let mut text = Zeroizing::new(Vec::with_capacity(typed.len()));
    text.extend(typed.iter().filter(|byte| !byte.is_ascii_whitespace()));
    Ok(text)
}

/// Says which character is wrong before the checksum can only say that one is.
fn check_characters(text: &[u8]) -> Result<(), ShareError> {
    let (start, rest) = text.split_at_checked(START.len()).ok_or(ShareError::NotAShare)?;
    if !start.eq_ignore_ascii_case(START.as_bytes()) {
        return Err(ShareError::NotAShare);
    }
    if let Some(at) = rest.iter().position(|&byte| Fe32::from_char(char::from(byte)).is_err()) {
        return Err(ShareError::Character(START.len() + at + 1));
    }
    if text.iter().any(u8::is_ascii_uppercase) && text.iter().any(u8::is_ascii_lowercase) {
        return Err(ShareError::MixedCase);
    }
    Ok(())
}

fn from_data(data: &[u8]) -> Result<Share, Invalid> {
    let mut reader = Reader::new(data);
    reader.u8()?; // the version, which was looked at
    let (vault, slot, index) = (reader.array()?, reader.array()?, reader.u8()?);
    let bytes = reader.slice(32)?;
    reader.finish()?;
    if index == 0 || index > QuorumSize::MOST_SHARES {
        return Err(Invalid("shares have the numbers 1 to 16"));
    }
    let value = Key::try_fill(|out| {
        out.copy_from_slice(bytes);
        Ok::<_, Invalid>(())
    })?;
    Ok(Share { vault, slot, point: Point { index, value } })
}

#[cfg(test)]
mod tests;
