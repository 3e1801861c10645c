//! A backup: the rows of one moment, read while the vault serves.
//!
//! ```text
//! watch everything ── scan all rows, page by page ── read what has changed since, over and over ── standstill: the last of it
//!                                                                                              ── note the backup ── trailer
//! ```
//! Nothing waits but the writer, for as long as the last few changed rows take to read. A backup stands among those that were made
//! before its last byte leaves: there is none that could be restored and that the vault does not know of.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::backup::{ArchiveWriter, BackupError, Manifest, Recipient, Standing, Step, Steps};
use crate::crypto::{KeyState, Sha256};
use crate::gate::{Permit, Unreleased};
use crate::model::{NamespaceId, Timestamp};
use crate::storage::{Batch, ChangeEvent, Changes, GET_KEYS, Key, PageSize, Row, Standstill};

use super::page::{Page, PageLimits, Shown};
use super::record::{self, Backup, HeldKeys, PolicyHead};
use super::{Error, Open, author, row};

/// Backups that are remembered; the oldest expired ones, then the oldest, are forgotten first.
const REMEMBERED: usize = 1_000;
/// Bytes of held keys after which what is noted of a backup goes on in another row.
const PART_BYTES: usize = 32 * 1024;
/// Rows that may be left for the standstill, and how often is tried to get that far.
const LEFT_FOR_STANDSTILL: usize = GET_KEYS;
const ROUNDS: u32 = 8;
/// Changed rows that are remembered at once.
const CHANGED_KEYS: usize = 131_072;
/// How often the changes are fetched while nobody reads the archive, so that none is missed.
const FETCH_EVERY: Duration = Duration::from_millis(10);
/// The longest that a backup can be kept.
const LONGEST_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A backup under way. Its archive is [`BackupRun::next`], piece by piece.
pub struct BackupRun {
    open: Arc<Open>,
    writer: Option<ArchiveWriter<Pieces>>,
    pieces: Pieces,
    changed: Arc<Mutex<Changed>>,
    phase: Phase,
    noted: Backup,
    audit_sequence: u64,
    digest: Sha256,
    bytes: u64,
    rows: u64,
    steps: Steps,
    done: Option<BackupDone>,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupDone {
    /// Its id.
    pub id: [u8; 16],
    /// Rows that were scanned.
    pub rows: u64,
    /// Rows that changed meanwhile, each as often as it was read again.
    pub changes: u64,
    /// The store's revision at which they stood.
    pub revision: u64,
    /// Bytes of the archive.
    pub bytes: u64,
    /// SHA-256 of the archive.
    pub sha256: [u8; 32],
    /// For how long nothing could be stored.
    pub pause: Duration,
}

/// A backup that was made, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupInfo {
    /// Its id.
    pub id: [u8; 16],
    /// When it was begun.
    pub created: Timestamp,
    /// Until when it is to be kept.
    pub expires: Timestamp,
    /// The SPIFFE ID of who made it.
    pub created_by: String,
    /// The policy's generation in it.
    pub policy_generation: u64,
    /// The store's revision at which its rows stood.
    pub revision: u64,
    /// Whom it was encrypted to.
    pub recipients: Vec<String>,
    /// The key versions that it holds: namespace, newest version, those that were not destroyed.
    pub keys: Vec<(NamespaceId, u32, Vec<u32>)>,
}

enum Phase {
    Scan(Option<Key>),
    Changes(u32),
    Trailer(Standing, Duration),
    End,
}

/// What the archive's writer writes to, and who hands it out takes away.
#[derive(Clone, Default)]
struct Pieces(Arc<Mutex<Vec<u8>>>);

