//! Reading one secret: its value, its description, its versions.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::gate::{Permit, SecretAt, Unreleased};
use crate::model::{Effort, SecretBytes, SecretId, Timestamp};
use crate::storage::{PageSize, Revision, Row};

use super::super::page::{Page, PageLimits, Shown};
use super::super::record::{SecretMeta, State, time};
use super::super::{Error, Open};
use super::head::{ABSENT, Place};
use super::list::row_opened;
use super::row::{self, Head};
use super::{SecretInfo, create};

/// A value in the clear.
#[derive(Debug)]
pub struct Revealed {
    /// The value.
    pub payload: SecretBytes,
    /// Its version.
    pub version: u64,
    /// The secret's revision.
    pub revision: u64,
    /// When this value stops being revealed.
    pub expires: Option<Timestamp>,
}

/// How many bytes of values an answer still takes. A value that does not fit is not opened.
#[derive(Debug)]
pub struct Room(AtomicUsize);

impl Room {
    /// For so many bytes of what lies in rows: values, each with what its encryption adds.
    #[must_use]
    pub const fn new(bytes: usize) -> Self {
        Self(AtomicUsize::new(bytes))
    }

    /// Without an end.
    const fn endless() -> Self {
        Self::new(usize::MAX)
    }

    fn take(&self, head: &Head<'_>) -> Result<usize, Error> {
        let bytes = head.payload.len();
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        taken.map(|_| bytes).map_err(|_| Error::NoRoom)
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// One version of a secret.
#[derive(Debug, Clone)]
pub struct VersionInfo {
    /// Its number.
    pub version: u64,
    /// Whether it is the newest.
    pub latest: bool,
    /// When it was stored.
    pub created: Timestamp,
    /// The SPIFFE ID of who stored it.
    pub created_by: String,
    /// When it stops being revealed.
    pub expires: Option<Timestamp>,
    /// The version of the key-encryption key around its data key.
    pub kek_version: u32,
}

impl Open {
    /// A value in the clear: the newest (`version` 0) by one storage read and one envelope, an older one by two.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::State`] where it is disabled, expired or destroyed, [`Error::Integrity`].
    pub async fn reveal(&self, permit: Permit<SecretAt>, version: u64) -> Result<Unreleased<Revealed>, Error> {
        self.reveal_within(permit, version, &Room::endless()).await
    }

    /// The same, if there is room for it: then it takes the room that it needs.
    ///
    /// # Errors
    /// [`Error::NoRoom`] before anything is opened, and those of [`Open::reveal`], which take no room.
    pub async fn reveal_within(&self, permit: Permit<SecretAt>, version: u64, room: &Room) -> Result<Unreleased<Revealed>, Error> {
        let at = permit.granted();
        let place = self.place(at)?;
        let row = self.rows.row(&place.key).await?.ok_or(ABSENT)?;
        let head = Head::decode(&row.value)?;
        if version == 0 || version == head.version {
            return in_room(room, &head, || {
                let (meta, payload) = place.open_both(self, &head)?;
                Place::check_path(&meta, &at.name.path)?;
                check_revealable(&meta, &meta, permit.now())?;
                revealed(payload, &meta, head.version, row.revision)
            });
        }
        let meta = place.open_meta(self, &head)?;
        Place::check_path(&meta, &at.name.path)?;
        if meta.state() == State::Purged {
            return Err(ABSENT);
        }
        self.reveal_older(&permit, &place, &head, &meta, version, room).await
    }

    async fn reveal_older(
        &self,
        permit: &Permit<SecretAt>,
        place: &Place,
        head: &Head<'_>,
        current: &SecretMeta,
        version: u64,
        room: &Room,
    ) -> Result<Unreleased<Revealed>, Error> {
        let at = permit.granted();
        let row = self.rows.row(&row::version_key(at.namespace, head.secret, version)).await?.ok_or(Error::Absent("version"))?;
        let older = older(&row, head.secret, version)?;
        in_room(room, &older, || {
            let (meta, payload) = place.open_both(self, &older)?;
            Place::check_path(&meta, &at.name.path)?;
            check_revealable(current, &meta, permit.now())?;
            revealed(payload, &meta, version, row.revision)
        })
    }

    /// Everything about a secret but its value. Its payload is not opened.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Integrity`].
    pub async fn describe(&self, permit: Permit<SecretAt>) -> Result<Unreleased<SecretInfo>, Error> {
        let at = permit.granted();
        let found = self.find_live(&self.place(at)?, at).await?;
        let info = create::shown(at.name.clone(), &found.row.value, &found.meta, found.row.revision, &permit)?;
        let version = info.version;
        Ok(Unreleased::new(info).version(version))
    }

    /// The versions that are still there, the newest first. Each row that is opened is added to `effort`.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Integrity`], a page token of another list.
    pub async fn versions(
        &self,
        permit: Permit<SecretAt>,
        limits: PageLimits,
        page_token: &str,
        effort: &Effort,
    ) -> Result<Unreleased<Page<VersionInfo>>, Error> {
        let at = permit.granted();
        let place = self.place(at)?;
        let found = self.find_live(&place, at).await?;
        let head = found.head();
        let mut versions = vec![version_info(&head, &found.meta, true)?];
        // At most 1,000 versions are kept: one scan.
        let page = self.rows.store.scan(&row::versions_prefix(at.namespace, head.secret), None, PageSize::MAX).await?;
        for (key, row) in page.rows.iter().rev() {
            row_opened(effort).await;
            let older = older(row, head.secret, row::version_number(key)?)?;
            let meta = place.open_meta(self, &older)?;
            Place::check_path(&meta, &at.name.path)?;
            versions.push(version_info(&older, &meta, false)?);
        }
        let filter = format!("versions {}", at.name);
        let newest_first = |info: &VersionInfo| (u64::MAX - info.version).to_be_bytes().to_vec();
        Ok(Unreleased::new(self.paging(&permit, &filter, limits).cut(versions, page_token, newest_first)?))
    }
}

/// Opens a value if there is room for it. What is not returned in the end takes none.
fn in_room<T>(room: &Room, head: &Head<'_>, open: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let bytes = room.take(head)?;
    open().inspect_err(|_| room.give_back(bytes))
}

/// An older version's row, which must be the one whose key it lies under.
fn older(row: &Row, secret: SecretId, version: u64) -> Result<Head<'_>, Error> {
    let head = Head::decode(&row.value)?;
    let is_its_own = head.secret == secret && head.version == version;
    if is_its_own { Ok(head) } else { Err(Error::Integrity("an older version, which is another's,")) }
}

fn version_info(head: &Head<'_>, meta: &SecretMeta, latest: bool) -> Result<VersionInfo, Error> {
    Ok(VersionInfo {
        version: head.version,
        latest,
        created: time(meta.version_created_ms)?,
        created_by: meta.version_created_by.clone(),
        expires: meta.expires()?,
        kek_version: head.kek_version,
    })
}

/// Whether the secret as a whole (`current`) and this version of it let the value out.
fn check_revealable(current: &SecretMeta, version: &SecretMeta, now: Timestamp) -> Result<(), Error> {
    match current.state() {
        State::Enabled => {}
        State::Disabled => return Err(Error::State("the secret is disabled: enable it first")),
        State::Destroyed => return Err(Error::State("the secret is destroyed: it can be restored until its recovery window ends")),
        State::Purged => return Err(ABSENT),
        State::Unspecified => return Err(Error::Integrity("a secret's state")),
    }
    if version.is_expired(now) { Err(Error::State("the value has expired: store a new one")) } else { Ok(()) }
}

fn revealed(payload: SecretBytes, meta: &SecretMeta, version: u64, revision: Revision) -> Result<Unreleased<Revealed>, Error> {
    let revealed = Revealed { payload, version, revision: revision.number(), expires: meta.expires()? };
    Ok(Unreleased::new(revealed).version(version))
}

impl Shown for VersionInfo {
    fn shown_bytes(&self) -> usize {
        96 + self.created_by.len()
    }
}
