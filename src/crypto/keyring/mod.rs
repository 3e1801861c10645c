//! The keyring of a namespace: its KEK versions, and its index key.
//!
//! ```text
//! rotate: a new version becomes active, the one before it decrypt-only
//! active ─→ decrypt-only ⇄ disabled ⇄ scheduled ─→ destroyed
//! ```
//!
//! A keyring never changes: what changes it gives a new one, so that readers hold a snapshot. Keys out of service are not in memory.
//! Each key is wrapped by the system key on its own; the whole record is then encrypted once more as a row, by the vault.

mod record;

use std::sync::Arc;

use super::{Context, CryptoError, IndexKey, Key, Random, WrappedKey, unwrap_key, wrap_key};
use crate::model::{NamespaceId, Timestamp, VaultId, limits};

/// Versions that a keyring remembers, destroyed ones included; the oldest destroyed ones are forgotten first.
const REMEMBERED: usize = 4 * limits::KEY_VERSIONS;

/// What a KEK version may still be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Encrypts and decrypts. The newest version, and only it.
    Active,
    /// Decrypts what it encrypted.
    DecryptOnly,
    /// Does nothing; can be taken back into service.
    Disabled,
    /// Does nothing, and is to be destroyed then; can still be taken back.
    Scheduled(Timestamp),
    /// Gone.
    Destroyed,
}

/// One line of a keyring's inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyInfo {
    /// From 1 on.
    pub version: u32,
    /// What it may be used for.
    pub state: KeyState,
    /// When it was made.
    pub created: Timestamp,
}

/// The keys of one namespace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keyring {
    vault: VaultId,
    namespace: NamespaceId,
    index: Arc<Index>,
    /// Ascending, never empty; the last one, and no other, is active.
    versions: Vec<Version>,
    /// The last one's key.
    active: Arc<Key>,
}

impl Keyring {
    /// A new keyring: KEK version 1 and an index key, both wrapped by the system key.
    ///
    /// # Errors
    /// [`CryptoError::Random`].
    pub fn create(vault: VaultId, namespace: NamespaceId, system: &Key, random: &dyn Random, now: Timestamp) -> Result<Self, CryptoError> {
        let index_key = Key::generate(random)?;
        let wrapped = wrap_key(system, &Context::Index { vault, namespace, epoch: 1 }, &index_key, random)?;
        let index = Arc::new(Index { epoch: 1, wrapped, key: IndexKey::new(&index_key) });
        let mut keyring = Self { vault, namespace, index, versions: Vec::new(), active: Arc::new(Key::generate(random)?) };
        keyring.versions.push(keyring.wrap_active(1, system, random, now)?);
        Ok(keyring)
    }

    /// The same with a new active version; the one that was active decrypts only.
    ///
    /// # Errors
    /// [`CryptoError::TooManyKeys`], [`CryptoError::Random`].
    pub fn rotate(&self, system: &Key, random: &dyn Random, now: Timestamp) -> Result<Self, CryptoError> {
        let live = self.versions.iter().filter(|version| version.wrapped.is_some()).count();
        let number = self.last().info.version.checked_add(1).ok_or(CryptoError::TooManyKeys)?;
        if live >= limits::KEY_VERSIONS {
            return Err(CryptoError::TooManyKeys);
        }
        let mut keyring = Self { active: Arc::new(Key::generate(random)?), ..self.clone() };
        let new = keyring.wrap_active(number, system, random, now)?;
        if let Some(last) = keyring.versions.last_mut() {
            last.info.state = KeyState::DecryptOnly;
        }
        keyring.versions.push(new);
        forget_oldest_destroyed(&mut keyring.versions);
        Ok(keyring)
    }

    /// The same with a version in another state, one step along the line above. `system` opens a key that comes back into service.
    ///
    /// # Errors
    /// [`CryptoError::NoSuchKey`], [`CryptoError::WrongTransition`]; [`CryptoError::Refused`] for a key that does not open.
    pub fn with_state(&self, version: u32, state: KeyState, system: &Key) -> Result<Self, CryptoError> {
        use KeyState::{DecryptOnly, Destroyed, Disabled, Scheduled};
        let position = self.position(version)?;
        let mut versions = self.versions.clone();
        let changed = &mut versions[position];
        match (changed.info.state, state) {
            (DecryptOnly, Disabled) | (Disabled, Scheduled(_)) | (Scheduled(_), Disabled) => changed.key = None,
            (Disabled, DecryptOnly) => changed.key = Some(Arc::new(changed.open(&self.kek(version), system)?)),
            (Scheduled(_), Destroyed) => changed.wrapped = None,
            _ => return Err(CryptoError::WrongTransition(version)),
        }
        changed.info.state = state;
        Ok(Self { versions, ..self.clone() })
    }

    /// The version that encrypts, and its key.
    #[must_use]
    pub fn active(&self) -> (u32, &Key) {
        (self.last().info.version, &self.active)
    }

