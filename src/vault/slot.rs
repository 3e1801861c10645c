//! Slots, as the open vault shows and tests them. What opens one is looked at, and wiped.

use crate::gate::{Permit, Unreleased};
use crate::model::{SlotId, Timestamp};
use crate::seal::{Header, OpenSlot, SlotInfo};
use crate::storage::Batch;

use super::gathering::{Gathered, QuorumProgress};
use super::unseal::{SlotSecret, open_with_passphrase, take_share};
use super::{Error, Open, Vault, record, row};

/// A slot as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotDetails {
    /// What the header says of it.
    pub info: SlotInfo,
    /// When it last opened, and who opened it. A slot that never did does not count as working.
    pub last_opened: Option<(Timestamp, String)>,
}

/// What came of a slot's secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    /// The slot opened.
    Opened(SlotDetails),
    /// The share was taken; more are needed.
    Waiting(QuorumProgress),
}

/// A slot's secret, looked at.
pub(super) enum Looked {
    /// It opened the slot; who gave the shares, if there were any.
    Open(OpenSlot, Option<String>),
    /// It was one share of several.
    Waiting(QuorumProgress),
}

impl Vault {
    /// Lists the slots, the oldest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn list_slots(&self, permit: Permit<()>) -> Result<Unreleased<Vec<SlotDetails>>, Error> {
        let (open, (header, _)) = (self.open()?, self.header().await?);
        let mut slots = Vec::new();
        for info in header.slots() {
            slots.push(open.slot_details(info).await?);
        }
        let _ = permit;
        Ok(Unreleased::new(slots))
    }

    /// Proves that a passphrase or shares open a slot. Notes it, and changes nothing else.
    ///
    /// # Errors
    /// They do not.
    pub async fn test_slot(&self, permit: Permit<()>, secret: SlotSecret) -> Result<Unreleased<Tried>, Error> {
        let _alone = self.ceremony.lock().await;
        let (open, (header, _)) = (self.open()?, self.header().await?);
        let looked = match secret {
            SlotSecret::Passphrase(passphrase) => Looked::Open(open_with_passphrase(&header, &passphrase).await?, None),
            SlotSecret::Share(text) => take_share(&mut open.ceremonies().tests, &header, &text, &permit)?.into(),
        };
        let slot = match looked {
            Looked::Open(slot, custodians) => (slot.id(), custodians),
            Looked::Waiting(progress) => return Ok(waiting(progress).map(Tried::Waiting)),
        };
        open.note_slot_works(slot.0, &super::author(&permit), permit.now()).await?;
        let told = Unreleased::new(Tried::Opened(open.details_of(&header, slot.0).await?)).with("slot", slot.0);
        Ok(with_custodians(told, slot.1))
    }
}

impl Open {
    /// Notes that a slot opened: it counts as working from now on.
    pub(super) async fn note_slot_works(&self, slot: SlotId, by: &str, now: Timestamp) -> Result<(), Error> {
        let batch = self.with_slot_proof(Batch::new(), slot, by, now)?;
        self.rows.store.commit(batch).await?;
        Ok(())
    }

    /// A batch that notes the same.
    pub(super) fn with_slot_proof(&self, batch: Batch, slot: SlotId, by: &str, now: Timestamp) -> Result<Batch, Error> {
        let key = row::slot_proof_key(slot);
        let proof = record::SlotProof { opened_ms: now.unix_ms(), opened_by: by.to_owned() };
        let sealed = self.rows.seal(&key, &proof)?;
        Ok(batch.put(key, sealed))
    }

    /// A slot with when it last opened.
    pub(super) async fn slot_details(&self, info: SlotInfo) -> Result<SlotDetails, Error> {
        let proof = self.rows.record::<record::SlotProof>(&row::slot_proof_key(info.id)).await?;
        let last_opened = proof.map(|(proof, _)| Ok::<_, Error>((record::time(proof.opened_ms)?, proof.opened_by))).transpose()?;
        Ok(SlotDetails { info, last_opened })
    }

    pub(super) async fn details_of(&self, header: &Header, slot: SlotId) -> Result<SlotDetails, Error> {
        let info = header.slots().find(|info| info.id == slot).ok_or(Error::Absent("slot"))?;
        self.slot_details(info).await
    }
}

/// An answer that says how far a slot's shares have come.
pub(super) fn waiting(progress: QuorumProgress) -> Unreleased<QuorumProgress> {
    let shares = format!("{} of {}", progress.given, progress.threshold);
    Unreleased::new(progress).with("slot", progress.slot).with("shares", shares)
}

/// The same, saying who gave the shares.
pub(super) fn with_custodians<T>(told: Unreleased<T>, custodians: Option<String>) -> Unreleased<T> {
    match custodians {
        Some(custodians) => told.with("custodians", custodians),
        None => told,
    }
}

impl From<Gathered> for Looked {
    fn from(gathered: Gathered) -> Self {
        match gathered {
            Gathered::Open(slot, custodians) => Self::Open(slot, Some(custodians)),
            Gathered::Waiting(progress) => Self::Waiting(progress),
        }
    }
}
