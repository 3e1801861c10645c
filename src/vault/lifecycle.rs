//! Init, unseal, seal. Sealed and open are different types: while sealed there is no [`Open`] to call.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::access::{self, CurrentPolicy, Scope};
use crate::audit;
use crate::crypto::{self, CryptoError, NameKey, Random, SigningKey};
use crate::gate::{Permit, Unreleased};
use crate::model::{BindingId, Clock, ClockWatch, SecretBytes, SpiffeId, Text, Timestamp, VaultId};
use crate::seal::{Argon2Parameters, Header, Passphrase};
use crate::storage::{Batch, Revision, Store, StoreStatus};

use super::namespace::load_namespaces;
use super::page::PageTokens;
use super::policy::{self, PolicyContent, PolicyState};
use super::rows::SystemRows;
use super::{Error, Open, row};

/// The vault's own secrets: each has a row, wrapped by the system key.
const AUDIT_SEED: &str = "audit-seed";
const NAMES: &str = "names";
const PAGE_TOKENS: &str = "page-tokens";
const FINGERPRINTS: &str = "fingerprints";
pub(super) const OWN_SECRETS: [&str; 4] = [AUDIT_SEED, NAMES, PAGE_TOKENS, FINGERPRINTS];
/// Of a vault that was never restored and whose system key was never replaced.
const FIRST_EPOCH: u64 = 1;

/// What the configuration pins: a store with another identity is not this vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pins {
    /// The vault's id.
    pub vault_id: VaultId,
    /// The Ed25519 key with which the vault signs for its audit log.
    pub audit_public_key: [u8; 32],
}

