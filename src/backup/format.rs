//! Manifest, trailer and frames as bytes. Integers are big-endian, `lp` a `u16` length and then the bytes.
//!
//! ```text
//! archive : "strongroom/backup/1\n" ‖ frame (manifest) ‖ frame (rows) … ‖ frame (changes) … ‖ frame (trailer)
//! frame   : kind u8 ‖ length u32 ‖ body
//! manifest: vault_id 16 ‖ epoch u64 ‖ created u64 ‖ expires u64 ‖ lp(server version)
//! rows    : (lp(key) ‖ length u32 ‖ value) …                  keys ascend, over all frames
//! changes : (lp(key) ‖ 00) or (lp(key) ‖ 01 ‖ length u32 ‖ value) …   the last word on a key counts
//! trailer : revision u64 ‖ policy generation u64 ‖ audit sequence u64 ‖ count u16 ‖ (class u8 ‖ rows u64 ‖ puts u64 ‖ deletes u64) …
//!           ‖ bytes before this frame u64 ‖ SHA-256 over all bytes before it 32
//! ```

use std::collections::BTreeMap;

use super::BackupError;
use crate::crypto::codec::{Reader, put_length_prefixed};
use crate::model::{Invalid, Timestamp, VaultId};
use crate::storage::{KEY_BYTES, PAGE_BYTES, PAGE_ROWS, VALUE_BYTES};

/// Begins every archive; 1 is the format.
pub(super) const MAGIC: &[u8] = b"strongroom/backup/1\n";
/// The longest frame: a page of rows, with its keys.
pub(super) const FRAME_BYTES: usize = PAGE_BYTES + VALUE_BYTES + PAGE_ROWS * (KEY_BYTES + 8);
/// Most words on changed keys that an archive has: a restore keeps the keys in memory.
pub(super) const CHANGES: u64 = 262_144;
/// Longest text of a version.
const VERSION_BYTES: usize = 64;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Manifest = 1,
    Rows = 2,
    Changes = 3,
    Trailer = 4,
}

impl Kind {
    pub(super) fn of(byte: u8) -> Result<Self, Invalid> {
        match byte {
            1 => Ok(Self::Manifest),
            2 => Ok(Self::Rows),
            3 => Ok(Self::Changes),
            4 => Ok(Self::Trailer),
            _ => Err(Invalid("a frame of an unknown kind")),
        }
    }
}

/// Whose rows they are, since when and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The vault.
    pub vault: VaultId,
    /// The number of its system key.
    pub epoch: u64,
    /// When the backup was begun.
    pub created: Timestamp,
    /// Until when it is to be kept: after that it is to be thrown away.
    pub expires: Timestamp,
    /// The program that made it.
    pub server_version: String,
}

/// The first byte of a row's key: what kind of row it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class(pub u8);

/// How many rows of a class an archive has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// As the scan met them.
    pub rows: u64,
    /// Changed or new since.
    pub puts: u64,
    /// Gone since.
    pub deletes: u64,
}

/// The end of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// The store's revision at which the rows stood like this.
    pub revision: u64,
    /// The policy's generation then.
    pub policy_generation: u64,
    /// Everything that the audit log says was done up to this sequence is in the archive.
    pub audit_sequence: u64,
    /// By class.
    pub counts: BTreeMap<Class, Counts>,
    /// Bytes before this frame.
    pub bytes: u64,
    /// SHA-256 over all bytes before it, the trailer's own among them.
    pub digest: [u8; 32],
}

impl Class {
    /// Of a key.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(key.first().copied().unwrap_or_default())
    }
}

