//! A store in memory: for tests, and the plainest reading of the contract.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{
    Batch, Change, Changes, CommitError, Condition, Feed, Key, Page, PageSize, Revision, Row, Standstill, Store, StoreError, StoreStatus,
    Write, check_keys,
};

/// Rows in a map under a lock. Nothing outlives it.
pub struct MemoryStore {
    table: Mutex<Table>,
    feed: Feed,
    condition: watch::Sender<Condition>,
}

/// A copy of the table: nobody waits for it.
struct Copied(Table);

#[derive(Default, Clone)]
struct Table {
    rows: BTreeMap<Key, Row>,
    revision: Revision,
}

impl MemoryStore {
    /// Without rows.
    #[must_use]
    pub fn new() -> Self {
        Self { table: Mutex::default(), feed: Feed::new(Revision::ABSENT), condition: watch::Sender::new(Condition::Healthy) }
    }

    /// Without rows, whose next revision is the one after this.
    #[must_use]
    pub fn after(revision: Revision) -> Self {
        let table = Table { revision, ..Table::default() };
        Self { table: Mutex::new(table), feed: Feed::new(revision), condition: watch::Sender::new(Condition::Healthy) }
    }

    fn open(&self) -> Result<MutexGuard<'_, Table>, StoreError> {
        match &*self.condition.borrow() {
            Condition::Healthy => Ok(self.table.lock().unwrap_or_else(PoisonError::into_inner)),
            other => Err(other.refusal()),
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError> {
        check_keys(keys)?;
        Ok(self.open()?.get(keys))
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: PageSize) -> Result<Page, StoreError> {
        let table = self.open()?;
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let under = |(key, _): &(&Key, &Row)| key.as_bytes().starts_with(prefix.as_bytes());
        let rows = table.rows.range((from, Bound::Unbounded)).take_while(under);
        Page::gather(rows.map(|(key, row)| Ok((key.clone(), row.clone()))), limit)
    }

    async fn commit(&self, batch: Batch) -> Result<Revision, CommitError> {
        batch.check()?;
        let mut table = self.open()?;
        table.expect(&batch)?;
        let revision = table.write(&batch);
        self.feed.publish(revision, Change::of(&batch, revision));
        Ok(revision)
    }

    async fn watch(&self, prefix: &Key, after: Revision) -> Result<Changes, StoreError> {
        self.open().map(|_| self.feed.watch(prefix, after))
    }

    async fn stand_still(&self) -> Result<Box<dyn Standstill>, StoreError> {
        Ok(Box::new(Copied(self.open()?.clone())))
    }

    fn status(&self) -> StoreStatus {
        let durable = self.table.lock().unwrap_or_else(PoisonError::into_inner).revision;
        StoreStatus { size_on_disk_bytes: 0, durable, condition: self.condition.borrow().clone() }
    }

    fn conditions(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    async fn close(&self) {
        self.condition.send_replace(Condition::Closed);
        self.feed.close();
    }
}

#[async_trait]
impl Standstill for Copied {
    fn revision(&self) -> Revision {
        self.0.revision
    }

    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError> {
        check_keys(keys)?;
        Ok(self.0.get(keys))
    }
}

impl Table {
    fn get(&self, keys: &[Key]) -> Vec<Option<Row>> {
        keys.iter().map(|key| self.rows.get(key).cloned()).collect()
    }

    fn expect(&self, batch: &Batch) -> Result<(), CommitError> {
        let holds = |(key, expected): &&(Key, Revision)| self.rows.get(key).map_or(Revision::ABSENT, |row| row.revision) == *expected;
        match batch.expectations().iter().find(|expectation| !holds(expectation)) {
            Some((key, _)) => Err(CommitError::Conflict(key.clone())),
            None => Ok(()),
        }
    }

    fn write(&mut self, batch: &Batch) -> Revision {
        self.revision = self.revision.next();
        for (key, write) in batch.writes() {
            match write {
                Write::Put(value) => self.rows.insert(key.clone(), Row { revision: self.revision, value: value.clone() }),
                Write::Delete => self.rows.remove(key),
            };
        }
        self.revision
    }
}
