//! Changes that leave the value alone: labels, expiry, and whether a secret can be revealed. Metadata is encrypted anew
//! under the same data key.

use std::collections::{BTreeMap, BTreeSet};

use crate::gate::{Permit, SecretAt, Unreleased};
use crate::model::{NamespaceId, SecretId, Text, limits};
use crate::storage::Batch;

use super::super::record::{PurgeJob, SecretMeta, State, optional_time};
use super::super::{Error, Open};
use super::create::shown;
use super::head::{Found, check_metadata, is_replay, until_done};
use super::update::{expect, touch};
use super::{Expiry, SecretInfo, row};

/// New labels or a new expiry.
#[derive(Debug, Clone)]
pub struct MetadataChange {
    /// Labels to set.
    pub set_labels: BTreeMap<Text<{ limits::LABEL_KEY_BYTES }>, Text<{ limits::LABEL_VALUE_BYTES }>>,
    /// Keys of labels to remove.
    pub remove_labels: BTreeSet<Text<{ limits::LABEL_KEY_BYTES }>>,
    /// What becomes of the expiry.
    pub expiry: Expiry,
}

/// Whether a secret can be revealed from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateChange {
    /// Not until it is enabled again.
    Disable,
    /// It can again.
    Enable,
    /// Not unless it is restored in time.
    Destroy,
    /// As it was before it was destroyed: a disabled one comes back disabled.
    Restore,
}

impl MetadataChange {
    /// Whether it could have left the metadata as they are.
    fn left(&self, meta: &SecretMeta) -> bool {
        let is_set = |(key, value): (&Text<_>, &Text<_>)| meta.labels.get(key.as_str()).map(String::as_str) == Some(value.as_str());
        let is_gone = |key: &Text<_>| self.set_labels.contains_key(key) || !meta.labels.contains_key(key.as_str());
        self.set_labels.iter().all(is_set) && self.remove_labels.iter().all(is_gone) && self.expiry.left(meta.expires_ms)
    }
}

impl StateChange {
    const fn method(self) -> &'static str {
        match self {
            Self::Disable => "DisableSecret",
            Self::Enable => "EnableSecret",
            Self::Destroy => "DestroySecret",
            Self::Restore => "RestoreSecret",
        }
    }

    /// The state after it; an error where it makes no sense.
    fn applied(self, meta: &SecretMeta) -> Result<State, Error> {
        match (self, meta.state()) {
            (Self::Restore, State::Destroyed) if meta.was_disabled => Ok(State::Disabled),
            (Self::Disable, State::Enabled | State::Disabled) => Ok(State::Disabled),
            (Self::Enable, State::Enabled | State::Disabled) | (Self::Restore, State::Destroyed) => Ok(State::Enabled),
            (Self::Destroy, State::Enabled | State::Disabled) => Ok(State::Destroyed),
            (Self::Destroy, State::Destroyed) => Err(Error::State("the secret is destroyed already")),
            (Self::Restore, State::Enabled | State::Disabled) => Err(Error::State("the secret is not destroyed")),
            (_, State::Destroyed) => Err(Error::State("the secret is destroyed: restore it first")),
            (_, State::Unspecified | State::Purged) => Err(Error::Integrity("a secret's state")),
        }
    }
}

impl Open {
    /// Changes labels or expiry.
    ///
    /// # Errors
    /// [`Error::Conflict`], [`Error::Absent`], [`Error::State`] or [`Error::Invalid`].
    pub async fn update_metadata(
        &self,
        permit: Permit<SecretAt>,
        expected: u64,
        change: MetadataChange,
    ) -> Result<Unreleased<SecretInfo>, Error> {
        let applied = |found: &Found, meta: &mut SecretMeta, batch: Batch| {
            if found.meta.state() == State::Destroyed {
                return Err(Error::State("the secret is destroyed: restore it first"));
            }
            meta.labels.retain(|key, _| !change.remove_labels.iter().any(|removed| removed.as_str() == key));
            meta.labels.extend(change.set_labels.iter().map(|(key, value)| (key.to_string(), value.to_string())));
            if meta.labels.len() > limits::LABELS {
                return Err(Error::Invalid { field: "set_labels", why: "a secret has at most 32 labels" });
            }
            check_metadata(meta, "set_labels")?;
            meta.expires_ms = change.expiry.applied(meta.expires_ms, permit.now())?;
            Ok(batch)
        };
        self.change_meta(&permit, "UpdateSecretMetadata", expected, |meta| change.left(meta), applied).await
    }

