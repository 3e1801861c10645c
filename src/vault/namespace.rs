//! Namespaces: create, describe, list; and what an open vault keeps of each in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::access::{NamespaceEntry, Scope};
use crate::crypto::{Keyring, TagLabel};
use crate::gate::{Permit, Unreleased, VAULT_WORDS, Visibility};
use crate::model::{Environment, NamespaceId, NamespaceName, Timestamp, limits};
use crate::storage::{Batch, CommitError, Revision};

use super::page::{Page, PageLimits, Shown};
use super::rows::SystemRows;
use super::{Error, Open, caller, record, row};

/// A namespace's own bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamespaceLimits {
    /// Longest payload in bytes.
    pub payload_max_bytes: u32,
    /// Versions that a secret keeps.
    pub versions_kept: u32,
    /// Recovery window of a destroyed secret.
    pub recovery_window: Duration,
    /// Whether connections must have had a post-quantum key exchange.
    pub require_post_quantum: bool,
    /// How long a key version encrypts before a new one should take its place.
    pub cryptoperiod: Duration,
    /// Whether the vault then makes a new one by itself.
    pub auto_rotate: bool,
}

impl Default for NamespaceLimits {
    fn default() -> Self {
        Self {
            payload_max_bytes: u32::try_from(limits::PAYLOAD_BYTES).expect("64 KiB"),
            versions_kept: limits::DEFAULT_VERSIONS_KEPT,
            recovery_window: Duration::from_secs(limits::DEFAULT_RECOVERY_WINDOW_S),
            require_post_quantum: false,
            cryptoperiod: Duration::from_secs(limits::DEFAULT_CRYPTOPERIOD_S),
            auto_rotate: false,
        }
    }
}

impl NamespaceLimits {
    /// Whether each is within the vault's own bounds.
    ///
    /// # Errors
    /// [`Error::Invalid`], naming the field.
    pub fn check(&self) -> Result<(), Error> {
        let invalid = |field, why| Err(Error::Invalid { field, why });
        if self.payload_max_bytes == 0 || self.payload_max_bytes as usize > limits::PAYLOAD_BYTES {
            return invalid("limits.payload_max_bytes", "must be 1 to 65536");
        }
        if self.versions_kept == 0 || self.versions_kept > limits::VERSIONS_KEPT {
            return invalid("limits.versions_kept", "must be 1 to 1000");
        }
        let window_s = self.recovery_window.as_secs();
        if window_s == 0 || window_s > limits::RECOVERY_WINDOW_S || self.recovery_window.subsec_nanos() != 0 {
            return invalid("limits.recovery_window", "must be whole seconds, 1 second to 365 days");
        }
        let period = limits::CRYPTOPERIOD_MIN_S..=limits::CRYPTOPERIOD_MAX_S;
        if !period.contains(&self.cryptoperiod.as_secs()) || self.cryptoperiod.subsec_nanos() != 0 {
            return invalid("limits.cryptoperiod", "must be whole seconds, 1 day to 10 years");
        }
        Ok(())
    }
}

/// A namespace as it is shown.
#[derive(Debug, Clone)]
pub struct NamespaceInfo {
    /// Its name.
    pub name: NamespaceName,
    /// Its id.
    pub id: NamespaceId,
    /// Its environment.
    pub environment: Environment,
    /// Its bounds.
    pub limits: NamespaceLimits,
    /// When it was created.
    pub created: Timestamp,
    /// The SPIFFE ID of who created it.
    pub created_by: String,
}

/// What an open vault keeps of a namespace in memory, so that a reveal needs one storage read.
pub(super) struct Namespace {
    pub(super) info: NamespaceInfo,
    request_id: String,
    keys: ArcSwap<NamespaceKeys>,
}

/// A namespace's keys as of one revision of its keyring's row.
pub(super) struct NamespaceKeys {
    pub(super) keyring: Keyring,
    pub(super) revision: Revision,
}

