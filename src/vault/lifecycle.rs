//! A vault, sealed or open. Sealed and open are different types: while sealed there is no [`Open`] to call.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::access::CurrentPolicy;
use crate::audit;
use crate::backup::Steps;
use crate::crypto::{NameKey, Random, SigningKey};
use crate::gate::{Permit, Unreleased};
use crate::model::{Clock, ClockWatch, VaultId};
use crate::seal::Header;
use crate::storage::{Revision, Store, StoreStatus};

use super::automatic::{Tokens, Waiting};
use super::gathering::Gathering;
use super::namespace::load_namespaces;
use super::page::PageTokens;
use super::policy::PolicyState;
use super::rewrap::Rewraps;
use super::rows::SystemRows;
use super::{BackupRun, Error, Open, row};

/// The vault's own secrets: each has a row, wrapped by the system key.
pub(super) const AUDIT_SEED: &str = "audit-seed";
const NAMES: &str = "names";
const PAGE_TOKENS: &str = "page-tokens";
const FINGERPRINTS: &str = "fingerprints";
pub(super) const OWN_SECRETS: [&str; 4] = [AUDIT_SEED, NAMES, PAGE_TOKENS, FINGERPRINTS];

/// What the configuration pins: a store with another identity is not this vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pins {
    /// The vault's id.
    pub vault_id: VaultId,
    /// The Ed25519 key with which the vault signs for its audit log.
    pub audit_public_key: [u8; 32],
}

/// What the audit log says of the time before this start.
#[derive(Debug, Default)]
pub struct History {
    /// The generation of the last policy change that it says was made. An older policy in the store was put back.
    pub policy_generation: u64,
    /// Intents without an outcome: what a crash left in doubt.
    pub open_intents: Vec<audit::Entry>,
}

/// A vault, sealed or open.
pub struct Vault {
    pub(super) store: Arc<dyn Store>,
    pub(super) random: Arc<dyn Random>,
    pub(super) clock: Arc<dyn Clock>,
    policy: Arc<CurrentPolicy>,
    pub(super) pins: Pins,
    /// The newest that the log is known to speak of; a policy behind it is not opened.
    policy_generation: Arc<AtomicU64>,
    pub(super) in_doubt: Mutex<Vec<audit::Entry>>,
    pub(super) clock_watch: ClockWatch,
    pub(super) open: ArcSwapOption<Open>,
    /// One ceremony at a time.
    pub(super) ceremony: tokio::sync::Mutex<()>,
    /// The shares that were given to unseal it.
    pub(super) given: Mutex<Gathering>,
    pub(super) opened: tokio::sync::watch::Sender<bool>,
    /// Whether it was sealed since the start: then it does not open by itself any more.
    pub(super) was_sealed: AtomicBool,
    /// The HSMs of the configuration, whose slots need nobody.
    pub(super) tokens: Tokens,
    pub(super) waiting: ArcSwapOption<Waiting>,
}

impl Vault {
    /// A sealed vault over a store that holds one.
    ///
    /// # Errors
    /// The store is empty, or holds another vault than the pinned one.
    pub async fn new(
        store: Arc<dyn Store>,
        random: Arc<dyn Random>,
        clock: Arc<dyn Clock>,
        policy: Arc<CurrentPolicy>,
        pins: Pins,
        history: History,
        tokens: Tokens,
    ) -> Result<Arc<Self>, Error> {
        let vault = Self {
            store,
            random,
            clock_watch: ClockWatch::start(clock.as_ref()),
            clock,
            policy,
            pins,
            policy_generation: Arc::new(history.policy_generation.into()),
            in_doubt: Mutex::new(history.open_intents),
            open: ArcSwapOption::empty(),
            ceremony: tokio::sync::Mutex::new(()),
            given: Mutex::default(),
            opened: tokio::sync::watch::Sender::new(false),
            was_sealed: AtomicBool::new(false),
            tokens,
            waiting: ArcSwapOption::empty(),
        };
        drop(vault.header().await?);
        Ok(Arc::new(vault))
    }

