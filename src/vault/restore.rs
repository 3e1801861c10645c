//! A vault out of an archive: the same vault id, slots and secrets, a new epoch.
//!
//! ```text
//! Restore::prepare  the archive is read to its end; the slot opens; a new system key. Nothing is written
//! Restore::write    rows: those of secrets as they are, the vault's own under the new system key; the policy, suspended
//! Written::open     what was destroyed later is destroyed again, through the gate
//! Written::finish   the header, at last: without it a store is no vault
//! ```
//! What counts once (codes, approvals, grants, sessions) is void. People's bindings are suspended until an administrator confirms
//! them, since some of them may have been taken away after the backup was made; the administrators that were named keep theirs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::access::{self, CurrentPolicy, Scope};
use crate::audit::{Entry, Event};
use crate::backup::{Archive, Step, Steps, Verified};
use crate::crypto::{self, Context, Keyring, Random};
use crate::gate::{Gate, Refusal, SecretAt};
use crate::model::{Action, Clock, SecretName, SpiffeId, Timestamp, VaultId};
use crate::seal::{Header, SlotKey};
use crate::storage::{BATCH_WRITES, Batch, CommitError, Key, Revision, Store};

use super::lifecycle::{OWN_SECRETS, load_open};
use super::policy::{self, PolicyContent, PolicyRow};
use super::record::State;
use super::row::Restored;
use super::rows::SystemRows;
use super::secret::StateChange;
use super::{Error, Open, record, row};

/// Bytes that are on their way to the store at once.
const ON_THEIR_WAY: usize = 64 * 1024 * 1024;
/// Bytes of one batch; what one row adds is below a store's bound.
const BATCH_BYTES: usize = 1024 * 1024;
/// So far ahead of the archive's a restored store's revisions begin: nobody who holds one of the lost store's meets it again.
const REVISIONS_LOST: u64 = 1 << 32;

/// What a restore has to know beside the archive.
#[derive(Debug)]
pub struct RestorePlan {
    /// The vault that the configuration pins; none for a drill, which takes what comes.
    pub vault: Option<VaultId>,
    /// What becomes of bindings.
    pub bindings: Bindings,
    /// The newest generation of the policy that the audit log speaks of; 0 if it speaks of none.
    pub logged_generation: u64,
    /// When.
    pub now: Timestamp,
}

/// What becomes of bindings in a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bindings {
    /// They stay: nobody will use this vault.
    AsTheyAre,
    /// People's wait for a confirmation.
    Suspended {
        /// But for these people's, so that somebody can confirm the others.
        administrators: Vec<SpiffeId>,
        /// The trust domains of programs.
        workloads: Vec<String>,
    },
}

/// What was done to secrets after the backup, by name, as the audit log tells it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Fates(BTreeMap<String, Fate>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Destroyed,
    Purged,
}

/// An archive that was verified, and the keys that lead from its epoch to the next.
pub struct Restore {
    archive: Archive,
    verified: Verified,
    header: Header,
    old_epoch: u64,
    old: crypto::Key,
    new: crypto::Key,
    plan: RestorePlan,
}

/// How many rows a restore has written, and what it has left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RestoredRows {
    /// Rows, the header not counted.
    pub rows: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Rows that are void in the new epoch.
    pub void: u64,
    /// Bindings that wait for a confirmation.
    pub suspended: u64,
    /// Bindings that stay.
    pub kept: u64,
    /// The policy's new generation.
    pub policy_generation: u64,
}

/// A store that holds everything but the header.
pub struct Written {
    /// What was written.
    pub rows: RestoredRows,
    /// The new epoch.
    pub epoch: u64,
    /// What was read of the archive.
    pub verified: Verified,
    header: Header,
    system: SystemRows,
}

/// What was destroyed once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replayed {
    /// Secrets that were destroyed or purged again.
    pub again: u64,
    /// Secrets that should have been, but whose key version is out of service: they are to be destroyed when it comes back.
    pub out_of_service: u64,
}

