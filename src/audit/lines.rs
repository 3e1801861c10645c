//! The lines of one segment, as they are read: by their place in it, since line n holds the sequence `first + n`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::segment::segment_name;
use super::{AuditError, Entry, LINE_BYTES};
use crate::model::Timestamp;

/// A segment in memory.
pub(super) struct Lines {
    pub(super) file: PathBuf,
    first: u64,
    bytes: Vec<u8>,
    /// Where each line begins, and after them where the last ends.
    starts: Vec<usize>,
}

impl Lines {
    /// Reads the segment that begins with `first`. Its lines end at the first byte of zero (never written as yet) or at the end
    /// of the file. Where `next` is given, the next segment begins with that sequence: lines from there on were left by a group
    /// that failed, and are nobody's entries. Readers ask each segment for its own sequences alone, so they never see them.
    ///
    /// # Errors
    /// `Damaged` if it ends before `next`.
    pub(super) fn load(folder: &Path, first: u64, next: Option<u64>) -> Result<Self, AuditError> {
        let file = folder.join(segment_name(first));
        let bytes = fs::read(&file).map_err(AuditError::io("read", &file))?;
        let lines = Self { file, first, starts: starts(&bytes), bytes };
        if let Some(next) = next {
            let expected = usize::try_from(next - first).unwrap_or(usize::MAX);
            if lines.count() < expected {
                return Err(lines.damaged(lines.count(), "entries are missing between this segment and the next"));
            }
        }
        Ok(lines)
    }

    /// How many complete lines there are.
    pub(super) fn count(&self) -> usize {
        self.starts.len() - 1
    }

    /// The bytes of line `index`, from 0, without the newline.
    pub(super) fn line(&self, index: usize) -> &[u8] {
        &self.bytes[self.starts[index]..self.starts[index + 1] - 1]
    }

    /// The entry of line `index`, from 0.
    ///
    /// # Errors
    /// `Damaged` if it does not parse or has another sequence than its place demands.
    pub(super) fn entry(&self, index: usize) -> Result<Entry, AuditError> {
        let entry: Entry = serde_json::from_slice(self.line(index)).map_err(|_| self.damaged(index, "not an entry"))?;
        if entry.sequence != self.first + index as u64 {
            return Err(self.damaged(index, "the sequence does not follow that of the line before"));
        }
        Ok(entry)
    }

    /// Bytes of the complete lines.
    pub(super) fn length(&self) -> usize {
        self.starts[self.count()]
    }

    /// Bytes after the last complete line, up to the last that is not zero.
    pub(super) fn torn(&self) -> Range<usize> {
        let rest = &self.bytes[self.length()..];
        self.length()..self.length() + rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
    }

    /// Size of the file, zeros included.
    pub(super) fn file_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn damaged(&self, index: usize, why: &'static str) -> AuditError {
        AuditError::Damaged { file: self.file.clone(), line: index as u64 + 1, why }
    }
}

/// Whether the segment goes on to just before `next`, looking at its end alone if that is where the answer lies.
pub(super) fn reaches(folder: &Path, first: u64, next: u64) -> Result<(), AuditError> {
    let file = folder.join(segment_name(first));
    let tail = tail(&file).map_err(AuditError::io("read", &file))?;
    let last = tail.split(|byte| *byte == b'\n').rev().find_map(|line| serde_json::from_slice::<Entry>(line).ok());
    match last {
        Some(entry) if entry.sequence + 1 == next => Ok(()),
        _ => Lines::load(folder, first, Some(next)).map(drop),
    }
}

/// When the segment begins; `None` while it is empty.
pub(super) fn first_time(folder: &Path, first: u64) -> Result<Option<Timestamp>, AuditError> {
    let file = folder.join(segment_name(first));
    let mut bytes = Vec::new();
    let read = File::open(&file).and_then(|open| open.take(LINE_BYTES as u64).read_to_end(&mut bytes));
    read.map_err(AuditError::io("read", &file))?;
    let lines = Lines { file, first, starts: starts(&bytes), bytes };
    if lines.count() == 0 { Ok(None) } else { lines.entry(0).map(|entry| Some(entry.time)) }
}

/// The last two longest lines' worth of a file.
fn tail(file: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(file)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(2 * LINE_BYTES as u64);
    let mut bytes = vec![0; usize::try_from(length - from).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, from)?;
    Ok(bytes)
}

fn starts(bytes: &[u8]) -> Vec<usize> {
    let written = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let ends = bytes[..written].iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(ends).collect()
}
