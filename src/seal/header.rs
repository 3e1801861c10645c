//! The header: the one row of the store that is not encrypted. It leads from a slot to the system key.
//!
//! ```text
//! 01 ‖ vault_id 16 ‖ epoch u64 ‖ created u64 ‖ slots u8 ‖ slot … ‖ wrapped system key 113 ‖ HMAC 32
//! slot: id 16 ‖ type u8 ‖ created u64 ‖ lp(parameters) ‖ wrapped root key 113
//! HMAC-SHA-256 under HKDF-Expand(root key, "strongroom/1 header" ‖ 00), over all bytes before it
//! ```
//!
//! Whoever can write to the store can replace the whole header by that of a vault of his own: that is for the caller to see, who
//! compares [`Header::vault_id`] with the pinned one before anybody types a passphrase or a share.

use std::fmt;

use ring::hmac;

use super::slot::Slot;
use super::{Argon2Parameters, OpenSlot, Passphrase, Quorum, SealError, Share, ShareError, SlotKind, TokenError, TokenKey};
use crate::crypto::codec::Reader;
use crate::crypto::{Context, CryptoError, Key, QuorumSize, Random, WrappedKey, header_mac_key, unwrap_key, wrap_key};
use crate::memory::leaving_no_trace;
use crate::model::{Invalid, SlotId, Timestamp, VaultId};

mod ceremony;

pub use ceremony::ReplacedSystemKey;

/// The key of the header's row.
pub const HEADER_ROW_KEY: &[u8] = b"H";

const FORMAT: u8 = 1;
const MAC_BYTES: usize = 32;

/// More of the stack than HKDF and HMAC use: 2.5 KiB.
const STACK_BYTES: usize = 8192;

/// Each slot that a passphrase is tried on costs a run of Argon2id.
const MAX_SLOTS: usize = 8;

/// What may be told of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotInfo {
    /// Its id.
    pub id: SlotId,
    /// What opens it.
    pub kind: SlotKind,
    /// When it was made.
    pub created: Timestamp,
}

/// A header, as read or as made. Reading checks its form only; whether it is authentic shows when it is unsealed.
#[derive(Clone)]
pub struct Header {
    vault: VaultId,
    epoch: u64,
    created: Timestamp,
    slots: Vec<Slot>,
    wrapped_system: WrappedKey,
    mac: [u8; MAC_BYTES],
}

/// A header that was just made, and what belongs to it.
#[derive(Debug)]
pub struct NewHeader {
    /// The header.
    pub header: Header,
    /// The system key that it protects.
    pub system_key: Key,
    /// Its one slot, open.
    pub open: OpenSlot,
    /// The slot's shares, if it has any.
    pub shares: Vec<Share>,
}

impl NewHeader {
    fn over(vault: VaultId, slot: Slot, open: OpenSlot, system_key: Key, random: &dyn Random) -> Result<Self, SealError> {
        let wrapped_system = wrap_key(&open.root, &Context::System { vault, epoch: 1 }, &system_key, random)?;
        let header = Header { vault, epoch: 1, created: slot.created, slots: vec![slot], wrapped_system, mac: [0; MAC_BYTES] };
        Ok(Self { header: header.authenticated_by(&open.root), system_key, open, shares: Vec::new() })
    }
}

impl Header {
    /// A new vault's header with one passphrase slot, and the system key that it protects. Epoch 1.
    ///
    /// # Errors
    /// [`SealError::Random`], [`SealError::OutOfMemory`].
    pub fn create(
        vault: VaultId,
        passphrase: &Passphrase,
        parameters: Argon2Parameters,
        random: &dyn Random,
        now: Timestamp,
    ) -> Result<(Self, Key), SealError> {
        Self::create_with_passphrase(vault, passphrase, parameters, random, now).map(|new| (new.header, new.system_key))
    }

    /// The same, with the slot open, for who adds another one at once.
    ///
    /// # Errors
    /// As for [`Header::create`].
    pub fn create_with_passphrase(
        vault: VaultId,
        passphrase: &Passphrase,
        parameters: Argon2Parameters,
        random: &dyn Random,
        now: Timestamp,
    ) -> Result<NewHeader, SealError> {
        let (root, system) = (Key::generate(random)?, Key::generate(random)?);
        let (slot, secret) = Slot::for_passphrase(vault, &root, passphrase, parameters, random, now)?;
        let open = OpenSlot { id: slot.id, secret, root };
        NewHeader::over(vault, slot, open, system, random)
    }

