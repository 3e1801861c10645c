//! What a call turns out to be worth beyond the one as which it was let in.

use std::sync::Arc;

use crate::identity::{Caller, Standing};
use crate::model::Effort;

/// Paid by the caller's principal when it is dropped: so a caller who did not wait for the answer pays for what was done.
pub(super) struct Bill {
    standing: Arc<Standing>,
    effort: Effort,
    for_a_call: usize,
}

impl Bill {
    /// Nothing was done yet. So much effort will be worth a call.
    pub(super) fn new(caller: &Caller, for_a_call: usize) -> Self {
        Self { standing: caller.standing.clone(), effort: Effort::default(), for_a_call }
    }

    /// Where the effort is to be counted.
    pub(super) const fn effort(&self) -> &Effort {
        &self.effort
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        let calls = self.effort.so_far() / self.for_a_call;
        self.standing.owe(u32::try_from(calls).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{PrincipalLimits, TooMuch};

    #[test]
    fn what_was_done_is_paid_for_whoever_waits_for_it() {
        let standing = Standing::new(PrincipalLimits { calls_per_s: 1, burst: 10, ..PrincipalLimits::default() });
        let bill = || Bill { standing: standing.clone(), effort: Effort::default(), for_a_call: 16 };
        let little = bill();
        little.effort().add(15);
        drop(little);
        let much = bill();
        let counted = much.effort().clone();
        drop(standing.begin().expect("nothing is owed yet"));
        counted.add(160);
        drop(much);
        assert!(matches!(standing.begin(), Err(TooMuch::Rate { .. })), "11 of 10");
    }
}