/// The keys of rows that have changed since they were last read.
struct Changed {
    changes: Changes,
    keys: BTreeSet<Key>,
    /// Whether some were missed.
    is_lost: bool,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Pieces {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Changed {
    /// Takes over what the store has told so far.
    fn fetch(&mut self) {
        while let Some(event) = self.changes.try_next() {
            match event {
                ChangeEvent::Changed(changes) => self.keys.extend(changes.into_iter().map(|change| change.key)),
                ChangeEvent::Resync(_) => self.is_lost = true,
                ChangeEvent::Closed => break,
            }
            if self.keys.len() > CHANGED_KEYS {
                self.is_lost = true;
                self.keys.clear();
            }
        }
    }

    fn take(&mut self) -> Result<Vec<Key>, Error> {
        self.fetch();
        if self.is_lost {
            return Err(Error::State("more changes while the backup was made than can be followed: make it again, when less is stored"));
        }
        Ok(std::mem::take(&mut self.keys).into_iter().collect())
    }
}

fn lock(changed: &Mutex<Changed>) -> MutexGuard<'_, Changed> {
    changed.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends with the backup.
async fn keep_fetching(changed: Weak<Mutex<Changed>>) {
    while let Some(changed) = changed.upgrade() {
        lock(&changed).fetch();
        drop(changed);
        tokio::time::sleep(FETCH_EVERY).await;
    }
}

impl From<BackupError> for Error {
    fn from(error: BackupError) -> Self {
        Self::Backup(error)
    }
}

impl Open {
    /// Begins a backup that is to be kept for so long.
    ///
    /// # Errors
    /// [`Error::State`] where nobody is enrolled whom it could be encrypted to; [`Error::Invalid`] for a life of nothing or of more
    /// than ten years.
    pub async fn begin_backup(
        self: &Arc<Self>,
        permit: Permit<()>,
        keep: Duration,
        epoch: u64,
        steps: Steps,
    ) -> Result<Unreleased<BackupRun>, Error> {
        if keep.as_secs() == 0 || keep > LONGEST_LIFE {
            return Err(Error::Invalid { field: "keep", why: "must be whole seconds, 1 second to 3650 days" });
        }
        let recipients: Vec<Recipient> = self.recovery_recipients().await?.into_iter().map(|info| info.recipient).collect();
        if recipients.is_empty() {
            return Err(Error::State(
                "nobody is enrolled whom a backup could be encrypted to: name them when the vault is made \
                 (`init --recovery-recipient age1…`), or have a recovery recipient enrolled",
            ));
        }
        let (created, expires) = (permit.now(), permit.now().plus(keep));
        let server_version = env!("CARGO_PKG_VERSION").to_owned();
        let manifest = Manifest { vault: self.rows.vault, epoch, created, expires, server_version };
        let pieces = Pieces::default();
        let writer = ArchiveWriter::new(&recipients, &manifest, pieces.clone())?;
        // Watched before anything is read.
        let mut changes = self.rows.store.watch(&Key::everything(), self.rows.store.status().durable).await?;
        // What is told now was there before the scan, which sees it. The store's watchers may hear of a change a moment after it is
        // durable: then this is where the watch finds its place.
        let _ = changes.try_next();
        let changed = Arc::new(Mutex::new(Changed { changes, keys: BTreeSet::new(), is_lost: false }));
        tokio::spawn(keep_fetching(Arc::downgrade(&changed)));
        let noted = Backup {
            id: self.new_id()?.to_vec(),
            created_ms: created.unix_ms(),
            expires_ms: expires.unix_ms(),
            created_by: author(&permit),
            recipients: recipients.iter().map(ToString::to_string).collect(),
            ..Backup::default()
        };
        let id = hex::encode(&noted.id);
        let run = BackupRun {
            open: self.clone(),
            writer: Some(writer),
            pieces,
            changed,
            phase: Phase::Scan(None),
            noted,
            audit_sequence: permit.intent(),
            digest: Sha256::new(),
            bytes: 0,
            rows: 0,
            steps,
            done: None,
        };
        Ok(Unreleased::new(run).with("backup", id).with("expires", expires))
    }

    /// Lists the backups that were made, the newest first.
    ///
    /// # Errors
    /// A page token of another list; [`Error::Integrity`]; the store's.
    pub async fn list_backups(
        &self,
        permit: &Permit<()>,
        page: PageLimits,
        page_token: &str,
    ) -> Result<Unreleased<Page<BackupInfo>>, Error> {
        let mut all = self.backups().await?;
        all.reverse();
        let position = |info: &BackupInfo| [(u64::MAX - info.created.unix_ms()).to_be_bytes().as_slice(), info.id.as_slice()].concat();
        all.sort_by_key(position);
        Ok(Unreleased::new(self.paging(permit, "backups", page).cut(all, page_token, position)?))
    }

    /// The newest backup that still holds this key version of a namespace, for who is about to destroy it: until that backup is
    /// thrown away, the key can come back. None if no remembered backup that has not expired holds it.
    ///
    /// # Errors
    /// [`Error::Integrity`]; the store's.
    pub async fn newest_backup_with(&self, namespace: NamespaceId, version: u32) -> Result<Option<BackupInfo>, Error> {
        let now = self.clock.now();
        let holds = |info: &BackupInfo| info.keys.iter().any(|(id, _, live)| *id == namespace && live.contains(&version));
        Ok(self.backups().await?.into_iter().rev().find(|info| info.expires > now && holds(info)))
    }

    /// The oldest first.
    async fn backups(&self) -> Result<Vec<BackupInfo>, Error> {
        let mut all: Vec<BackupInfo> = Vec::new();
        for (_, stored, _) in self.rows.records::<Backup>(&row::backups_prefix()).await? {
            let info = BackupInfo::try_from(&stored)?;
            match all.last_mut().filter(|last| last.id == info.id) {
                Some(last) => last.keys.extend(info.keys),
                None => all.push(info),
            }
        }
        Ok(all)
    }

    /// The key versions of every namespace, now.
    fn held_keys(&self) -> Vec<HeldKeys> {
        let held = |namespace: &Arc<super::namespace::Namespace>| {
            let keys = namespace.keys();
            let live = keys.keyring.inventory().filter(|info| info.state != KeyState::Destroyed).map(|info| info.version);
            HeldKeys { namespace_id: namespace.info.id.as_bytes().to_vec(), highest: keys.keyring.active().0, live: live.collect() }
        };
        self.namespaces.load().values().map(held).collect()
    }

    /// Writes what is noted of a backup, and forgets what is too much.
    async fn note_backup(&self, noted: &Backup) -> Result<(), Error> {
        let id: [u8; 16] = noted.id.as_slice().try_into().expect("it was made of 16 bytes");
        let created = record::time(noted.created_ms)?;
        let mut batch = Batch::new();
        for (part, keys) in (0..).zip(parts(self.held_keys())) {
            let key = row::backup_key(created, &id, part);
            batch = batch.put(key.clone(), self.rows.seal(&key, &Backup { keys, ..noted.clone() })?);
        }
        self.rows.store.commit(batch).await?;
        self.forget_backups().await
    }

    async fn forget_backups(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let known = self.backups().await?;
        if known.len() <= REMEMBERED {
            return Ok(());
        }
        let oldest = known.iter().find(|info| info.expires <= now).or(known.first()).ok_or(Error::Integrity("the list of backups"))?;
        let prefix = super::row::key(&[b"a", &oldest.created.unix_ms().to_be_bytes(), &oldest.id]);
        let page = self.rows.store.scan(&prefix, None, PageSize::new(64).expect("a page")).await?;
        let batch = page.rows.into_iter().fold(Batch::new(), |batch, (key, _)| batch.delete(key));
        self.rows.store.commit(batch).await?;
        Ok(())
    }
}

/// At least one; each fits into a row.
fn parts(keys: Vec<HeldKeys>) -> Vec<Vec<HeldKeys>> {
    use prost::Message;
    let (mut parts, mut bytes) = (vec![Vec::new()], 0);
    for held in keys {
        let length = held.encoded_len() + 4;
        if bytes + length > PART_BYTES {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += length;
        parts.last_mut().expect("there is always one").push(held);
    }
    parts
}

impl BackupRun {
    /// The next piece of the archive; none at its end. Pieces are not empty.
    ///
    /// # Errors
    /// The store's; [`Error::State`] where more changes than can be followed. After an error the archive is worth nothing.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            match std::mem::replace(&mut self.phase, Phase::End) {
                Phase::Scan(after) => self.scan(after).await?,
                Phase::Changes(round) => self.read_changes(round).await?,
                Phase::Trailer(standing, pause) => self.end(standing, pause).await?,
                Phase::End => return Ok(None),
            }
            let piece = self.pieces.take();
            if !piece.is_empty() {
                self.digest.update(&piece);
                self.bytes += piece.len() as u64;
                if let Some(done) = &mut self.done {
                    (done.bytes, done.sha256) = (self.bytes, self.digest.finish());
                }
                return Ok(Some(piece));
            }
        }
    }