    /// The key of a version that may decrypt.
    ///
    /// # Errors
    /// [`CryptoError::NoSuchKey`]; [`CryptoError::KeyOutOfService`] for a disabled, scheduled or destroyed one.
    pub fn for_decrypt(&self, version: u32) -> Result<&Key, CryptoError> {
        let found = &self.versions[self.position(version)?];
        found.key.as_deref().ok_or(CryptoError::KeyOutOfService(version))
    }

    /// The index key, for the names of this namespace's rows.
    #[must_use]
    pub fn index_key(&self) -> &IndexKey {
        &self.index.key
    }

    /// The namespace that the keys are for.
    #[must_use]
    pub const fn namespace(&self) -> NamespaceId {
        self.namespace
    }

    /// All versions, oldest first.
    pub fn inventory(&self) -> impl Iterator<Item = KeyInfo> {
        self.versions.iter().map(|version| version.info)
    }

    /// The record, to be encrypted as a row before it is stored. `docs/crypto.md` has its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        record::encode(&self.index, &self.versions)
    }

    /// Reads a record, and opens the keys that are in service.
    ///
    /// # Errors
    /// [`CryptoError::Malformed`]; [`CryptoError::Refused`] for a key that does not open.
    pub fn decode(vault: VaultId, namespace: NamespaceId, system: &Key, record: &[u8]) -> Result<Self, CryptoError> {
        let (epoch, wrapped, mut versions) = record::decode(record).map_err(CryptoError::Malformed)?;
        let index_key = unwrap_key(system, &Context::Index { vault, namespace, epoch }, &wrapped)?;
        for version in &mut versions {
            if matches!(version.info.state, KeyState::Active | KeyState::DecryptOnly) {
                let context = Context::Kek { vault, namespace, version: version.info.version };
                version.key = Some(Arc::new(version.open(&context, system)?));
            }
        }
        let active = versions.last().and_then(|last| last.key.clone()).expect("a record's last version is active, and was just opened");
        let index = Arc::new(Index { epoch, wrapped, key: IndexKey::new(&index_key) });
        Ok(Self { vault, namespace, index, versions, active })
    }

    /// A record with all its keys, those out of service too, wrapped by another system key.
    ///
    /// # Errors
    /// [`CryptoError::Malformed`]; [`CryptoError::Refused`] for a key that does not open; [`CryptoError::Random`].
    pub fn rewrapped(
        vault: VaultId,
        namespace: NamespaceId,
        old: &Key,
        new: &Key,
        record: &[u8],
        random: &dyn Random,
    ) -> Result<Vec<u8>, CryptoError> {
        let (epoch, wrapped, mut versions) = record::decode(record).map_err(CryptoError::Malformed)?;
        let context = Context::Index { vault, namespace, epoch };
        let index_key = unwrap_key(old, &context, &wrapped)?;
        let wrapped = wrap_key(new, &context, &index_key, random)?;
        for version in &mut versions {
            if let Some(wrapped) = &mut version.wrapped {
                let context = Context::Kek { vault, namespace, version: version.info.version };
                *wrapped = wrap_key(new, &context, &unwrap_key(old, &context, wrapped.as_slice())?, random)?;
            }
        }
        Ok(record::encode(&Index { epoch, wrapped, key: IndexKey::new(&index_key) }, &versions))
    }

    fn last(&self) -> &Version {
        self.versions.last().expect("create makes one, decode demands one, and the last is never taken away")
    }

    fn position(&self, version: u32) -> Result<usize, CryptoError> {
        self.versions.binary_search_by_key(&version, |one| one.info.version).map_err(|_| CryptoError::NoSuchKey(version))
    }

    /// The active key as the version of that number, wrapped by the system key.
    fn wrap_active(&self, version: u32, system: &Key, random: &dyn Random, created: Timestamp) -> Result<Version, CryptoError> {
        let wrapped = wrap_key(system, &self.kek(version), &self.active, random)?;
        let info = KeyInfo { version, state: KeyState::Active, created };
        Ok(Version { info, wrapped: Some(wrapped), key: Some(self.active.clone()) })
    }

    const fn kek(&self, version: u32) -> Context<'static> {
        Context::Kek { vault: self.vault, namespace: self.namespace, version }
    }
}

#[derive(Debug)]
struct Index {
    epoch: u64,
    wrapped: WrappedKey,
    key: IndexKey,
}

#[derive(Debug, Clone)]
struct Version {
    info: KeyInfo,
    /// Gone once destroyed.
    wrapped: Option<WrappedKey>,
    /// There while in service.
    key: Option<Arc<Key>>,
}

impl Version {
    fn open(&self, context: &Context<'_>, system: &Key) -> Result<Key, CryptoError> {
        let wrapped = self.wrapped.as_ref().ok_or(CryptoError::KeyOutOfService(self.info.version))?;
        unwrap_key(system, context, wrapped)
    }
}

fn forget_oldest_destroyed(versions: &mut Vec<Version>) {
    if versions.len() > REMEMBERED {
        let oldest = versions.iter().position(|version| version.info.state == KeyState::Destroyed);
        oldest.map(|position| versions.remove(position));
    }
}

#[cfg(test)]
mod tests;
