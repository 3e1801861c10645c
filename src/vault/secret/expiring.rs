//! Which values of a watch expire soon: when to look, and what of what is seen is to be told. Pure.
//!
//! The horizon is how far ahead of the present has been told. It only moves ahead; a sweep over all rows tells what lies
//! between the old horizon and the new one, so that nothing is told twice and no secret need be remembered. A row that has
//! changed since the sweep began is left to its change, which is judged by the same horizon.

use std::time::Duration;

use crate::model::Timestamp;
use crate::storage::{Key, Revision};

/// How far a watch has looked ahead.
#[derive(Debug)]
pub(super) struct Expiring {
    window: Duration,
    /// What expires until then was told.
    horizon: Timestamp,
    /// The first expiry beyond it that was seen.
    next: Option<Timestamp>,
    sweep: Option<Sweep>,
}

/// A look at all rows, page by page.
#[derive(Debug)]
struct Sweep {
    /// What expires after that is told.
    from: Timestamp,
    /// What had changed until then was told before.
    at: Revision,
    /// The last row that was looked at; none before the first.
    after: Option<Key>,
}

impl Expiring {
    /// Nothing was looked at yet.
    pub(super) fn new(window: Duration, now: Timestamp) -> Self {
        // The first sweep is due at once.
        Self { window, horizon: now, next: Some(now), sweep: None }
    }

    /// Whether a sweep has begun and not ended.
    pub(super) const fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    /// When to look again, if ever; what is due now lies in the past.
    pub(super) fn due(&self) -> Option<Timestamp> {
        if self.sweep.is_some() {
            return Some(Timestamp::default());
        }
        let since = |time: Timestamp| Timestamp::default().plus(time.since(Timestamp::default()).saturating_sub(self.window));
        self.next.map(since)
    }

    /// Where the next page begins, if a look is due: `Some(None)` at the beginning. `told` is the revision up to which
    /// changes were told.
    pub(super) fn next_page(&mut self, now: Timestamp, told: Revision) -> Option<Option<Key>> {
        if self.sweep.is_none() && self.due().is_some_and(|due| due <= now) {
            let from = self.horizon;
            self.horizon = self.horizon.max(now.plus(self.window));
            self.next = None;
            self.sweep = Some(Sweep { from, at: told, after: None });
        }
        self.sweep.as_ref().map(|sweep| sweep.after.clone())
    }

    /// The page was looked at up to this row; none if it was the last.
    pub(super) fn page_ended(&mut self, last: Option<Key>) {
        match (&mut self.sweep, last) {
            (Some(sweep), Some(last)) => sweep.after = Some(last),
            _ => self.sweep = None,
        }
    }

    /// Whether a row that a sweep came by is to be told of. `is_told` says whether a change of it since a revision is told of by
    /// itself: a row that was only put under another key is not.
    pub(super) fn sees_row(&mut self, expires: Option<Timestamp>, revision: Revision, is_told: impl Fn(Revision) -> bool) -> bool {
        let Some(expires) = self.within(expires) else { return false };
        self.sweep.as_ref().is_some_and(|sweep| expires > sweep.from && (revision <= sweep.at || !is_told(sweep.at)))
    }

    /// Whether a row that has changed is to be told of.
    pub(super) fn sees_change(&mut self, expires: Option<Timestamp>, now: Timestamp) -> bool {
        self.within(expires).is_some_and(|expires| expires > now)
    }

    /// What lies beyond the horizon is noted, and due later.
    fn within(&mut self, expires: Option<Timestamp>) -> Option<Timestamp> {
        let expires = expires?;
        if expires <= self.horizon {
            return Some(expires);
        }
        self.next = Some(self.next.map_or(expires, |next| next.min(expires)));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn at(days: u32) -> Timestamp {
        Timestamp::default().plus(DAY * (1_000 + days))
    }

    fn revision(number: u64) -> Revision {
        Revision::from_number(number)
    }

    /// A sweep over rows of (expiry in days, revision): which of them it tells of.
    fn sweep(expiring: &mut Expiring, now: Timestamp, told: u64, rows: &[(u32, u64)]) -> Vec<u32> {
        if expiring.next_page(now, revision(told)).is_none() {
            return Vec::new();
        }
        let seen =
            rows.iter().filter(|(days, row)| expiring.sees_row(Some(at(*days)), revision(*row), |_| true)).map(|(days, _)| *days).collect();
        expiring.page_ended(None);
        seen
    }

    #[test]
    fn each_is_told_once_when_it_comes_into_the_window() {
        let mut expiring = Expiring::new(DAY * 7, at(0));
        let rows = [(0, 1), (1, 1), (7, 1), (8, 1), (30, 1)];
        assert_eq!(sweep(&mut expiring, at(0), 1, &rows), [1, 7], "what has expired does not expire soon");
        assert_eq!(expiring.due(), Some(at(1)));
        assert_eq!(expiring.next_page(at(0), revision(1)), None, "nothing is due");
        assert_eq!(sweep(&mut expiring, at(1), 1, &rows), [8]);
        assert_eq!(expiring.due(), Some(at(23)));
        // Late, and over the end of what it tells of.
        assert_eq!(sweep(&mut expiring, at(40), 1, &rows), [30]);
        assert_eq!(expiring.due(), None, "no sweep where nothing expires");
    }

    #[test]
    fn a_change_is_told_by_the_same_horizon_and_not_by_the_sweep_too() {
        let mut expiring = Expiring::new(DAY * 7, at(0));
        assert_eq!(expiring.next_page(at(0), revision(5)), Some(None));
        assert!(!expiring.sees_row(Some(at(3)), revision(6), |_| true), "its change will tell");
        assert!(expiring.sees_row(Some(at(3)), revision(6), |_| false), "nobody else tells of what was put under another key");
        assert!(expiring.sees_change(Some(at(3)), at(0)));
        assert!(expiring.sees_row(Some(at(3)), revision(5), |_| true));
        expiring.page_ended(None);
        assert!(!expiring.sees_change(Some(at(9)), at(0)) && !expiring.sees_change(None, at(0)));
        assert!(!expiring.sees_change(Some(at(0)), at(0)), "expired is not expiring");
        assert_eq!(expiring.due(), Some(at(2)), "it will come into the window");
    }

    #[test]
    fn a_sweep_goes_on_page_by_page() {
        let key = |byte: u8| Key::new(vec![byte]).expect("a byte");
        let mut expiring = Expiring::new(DAY, at(0));
        assert_eq!(expiring.next_page(at(0), revision(1)), Some(None));
        expiring.page_ended(Some(key(1)));
        assert!(expiring.due().is_some_and(|due| due <= at(0)), "it goes on at once");
        assert_eq!(expiring.next_page(at(0), revision(9)), Some(Some(key(1))));
        assert!(!expiring.sees_row(Some(at(1)), revision(9), |_| true), "by the revision at which it began");
        expiring.page_ended(None);
        assert_eq!(expiring.next_page(at(0), revision(9)), None);
    }

    #[test]
    fn a_clock_that_goes_back_tells_nothing_twice() {
        let mut expiring = Expiring::new(DAY * 7, at(5));
        assert_eq!(sweep(&mut expiring, at(5), 1, &[(12, 1), (13, 1)]), [12]);
        assert_eq!(sweep(&mut expiring, at(0), 1, &[(12, 1), (13, 1)]), [0_u32; 0]);
        assert_eq!(sweep(&mut expiring, at(6), 1, &[(12, 1), (13, 1)]), [13]);
    }
}
