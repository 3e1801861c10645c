//! The header: the one row in the clear. Format 1:
//!
//! ```text
//! 01 ‖ vault_id (16) ‖ epoch (8) ‖ created, ms since 1970 (8) ‖ wrapped system key (113) ‖ number of slots (1)
//!    ‖ for each: slot_id (16) ‖ kind (1) ‖ lp(parameters) ‖ wrapped root key (113)
//!    ‖ HMAC-SHA-256 of all before it (32)
//! ```
//! The HMAC's key is HKDF-Expand(root key, "strongroom/1 header" ‖ 00): whoever holds no slot's secret cannot make a header
//! that opens, and a slot cannot be exchanged for an older one.

use zeroize::Zeroizing;

use crate::crypto::{Context, Key, OVERHEAD_BYTES, Random, decrypt, encrypt, hkdf_expand, hmac_sha256, verify_hmac_sha256};
use crate::model::{SecretBytes, SlotId, Timestamp, VaultId};

use super::passphrase::PassphraseSlot;
use super::{Argon2Parameters, SealError};

const FORMAT: u8 = 1;
const WRAPPED_BYTES: usize = Key::BYTES + OVERHEAD_BYTES;
const HMAC_BYTES: usize = 32;
const HMAC_INFO: &[u8] = b"strongroom/1 header\0";
const FIRST_EPOCH: u64 = 1;
/// Slots of a vault.
const SLOTS: u8 = 16;
const KIND_PASSPHRASE: u8 = 1;

/// A vault's header.
#[derive(Debug, Clone)]
pub struct Header {
    vault: VaultId,
    epoch: u64,
    created: Timestamp,
    wrapped_system: [u8; WRAPPED_BYTES],
    slots: Vec<Slot>,
    hmac: [u8; HMAC_BYTES],
}

#[derive(Debug, Clone)]
struct Slot {
    id: SlotId,
    passphrase: PassphraseSlot,
    wrapped_root: [u8; WRAPPED_BYTES],
}

impl Header {
    /// A new header with one passphrase slot, and the new system key.
    ///
    /// # Errors
    /// The passphrase or the parameters are out of bounds, or the generator failed.
    pub fn create(
        vault: VaultId,
        passphrase: &SecretBytes,
        cost: Argon2Parameters,
        random: &dyn Random,
        now: Timestamp,
    ) -> Result<(Self, Key), SealError> {
        let root = Key::generate(random)?;
        let system = Key::generate(random)?;
        let wrapped_system = wrap(&root, &Context::System { vault, epoch: FIRST_EPOCH }, &system, random)?;
        let slot = Slot::create(vault, passphrase, cost, &root, random)?;
        let mut header = Self { vault, epoch: FIRST_EPOCH, created: now, wrapped_system, slots: vec![slot], hmac: [0; HMAC_BYTES] };
        header.hmac = hmac_sha256(&hmac_key(&root), &[&header.body()]);
        Ok((header, system))
    }

    /// Whose header it is. Not yet proven: [`Header::unseal`] does.
    #[must_use]
    pub const fn vault_id(&self) -> VaultId {
        self.vault
    }

    /// How often the vault's keys began anew.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// When the vault was made.
    #[must_use]
    pub const fn created(&self) -> Timestamp {
        self.created
    }

    /// The system key, by the first slot that this passphrase opens. The root key is wiped before this returns.
    ///
    /// # Errors
    /// [`SealError::WrongPassphrase`]; [`SealError::Damaged`] where a slot opens but the header is not as it was written.
    pub fn unseal(&self, passphrase: &SecretBytes) -> Result<Key, SealError> {
        let root = self.root(passphrase)?;
        if !verify_hmac_sha256(&hmac_key(&root), &self.body(), &self.hmac) {
            return Err(SealError::Damaged);
        }
        let context = Context::System { vault: self.vault, epoch: self.epoch };
        let system = decrypt(&root, &context, &self.wrapped_system).map_err(|_| SealError::Damaged)?;
        Key::from_secret(system).map_err(|_| SealError::Damaged)
    }

    fn root(&self, passphrase: &SecretBytes) -> Result<Key, SealError> {
        for slot in &self.slots {
            if let Some(root) = slot.open(self.vault, passphrase)? {
                return Ok(root);
            }
        }
        Err(SealError::WrongPassphrase)
    }

