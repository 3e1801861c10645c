//! What a connection may still send. Each call earns it the bytes that a call may have, for as long as the call is under way, to
//! be spent on the frames of calls; one that is let in earns a little for what goes with a call, and one that is refused costs
//! something, since its answer is work too. Whoever sends more than its calls account for sends for its own sake: pings,
//! settings, windows, TLS records with nothing in them, and neither HTTP/2 nor TLS has a bound of its own on most of them.
//!
//! Who has no credit left is read from at the pace of [`PACE_BYTES_PER_S`], so that what it sends costs little however much it
//! is, and is cut off once it has sent [`OVERDRAFT_BYTES`] that no call accounts for. Who only calls too often is slowed down
//! and not cut off: it gets the refusals that it asks for.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
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

/// What a refusal costs: 32 a second can be had in the long run, over each connection.
const REFUSAL_BYTES: i64 = 256;

/// Calls whose bytes may still be on their way when they have ended, since they were refused before they were read.
const ENDED_CALLS: i64 = 4;

/// The credit of one connection.
#[derive(Debug)]
pub struct Credit {
    /// For what is no frame of a call. Below zero: what was sent without.
    left: AtomicI64,
    /// For the frames of calls.
    for_calls: AtomicI64,
    /// What `left` paid for frames of calls that had not begun yet.
    lent: AtomicI64,
    /// Calls under way, by the turn in which they began: the present one, the last, and the one before.
    calls: [AtomicI64; TURNS],
    turn: AtomicUsize,
    call_bytes: i64,
}

const TURNS: usize = 3;

/// A call is under way; what it earned and did not use is not saved up beyond its end.
#[derive(Debug)]
pub struct Earned {
    credit: Arc<Credit>,
    turn: usize,
}

impl Credit {
    /// Of a new connection: a call may have so many bytes, header and message.
    #[must_use]
    pub fn new(call_bytes: u64) -> Self {
        let call_bytes = i64::try_from(call_bytes).unwrap_or(i64::from(u32::MAX));
        Self {
            left: AtomicI64::new(FIRST_BYTES),
            for_calls: AtomicI64::new(0),
            lent: AtomicI64::new(0),
            calls: Default::default(),
            turn: AtomicUsize::new(0),
            call_bytes,
        }
    }

    /// One more call has begun. What it has sent already was paid for out of what is no call's: that comes back first.
    #[must_use]
    pub fn earn(self: &Arc<Self>) -> Earned {
        let turn = self.turn.load(Ordering::Acquire);
        self.calls[turn].fetch_add(1, Ordering::AcqRel);
        let lent = take(&self.lent, self.call_bytes);
        if lent > 0 {
            add(&self.left, lent, FIRST_BYTES);
        }
        add(&self.for_calls, self.call_bytes - lent, self.most());
        Earned { credit: self.clone(), turn }
    }

    /// A call was let in, or its caller told something more while it goes on.
    pub fn earn_receipt(&self) {
        add(&self.left, BESIDES_BYTES, FIRST_BYTES);
    }

    /// A call was refused before it was read.
    pub fn pay_refusal(&self) {
        self.left.fetch_sub(REFUSAL_BYTES, Ordering::AcqRel);
    }

    /// Begins the next turn. Whether a call is still under way that began before the last one did.
    pub(super) fn has_outlived(&self) -> bool {
        let next = (self.turn.load(Ordering::Acquire) + 1) % TURNS;
        self.turn.store(next, Ordering::Release);
        self.calls[(next + 1) % TURNS].load(Ordering::Acquire) > 0
    }

    /// What the calls under way, and a few that have ended, may send.
    fn most(&self) -> i64 {
        let calls: i64 = self.calls.iter().map(|calls| calls.load(Ordering::Acquire)).sum();
        self.call_bytes * (calls + ENDED_CALLS)
    }

    /// What is then left, and how much of it no call has paid for.
    fn spend(&self, of_calls: i64, besides: i64) -> (i64, i64) {
        let lent = of_calls - take(&self.for_calls, of_calls);
        if lent > 0 {
            add(&self.lent, lent, self.call_bytes * ENDED_CALLS);
        }
        let rest = besides + lent;
        (self.left.fetch_sub(rest, Ordering::AcqRel) - rest, rest)
    }
}

/// What is taken: so many bytes, or what is there.
fn take(account: &AtomicI64, bytes: i64) -> i64 {
    let taken = |has: i64| bytes.min(has);
    let rest = |has: i64| (taken(has) > 0).then(|| has - taken(has));
    let (Ok(had) | Err(had)) = account.fetch_update(Ordering::AcqRel, Ordering::Acquire, rest);
    taken(had)
}

