//! Going on after a stop or a crash.
//!
//! A crash during a write leaves part of a group behind: a process that was killed, the beginning of it; a power cut, any of
//! its sectors, with zeros between them, since the segment was zero-filled and synced before. None of it was acknowledged.
//! So the log ends before the first line that is cut off or holds a zero byte, and what follows is wiped, if it is no more
//! than one group can be. A complete line that does not parse or is out of sequence is no crash's work.

use std::collections::HashSet;
use std::path::Path;

use super::lines::{Lines, reaches};
use super::queue::GROUP_BYTES;
use super::reader::{Filter, Order, Reader};
use super::segment::{Folder, Segment, fill, segments_in};
use super::{AuditError, Entry, Event, IN_DOUBT};
use crate::model::Timestamp;

/// How far back an intent without an outcome is looked for, in entries.
const LOOK_BACK: usize = 10_000;

/// What was found when the log was opened.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// Sequence of the last entry; 0 if there is none.
    pub last_sequence: u64,
    /// Time of the last entry: the vault's time does not go back behind it.
    pub last_time: Option<Timestamp>,
    /// Bytes of a group that a crash cut short, now wiped. Nobody was told that they were written.
    pub torn_bytes: u64,
    /// Intents among the last 10,000 entries that no outcome closes, [`IN_DOUBT`] being none, oldest first: changes "in doubt".
    pub open_intents: Vec<Entry>,
}

/// Makes the newest segment fit to be written on, or makes the first one, and says what the log holds.
pub(super) fn recover(folder: &Folder, segment_bytes: u64) -> Result<(Segment, Recovered), AuditError> {
    folder.remove_spare().map_err(AuditError::io("tidy", &folder.path))?;
    let firsts = segments_in(&folder.path).map_err(AuditError::io("list", &folder.path))?;
    for pair in firsts.windows(2) {
        reaches(&folder.path, pair[0], pair[1])?;
    }
    let (segment, last_sequence, torn_bytes) = match firsts.last() {
        Some(first) => mend(folder, *first, segment_bytes)?,
        None => (begin(folder, segment_bytes)?, 0, 0),
    };
    let mut recovered = Recovered { last_sequence, torn_bytes, ..Recovered::default() };
    look_back(&folder.path, &mut recovered)?;
    Ok((segment, recovered))
}

fn begin(folder: &Folder, segment_bytes: u64) -> Result<Segment, AuditError> {
    let made = folder.prepare_spare(segment_bytes).and_then(|file| {
        folder.name_spare(1, false)?;
        folder.sync()?;
        Ok(Segment { first: 1, file, length: 0 })
    });
    made.map_err(AuditError::io("begin a segment in", &folder.path))
}

fn mend(folder: &Folder, first: u64, segment_bytes: u64) -> Result<(Segment, u64, u64), AuditError> {
    let mut lines = Lines::open(&folder.path, first, None)?;
    (0..lines.count()).try_for_each(|index| lines.entry(index).map(drop))?;
    let (length, torn) = (lines.length(), lines.torn()?);
    if torn > GROUP_BYTES as u64 {
        return Err(lines.damaged(lines.count(), "more follows than one crash can leave behind"));
    }
    let file = folder.open_segment(first).map_err(AuditError::io("open", &lines.file))?;
    let file_bytes = file.metadata().map_err(AuditError::io("look at", &lines.file))?.len();
    fill(&file, length, segment_bytes.max(file_bytes)).map_err(AuditError::io("make ready", &lines.file))?;
    let last = first + lines.count() as u64 - 1;
    Ok((Segment { first, file, length }, last, torn))
}

fn look_back(folder: &Path, recovered: &mut Recovered) -> Result<(), AuditError> {
    let mut closed = HashSet::new();
    for entry in Reader::open(folder)?.entries(Filter::default(), Order::NewestFirst).take(LOOK_BACK) {
        let entry = entry?;
        recovered.last_time = recovered.last_time.or(Some(entry.time));
        match (entry.event, entry.intent) {
            (Event::Outcome, Some(intent)) if entry.outcome.as_deref() != Some(IN_DOUBT) => drop(closed.insert(intent)),
            (Event::Intent, _) if !closed.contains(&entry.sequence) => recovered.open_intents.push(entry),
            _ => {}
        }
    }
    recovered.open_intents.reverse();
    Ok(())
}
