//! What may be changed by who has opened a slot. Each ceremony gives a new header and leaves the old one as it is: nothing has
//! happened until the new one is in the store. Each looks first whether the header is the one that the opened slot's root key has
//! authenticated, so no changed byte is ever authenticated anew.
//!
//! An older header still opens with what opened it then, and leads to the keys of then. So a slot whose secret has got into wrong
//! hands is removed, and then root key and system key are replaced: only that makes the older header worth nothing.

use std::borrow::Borrow;

use super::{Header, MAX_SLOTS};
use crate::crypto::{Context, Key, QuorumSize, Random, wrap_key};
use crate::model::{Invalid, SlotId, Timestamp};
use crate::seal::slot::Slot;
use crate::seal::{Argon2Parameters, OpenSlot, Passphrase, SealError, Share, TokenKey};

/// What replacing the system key gives.
#[derive(Debug)]
pub struct ReplacedSystemKey {
    /// The header that leads to the new key.
    pub header: Header,
    /// The key that everything is still encrypted under. No header leads to it any more: whoever puts the new header into the store
    /// must put this key there, wrapped under the new one, in the same commit, and keep it until nothing needs it.
    pub old: Key,
    /// The key that the header leads to.
    pub new: Key,
}

impl Header {
    /// With one more passphrase slot, at the end. Takes as long as Argon2id does.
    ///
    /// # Errors
    /// [`SealError::TooManySlots`]; [`SealError::Tampered`]; [`SealError::Random`], [`SealError::OutOfMemory`].
    pub fn with_passphrase(
        &self,
        open: &OpenSlot,
        passphrase: &Passphrase,
        parameters: Argon2Parameters,
        random: &dyn Random,
        now: Timestamp,
    ) -> Result<(Self, SlotId), SealError> {
        self.may_grow(open)?;
        let (slot, _) = Slot::for_passphrase(self.vault, &open.root, passphrase, parameters, random, now)?;
        Ok(self.with_slot(open, slot))
    }

    /// With one more quorum slot, at the end, and its shares, which are to be given to one person each and exist nowhere else.
    ///
    /// # Errors
    /// [`SealError::TooManySlots`]; [`SealError::Tampered`]; [`SealError::Random`].
    pub fn with_quorum(
        &self,
        open: &OpenSlot,
        size: QuorumSize,
        random: &dyn Random,
        now: Timestamp,
    ) -> Result<(Self, SlotId, Vec<Share>), SealError> {
        self.may_grow(open)?;
        let (slot, _, shares) = Slot::for_quorum(self.vault, &open.root, size, random, now)?;
        let (header, id) = self.with_slot(open, slot);
        Ok((header, id, shares))
    }

    /// With one more slot, at the end, that this key of an HSM opens. Takes as long as the HSM does, twice.
    ///
    /// # Errors
    /// [`SealError::TooManySlots`]; [`SealError::Tampered`]; [`SealError::Token`]: the HSM did not do it, or does not give back what
    /// it was given; [`SealError::Random`].
    pub async fn with_token(
        &self,
        open: &OpenSlot,
        token: &dyn TokenKey,
        random: &dyn Random,
        now: Timestamp,
    ) -> Result<(Self, SlotId), SealError> {
        self.may_grow(open)?;
        let slot = Slot::for_token(self.vault, &open.root, token, random, now).await?;
        Ok(self.with_slot(open, slot))
    }

    /// Without a slot, be it the opened one.
    ///
    /// # Errors
    /// [`SealError::NoSuchSlot`]; [`SealError::LastSlot`]; [`SealError::Tampered`].
    pub fn without_slot(&self, open: &OpenSlot, slot: SlotId) -> Result<Self, SealError> {
        self.authenticate(&open.root)?;
        self.slot(slot)?;
        if self.slots.len() == 1 {
            return Err(SealError::LastSlot);
        }
        let mut header = self.clone();
        header.slots.retain(|kept| kept.id != slot);
        Ok(header.authenticated_by(&open.root))
    }

