//! sled itself. No other file names one of its types.
#![expect(clippy::disallowed_types, reason = "this is the one home of the embedded store")]

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sled::{Config, Db, Error, IVec};

use super::super::{Key, Revision, Row, StoreError, Value};
use super::disk::is_passing;
use super::folder::Folder;
use super::ledger::{LEDGER_KEY, Ledger};

/// sled moves a page larger than a quarter of a segment into a file of its own, which it never syncs. A page holds some 20
/// rows; at 8 MiB even 20 of the longest fit. A log keeps the size that it was made with.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;
const _: () = assert!(20 * (super::super::VALUE_BYTES + super::super::KEY_BYTES + 64) < SEGMENT_BYTES / 4);

/// How long after a close sled's own threads may hold its log.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// sled notes which pages are read in 256 lists, and gives pages back only when one of them has 64 entries: some 16,000 pages
/// lie in memory beside its cache, 100 MiB and more. Where a log is far larger than the cache, each read is noted so many
/// times: the lists fill sooner.
const TOUCHES: usize = 4;
/// A log that is so many times the cache is far larger.
const CROWDED: u64 = 4;

/// An open sled.
pub(super) struct Log {
    db: Db,
    config: Config,
    is_crowded: AtomicBool,
}

/// What one group writes. A row is revision (8 bytes, big-endian) ‖ value.
#[derive(Default)]
pub(super) struct Pending(sled::Batch);

impl Log {
    /// Opens it and lets it recover. The folder is ours, so a log in use is only not yet let go by sled's own threads.
    pub(super) fn open(folder: &Folder, cache_bytes: u64) -> Result<Self, StoreError> {
        // No flush thread: the writer flushes, and that thread would only log the errors of its fsyncs.
        let config = Config::new().path(folder.path()).segment_size(SEGMENT_BYTES).cache_capacity(cache_bytes).flush_every_ms(None);
        let deadline = Instant::now() + RELEASE_TIMEOUT;
        loop {
            // Recovery of a damaged log panics in places.
            let opened = catch_unwind(AssertUnwindSafe(|| config.open()))
                .map_err(|_| StoreError::Corrupt("recovery of the log panicked".to_owned()))?;
            match opened {
                Ok(db) => return Ok(Self { db, config, is_crowded: AtomicBool::new(false) }),
                Err(error) if is_locked(&error) && Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                Err(error) => return Err(translated(error)),
            }
        }
    }

    pub(super) fn get(&self, key: &Key) -> Result<Option<Row>, StoreError> {
        if key.as_bytes() == LEDGER_KEY {
            return Ok(None);
        }
        let found = self.db.get(key.as_bytes()).map_err(translated)?;
        if self.is_crowded.load(Ordering::Relaxed) {
            for _ in 1..TOUCHES {
                self.db.get(key.as_bytes()).map_err(translated)?;
            }
        }
        found.map(row).transpose()
    }

    /// How large it is now.
    pub(super) fn note_size(&self, log_bytes: u64) {
        self.is_crowded.store(log_bytes / CROWDED > self.config.cache_capacity, Ordering::Relaxed);
    }

    /// The rows under a prefix, after a key.
    pub(super) fn rows_under(&self, prefix: &Key, after: Option<&Key>) -> impl Iterator<Item = Result<(Key, Row), StoreError>> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.as_bytes()),
            // Behind the ledger, whose key is the empty one.
            _ if prefix.as_bytes().is_empty() => Bound::Excluded(LEDGER_KEY),
            _ => Bound::Included(prefix.as_bytes()),
        };
        let prefix = prefix.clone();
        let under = move |row: &Result<(Key, Row), _>| row.as_ref().map_or(true, |(key, _)| key.as_bytes().starts_with(prefix.as_bytes()));
        self.rows_from(from).take_while(under)
    }

    /// The rows after a key, or all of them; never the ledger.
    pub(super) fn rows_after(&self, after: Option<&Key>) -> impl Iterator<Item = Result<(Key, Row), StoreError>> + use<> {
        self.rows_from(Bound::Excluded(after.map_or(LEDGER_KEY, Key::as_bytes)))
    }

    fn rows_from(&self, from: Bound<&[u8]>) -> impl Iterator<Item = Result<(Key, Row), StoreError>> + use<> {
        let db = self.db.clone();
        let is_crowded = self.is_crowded.load(Ordering::Relaxed);
        self.db.range::<&[u8], _>((from, Bound::Unbounded)).map(move |entry| {
            let (key, bytes) = entry.map_err(translated)?;
            if is_crowded {
                // A page is noted once for each of its rows.
                db.get(&key).map_err(translated)?;
            }
            let key = Key::new(key.as_ref()).map_err(|_| StoreError::Corrupt("a row has an impossible key".to_owned()))?;
            Ok((key, row(bytes)?))
        })
    }

    pub(super) fn ledger(&self) -> Result<Ledger, StoreError> {
        match self.db.get(LEDGER_KEY).map_err(translated)? {
            Some(bytes) => Ledger::decode(&bytes),
            None => Err(StoreError::Corrupt("the log has no ledger: it was emptied, or is not of this program".to_owned())),
        }
    }

    /// Hands a group to sled: all of it will be recovered, or none. Not durable when it returns.
    pub(super) fn write(&self, pending: Pending) -> Result<(), StoreError> {
        self.db.apply_batch(pending.0).and_then(|()| self.db.flush()).map(|_| ()).map_err(translated)
    }

    /// Why sled refuses all further writes, if it does: one failed.
    pub(super) fn poison(&self) -> Option<StoreError> {
        self.config.global_error().err().map(translated)
    }

    /// Wakes the threads that wait inside a poisoned sled. In one place it notes an error without waking anybody, and its
    /// waiters would sleep for ever. Any attempt to write wakes them and is refused; making a tree is the one attempt that
    /// takes no lock which a sleeper may hold.
    pub(super) fn wake_sleepers(&self) {
        if self.poison().is_some() {
            let _refused = self.db.open_tree("never made");
        }
    }
}

impl Pending {
    pub(super) fn put(&mut self, key: &Key, revision: Revision, value: &Value) {
        let mut bytes = Vec::with_capacity(8 + value.len());
        bytes.extend(revision.number().to_be_bytes());
        bytes.extend_from_slice(value);
        self.0.insert(key.as_bytes(), bytes);
    }

    pub(super) fn delete(&mut self, key: &Key) {
        self.0.remove(key.as_bytes());
    }

    pub(super) fn record(&mut self, ledger: Ledger) {
        self.0.insert(LEDGER_KEY, ledger.encode());
    }
}

fn row(bytes: IVec) -> Result<Row, StoreError> {
    let Some((revision, value)) = bytes.split_first_chunk() else {
        return Err(StoreError::Corrupt("a row is shorter than its revision".to_owned()));
    };
    let revision = Revision::from_number(u64::from_be_bytes(*revision));
    Ok(Row { revision, value: Value::sharing(bytes.subslice(8, value.len())) })
}

fn is_locked(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.to_string().starts_with("could not acquire lock"))
}

fn translated(error: Error) -> StoreError {
    match error {
        Error::Io(error) if is_passing(error.kind()) => StoreError::Full(error.to_string()),
        Error::Io(error) => StoreError::Corrupt(format!("the log cannot be read or written: {error}")),
        other => StoreError::Corrupt(other.to_string()),
    }
}
