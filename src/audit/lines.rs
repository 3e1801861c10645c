//! The lines of one segment, as they are read: by their place in it, since line n holds the sequence `first + n`. A segment
//! may be long, and readers many: so a piece of it is in memory at a time, and never what was not written as yet.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::segment::segment_name;
use super::{AuditError, Entry, LINE_BYTES};
use crate::model::Timestamp;

/// What is read at a time. A piece has at most one line more.
const PIECE_BYTES: usize = 64 * 1024;

/// A segment that is being read.
pub(super) struct Lines {
    pub(super) file: PathBuf,
    opened: File,
    first: u64,
    /// Where each piece begins, and after them where the last line ends.
    marks: Vec<Mark>,
    piece: Option<Piece>,
}

/// A place between two lines: what comes before it.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    lines: usize,
    bytes: u64,
}

/// The lines between a mark and the next.
struct Piece {
    mark: usize,
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Lines {
    /// Opens the segment that begins with `first`, and counts its lines. They end at the first byte of zero (never written as
    /// yet) or at the end of the file. Where `next` is given, the next segment begins with that sequence: lines from there on
    /// were left by a group that failed, and are nobody's entries. Readers ask each segment for its own sequences alone, so
    /// they never see them.
    ///
    /// # Errors
    /// `Damaged` if it ends before `next`.
    pub(super) fn open(folder: &Path, first: u64, next: Option<u64>) -> Result<Self, AuditError> {
        let file = folder.join(segment_name(first));
        let opened = File::open(&file).map_err(AuditError::io("read", &file))?;
        let marks = marks(&opened).map_err(AuditError::io("read", &file))?;
        let lines = Self { file, opened, first, marks, piece: None };
        if let Some(next) = next {
            let expected = usize::try_from(next - first).unwrap_or(usize::MAX);
            if lines.count() < expected {
                return Err(lines.damaged(lines.count(), "entries are missing between this segment and the next"));
            }
        }
        Ok(lines)
    }

    /// How many complete lines there were when it was opened.
    pub(super) fn count(&self) -> usize {
        self.end().lines
    }

    /// The entry of line `index`, from 0 to before the count, and the line's length; none if the line is gone meanwhile, as are
    /// those of a group that failed.
    ///
    /// # Errors
    /// `Damaged` if it does not parse or has another sequence than its place demands.
    pub(super) fn entry(&mut self, index: usize) -> Result<Option<(Entry, usize)>, AuditError> {
        let sequence = self.first + index as u64;
        let parsed = self.line(index)?.map(|line| parse(line, sequence).map(|entry| (entry, line.len()))).transpose();
        parsed.map_err(|why| self.damaged(index, why))
    }

    fn line(&mut self, index: usize) -> Result<Option<&[u8]>, AuditError> {
        let mark = self.marks.partition_point(|mark| mark.lines <= index) - 1;
        let piece = match self.piece.take() {
            Some(piece) if piece.mark == mark => piece,
            _ => self.read(mark).map_err(AuditError::io("read", &self.file))?,
        };
        let within = index - self.marks[mark].lines;
        Ok(self.piece.insert(piece).line(within))
    }

    fn read(&self, mark: usize) -> io::Result<Piece> {
        let (begin, end) = (self.marks[mark].bytes, self.marks[mark + 1].bytes);
        let mut bytes = vec![0; usize::try_from(end - begin).map_err(io::Error::other)?];
        let length = read_at(&self.opened, &mut bytes, begin)?.len();
        bytes.truncate(length);
        Ok(Piece { mark, starts: starts(&bytes), bytes })
    }

    /// Bytes of the complete lines.
    pub(super) fn length(&self) -> u64 {
        self.end().bytes
    }

    fn end(&self) -> Mark {
        *self.marks.last().expect("the first is always there")
    }

    /// How many bytes come after the last complete line, up to the last that is not zero.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn torn(&self) -> Result<u64, AuditError> {
        let (mut buffer, mut at, mut torn) = (vec![0; PIECE_BYTES], self.length(), 0);
        loop {
            let read = read_at(&self.opened, &mut buffer, at).map_err(AuditError::io("read", &self.file))?;
            if let Some(last) = read.iter().rposition(|byte| *byte != 0) {
                torn = at + last as u64 + 1 - self.length();
            }
            at += read.len() as u64;
            if read.len() < PIECE_BYTES {
                return Ok(torn);
            }
        }
    }

    pub(super) fn damaged(&self, index: usize, why: &'static str) -> AuditError {
        AuditError::Damaged { file: self.file.clone(), line: index as u64 + 1, why }
    }
}

impl Piece {
    fn line(&self, within: usize) -> Option<&[u8]> {
        let (start, end) = (self.starts.get(within)?, self.starts.get(within + 1)?);
        Some(&self.bytes[*start..end - 1])
    }
}