    /// Disables, enables, destroys or restores a secret.
    ///
    /// # Errors
    /// [`Error::Conflict`], [`Error::Absent`] or [`Error::State`].
    pub async fn change_state(
        &self,
        permit: Permit<SecretAt>,
        expected: u64,
        change: StateChange,
    ) -> Result<Unreleased<SecretInfo>, Error> {
        let namespace = self.namespace(permit.granted().namespace)?;
        let applied = |found: &Found, meta: &mut SecretMeta, batch: Batch| {
            let secret = found.head().secret;
            meta.set_state(change.applied(&found.meta)?);
            meta.was_disabled = change == StateChange::Destroy && found.meta.state() == State::Disabled;
            match change {
                StateChange::Destroy => {
                    let due = permit.now().plus(namespace.info.limits.recovery_window);
                    meta.purge_ms = due.unix_ms();
                    let key = row::purge_key(due, namespace.info.id, secret);
                    let job = PurgeJob { name: permit.granted().name.to_string(), namespace_id: namespace.info.id.as_bytes().to_vec() };
                    Ok(batch.put(key.clone(), self.rows.seal(&key, &job)?))
                }
                StateChange::Restore if found.meta.purge_ms <= permit.now().unix_ms() => {
                    Err(Error::State("the recovery window has ended: the secret cannot be restored"))
                }
                StateChange::Restore => {
                    meta.purge_ms = 0;
                    without_job(batch, &found.meta, namespace.info.id, secret)
                }
                StateChange::Disable | StateChange::Enable => Ok(batch),
            }
        };
        self.change_meta(&permit, change.method(), expected, |_| true, applied).await
    }

    async fn change_meta(
        &self,
        permit: &Permit<SecretAt>,
        method: &'static str,
        expected: u64,
        could_have_left: impl Fn(&SecretMeta) -> bool,
        apply: impl Fn(&Found, &mut SecretMeta, Batch) -> Result<Batch, Error>,
    ) -> Result<Unreleased<SecretInfo>, Error> {
        let info = until_done(|| self.try_change_meta(permit, method, expected, &could_have_left, &apply)).await?;
        let version = info.version;
        Ok(Unreleased::new(info).version(version))
    }

    async fn try_change_meta(
        &self,
        permit: &Permit<SecretAt>,
        method: &'static str,
        expected: u64,
        could_have_left: &impl Fn(&SecretMeta) -> bool,
        apply: &impl Fn(&Found, &mut SecretMeta, Batch) -> Result<Batch, Error>,
    ) -> Result<Option<SecretInfo>, Error> {
        let at = permit.granted();
        let place = self.place(at)?;
        let found = self.find_live(&place, at).await?;
        if is_replay(permit, method, &found.meta) && could_have_left(&found.meta) {
            return shown(at.name.clone(), &found.row.value, &found.meta, found.row.revision, permit).map(Some);
        }
        expect(found.row.revision, expected)?;
        let mut meta = found.meta.clone();
        let batch = apply(&found, &mut meta, place.batch().expecting(place.key.clone(), found.row.revision))?;
        touch(&mut meta, permit, method);
        let value = place.reseal(self, &found.head(), &meta)?;
        let Some(revision) = self.commit_head(permit, batch.put(place.key.clone(), value.clone())).await? else { return Ok(None) };
        shown(at.name.clone(), &value, &meta, revision, permit).map(Some)
    }
}

/// Without the job that would have purged the secret.
pub(super) fn without_job(batch: Batch, meta: &SecretMeta, namespace: NamespaceId, secret: SecretId) -> Result<Batch, Error> {
    let due = optional_time(meta.purge_ms)?;
    Ok(due.map_or(batch.clone(), |due| batch.delete(row::purge_key(due, namespace, secret))))
}
