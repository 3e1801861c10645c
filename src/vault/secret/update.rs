//! New versions of a secret. The old head's bytes move to a row of their own, as they are.

use crate::gate::{Permit, SecretAt, Unreleased};
use crate::model::{SecretBytes, SecretId};
use crate::storage::{Batch, Revision};

use super::super::record::{self, SecretMeta, State};
use super::super::{Error, Open, author};
use super::create::shown;
use super::head::{Found, Place, check_metadata, is_replay, until_done};
use super::value::check_payload;
use super::{Expiry, SecretInfo, Stored, TokenDetails, row};

const METHOD: &str = "UpdateSecret";
/// Versions that one update deletes at most, where a namespace keeps fewer than a secret has.
const DELETED_AT_ONCE: u64 = 32;

/// A new value for a secret.
#[derive(Debug)]
pub struct NewVersion {
    /// The value.
    pub payload: SecretBytes,
    /// The revision that it replaces.
    pub expected_revision: u64,
    /// What becomes of the expiry.
    pub expiry: Expiry,
    /// New scopes and type; provider and subject must be the old ones.
    pub token: Option<TokenDetails>,
}

impl NewVersion {
    /// Whether it could have left the metadata as they are.
    fn left(&self, meta: &SecretMeta) -> bool {
        self.expiry.left(meta.expires_ms) && self.token.as_ref().is_none_or(|token| meta.token == Some(token.into()))
    }
}

impl Open {
    /// Replaces a secret's value.
    ///
    /// # Errors
    /// [`Error::Conflict`] where somebody was faster, [`Error::Absent`], [`Error::State`] or [`Error::Invalid`].
    pub async fn update(&self, permit: Permit<SecretAt>, new: NewVersion) -> Result<Unreleased<Stored>, Error> {
        let (info, warnings) = until_done(|| self.try_update(&permit, &new)).await?;
        let version = info.version;
        Ok(Unreleased::new(Stored { info, warnings }).version(version))
    }

    async fn try_update(&self, permit: &Permit<SecretAt>, new: &NewVersion) -> Result<Option<(SecretInfo, Vec<&'static str>)>, Error> {
        let at = permit.granted();
        let place = self.place(at)?;
        let found = self.find_live(&place, at).await?;
        let provider = found.meta.token.as_ref().map(|token| token.provider.as_str());
        let warnings = check_payload(&new.payload, provider, &place.namespace.info)?;
        if is_replay(permit, METHOD, &found.meta) && new.left(&found.meta) && place.open_both(self, &found.head())?.1.same_as(&new.payload)
        {
            let info = shown(at.name.clone(), &found.row.value, &found.meta, found.row.revision, permit)?;
            return Ok(Some((info, warnings)));
        }
        if found.row.revision.number() != new.expected_revision {
            return Err(Error::Conflict);
        }
        let (version, meta) = self.next_meta(permit, &place, &found, new)?;
        let head = found.head();
        let value = place.seal(self, head.secret, version, &meta, new.payload.expose())?;
        let batch = place
            .batch()
            .expecting(place.key.clone(), found.row.revision)
            .put(row::version_key(at.namespace, head.secret, head.version), found.row.value.clone())
            .put(place.key.clone(), value.clone());
        let batch = without_versions(batch, &place, head.secret, found.meta.oldest_version, meta.oldest_version);
        let Some(revision) = self.commit_head(permit, batch).await? else { return Ok(None) };
        Ok(Some((shown(at.name.clone(), &value, &meta, revision, permit)?, warnings)))
    }

    fn next_meta(&self, permit: &Permit<SecretAt>, place: &Place, found: &Found, new: &NewVersion) -> Result<(u64, SecretMeta), Error> {
        if found.meta.state() == State::Destroyed {
            return Err(Error::State("the secret is destroyed: restore it first"));
        }
        let version = found.head().version.checked_add(1).ok_or(Error::State("the secret's numbers are used up"))?;
        let mut meta = found.meta.clone();
        meta.token = next_token(found.meta.token.as_ref(), new.token.as_ref())?;
        check_metadata(&meta, "access_token.scopes")?;
        meta.expires_ms = new.expiry.applied(meta.expires_ms, permit.now())?;
        meta.version_created_ms = permit.now().unix_ms();
        meta.version_created_by = author(permit);
        let oldest_kept = (version + 1).saturating_sub(u64::from(place.namespace.info.limits.versions_kept));
        meta.oldest_version = oldest_kept.clamp(meta.oldest_version, meta.oldest_version + DELETED_AT_ONCE);
        touch(&mut meta, permit, METHOD);
        Ok((version, meta))
    }
}

/// Scopes and type may change; provider and subject never do: a changed subject would be another merchant's token under
/// this merchant's name.
fn next_token(old: Option<&record::TokenDetails>, new: Option<&TokenDetails>) -> Result<Option<record::TokenDetails>, Error> {
    match (old, new) {
        (old, None) => Ok(old.cloned()),
        (None, Some(_)) => Err(Error::Invalid { field: "access_token", why: "the secret is opaque; its kind never changes" }),
        (Some(old), Some(new)) if old.provider != new.provider.as_str() || old.subject != new.subject.as_str() => {
            Err(Error::Invalid { field: "access_token", why: "provider and subject never change: store another secret" })
        }
        (Some(_), Some(new)) => Ok(Some(new.into())),
    }
}

fn without_versions(batch: Batch, place: &Place, secret: SecretId, from: u64, to: u64) -> Batch {
    (from..to).fold(batch, |batch, version| batch.delete(row::version_key(place.namespace.info.id, secret, version)))
}

/// Who changed it, when, by which call.
pub(super) fn touch(meta: &mut SecretMeta, permit: &Permit<SecretAt>, method: &str) {
    meta.updated_ms = permit.now().unix_ms();
    meta.updated_by = author(permit);
    meta.request_id = permit.request_id().unwrap_or_default().to_owned();
    meta.method = method.to_owned();
    meta.intent = permit.intent();
}

/// Whether the caller saw the row as it is; 0 says that it does not matter.
pub(super) fn expect(found: Revision, expected: u64) -> Result<(), Error> {
    if expected == 0 || expected == found.number() { Ok(()) } else { Err(Error::Conflict) }
}
