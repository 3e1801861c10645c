//! The policy in force: one cell that the vault fills and the gate reads.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::Policy;

/// The policy in force; none while the vault is sealed. Readers take a snapshot without a lock, and decide by it as a whole.
#[derive(Default)]
pub struct CurrentPolicy(ArcSwapOption<Policy>);

impl CurrentPolicy {
    /// The snapshot in force; none while sealed.
    #[must_use]
    pub fn snapshot(&self) -> Option<Arc<Policy>> {
        self.0.load_full()
    }

    /// From now on this policy: the vault was opened.
    pub fn publish(&self, policy: Policy) {
        self.0.store(Some(Arc::new(policy)));
    }

    /// From now on this policy, unless the vault was sealed meanwhile: a change that ends after that opens nothing again.
    pub fn replace(&self, policy: Policy) {
        let policy = Arc::new(policy);
        self.0.rcu(|current| current.as_ref().map(|_| policy.clone()));
    }

    /// From now on none: the vault is sealed.
    pub fn withdraw(&self) {
        self.0.store(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_ends_after_the_seal_opens_nothing() {
        let current = CurrentPolicy::default();
        current.replace(Policy::default());
        assert!(current.snapshot().is_none());
        current.publish(Policy::default());
        current.replace(Policy::default());
        assert!(current.snapshot().is_some());
        current.withdraw();
        current.replace(Policy::default());
        assert!(current.snapshot().is_none());
    }
}
