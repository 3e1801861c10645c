//! The end of a destroyed secret: its rows are deleted but for one without payload, which keeps its numbering.

use crate::gate::{Permit, SecretAt, Unreleased};
use crate::model::SecretId;
use crate::storage::{BATCH_WRITES, Batch, Key, PageSize};

use super::super::namespace::Namespace;
use super::super::record::{SecretMeta, State};
use super::super::{Error, Open};
use super::create::lookup_key;
use super::head::{Found, Place, is_replay, until_done};
use super::row;
use super::state::without_job;
use super::update::{expect, touch};

const METHOD: &str = "PurgeSecret";

impl Open {
    /// Deletes a destroyed secret's rows. Returns how many.
    ///
    /// # Errors
    /// [`Error::State`] where it is not destroyed, [`Error::Conflict`], [`Error::Absent`].
    pub async fn purge(&self, permit: Permit<SecretAt>, expected: u64) -> Result<Unreleased<u32>, Error> {
        until_done(|| self.try_purge(&permit, expected)).await.map(Unreleased::new)
    }

    async fn try_purge(&self, permit: &Permit<SecretAt>, expected: u64) -> Result<Option<u32>, Error> {
        let at = permit.granted();
        let place = self.place(at)?;
        let found = self.find(&place, at).await?.ok_or(super::head::ABSENT)?;
        match found.meta.state() {
            State::Purged if is_replay(permit, METHOD, &found.meta) => return Ok(Some(0)),
            State::Purged => return Err(super::head::ABSENT),
            State::Destroyed => {}
            _ => return Err(Error::State("the secret is not destroyed: destroy it first")),
        }
        expect(found.row.revision, expected)?;
        // The older versions go first: whatever interrupts this, the secret is still destroyed and can be purged again.
        let older = self.delete_older_versions(&place.namespace, found.head().secret).await?;
        let (batch, deleted) = self.last_batch(permit, &place, &found)?;
        let done = self.commit_head(permit, batch).await?;
        Ok(done.map(|_| older + deleted))
    }

    fn last_batch(&self, permit: &Permit<SecretAt>, place: &Place, found: &Found) -> Result<(Batch, u32), Error> {
        let head = found.head();
        let mut meta =
            SecretMeta { path: found.meta.path.clone(), kind: found.meta.kind, created_ms: found.meta.created_ms, ..Default::default() };
        meta.set_state(State::Purged);
        meta.oldest_version = head.version;
        touch(&mut meta, permit, METHOD);
        let value = place.seal(self, head.secret, head.version, &meta, &[])?;
        let batch = place.batch().expecting(place.key.clone(), found.row.revision).put(place.key.clone(), value);
        let batch = without_job(batch, &found.meta, place.namespace.info.id, head.secret)?;
        Ok(match &found.meta.token {
            Some(token) => (batch.delete(lookup_key(place, token, head.secret)?), 2),
            None => (batch, 1),
        })
    }

    async fn delete_older_versions(&self, namespace: &Namespace, secret: SecretId) -> Result<u32, Error> {
        let prefix = row::versions_prefix(namespace.info.id, secret);
        let at_once = PageSize::new(BATCH_WRITES).expect("64 is a page");
        let mut deleted = 0;
        loop {
            let page = self.rows.store.scan(&prefix, None, at_once).await?;
            let keys: Vec<Key> = page.rows.into_iter().map(|(key, _)| key).collect();
            if keys.is_empty() {
                return Ok(deleted);
            }
            deleted += u32::try_from(keys.len()).expect("at most 64");
            self.rows.store.commit(keys.into_iter().fold(Batch::new(), Batch::delete)).await?;
        }
    }
}
