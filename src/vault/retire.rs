//! The end of a key version, step by step, and the statements that prove it.
//!
//! ```text
//! active ─ rotate ─> decrypt-only ⇄ disabled ⇄ scheduled ─ 30 days ─> destroyed
//!                                    │          └ no row under it, by a scan; a statement
//!                                    └ reversible: who still needs it shows        └ no row under it, by another; a statement
//! ```
//!
//! A scan counts under one revision of the keyring: every writer names that revision, so nothing is written under a key between the
//! count and the commit that rests on it. It looks at newest values first and at older versions then: a value that moves from the one
//! to the other meanwhile is seen at least once.

use std::sync::Arc;
use std::time::Duration;

use crate::crypto::{KeyState, Keyring, SigningKey, sign_note};
use crate::gate::{Gate, NamespaceAt, Permit, Refusal, Unreleased};
use crate::model::{Action, NamespaceId, Timestamp, VaultId};
use crate::storage::Batch;

use super::backup::BackupInfo;
use super::key::{ALGORITHM, KeyInfo};
use super::lifecycle::AUDIT_SEED;
use super::namespace::{Namespace, NamespaceKeys};
use super::{Error, Open, author, record, row};

/// How long a version waits for its end, in which it can be taken back.
const WAITS: Duration = Duration::from_secs(30 * 24 * 3600);
/// Begins every statement.
const TITLE: &str = "strongroom/v1 key retirement";

/// A step of a key version's life, but for the first, which is rotation, and the last, which the vault takes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStep {
    /// From decrypt-only to disabled.
    Disable,
    /// From disabled to decrypt-only.
    Enable,
    /// From disabled to scheduled: to be destroyed in 30 days. Only where no row is under it.
    Retire,
    /// From scheduled to disabled.
    Cancel,
}

/// A key version after a step, and the statement that goes with it.
#[derive(Debug, Clone)]
pub struct KeyStepTaken {
    /// The version.
    pub key: KeyInfo,
    /// The signed statement of a retirement.
    pub statement: Option<String>,
}

/// What a scan found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    /// Rows looked at.
    scanned: u64,
    /// Rows under the version.
    under: u64,
}

/// The name under which a vault signs.
#[must_use]
pub fn signer(vault: VaultId) -> String {
    format!("strongroom/{vault}")
}

impl Open {
    /// Takes one step with a version. One that is in the state already is left there: a retry changes nothing.
    ///
    /// # Errors
    /// [`Error::State`]: the version cannot go there from where it is, or rows are under it. [`Error::Conflict`].
    pub async fn step_key(&self, permit: Permit<NamespaceId>, version: u32, step: KeyStep) -> Result<Unreleased<KeyStepTaken>, Error> {
        let namespace = self.namespace(*permit.granted())?;
        let keys = namespace.keys();
        let found = self.find_key(&namespace, &keys.keyring, version)?;
        let told = |key: KeyInfo, statement| Ok(Unreleased::new(KeyStepTaken { key, statement }).version(version.into()));
        let to = match (step, found.state) {
            (KeyStep::Disable, KeyState::Disabled) | (KeyStep::Enable, KeyState::DecryptOnly) | (KeyStep::Cancel, KeyState::Disabled) => {
                return told(found, None);
            }
            (KeyStep::Retire, KeyState::Scheduled(_)) => return told(found, self.statement_of(&namespace, version).await?),
            (KeyStep::Disable | KeyStep::Cancel, _) => KeyState::Disabled,
            (KeyStep::Enable, _) => KeyState::DecryptOnly,
            (KeyStep::Retire, _) => KeyState::Scheduled(permit.now().plus(WAITS)),
        };
        let keyring = keys.keyring.with_state(version, to, self.rows.system_key())?;
        let key = self.find_key(&namespace, &keyring, version)?;
        if step != KeyStep::Retire {
            self.write_keyring(&namespace, &keys, keyring, permit.intent(), Batch::new(), None).await?;
            return told(key, None);
        }
        let counted = self.count_under(&namespace, version).await?;
        if counted.under > 0 {
            return Err(Error::RowsUnderKey(counted.under));
        }
        let statement = self.statement(&namespace, &keys, &key, counted, &author(&permit), permit.now()).await?;
        let batch = self.with_statement(Batch::new(), &namespace, version, &statement)?;
        self.write_keyring(&namespace, &keys, keyring, permit.intent(), batch, None).await?;
        told(key, Some(statement)).map(|told| told.with("rows_scanned", counted.scanned))
    }

    /// The newest statement of a version's retirement.
    ///
    /// # Errors
    /// [`Error::Absent`]: the version was never retired.
    pub async fn key_statement(&self, permit: Permit<NamespaceId>, version: u32) -> Result<Unreleased<String>, Error> {
        let namespace = self.namespace(*permit.granted())?;
        let statement = self.statement_of(&namespace, version).await?;
        Ok(Unreleased::new(statement.ok_or(Error::Absent("statement: the version was not retired"))?).version(version.into()))
    }

