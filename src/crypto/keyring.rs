//! The keyring of a namespace: the versions of its key-encryption key, and its index key.
//!
//! Record, format 1, which the vault encrypts once more as a row under the system key:
//!
//! ```text
//! 01 ‖ index epoch (8) ‖ wrapped index key (113) ‖ number of versions (2)
//!    ‖ for each: version (4) ‖ state (1) ‖ created, ms since 1970 (8) ‖ wrapped KEK (113)
//! ```

use std::sync::Arc;

use crate::model::{NamespaceId, Timestamp, VaultId};

use super::{Context, CryptoError, IndexKey, Key, OVERHEAD_BYTES, Random, decrypt, encrypt};

/// The name of the one construction, for inventories.
pub const ALGORITHM: &str = "AES-256-GCM-HKDF-SHA256-COMMIT";

const FORMAT: u8 = 1;
const WRAPPED_BYTES: usize = Key::BYTES + OVERHEAD_BYTES;
const FIRST_EPOCH: u64 = 1;

/// What a key version may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyState {
    /// Encrypts and decrypts; exactly one is.
    Active = 1,
    /// Decrypts.
    DecryptOnly = 2,
    /// Nothing, until it is enabled again.
    Disabled = 3,
    /// Nothing, and it will be destroyed.
    Scheduled = 4,
    /// Is no more: its wrapped key is zeros.
    Destroyed = 5,
}

/// The key versions of a namespace. A change makes a new keyring, which shares the keys that stay.
#[derive(Clone)]
pub struct Keyring {
    versions: Vec<KeyVersion>,
    wrapped_index: [u8; WRAPPED_BYTES],
    index_epoch: u64,
}

#[derive(Clone)]
struct KeyVersion {
    number: u32,
    state: KeyState,
    created: Timestamp,
    wrapped: [u8; WRAPPED_BYTES],
    /// None once it is destroyed.
    key: Option<Arc<Key>>,
}

impl KeyState {
    fn from_byte(byte: u8) -> Result<Self, CryptoError> {
        [Self::Active, Self::DecryptOnly, Self::Disabled, Self::Scheduled, Self::Destroyed]
            .into_iter()
            .find(|state| *state as u8 == byte)
            .ok_or(CryptoError::Malformed)
    }

    const fn decrypts(self) -> bool {
        matches!(self, Self::Active | Self::DecryptOnly)
    }
}

