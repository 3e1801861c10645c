//! One row, one batch: what rewrapping does to them. It holds the keys as they were when the page was read.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::crypto::{self, CryptoError, EnvelopeIds, Random};
use crate::model::{NamespaceId, VaultId};
use crate::storage::{BATCH_BYTES, BATCH_EXPECTATIONS, Batch, CommitError, Key, Row, Store, StoreError, Value};

use super::super::namespace::NamespaceKeys;
use super::super::row::{self, Head};
use super::super::{Error, Open};

/// The keyring's row takes one expectation.
pub(super) const BATCH_ROWS: usize = BATCH_EXPECTATIONS - 1;
/// Somebody else writes a row at the very moment, again and again; each time it is read anew.
const TRIES: u32 = 64;
/// Until it is looked again whether a store takes writes that refused one.
const REFUSED: Duration = Duration::from_secs(1);

/// Puts rows of one namespace under its active key.
#[derive(Clone)]
pub(super) struct Rewrapper {
    pub(super) keys: Arc<NamespaceKeys>,
    pub(super) namespace: NamespaceId,
    pub(super) reencrypt: bool,
    vault: VaultId,
    random: Arc<dyn Random>,
    store: Arc<dyn Store>,
}

/// What became of some rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) rewrapped: u64,
    pub(super) damaged: u64,
}

/// Rows that go into one batch, and how they were read.
#[derive(Default)]
pub(super) struct Chunk {
    keys: Vec<Key>,
    batch: Batch,
    bytes: usize,
}

impl Rewrapper {
    pub(super) fn new(open: &Open, namespace: NamespaceId, keys: Arc<NamespaceKeys>, reencrypt: bool) -> Self {
        let (vault, random, store) = (open.rows.vault, open.rows.random.clone(), open.rows.store.clone());
        Self { keys, namespace, reencrypt, vault, random, store }
    }

    /// The new value of a row; none where there is nothing to do.
    fn rewrapped(&self, key: &Key, row: &Row) -> Result<Option<Value>, Error> {
        let head = Head::decode(&row.value)?;
        self.check_place(key, &head)?;
        let (target, new) = self.keys.keyring.active();
        // Above it: somebody rotated since the keys were looked at, and the pass begins again.
        if head.kek_version > target || (head.kek_version == target && !self.reencrypt) {
            return Ok(None);
        }
        let old = self.keys.keyring.for_decrypt(head.kek_version)?;
        let Head { secret, version, kek_version, .. } = head;
        let ids = EnvelopeIds { vault: self.vault, namespace: self.namespace, secret, version, kek_version };
        if !self.reencrypt {
            let wrapped_dek = crypto::rewrap(old, ids, head.wrapped_dek, new, target, self.random.as_ref())?;
            return Ok(Some(Head { kek_version: target, wrapped_dek: &wrapped_dek, ..head }.encode()));
        }
        let (meta, payload) = crypto::open_both(old, ids, head.wrapped_dek, head.meta, head.payload)?;
        let ids = EnvelopeIds { kek_version: target, ..ids };
        let sealed = crypto::seal(new, ids, meta.expose(), payload.expose(), self.random.as_ref())?;
        let head = Head { kek_version: target, wrapped_dek: &sealed.wrapped_dek, meta: &sealed.meta, payload: &sealed.payload, ..head };
        Ok(Some(head.encode()))
    }

    /// An older version lies under its own number, or somebody moved rows about.
    fn check_place(&self, key: &Key, head: &Head<'_>) -> Result<(), Error> {
        let is_older = key.as_bytes().first() == Some(&b'v');
        if is_older && *key != row::version_key(self.namespace, head.secret, head.version) {
            return Err(Error::Integrity("the place of an older version"));
        }
        Ok(())
    }