    /// A new vault's header with one quorum slot, whose shares are to be given to one person each and exist nowhere else. Epoch 1.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn create_with_quorum(vault: VaultId, size: QuorumSize, random: &dyn Random, now: Timestamp) -> Result<NewHeader, SealError> {
        let (root, system) = (Key::generate(random)?, Key::generate(random)?);
        let (slot, secret, shares) = Slot::for_quorum(vault, &root, size, random, now)?;
        let open = OpenSlot { id: slot.id, secret, root };
        let new = NewHeader::over(vault, slot, open, system, random)?;
        Ok(NewHeader { shares, ..new })
    }

    /// The system key, for who knows the passphrase of a slot: [`Header::open`] and [`Header::system_key`] in one.
    ///
    /// # Errors
    /// As for these two.
    pub fn unseal(&self, passphrase: &Passphrase) -> Result<Key, SealError> {
        self.system_key(&self.open(passphrase)?)
    }

    /// Opens a passphrase slot, whichever it is that this passphrase opens. Slots are tried one after the other, each at the cost of
    /// its Argon2id parameters: not for an asynchronous thread.
    ///
    /// # Errors
    /// [`SealError::NoSlotOpens`]; [`SealError::Tampered`], which only who knows a passphrase can come to see;
    /// [`SealError::OutOfMemory`].
    pub fn open(&self, passphrase: &Passphrase) -> Result<OpenSlot, SealError> {
        self.open_with(|slot| slot.secret(passphrase))
    }

    /// Opens this passphrase slot and no other: the proof that its passphrase is still known. A quorum's proof is [`Header::quorum`].
    ///
    /// # Errors
    /// As for [`Header::open`]; [`SealError::NoSuchSlot`].
    pub fn open_slot(&self, slot: SlotId, passphrase: &Passphrase) -> Result<OpenSlot, SealError> {
        let is_asked_for = |info: SlotInfo| info.id == slot && matches!(info.kind, SlotKind::Passphrase(_));
        if !self.slots().any(is_asked_for) {
            return Err(SealError::NoSuchSlot(slot));
        }
        self.open_with(|candidate| if candidate.id == slot { candidate.secret(passphrase) } else { Ok(None) })
    }

    /// An empty collection of this quorum slot's shares.
    ///
    /// # Errors
    /// [`SealError::NoSuchSlot`].
    pub fn quorum(&self, slot: SlotId) -> Result<Quorum, SealError> {
        let size = self.slots().find_map(|info| match info.kind {
            SlotKind::Quorum(size) if info.id == slot => Some(size),
            _ => None,
        });
        Ok(Quorum::new(self.vault, slot, size.ok_or(SealError::NoSuchSlot(slot))?))
    }

    /// An empty collection of the shares of the slot that this share belongs to; the share is not added yet.
    ///
    /// # Errors
    /// [`SealError::Share`]: it belongs to no slot here.
    pub fn quorum_of(&self, share: &Share) -> Result<Quorum, SealError> {
        if !share.is_of_vault(self.vault) {
            return Err(ShareError::OtherVault.into());
        }
        let quorums = self.slots().filter(|info| matches!(info.kind, SlotKind::Quorum(_)));
        let slot = quorums.map(|info| info.id).find(|id| share.is_of_slot(*id)).ok_or(ShareError::OtherSlot)?;
        self.quorum(slot)
    }

    /// Opens this slot with the HSM that made it. Takes as long as the HSM does.
    ///
    /// # Errors
    /// [`SealError::NoSuchSlot`]: there is none, or the slot is another key's; [`SealError::Token`]: the HSM did not do it, or answered
    /// with other bytes; [`SealError::Tampered`].
    pub async fn open_token(&self, slot: SlotId, token: &dyn TokenKey) -> Result<OpenSlot, SealError> {
        let missing = SealError::NoSuchSlot(slot);
        let slot = self.slots.iter().find(|candidate| candidate.id == slot).ok_or(missing)?;
        let secret = slot.token_secret(self.vault, token).await?.ok_or(missing)?;
        let root = slot.open(self.vault, &secret).map_err(|error| match error {
            CryptoError::Refused => TokenError::WrongAnswer.into(),
            other => SealError::from(other),
        })?;
        self.authenticate(&root)?;
        Ok(OpenSlot { id: slot.id, secret, root })
    }

    /// The system key, for who has opened a slot.
    ///
    /// # Errors
    /// [`SealError::Tampered`]: the slot's root key is not the one that has authenticated this header.
    pub fn system_key(&self, open: &OpenSlot) -> Result<Key, SealError> {
        self.authenticate(&open.root)?;
        unwrap_key(&open.root, &Context::System { vault: self.vault, epoch: self.epoch }, &self.wrapped_system)
            .map_err(|_| SealError::Tampered)
    }

    /// Tries the secret that `secret_of` has for each slot.
    fn open_with(&self, secret_of: impl Fn(&Slot) -> Result<Option<Key>, SealError>) -> Result<OpenSlot, SealError> {
        for slot in &self.slots {
            let Some(secret) = secret_of(slot)? else { continue };
            match slot.open(self.vault, &secret) {
                Ok(root) => {
                    self.authenticate(&root)?;
                    return Ok(OpenSlot { id: slot.id, secret, root });
                }
                Err(CryptoError::Refused) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(SealError::NoSlotOpens)
    }

    /// Opens a quorum slot with the secret that its shares combine to, right or wrong.
    pub(super) fn open_quorum(&self, vault: VaultId, slot: SlotId, size: QuorumSize, secret: Key) -> Result<OpenSlot, SealError> {
        let is_asked_for = |candidate: &&Slot| vault == self.vault && candidate.id == slot && candidate.kind() == SlotKind::Quorum(size);
        let slot = self.slots.iter().find(is_asked_for).ok_or(SealError::NoSuchSlot(slot))?;
        let root = slot.open(self.vault, &secret).map_err(|error| match error {
            CryptoError::Refused => SealError::QuorumFailed,
            other => other.into(),
        })?;
        self.authenticate(&root)?;
        Ok(OpenSlot { id: slot.id, secret, root })
    }

    /// Whether the header is, byte for byte, what the holder of this root key made.
    fn authenticate(&self, root: &Key) -> Result<(), SealError> {
        if mac_is_right(root, &self.authenticated_bytes(), &self.mac) { Ok(()) } else { Err(SealError::Tampered) }
    }

    /// The vault that the header says it is of.
    #[must_use]
    pub const fn vault_id(&self) -> VaultId {
        self.vault
    }

    /// The system key's number.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// When the vault was made.
    #[must_use]
    pub const fn created(&self) -> Timestamp {
        self.created
    }

    /// The slots, oldest first.
    pub fn slots(&self) -> impl Iterator<Item = SlotInfo> {
        self.slots.iter().map(|slot| SlotInfo { id: slot.id, kind: slot.kind(), created: slot.created })
    }

    /// The row's value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.authenticated_bytes();
        out.extend_from_slice(&self.mac);
        out
    }

    /// Reads a row's value, which may be anything.
    ///
    /// # Errors
    /// [`SealError::Malformed`].
    pub fn decode(row: &[u8]) -> Result<Self, SealError> {
        read(row).map_err(SealError::Malformed)
    }

    /// With the HMAC that makes it valid.
    fn authenticated_by(mut self, root: &Key) -> Self {
        self.mac = mac(root, &self.authenticated_bytes());
        self
    }

    fn authenticated_bytes(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.extend_from_slice(self.vault.as_bytes());
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.created.unix_ms().to_be_bytes());
        out.push(u8::try_from(self.slots.len()).expect("a header has 8 slots at most"));
        self.slots.iter().for_each(|slot| slot.encode(&mut out));
        out.extend_from_slice(&self.wrapped_system);
        out
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header").field("vault", &self.vault).field("epoch", &self.epoch).field("slots", &self.slots.len()).finish()
    }
}