impl Fates {
    /// What became of each secret, from the entries of the log after the archive's sequence, in their order.
    #[must_use]
    pub fn from_entries(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut fates = BTreeMap::new();
        let is_done = |entry: &Entry| entry.event == Event::Outcome && entry.outcome.as_deref() == Some("ok");
        for entry in entries.into_iter().filter(is_done) {
            let Some(resource) = entry.resource else { continue };
            match entry.method.as_str() {
                // What was purged stays so, whatever is stored under the name afterwards: that is no part of the backup.
                "DestroySecret" | "ReplayDestruction" => drop(fates.entry(resource).or_insert(Fate::Destroyed)),
                "PurgeSecret" | "PurgeDue" | "ReplayPurge" => drop(fates.insert(resource, Fate::Purged)),
                // It undoes a destruction, and nothing else does.
                "RestoreSecret" if fates.get(&resource) == Some(&Fate::Destroyed) => drop(fates.remove(&resource)),
                _ => {}
            }
        }
        Self(fates)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was destroyed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Restore {
    /// Reads the archive to its end, opens the slot, and makes the new system key. Writes nothing. Blocks, for as long as reading
    /// and Argon2id take.
    ///
    /// # Errors
    /// The archive is not whole, not this vault's or not for this identity; the passphrase or the shares open no slot of it.
    pub fn prepare(mut archive: Archive, slot: SlotKey, plan: RestorePlan, random: &dyn Random, steps: &Steps) -> Result<Self, Error> {
        steps.at(Step::Verify);
        let mut header = None;
        let verified = archive.verify(|key, value| {
            if key == row::header_key().as_bytes() {
                header = value.map(<[u8]>::to_vec);
            }
        })?;
        let header = Header::decode(&header.ok_or(Error::Integrity("a backup without a header"))?)?;
        let vault = verified.manifest.vault;
        if header.vault_id() != vault || plan.vault.is_some_and(|pinned| pinned != vault) {
            return Err(Error::NotThisVault("the backup is of another vault than the configuration pins"));
        }
        if header.epoch() != verified.manifest.epoch {
            return Err(Error::Integrity("the backup: its header is of another epoch than it says; it"));
        }
        let opened = slot.open(&header)?;
        let replaced = header.with_new_system_key(&opened, random)?;
        let old_epoch = header.epoch();
        Ok(Self { archive, verified, header: replaced.header, old_epoch, old: replaced.old, new: replaced.new, plan })
    }

    /// What was read.
    #[must_use]
    pub const fn verified(&self) -> &Verified {
        &self.verified
    }

    /// The revision after which the restored store is to begin.
    #[must_use]
    pub fn begins_after(&self) -> Revision {
        Revision::from_number(self.verified.trailer.revision.saturating_add(REVISIONS_LOST))
    }

    /// Writes all rows but the header into an empty store.
    ///
    /// # Errors
    /// The store's; [`Error::Integrity`] for a row that does not open; [`Error::State`] where no named administrator could administer
    /// access. What was written then is no vault.
    pub async fn write(self, store: Arc<dyn Store>, random: Arc<dyn Random>, steps: Steps) -> Result<Written, Error> {
        let Self { mut archive, verified, header, old_epoch, old, new, plan } = self;
        let system = |key| SystemRows::new(store.clone(), random.clone(), header.vault_id(), key);
        let change = EpochChange { old: system(old), new: system(new), old_epoch, new_epoch: header.epoch() };
        let loader =
            Loader { store, handle: Handle::current(), batch: Batch::new(), commits: JoinSet::new(), rows: RestoredRows::default(), steps };
        let loading = move || {
            let mut loaded = Loaded { change, loader, policy: Vec::new() };
            archive.rows(&verified, |key, value| loaded.take(key, value))?;
            loaded.loader.finish()?;
            Ok::<_, Error>((loaded, verified))
        };
        let (mut loaded, verified) = tokio::task::spawn_blocking(loading).await.map_err(|_| Error::Integrity("a backup"))??;
        loaded.loader.steps.at(Step::WritePolicy);
        let archived = verified.trailer.policy_generation;
        loaded.write_policy(&plan, archived).await?;
        let Loaded { change, loader, .. } = loaded;
        Ok(Written { rows: loader.rows, epoch: header.epoch(), verified, header, system: change.new })
    }
}

impl Written {
    /// The vault as it will be, for its last changes and for looking at it.
    ///
    /// # Errors
    /// [`Error::Integrity`]; the store's.
    pub async fn open(&self, clock: Arc<dyn Clock>, policy: Arc<CurrentPolicy>) -> Result<Arc<Open>, Error> {
        let generation = Arc::new(AtomicU64::new(self.rows.policy_generation));
        Ok(Arc::new(load_open(self.system.clone(), self.epoch, clock, policy, generation).await?))
    }

    /// Stores the header.
    ///
    /// # Errors
    /// The store's.
    pub async fn finish(self, steps: &Steps) -> Result<(), Error> {
        steps.at(Step::WriteHeader);
        let key = row::header_key();
        let batch = Batch::new().expecting(key.clone(), Revision::ABSENT).put(key, self.header.encode());
        self.system.store.commit(batch).await?;
        Ok(())
    }
}

impl Open {
    /// Destroys once more what was destroyed after the backup.
    ///
    /// # Errors
    /// The first that cannot be destroyed, or put on record.
    pub async fn replay(self: &Arc<Self>, fates: &Fates, gate: &Gate) -> Result<Replayed, Refusal<Error>> {
        let mut replayed = Replayed::default();
        for (name, fate) in &fates.0 {
            let Ok(name) = name.parse::<SecretName>() else { continue };
            let Some(namespace) = self.namespace_named(&name.namespace) else { continue };
            let at = SecretAt { namespace: namespace.info.id, name };
            let state = match self.state_of(&at).await {
                Ok(Some(state)) => state,
                Ok(None) => continue,
                // Its key is out of service: nobody reads it, and nobody can change it.
                Err(Error::State(_)) => {
                    replayed.out_of_service += 1;
                    continue;
                }
                Err(other) => return Err(Refusal::Failed(other)),
            };
            replayed.again += u64::from(self.replay_one(state, *fate, at, gate).await?);
        }
        Ok(replayed)
    }

    async fn state_of(&self, at: &SecretAt) -> Result<Option<State>, Error> {
        Ok(self.find(&self.place(at)?, at).await?.map(|found| found.meta.state()))
    }

    /// Whether there was anything left to do.
    async fn replay_one(self: &Arc<Self>, state: State, fate: Fate, at: SecretAt, gate: &Gate) -> Result<bool, Refusal<Error>> {
        let destroys = !matches!(state, State::Destroyed | State::Purged);
        let purges = fate == Fate::Purged && state != State::Purged;
        if destroys {
            let open = self.clone();
            let operation = |permit| async move { open.change_state(permit, 0, StateChange::Destroy).await };
            gate.run_own("ReplayDestruction", Action::Destroy, at.clone(), operation).await?;
        }
        if purges {
            let open = self.clone();
            gate.run_own("ReplayPurge", Action::Destroy, at, |permit| async move { open.purge(permit, 0).await }).await?;
        }
        Ok(destroys || purges)
    }
}

/// From one system key and epoch to the next.
struct EpochChange {
    old: SystemRows,
    new: SystemRows,
    old_epoch: u64,
    new_epoch: u64,
}

impl EpochChange {
    fn keyring(&self, key: &Key, value: &[u8]) -> Result<Vec<u8>, Error> {
        let stored: record::KeyringRow = self.old.open(key, value)?;
        let (namespace, old, new) = (row::namespace_of(key.as_bytes())?, self.old.system_key(), self.new.system_key());
        let keyring = Keyring::rewrapped(self.new.vault, namespace, old, new, &stored.keyring, self.new.random.as_ref())?;
        Ok(self.new.seal(key, &record::KeyringRow { keyring, ..stored })?.to_vec())
    }

    fn own_secret(&self, key: &Key, value: &[u8]) -> Result<Vec<u8>, Error> {
        const UNKNOWN: Error = Error::Integrity("a secret of the vault's own");
        let name = OWN_SECRETS.into_iter().find(|name| row::own_secret_key(name) == *key).ok_or(UNKNOWN)?;
        let context = |epoch| Context::Secret { vault: self.new.vault, name, epoch };
        let secret = crypto::unwrap_key(self.old.system_key(), &context(self.old_epoch), value).map_err(|_| UNKNOWN)?;
        let wrapped = crypto::wrap_key(self.new.system_key(), &context(self.new_epoch), &secret, self.new.random.as_ref())?;
        Ok(wrapped.to_vec())
    }

    fn record(&self, key: &Key, value: &[u8]) -> Result<Vec<u8>, Error> {
        let context = Context::Row { vault: self.new.vault, key: key.as_bytes() };
        let plain = crypto::decrypt(self.old.system_key(), &context, value).map_err(|_| Error::Integrity("a row of the vault's own"))?;
        crypto::encrypt(self.new.system_key(), &context, plain.expose(), self.new.random.as_ref()).map_err(Error::Crypto)
    }
}

/// Rows on their way from the archive to the store.
struct Loaded {
    change: EpochChange,
    loader: Loader,
    /// Kept back until all of it is there.
    policy: Vec<PolicyRow>,
}

impl Loaded {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let kind = row::when_restored(key);
        let key = Key::new(key).map_err(|_| Error::Integrity("a row's key"))?;
        let value = match kind {
            Restored::AsItIs => value.to_vec(),
            Restored::Keyring => self.change.keyring(&key, value)?,
            Restored::OwnSecret => self.change.own_secret(&key, value)?,
            Restored::Reencrypted => self.change.record(&key, value)?,
            Restored::Policy => return self.take_policy(key, value),
            Restored::Header => return Ok(()),
            Restored::Void => {
                self.loader.rows.void += 1;
                return Ok(());
            }
        };
        self.loader.put(key, value)
    }

    fn take_policy(&mut self, key: Key, value: &[u8]) -> Result<(), Error> {
        let rows = &self.change.old;
        let content = if key.as_bytes().starts_with(row::roles_prefix().as_bytes()) {
            PolicyContent::Role(rows.open(&key, value)?)
        } else if key.as_bytes().starts_with(row::bindings_prefix().as_bytes()) {
            PolicyContent::Binding(rows.open(&key, value)?)
        } else {
            // The head, of which there is a new one.
            return Ok(());
        };
        self.policy.push(PolicyRow { key, content, revision: Revision::ABSENT });
        Ok(())
    }

    /// People's bindings wait for an administrator: the log may not tell of each that was taken away. Programs' stay, as their
    /// certificates do.
    async fn write_policy(&mut self, plan: &RestorePlan, archived: u64) -> Result<(), Error> {
        let why = format!("restored from a backup at {}: an administrator confirms it", plan.now);
        let mut rows = std::mem::take(&mut self.policy);
        for row in &mut rows {
            let PolicyContent::Binding(binding) = &mut row.content else { continue };
            if !is_kept(binding, &plan.bindings)? {
                binding.suspended.clone_from(&why);
                self.loader.rows.suspended += 1;
            } else if binding.suspended.is_empty() {
                self.loader.rows.kept += 1;
            }
        }
        if plan.bindings != Bindings::AsTheyAre {
            check_administered(&rows, plan.now)?;
        }
        let generation = archived.max(plan.logged_generation).saturating_add(1);
        let head = policy::head_of(&rows, generation);
        let new = self.change.new.clone();
        for row in &rows {
            let sealed = match &row.content {
                PolicyContent::Role(role) => new.seal(&row.key, role)?,
                PolicyContent::Binding(binding) => new.seal(&row.key, binding)?,
            };
            self.loader.put_now(row.key.clone(), sealed.to_vec()).await?;
        }
        self.loader.put_now(row::policy_key(), new.seal(&row::policy_key(), &head)?.to_vec()).await?;
        self.loader.flush_now().await?;
        self.loader.rows.policy_generation = generation;
        Ok(())
    }
}

/// Whether a binding counts at once.
fn is_kept(binding: &record::Binding, bindings: &Bindings) -> Result<bool, Error> {
    let Bindings::Suspended { administrators, workloads } = bindings else { return Ok(true) };
    let holder: SpiffeId = binding.principal.parse().map_err(|_| Error::Integrity("a binding's principal"))?;
    Ok(administrators.contains(&holder) || workloads.iter().any(|domain| *domain == holder.trust_domain().to_string()))
}

/// Somebody must be able to confirm the others.
fn check_administered(rows: &[PolicyRow], now: Timestamp) -> Result<(), Error> {
    let mut roles = Vec::new();
    let mut bindings = Vec::new();
    for row in rows {
        match &row.content {
            PolicyContent::Role(role) => roles.push(access::Role::try_from(role)?),
            PolicyContent::Binding(binding) => bindings.push(access::Binding::try_from(binding)?),
        }
    }
    let policy = access::Policy::new(roles, bindings, []);
    let administers = |binding: &access::Binding| policy.check_administers(&binding.principal, Scope::Vault, now).is_ok();
    if policy.bindings().any(administers) {
        return Ok(());
    }
    Err(Error::State(
        "none of the administrators that were named administers the vault in this backup, so nobody could confirm the others' \
         rights: name one who does, with --administrator",
    ))
}

/// Puts rows into batches, and many batches on their way at once.
struct Loader {
    store: Arc<dyn Store>,
    handle: Handle,
    batch: Batch,
    commits: JoinSet<Result<usize, CommitError>>,
    rows: RestoredRows,
    steps: Steps,
}

impl Loader {
    /// For a thread that may block.
    fn put(&mut self, key: Key, value: Vec<u8>) -> Result<(), Error> {
        if self.add(key, value) { self.flush() } else { Ok(()) }
    }

