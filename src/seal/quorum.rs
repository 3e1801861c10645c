//! Collecting the shares of a quorum slot until they open it.
//!
//! What has been collected is not known to be right before there are as many shares as the slot needs; then all of it is, or none of
//! it is kept. Nobody is told which share was wrong: that cannot be known from shares alone.

use std::mem;

use subtle::ConstantTimeEq;

use super::{Header, OpenSlot, SealError, Share, ShareError};
use crate::crypto::{QuorumSize, combine_key};
use crate::model::{SlotId, VaultId};

/// The shares of one slot that have been given so far. Wiped when dropped; `Debug` shows their numbers alone.
#[derive(Debug)]
pub struct Quorum {
    vault: VaultId,
    slot: SlotId,
    size: QuorumSize,
    shares: Vec<Share>,
}

/// What came of a share.
#[derive(Debug)]
pub enum Added {
    /// It was taken; more are needed.
    Waiting,
    /// The very same share was there already: nothing changed.
    Repeated,
    /// It was the last one needed: the slot is open, and the collection is empty again.
    Open(OpenSlot),
}

impl Quorum {
    pub(super) const fn new(vault: VaultId, slot: SlotId, size: QuorumSize) -> Self {
        Self { vault, slot, size, shares: Vec::new() }
    }

    /// The slot whose shares are collected.
    #[must_use]
    pub const fn slot(&self) -> SlotId {
        self.slot
    }

    /// How many shares open the slot, and how many there are.
    #[must_use]
    pub const fn size(&self) -> QuorumSize {
        self.size
    }

    /// How many different shares have been given.
    #[must_use]
    pub const fn present(&self) -> usize {
        self.shares.len()
    }

    /// Takes a share. The last one needed opens the slot of `header`, or everything is forgotten.
    ///
    /// # Errors
    /// [`SealError::Share`]: another vault's or slot's share, or a number that is impossible or was given with another value; the
    /// collection is as it was. [`SealError::QuorumFailed`], [`SealError::NoSuchSlot`] and [`SealError::Tampered`]: there were enough
    /// shares, and the slot did not open, is gone, or opened in a header that is not the one that its root key has authenticated;
    /// the collection is empty.
    pub fn add(&mut self, header: &Header, share: Share) -> Result<Added, SealError> {
        if let Some(there) = self.equal_number(&share)? {
            let same = bool::from(there.point().value.expose().ct_eq(share.point().value.expose()));
            return if same { Ok(Added::Repeated) } else { Err(ShareError::OtherValue(share.index()).into()) };
        }
        self.shares.push(share);
        if self.shares.len() < usize::from(self.size.threshold()) {
            return Ok(Added::Waiting);
        }
        let shares = mem::take(&mut self.shares);
        let secret = combine_key(shares.iter().map(Share::point))?;
        header.open_quorum(self.vault, self.slot, self.size, secret).map(Added::Open)
    }

    /// Forgets every share that has been given.
    pub fn forget(&mut self) {
        self.shares.clear();
    }

    /// The share that is there under this one's number, if this one can belong here at all.
    fn equal_number(&self, share: &Share) -> Result<Option<&Share>, ShareError> {
        if !share.is_of_vault(self.vault) {
            return Err(ShareError::OtherVault);
        }
        if !share.is_of_slot(self.slot) {
            return Err(ShareError::OtherSlot);
        }
        if share.index() > self.size.shares() {
            return Err(ShareError::NoSuchIndex(share.index()));
        }
        Ok(self.shares.iter().find(|there| there.index() == share.index()))
    }
}

#[cfg(test)]
mod tests;
