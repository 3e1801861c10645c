//! One head row: where it lies, and opening it.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;

use crate::crypto::{self, EnvelopeIds};
use crate::gate::{Permit, SecretAt};
use crate::model::{SecretBytes, SecretId, SecretPath, limits};
use crate::storage::{Batch, Key, Row};

use super::super::namespace::{Namespace, NamespaceKeys};
use super::super::record::{SecretMeta, State};
use super::super::{Error, Open, author};
use super::row::{self, Head};
use super::{AfterCommit, LONGEST_PAUSE, TRIES, after};

/// What cannot be found, for whatever reason.
pub(super) const ABSENT: Error = Error::Absent("secret");

/// A secret's place: its namespace, its keys at this moment, and the key of its head row.
pub(in crate::vault) struct Place {
    pub(super) namespace: Arc<Namespace>,
    pub(super) keys: Arc<NamespaceKeys>,
    pub(super) key: Key,
}

/// A head row whose metadata is open and is the permit's.
pub(in crate::vault) struct Found {
    pub(super) row: Row,
    pub(in crate::vault) meta: SecretMeta,
}

impl Found {
    pub(super) fn head(&self) -> Head<'_> {
        Head::decode(&self.row.value).expect("it was decoded when it was found")
    }
}

impl Place {
    /// The ids that a head's ciphertexts are bound to.
    pub(super) fn context(&self, open: &Open, head: &Head<'_>) -> EnvelopeIds {
        self.context_of(open, head.secret, head.version, head.kek_version)
    }

    pub(super) fn context_of(&self, open: &Open, secret: SecretId, version: u64, kek_version: u32) -> EnvelopeIds {
        EnvelopeIds { vault: open.rows.vault, namespace: self.namespace.info.id, secret, version, kek_version }
    }

    /// A batch that holds only while no key was rotated: no value is written under a key that is being retired.
    pub(super) fn batch(&self) -> Batch {
        Batch::new().expecting(row::keyring_key(self.namespace.info.id), self.keys.revision)
    }

    /// A head of these parts, sealed under the active key.
    pub(super) fn seal(
        &self,
        open: &Open,
        secret: SecretId,
        version: u64,
        meta: &SecretMeta,
        payload: &[u8],
    ) -> Result<crate::storage::Value, Error> {
        let (kek_version, kek) = self.keys.keyring.active();
        let context = self.context_of(open, secret, version, kek_version);
        let sealed = crypto::seal(kek, context, &meta.encode_to_vec(), payload, open.random())?;
        let head = Head { secret, version, kek_version, wrapped_dek: &sealed.wrapped_dek, meta: &sealed.meta, payload: &sealed.payload };
        Ok(head.encode())
    }

    /// The keys that a head is under: the place's, or newer ones if it was put under a key that was made since.
    fn keys_of(&self, head: &Head<'_>) -> Arc<NamespaceKeys> {
        if head.kek_version > self.keys.keyring.active().0 { self.namespace.keys() } else { self.keys.clone() }
    }

    /// The same head with other metadata, under the same data key.
    pub(super) fn reseal(&self, open: &Open, head: &Head<'_>, meta: &SecretMeta) -> Result<crate::storage::Value, Error> {
        let keys = self.keys_of(head);
        let kek = keys.keyring.for_decrypt(head.kek_version)?;
        let context = self.context(open, head);
        let sealed = crypto::reseal_meta(kek, context, head.wrapped_dek, &meta.encode_to_vec(), open.random())?;
        Ok(Head { meta: &sealed, ..*head }.encode())
    }

    /// The metadata of a head.
    pub(super) fn open_meta(&self, open: &Open, head: &Head<'_>) -> Result<SecretMeta, Error> {
        let keys = self.keys_of(head);
        let kek = keys.keyring.for_decrypt(head.kek_version)?;
        let meta = crypto::open_meta(kek, self.context(open, head), head.wrapped_dek, head.meta);
        decoded(&meta.map_err(|_| Error::Integrity("a secret's metadata"))?)
    }

    /// Metadata and payload of a head.
    pub(super) fn open_both(&self, open: &Open, head: &Head<'_>) -> Result<(SecretMeta, SecretBytes), Error> {
        let keys = self.keys_of(head);
        let kek = keys.keyring.for_decrypt(head.kek_version)?;
        let both = crypto::open_both(kek, self.context(open, head), head.wrapped_dek, head.meta, head.payload);
        let (meta, payload) = both.map_err(|_| Error::Integrity("a secret's row"))?;
        Ok((decoded(&meta)?, payload))
    }

