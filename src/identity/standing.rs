//! What one principal may hold and do at once, however many certificates and connections it has: connections, calls under
//! way, calls a second. Nobody's haste is at the cost of others, and a stolen certificate cannot empty the vault in a minute.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::SpiffeId;

/// Bounds for each principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrincipalLimits {
    /// Connections at once.
    pub connections: usize,
    /// Calls under way at once.
    pub calls: usize,
    /// Calls a second, in the long run.
    pub calls_per_s: u32,
    /// Calls that may come at once after a pause.
    pub burst: u32,
    /// Watches at once.
    pub watches: usize,
}

/// 512 connections, 2,048 calls under way, 1,000 calls a second, 2,000 at once, 64 watches.
impl Default for PrincipalLimits {
    fn default() -> Self {
        Self { connections: 512, calls: 2_048, calls_per_s: 1_000, burst: 2_000, watches: 64 }
    }
}

/// Why a call has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooMuch {
    /// The principal has as many calls under way as it may.
    Calls,
    /// The principal has as many lists, look-ups and readings under way as it may.
    Searches,
    /// The principal calls more often than it may.
    Rate {
        /// When the next call would be let through.
        retry_after: Duration,
    },
}

/// What one principal holds and does at present.
#[derive(Debug)]
pub struct Standing {
    limits: PrincipalLimits,
    connections: Arc<Semaphore>,
    calls: Arc<Semaphore>,
    watches: Arc<Semaphore>,
    searches: Arc<Semaphore>,
    bucket: Bucket,
}

/// The place of one connection; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    standing: Arc<Standing>,
    _place: OwnedSemaphorePermit,
}

/// All principals that are there, or were a moment ago.
pub(super) struct Standings {
    limits: PrincipalLimits,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    standings: HashMap<SpiffeId, Arc<Standing>>,
    /// At this many, those who have left are looked for.
    sweep_at: usize,
}

/// Lists, look-ups and readings of the audit log that go on at once for one principal.
const SEARCHES: usize = 4;

/// Fewer are not worth a look.
const SWEEP: usize = 256;

impl Standing {
    /// Of somebody who does nothing as yet.
    #[must_use]
    pub fn new(limits: PrincipalLimits) -> Arc<Self> {
        let places = |most| Arc::new(Semaphore::new(most));
        let bucket = Bucket::new(limits.calls_per_s, limits.burst);
        Arc::new(Self {
            limits,
            connections: places(limits.connections),
            calls: places(limits.calls),
            watches: places(limits.watches),
            searches: places(SEARCHES),
            bucket,
        })
    }

    /// Begins a call, which ends when its place is dropped.
    ///
    /// # Errors
    /// [`TooMuch`]: it is not to be carried out.
    pub fn begin(&self) -> Result<OwnedSemaphorePermit, TooMuch> {
        let place = self.calls.clone().try_acquire_owned().map_err(|_| TooMuch::Calls)?;
        self.charge(1)?;
        Ok(place)
    }

    /// What is under way is worth so many calls more. Where there is room for one, there is room for all of them: what comes
    /// next waits for as long as they are worth.
    ///
    /// # Errors
    /// [`TooMuch::Rate`]: it is not to be carried out.
    pub fn charge(&self, calls: u32) -> Result<(), TooMuch> {
        self.bucket.take(calls, Instant::now()).map_err(|retry_after| TooMuch::Rate { retry_after })
    }

    /// What was done has turned out to be worth so many calls more: they are taken, whether or not there is room for them, and
    /// what comes next waits for as long as they are worth.
    pub fn owe(&self, calls: u32) {
        // Most calls owe nothing, and need no look at the clock for it.
        if calls > 0 {
            self.bucket.owe(calls, Instant::now());
        }
    }

    /// A place for one more watch, free again when it is dropped.
    #[must_use]
    pub fn watch(&self) -> Option<OwnedSemaphorePermit> {
        self.watches.clone().try_acquire_owned().ok()
    }

    /// A place for a call that goes through much to find little, free again when it is dropped. Waits while as many of its
    /// principal's are under way as may be, so that they take their turns and leave others theirs.
    pub async fn search(&self) -> OwnedSemaphorePermit {
        self.searches.clone().acquire_owned().await.expect("nobody closes it")
    }

