//! Counting what would otherwise fill the disk: strangers at the door, and principals who are denied again and again.
//!
//! Within a minute the first [`IN_FULL`] of each key are written, the others counted; once a minute the counts become
//! summary entries. Strangers and principals have separate tables and budgets, so that a flood of strangers hides no
//! principal's denials. In a minute at most [`BUDGET`] entries in full and [`SUMMARIES`] + 1 summaries come out of each table,
//! whatever comes in: about 2,200 entries, or 1 MiB.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Draft, Event, Importance};
use crate::model::{SpiffeId, Timestamp};

/// Entries in full of one key in a minute.
const IN_FULL: u64 = 10;
/// Entries in full of all keys of a table in a minute.
const BUDGET: u64 = 1_000;
/// Keys of a table; what comes beyond is counted together.
const KEYS: usize = 10_000;
/// Keys that get a summary of their own, those with the highest counts; the rest is summed up.
const SUMMARIES: usize = 100;
const MINUTE: Duration = Duration::from_secs(60);

/// Whose doing, and what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TallyKey {
    who: Who,
    what: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    Principal(SpiffeId),
    /// The first address of a /24 or /56.
    Network(IpAddr),
}

/// What is to be done about one occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// Write it in full.
    WriteNow,
    /// It is counted, and will be in the next summary.
    Counted,
}

/// Counts by key, for one minute at a time.
#[derive(Debug, Default)]
pub struct Tally {
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    strangers: Table,
    principals: Table,
}

#[derive(Debug, Default)]
struct Table {
    began: Timestamp,
    written: u64,
    keys: HashMap<TallyKey, Count>,
    others: Count,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    written: u64,
    counted: u64,
}

impl TallyKey {
    /// A stranger: one whose connection proved no principal. Counted by network, /24 or /56, since a neighbour's address is
    /// as easily had as one's own.
    #[must_use]
    pub fn stranger(address: IpAddr, reason: &'static str) -> Self {
        Self { who: Who::Network(network(address)), what: reason }
    }

    /// A principal whose call of `method` was denied.
    #[must_use]
    pub fn denied(principal: &SpiffeId, method: &'static str) -> Self {
        Self { who: Who::Principal(principal.clone()), what: method }
    }

    fn summary(&self, count: Count) -> Draft {
        let draft = summary(self.what, count);
        match &self.who {
            Who::Principal(id) => Draft { principal: Some(id.clone()), ..draft },
            Who::Network(IpAddr::V4(first)) => draft.with("network", format_args!("{first}/24")),
            Who::Network(IpAddr::V6(first)) => draft.with("network", format_args!("{first}/56")),
        }
    }
}

impl Tally {
    /// Nothing counted as yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one occurrence.
    pub fn observe(&self, key: TallyKey, now: Timestamp) -> Observed {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        match key.who {
            Who::Principal(_) => tables.principals.observe(key, now),
            Who::Network(_) => tables.strangers.observe(key, now),
        }
    }

    /// The summaries of what was counted, if a minute has passed since the table's first occurrence; nothing otherwise. To be
    /// called a few times a minute, and with [`Timestamp::MAX`] before the log is closed.
    pub fn drain(&self, now: Timestamp) -> Vec<Draft> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let mut drafts = tables.strangers.drain(now, "strangers");
        drafts.extend(tables.principals.drain(now, "denials"));
        drafts
    }
}

impl Table {
    fn observe(&mut self, key: TallyKey, now: Timestamp) -> Observed {
        if self.is_unused() {
            self.began = now;
        }
        let full = self.keys.len() >= KEYS && !self.keys.contains_key(&key);
        let count = if full { &mut self.others } else { self.keys.entry(key).or_default() };
        if count.written < IN_FULL && self.written < BUDGET {
            count.written += 1;
            self.written += 1;
            return Observed::WriteNow;
        }
        count.counted += 1;
        Observed::Counted
    }