    /// What was found is what was permitted, or somebody moved rows about.
    pub(super) fn check_path(meta: &SecretMeta, path: &SecretPath) -> Result<(), Error> {
        if *meta.path == *path.as_str() { Ok(()) } else { Err(Error::Integrity("a secret's name, which is another's,")) }
    }
}

/// The bound on what callers may say of a secret, in `field` among others. What the vault itself notes has room of its own, so
/// that no change of state can fail for what somebody said.
pub(super) fn check_metadata(meta: &SecretMeta, field: &'static str) -> Result<(), Error> {
    let said = SecretMeta { labels: meta.labels.clone(), token: meta.token.clone(), ..SecretMeta::default() };
    if said.encoded_len() > limits::METADATA_BYTES {
        return Err(Error::Invalid { field, why: "labels and token details together must stay under 8 KiB" });
    }
    Ok(())
}

fn decoded(meta: &SecretBytes) -> Result<SecretMeta, Error> {
    SecretMeta::decode(meta.expose()).map_err(|_| Error::Integrity("a secret's metadata"))
}

impl Open {
    /// Where a permitted secret lies, by the keys of this moment.
    pub(in crate::vault) fn place(&self, at: &SecretAt) -> Result<Place, Error> {
        let namespace = self.namespace(at.namespace)?;
        let keys = namespace.keys();
        let key = Key::new(keys.keyring.index_key().head_key(at.namespace, at.name.path.segments()))
            .map_err(|_| Error::Integrity("a head's key"))?;
        Ok(Place { namespace, keys, key })
    }

    /// The permit's head, if there is one: a purged one too, since its number goes on.
    pub(in crate::vault) async fn find(&self, place: &Place, at: &SecretAt) -> Result<Option<Found>, Error> {
        let Some(row) = self.rows.row(&place.key).await? else { return Ok(None) };
        let meta = place.open_meta(self, &Head::decode(&row.value)?)?;
        Place::check_path(&meta, &at.name.path)?;
        Ok(Some(Found { row, meta }))
    }

    /// The permit's head, unless it was purged.
    pub(super) async fn find_live(&self, place: &Place, at: &SecretAt) -> Result<Found, Error> {
        let found = self.find(place, at).await?.ok_or(ABSENT)?;
        if found.meta.state() == State::Purged { Err(ABSENT) } else { Ok(found) }
    }

    /// Commits a batch that writes the permit's head. `None`: look again.
    pub(super) async fn commit_head(&self, permit: &Permit<SecretAt>, batch: Batch) -> Result<Option<crate::storage::Revision>, Error> {
        match self.rows.store.commit(batch).await {
            Ok(revision) => Ok(Some(revision)),
            Err(error) => match after(error)? {
                AfterCommit::LookAgain(key) => {
                    self.look_at_keyring(permit.granted().namespace, &key).await?;
                    Ok(None)
                }
                AfterCommit::Settle => {
                    // Where the store cannot be read either, it may have happened all the same.
                    let found = self.find(&self.place(permit.granted())?, permit.granted()).await.map_err(|_| Error::Unknown)?;
                    let done = found.filter(|found| permit.intent() != 0 && found.meta.intent == permit.intent());
                    done.map(|found| Some(found.row.revision)).ok_or(Error::Unknown)
                }
            },
        }
    }
}

/// Does `attempt` until it says that it is done, at most [`TRIES`] times: at once, then after longer and longer pauses, since a
/// rotated key is on disk some milliseconds before it is in everybody's memory.
pub(super) async fn until_done<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<Option<T>, Error>>,
{
    for tried in 0..TRIES {
        if let Some(done) = attempt().await? {
            return Ok(done);
        }
        tokio::time::sleep(LONGEST_PAUSE.min(Duration::from_millis(1 << tried))).await;
    }
    Err(Error::Conflict)
}

/// Whether this caller did this before: request id, RPC and caller are those of the last change. What the call asked for,
/// it may still be another: who answers for it compares that, too.
pub(super) fn is_replay(permit: &Permit<SecretAt>, method: &str, meta: &SecretMeta) -> bool {
    permit.request_id().is_some_and(|id| id == meta.request_id && method == meta.method && author(permit) == meta.updated_by)
}