    /// What was made, once there are no more pieces.
    #[must_use]
    pub fn done(&self) -> Option<&BackupDone> {
        self.done.as_ref().filter(|_| matches!(self.phase, Phase::End))
    }

    fn writer(&mut self) -> Result<&mut ArchiveWriter<Pieces>, Error> {
        self.writer.as_mut().ok_or(Error::State("the backup has ended"))
    }

    async fn scan(&mut self, after: Option<Key>) -> Result<(), Error> {
        self.steps.at(Step::Scan);
        let page = self.open.rows.store.scan(&Key::everything(), after.as_ref(), PageSize::MAX).await?;
        self.rows += page.rows.len() as u64;
        self.writer()?.rows(page.rows.iter().map(|(key, row)| (key.as_bytes(), &*row.value)))?;
        self.phase = match page.rows.last() {
            Some((last, _)) if page.more => Phase::Scan(Some(last.clone())),
            _ => Phase::Changes(0),
        };
        Ok(())
    }

    /// Until few are left, and then with the writer standing still.
    async fn read_changes(&mut self, round: u32) -> Result<(), Error> {
        self.steps.at(Step::Changes);
        let keys = lock(&self.changed).take()?;
        if keys.len() > LEFT_FOR_STANDSTILL && round < ROUNDS {
            let store = self.open.rows.store.clone();
            for keys in keys.chunks(GET_KEYS) {
                let rows = store.get(keys).await?;
                self.write_changes(keys, &rows)?;
            }
            self.phase = Phase::Changes(round + 1);
            return Ok(());
        }
        self.stand_still(keys).await
    }