/// Whether the segment goes on to just before `next`, looking at its end alone if that is where the answer lies.
pub(super) fn reaches(folder: &Path, first: u64, next: u64) -> Result<(), AuditError> {
    let file = folder.join(segment_name(first));
    let tail = tail(&file).map_err(AuditError::io("read", &file))?;
    let last = tail.split(|byte| *byte == b'\n').rev().find_map(|line| serde_json::from_slice::<Entry>(line).ok());
    match last {
        Some(entry) if entry.sequence + 1 == next => Ok(()),
        _ => Lines::open(folder, first, Some(next)).map(drop),
    }
}

/// When the segment begins; `None` while it is empty.
pub(super) fn first_time(folder: &Path, first: u64) -> Result<Option<Timestamp>, AuditError> {
    let file = folder.join(segment_name(first));
    let mut buffer = vec![0; LINE_BYTES];
    let opened = File::open(&file).map_err(AuditError::io("read", &file))?;
    let read = read_at(&opened, &mut buffer, 0).map_err(AuditError::io("read", &file))?;
    let [_, end, ..] = starts(read)[..] else { return Ok(None) };
    match parse(&read[..end - 1], first) {
        Ok(entry) => Ok(Some(entry.time)),
        Err(why) => Err(AuditError::Damaged { file, line: 1, why }),
    }
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

fn parse(line: &[u8], sequence: u64) -> Result<Entry, &'static str> {
    let entry: Entry = serde_json::from_slice(line).map_err(|_| "not an entry")?;
    if entry.sequence == sequence { Ok(entry) } else { Err("the sequence does not follow that of the line before") }
}

/// Reads from the beginning, a piece at a time, up to what was not written as yet.
fn marks(file: &File) -> io::Result<Vec<Mark>> {
    let (mut buffer, mut at, mut lines, mut marks) = (vec![0; PIECE_BYTES], 0, 0, vec![Mark::default()]);
    loop {
        let written = written(read_at(file, &mut buffer, at)?);
        if let Some(last) = written.iter().rposition(|byte| *byte == b'\n') {
            lines += written[..=last].iter().filter(|byte| **byte == b'\n').count();
            marks.push(Mark { lines, bytes: at + last as u64 + 1 });
        }
        at += written.len() as u64;
        if written.len() < PIECE_BYTES {
            return Ok(marks);
        }
    }
}

/// As much of the buffer as the file fills from there on.
fn read_at<'a>(file: &File, buffer: &'a mut [u8], at: u64) -> io::Result<&'a [u8]> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], at + length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(&buffer[..length])
}

/// What comes before the first byte of zero.
fn written(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len())]
}

/// Where each complete line begins, and after them where the last ends.
fn starts(bytes: &[u8]) -> Vec<usize> {
    let ends = written(bytes).iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(ends).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment of lines whose lengths go up to the longest, with room for 64 MiB after them.
    fn segment(folder: &Path) -> Vec<String> {
        let line = |sequence: usize| {
            let method = "x".repeat(sequence * 37 % (LINE_BYTES - 200));
            format!(r#"{{"time":"2026-11-24T08:00:00.000Z","sequence":{sequence},"node":"n","event":"read","method":"{method}"}}"#)
        };
        let lines: Vec<_> = (1..=400).map(line).collect();
        let file = File::create(folder.join(segment_name(1))).expect("made");
        file.write_all_at((lines.join("\n") + "\n{\"torn").as_bytes(), 0).expect("written");
        file.set_len(64 << 20).expect("room");
        lines
    }

    #[test]
    fn every_line_is_found_from_either_end_and_little_is_in_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let expected = segment(folder.path());
        assert!(expected.iter().map(String::len).sum::<usize>() > 10 * PIECE_BYTES, "several pieces");
        let mut lines = Lines::open(folder.path(), 1, None).expect("opened");
        assert_eq!((lines.count(), lines.torn().expect("read")), (400, 6));
        for index in (0..400).chain((0..400).rev()) {
            let (entry, length) = lines.entry(index).expect("undamaged").expect("there");
            assert_eq!((entry.sequence, length), (index as u64 + 1, expected[index].len()));
            let piece = lines.piece.as_ref().expect("just read");
            assert!(piece.bytes.capacity() <= PIECE_BYTES + LINE_BYTES, "{}", piece.bytes.capacity());
        }
    }

    #[test]
    fn lines_that_are_cut_off_meanwhile_are_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let expected = segment(folder.path());
        let mut lines = Lines::open(folder.path(), 1, None).expect("opened");
        let kept: usize = expected[..300].iter().map(|line| line.len() + 1).sum();
        let file = File::options().write(true).open(folder.path().join(segment_name(1))).expect("opened");
        file.set_len(kept as u64).expect("cut");
        assert!(lines.entry(299).expect("undamaged").is_some());
        assert!(lines.entry(300).expect("no fault").is_none() && lines.entry(399).expect("no fault").is_none());
    }
}