impl Manifest {
    pub(super) fn encode(&self) -> Result<Vec<u8>, Invalid> {
        if self.server_version.len() > VERSION_BYTES {
            return Err(Invalid("a version has at most 64 bytes"));
        }
        let mut out = self.vault.as_bytes().to_vec();
        for number in [self.epoch, self.created.unix_ms(), self.expires.unix_ms()] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        put_length_prefixed(&mut out, self.server_version.as_bytes())?;
        Ok(out)
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, Invalid> {
        let mut reader = Reader::new(body);
        let (vault, epoch) = (VaultId::from_bytes(reader.array()?), reader.u64()?);
        let (created, expires) = (Timestamp::from_unix_ms(reader.u64()?)?, Timestamp::from_unix_ms(reader.u64()?)?);
        let version = reader.length_prefixed()?;
        reader.finish()?;
        let is_version = |version: &&str| version.len() <= VERSION_BYTES && version.bytes().all(|byte| byte.is_ascii_graphic());
        let version = std::str::from_utf8(version).ok().filter(is_version).ok_or(Invalid("not the text of a version"))?;
        Ok(Self { vault, epoch, created, expires, server_version: version.to_owned() })
    }
}

impl Trailer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = self.encode_undigested();
        out.extend_from_slice(&self.digest);
        out
    }

    /// Without the digest, which is over this, too.
    pub(super) fn encode_undigested(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [self.revision, self.policy_generation, self.audit_sequence] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        let count = u16::try_from(self.counts.len()).expect("a class is a byte");
        out.extend_from_slice(&count.to_be_bytes());
        for (class, Counts { rows, puts, deletes }) in &self.counts {
            out.push(class.0);
            for number in [rows, puts, deletes] {
                out.extend_from_slice(&number.to_be_bytes());
            }
        }
        out.extend_from_slice(&self.bytes.to_be_bytes());
        out
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, Invalid> {
        let mut reader = Reader::new(body);
        let (revision, policy_generation, audit_sequence) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let mut counts = BTreeMap::new();
        for _ in 0..reader.u16()? {
            let class = Class(reader.u8()?);
            let count = Counts { rows: reader.u64()?, puts: reader.u64()?, deletes: reader.u64()? };
            if counts.last_entry().is_some_and(|last| *last.key() >= class) {
                return Err(Invalid("classes are not ascending"));
            }
            counts.insert(class, count);
        }
        let trailer = Self { revision, policy_generation, audit_sequence, counts, bytes: reader.u64()?, digest: reader.array()? };
        reader.finish()?;
        Ok(trailer)
    }
}

/// Bytes of the digest at a trailer's end.
pub(super) const DIGEST_BYTES: usize = 32;

/// A frame's first bytes.
pub(super) fn frame_head(kind: Kind, length: usize) -> [u8; 5] {
    let [a, b, c, d] = u32::try_from(length).expect("a frame's bound is far below 4 GiB").to_be_bytes();
    [kind as u8, a, b, c, d]
}

/// Appends a row.
pub(super) fn put_row(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    put_key(out, key);
    put_value(out, value);
}

/// Appends a word on a changed key: what it holds now, or that it is gone.
pub(super) fn put_change(out: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
    put_key(out, key);
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put_value(out, value);
    }
}

fn put_key(out: &mut Vec<u8>, key: &[u8]) {
    put_length_prefixed(out, key).expect("a store's key has at most 512 bytes");
}

fn put_value(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(&u32::try_from(value.len()).expect("a store's value has at most 80 KiB").to_be_bytes());
    out.extend_from_slice(value);
}

/// The rows of a frame, in order.
pub(super) fn each_row<'a, E: From<BackupError>>(
    body: &'a [u8],
    mut visit: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut rest = body;
    while !rest.is_empty() {
        let (key, value, after) = first(rest, |reader| value(reader).map(Some)).map_err(BackupError::from)?;
        visit(key, value.unwrap_or_default())?;
        rest = after;
    }
    Ok(())
}

/// The words on changed keys of a frame, in order.
pub(super) fn each_change<'a, E: From<BackupError>>(
    body: &'a [u8],
    mut visit: impl FnMut(&'a [u8], Option<&'a [u8]>) -> Result<(), E>,
) -> Result<(), E> {
    let change = |reader: &mut Reader<'a>| match reader.u8()? {
        0 => Ok(None),
        1 => value(reader).map(Some),
        _ => Err(Invalid("neither put nor gone")),
    };
    let mut rest = body;
    while !rest.is_empty() {
        let (key, value, after) = first(rest, change).map_err(BackupError::from)?;
        visit(key, value)?;
        rest = after;
    }
    Ok(())
}

/// A key, what follows it, and the bytes after both.
type First<'a> = (&'a [u8], Option<&'a [u8]>, &'a [u8]);

/// Takes them apart.
fn first<'a>(body: &'a [u8], rest: impl Fn(&mut Reader<'a>) -> Result<Option<&'a [u8]>, Invalid>) -> Result<First<'a>, Invalid> {
    let mut reader = Reader::new(body);
    let key = reader.length_prefixed()?;
    if key.is_empty() || key.len() > KEY_BYTES {
        return Err(Invalid("a key is 1 to 512 bytes"));
    }
    let value = rest(&mut reader)?;
    Ok((key, value, reader.rest()))
}

fn value<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Invalid> {
    let length = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    if length > VALUE_BYTES {
        return Err(Invalid("a value is longer than a store's"));
    }
    reader.slice(length)
}
