//! Rows under the system key: namespaces, keyrings, policy, jobs, and the vault's own secrets.

use std::sync::Arc;

use prost::Message;

use crate::crypto::{self, Context, Random};
use crate::model::VaultId;
use crate::storage::{Key, PageSize, Revision, Row, Store, Value};

use super::{Error, row};

/// The store, and the key under which everything that belongs to no namespace lies in it.
#[derive(Clone)]
pub(super) struct SystemRows {
    pub(super) store: Arc<dyn Store>,
    pub(super) random: Arc<dyn Random>,
    pub(super) vault: VaultId,
    key: Arc<crypto::Key>,
}

impl SystemRows {
    pub(super) fn new(store: Arc<dyn Store>, random: Arc<dyn Random>, vault: VaultId, system_key: crypto::Key) -> Self {
        Self { store, random, vault, key: Arc::new(system_key) }
    }

    /// The system key itself: keyrings and the vault's own secrets are wrapped by it.
    pub(super) fn system_key(&self) -> &crypto::Key {
        &self.key
    }

    /// One row's value, encrypted for that very key.
    pub(super) fn seal(&self, key: &Key, record: &impl Message) -> Result<Value, Error> {
        let context = Context::Row { vault: self.vault, key: key.as_bytes() };
        let sealed = crypto::encrypt(&self.key, &context, &record.encode_to_vec(), self.random.as_ref());
        sealed.map(Value::from).map_err(Error::Crypto)
    }

    /// What a row's value holds.
    pub(super) fn open<M: Message + Default>(&self, key: &Key, value: &[u8]) -> Result<M, Error> {
        let context = Context::Row { vault: self.vault, key: key.as_bytes() };
        let record = crypto::decrypt(&self.key, &context, value).map_err(|_| Error::Integrity("a row of the vault's own"))?;
        M::decode(record.expose()).map_err(|_| Error::Integrity("a record of the vault's own"))
    }

    /// One row, if it is there.
    pub(super) async fn row(&self, key: &Key) -> Result<Option<Row>, Error> {
        let mut rows = self.store.get(std::slice::from_ref(key)).await?;
        Ok(rows.pop().flatten())
    }

    /// One record with its row's revision, if it is there.
    pub(super) async fn record<M: Message + Default>(&self, key: &Key) -> Result<Option<(M, Revision)>, Error> {
        let Some(row) = self.row(key).await? else { return Ok(None) };
        Ok(Some((self.open(key, &row.value)?, row.revision)))
    }

    /// All records below a prefix, in the order of their keys.
    pub(super) async fn records<M: Message + Default>(&self, prefix: &Key) -> Result<Vec<(Key, M, Revision)>, Error> {
        let mut records = Vec::new();
        let mut after: Option<Key> = None;
        loop {
            let page = self.store.scan(prefix, after.as_ref(), PageSize::MAX).await?;
            for (key, row) in &page.rows {
                records.push((key.clone(), self.open(key, &row.value)?, row.revision));
            }
            match page.rows.last() {
                Some((last, _)) if page.more => after = Some(last.clone()),
                _ => return Ok(records),
            }
        }
    }

    /// One of the vault's own secrets.
    pub(super) async fn own_secret(&self, name: &'static str, epoch: u64) -> Result<crypto::Key, Error> {
        let row = self.row(&row::own_secret_key(name)).await?.ok_or(Error::Integrity("a missing secret of the vault's own"))?;
        let context = Context::Secret { vault: self.vault, name, epoch };
        crypto::unwrap_key(&self.key, &context, &row.value).map_err(|_| Error::Integrity("a secret of the vault's own"))
    }
}
