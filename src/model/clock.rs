//! Time: milliseconds since 1970 in UTC, from a clock that is passed in, so that tests can move it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Invalid;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The last representable point: 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// From milliseconds since 1970.
    ///
    /// # Errors
    /// Later than the year 9999.
    pub fn from_unix_ms(milliseconds: u64) -> Result<Self, Invalid> {
        if milliseconds > Self::MAX.0 { Err(Invalid("later than the year 9999")) } else { Ok(Self(milliseconds)) }
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn unix_ms(self) -> u64 {
        self.0
    }

    /// This point and a duration after it, at most [`Timestamp::MAX`].
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(milliseconds).min(Self::MAX.0))
    }

    /// How long after `earlier` this is; zero if it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// From RFC 3339 text, e.g. `2026-11-24T08:00:00Z`.
    ///
    /// # Errors
    /// Not RFC 3339, before 1970 or after 9999.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const WHY: Invalid = Invalid("a time is written as RFC 3339, e.g. 2026-11-24T08:00:00Z");
        let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| WHY)?;
        let milliseconds = moment.unix_timestamp_nanos() / 1_000_000;
        Self::from_unix_ms(u64::try_from(milliseconds).map_err(|_| WHY)?)
    }
}

/// RFC 3339 in UTC with milliseconds.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = i128::from(self.0) * 1_000_000;
        let moment = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (date, clock) = (moment.date(), moment.time());
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            clock.hour(),
            clock.minute(),
            clock.second(),
            clock.millisecond()
        )
    }
}

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The present.
    fn now(&self) -> Timestamp;

    /// How far what it shows is ahead of the machine's clock.
    fn ahead(&self) -> Duration {
        Duration::ZERO
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::default().plus(since)
    }
}

/// A clock that never shows less than it was told: the vault's time is the later of the machine's and the last audited
/// one, so that setting the machine's clock back brings nothing expired to life again.
pub struct FlooredClock<C> {
    inner: C,
    floor: AtomicU64,
}

impl<C: Clock> FlooredClock<C> {
    /// Over `inner`, with no floor yet.
    pub fn new(inner: C) -> Self {
        Self { inner, floor: AtomicU64::new(0) }
    }

    /// From now on never shows less than `time`.
    pub fn raise_floor(&self, time: Timestamp) {
        self.floor.fetch_max(time.0, Ordering::AcqRel);
    }
}

impl<C: Clock> Clock for FlooredClock<C> {
    fn now(&self) -> Timestamp {
        let now = self.inner.now();
        let floor = self.floor.fetch_max(now.0, Ordering::AcqRel);
        Timestamp(now.0.max(floor))
    }

    fn ahead(&self) -> Duration {
        self.now().since(self.inner.now())
    }
}

/// Watches a clock against the time that really passes: the machine's monotonic clock.
pub struct ClockWatch {
    at: Timestamp,
    since: Instant,
}

impl ClockWatch {
    /// How far a clock may run ahead of the time that passed: more than any slewing or leap second, less than what would
    /// end a recovery window before its time.
    const PLAUSIBLE: Duration = Duration::from_secs(3600);

    /// From now on.
    pub fn start(clock: &dyn Clock) -> Self {
        Self { at: clock.now(), since: Instant::now() }
    }

    /// How far the clock has run ahead of the time that passed, or of the machine's clock, if that is more than an hour. The
    /// latter outlives a restart: a log that was written while the machine's clock was wrong holds the vault's time up.
    pub fn implausible_jump(&self, clock: &dyn Clock) -> Option<Duration> {
        let ahead = clock.now().since(self.at.plus(self.since.elapsed())).max(clock.ahead());
        (ahead > Self::PLAUSIBLE).then_some(ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_number_agree() {
        let time = Timestamp::parse("2026-11-24T08:00:00.123Z").expect("valid");
        assert_eq!(time.to_string(), "2026-11-24T08:00:00.123Z");
        assert_eq!(Timestamp::parse("2026-11-24T09:00:00.123+01:00"), Ok(time));
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999Z");
        assert!(Timestamp::from_unix_ms(Timestamp::MAX.unix_ms() + 1).is_err());
        assert!(Timestamp::parse("yesterday").is_err());
        assert!(Timestamp::parse("1969-12-31T23:59:59Z").is_err());
        assert_eq!(Timestamp::MAX.plus(Duration::from_secs(1)), Timestamp::MAX);
    }

    #[test]
    fn a_floored_clock_never_goes_back() {
        struct Hands(AtomicU64);
        impl Clock for Hands {
            fn now(&self) -> Timestamp {
                Timestamp(self.0.load(Ordering::Relaxed))
            }
        }
        let clock = FlooredClock::new(Hands(AtomicU64::new(1_000)));
        assert_eq!(clock.now().unix_ms(), 1_000);
        clock.inner.0.store(500, Ordering::Relaxed);
        assert_eq!(clock.now().unix_ms(), 1_000);
        clock.raise_floor(Timestamp(2_000));
        assert_eq!(clock.now().unix_ms(), 2_000);
        clock.inner.0.store(3_000, Ordering::Relaxed);
        assert_eq!(clock.now().unix_ms(), 3_000);
        // A log of five days ahead holds the vault's time up: no time that passed, however often the server starts.
        let days = 5 * 24 * 3_600_000;
        clock.raise_floor(Timestamp(3_000 + days));
        assert_eq!(clock.ahead(), Duration::from_millis(days));
        let watch = ClockWatch::start(&clock);
        assert_eq!(watch.implausible_jump(&clock), Some(Duration::from_millis(days)));
        clock.inner.0.store(3_000 + days, Ordering::Relaxed);
        assert!(watch.implausible_jump(&clock).is_none(), "the machine's clock has caught up");
    }
}
