//! What a connection may still send. Each call that is let in earns it the bytes that a call may have, for as long as the call
//! is under way; what it sends is taken from that. Whoever sends more than its calls account for sends frames for their own
//! sake: pings, settings, windows, nothing at all, and HTTP/2 has no bound of its own on most of them.
//!
//! Who has no credit left is read from at the pace of [`PACE_BYTES_PER_S`], so that its frames cost little however many they
//! are, and is cut off once it has gone on for [`OVERDRAFT_BYTES`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// What a connection has before its first call and between calls, in bytes: for settings, windows and pings. 3,800 pings.
const FIRST_BYTES: i64 = 64 * 1024;

/// What comes back with time, and how fast one is read from who has nothing left: 480 pings a second.
const PACE_BYTES_PER_S: i64 = 8 * 1024;

/// What one may send without credit before one is cut off: eight seconds of it.
const OVERDRAFT_BYTES: i64 = 64 * 1024;

/// Calls whose bytes may still be on their way when they have ended, since they were refused before they were read.
const ENDED_CALLS: i64 = 4;

/// What a caller sends upon being told something, in bytes: it opens two windows again and measures its way (RFC 9113 6.7, 6.9).
const RECEIPT_BYTES: i64 = 64;

/// The credit of one connection.
#[derive(Debug)]
pub struct Credit {
    /// Below zero: what was sent without.
    left: AtomicI64,
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
        Self { left: AtomicI64::new(FIRST_BYTES), calls: AtomicI64::new(0), call_bytes }
    }

    /// One more call was let in.
    #[must_use]
    pub fn earn(self: &Arc<Self>) -> Earned {
        let calls = self.calls.fetch_add(1, Ordering::AcqRel) + 1;
        self.add(self.call_bytes, calls);
        Earned(self.clone())
    }

    /// A caller was told something more, in a call that goes on.
    pub fn earn_receipt(&self) {
        self.add(RECEIPT_BYTES, self.calls.load(Ordering::Acquire));
    }

    /// What is then left. Nothing is saved up beyond what so many calls under way, and a few that have ended, may send.
    fn add(&self, bytes: i64, calls: i64) -> i64 {
        let most = FIRST_BYTES + self.call_bytes * (calls + ENDED_CALLS);
        let more = |left: i64| left.saturating_add(bytes).min(most);
        let (Ok(before) | Err(before)) = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| Some(more(left)));
        more(before)
    }

    fn spend(&self, bytes: i64) -> i64 {
        self.left.fetch_sub(bytes, Ordering::AcqRel) - bytes
    }
}

impl Drop for Earned {
    fn drop(&mut self) {
        let calls = self.0.calls.fetch_sub(1, Ordering::AcqRel) - 1;
        self.0.add(0, calls);
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
    pub(super) fn new(credit: Arc<Credit>, now: Instant) -> Self {
        Self { credit, paid_back: now, overdrawn: 0 }
    }

    pub(super) fn credit(&self) -> &Arc<Credit> {
        &self.credit
    }

    /// Whether more came than was accounted for, and no call has paid for it since.
    pub(super) fn owes(&self) -> bool {
        self.credit.left.load(Ordering::Acquire) < 0
    }

    /// So many bytes came. A subtraction, as long as there is credit.
    pub(super) fn spend(&mut self, bytes: usize, now: Instant) -> Verdict {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX / 2);
        if self.credit.spend(bytes) >= 0 {
            self.overdrawn = 0;
            return Verdict::Accounted;
        }
        let paid = self.time_pays(now);
        let left = self.credit.add(paid, self.credit.calls.load(Ordering::Acquire));
        if left >= 0 {
            self.overdrawn = 0;
            return Verdict::Accounted;
        }
        self.overdrawn += bytes;
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

    const FIRST: usize = 64 * 1024;

    fn meter(call_bytes: u64) -> (Meter, Instant) {
        let now = Instant::now();
        (Meter::new(Arc::new(Credit::new(call_bytes)), now), now)
    }

    #[test]
    fn what_is_sent_is_earned_by_calls_under_way_and_not_saved_up() {
        let (mut meter, now) = meter(100);
        let credit = meter.credit().clone();
        assert_eq!(meter.spend(FIRST, now), Verdict::Accounted);
        assert!(matches!(meter.spend(1, now), Verdict::Pause(_)));
        let (one, other) = (credit.earn(), credit.earn());
        assert_eq!(meter.spend(199, now), Verdict::Accounted, "the one before was owed");
        credit.earn_receipt();
        assert_eq!(meter.spend(64, now), Verdict::Accounted);
        assert!(matches!(meter.spend(1, now), Verdict::Pause(_)));
        drop((one, other));
        (0..100_000).for_each(|_| drop(credit.earn()));
        (0..100_000).for_each(|_| credit.earn_receipt());
        let _under_way = credit.earn();
        assert_eq!(meter.spend(FIRST + 500, now), Verdict::Accounted, "one under way, four that ended");
        assert!(matches!(meter.spend(1, now), Verdict::Pause(_)));
    }

    #[test]
    fn who_has_nothing_left_is_read_from_slowly_and_then_cut_off() {
        let (mut meter, mut now) = meter(100);
        assert_eq!(meter.spend(FIRST, now), Verdict::Accounted);
        let mut paused = Duration::ZERO;
        for _ in 0..8 {
            let Verdict::Pause(pause) = meter.spend(8 * 1024, now) else { panic!("not cut yet") };
            paused += pause;
            now += pause;
        }
        assert!(paused.as_secs() >= 7, "{paused:?}");
        assert_eq!(meter.spend(8 * 1024, now), Verdict::Cut);
    }

    #[test]
    fn time_pays_for_what_comes_slowly() {
        let (mut meter, mut now) = meter(100);
        for _ in 0..10_000 {
            now += Duration::from_millis(10);
            assert_eq!(meter.spend(80, now), Verdict::Accounted);
        }
        // And for no more than a new connection has.
        now += Duration::from_secs(3600);
        let _ = meter.spend(FIRST, now);
        assert!(matches!(meter.spend(FIRST, now), Verdict::Pause(_)));
    }

    #[test]
    fn a_call_pays_what_was_owed() {
        let (mut meter, now) = meter(1 << 20);
        let _ = meter.spend(FIRST, now);
        assert!(matches!(meter.spend(OVERDRAFT_BYTES.unsigned_abs() as usize, now), Verdict::Pause(_)));
        let _under_way = meter.credit().earn();
        assert_eq!(meter.spend(1, now), Verdict::Accounted);
        let (mut rest, mut left) = (0, (1 << 20) - FIRST - 1);
        while left > 0 {
            rest += 1;
            assert_eq!(meter.spend(left.min(16 * 1024), now), Verdict::Accounted, "{rest}");
            left = left.saturating_sub(16 * 1024);
        }
    }
}
