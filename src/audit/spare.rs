//! The next segment, made ready by a helper thread, so that rotation is a rename.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::segment::{Folder, Segment};

/// Wait between two attempts to make a spare.
const RETRY: Duration = Duration::from_secs(1);

/// The next segment, or why there is none.
pub(super) struct Spare {
    folder: Arc<Folder>,
    bytes: u64,
    state: State,
    /// Why the last attempt failed. It stays known while the next one is under way.
    failed: Option<Arc<str>>,
}

enum State {
    Preparing(JoinHandle<io::Result<File>>),
    Settled(Result<File, Missing>),
}

struct Missing {
    why: Arc<str>,
    since: Instant,
}

impl Spare {
    /// Begins to prepare one of `bytes`.
    pub(super) fn begin(folder: Arc<Folder>, bytes: u64) -> Self {
        let state = State::prepare(&folder, bytes, None);
        Self { folder, bytes, state, failed: None }
    }

    /// The spare; waits for it if it is being prepared. Whoever takes it calls [`Spare::begin_next`] when it has its name.
    pub(super) fn take(&mut self) -> Result<File, Arc<str>> {
        self.wait()?;
        std::mem::replace(&mut self.state, State::taken()).settled().map_err(|missing| missing.why)
    }

    /// Waits until it is ready, or known to be missing.
    pub(super) fn wait(&mut self) -> Result<(), Arc<str>> {
        self.state = State::Settled(std::mem::replace(&mut self.state, State::taken()).settled());
        self.failed = match &self.state {
            State::Settled(Err(missing)) => Some(missing.why.clone()),
            _ => None,
        };
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Cuts the trailing zeros of the segment before, and begins to prepare the spare after the one taken.
    pub(super) fn begin_next(&mut self, closed: Option<Segment>) {
        self.state = State::prepare(&self.folder, self.bytes, closed);
    }

    /// Why there is none, from the first failure until one is ready. Tries again once a second.
    pub(super) fn missing(&mut self) -> Option<Arc<str>> {
        let settled = match &self.state {
            State::Preparing(thread) => thread.is_finished(),
            State::Settled(_) => true,
        };
        if settled {
            drop(self.wait());
        }
        if matches!(&self.state, State::Settled(Err(missing)) if missing.since.elapsed() >= RETRY) {
            self.retry();
        }
        self.failed.clone()
    }

    /// The spare; if there is none, one more attempt is made at once and waited for.
    pub(super) fn take_or_make(&mut self) -> Result<File, Arc<str>> {
        self.take().or_else(|_| {
            self.retry();
            self.take()
        })
    }

    /// Removes it from the folder.
    pub(super) fn discard(&mut self) -> io::Result<()> {
        drop(self.take());
        self.folder.remove_spare()
    }

    fn retry(&mut self) {
        self.state = State::prepare(&self.folder, self.bytes, None);
    }
}

impl State {
    fn prepare(folder: &Arc<Folder>, bytes: u64, closed: Option<Segment>) -> Self {
        let folder = Arc::clone(folder);
        let work = move || {
            // Zeros that stay behind cost room and nothing else: a reader ignores them.
            drop(closed.map(|segment| segment.cut()));
            folder.prepare_spare(bytes)
        };
        match thread::Builder::new().name("audit-spare".into()).spawn(work) {
            Ok(thread) => Self::Preparing(thread),
            Err(error) => Self::Settled(Err(Missing::because(&error))),
        }
    }

    fn settled(self) -> Result<File, Missing> {
        match self {
            Self::Settled(settled) => settled,
            Self::Preparing(thread) => {
                let made = thread.join().unwrap_or_else(|_| Err(io::Error::other("the helper thread ended early")));
                made.map_err(|error| Missing::because(&error))
            }
        }
    }

    fn taken() -> Self {
        Self::Settled(Err(Missing { why: Arc::from("the next segment is not ready"), since: Instant::now() }))
    }
}

impl Missing {
    fn because(error: &io::Error) -> Self {
        Self { why: format!("no room can be made for the next segment: {error}").into(), since: Instant::now() }
    }
}
