//! A slot: one independent way to the root key, as in LUKS. Each has an id, a kind with its parameters, and the root key wrapped
//! under the secret that the kind leads to. Who opens one slot has the root key; a burnt slot is removed from the header.

use super::{Argon2Parameters, Passphrase, SealError};
use crate::crypto::codec::{Reader, put_length_prefixed};
use crate::crypto::{Context, CryptoError, Key, Random, WrappedKey, unwrap_key, wrap_key};
use crate::model::{Invalid, SlotId, Timestamp, VaultId};

/// The kinds of slots. The type byte and the parameters are authenticated with the wrapped root key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotKind {
    /// Type byte 1: a passphrase, through Argon2id of this cost.
    Passphrase(Argon2Parameters),
}

impl SlotKind {
    /// The word for it, for `status`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passphrase(_) => "passphrase",
        }
    }

    const fn type_byte(self) -> u8 {
        match self {
            Self::Passphrase(_) => 1,
        }
    }
}

/// One slot of a header.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) id: SlotId,
    pub(super) kind: SlotKind,
    pub(super) created: Timestamp,
    salt: [u8; 32],
    wrapped_root: WrappedKey,
}

impl Slot {
    /// A new passphrase slot for this root key.
    pub(super) fn for_passphrase(
        vault: VaultId,
        root: &Key,
        passphrase: &Passphrase,
        parameters: Argon2Parameters,
        random: &dyn Random,
        created: Timestamp,
    ) -> Result<Self, SealError> {
        let (mut id, mut salt) = ([0; 16], [0; 32]);
        random.fill(&mut id)?;
        random.fill(&mut salt)?;
        let kind = SlotKind::Passphrase(parameters);
        let mut slot = Self { id: SlotId::from_bytes(id), kind, created, salt, wrapped_root: [0; _] };
        let secret = slot.secret(passphrase)?;
        slot.wrapped_root = wrap_key(&secret, &slot.context(vault, &slot.parameters()), root, random)?;
        Ok(slot)
    }

    /// The slot's secret: what a passphrase leads to here, whether or not it is the right one.
    pub(super) fn secret(&self, passphrase: &Passphrase) -> Result<Key, SealError> {
        let SlotKind::Passphrase(parameters) = self.kind;
        parameters.derive(passphrase, &self.salt)
    }

    /// The root key, if this is the slot's secret.
    pub(super) fn open(&self, vault: VaultId, secret: &Key) -> Result<Key, CryptoError> {
        unwrap_key(secret, &self.context(vault, &self.parameters()), &self.wrapped_root)
    }

    /// `id 16 ‖ type u8 ‖ created u64 ‖ lp(parameters) ‖ wrapped root key 113`.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.id.as_bytes());
        out.push(self.kind.type_byte());
        out.extend_from_slice(&self.created.unix_ms().to_be_bytes());
        put_length_prefixed(out, &self.parameters()).expect("parameters of a passphrase slot are 44 bytes");
        out.extend_from_slice(&self.wrapped_root);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        let id = SlotId::from_bytes(reader.array()?);
        if reader.u8()? != 1 {
            return Err(Invalid("unknown type of slot"));
        }
        let created = Timestamp::from_unix_ms(reader.u64()?)?;
        let mut parameters = Reader::new(reader.length_prefixed()?);
        let kind = SlotKind::Passphrase(Argon2Parameters::read(parameters.u32()?, parameters.u32()?, parameters.u32()?)?);
        let salt = parameters.array()?;
        parameters.finish()?;
        Ok(Self { id, kind, created, salt, wrapped_root: reader.array()? })
    }

    /// `memory in KiB u32 ‖ passes u32 ‖ lanes u32 ‖ salt 32`.
    fn parameters(&self) -> Vec<u8> {
        let SlotKind::Passphrase(parameters) = self.kind;
        [&parameters.encode()[..], &self.salt].concat()
    }

    const fn context<'a>(&self, vault: VaultId, parameters: &'a [u8]) -> Context<'a> {
        Context::Root { vault, slot: self.id, kind: self.kind.type_byte(), parameters }
    }
}
