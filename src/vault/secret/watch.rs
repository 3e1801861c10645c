//! What changes below a prefix, and what of it will soon expire, as far as each may be described when it is told.
//!
//! A [`Watch`] remembers where it stands and holds no key: it may outlive the open vault, which is then asked in vain. The
//! store tells which rows have changed; what has happened stands in the row. So changes of one secret that follow each
//! other quickly are told as the last of them, and none is told before it is durable.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::gate::{BelowAt, Permit, Unreleased};
use crate::model::{NamespaceId, SecretName, Timestamp};
use crate::storage::{Change, ChangeEvent, Changes, Key, PageSize, Revision, Row, StoreError};

use super::super::namespace::Namespace;
use super::super::record::{SecretMeta, State};
use super::super::{Error, Open};
use super::SecretInfo;
use super::expiring::Expiring;
use super::head::Place;
use super::list::{checked_name, head_key};
use super::row::Head;

/// Between a commit and the look for it: what is committed meanwhile is seen by the same look, so that a thousand watches do
/// not all wake for each commit of a busy store.
const PACE: Duration = Duration::from_millis(20);
/// Rows of one page of a sweep.
const SWEEP_ROWS: usize = 256;

/// Where a watch begins, and how far it looks ahead.
#[derive(Debug, Clone, Copy)]
pub struct WatchFrom {
    /// Everything up to this revision is known; none to begin now.
    pub after: Option<u64>,
    /// How long before its expiry a value is told of; none for not at all.
    pub expiring_within: Option<Duration>,
}

/// What has happened to a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was created.
    Created,
    /// It has a new value.
    Updated,
    /// Its labels or its expiry have changed.
    MetadataUpdated,
    /// It was disabled.
    Disabled,
    /// It was enabled again.
    Enabled,
    /// It was destroyed.
    Destroyed,
    /// It was restored.
    Restored,
    /// Nothing of it is left.
    Purged,
    /// Its value will soon expire.
    Expiring,
}

/// A change that the holder of the permit may know of.
#[derive(Debug)]
pub struct SecretChange {
    /// What the last change was.
    pub kind: ChangeKind,
    /// The secret's name.
    pub name: SecretName,
    /// What it is now; none if it was purged.
    pub secret: Option<SecretInfo>,
}

/// A watch under way.
pub struct Watch {
    namespace: NamespaceId,
    prefix_key: Key,
    changes: Changes,
    pending: VecDeque<Change>,
    expiring: Option<Expiring>,
}

impl Watch {
    /// Everything up to this revision was told, or is none of the caller's.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.told().number()
    }

    fn told(&self) -> Revision {
        let before = |change: &Change| Revision::from_number(change.revision.number().saturating_sub(1));
        self.pending.front().map_or_else(|| self.changes.position(), before)
    }

    /// Waits until there is a change to look at. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Error::Behind`], or the store is closed.
    pub async fn changed(&mut self) -> Result<(), Error> {
        while self.pending.is_empty() {
            match self.changes.try_next() {
                Some(event) => self.take(event)?,
                None => {
                    self.changes.stirred().await;
                    tokio::time::sleep(PACE).await;
                }
            }
        }
        Ok(())
    }

    /// Whether there is a change to look at now.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        !self.pending.is_empty()
    }

    /// When something may have come so near its expiry that it is to be told; in the past if it is time to look.
    #[must_use]
    pub fn sweep_due(&self) -> Option<Timestamp> {
        self.expiring.as_ref().and_then(Expiring::due)
    }

    /// Whether it is in the midst of such a look, which goes on page by page.
    #[must_use]
    pub fn is_sweeping(&self) -> bool {
        self.expiring.as_ref().is_some_and(Expiring::is_sweeping)
    }

    fn take(&mut self, event: ChangeEvent) -> Result<(), Error> {
        match event {
            ChangeEvent::Changed(changes) => self.pending.extend(changes),
            ChangeEvent::Resync(_) => return Err(Error::Behind),
            ChangeEvent::Closed => return Err(Error::Store(StoreError::Closed)),
        }
        Ok(())
    }
}

/// A row as the holder of a permit may see it.
struct Seen {
    name: SecretName,
    meta: SecretMeta,
    secret: Option<SecretInfo>,
}

impl Seen {
    /// When its value expires, if that is worth telling.
    fn expires(&self) -> Option<Timestamp> {
        self.secret.as_ref().filter(|_| self.meta.state() != State::Destroyed).and_then(|secret| secret.expires)
    }

    fn told(self, kind: ChangeKind) -> SecretChange {
        SecretChange { kind, name: self.name, secret: self.secret }
    }
}

impl Open {
    /// Begins a watch below the permit's prefix.
    ///
    /// # Errors
    /// [`Error::Behind`] where the changes after that revision are not held, or it is none of this store's.
    pub async fn watch(&self, permit: Permit<BelowAt>, from: WatchFrom) -> Result<Unreleased<Watch>, Error> {
        let below = permit.granted();
        let prefix_key = head_key(self.namespace(below.namespace)?.as_ref(), &below.prefix)?;
        // Who begins now is told the newest revision by being far ahead of it.
        let after = Revision::from_number(from.after.unwrap_or(u64::MAX));
        let changes = self.rows.store.watch(&prefix_key, after).await?;
        let expiring = from.expiring_within.map(|window| Expiring::new(window, permit.now()));
        let mut watch = Watch { namespace: below.namespace, prefix_key, changes, pending: VecDeque::new(), expiring };
        match watch.changes.try_next() {
            Some(ChangeEvent::Resync(_)) if from.after.is_none() => {}
            Some(event) => watch.take(event)?,
            None => {}
        }
        let begins_after = watch.revision();
        Ok(Unreleased::new(watch).with("after_revision", begins_after))
    }