    /// With a new root key. The opened slots lead to it, with the same passphrases, shares and HSMs as before; the others cannot be taken
    /// along, and must be named as dropped. The system key stays, wrapped anew.
    ///
    /// # Errors
    /// [`SealError::SlotUnaccounted`]: a slot is neither opened nor named; [`SealError::SlotNamedTwice`]: one is both, or twice in a
    /// list; [`SealError::NoSuchSlot`]; [`SealError::LastSlot`]: none would be left; [`SealError::Tampered`]; [`SealError::Random`].
    pub fn with_new_root<S: Borrow<OpenSlot>>(&self, opened: &[S], dropped: &[SlotId], random: &dyn Random) -> Result<Self, SealError> {
        let opened: Vec<&OpenSlot> = opened.iter().map(Borrow::borrow).collect();
        let first = opened.first().ok_or(SealError::LastSlot)?;
        let system = self.system_key(first)?;
        self.accounts_for_each_slot(&opened, dropped)?;
        let root = Key::generate(random)?;
        let mut slots = Vec::with_capacity(opened.len());
        for slot in &self.slots {
            if let Some(open) = opened.iter().find(|open| open.id == slot.id) {
                slots.push(slot.clone().rewrapped(self.vault, &open.secret, &root, random)?);
            }
        }
        let wrapped_system = wrap_key(&root, &Context::System { vault: self.vault, epoch: self.epoch }, &system, random)?;
        Ok(Self { slots, wrapped_system, ..self.clone() }.authenticated_by(&root))
    }

    /// With a new system key, of the next epoch. The slots stay as they are.
    ///
    /// # Errors
    /// [`SealError::Tampered`]; [`SealError::Random`]; [`SealError::Malformed`] at the end of all epochs, 2^64.
    pub fn with_new_system_key(&self, open: &OpenSlot, random: &dyn Random) -> Result<ReplacedSystemKey, SealError> {
        let (old, new) = (self.system_key(open)?, Key::generate(random)?);
        let epoch = self.epoch.checked_add(1).ok_or(SealError::Malformed(Invalid("there is no epoch after this one")))?;
        let wrapped_system = wrap_key(&open.root, &Context::System { vault: self.vault, epoch }, &new, random)?;
        let header = Self { epoch, wrapped_system, ..self.clone() }.authenticated_by(&open.root);
        Ok(ReplacedSystemKey { header, old, new })
    }

    fn may_grow(&self, open: &OpenSlot) -> Result<(), SealError> {
        self.authenticate(&open.root)?;
        if self.slots.len() < MAX_SLOTS { Ok(()) } else { Err(SealError::TooManySlots) }
    }

    fn with_slot(&self, open: &OpenSlot, slot: Slot) -> (Self, SlotId) {
        let id = slot.id;
        let mut header = self.clone();
        header.slots.push(slot);
        (header.authenticated_by(&open.root), id)
    }

    fn slot(&self, id: SlotId) -> Result<&Slot, SealError> {
        self.slots.iter().find(|slot| slot.id == id).ok_or(SealError::NoSuchSlot(id))
    }

    /// Each slot is opened or named, once, and what was opened are slots of this header as they stand in it.
    fn accounts_for_each_slot(&self, opened: &[&OpenSlot], dropped: &[SlotId]) -> Result<(), SealError> {
        let named: Vec<_> = opened.iter().map(|open| open.id()).chain(dropped.iter().copied()).collect();
        for (at, id) in named.iter().enumerate() {
            self.slot(*id)?;
            if named[..at].contains(id) {
                return Err(SealError::SlotNamedTwice(*id));
            }
        }
        if let Some(forgotten) = self.slots.iter().find(|slot| !named.contains(&slot.id)) {
            return Err(SealError::SlotUnaccounted(forgotten.id));
        }
        for open in opened {
            self.authenticate(&open.root)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