    /// The open vault.
    ///
    /// # Errors
    /// [`Error::Sealed`].
    pub fn open(&self) -> Result<Arc<Open>, Error> {
        self.open.load_full().ok_or(Error::Sealed)
    }

    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.load().is_some()
    }

    /// The pinned identity.
    #[must_use]
    pub const fn pins(&self) -> Pins {
        self.pins
    }

    /// The store's condition.
    #[must_use]
    pub fn store_status(&self) -> StoreStatus {
        self.store.status()
    }

    /// How far the machine's clock has run ahead of the time that really passed; none while it is plausible.
    #[must_use]
    pub fn implausible_clock(&self) -> Option<std::time::Duration> {
        self.clock_watch.implausible_jump(self.clock.as_ref())
    }

    /// The generation of the policy, as far as it is known: while sealed, the last one before. 0 if nobody has said.
    #[must_use]
    pub fn policy_generation(&self) -> u64 {
        self.policy_generation.load(Ordering::Acquire)
    }

    /// Whether it is open, as it changes.
    #[must_use]
    pub fn openings(&self) -> tokio::sync::watch::Receiver<bool> {
        self.opened.subscribe()
    }

    /// Wipes the keys from memory, once the calls under way are done with them.
    ///
    /// # Errors
    /// It is sealed already.
    pub async fn seal(&self, permit: Permit<()>) -> Result<Unreleased<()>, Error> {
        let _ = permit;
        if self.shut().await { Ok(Unreleased::new(())) } else { Err(Error::Sealed) }
    }

    /// The same for the server itself, when it ends or its disk failed. Says whether the vault was open.
    pub async fn shut(&self) -> bool {
        // Before the lock: what opens by itself shall not come first.
        self.was_sealed.store(true, Ordering::Release);
        let _alone = self.ceremony.lock().await;
        self.policy.withdraw();
        let was_open = self.open.swap(None).is_some();
        // Afterwards: who is woken by it and looks must find the vault shut, or it would hold the keys until the next opening.
        self.opened.send_replace(false);
        was_open
    }

    /// The header as it lies in the store, and its row's revision.
    pub(super) async fn header(&self) -> Result<(Header, Revision), Error> {
        let mut rows = self.store.get(&[row::header_key()]).await?;
        let row = rows.pop().flatten().ok_or(Error::Absent("vault in this store: is its disk mounted?"))?;
        let header = Header::decode(&row.value)?;
        if header.vault_id() != self.pins.vault_id {
            return Err(Error::NotThisVault(
                "the store holds another vault than the configuration pins: the wrong disk, or the wrong file",
            ));
        }
        Ok((header, row.revision))
    }

    pub(super) async fn check_audit_key(&self, rows: &SystemRows, epoch: u64) -> Result<(), Error> {
        let seed = rows.own_secret(AUDIT_SEED, epoch).await?;
        if SigningKey::from_seed(&seed).public_key() != self.pins.audit_public_key {
            return Err(Error::NotThisVault(
                "the store's audit key is not the one that the configuration pins: somebody put other keys in its place",
            ));
        }
        Ok(())
    }

    pub(super) async fn load(&self, rows: SystemRows, epoch: u64) -> Result<Open, Error> {
        load_open(rows, epoch, self.clock.clone(), self.policy.clone(), self.policy_generation.clone()).await
    }

    /// Begins a backup that is to be kept for so long.
    ///
    /// # Errors
    /// [`Open::begin_backup`]'s; [`Error::Sealed`].
    pub async fn begin_backup(&self, permit: Permit<()>, keep: Duration, steps: Steps) -> Result<Unreleased<BackupRun>, Error> {
        let open = self.open()?;
        let epoch = self.header().await?.0.epoch();
        open.begin_backup(permit, keep, epoch, steps).await
    }

    /// What a crash left in doubt, once.
    pub(super) fn take_in_doubt(&self) -> Vec<audit::Entry> {
        std::mem::take(&mut *self.in_doubt.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What an open vault keeps in memory, read from its rows; its policy is in force from now on.
pub(super) async fn load_open(
    rows: SystemRows,
    epoch: u64,
    clock: Arc<dyn Clock>,
    policy: Arc<CurrentPolicy>,
    policy_generation: Arc<AtomicU64>,
) -> Result<Open, Error> {
    let names = NameKey::new(&rows.own_secret(NAMES, epoch).await?);
    let pages = PageTokens::new(rows.own_secret(PAGE_TOKENS, epoch).await?, rows.vault);
    let namespaces = load_namespaces(&rows).await?;
    let rewraps = Rewraps::load(&rows).await?;
    let state = PolicyState::load(&rows).await?;
    if state.head.generation < policy_generation.load(Ordering::Acquire) {
        return Err(Error::NotThisVault(
            "the policy in the store is older than the audit log says: the data folder was put back from an older copy",
        ));
    }
    policy_generation.fetch_max(state.head.generation, Ordering::AcqRel);
    policy.publish(state.policy(namespaces.values().map(|namespace| namespace.entry()))?);
    Ok(Open {
        rows,
        epoch,
        clock,
        names,
        pages,
        namespaces: ArcSwap::from_pointee(namespaces),
        policy,
        policy_generation,
        rewraps,
        policy_change: tokio::sync::Mutex::new(state),
        proposing: tokio::sync::Mutex::new(()),
        ceremonies: Mutex::default(),
    })
}