    /// Rows in batches. A row that cannot be opened is counted, and left as it is.
    ///
    /// # Errors
    /// The generator failed.
    pub(super) fn chunks<'a>(&self, rows: impl Iterator<Item = (&'a Key, &'a Row)>) -> Result<(Vec<Chunk>, Tally), Error> {
        let (mut chunks, mut tally) = (Vec::<Chunk>::new(), Tally::default());
        for (key, row) in rows {
            match self.rewrapped(key, row) {
                Ok(None) => {}
                Ok(Some(value)) => {
                    let bytes = 2 * key.as_bytes().len() + value.len();
                    if chunks.last().is_none_or(|chunk| !chunk.has_room(bytes)) {
                        chunks.push(self.chunk());
                    }
                    if let Some(chunk) = chunks.last_mut() {
                        chunk.add(key, row, value, bytes);
                    }
                }
                Err(error @ Error::Crypto(CryptoError::Random(_))) => return Err(error),
                Err(error) => {
                    tally.damaged += 1;
                    tracing::error!(%error, row = %key, "a row cannot be rewrapped");
                }
            }
        }
        Ok((chunks, tally))
    }

    /// Whoever slept while a key was rotated must not write under the old one: the keyring is as it was.
    fn chunk(&self) -> Chunk {
        let key = row::keyring_key(self.namespace);
        let bytes = key.as_bytes().len();
        Chunk { keys: Vec::new(), batch: Batch::new().expecting(key, self.keys.revision).quietly(), bytes }
    }

    /// Commits a batch. Rows that were written meanwhile are read again, and the rest with them; a store that refuses writes is
    /// waited for.
    ///
    /// # Errors
    /// [`Error::Conflict`] where the keyring is another, or the store's.
    pub(super) async fn commit(self, mut chunk: Chunk) -> Result<Tally, Error> {
        let mut tally = Tally::default();
        let mut tried = 0;
        while !chunk.keys.is_empty() {
            match self.store.commit(chunk.batch.clone()).await {
                Ok(_) => {
                    tally.rewrapped += chunk.keys.len() as u64;
                    break;
                }
                Err(CommitError::Conflict(key)) if key == row::keyring_key(self.namespace) => return Err(Error::Conflict),
                Err(CommitError::Refused(StoreError::Full(_))) => sleep(REFUSED).await,
                Err(CommitError::Refused(error)) => return Err(error.into()),
                // Of those that nobody knows about, what was done is found under the new key.
                Err(error @ (CommitError::Conflict(_) | CommitError::Unknown)) => {
                    tried += 1;
                    if tried == TRIES {
                        return Err(error.into());
                    }
                    let (again, more) = self.read_again(&chunk.keys).await?;
                    chunk = again;
                    tally.add(more);
                    sleep(Duration::from_millis(1)).await;
                }
            }
        }
        Ok(tally)
    }

    /// At most as many rows as there were, none longer than before but by what was written meanwhile: where that does not fit
    /// into one batch any more, the rest is committed first.
    async fn read_again(&self, keys: &[Key]) -> Result<(Chunk, Tally), Error> {
        let found = self.store.get(keys).await?;
        let rows: Vec<_> = keys.iter().zip(&found).filter_map(|(key, row)| Some((key, row.as_ref()?))).collect();
        let (mut chunks, mut tally) = self.chunks(rows.into_iter())?;
        let last = chunks.pop().unwrap_or_default();
        for chunk in chunks {
            let done = Box::pin(self.clone().commit(chunk)).await?;
            tally.add(done);
        }
        Ok((last, tally))
    }
}

impl Tally {
    pub(super) fn add(&mut self, more: Self) {
        self.rewrapped += more.rewrapped;
        self.damaged += more.damaged;
    }
}

impl Chunk {
    fn has_room(&self, bytes: usize) -> bool {
        self.keys.len() < BATCH_ROWS && self.bytes + bytes <= BATCH_BYTES
    }

    fn add(&mut self, key: &Key, row: &Row, value: Value, bytes: usize) {
        self.bytes += bytes;
        self.keys.push(key.clone());
        let batch = std::mem::take(&mut self.batch);
        self.batch = batch.expecting(key.clone(), row.revision).put(key.clone(), value);
    }
}
