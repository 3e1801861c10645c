//! What a connection may still send. Each call that is let in earns it the bytes that a call may have; what it sends is taken
//! from that. Whoever sends more than its calls account for sends frames for their own sake: pings, settings, windows, nothing
//! at all, and HTTP/2 has no bound of its own on most of them.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a connection has before its first call, in bytes: for settings, pings and windows of a long life. 60,000 pings.
const FIRST_BYTES: u64 = 1 << 20;

/// What a caller sends upon being told something, in bytes: it opens two windows again and measures its way (RFC 9113 6.7, 6.9).
const RECEIPT_BYTES: u64 = 64;

/// The credit of one connection.
#[derive(Debug)]
pub struct Credit {
    left: AtomicU64,
    call_bytes: u64,
    most: u64,
}

impl Credit {
    /// Of a new connection: a call may have so many bytes, header and message, and so many calls may be under way at once.
    #[must_use]
    pub const fn new(call_bytes: u64, calls: u64) -> Self {
        Self { left: AtomicU64::new(FIRST_BYTES), call_bytes, most: FIRST_BYTES + call_bytes * calls }
    }

    /// One more call was let in.
    pub fn earn(&self) {
        self.add(self.call_bytes);
    }

    /// Its caller was told something more, in a call that goes on.
    pub fn earn_receipt(&self) {
        self.add(RECEIPT_BYTES);
    }

    fn add(&self, bytes: u64) {
        let more = |left: u64| Some((left + bytes).min(self.most));
        let _ = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
    }

    /// So many bytes came. Whether they were accounted for.
    pub(super) fn spend(&self, bytes: usize) -> bool {
        let rest = |left: u64| left.checked_sub(bytes as u64);
        self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, rest).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_earned_by_calls_and_not_saved_up_without_end() {
        let credit = Credit::new(100, 3);
        let first = usize::try_from(FIRST_BYTES).expect("small");
        assert!(credit.spend(first) && !credit.spend(1));
        credit.earn();
        assert!(credit.spend(100) && !credit.spend(1));
        credit.earn_receipt();
        assert!(credit.spend(64) && !credit.spend(1));
        (0..100_000).for_each(|_| credit.earn());
        credit.earn_receipt();
        assert!(credit.spend(first + 300) && !credit.spend(1));
    }
}
