//! From sealed to open: by the passphrase of a slot, or by shares that custodians give one after the other, each from their own machine.
//!
//! ```text
//! passphrase ────────────┐
//! share, share, … share ─┴ open slot ─ header's HMAC ─ system key ─ audit key as pinned? ─ namespaces, keyrings, policy ─ open
//! ```

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Instant;

use crate::gate::{Permit, Unreleased};
use crate::model::{SecretBytes, Timestamp, VaultId};
use crate::seal::{Header, OpenSlot, Passphrase, SealError, Share};

use super::gathering::{Gathered, Gathering, QuorumProgress};
use super::rows::SystemRows;
use super::slot::{waiting, with_custodians};
use super::{Error, Vault, caller};

/// What somebody knows or holds of a slot.
#[derive(Debug)]
pub enum SlotSecret {
    /// The passphrase of a slot.
    Passphrase(SecretBytes),
    /// One share of a slot, as text.
    Share(SecretBytes),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsealing {
    /// The vault is open.
    Open(VaultId),
    /// The share was taken; more are needed.
    Waiting(QuorumProgress),
}

impl Vault {
    /// Opens the vault with the passphrase of a slot, or takes one of the shares that open a slot together.
    ///
    /// # Errors
    /// It is open already, the passphrase or the shares are wrong, or what the store holds is not what it should be.
    pub async fn unseal(&self, permit: Permit<()>, secret: SlotSecret) -> Result<Unreleased<Unsealing>, Error> {
        let _alone = self.ceremony.lock().await;
        if self.is_open() {
            return Err(Error::State("the vault is open already"));
        }
        let (header, _) = self.header().await?;
        let (open, custodians) = match secret {
            SlotSecret::Passphrase(passphrase) => (open_with_passphrase(&header, &passphrase).await?, None),
            SlotSecret::Share(text) => match take_share(&mut self.given(), &header, &text, &permit)? {
                Gathered::Open(open, custodians) => (open, Some(custodians)),
                Gathered::Waiting(progress) => return Ok(waiting(progress).map(Unsealing::Waiting)),
            },
        };
        let slot = open.id();
        let generation = self.open_up(&header, &open, &super::author(&permit), permit.now()).await?;
        self.given().forget();
        let told = Unreleased::new(Unsealing::Open(self.pins.vault_id)).with("vault", self.pins.vault_id).with("slot", slot);
        Ok(with_custodians(told.with("policy_generation", generation), custodians))
    }

    /// Goes from an open slot to an open vault; says which generation of the policy is in force.
    pub(super) async fn open_up(&self, header: &Header, slot: &OpenSlot, by: &str, now: Timestamp) -> Result<u64, Error> {
        let system_key = header.system_key(slot)?;
        let rows = SystemRows::new(self.store.clone(), self.random.clone(), self.pins.vault_id, system_key);
        self.check_audit_key(&rows, header.epoch()).await?;
        let open = self.load(rows, header.epoch()).await?;
        let generation = open.policy_change.lock().await.head.generation;
        // A disk that takes no writes keeps no vault shut.
        if let Err(error) = open.note_slot_works(slot.id(), by, now).await {
            tracing::warn!(%error, slot = %slot.id(), "it could not be noted that the slot works");
        }
        self.open.store(Some(Arc::new(open)));
        self.opened.send_replace(true);
        Ok(generation)
    }

    /// Forgets the shares that were given to unseal the vault; says how many there were.
    pub fn forget_shares(&self, permit: Permit<()>) -> Unreleased<usize> {
        let forgotten = self.given().forget();
        let _ = permit;
        Unreleased::new(forgotten).with("shares", forgotten)
    }

    /// How far the shares that were given to unseal the vault have come, by slot.
    pub fn unsealing(&self) -> Vec<QuorumProgress> {
        self.given().progress(Instant::now())
    }

    /// Forgets shares that have waited too long for others.
    pub(super) fn forget_stale_shares(&self) {
        self.given().forget_stale(Instant::now());
    }

    fn given(&self) -> MutexGuard<'_, Gathering> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Argon2id takes 64 MiB and a good part of a second.
pub(super) async fn open_with_passphrase(header: &Header, passphrase: &SecretBytes) -> Result<OpenSlot, Error> {
    let (header, passphrase) = (header.clone(), Passphrase::parse(passphrase)?);
    Ok(tokio::task::spawn_blocking(move || header.open(&passphrase)).await.map_err(|_| Error::Integrity("the header"))??)
}

/// Takes somebody's share; a round that fails is in the server's log, too.
pub(super) fn take_share<G>(given: &mut Gathering, header: &Header, text: &SecretBytes, permit: &Permit<G>) -> Result<Gathered, Error> {
    let share = Share::parse(text).map_err(SealError::from)?;
    given.add(header, share, &caller(permit)?, Instant::now()).inspect_err(|error| {
        if let Error::Quorum { custodians, .. } = error {
            tracing::warn!(%custodians, "as many shares as a slot needs did not open it: one of them is wrong");
        }
    })
}
