//! The recent past: a bounded ring of committed changes, and the watchers that read along.
//!
//! A watcher holds no queue of its own. It remembers how far it has come and looks into the one ring; if the ring has moved
//! on past that point, it is told to resync. So a slow watcher costs nothing and never slows the store.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{Batch, Key, Revision, Write};

/// Changes that a feed remembers: with the longest keys some 4 MiB.
const RING_CHANGES: usize = 8 * 1024;

/// Changes that one event tells at most, but for the rest of its last commit: so much of them a watcher holds, however far
/// it has fallen behind.
const EVENT_CHANGES: usize = 256;

/// One row's part of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of the commit.
    pub revision: Revision,
    /// Which row.
    pub key: Key,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It has a new value.
    Put,
    /// It is gone.
    Delete,
}

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeEvent {
    /// These changes, in the order of their revisions, none left out.
    Changed(Vec<Change>),
    /// Changes may have been missed: drop everything that was learnt before. What follows comes after this revision.
    Resync(Revision),
    /// The store was closed: nothing follows.
    Closed,
}

/// The changes under a prefix, as they come.
pub struct Changes {
    ring: Arc<Mutex<Ring>>,
    newest: watch::Receiver<Revision>,
    prefix: Key,
    after: Revision,
}

/// What a store tells its commits to, and where its watchers read.
pub struct Feed {
    ring: Arc<Mutex<Ring>>,
    newest: watch::Sender<Revision>,
}

/// Every change after `floor` and up to `newest` is held.
struct Ring {
    changes: VecDeque<Change>,
    floor: Revision,
    newest: Revision,
    closed: bool,
}

impl Feed {
    /// For a store that stands at this revision and remembers nothing before it.
    #[must_use]
    pub fn new(at: Revision) -> Self {
        let ring = Ring { changes: VecDeque::new(), floor: at, newest: at, closed: false };
        Self { ring: Arc::new(Mutex::new(ring)), newest: watch::Sender::new(at) }
    }

    /// Tells the watchers what one commit, now durable, did. Commits are told in the order of their revisions.
    pub fn publish(&self, revision: Revision, changes: impl IntoIterator<Item = Change>) {
        let mut ring = lock(&self.ring);
        ring.changes.extend(changes);
        ring.newest = revision;
        ring.forget_the_oldest();
        drop(ring);
        self.newest.send_replace(revision);
    }

    /// Forgets everything: after a gap in what could be told, all watchers resync.
    pub fn restart(&self, at: Revision) {
        let mut ring = lock(&self.ring);
        ring.changes.clear();
        (ring.floor, ring.newest) = (at, at);
        drop(ring);
        self.newest.send_replace(at);
    }

    /// Tells the watchers that nothing follows.
    pub fn close(&self) {
        lock(&self.ring).closed = true;
        self.newest.send_modify(|_| ());
    }

    /// A watcher of a prefix that knows everything up to `after`.
    #[must_use]
    pub fn watch(&self, prefix: &Key, after: Revision) -> Changes {
        Changes { ring: Arc::clone(&self.ring), newest: self.newest.subscribe(), prefix: prefix.clone(), after }
    }
}

impl Changes {
    /// The next event; waits until there is one. Dropping the future loses nothing.
    pub async fn next(&mut self) -> ChangeEvent {
        loop {
            if let Some(event) = self.try_next() {
                return event;
            }
            self.stirred().await;
        }
    }

    /// Everything up to this revision was told, or concerns no row under the prefix.
    #[must_use]
    pub fn position(&self) -> Revision {
        self.after
    }

    /// Whether a change of this row after that revision is held, told already or not: if not, its newer revision is of a
    /// quiet change, which nobody is told.
    #[must_use]
    pub fn holds_change(&self, key: &Key, after: Revision) -> bool {
        let ring = lock(&self.ring);
        let later = ring.changes.partition_point(|change| change.revision <= after);
        ring.changes.range(later..).any(|change| change.key == *key)
    }

    /// Waits until the store has committed something, or ended, since the last look: perhaps under another prefix. Who need
    /// not hear of each change at once looks a little later, and then for many at a time.
    pub async fn stirred(&mut self) {
        // Without its feed the store is gone: the next look says so, and there is nothing to wait for.
        let _ = self.newest.changed().await;
    }

    /// The next event, if there is one.
    pub fn try_next(&mut self) -> Option<ChangeEvent> {
        let is_gone = self.newest.has_changed().is_err();
        self.newest.mark_unchanged();
        let ring = lock(&self.ring);
        // A watcher that is ahead of the store saw a future that a restored backup took back.
        if self.after < ring.floor || self.after > ring.newest {
            self.after = ring.newest;
            return Some(ChangeEvent::Resync(ring.newest));
        }
        let unseen = ring.changes.partition_point(|change| change.revision <= self.after);
        let under = |change: &&Change| change.key.as_bytes().starts_with(self.prefix.as_bytes());
        let mut rest = ring.changes.range(unseen..).filter(under).peekable();
        let mut changes: Vec<Change> = Vec::new();
        // Whole commits only: who goes on after this one must not miss half of it.
        while let Some(change) =
            rest.next_if(|next| changes.len() < EVENT_CHANGES || changes.last().is_some_and(|last| last.revision == next.revision))
        {
            changes.push(change.clone());
        }
        self.after = if rest.peek().is_some() { changes.last().map_or(ring.newest, |last| last.revision) } else { ring.newest };
        match changes.is_empty() {
            false => Some(ChangeEvent::Changed(changes)),
            true => (ring.closed || is_gone).then_some(ChangeEvent::Closed),
        }
    }
}