/// What is then there.
fn add(account: &AtomicI64, bytes: i64, most: i64) -> i64 {
    let more = |left: i64| left.saturating_add(bytes).min(most);
    let (Ok(before) | Err(before)) = account.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| Some(more(left)));
    more(before)
}

impl Drop for Earned {
    fn drop(&mut self) {
        self.credit.calls[self.turn].fetch_sub(1, Ordering::AcqRel);
        add(&self.credit.for_calls, 0, self.credit.most());
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
        let (left, unaccounted) = self.credit.spend(of_calls, besides);
        if left >= 0 {
            self.overdrawn = 0;
            return Verdict::Accounted;
        }
        let paid = self.time_pays(now);
        let left = add(&self.credit.left, paid, FIRST_BYTES);
        if left >= 0 {
            self.overdrawn = 0;
            return Verdict::Accounted;
        }
        self.overdrawn += unaccounted.min(-left);
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

    /// A call that is let in.
    fn let_in(credit: &Arc<Credit>) -> Earned {
        credit.earn_receipt();
        credit.earn()
    }

    #[test]
    fn frames_of_calls_are_earned_by_calls_under_way_and_not_saved_up() {
        let (mut meter, now) = meter(100);
        let credit = meter.credit().clone();
        assert_eq!(meter.spend(0, FIRST_BYTES, now), Verdict::Accounted);
        assert!(matches!(meter.spend(1, 0, now), Verdict::Pause(_)));
        let (one, other) = (let_in(&credit), let_in(&credit));
        assert_eq!(meter.spend(200, 2 * BESIDES_BYTES - 1, now), Verdict::Accounted, "one was owed");
        assert!(matches!(meter.spend(1, 0, now), Verdict::Pause(_)));
        drop((one, other));
        (0..100_000).for_each(|_| drop(let_in(&credit)));
        let _under_way = let_in(&credit);
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
        let _under_way = let_in(meter.credit());
        assert!(!meter.owes());
        for piece in 0..64 {
            assert_eq!(meter.spend(16 * 1024, 0, now), Verdict::Accounted, "{piece}");
        }
        assert!(matches!(meter.spend(1, 0, now), Verdict::Pause(_)));
    }

    /// Messages may have come before their calls begin.
    #[test]
    fn what_came_ahead_of_its_call_comes_back_with_it_and_no_more() {
        let (mut meter, now) = meter(100_000);
        let credit = meter.credit().clone();
        assert!(matches!(meter.spend(100_000, 0, now), Verdict::Pause(_)));
        let _first = credit.earn();
        assert!(!meter.owes());
        assert_eq!(meter.spend(0, FIRST_BYTES, now), Verdict::Accounted);
        // All that the call had is used up.
        assert!(matches!(meter.spend(1, 0, now), Verdict::Pause(_)));
        let _second = credit.earn();
        assert_eq!(meter.spend(99_999, 0, now), Verdict::Accounted);
        assert!(matches!(meter.spend(0, 1, now), Verdict::Pause(_)), "the call gave back 1 and not more");
    }

    #[test]
    fn who_calls_too_often_is_slowed_down_and_not_cut_off() {
        let (mut meter, mut now) = meter(100_000);
        let credit = meter.credit().clone();
        let begin = now;
        let mut refused = 0;
        while now < begin + Duration::from_secs(60) {
            for _ in 0..10 {
                drop(credit.earn());
                credit.pay_refusal();
            }
            refused += 10;
            match meter.spend(10 * 64, 0, now) {
                Verdict::Accounted => now += Duration::from_millis(1),
                Verdict::Pause(pause) => now += pause,
                Verdict::Cut => panic!("after {refused}"),
            }
        }
        let most = (FIRST_BYTES + 60 * PACE_BYTES_PER_S) / REFUSAL_BYTES + 20;
        assert!((most / 2..=most).contains(&refused), "{refused} of at most {most}");
    }

    #[test]
    fn a_call_that_outlives_two_turns_is_noticed() {
        let credit = Arc::new(Credit::new(100));
        let old = credit.earn();
        assert!(!credit.has_outlived(), "it may have begun just now");
        let newer = credit.earn();
        assert!(credit.has_outlived());
        drop(old);
        assert!(credit.has_outlived(), "the newer one is old too");
        drop(newer);
        assert!((0..10).all(|_| !credit.has_outlived()));
        for _ in 0..10 {
            let call = credit.earn();
            assert!(!credit.has_outlived());
            drop(call);
        }
    }
}
