//! New secrets.

use std::collections::BTreeMap;

use crate::crypto::IndexKey;
use crate::gate::{Permit, SecretAt, Unreleased};
use crate::model::{NamespaceId, SecretId, SecretName};
use crate::storage::{Key, Revision};

use super::super::namespace::NamespaceKeys;
use super::super::record::{self, Kind, SecretMeta, State};
use super::super::{Error, Open, author};
use super::head::{Found, Place, check_metadata, is_replay, until_done};
use super::value::{check_expiry, check_payload};
use super::{NewSecret, SecretInfo, Stored, row};

const METHOD: &str = "CreateSecret";

/// Where a new secret goes on: under a fresh id, or after what was purged.
struct Start {
    secret: SecretId,
    version: u64,
    expected: Revision,
    created_ms: u64,
}

impl Open {
    /// Stores a value under a name that holds none.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Invalid`], or the store's.
    pub async fn create(&self, permit: Permit<SecretAt>, new: NewSecret) -> Result<Unreleased<Stored>, Error> {
        let namespace = self.namespace(permit.granted().namespace)?;
        let provider = new.token.as_ref().map(|token| token.provider.as_str());
        let warnings = check_payload(&new.payload, provider, &namespace.info)?;
        let expires_ms = check_expiry(new.expires, permit.now())?;
        let info = until_done(|| self.try_create(&permit, &new, expires_ms)).await?;
        let version = info.version;
        Ok(Unreleased::new(Stored { info, warnings }).version(version))
    }

    async fn try_create(&self, permit: &Permit<SecretAt>, new: &NewSecret, expires_ms: u64) -> Result<Option<SecretInfo>, Error> {
        let at = permit.granted();
        let place = self.place(at)?;
        let found = self.find(&place, at).await?;
        if let Some(found) = found.as_ref().filter(|found| found.meta.state() != State::Purged) {
            return self.replayed(permit, &place, found, new, expires_ms).map(Some);
        }
        let start = self.start(permit, found.as_ref())?;
        let meta = first_meta(permit, new, &start, expires_ms);
        check_metadata(&meta, if new.labels.is_empty() { "access_token.scopes" } else { "labels" })?;
        let value = place.seal(self, start.secret, start.version, &meta, new.payload.expose())?;
        let mut batch = place.batch().expecting(place.key.clone(), start.expected).put(place.key.clone(), value.clone());
        if let Some(token) = &meta.token {
            let lookup = lookup_key(&place, token, start.secret)?;
            batch = batch.put(lookup, place.key.as_bytes().to_vec());
        }
        let Some(revision) = self.commit_head(permit, batch).await? else { return Ok(None) };
        shown(at.name.clone(), &value, &meta, revision, permit).map(Some)
    }

    fn start(&self, permit: &Permit<SecretAt>, purged: Option<&Found>) -> Result<Start, Error> {
        let created_ms = permit.now().unix_ms();
        Ok(match purged {
            None => Start { secret: SecretId::from_bytes(self.new_id()?), version: 1, expected: Revision::ABSENT, created_ms },
            Some(found) => {
                let head = found.head();
                let version = head.version.checked_add(1).ok_or(Error::State("the secret's numbers are used up"))?;
                Start { secret: head.secret, version, expected: found.row.revision, created_ms }
            }
        })
    }

    /// The name is taken, unless this very call took it.
    fn replayed(
        &self,
        permit: &Permit<SecretAt>,
        place: &Place,
        found: &Found,
        new: &NewSecret,
        expires_ms: u64,
    ) -> Result<SecretInfo, Error> {
        let meta = &found.meta;
        let is_same = meta.labels == labels(new) && meta.token == token(new) && meta.expires_ms == expires_ms;
        if !is_replay(permit, METHOD, meta) || !is_same {
            return Err(Error::Exists);
        }
        let (_, payload) = place.open_both(self, &found.head())?;
        if !payload.same_as(&new.payload) {
            return Err(Error::Exists);
        }
        shown(permit.granted().name.clone(), &found.row.value, meta, found.row.revision, permit)
    }
}

fn labels(new: &NewSecret) -> BTreeMap<String, String> {
    new.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

fn token(new: &NewSecret) -> Option<record::TokenDetails> {
    new.token.as_ref().map(record::TokenDetails::from)
}

fn first_meta(permit: &Permit<SecretAt>, new: &NewSecret, start: &Start, expires_ms: u64) -> SecretMeta {
    let kind = if new.token.is_some() { Kind::AccessToken } else { Kind::Opaque };
    SecretMeta {
        path: permit.granted().name.path.to_string(),
        kind: kind.into(),
        state: State::Enabled.into(),
        created_ms: start.created_ms,
        updated_ms: start.created_ms,
        updated_by: author(permit),
        version_created_ms: start.created_ms,
        version_created_by: author(permit),
        expires_ms,
        purge_ms: 0,
        labels: labels(new),
        token: token(new),
        request_id: permit.request_id().unwrap_or_default().to_owned(),
        intent: permit.intent(),
        method: METHOD.to_owned(),
        oldest_version: start.version,
        was_disabled: false,
    }
}

/// What the look-up rows of a provider and subject begin with.
pub(super) fn lookup_prefix(keys: &NamespaceKeys, namespace: NamespaceId, provider: &str, subject: &str) -> Result<Vec<u8>, Error> {
    let tag = keys.keyring.index_key().lookup_tag(provider, subject)?;
    Ok(IndexKey::lookup_prefix(namespace, &tag))
}

/// The look-up row of an access token.
pub(super) fn lookup_key(place: &Place, token: &record::TokenDetails, secret: SecretId) -> Result<Key, Error> {
    let prefix = lookup_prefix(&place.keys, place.namespace.info.id, &token.provider, &token.subject)?;
    Key::new([&prefix[..], secret.as_bytes()].concat()).map_err(|_| Error::Integrity("a look-up row's key"))
}

/// What a head just written shows.
pub(super) fn shown(
    name: SecretName,
    value: &[u8],
    meta: &SecretMeta,
    revision: Revision,
    permit: &Permit<SecretAt>,
) -> Result<SecretInfo, Error> {
    SecretInfo::of(name, &row::Head::decode(value)?, meta, revision, permit.now())?
        .ok_or(Error::Integrity("a secret that was purged at once"))
}
