//! What a piece of work has cost so far.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many things a piece of work has looked at so far. It is counted while the work goes on, so that whoever has it done
/// pays for it even if nobody waits for its end.
#[derive(Debug, Clone, Default)]
pub struct Effort(Arc<AtomicUsize>);

impl Effort {
    /// So many more; how many there were then.
    pub fn add(&self, more: usize) -> usize {
        self.0.fetch_add(more, Ordering::Relaxed) + more
    }

    /// How many there were.
    #[must_use]
    pub fn so_far(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}
