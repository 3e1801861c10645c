//! Reading the log, while it is written or after.
//!
//! A reader sees the segments that were there when it was opened, and of the newest what is there when it gets to it. That
//! may include entries whose group is not acknowledged as yet.

use std::path::{Path, PathBuf};

use super::lines::{Lines, first_time};
use super::segment::segments_in;
use super::{AuditError, Decision, Entry, Event};
use crate::model::{Action, Effort, Timestamp};

/// Most entries that one page looks at: a filter that matches little does not make a page endless.
const LOOKED_AT_PER_PAGE: usize = 100_000;
/// Entries after which a page asks whether it is still wanted.
const STRIDE: usize = 256;
/// Lines that are passed over for the cost of looking at one.
const PASSED_OVER_FOR_ONE: usize = 32;

/// The log of one folder, for reading.
#[derive(Debug, Clone)]
pub struct Reader {
    folder: PathBuf,
    firsts: Vec<u64>,
}

/// In which direction entries are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By rising sequence.
    OldestFirst,
    /// By falling sequence.
    NewestFirst,
}

/// Which entries are wanted; a field that is `None` lets all pass.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only after this sequence.
    pub after_sequence: Option<u64>,
    /// Only before this sequence.
    pub before_sequence: Option<u64>,
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Not after this time.
    pub until: Option<Timestamp>,
    /// Only this caller's, by SPIFFE ID.
    pub principal: Option<String>,
    /// Only this action.
    pub action: Option<Action>,
    /// Only this resource and what lies below it: `wepay-prod/merchants` matches `wepay-prod/merchants/1`, not
    /// `wepay-prod/merchants-old`.
    pub resource_prefix: Option<String>,
    /// Only this RPC.
    pub method: Option<String>,
    /// Only this kind of entry.
    pub event: Option<Event>,
    /// Only with this outcome.
    pub outcome: Option<String>,
    /// Only with this decision.
    pub decision: Option<Decision>,
}

/// How long a page may be: it ends at whichever comes first, but has one entry at least if there is one.
#[derive(Debug, Clone, Copy)]
pub struct PageBounds {
    /// Entries.
    pub entries: usize,
    /// Bytes of their lines: the last may go beyond.
    pub bytes: usize,
}

/// Some entries, and where to go on.
#[derive(Debug, Clone)]
pub struct Page {
    /// Those that match, in the order asked for; at most as many as asked for, perhaps none although more follow.
    pub entries: Vec<Entry>,
    /// Given as `after` it continues the list; `None` at its end.
    pub next: Option<u64>,
}

/// The entries that match, one by one.
pub struct Entries {
    reader: Reader,
    filter: Filter,
    order: Order,
    /// Sequences still to be looked at: from the one to before the other.
    ahead: std::ops::Range<u64>,
    opened: Option<(usize, Lines)>,
    looked_at: usize,
    /// Length of the line that was looked at last.
    line_bytes: usize,
    effort: Effort,
}

impl Reader {
    /// Lists the folder's segments.
    ///
    /// # Errors
    /// `Io` if it cannot be listed.
    pub fn open(folder: &Path) -> Result<Self, AuditError> {
        let firsts = segments_in(folder).map_err(AuditError::io("list", folder))?;
        Ok(Self { folder: folder.to_owned(), firsts })
    }

    /// The entries that match. Whole segments are skipped by their sequences and times. After an error it ends.
    #[must_use]
    pub fn entries(&self, filter: Filter, order: Order) -> Entries {
        let ahead = filter.after_sequence.map_or(0, |after| after.saturating_add(1))..filter.before_sequence.unwrap_or(u64::MAX);
        Entries { reader: self.clone(), filter, order, ahead, opened: None, looked_at: 0, line_bytes: 0, effort: Effort::default() }
    }