impl Keyring {
    /// A keyring with version 1, and the namespace's index key.
    ///
    /// # Errors
    /// The generator failed.
    pub fn create(
        system_key: &Key,
        vault: VaultId,
        namespace: NamespaceId,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<(Self, IndexKey), CryptoError> {
        let index = IndexKey::new(Key::generate(random)?);
        let context = Context::Index { vault, namespace, epoch: FIRST_EPOCH };
        let wrapped_index = wrap(system_key, &context, index.key(), random)?;
        let first = KeyVersion::generate(system_key, vault, namespace, 1, now, random)?;
        Ok((Self { versions: vec![first], wrapped_index, index_epoch: FIRST_EPOCH }, index))
    }

    /// The keyring with a new active version; the one that was active decrypts from now on.
    ///
    /// # Errors
    /// The generator failed, or the numbers are used up.
    pub fn rotate(
        &self,
        system_key: &Key,
        vault: VaultId,
        namespace: NamespaceId,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<Self, CryptoError> {
        let newest = self.versions.last().ok_or(CryptoError::Malformed)?.number;
        let number = newest.checked_add(1).ok_or(CryptoError::KeyUnavailable)?;
        let mut next = self.clone();
        let active = next.versions.iter_mut().filter(|version| version.state == KeyState::Active);
        active.for_each(|version| version.state = KeyState::DecryptOnly);
        next.versions.push(KeyVersion::generate(system_key, vault, namespace, number, now, random)?);
        Ok(next)
    }

    /// The version that encrypts.
    #[must_use]
    pub fn active(&self) -> (u32, &Key) {
        let active = self.versions.iter().rev().find(|version| version.state == KeyState::Active);
        let with_key = active.and_then(|version| Some((version.number, version.key.as_deref()?)));
        with_key.expect("no keyring is made or read without an active version, which has a key")
    }

    /// The key that decrypts what this version encrypted.
    ///
    /// # Errors
    /// [`CryptoError::KeyUnavailable`].
    pub fn for_decrypt(&self, number: u32) -> Result<&Key, CryptoError> {
        let found = self.versions.iter().rev().find(|version| version.number == number && version.state.decrypts());
        found.and_then(|version| version.key.as_deref()).ok_or(CryptoError::KeyUnavailable)
    }

    /// Number, state and birth of each version, the oldest first.
    #[must_use]
    pub fn inventory(&self) -> Vec<(u32, KeyState, Timestamp)> {
        self.versions.iter().map(|version| (version.number, version.state, version.created)).collect()
    }

    /// The record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.extend_from_slice(&self.index_epoch.to_be_bytes());
        out.extend_from_slice(&self.wrapped_index);
        let count = u16::try_from(self.versions.len()).expect("a keyring has at most 256 versions");
        out.extend_from_slice(&count.to_be_bytes());
        for version in &self.versions {
            out.extend_from_slice(&version.number.to_be_bytes());
            out.push(version.state as u8);
            out.extend_from_slice(&version.created.unix_ms().to_be_bytes());
            out.extend_from_slice(&version.wrapped);
        }
        out
    }

    /// Reads a record and unwraps its keys.
    ///
    /// # Errors
    /// Malformed, or a key is refused.
    pub fn decode(record: &[u8], system_key: &Key, vault: VaultId, namespace: NamespaceId) -> Result<(Self, IndexKey), CryptoError> {
        let mut rest = Fields(record);
        if rest.take::<1>()? != &[FORMAT] {
            return Err(CryptoError::Malformed);
        }
        let index_epoch = u64::from_be_bytes(*rest.take()?);
        let wrapped_index = *rest.take::<WRAPPED_BYTES>()?;
        let context = Context::Index { vault, namespace, epoch: index_epoch };
        let index = IndexKey::new(Key::from_secret(decrypt(system_key, &context, &wrapped_index)?)?);
        let count = u16::from_be_bytes(*rest.take()?);
        let versions = (0..count).map(|_| KeyVersion::decode(&mut rest, system_key, vault, namespace)).collect::<Result<Vec<_>, _>>()?;
        let keyring = Self { versions, wrapped_index, index_epoch };
        if !rest.0.is_empty() || !keyring.is_sound() {
            return Err(CryptoError::Malformed);
        }
        Ok((keyring, index))
    }

    /// Numbers rise, and one version is active.
    fn is_sound(&self) -> bool {
        let rises = self.versions.windows(2).all(|pair| pair[0].number < pair[1].number);
        rises && self.versions.iter().filter(|version| version.state == KeyState::Active).count() == 1
    }
}

impl KeyVersion {
    fn generate(
        system_key: &Key,
        vault: VaultId,
        namespace: NamespaceId,
        number: u32,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<Self, CryptoError> {
        let key = Key::generate(random)?;
        let wrapped = wrap(system_key, &Context::Kek { vault, namespace, version: number }, &key, random)?;
        Ok(Self { number, state: KeyState::Active, created: now, wrapped, key: Some(Arc::new(key)) })
    }

    fn decode(rest: &mut Fields<'_>, system_key: &Key, vault: VaultId, namespace: NamespaceId) -> Result<Self, CryptoError> {
        let number = u32::from_be_bytes(*rest.take()?);
        let state = KeyState::from_byte(rest.take::<1>()?[0])?;
        let created = Timestamp::from_unix_ms(u64::from_be_bytes(*rest.take()?)).map_err(|_| CryptoError::Malformed)?;
        let wrapped = *rest.take::<WRAPPED_BYTES>()?;
        let context = Context::Kek { vault, namespace, version: number };
        let key = match state {
            KeyState::Destroyed => None,
            _ => Some(Arc::new(Key::from_secret(decrypt(system_key, &context, &wrapped)?)?)),
        };
        Ok(Self { number, state, created, wrapped, key })
    }
}

fn wrap(system_key: &Key, context: &Context<'_>, key: &Key, random: &dyn Random) -> Result<[u8; WRAPPED_BYTES], CryptoError> {
    encrypt(system_key, context, key.expose(), random)?.try_into().map_err(|_| CryptoError::Malformed)
}

/// Fields of a fixed length, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], CryptoError> {
        let (field, rest) = self.0.split_first_chunk().ok_or(CryptoError::Malformed)?;
        self.0 = rest;
        Ok(field)
    }
}