    /// Whether nothing is lost when it is forgotten, as far as it can tell: see [`Known::sweep`].
    fn is_as_new(&self, now: Instant) -> bool {
        self.connections.available_permits() == self.limits.connections && self.bucket.is_full(now)
    }
}

impl Seat {
    pub(super) fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }
}

impl Standings {
    pub(super) fn new(limits: PrincipalLimits) -> Self {
        Self { limits, known: Mutex::default() }
    }

    /// A place for one more connection of this principal, if it may have one.
    pub(super) fn seat(&self, id: &SpiffeId) -> Option<Seat> {
        let mut known = self.locked();
        known.sweep();
        let standing = known.standings.entry(id.clone()).or_insert_with(|| Standing::new(self.limits)).clone();
        let place = standing.connections.clone().try_acquire_owned().ok()?;
        Some(Seat { standing, _place: place })
    }

    /// Each critical section leaves the table whole, so a panic elsewhere is no reason to stop counting.
    fn locked(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Forgets who has left and used up nothing; seldom, so that a visit costs the same however many there were.
    fn sweep(&mut self) {
        if self.standings.len() >= self.sweep_at {
            let now = Instant::now();
            // What still holds one, beyond its connections, may have something to pay.
            self.standings.retain(|_, standing| Arc::strong_count(standing) > 1 || !standing.is_as_new(now));
            self.sweep_at = SWEEP.max(2 * self.standings.len());
        }
    }
}

/// A token bucket as one number: the time at which it will be full again (the virtual scheduling of GCRA, ITU-T I.371).
#[derive(Debug)]
struct Bucket {
    begin: Instant,
    /// What one token costs, in nanoseconds.
    interval: u64,
    /// What a full bucket holds, in nanoseconds.
    depth: u64,
    /// Nanoseconds after `begin`.
    full_at: AtomicU64,
}

impl Bucket {
    fn new(per_s: u32, burst: u32) -> Self {
        let interval = 1_000_000_000 / u64::from(per_s.max(1));
        Self { begin: Instant::now(), interval, depth: interval * u64::from(burst.max(1)), full_at: AtomicU64::new(0) }
    }

    fn nanoseconds(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.begin).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Takes so many tokens if there is one (or none are asked for), or says after how long there would be one. For those that were not there, others
    /// wait longer: what costs more than a full bucket holds can still be had.
    fn take(&self, tokens: u32, now: Instant) -> Result<(), Duration> {
        let now = self.nanoseconds(now);
        let more = |full_at: u64, tokens: u32| self.filled_later(full_at, tokens, now);
        let one_more = |full_at: u64| more(full_at, tokens.min(1));
        let fits = |full_at: u64| (one_more(full_at) - now <= self.depth).then(|| more(full_at, tokens));
        let taken = self.full_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits);
        taken.map(drop).map_err(|full_at| Duration::from_nanos(one_more(full_at) - now - self.depth))
    }

