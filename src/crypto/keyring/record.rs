//! The keyring's record.
//!
//! ```text
//! 01 ‖ index epoch u64 ‖ wrapped index key 113 ‖ count u16 ‖ versions, ascending
//! version: number u32 ‖ state u8 ‖ created u64 ‖ due u64 ‖ wrapped KEK 113
//! ```
//!
//! `due` is 0 unless the version is scheduled; a destroyed version has no wrapped KEK. Times are milliseconds since 1970.

use super::{Index, KeyInfo, KeyState, REMEMBERED, Version};
use crate::crypto::codec::Reader;
use crate::crypto::{WRAPPED_KEY_BYTES, WrappedKey};
use crate::model::{Invalid, Timestamp};

const FORMAT: u8 = 1;
const HEAD_BYTES: usize = 1 + 8 + WRAPPED_KEY_BYTES + 2;
const VERSION_BYTES: usize = 4 + 1 + 8 + 8 + WRAPPED_KEY_BYTES;

pub(super) fn encode(index: &Index, versions: &[Version]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES + versions.len() * VERSION_BYTES);
    out.push(FORMAT);
    out.extend_from_slice(&index.epoch.to_be_bytes());
    out.extend_from_slice(&index.wrapped);
    let count = u16::try_from(versions.len()).expect("a keyring remembers 1,024 versions at most");
    out.extend_from_slice(&count.to_be_bytes());
    versions.iter().for_each(|version| encode_version(version, &mut out));
    out
}

fn encode_version(version: &Version, out: &mut Vec<u8>) {
    let (state, due) = match version.info.state {
        KeyState::Active => (1, 0),
        KeyState::DecryptOnly => (2, 0),
        KeyState::Disabled => (3, 0),
        KeyState::Scheduled(due) => (4, due.unix_ms()),
        KeyState::Destroyed => (5, 0),
    };
    out.extend_from_slice(&version.info.version.to_be_bytes());
    out.push(state);
    out.extend_from_slice(&version.info.created.unix_ms().to_be_bytes());
    out.extend_from_slice(&due.to_be_bytes());
    out.extend(version.wrapped.iter().flatten());
}

/// Index epoch, wrapped index key, and versions whose keys are still to be opened. There is at least one; the last, and no other,
/// is active.
pub(super) fn decode(record: &[u8]) -> Result<(u64, WrappedKey, Vec<Version>), Invalid> {
    let mut reader = Reader::new(record);
    if reader.u8()? != FORMAT {
        return Err(Invalid("unknown format"));
    }
    let (epoch, index) = (reader.u64()?, reader.array()?);
    let count = usize::from(reader.u16()?);
    if count > REMEMBERED {
        return Err(Invalid("too many key versions"));
    }
    let versions = (0..count).map(|_| decode_version(&mut reader)).collect::<Result<Vec<_>, _>>()?;
    reader.finish()?;
    if !versions.is_sorted_by(|one, next| one.info.version < next.info.version) {
        return Err(Invalid("key versions are not ascending"));
    }
    let is_active = |version: &Version| version.info.state == KeyState::Active;
    match versions.split_last() {
        Some((last, older)) if is_active(last) && !older.iter().any(is_active) => Ok((epoch, index, versions)),
        _ => Err(Invalid("the newest key version, and only it, is active")),
    }
}

fn decode_version(reader: &mut Reader<'_>) -> Result<Version, Invalid> {
    let (version, state) = (reader.u32()?, reader.u8()?);
    let created = Timestamp::from_unix_ms(reader.u64()?)?;
    let state = match (state, reader.u64()?) {
        (1, 0) => KeyState::Active,
        (2, 0) => KeyState::DecryptOnly,
        (3, 0) => KeyState::Disabled,
        (4, due) => KeyState::Scheduled(Timestamp::from_unix_ms(due)?),
        (5, 0) => KeyState::Destroyed,
        _ => return Err(Invalid("unknown key state")),
    };
    let wrapped = if state == KeyState::Destroyed { None } else { Some(reader.array()?) };
    Ok(Version { info: KeyInfo { version, state, created }, wrapped, key: None })
}
