//! Rows a second: the bound that is kept, and the rate that is measured. Both go by the time that really passes, and not by a
//! clock that somebody may set.

use std::time::Duration;

use tokio::time::Instant;

/// So much of what was not used may be made up for.
const BURST: Duration = Duration::from_millis(200);
/// The rate is measured over at least so long.
const WINDOW: Duration = Duration::from_secs(1);

/// Keeps a run to its rate. Pure: it is told what time it is.
#[derive(Debug)]
pub(super) struct Pace {
    due: Instant,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self { due: now }
    }

    /// When more rows may be done.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// So many rows are done now, of so many a second.
    pub(super) fn take(&mut self, rows: usize, rate_per_s: u32, now: Instant) {
        let took = Duration::from_secs_f64(rows as f64 / f64::from(rate_per_s.max(1)));
        self.due = self.due.max(now.checked_sub(BURST).unwrap_or(now)) + took;
    }
}

/// Measures a run's rate. Pure, too.
#[derive(Debug)]
pub(super) struct Rate {
    since: Instant,
    rows: u64,
}

impl Rate {
    pub(super) const fn new(now: Instant) -> Self {
        Self { since: now, rows: 0 }
    }

    /// So many more rows are done. The rate, once a window is over.
    pub(super) fn count(&mut self, rows: u64, now: Instant) -> Option<u32> {
        self.rows += rows;
        let passed = now.duration_since(self.since);
        if passed < WINDOW {
            return None;
        }
        let rate = self.rows as f64 / passed.as_secs_f64();
        *self = Self::new(now);
        Some(rate as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn no_more_rows_a_second_than_may_be_and_not_many_fewer() {
        let begin = Instant::now();
        for (rate, rows) in [(1, 1), (100, 10), (20_000, 504), (1_000_000, 504)] {
            let (mut pace, mut now, mut done) = (Pace::new(begin), begin, 0);
            while now.duration_since(begin) < SECOND * 10 {
                pace.take(rows, rate, now);
                done += rows;
                now = now.max(pace.due());
            }
            let (done, rate) = (done as f64, f64::from(rate));
            assert!((rate * 9.9..=rate * 10.2 + rows as f64).contains(&done), "{done} at {rate}");
        }
    }

    #[test]
    fn a_rest_is_not_made_up_for() {
        let begin = Instant::now();
        let (mut pace, mut done) = (Pace::new(begin), 0);
        let rested = begin + SECOND * 3600;
        let mut now = rested;
        while now.duration_since(rested) < SECOND {
            pace.take(10, 100, now);
            done += 10;
            now = now.max(pace.due());
        }
        assert!(done <= 130, "{done} in the second after an hour of rest");
    }

    #[test]
    fn the_rate_is_that_of_the_last_window() {
        let begin = Instant::now();
        let mut rate = Rate::new(begin);
        assert_eq!(rate.count(100, begin), None);
        assert_eq!(rate.count(100, begin + SECOND * 2), Some(100));
        assert_eq!(rate.count(7, begin + SECOND * 3), Some(7));
    }
}