impl Namespace {
    pub(super) fn of(record: &record::Namespace, keys: NamespaceKeys) -> Result<Self, Error> {
        let info = NamespaceInfo {
            name: record.name.parse().map_err(|_| Error::Integrity("a namespace's name"))?,
            id: record.namespace_id()?,
            environment: record.environment(),
            limits: NamespaceLimits {
                payload_max_bytes: record.payload_max_bytes,
                versions_kept: record.versions_kept,
                recovery_window: record.recovery_window(),
                require_post_quantum: record.require_post_quantum,
                cryptoperiod: record.cryptoperiod(),
                auto_rotate: record.auto_rotate,
            },
            created: record::time(record.created_ms)?,
            created_by: record.created_by.clone(),
        };
        Ok(Self { info, request_id: record.request_id.clone(), keys: ArcSwap::from_pointee(keys) })
    }

    /// What a decision must know of it.
    pub(super) fn entry(&self) -> (NamespaceName, NamespaceEntry) {
        let entry = NamespaceEntry { id: self.info.id, require_post_quantum: self.info.limits.require_post_quantum };
        (self.info.name.clone(), entry)
    }

    pub(super) fn keys(&self) -> Arc<NamespaceKeys> {
        self.keys.load_full()
    }

    /// Unless newer ones are there already: who read them from the store may be slower than who rotates.
    pub(super) fn replace_keys(&self, keys: NamespaceKeys) {
        let keys = Arc::new(keys);
        self.keys.rcu(|old| if keys.revision > old.revision { keys.clone() } else { old.clone() });
    }
}

/// A namespace to be made.
#[derive(Debug, Clone)]
pub struct NewNamespace {
    /// Its name.
    pub name: NamespaceName,
    /// Its environment.
    pub environment: Environment,
    /// Its bounds.
    pub limits: NamespaceLimits,
}

impl Open {
    /// Makes a namespace with a keyring of its own.
    ///
    /// # Errors
    /// The name is taken or stands for a part of the vault, a bound is absurd, or the vault has as many as it can.
    pub async fn create_namespace(&self, permit: Permit<()>, new: NewNamespace) -> Result<Unreleased<NamespaceInfo>, Error> {
        new.limits.check()?;
        if VAULT_WORDS.contains(&new.name.to_string().as_str()) {
            return Err(Error::Invalid { field: "name", why: "stands for a part of the vault in the audit log: choose another" });
        }
        // One change of the policy's snapshot at a time: the new name must not be lost between two of them.
        let mut policy = self.policy_change.lock().await;
        let by = caller(&permit)?;
        self.policy.snapshot().ok_or(Error::Sealed)?.check_administers(&by, Scope::Vault, self.clock.now())?;
        if let Some(existing) = self.namespace_named(&new.name) {
            let same = existing.info.environment == new.environment && existing.info.limits == new.limits;
            let is_own = existing.info.created_by == by.as_str();
            let is_replay = permit.request_id().is_some_and(|id| id == existing.request_id) && is_own && same;
            return if is_replay { Ok(Unreleased::new(existing.info.clone())) } else { Err(Error::Exists) };
        }
        if self.namespaces.load().len() >= limits::NAMESPACES {
            return Err(Error::State("a vault has at most 10,000 namespaces"));
        }
        let record = new_record(&permit, &new, self.new_id()?.to_vec());
        match self.write_namespace(&record).await {
            Ok(info) => Ok(Unreleased::new(info)),
            Err(failed) => {
                // Only what nobody knows of is looked for: a name that was taken meanwhile is another's.
                self.read_policy_again(&mut policy, &failed).await?;
                let is_it = |namespace: &Arc<Namespace>| namespace.info.id.as_bytes()[..] == record.id[..];
                self.namespace_named(&new.name).filter(is_it).map(|made| Unreleased::new(made.info.clone())).ok_or(failed)
            }
        }
    }

    async fn write_namespace(&self, record: &record::Namespace) -> Result<NamespaceInfo, Error> {
        let id = record.namespace_id()?;
        let keyring = Keyring::create(self.rows.vault, id, self.rows.system_key(), self.random(), self.clock.now())?;
        let keyring_key = row::keyring_key(id);
        let keyring_row = record::KeyringRow { keyring: keyring.encode(), intent: record.intent };
        let namespace_key = row::namespace_key(&self.names.tag(TagLabel::Namespace, record.name.as_bytes()));
        let batch = Batch::new()
            .expecting(namespace_key.clone(), Revision::ABSENT)
            .put(namespace_key.clone(), self.rows.seal(&namespace_key, record)?)
            .put(keyring_key.clone(), self.rows.seal(&keyring_key, &keyring_row)?);
        let revision = self.rows.store.commit(batch).await.map_err(|error| match error {
            CommitError::Conflict(_) => Error::Exists,
            other => other.into(),
        })?;
        let namespace = Namespace::of(record, NamespaceKeys { keyring, revision })?;
        let info = namespace.info.clone();
        self.add_namespace(namespace);
        Ok(info)
    }