    /// Ends each version whose time has come.
    ///
    /// # Errors
    /// The first thing that went wrong, but for a damaged row, which keeps no other version alive.
    pub(super) async fn destroy_due_keys(self: &Arc<Self>, gate: &Gate) -> Result<(), Refusal<Error>> {
        for (at, version) in self.due_keys(self.clock.now()) {
            let (open, namespace) = (self.clone(), at.name.clone());
            let ended = gate.run_own("DestroyDueKey", Action::Rotate, at, |permit| async move { open.destroy_key(permit, version).await });
            match ended.await {
                Ok(true) => tracing::info!(%namespace, version, "a key version whose time had come is destroyed"),
                Ok(false) => tracing::error!(%namespace, version, "values are under a key version whose time has come: it is kept"),
                Err(Refusal::Failed(error @ Error::Integrity(_))) => {
                    tracing::error!(%error, %namespace, version, "a key version whose time has come cannot be destroyed");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The versions whose time has come.
    fn due_keys(&self, now: Timestamp) -> Vec<(NamespaceAt, u32)> {
        let is_due = |state| matches!(state, KeyState::Scheduled(due) if due <= now);
        let of = |namespace: &Namespace| {
            let at = NamespaceAt { id: namespace.info.id, name: namespace.info.name.clone() };
            let due: Vec<_> = namespace.keys().keyring.inventory().filter(|info| is_due(info.state)).map(|info| info.version).collect();
            due.into_iter().map(move |version| (at.clone(), version))
        };
        self.namespaces.load().values().flat_map(|namespace| of(namespace)).collect()
    }

    /// Destroys a version whose time has come; says whether it did. Rows that are under it after all take it back to disabled.
    ///
    /// # Errors
    /// Its time has not come. [`Error::Conflict`].
    async fn destroy_key(&self, permit: Permit<NamespaceId>, version: u32) -> Result<Unreleased<bool>, Error> {
        let namespace = self.namespace(*permit.granted())?;
        let keys = namespace.keys();
        match self.find_key(&namespace, &keys.keyring, version)?.state {
            KeyState::Scheduled(due) if due <= permit.now() => {}
            _ => return Err(Error::State("the key version's time has not come, or it was taken back")),
        }
        let counted = self.count_under(&namespace, version).await?;
        let is_unused = counted.under == 0;
        let state = if is_unused { KeyState::Destroyed } else { KeyState::Disabled };
        let keyring = keys.keyring.with_state(version, state, self.rows.system_key())?;
        let mut batch = Batch::new();
        if is_unused {
            let key = self.find_key(&namespace, &keyring, version)?;
            let statement = self.statement(&namespace, &keys, &key, counted, &author(&permit), permit.now()).await?;
            batch = self.with_statement(batch, &namespace, version, &statement)?;
        }
        self.write_keyring(&namespace, &keys, keyring, permit.intent(), batch, None).await?;
        let told = Unreleased::new(is_unused).version(version.into());
        Ok(told.with("rows_scanned", counted.scanned).with("rows_under_it", counted.under))
    }

    /// How many rows there are, and how many of them under a version. What cannot be read may be under any.
    async fn count_under(&self, namespace: &Namespace, version: u32) -> Result<Counted, Error> {
        let counted = self.count_rows(namespace.info.id, Duration::ZERO).await?;
        Ok(Counted { scanned: counted.total(), under: counted.under(version) + counted.unreadable() })
    }

    /// What is told of a version and why it can go, signed.
    async fn statement(
        &self,
        namespace: &Namespace,
        keys: &NamespaceKeys,
        key: &KeyInfo,
        counted: Counted,
        by: &str,
        now: Timestamp,
    ) -> Result<String, Error> {
        let state = match key.state {
            KeyState::Scheduled(due) => format!("scheduled, to be destroyed at {due}"),
            KeyState::Destroyed => "destroyed".to_owned(),
            KeyState::Active | KeyState::DecryptOnly | KeyState::Disabled => return Err(Error::State("the key version is not retired")),
        };
        let Counted { scanned, under } = counted;
        let text = format!(
            "{TITLE}\nvault: {}\nnamespace: {}\nnamespace id: {}\nkey version: {}\nalgorithm: {ALGORITHM}\nmade: {}\nstate: {state}\n\
             rows scanned: {scanned}\nrows under it: {under}\nkeyring revision: {}\nnewest backup that holds it: {}\nby: {by}\nat: {now}\n",
            self.rows.vault,
            namespace.info.name,
            namespace.info.id,
            key.version,
            key.created,
            keys.revision.number(),
            self.newest_backup_in_words(namespace, key.version).await?,
        );
        let seed = self.rows.own_secret(AUDIT_SEED, self.epoch).await?;
        sign_note(&text, &signer(self.rows.vault), &SigningKey::from_seed(&seed)).map_err(|_| Error::Integrity("a name in a statement"))
    }

    /// The newest backup of the vault's own making that holds a version.
    async fn newest_backup_in_words(&self, namespace: &Namespace, version: u32) -> Result<String, Error> {
        let newest = self.newest_backup_with(namespace.info.id, version).await?;
        let told = |backup: BackupInfo| {
            format!("{}, made at {}, to be destroyed after {}", hex::encode(backup.id), backup.created, backup.expires)
        };
        Ok(newest.map_or_else(|| "none of the vault's own making".to_owned(), told))
    }

    fn with_statement(&self, batch: Batch, namespace: &Namespace, version: u32, statement: &str) -> Result<Batch, Error> {
        let key = row::statement_key(namespace.info.id, version);
        let sealed = self.rows.seal(&key, &record::KeyStatement { note: statement.to_owned() })?;
        Ok(batch.put(key, sealed))
    }

    async fn statement_of(&self, namespace: &Namespace, version: u32) -> Result<Option<String>, Error> {
        let stored = self.rows.record::<record::KeyStatement>(&row::statement_key(namespace.info.id, version)).await?;
        Ok(stored.map(|(statement, _)| statement.note))
    }

    fn find_key(&self, namespace: &Namespace, keyring: &Keyring, version: u32) -> Result<KeyInfo, Error> {
        let mut infos = self.key_infos(namespace, keyring).into_iter();
        infos.find(|info| info.version == version).ok_or(Error::Absent("key version"))
    }
}
