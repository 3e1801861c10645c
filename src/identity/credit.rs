//! What a connection may still send. Each call that is let in earns it the bytes that a call may have, for as long as the call
//! is under way, to be spent on the frames of calls, and a little for what goes with a call. Whoever sends more than its calls
//! account for sends for its own sake: pings, settings, windows, TLS records with nothing in them, and neither HTTP/2 nor TLS has
//! a bound of its own on most of them.
//!
//! Who has no credit left is read from at the pace of [`PACE_BYTES_PER_S`], so that what it sends costs little however much it
//! is, and is cut off once it has gone on for [`OVERDRAFT_BYTES`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// What a connection has before its first call, and may save up, for what is no frame of a call: settings, windows, pings, what TLS
/// adds. In bytes; 1,600 pings, each in a TLS record of its own.
const FIRST_BYTES: i64 = 64 * 1024;

/// What comes back with time, and how fast one is read from who has nothing left: 200 pings a second.
const PACE_BYTES_PER_S: i64 = 8 * 1024;

/// What one may send without credit before one is cut off: eight seconds of it.
const OVERDRAFT_BYTES: i64 = 64 * 1024;

/// What goes with a call, or with being told something in a call that goes on: two windows are opened again, the way is measured
/// (RFC 9113 6.7, 6.9), and each may be a TLS record of its own.
const BESIDES_BYTES: i64 = 256;

/// Calls whose bytes may still be on their way when they have ended, since they were refused before they were read.
const ENDED_CALLS: i64 = 4;

/// The credit of one connection.
#[derive(Debug)]
pub struct Credit {
    /// For what is no frame of a call. Below zero: what was sent without.
    left: AtomicI64,
    /// For the frames of calls.
    for_calls: AtomicI64,
    calls: AtomicI64,
    call_bytes: i64,
}

/// A call is under way; what it earned and did not use is not saved up beyond its end.
#[derive(Debug)]
pub struct Earned(Arc<Credit>);

impl Credit {
    /// Of a new connection: a call may have so many bytes, header and message.
    #[must_use]
    pub fn new(call_bytes: u64) -> Self {
        let call_bytes = i64::try_from(call_bytes).unwrap_or(i64::from(u32::MAX));
        Self { left: AtomicI64::new(FIRST_BYTES), for_calls: AtomicI64::new(0), calls: AtomicI64::new(0), call_bytes }
    }

    /// One more call was let in.
    #[must_use]
    pub fn earn(self: &Arc<Self>) -> Earned {
        let calls = self.calls.fetch_add(1, Ordering::AcqRel) + 1;
        add(&self.for_calls, self.call_bytes, self.most(calls));
        self.earn_receipt();
        Earned(self.clone())
    }

    /// A caller was told something more, in a call that goes on.
    pub fn earn_receipt(&self) {
        add(&self.left, BESIDES_BYTES, FIRST_BYTES);
    }

    /// What so many calls under way, and a few that have ended, may send.
    const fn most(&self, calls: i64) -> i64 {
        self.call_bytes * (calls + ENDED_CALLS)
    }

    /// What is then left.
    fn spend(&self, of_calls: i64, besides: i64) -> i64 {
        let covered = |has: i64| of_calls.min(has);
        let (Ok(has) | Err(has)) = self.for_calls.fetch_update(Ordering::AcqRel, Ordering::Acquire, |has| Some(has - covered(has)));
        let rest = besides + of_calls - covered(has);
        self.left.fetch_sub(rest, Ordering::AcqRel) - rest
    }
}

/// What is then there.
fn add(account: &AtomicI64, bytes: i64, most: i64) -> i64 {
    let more = |left: i64| left.saturating_add(bytes).min(most);
    let (Ok(before) | Err(before)) = account.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| Some(more(left)));
    more(before)
}

impl Drop for Earned {
    fn drop(&mut self) {
        let calls = self.0.calls.fetch_sub(1, Ordering::AcqRel) - 1;
        add(&self.0.for_calls, 0, self.0.most(calls));
    }
}

/// What is to be done about a connection after something came over it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Read on.
    Accounted,
    /// Read on after so long.
    Pause(Duration),
    /// It floods.
    Cut,
}

/// The reading side of one connection's credit.
#[derive(Debug)]
pub(super) struct Meter {
    credit: Arc<Credit>,
    /// When time last gave something back.
    paid_back: Instant,
    overdrawn: i64,
}

impl Meter {
    pub(super) const fn new(credit: Arc<Credit>, now: Instant) -> Self {
        Self { credit, paid_back: now, overdrawn: 0 }
    }

    pub(super) const fn credit(&self) -> &Arc<Credit> {
        &self.credit
    }

    /// Whether more came than was accounted for, and no call has paid for it since.
    pub(super) fn owes(&self) -> bool {
        self.credit.left.load(Ordering::Acquire) < 0
    }