impl Change {
    /// What is told of a batch when it commits at this revision: nothing of a quiet one.
    pub fn of(batch: &Batch, revision: Revision) -> impl Iterator<Item = Self> {
        let told = if batch.is_quiet() { &[] } else { batch.writes() };
        told.iter().map(move |(key, write)| Self { revision, key: key.clone(), kind: write.into() })
    }
}

impl From<&Write> for ChangeKind {
    fn from(write: &Write) -> Self {
        match write {
            Write::Put(_) => Self::Put,
            Write::Delete => Self::Delete,
        }
    }
}

impl Ring {
    /// Whole commits only: half a commit must not look like all of it.
    fn forget_the_oldest(&mut self) {
        while self.changes.len() > RING_CHANGES {
            let Some(oldest) = self.changes.front().map(|change| change.revision) else { return };
            let commit = self.changes.partition_point(|change| change.revision <= oldest);
            self.changes.drain(..commit);
            self.floor = oldest;
        }
    }
}

/// A panic elsewhere cannot leave the ring half changed: each change to it is one step.
fn lock(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bytes: &[u8]) -> Key {
        Key::new(bytes).expect("a test's own key")
    }

    fn put(revision: u64, bytes: &[u8]) -> Change {
        Change { revision: Revision::from_number(revision), key: key(bytes), kind: ChangeKind::Put }
    }

    fn tell(feed: &Feed, revision: u64, bytes: &[u8]) {
        feed.publish(Revision::from_number(revision), [put(revision, bytes)]);
    }

    #[tokio::test]
    async fn a_watcher_that_falls_behind_is_told_so() {
        let feed = Feed::new(Revision::ABSENT);
        let mut slow = feed.watch(&key(b"a"), Revision::ABSENT);
        for revision in 1..=RING_CHANGES as u64 {
            tell(&feed, revision, b"a1");
        }
        let mut from_the_oldest_held = feed.watch(&key(b"a"), Revision::ABSENT);
        let mut told = Vec::new();
        while let Some(ChangeEvent::Changed(changes)) = from_the_oldest_held.try_next() {
            assert!(changes.len() <= EVENT_CHANGES, "a watcher holds no more than that");
            told.extend(changes.iter().map(|change| change.revision.number()));
            assert_eq!(from_the_oldest_held.position().number(), told.len() as u64);
        }
        assert!(told.into_iter().eq(1..=RING_CHANGES as u64), "each once, in order");
        let newest = RING_CHANGES as u64 + 1;
        tell(&feed, newest, b"a1");
        assert_eq!(slow.next().await, ChangeEvent::Resync(Revision::from_number(newest)));
        tell(&feed, newest + 1, b"a2");
        assert_eq!(slow.next().await, ChangeEvent::Changed(vec![put(newest + 1, b"a2")]));
    }

    #[tokio::test]
    async fn an_event_does_not_end_within_a_commit() {
        let feed = Feed::new(Revision::ABSENT);
        let revision = Revision::from_number;
        (1..EVENT_CHANGES as u64).for_each(|number| tell(&feed, number, b"a1"));
        let last = EVENT_CHANGES as u64;
        feed.publish(revision(last), [put(last, b"a1"), put(last, b"a2"), put(last, b"b"), put(last, b"a3")]);
        tell(&feed, last + 1, b"a1");
        let mut watcher = feed.watch(&key(b"a"), Revision::ABSENT);
        let lengths: Vec<_> = std::iter::from_fn(|| match watcher.try_next() {
            Some(ChangeEvent::Changed(changes)) => Some((changes.len(), watcher.position().number())),
            _ => None,
        })
        .collect();
        assert_eq!(lengths, [(EVENT_CHANGES + 2, last), (1, last + 1)]);
        drop(feed);
        assert_eq!(watcher.next().await, ChangeEvent::Closed, "the store is gone");
    }

    #[tokio::test]
    async fn a_watcher_wakes_for_its_prefix_and_for_the_end() {
        let feed = Feed::new(Revision::from_number(7));
        let mut watcher = feed.watch(&key(b"a"), Revision::from_number(7));
        tell(&feed, 8, b"b");
        let waiting = tokio::spawn(async move { (watcher.next().await, watcher.next().await) });
        tokio::task::yield_now().await;
        tell(&feed, 9, b"a");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        feed.close();
        assert_eq!(waiting.await.expect("no panic"), (ChangeEvent::Changed(vec![put(9, b"a")]), ChangeEvent::Closed));
    }

    #[tokio::test]
    async fn a_watcher_from_before_or_beyond_resyncs() {
        let feed = Feed::new(Revision::from_number(7));
        for after in [0, 6, 8] {
            let mut watcher = feed.watch(&key(b"a"), Revision::from_number(after));
            assert_eq!(watcher.next().await, ChangeEvent::Resync(Revision::from_number(7)), "after {after}");
        }
    }
}
