//! What a call turns out to be worth beyond the one as which it was let in.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::identity::{Caller, Standing};
use crate::model::Effort;

/// Paid by the caller's principal when it is dropped: so a caller who did not wait for the answer pays for what was done.
pub(super) struct Bill {
    standing: Arc<Standing>,
    effort: Effort,
    for_a_call: usize,
    _place: OwnedSemaphorePermit,
}

impl Bill {
    /// Waits until its principal may search, and begins with nothing done. So much effort will be worth a call.
    pub(super) async fn begin(caller: &Caller, for_a_call: usize) -> Self {
        Self::of(caller.standing.clone(), for_a_call).await
    }

    async fn of(standing: Arc<Standing>, for_a_call: usize) -> Self {
        let _place = standing.search().await;
        Self { standing, effort: Effort::default(), for_a_call, _place }
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

    #[tokio::test]
    async fn what_was_done_is_paid_for_whoever_waits_for_it() {
        let standing = Standing::new(PrincipalLimits { calls_per_s: 1, burst: 10, ..PrincipalLimits::default() });
        let bill = || Bill::of(standing.clone(), 16);
        let little = bill().await;
        little.effort().add(15);
        drop(little);
        let much = bill().await;
        let counted = much.effort().clone();
        drop(standing.begin().expect("nothing is owed yet"));
        counted.add(160);
        drop(much);
        assert!(matches!(standing.begin(), Err(TooMuch::Rate { .. })), "11 of 10");
    }

    #[tokio::test]
    async fn few_searches_of_one_principal_go_on_at_once_and_the_others_wait() {
        let limits = PrincipalLimits::default();
        let (standing, other) = (Standing::new(limits), Standing::new(limits));
        let mut under_way = Vec::new();
        for _ in 0..4 {
            under_way.push(Bill::of(standing.clone(), 16).await);
        }
        let fifth = tokio::spawn(Bill::of(standing.clone(), 16));
        drop(Bill::of(other, 16).await);
        tokio::task::yield_now().await;
        assert!(!fifth.is_finished());
        under_way.pop();
        drop(fifth.await.expect("its turn"));
    }
}
