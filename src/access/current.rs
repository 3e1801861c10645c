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

    /// From now on this policy.
    pub fn publish(&self, policy: Policy) {
        self.0.store(Some(Arc::new(policy)));
    }

    /// From now on none: the vault is sealed.
    pub fn withdraw(&self) {
        self.0.store(None);
    }
}