    /// The row.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [&self.body()[..], &self.hmac].concat()
    }

    fn body(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.extend_from_slice(self.vault.as_bytes());
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.created.unix_ms().to_be_bytes());
        out.extend_from_slice(&self.wrapped_system);
        out.push(u8::try_from(self.slots.len()).expect("at most 16 slots are made or read"));
        self.slots.iter().for_each(|slot| slot.encode(&mut out));
        out
    }

    /// Reads a row. What it says is not to be believed before [`Header::unseal`].
    ///
    /// # Errors
    /// Not a header, or parameters out of bounds.
    pub fn decode(row: &[u8]) -> Result<Self, SealError> {
        let (body, hmac) = row.split_last_chunk::<HMAC_BYTES>().ok_or(SealError::Damaged)?;
        let mut rest = Fields(body);
        if rest.take::<1>()? != &[FORMAT] {
            return Err(SealError::Damaged);
        }
        let vault = VaultId::from_bytes(*rest.take()?);
        let epoch = u64::from_be_bytes(*rest.take()?);
        let created = Timestamp::from_unix_ms(u64::from_be_bytes(*rest.take()?)).map_err(|_| SealError::Damaged)?;
        let wrapped_system = *rest.take()?;
        let count = rest.take::<1>()?[0];
        if count == 0 || count > SLOTS {
            return Err(SealError::Damaged);
        }
        let slots = (0..count).map(|_| Slot::decode(&mut rest)).collect::<Result<Vec<_>, _>>()?;
        if !rest.0.is_empty() {
            return Err(SealError::Damaged);
        }
        Ok(Self { vault, epoch, created, wrapped_system, slots, hmac: *hmac })
    }
}

impl Slot {
    fn create(
        vault: VaultId,
        passphrase: &SecretBytes,
        cost: Argon2Parameters,
        root: &Key,
        random: &dyn Random,
    ) -> Result<Self, SealError> {
        let mut id = [0; 16];
        random.fill(&mut id).map_err(|error| SealError::Crypto(error.into()))?;
        let id = SlotId::from_bytes(id);
        let slot = PassphraseSlot::new(cost, random)?;
        let context = Context::Root { vault, slot: id, kind: KIND_PASSPHRASE, parameters: &slot.encode() };
        let wrapped_root = wrap(&slot.secret(passphrase)?, &context, root, random)?;
        Ok(Self { id, passphrase: slot, wrapped_root })
    }

    /// The root key, or none if the passphrase is another.
    fn open(&self, vault: VaultId, passphrase: &SecretBytes) -> Result<Option<Key>, SealError> {
        let context = Context::Root { vault, slot: self.id, kind: KIND_PASSPHRASE, parameters: &self.passphrase.encode() };
        let secret = self.passphrase.secret(passphrase)?;
        let root = decrypt(&secret, &context, &self.wrapped_root).ok();
        root.map(Key::from_secret).transpose().map_err(|_| SealError::Damaged)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.id.as_bytes());
        out.push(KIND_PASSPHRASE);
        let length = u16::try_from(PassphraseSlot::BYTES).expect("44 bytes");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.passphrase.encode());
        out.extend_from_slice(&self.wrapped_root);
    }

    fn decode(rest: &mut Fields<'_>) -> Result<Self, SealError> {
        let id = SlotId::from_bytes(*rest.take()?);
        let kind = rest.take::<1>()?[0];
        let length = usize::from(u16::from_be_bytes(*rest.take()?));
        let parameters = rest.take_slice(length)?;
        if kind != KIND_PASSPHRASE {
            return Err(SealError::Damaged);
        }
        Ok(Self { id, passphrase: PassphraseSlot::decode(parameters)?, wrapped_root: *rest.take()? })
    }
}

fn hmac_key(root: &Key) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    hkdf_expand(root.expose(), &[HMAC_INFO], &mut key);
    key
}

fn wrap(key: &Key, context: &Context<'_>, wrapped: &Key, random: &dyn Random) -> Result<[u8; WRAPPED_BYTES], SealError> {
    encrypt(key, context, wrapped.expose(), random)?.try_into().map_err(|_| SealError::Damaged)
}

/// The fields of a row, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], SealError> {
        let (field, rest) = self.0.split_first_chunk().ok_or(SealError::Damaged)?;
        self.0 = rest;
        Ok(field)
    }

    fn take_slice(&mut self, length: usize) -> Result<&'a [u8], SealError> {
        let (field, rest) = self.0.split_at_checked(length).ok_or(SealError::Damaged)?;
        self.0 = rest;
        Ok(field)
    }
}