    fn add_namespace(&self, namespace: Namespace) {
        let (name, entry) = namespace.entry();
        let namespace = Arc::new(namespace);
        self.namespaces.rcu(|all| {
            let mut all: HashMap<_, _> = all.as_ref().clone();
            all.insert(entry.id, namespace.clone());
            all
        });
        if let Some(policy) = self.policy.snapshot() {
            self.policy.replace(policy.with_namespace(name, entry));
        }
    }

    /// Describes a namespace.
    ///
    /// # Errors
    /// It is gone.
    pub fn describe_namespace(&self, permit: &Permit<NamespaceId>) -> Result<Unreleased<NamespaceInfo>, Error> {
        Ok(Unreleased::new(self.namespace(*permit.granted())?.info.clone()))
    }

    /// Lists the namespaces that may be shown, by name.
    ///
    /// # Errors
    /// A page token of another list.
    pub fn list_namespaces(
        &self,
        permit: &Permit<Visibility>,
        page: PageLimits,
        page_token: &str,
    ) -> Result<Unreleased<Page<NamespaceInfo>>, Error> {
        let visible = self.visible_namespaces(permit.granted());
        let infos = visible.iter().map(|namespace| namespace.info.clone());
        let page = self.paging(permit, "namespaces", page).cut(infos, page_token, |info| info.name.to_string().into_bytes())?;
        Ok(Unreleased::new(page))
    }

    /// The namespaces that may be shown, by name.
    pub(super) fn visible_namespaces(&self, visibility: &Visibility) -> Vec<Arc<Namespace>> {
        let all = self.namespaces.load();
        let mut visible: Vec<_> = all.values().filter(|namespace| visibility.shows_namespace(namespace.info.id)).cloned().collect();
        visible.sort_by(|a, b| a.info.name.cmp(&b.info.name));
        visible
    }

    pub(super) fn namespace_named(&self, name: &NamespaceName) -> Option<Arc<Namespace>> {
        self.namespaces.load().values().find(|namespace| namespace.info.name == *name).cloned()
    }
}

/// All namespaces with their keyrings.
pub(super) async fn load_namespaces(rows: &SystemRows) -> Result<HashMap<NamespaceId, Arc<Namespace>>, Error> {
    let mut namespaces = HashMap::new();
    for (_, stored, _) in rows.records::<record::Namespace>(&row::namespaces_prefix()).await? {
        let id = stored.namespace_id()?;
        let keyring = rows.record::<record::KeyringRow>(&row::keyring_key(id)).await?;
        let (keyring_row, revision) = keyring.ok_or(Error::Integrity("a missing keyring"))?;
        let keyring = Keyring::decode(rows.vault, id, rows.system_key(), &keyring_row.keyring)?;
        let keys = NamespaceKeys { keyring, revision };
        namespaces.insert(id, Arc::new(Namespace::of(&stored, keys)?));
    }
    Ok(namespaces)
}

fn new_record(permit: &Permit<()>, new: &NewNamespace, id: Vec<u8>) -> record::Namespace {
    record::Namespace {
        id,
        name: new.name.to_string(),
        production: new.environment == Environment::Production,
        payload_max_bytes: new.limits.payload_max_bytes,
        versions_kept: new.limits.versions_kept,
        recovery_window_ms: new.limits.recovery_window.as_secs() * 1_000,
        require_post_quantum: new.limits.require_post_quantum,
        created_ms: permit.now().unix_ms(),
        created_by: super::author(permit),
        request_id: permit.request_id().unwrap_or_default().to_owned(),
        intent: permit.intent(),
        cryptoperiod_ms: new.limits.cryptoperiod.as_secs() * 1_000,
        auto_rotate: new.limits.auto_rotate,
    }
}

impl Shown for NamespaceInfo {
    fn shown_bytes(&self) -> usize {
        256 + self.created_by.len()
    }
}