    /// Takes so many tokens, whether or not they are there.
    fn owe(&self, tokens: u32, now: Instant) {
        let now = self.nanoseconds(now);
        let owed = |full_at: u64| Some(self.filled_later(full_at, tokens, now));
        let _ = self.full_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, owed);
    }

    /// When it is full again if so many tokens are taken from it now.
    fn filled_later(&self, full_at: u64, tokens: u32, now: u64) -> u64 {
        full_at.max(now).saturating_add(self.interval * u64::from(tokens))
    }

    fn is_full(&self, now: Instant) -> bool {
        self.full_at.load(Ordering::Acquire) <= self.nanoseconds(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_a_burst_and_then_so_many_a_second() {
        let (bucket, begin) = (Bucket::new(10, 3), Instant::now() + Duration::from_secs(1));
        assert!((0..3).all(|_| bucket.take(1, begin).is_ok()));
        assert_eq!(bucket.take(1, begin), Err(Duration::from_millis(100)));
        // What was refused cost nothing.
        let later = begin + Duration::from_millis(100);
        assert!(bucket.take(1, later).is_ok() && bucket.take(1, later).is_err());
        let rested = later + Duration::from_secs(60);
        assert!(bucket.is_full(rested));
        assert!((0..3).all(|_| bucket.take(1, rested).is_ok()));
        assert!(bucket.take(1, rested).is_err() && !bucket.is_full(rested));
    }

    #[test]
    fn what_is_worth_more_than_a_bucket_holds_is_paid_for_afterwards() {
        let (bucket, begin) = (Bucket::new(10, 3), Instant::now() + Duration::from_secs(1));
        assert!(bucket.take(2, begin).is_ok() && bucket.take(256, begin).is_ok());
        // 258 of 3: one more has to wait for 256.
        assert_eq!(bucket.take(1, begin), Err(Duration::from_millis(25_600)));
        assert_eq!(bucket.take(256, begin), Err(Duration::from_millis(25_600)));
        let almost = begin + Duration::from_millis(25_599);
        assert!(bucket.take(1, almost).is_err());
        let paid = begin + Duration::from_millis(25_600);
        assert!(bucket.take(1, paid).is_ok() && bucket.take(1, paid).is_err());
    }

    #[test]
    fn what_is_owed_is_taken_from_an_empty_bucket_too() {
        let (bucket, begin) = (Bucket::new(10, 3), Instant::now() + Duration::from_secs(1));
        bucket.owe(0, begin);
        assert!(bucket.is_full(begin));
        assert!((0..3).all(|_| bucket.take(1, begin).is_ok()) && bucket.take(1, begin).is_err());
        bucket.owe(7, begin);
        // 10 of 3, and one more.
        assert_eq!(bucket.take(1, begin), Err(Duration::from_millis(800)));
        assert!(bucket.take(1, begin + Duration::from_millis(800)).is_ok());
    }

    #[test]
    fn places_are_bounded_for_each_and_come_back() {
        let limits = PrincipalLimits { connections: 2, calls: 1, watches: 1, ..PrincipalLimits::default() };
        let standings = Standings::new(limits);
        let (one, other) = ("spiffe://a.test/one".parse().expect("valid"), "spiffe://a.test/other".parse().expect("valid"));
        let first = standings.seat(&one).expect("free");
        let second = standings.seat(&one).expect("free");
        // Again: a refusal gives nothing back.
        assert!((0..3).all(|_| standings.seat(&one).is_none()) && standings.seat(&other).is_some());
        // Two connections are one principal.
        let call = first.standing().begin().expect("free");
        assert_eq!(second.standing().begin().err(), Some(TooMuch::Calls));
        drop(call);
        assert!(second.standing().begin().is_ok());
        let watch = first.standing().watch().expect("free");
        assert!(second.standing().watch().is_none());
        drop(watch);
        assert!(second.standing().watch().is_some());
        drop(first);
        assert!(standings.seat(&one).is_some());
    }

    #[test]
    fn a_new_connection_is_no_new_burst_and_nobody_is_remembered_for_nothing() {
        let standings = Standings::new(PrincipalLimits { calls_per_s: 1, burst: 1, ..PrincipalLimits::default() });
        let id = |name: usize| format!("spiffe://a.test/{name}").parse().expect("valid");
        let seat = standings.seat(&id(0)).expect("free");
        drop(seat.standing().begin().expect("the first"));
        drop(seat);
        for number in 1..10 * SWEEP {
            drop(standings.seat(&id(number)));
        }
        assert!(standings.locked().standings.len() <= SWEEP + 1);
        let again = standings.seat(&id(0)).expect("free");
        assert!(matches!(again.standing().begin(), Err(TooMuch::Rate { .. })));
    }

    /// A search may go on when its caller has left, and its bill comes at its end.
    #[test]
    fn whoever_may_still_have_to_pay_is_not_forgotten() {
        let standings = Standings::new(PrincipalLimits { calls_per_s: 1, burst: 1, ..PrincipalLimits::default() });
        let id = |name: usize| format!("spiffe://a.test/{name}").parse().expect("valid");
        let bill = standings.seat(&id(0)).expect("free").standing().clone();
        for number in 1..10 * SWEEP {
            drop(standings.seat(&id(number)));
        }
        bill.owe(100);
        let again = standings.seat(&id(0)).expect("free");
        assert!(matches!(again.standing().begin(), Err(TooMuch::Rate { .. })));
    }
}