    /// What the next change of [`Watch::changed`] means to the holder of the permit: perhaps nothing.
    ///
    /// # Errors
    /// [`Error::Integrity`], [`Error::Absent`] if the permit is for another namespace.
    pub async fn next_change(&self, permit: &Permit<BelowAt>, watch: &mut Watch) -> Result<Unreleased<Vec<SecretChange>>, Error> {
        let namespace = self.watched(permit, watch)?;
        let none = || Ok(Unreleased::new(Vec::new()));
        let Some(change) = watch.pending.pop_front() else { return none() };
        // A secret that is named by the prefix itself does not lie below it.
        if change.key == watch.prefix_key {
            return none();
        }
        let Some(row) = self.rows.row(&change.key).await? else { return none() };
        // What has changed again is told by that change, unless that was quiet: a row under another key means the same.
        if row.revision != change.revision && watch.changes.holds_change(&change.key, change.revision) {
            return none();
        }
        let Some(seen) = self.seen(permit, &namespace, &change.key, &row)? else { return none() };
        let is_expiring = watch.expiring.as_mut().is_some_and(|expiring| expiring.sees_change(seen.expires(), permit.now()));
        let mut told = Vec::new();
        if is_expiring {
            told.push(SecretChange { kind: ChangeKind::Expiring, name: seen.name.clone(), secret: seen.secret.clone() });
        }
        let kind = last_change(&seen.meta);
        told.insert(0, seen.told(kind));
        Ok(Unreleased::new(told))
    }

    /// One page of the look for what will soon expire, if it is due.
    ///
    /// # Errors
    /// As for [`Open::next_change`].
    pub async fn next_expiring(&self, permit: &Permit<BelowAt>, watch: &mut Watch) -> Result<Unreleased<Vec<SecretChange>>, Error> {
        let namespace = self.watched(permit, watch)?;
        let at = watch.told();
        let mut told = Vec::new();
        let Some(expiring) = &mut watch.expiring else { return Ok(Unreleased::new(told)) };
        let Some(after) = expiring.next_page(permit.now(), at) else { return Ok(Unreleased::new(told)) };
        let after = after.unwrap_or_else(|| watch.prefix_key.clone());
        let rows = PageSize::new(SWEEP_ROWS).map_err(|_| Error::Integrity("a page's size"))?;
        let page = self.rows.store.scan(&watch.prefix_key, Some(&after), rows).await?;
        for (key, row) in &page.rows {
            // Also of what may not be shown: it may be, once it is due.
            let place = Place { namespace: namespace.clone(), keys: namespace.keys(), key: key.clone() };
            let meta = place.open_meta(self, &Head::decode(&row.value)?)?;
            let expires = if matches!(meta.state(), State::Enabled | State::Disabled) { meta.expires()? } else { None };
            let is_told = |since| watch.changes.holds_change(key, since);
            if expiring.sees_row(expires, row.revision, is_told)
                && let Some(seen) = self.seen(permit, &namespace, key, row)?
            {
                told.push(seen.told(ChangeKind::Expiring));
            }
        }
        let last = page.rows.into_iter().next_back().map(|(key, _)| key);
        expiring.page_ended(last.filter(|_| page.more));
        Ok(Unreleased::new(told))
    }

    /// The namespace of a watch, which must be the permit's.
    fn watched(&self, permit: &Permit<BelowAt>, watch: &Watch) -> Result<Arc<Namespace>, Error> {
        if permit.granted().namespace != watch.namespace {
            return Err(Error::Absent("namespace"));
        }
        self.namespace(watch.namespace)
    }

    fn seen(&self, permit: &Permit<BelowAt>, namespace: &Arc<Namespace>, key: &Key, row: &Row) -> Result<Option<Seen>, Error> {
        let below = permit.granted();
        let place = Place { namespace: namespace.clone(), keys: namespace.keys(), key: key.clone() };
        let head = Head::decode(&row.value)?;
        let meta = place.open_meta(self, &head)?;
        let name = checked_name(&place, below, &meta)?;
        if !below.visibility.shows(below.namespace, &name.path) {
            return Ok(None);
        }
        let secret = SecretInfo::of(name.clone(), &head, &meta, row.revision, permit.now())?;
        Ok(Some(Seen { name, meta, secret }))
    }
}

/// The change that made a row what it is.
fn last_change(meta: &SecretMeta) -> ChangeKind {
    match (meta.method.as_str(), meta.state()) {
        (_, State::Purged) => ChangeKind::Purged,
        ("CreateSecret", _) => ChangeKind::Created,
        ("UpdateSecret", _) => ChangeKind::Updated,
        ("DisableSecret", _) => ChangeKind::Disabled,
        ("EnableSecret", _) => ChangeKind::Enabled,
        ("DestroySecret", _) => ChangeKind::Destroyed,
        ("RestoreSecret", _) => ChangeKind::Restored,
        // `UpdateSecretMetadata`, and whatever else leaves value and state alone.
        _ => ChangeKind::MetadataUpdated,
    }
}