    fn drain(&mut self, now: Timestamp, word: &'static str) -> Vec<Draft> {
        if self.is_unused() || now.since(self.began) < MINUTE {
            return Vec::new();
        }
        let minute = std::mem::take(self);
        let mut counts: Vec<_> = minute.keys.into_iter().filter(|(_, count)| count.counted > 0).collect();
        counts.sort_unstable_by_key(|(_, count)| std::cmp::Reverse(count.counted));
        let rest = counts.split_off(counts.len().min(SUMMARIES));
        let mut drafts: Vec<_> = counts.iter().map(|(key, count)| key.summary(*count)).collect();
        let others = rest.iter().fold(minute.others, |sum, (_, count)| sum.plus(*count));
        if others.counted > 0 {
            drafts.push(summary(word, others).with("keys", rest.len()).with("network", "others"));
        }
        drafts
    }

    fn is_unused(&self) -> bool {
        self.keys.is_empty()
    }
}

impl Count {
    fn plus(self, other: Self) -> Self {
        Self { written: self.written + other.written, counted: self.counted + other.counted }
    }
}

fn summary(method: &'static str, count: Count) -> Draft {
    let draft = Draft::new(Event::Summary, method).with("counted", count.counted).with("written", count.written);
    Draft { importance: Importance::Always, ..draft }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & 0xffff_ff00).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !0 << 72).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default().plus(Duration::from_secs(1_000 + seconds))
    }

    fn stranger(number: u32) -> TallyKey {
        TallyKey::stranger(Ipv4Addr::from_bits(number << 8 | 7).into(), "handshake: no certificate")
    }

    fn counted(drafts: &[Draft]) -> u64 {
        let line = |draft: &Draft| String::from_utf8(draft.render()).expect("UTF-8");
        let number = |line: String| line.split("\"counted\":\"").nth(1).and_then(|rest| rest.split('"').next()?.parse::<u64>().ok());
        drafts.iter().filter_map(|draft| number(line(draft))).sum()
    }

    #[test]
    fn the_first_ten_are_written_and_the_rest_is_counted_until_the_minute_is_over() {
        let tally = Tally::new();
        let seen: Vec<_> = (0..25).map(|_| tally.observe(stranger(1), at(0))).collect();
        assert_eq!(seen.iter().filter(|seen| **seen == Observed::WriteNow).count(), 10);
        assert!(tally.drain(at(59)).is_empty());
        let drafts = tally.drain(at(60));
        assert_eq!((drafts.len(), counted(&drafts)), (1, 15));
        assert!(tally.drain(at(120)).is_empty());
        assert_eq!(tally.observe(stranger(1), at(121)), Observed::WriteNow);
    }

    #[test]
    fn neighbours_are_one_and_a_principal_is_another() {
        let same = |a: &str, b: &str| {
            TallyKey::stranger(a.parse().expect("an address"), "x") == TallyKey::stranger(b.parse().expect("an address"), "x")
        };
        assert!(same("192.0.2.1", "192.0.2.254") && !same("192.0.2.1", "192.0.3.1"));
        assert!(same("2001:db8:0:aa00::1", "2001:db8:0:aaff:ffff::2") && !same("2001:db8:0:aa00::1", "2001:db8:0:ab00::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.9"));
    }

    // immune: row-67
    #[test]
    fn a_million_strangers_from_everywhere_leave_little_and_hide_no_principal() {
        let tally = Tally::new();
        let written = (0..1_000_000).filter(|number| tally.observe(stranger(number % 50_000), at(0)) == Observed::WriteNow).count();
        assert_eq!(written, 1_000);
        let someone = "spiffe://shop.example/backend".parse().expect("valid");
        assert_eq!(tally.observe(TallyKey::denied(&someone, "GetSecret"), at(1)), Observed::WriteNow);
        let drafts = tally.drain(at(60));
        assert_eq!(drafts.len(), SUMMARIES + 1);
        assert_eq!(counted(&drafts) + 1_000, 1_000_000);
    }
}
