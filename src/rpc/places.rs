//! How many may watch at once: in all, and of each principal an eighth of that, so that no program takes all places with its
//! many copies; and one at a time looks through all rows for what will soon expire.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::SpiffeId;

/// The places of a server.
pub(super) struct Places {
    all: Arc<Semaphore>,
    each: usize,
    taken: Mutex<HashMap<SpiffeId, usize>>,
    pub(super) sweeping: Semaphore,
}

/// A place, free again when it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    principal: SpiffeId,
    _one_of_all: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(most: usize) -> Arc<Self> {
        let each = (most / 8).max(1);
        Arc::new(Self { all: Arc::new(Semaphore::new(most)), each, taken: Mutex::default(), sweeping: Semaphore::new(1) })
    }

    /// A place for somebody, if there is one.
    pub(super) fn enter(self: &Arc<Self>, principal: &SpiffeId) -> Option<Place> {
        let one_of_all = self.all.clone().try_acquire_owned().ok()?;
        let mut taken = self.taken();
        let own = taken.entry(principal.clone()).or_default();
        if *own == self.each {
            return None;
        }
        *own += 1;
        Some(Place { places: self.clone(), principal: principal.clone(), _one_of_all: one_of_all })
    }

    /// A panic elsewhere cannot leave a count half changed.
    fn taken(&self) -> MutexGuard<'_, HashMap<SpiffeId, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        let left = taken.get_mut(&self.principal).map_or(0, |own| {
            *own -= 1;
            *own
        });
        if left == 0 {
            taken.remove(&self.principal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> SpiffeId {
        format!("spiffe://apps.test/{name}").parse().expect("valid")
    }

    #[test]
    fn places_are_bounded_in_all_and_for_each_and_come_back() {
        let places = Places::new(16);
        let mut held = vec![places.enter(&id("a")).expect("the first of two"), places.enter(&id("a")).expect("the second")];
        assert!(places.enter(&id("a")).is_none());
        held.extend((0..14).map(|number| places.enter(&id(&number.to_string())).expect("one of the rest")));
        assert!(places.enter(&id("b")).is_none(), "all are taken");
        held.remove(0);
        assert!(places.enter(&id("b")).is_some());
        drop(held);
        assert!(places.taken().is_empty(), "nobody is remembered who holds none");
        assert!(Places::new(1).enter(&id("a")).is_some());
    }
}