    /// As many of the entries that match as the bounds let in, after the one with sequence `after` in the order asked for. What
    /// was looked at is added to `effort`, whatever comes of it; `is_wanted` is asked now and then, and where it says no the
    /// page ends.
    ///
    /// # Errors
    /// `Io`; `Damaged` with file and line.
    pub fn page(
        &self,
        filter: &Filter,
        order: Order,
        after: Option<u64>,
        bounds: PageBounds,
        effort: &Effort,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Page, AuditError> {
        let mut filter = filter.clone();
        match (order, after) {
            (Order::OldestFirst, Some(after)) => filter.after_sequence = filter.after_sequence.max(Some(after)),
            (Order::NewestFirst, Some(after)) => filter.before_sequence = Some(filter.before_sequence.map_or(after, |old| old.min(after))),
            (_, None) => {}
        }
        let mut rest = self.entries(filter, order);
        rest.effort = effort.clone();
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while entries.len() < bounds.entries && bytes < bounds.bytes && rest.looked_at < LOOKED_AT_PER_PAGE {
            if rest.looked_at.is_multiple_of(STRIDE) && !is_wanted() {
                break;
            }
            match rest.step()? {
                Some(entry) if rest.filter.matches(&entry) => {
                    bytes += rest.line_bytes;
                    entries.push(entry);
                }
                Some(_) => {}
                None => return Ok(Page { entries, next: None }),
            }
        }
        Ok(Page { entries, next: rest.last_looked_at() })
    }

    /// The first sequence that is still there, if any is.
    #[must_use]
    pub fn begins_at(&self) -> Option<u64> {
        self.firsts.first().copied()
    }

    /// The newest entry for which `wanted` holds, e.g. the last that has a detail `policy_generation`.
    ///
    /// # Errors
    /// `Io`; `Damaged` with file and line.
    pub fn last_matching(&self, mut wanted: impl FnMut(&Entry) -> bool) -> Result<Option<Entry>, AuditError> {
        let found = |entry: &Result<Entry, AuditError>| entry.as_ref().map_or(true, &mut wanted);
        self.entries(Filter::default(), Order::NewestFirst).find(found).transpose()
    }

    fn open_segment(&self, index: usize) -> Result<Lines, AuditError> {
        Lines::open(&self.folder, self.firsts[index], self.firsts.get(index + 1).copied())
    }

    /// How many segments begin at or before the sequence.
    fn begun_by(&self, sequence: u64) -> usize {
        self.firsts.partition_point(|first| *first <= sequence)
    }

    /// How many segments begin with an entry for which `early` holds; times never fall, so that they are the first ones.
    fn begun_while(&self, early: impl Fn(Timestamp) -> bool) -> Result<usize, AuditError> {
        let (mut low, mut high) = (0, self.firsts.len());
        while low < high {
            let middle = (low + high) / 2;
            let begins = first_time(&self.folder, self.firsts[middle])?;
            if begins.is_some_and(&early) { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }
}

impl Filter {
    fn matches(&self, entry: &Entry) -> bool {
        self.since.is_none_or(|since| entry.time >= since)
            && self.until.is_none_or(|until| entry.time <= until)
            && same(self.principal.as_ref(), entry.principal.as_ref())
            && same(self.action.as_ref(), entry.action.as_ref())
            && same(self.method.as_ref(), Some(&entry.method))
            && same(self.event.as_ref(), Some(&entry.event))
            && same(self.outcome.as_ref(), entry.outcome.as_ref())
            && same(self.decision.as_ref(), entry.decision.as_ref())
            && self
                .resource_prefix
                .as_ref()
                .is_none_or(|prefix| entry.resource.as_ref().is_some_and(|resource| lies_below(resource, prefix)))
    }
}

impl Entries {
    /// The next entry that sequences and times leave, whether it matches or not.
    fn step(&mut self) -> Result<Option<Entry>, AuditError> {
        if self.looked_at == 0 {
            self.skip_by_time()?;
        }
        while !self.ahead.is_empty() {
            let Some(entry) = self.next_ahead()? else { continue };
            self.looked_at += 1;
            self.effort.add(1);
            let beyond = match self.order {
                Order::OldestFirst => self.filter.until.is_some_and(|until| entry.time > until),
                Order::NewestFirst => self.filter.since.is_some_and(|since| entry.time < since),
            };
            if beyond {
                self.ahead = 0..0;
                return Ok(None);
            }
            return Ok(Some(entry));
        }
        Ok(None)
    }

    /// The entry at the near end of what is ahead, which is shortened by it; by what is in no segment if there is none.
    fn next_ahead(&mut self) -> Result<Option<Entry>, AuditError> {
        let wanted = match self.order {
            Order::OldestFirst => self.ahead.start,
            Order::NewestFirst => self.ahead.end - 1,
        };
        let Some(segment) = self.reader.begun_by(wanted).checked_sub(1) else {
            let begin = self.reader.firsts.first().copied().filter(|_| self.order == Order::OldestFirst);
            self.ahead = begin.map_or(0..0, |begin| begin..self.ahead.end);
            return Ok(None);
        };
        let first = self.reader.firsts[segment];
        let lines = self.lines(segment)?;
        let end = first + lines.count() as u64;
        let found =
            if wanted < end { lines.entry(usize::try_from(wanted - first).expect("below the count, which is a usize"))? } else { None };
        self.ahead = match (self.order, &found) {
            (Order::OldestFirst, Some(_)) => wanted + 1..self.ahead.end,
            (Order::NewestFirst, Some(_)) => self.ahead.start..wanted,
            // Only the newest segment can end before what is wanted.
            (Order::OldestFirst, None) => 0..0,
            (Order::NewestFirst, None) => self.ahead.start..end.min(wanted),
        };
        Ok(found.map(|(entry, bytes)| {
            self.line_bytes = bytes;
            entry
        }))
    }

    fn lines(&mut self, segment: usize) -> Result<&mut Lines, AuditError> {
        let lines = match self.opened.take() {
            Some((opened, lines)) if opened == segment => lines,
            _ => {
                let lines = self.reader.open_segment(segment)?;
                self.effort.add(lines.count() / PASSED_OVER_FOR_ONE);
                lines
            }
        };
        Ok(&mut self.opened.insert((segment, lines)).1)
    }

    fn skip_by_time(&mut self) -> Result<(), AuditError> {
        if let Some(since) = self.filter.since {
            let begun = self.reader.begun_while(|time| time < since)?;
            self.ahead.start = self.ahead.start.max(begun.checked_sub(1).map_or(0, |index| self.reader.firsts[index]));
        }
        if let Some(until) = self.filter.until {
            let begun = self.reader.begun_while(|time| time <= until)?;
            self.ahead.end = self.ahead.end.min(self.reader.firsts.get(begun).copied().unwrap_or(u64::MAX));
        }
        Ok(())
    }

    fn last_looked_at(&self) -> Option<u64> {
        match self.order {
            Order::OldestFirst => self.ahead.start.checked_sub(1),
            Order::NewestFirst => Some(self.ahead.end),
        }
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, AuditError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step() {
                Ok(Some(entry)) if self.filter.matches(&entry) => return Some(Ok(entry)),
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => {
                    self.ahead = 0..0;
                    return Some(Err(error));
                }
            }
        }
    }
}

fn same<T: PartialEq>(wanted: Option<&T>, found: Option<&T>) -> bool {
    wanted.is_none() || wanted == found
}

fn lies_below(resource: &str, prefix: &str) -> bool {
    resource.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || prefix.is_empty() || prefix.ends_with('/') || rest.starts_with('/'))
}
