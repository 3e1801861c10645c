//! The end of a destroyed secret: its rows are deleted but for one without payload, which keeps its numbering.

use crate::gate::{Permit, SecretAt, Unreleased};
use crate::storage::{BATCH_WRITES, Batch, Key, PageSize};

use super::super::record::{SecretMeta, State};
use super::super::{Error, Open};
use super::create::lookup_key;
use super::head::{Found, Place, is_replay, until_done};
use super::row;
use super::state::without_job;
use super::update::{expect, touch};

const METHOD: &str = "PurgeSecret";
/// Head, look-up and job.
const LAST_BATCH_WRITES: usize = 3;

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
        // What does not fit into one batch goes first: whatever interrupts this, the secret is still destroyed and can be
        // purged again. A restore meanwhile changes the head, which every batch expects as it was found.
        let (older, rest) = self.delete_older_versions(&place, &found).await?;
        let (batch, deleted) = self.last_batch(permit, &place, &found)?;
        let batch = rest.iter().cloned().fold(batch, Batch::delete);
        let done = self.commit_head(permit, batch).await?;
        Ok(done.map(|_| older + count(&rest) + deleted))
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

    /// Deletes older versions until the rest fits into the last batch. Returns how many, and the rest.
    async fn delete_older_versions(&self, place: &Place, found: &Found) -> Result<(u32, Vec<Key>), Error> {
        let prefix = row::versions_prefix(place.namespace.info.id, found.head().secret);
        let at_once = PageSize::new(BATCH_WRITES - LAST_BATCH_WRITES).expect("61 is a page");
        let mut deleted = 0;
        loop {
            let page = self.rows.store.scan(&prefix, None, at_once).await?;
            let keys: Vec<Key> = page.rows.into_iter().map(|(key, _)| key).collect();
            if !page.more {
                return Ok((deleted, keys));
            }
            deleted += count(&keys);
            let unchanged = Batch::new().expecting(place.key.clone(), found.row.revision);
            self.rows.store.commit(keys.into_iter().fold(unchanged, Batch::delete)).await?;
        }
    }
}

fn count(keys: &[Key]) -> u32 {
    u32::try_from(keys.len()).expect("at most a page")
}