    async fn stand_still(&mut self, keys: Vec<Key>) -> Result<(), Error> {
        self.steps.at(Step::StandStill);
        let begin = Instant::now();
        let still = self.open.rows.store.stand_still().await?;
        let mut keys: BTreeSet<_> = keys.into_iter().collect();
        keys.extend(lock(&self.changed).take()?);
        let keys: Vec<_> = keys.into_iter().collect();
        let mut read: Vec<Option<Row>> = Vec::with_capacity(keys.len());
        for keys in keys.chunks(GET_KEYS) {
            read.extend(still.get(keys).await?);
        }
        let policy_generation = self.policy_generation(still.as_ref()).await?;
        let revision = still.revision();
        drop(still);
        let pause = begin.elapsed();
        for (keys, rows) in keys.chunks(GET_KEYS).zip(read.chunks(GET_KEYS)) {
            self.write_changes(keys, rows)?;
        }
        let standing = Standing { revision: revision.number(), policy_generation, audit_sequence: self.audit_sequence };
        self.phase = Phase::Trailer(standing, pause);
        Ok(())
    }

    async fn policy_generation(&self, still: &dyn Standstill) -> Result<u64, Error> {
        let key = row::policy_key();
        let row = still.get(std::slice::from_ref(&key)).await?.pop().flatten().ok_or(Error::Integrity("the policy's head"))?;
        Ok(self.open.rows.open::<PolicyHead>(&key, &row.value)?.generation)
    }

    /// In frames that hold no more than a page does.
    fn write_changes(&mut self, keys: &[Key], rows: &[Option<Row>]) -> Result<(), Error> {
        const AT_ONCE: usize = 32;
        for (keys, rows) in keys.chunks(AT_ONCE).zip(rows.chunks(AT_ONCE)) {
            let pairs = keys.iter().zip(rows);
            self.writer()?.changes(pairs.map(|(key, row)| (key.as_bytes(), row.as_ref().map(|row| &*row.value))))?;
        }
        Ok(())
    }

    async fn end(&mut self, standing: Standing, pause: Duration) -> Result<(), Error> {
        self.steps.at(Step::NoteBackup);
        self.noted.policy_generation = standing.policy_generation;
        self.noted.revision = standing.revision;
        self.open.note_backup(&self.noted).await?;
        self.steps.at(Step::Trailer);
        let writer = self.writer.take().ok_or(Error::State("the backup has ended"))?;
        let (_, trailer) = writer.finish(standing)?;
        let id = self.noted.id.as_slice().try_into().expect("it was made of 16 bytes");
        let changes = trailer.counts.values().map(|counts| counts.puts + counts.deletes).sum();
        self.done = Some(BackupDone { id, rows: self.rows, changes, revision: standing.revision, bytes: 0, sha256: [0; 32], pause });
        Ok(())
    }
}

impl TryFrom<&Backup> for BackupInfo {
    type Error = Error;

    fn try_from(stored: &Backup) -> Result<Self, Error> {
        let damaged = || Error::Integrity("what is noted of a backup");
        let id = |bytes: &[u8]| <[u8; 16]>::try_from(bytes).map_err(|_| damaged());
        let held = |keys: &HeldKeys| Ok((NamespaceId::from_bytes(id(&keys.namespace_id)?), keys.highest, keys.live.clone()));
        Ok(Self {
            id: id(&stored.id)?,
            created: record::time(stored.created_ms)?,
            expires: record::time(stored.expires_ms)?,
            created_by: stored.created_by.clone(),
            policy_generation: stored.policy_generation,
            revision: stored.revision,
            recipients: stored.recipients.clone(),
            keys: stored.keys.iter().map(held).collect::<Result<_, Error>>()?,
        })
    }
}

impl Shown for BackupInfo {
    fn shown_bytes(&self) -> usize {
        256 + self.created_by.len() + self.recipients.iter().map(|recipient| recipient.len() + 4).sum::<usize>()
    }
}
