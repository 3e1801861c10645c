//! A vault that opens by itself, with the key of an HSM.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::gate::{Permit, Unreleased};
use crate::model::{HsmName, SlotId, Timestamp, VaultId};
use crate::seal::{Header, OpenSlot, SlotInfo, SlotKind, TokenKey};

use super::{Error, Vault, author};

/// The keys in HSMs that the configuration names.
#[derive(Clone, Default)]
pub struct Tokens(pub BTreeMap<HsmName, Arc<dyn TokenKey>>);

/// Why a vault that may open itself has not done so yet.
#[derive(Debug)]
pub struct Waiting {
    /// Since when that is the reason.
    pub since: Timestamp,
    /// What is wrong and what to do.
    pub why: String,
}

impl Tokens {
    /// The one of this name.
    ///
    /// # Errors
    /// The configuration names none.
    pub(super) fn named(&self, hsm: &HsmName) -> Result<&Arc<dyn TokenKey>, Error> {
        self.0.get(hsm).ok_or(Error::State("the server's configuration names no HSM of this name: add it to [[hsm]], and restart"))
    }

    /// Whether this slot is one that they open.
    pub(super) fn know(&self, info: &SlotInfo) -> bool {
        matches!(info.kind, SlotKind::Token(labels) if self.0.values().any(|token| token.labels() == labels))
    }

    /// The slots that they open, but for those that are left out. What an HSM does not open is left to whoever can.
    pub(super) async fn open_slots(&self, header: &Header, left_out: impl Fn(SlotId) -> bool) -> Vec<OpenSlot> {
        let mut opened = Vec::new();
        for info in header.slots().filter(|info| !left_out(info.id)) {
            let SlotKind::Token(labels) = info.kind else { continue };
            let Some(token) = self.0.values().find(|token| token.labels() == labels) else { continue };
            match header.open_token(info.id, token.as_ref()).await {
                Ok(slot) => opened.push(slot),
                Err(error) => tracing::warn!(%error, slot = %info.id, "an HSM does not open its slot"),
            }
        }
        opened
    }
}

impl Vault {
    /// The slot that this key of an HSM opens, if there is one: for [`Vault::unseal_with`]. Nothing is open by that, and nobody who
    /// unseals waits for it.
    ///
    /// # Errors
    /// The HSM did not do it, or what the store holds is not what it should be.
    pub async fn open_slot_with(&self, token: &dyn TokenKey) -> Result<Option<OpenSlot>, Error> {
        let (header, _) = self.header().await?;
        let labels = token.labels();
        // Of two slots with the same key, the newer one: the HSM may have been set up anew.
        let slots: Vec<SlotId> = header.slots().filter(|slot| slot.kind == SlotKind::Token(labels)).map(|slot| slot.id).collect();
        match slots.last() {
            Some(slot) => Ok(Some(header.open_token(*slot, token).await?)),
            None => Ok(None),
        }
    }

    /// Opens the vault with a slot that is open. The vault does so by itself only until it has been sealed: whoever sealed it had
    /// a reason.
    ///
    /// # Errors
    /// It is open already, it was sealed and nobody asks for this, or what the store holds is not what it should be.
    pub async fn unseal_with(&self, permit: Permit<()>, slot: OpenSlot) -> Result<Unreleased<VaultId>, Error> {
        let _alone = self.ceremony.lock().await;
        if self.is_open() {
            return Err(Error::State("the vault is open already"));
        }
        if permit.principal().is_none() && self.was_sealed() {
            return Err(Error::State("the vault was sealed: only a person opens it now"));
        }
        let (header, _) = self.header().await?;
        let generation = self.open_up(&header, &slot, &author(&permit), permit.now()).await?;
        let told = Unreleased::new(self.pins.vault_id).with("vault", self.pins.vault_id).with("policy_generation", generation);
        Ok(told.with("slot", slot.id()))
    }

    /// Whether somebody has sealed it since the start.
    #[must_use]
    pub fn was_sealed(&self) -> bool {
        self.was_sealed.load(Ordering::Acquire)
    }

    /// Why it has not opened itself yet; none if it is not to, or not any more.
    #[must_use]
    pub fn waiting(&self) -> Option<Arc<Waiting>> {
        self.waiting.load_full().filter(|_| !self.is_open() && !self.was_sealed())
    }

    /// For [`Vault::waiting`].
    pub fn note_waiting(&self, why: String) {
        self.waiting.store(Some(Arc::new(Waiting { since: self.clock.now(), why })));
    }
}