    async fn put_now(&mut self, key: Key, value: Vec<u8>) -> Result<(), Error> {
        if self.add(key, value) { self.flush_now().await } else { Ok(()) }
    }

    /// Whether the batch is full.
    fn add(&mut self, key: Key, value: Vec<u8>) -> bool {
        self.rows.rows += 1;
        self.rows.bytes += (key.as_bytes().len() + value.len()) as u64;
        self.batch = std::mem::take(&mut self.batch).put(key, value);
        self.batch.writes().len() == BATCH_WRITES || self.batch.bytes() >= BATCH_BYTES
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.steps.at(Step::WriteRows);
        let (store, batch) = (self.store.clone(), std::mem::take(&mut self.batch));
        let bytes = batch.bytes();
        self.commits.spawn_on(async move { store.commit(batch).await.map(|_| bytes) }, &self.handle);
        while self.commits.len() * BATCH_BYTES > ON_THEIR_WAY {
            self.wait_for_one()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        if !self.batch.writes().is_empty() {
            self.flush()?;
        }
        while !self.commits.is_empty() {
            self.wait_for_one()?;
        }
        Ok(())
    }

    fn wait_for_one(&mut self) -> Result<(), Error> {
        let handle = self.handle.clone();
        match handle.block_on(self.commits.join_next()) {
            Some(Ok(committed)) => committed.map(drop).map_err(Error::from),
            Some(Err(_)) => Err(Error::Unknown),
            None => Ok(()),
        }
    }

    async fn flush_now(&mut self) -> Result<(), Error> {
        let batch = std::mem::take(&mut self.batch);
        if !batch.writes().is_empty() {
            self.store.commit(batch).await?;
        }
        Ok(())
    }
}
