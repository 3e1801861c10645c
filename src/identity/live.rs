//! The TLS in force, and the bells that tell every open connection when another one is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use arc_swap::{ArcSwap, Guard};

use super::{HighestLists, IdentityError, ServerTls};

/// The TLS in force. Connections that are open when it is replaced prove themselves again at once.
pub struct LiveTls {
    tls: ArcSwap<ServerTls>,
    highest: Mutex<HighestLists>,
    bells: Mutex<HashMap<u64, Arc<Bell>>>,
    next: AtomicU64,
    reloads: Mutex<Reloads>,
}

/// What became of the files that were read again.
#[derive(Debug, Clone, Default)]
pub struct Reloads {
    /// How often they were put in force.
    pub done: u64,
    /// How often they could not be used.
    pub failed: u64,
    /// Why the files as they are now are not in force.
    pub refused: Option<String>,
}

/// Wakes the task of one connection.
#[derive(Default)]
pub(super) struct Bell(Mutex<Option<Waker>>);

/// A connection's place among those that are woken when the TLS is replaced.
pub(super) struct Listening {
    live: Arc<LiveTls>,
    number: u64,
    bell: Arc<Bell>,
}

impl LiveTls {
    /// Puts it in force. `highest` is what is known of revocation lists from before.
    ///
    /// # Errors
    /// [`IdentityError::OlderList`], [`IdentityError::TooManyIssuers`].
    pub fn new(tls: ServerTls, mut highest: HighestLists) -> Result<Self, IdentityError> {
        highest.admit(tls.lists())?;
        let highest = Mutex::new(highest);
        Ok(Self { tls: ArcSwap::from_pointee(tls), highest, bells: Mutex::default(), next: AtomicU64::new(0), reloads: Mutex::default() })
    }

    /// Replaces it for new connections and for open ones at once: whoever is revoked, or whose CA has gone, is cut off.
    ///
    /// # Errors
    /// [`IdentityError::OlderList`], [`IdentityError::TooManyIssuers`]: then the one in force stays.
    pub fn replace(&self, tls: ServerTls) -> Result<(), IdentityError> {
        let mut highest = locked(&self.highest);
        highest.admit(tls.lists())?;
        self.tls.store(Arc::new(tls));
        drop(highest);
        let mut reloads = locked(&self.reloads);
        reloads.done += 1;
        reloads.refused = None;
        drop(reloads);
        // After the store: who does not hear the bell any more finds the new one by itself.
        let bells: Vec<_> = locked(&self.bells).values().cloned().collect();
        bells.iter().for_each(|bell| bell.ring());
        Ok(())
    }

    /// The one in force.
    #[must_use]
    pub fn current(&self) -> Arc<ServerTls> {
        self.tls.load_full()
    }

    /// Keeps in mind that the files were read again and could not be used.
    pub fn complain(&self, why: String) {
        let mut reloads = locked(&self.reloads);
        reloads.failed += 1;
        reloads.refused = Some(why);
    }

    /// What became of the files that were read again.
    #[must_use]
    pub fn reloads(&self) -> Reloads {
        locked(&self.reloads).clone()
    }

    /// Connections that are open at present.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        locked(&self.bells).len()
    }

    /// The highest numbers of revocation lists seen so far: to be kept beyond the process.
    #[must_use]
    pub fn highest_lists(&self) -> HighestLists {
        locked(&self.highest).clone()
    }

    pub(super) fn peek(&self) -> Guard<Arc<ServerTls>> {
        self.tls.load()
    }

    pub(super) fn listen(self: &Arc<Self>) -> Listening {
        let (number, bell) = (self.next.fetch_add(1, Ordering::Relaxed), Arc::<Bell>::default());
        locked(&self.bells).insert(number, bell.clone());
        Listening { live: self.clone(), number, bell }
    }
}

impl Bell {
    fn ring(&self) {
        if let Some(waker) = locked(&self.0).take() {
            waker.wake();
        }
    }
}

impl Listening {
    /// Whose the bell belongs to.
    pub(super) fn live(&self) -> &LiveTls {
        &self.live
    }

    /// Sees to it that the task wakes at the next ring.
    pub(super) fn wake(&self, waker: &Waker) {
        let mut slot = locked(&self.bell.0);
        if !slot.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        locked(&self.live.bells).remove(&self.number);
    }
}

/// Each critical section leaves what it guards whole, so a panic elsewhere is no reason to stop.
fn locked<T>(guarded: &Mutex<T>) -> MutexGuard<'_, T> {
    guarded.lock().unwrap_or_else(PoisonError::into_inner)
}