/// Who may administer access in a new vault: nobody else may do anything.
#[derive(Debug, Clone)]
pub struct FirstAdministrators(pub Vec<SpiffeId>);

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
    store: Arc<dyn Store>,
    random: Arc<dyn Random>,
    clock: Arc<dyn Clock>,
    policy: Arc<CurrentPolicy>,
    pins: Pins,
    /// The newest that the log is known to speak of; a policy behind it is not opened.
    policy_generation: Arc<AtomicU64>,
    pub(super) in_doubt: Mutex<Vec<audit::Entry>>,
    pub(super) clock_watch: ClockWatch,
    open: ArcSwapOption<Open>,
    ceremony: tokio::sync::Mutex<()>,
    opened: tokio::sync::watch::Sender<bool>,
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
            opened: tokio::sync::watch::Sender::new(false),
        };
        vault.header().await?;
        Ok(Arc::new(vault))
    }

    /// Makes a vault in an empty store, and returns what to pin. Its system key is wiped: the vault begins sealed.
    ///
    /// # Errors
    /// The store is not empty, the passphrase is too weak, or the generator failed.
    pub async fn init(
        store: &Arc<dyn Store>,
        random: &Arc<dyn Random>,
        now: Timestamp,
        passphrase: &Passphrase,
        parameters: Argon2Parameters,
        administrators: &FirstAdministrators,
    ) -> Result<Pins, Error> {
        let mut id = [0; 16];
        random.fill(&mut id).map_err(CryptoError::from)?;
        let vault_id = VaultId::from_bytes(id);
        let (header, system_key) = Header::create(vault_id, passphrase, parameters, random.as_ref(), now)?;
        let rows = SystemRows::new(store.clone(), random.clone(), vault_id, system_key);
        let mut batch = Batch::new().expecting(row::header_key(), Revision::ABSENT).put(row::header_key(), header.encode());
        let mut audit_public_key = [0; 32];
        for name in OWN_SECRETS {
            let secret = crypto::Key::generate(random.as_ref()).map_err(CryptoError::from)?;
            if name == AUDIT_SEED {
                audit_public_key = SigningKey::from_seed(&secret).public_key();
            }
            let context = crypto::Context::Secret { vault: vault_id, name, epoch: FIRST_EPOCH };
            let wrapped = crypto::wrap_key(rows.system_key(), &context, &secret, random.as_ref())?;
            batch = batch.put(row::own_secret_key(name), wrapped.to_vec());
        }
        let bindings = first_bindings(administrators, random.as_ref(), now)?;
        let (policy_rows, head) = policy::first_rows(&bindings);
        batch = batch.put(row::policy_key(), rows.seal(&row::policy_key(), &head)?);
        for policy_row in &policy_rows {
            let PolicyContent::Binding(binding) = &policy_row.content else { continue };
            batch = batch.put(policy_row.key.clone(), rows.seal(&policy_row.key, binding)?);
        }
        store.commit(batch).await.map_err(|error| match error {
            crate::storage::CommitError::Conflict(_) => Error::Exists,
            other => other.into(),
        })?;
        Ok(Pins { vault_id, audit_public_key })
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

    /// Opens the vault with the secret of its passphrase slot.
    ///
    /// # Errors
    /// It is open already, the passphrase is wrong, or what the store holds is not what it should be.
    pub async fn unseal(&self, permit: Permit<()>, passphrase: SecretBytes) -> Result<Unreleased<VaultId>, Error> {
        let _alone = self.ceremony.lock().await;
        if self.is_open() {
            return Err(Error::State("the vault is open already"));
        }
        let passphrase = Passphrase::parse(&passphrase)?;
        let header = self.header().await?;
        let epoch = header.epoch();
        // Argon2id takes 64 MiB and a good part of a second.
        let system_key =
            tokio::task::spawn_blocking(move || header.unseal(&passphrase)).await.map_err(|_| Error::Integrity("the header"))??;
        let rows = SystemRows::new(self.store.clone(), self.random.clone(), self.pins.vault_id, system_key);
        self.check_audit_key(&rows, epoch).await?;
        let open = self.load(rows, epoch).await?;
        let generation = open.policy_change.lock().await.head.generation;
        self.open.store(Some(Arc::new(open)));
        self.opened.send_replace(true);
        let _ = permit;
        Ok(Unreleased::new(self.pins.vault_id).with("vault", self.pins.vault_id).with("policy_generation", generation))
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
        let _alone = self.ceremony.lock().await;
        self.policy.withdraw();
        self.opened.send_replace(false);
        self.open.swap(None).is_some()
    }

    async fn header(&self) -> Result<Header, Error> {
        let mut rows = self.store.get(&[row::header_key()]).await?;
        let row = rows.pop().flatten().ok_or(Error::Absent("vault in this store: is its disk mounted?"))?;
        let header = Header::decode(&row.value)?;
        if header.vault_id() != self.pins.vault_id {
            return Err(Error::NotThisVault(
                "the store holds another vault than the configuration pins: the wrong disk, or the wrong file",
            ));
        }
        Ok(header)
    }

    async fn check_audit_key(&self, rows: &SystemRows, epoch: u64) -> Result<(), Error> {
        let seed = rows.own_secret(AUDIT_SEED, epoch).await?;
        if SigningKey::from_seed(&seed).public_key() != self.pins.audit_public_key {
            return Err(Error::NotThisVault(
                "the store's audit key is not the one that the configuration pins: somebody put other keys in its place",
            ));
        }
        Ok(())
    }

    async fn load(&self, rows: SystemRows, epoch: u64) -> Result<Open, Error> {
        let names = NameKey::new(&rows.own_secret(NAMES, epoch).await?);
        let pages = PageTokens::new(rows.own_secret(PAGE_TOKENS, epoch).await?, self.pins.vault_id);
        let namespaces = load_namespaces(&rows).await?;
        let state = PolicyState::load(&rows).await?;
        if state.head.generation < self.policy_generation.load(Ordering::Acquire) {
            return Err(Error::NotThisVault(
                "the policy in the store is older than the audit log says: the data folder was put back from an older copy",
            ));
        }
        self.policy_generation.fetch_max(state.head.generation, Ordering::AcqRel);
        self.policy.publish(state.policy(namespaces.values().map(|namespace| namespace.entry()))?);
        Ok(Open {
            rows,
            clock: self.clock.clone(),
            names,
            pages,
            namespaces: ArcSwap::from_pointee(namespaces),
            policy: self.policy.clone(),
            policy_generation: self.policy_generation.clone(),
            policy_change: tokio::sync::Mutex::new(state),
        })
    }

    /// What a crash left in doubt, once.
    pub(super) fn take_in_doubt(&self) -> Vec<audit::Entry> {
        std::mem::take(&mut *self.in_doubt.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn first_bindings(administrators: &FirstAdministrators, random: &dyn Random, now: Timestamp) -> Result<Vec<access::Binding>, Error> {
    let binding = |principal: &SpiffeId| {
        let mut id = [0; 16];
        random.fill(&mut id).map_err(CryptoError::from)?;
        Ok(access::Binding {
            id: BindingId::from_bytes(id),
            role: "access-admin".parse().expect("a built-in role's name"),
            principal: principal.clone(),
            scope: Scope::Vault,
            start: now,
            end: None,
            reason: Text::parse_optional("named when the vault was made").expect("short and plain"),
            created_by: principal.clone(),
            created: now,
        })
    };
    administrators.0.iter().map(binding).collect()
}
