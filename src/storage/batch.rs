//! Batches: what must hold, and what then happens.

use std::collections::HashSet;

use super::{Key, Revision, StoreError, VALUE_BYTES, Value};

/// Expectations of one batch.
pub const BATCH_EXPECTATIONS: usize = 64;
/// Writes of one batch.
pub const BATCH_WRITES: usize = 64;
/// Bytes of one batch, keys and values together: 1.2 MiB, under etcd's 1.5 MiB for a request.
pub const BATCH_BYTES: usize = 1_258_291;

/// Expectations and writes that go together. Built in the order of reading:
/// `Batch::new().expecting(key, revision).put(key, value).delete(other)`.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    expectations: Vec<(Key, Revision)>,
    writes: Vec<(Key, Write)>,
    is_quiet: bool,
}

/// What happens to one row.
#[derive(Debug, Clone)]
pub enum Write {
    /// It has this value from now on, whether or not it was there.
    Put(Value),
    /// It is gone from now on, whether or not it was there.
    Delete,
}

impl Batch {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// And the row's last change must be this one; [`Revision::ABSENT`]: there must be no such row.
    #[must_use]
    pub fn expecting(mut self, key: Key, revision: Revision) -> Self {
        self.expectations.push((key, revision));
        self
    }

    /// And the row gets this value.
    #[must_use]
    pub fn put(mut self, key: Key, value: impl Into<Value>) -> Self {
        self.writes.push((key, Write::Put(value.into())));
        self
    }

    /// And the row goes.
    #[must_use]
    pub fn delete(mut self, key: Key) -> Self {
        self.writes.push((key, Write::Delete));
        self
    }

    /// And no watcher is told: the rows mean what they meant before, e.g. under another key. Their revision changes all the same.
    #[must_use]
    pub fn quietly(mut self) -> Self {
        self.is_quiet = true;
        self
    }

    /// Whether watchers are not told.
    #[must_use]
    pub const fn is_quiet(&self) -> bool {
        self.is_quiet
    }

    /// What must hold.
    #[must_use]
    pub fn expectations(&self) -> &[(Key, Revision)] {
        &self.expectations
    }

    /// What then happens, in any order: no key stands here twice.
    #[must_use]
    pub fn writes(&self) -> &[(Key, Write)] {
        &self.writes
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let expected: usize = self.expectations.iter().map(|(key, _)| key.as_bytes().len()).sum();
        let written: usize = self.writes.iter().map(|(key, write)| key.as_bytes().len() + write.bytes()).sum();
        expected + written
    }

    /// Whether it is within the bounds that every store keeps. Each store calls this first.
    ///
    /// # Errors
    /// A value or the whole too large, too many expectations or writes, none at all, two writes to one row, or a key of no row.
    pub fn check(&self) -> Result<(), StoreError> {
        if let Some(bytes) = self.writes.iter().map(|(_, write)| write.bytes()).find(|bytes| *bytes > VALUE_BYTES) {
            return Err(StoreError::RowTooLarge { bytes });
        }
        if self.expectations.len() > BATCH_EXPECTATIONS {
            return Err(StoreError::BatchTooLarge("more than 64 expectations"));
        }
        if self.writes.len() > BATCH_WRITES {
            return Err(StoreError::BatchTooLarge("more than 64 writes"));
        }
        if self.bytes() > BATCH_BYTES {
            return Err(StoreError::BatchTooLarge("more than 1.2 MiB"));
        }
        self.check_writes()
    }

    fn check_writes(&self) -> Result<(), StoreError> {
        let mut seen = HashSet::with_capacity(self.writes.len());
        let mut keys = self.writes.iter().map(|(key, _)| key).chain(self.expectations.iter().map(|(key, _)| key));
        if keys.any(|key| key.as_bytes().is_empty()) {
            return Err(StoreError::BatchSenseless("the key of no row"));
        }
        if self.writes.is_empty() {
            return Err(StoreError::BatchSenseless("no writes"));
        }
        if !self.writes.iter().all(|(key, _)| seen.insert(key)) {
            return Err(StoreError::BatchSenseless("two writes to one row"));
        }
        Ok(())
    }
}

impl Write {
    fn bytes(&self) -> usize {
        match self {
            Self::Put(value) => value.len(),
            Self::Delete => 0,
        }
    }
}