    /// Frames of calls came that count so many bytes, and so many bytes besides. Two subtractions, as long as there is credit.
    pub(super) fn spend(&mut self, of_calls: i64, besides: i64, now: Instant) -> Verdict {
        if self.credit.spend(of_calls, besides) >= 0 {
            self.overdrawn = 0;
            return Verdict::Accounted;
        }
        let paid = self.time_pays(now);
        let left = add(&self.credit.left, paid, FIRST_BYTES);
        if left >= 0 {
            self.overdrawn = 0;
            return Verdict::Accounted;
        }
        self.overdrawn += (of_calls + besides).min(-left);
        if self.overdrawn > OVERDRAFT_BYTES {
            return Verdict::Cut;
        }
        Verdict::Pause(Duration::from_millis((-left * 1000 / PACE_BYTES_PER_S).unsigned_abs() + 1))
    }

    fn time_pays(&mut self, now: Instant) -> i64 {
        let passed = i64::try_from((now - self.paid_back).as_millis()).unwrap_or(i64::MAX);
        self.paid_back = now;
        (passed.saturating_mul(PACE_BYTES_PER_S) / 1000).min(FIRST_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(call_bytes: u64) -> (Meter, Instant) {
        let now = Instant::now();
        (Meter::new(Arc::new(Credit::new(call_bytes)), now), now)
    }

    #[test]
    fn frames_of_calls_are_earned_by_calls_under_way_and_not_saved_up() {
        let (mut meter, now) = meter(100);
        let credit = meter.credit().clone();
        assert_eq!(meter.spend(0, FIRST_BYTES, now), Verdict::Accounted);
        assert!(matches!(meter.spend(1, 0, now), Verdict::Pause(_)));
        let (one, other) = (credit.earn(), credit.earn());
        assert_eq!(meter.spend(200, 2 * BESIDES_BYTES - 1, now), Verdict::Accounted, "one was owed");
        assert!(matches!(meter.spend(1, 0, now), Verdict::Pause(_)));
        drop((one, other));
        (0..100_000).for_each(|_| drop(credit.earn()));
        let _under_way = credit.earn();
        assert_eq!(meter.spend(500, FIRST_BYTES, now), Verdict::Accounted, "one under way, four that ended");
        assert!(matches!(meter.spend(1, 0, now), Verdict::Pause(_)));
    }

    #[test]
    fn what_is_no_frame_of_a_call_is_not_paid_for_by_what_calls_may_have() {
        let (mut meter, now) = meter(1 << 20);
        let credit = meter.credit().clone();
        let _under_way: Vec<_> = (0..100).map(|_| credit.earn()).collect();
        assert_eq!(meter.spend(0, FIRST_BYTES, now), Verdict::Accounted);
        assert!(matches!(meter.spend(0, 1, now), Verdict::Pause(_)));
        credit.earn_receipt();
        assert_eq!(meter.spend(0, BESIDES_BYTES - 1, now), Verdict::Accounted);
        (0..100_000).for_each(|_| credit.earn_receipt());
        assert_eq!(meter.spend(0, FIRST_BYTES, now), Verdict::Accounted);
        assert!(matches!(meter.spend(0, 1, now), Verdict::Pause(_)), "receipts are not saved up");
    }

    #[test]
    fn who_has_nothing_left_is_read_from_slowly_and_then_cut_off() {
        let (mut meter, mut now) = meter(100);
        assert_eq!(meter.spend(0, FIRST_BYTES, now), Verdict::Accounted);
        let mut paused = Duration::ZERO;
        for _ in 0..8 {
            let Verdict::Pause(pause) = meter.spend(0, 8 * 1024, now) else { panic!("not cut yet") };
            paused += pause;
            now += pause;
        }
        assert!(paused.as_secs() >= 7, "{paused:?}");
        assert_eq!(meter.spend(0, 8 * 1024, now), Verdict::Cut);
    }

    #[test]
    fn time_pays_for_what_comes_slowly() {
        let (mut meter, mut now) = meter(100);
        for _ in 0..10_000 {
            now += Duration::from_millis(10);
            assert_eq!(meter.spend(0, 80, now), Verdict::Accounted);
        }
        // And for no more than a new connection has.
        now += Duration::from_secs(3600);
        let _ = meter.spend(0, FIRST_BYTES, now);
        assert!(matches!(meter.spend(0, FIRST_BYTES, now), Verdict::Pause(_)));
    }

    #[test]
    fn a_call_pays_what_was_owed() {
        let (mut meter, now) = meter(1 << 20);
        let _ = meter.spend(0, FIRST_BYTES, now);
        assert!(matches!(meter.spend(0, BESIDES_BYTES, now), Verdict::Pause(_)) && meter.owes());
        let _under_way = meter.credit().earn();
        assert!(!meter.owes());
        for piece in 0..64 {
            assert_eq!(meter.spend(16 * 1024, 0, now), Verdict::Accounted, "{piece}");
        }
        assert!(matches!(meter.spend(1, 0, now), Verdict::Pause(_)));
    }
}