fn read(row: &[u8]) -> Result<Header, Invalid> {
    let mut reader = Reader::new(row);
    if reader.u8()? != FORMAT {
        return Err(Invalid("unknown format"));
    }
    let vault = VaultId::from_bytes(reader.array()?);
    let (epoch, created) = (reader.u64()?, Timestamp::from_unix_ms(reader.u64()?)?);
    let count = usize::from(reader.u8()?);
    if count == 0 || count > MAX_SLOTS {
        return Err(Invalid("a header has 1 to 8 slots"));
    }
    let slots = (0..count).map(|_| Slot::decode(&mut reader)).collect::<Result<_, _>>()?;
    let header = Header { vault, epoch, created, slots, wrapped_system: reader.array()?, mac: reader.array()? };
    reader.finish()?;
    Ok(header)
}

fn mac(root: &Key, bytes: &[u8]) -> [u8; MAC_BYTES] {
    let tag = leaving_no_trace::<STACK_BYTES, _>(|| hmac::sign(&header_mac_key(root), bytes));
    tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn mac_is_right(root: &Key, bytes: &[u8], mac: &[u8; MAC_BYTES]) -> bool {
    leaving_no_trace::<STACK_BYTES, _>(|| hmac::verify(&header_mac_key(root), bytes, mac).is_ok())
}

#[cfg(test)]
mod tests;
