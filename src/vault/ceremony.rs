//! Ceremonies: changing slots and the root key while the vault serves.
//!
//! ```text
//! proposal ── approved by another person ── present: who knows or holds something opens slots for this proposal alone
//!                                             └─ carry out, by who proposed it: new header, proposal closed, in one commit
//! ```
//!
//! The root key is not in memory while the vault serves: what was opened for a ceremony is, for a quarter of an hour at most.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use crate::crypto::{Random, Recipient};
use crate::gate::{Permit, Unreleased};
use crate::model::{HsmName, Invalid, ProposalId, SecretBytes, SlotId, Timestamp};
use crate::seal::{Argon2Parameters, Header, OpenSlot, Passphrase, SealError, Share};
use crate::storage::{Batch, CommitError, Revision};

use super::gathering::{Gathering, QuorumProgress, SHARES_WAIT};
use super::proposal::{Approved, NewSlot, ProposalInfo, ProposedChange};
use super::slot::{Looked, SlotDetails, waiting, with_custodians};
use super::unseal::{SlotSecret, open_with_passphrase, take_share};
use super::{Error, Open, Vault, row};

/// Proposals for which something is open or gathered at once.
const AT_ONCE: usize = 16;

/// What came of a secret that was brought for a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// The slot that opened, or how far its shares have come.
    pub slot: Result<SlotDetails, QuorumProgress>,
    /// The slots that must still be opened.
    pub missing: Vec<SlotId>,
}

/// What was done.
#[derive(Debug)]
pub struct CarriedOut {
    /// The proposal, closed.
    pub proposal: ProposalInfo,
    /// The new slot, if it was for one.
    pub slot: Option<SlotDetails>,
    /// Its shares, if it has any. They exist nowhere else.
    pub shares: Vec<NewShare>,
}

/// A share of a new slot.
#[derive(Debug)]
pub struct NewShare {
    /// Its number.
    pub number: u8,
    /// Its text, or an armored age file of it.
    pub text: SecretBytes,
    /// Whom it is encrypted to.
    pub recipient: Option<String>,
}

/// What is open or gathered for ceremonies. Wiped when dropped, as it is when the vault is sealed.
#[derive(Debug, Default)]
pub(super) struct Ceremonies {
    /// Shares given to test a slot.
    pub(super) tests: Gathering,
    presented: HashMap<ProposalId, Brought>,
}

/// What was brought for one proposal.
#[derive(Debug)]
struct Brought {
    given: Gathering,
    opened: Vec<OpenSlot>,
    until: Instant,
}

/// What a ceremony made, before it is in the store.
struct Made {
    header: Header,
    new_slot: Option<SlotId>,
    shares: Vec<Share>,
}

impl Vault {
    /// Brings a passphrase or a share for an approved proposal.
    ///
    /// # Errors
    /// The proposal is not approved; nothing opens with it; there are as many ceremonies as there may be.
    pub async fn present(&self, permit: Permit<()>, id: ProposalId, secret: SlotSecret) -> Result<Unreleased<Presented>, Error> {
        let _alone = self.ceremony.lock().await;
        let (open, (header, _)) = (self.open()?, self.header().await?);
        let approved = open.approved_of_anybody(id, permit.now()).await?;
        open.ceremonies().make_room(id)?;
        let looked = match secret {
            SlotSecret::Passphrase(passphrase) => Looked::Open(open_with_passphrase(&header, &passphrase).await?, None),
            SlotSecret::Share(text) => take_share(&mut open.ceremonies().of(id).given, &header, &text, &permit)?.into(),
        };
        match looked {
            Looked::Waiting(progress) => {
                let missing = self.still_missing(&header, &approved.change, open.ceremonies().opened(id));
                Ok(waiting(progress).map(|progress| Presented { slot: Err(progress), missing }).with("proposal", id))
            }
            Looked::Open(opened, custodians) => {
                let slot = opened.id();
                let missing = open.ceremonies().keep(id, opened, |opened| self.still_missing(&header, &approved.change, opened));
                open.note_slot_works(slot, &super::author(&permit), permit.now()).await?;
                let told = Unreleased::new(Presented { slot: Ok(open.details_of(&header, slot).await?), missing })
                    .with("slot", slot)
                    .with("proposal", id);
                Ok(with_custodians(told, custodians))
            }
        }
    }

    /// Does what was proposed.
    ///
    /// # Errors
    /// It is not approved, is somebody else's, slots must still be opened, or the last working slot would go. What was opened stays
    /// open for it then.
    pub async fn carry_out(
        &self,
        permit: Permit<()>,
        id: ProposalId,
        new_passphrase: Option<SecretBytes>,
    ) -> Result<Unreleased<CarriedOut>, Error> {
        let _alone = self.ceremony.lock().await;
        let (open, (header, revision)) = (self.open()?, self.header().await?);
        let approved = open.approved(&permit, id).await?;
        let new_passphrase = passphrase_for(&approved.change, new_passphrase.as_ref())?;
        if let Some(batch) = open.without_ceremony(&permit, &approved.change).await? {
            let proposal = open.commit_closing(&permit, &approved, batch).await?;
            let done = CarriedOut { proposal, slot: None, shares: Vec::new() };
            return Ok(Unreleased::new(done).with("proposal", id).with("change", &approved.change));
        }
        open.check_working_slot_stays(&header, &approved.change).await?;
        self.open_by_themselves(&open, id, &header, &approved.change).await;
        let opened = open.ceremonies().take(id, |opened| missing(&header, &approved.change, opened))?;
        let (made, opened) = self.make(&header, &approved.change, opened, new_passphrase, permit.now()).await?;
        let done = match made {
            Ok(made) => open.write_ceremony(&permit, &approved, &header, revision, &opened, made).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(carried_out) => {
                if matches!(approved.change, ProposedChange::ReplaceRootKey { .. }) {
                    open.ceremonies().forget();
                }
                let told = Unreleased::new(carried_out).with("proposal", id).with("change", &approved.change);
                Ok(told)
            }
            Err(error) => {
                opened.into_iter().for_each(|slot| open.ceremonies().keep(id, slot, |_| ()));
                Err(error)
            }
        }
    }
}

impl Vault {
    /// Opens for a new root key what needs nobody.
    async fn open_by_themselves(&self, open: &Open, id: ProposalId, header: &Header, change: &ProposedChange) {
        let ProposedChange::ReplaceRootKey { dropped } = change else { return };
        for slot in self.tokens.open_slots(header, |slot| dropped.contains(&slot)).await {
            open.ceremonies().keep(id, slot, |_| ());
        }
    }

    /// The slots that somebody must still open.
    fn still_missing(&self, header: &Header, change: &ProposedChange, opened: &[OpenSlot]) -> Vec<SlotId> {
        let known: Vec<_> = header.slots().filter(|info| self.tokens.know(info)).map(|info| info.id).collect();
        missing(header, change, opened).into_iter().filter(|slot| !known.contains(slot)).collect()
    }

    /// Makes the new header; gives back what was opened for it.
    async fn make(
        &self,
        header: &Header,
        change: &ProposedChange,
        opened: Vec<OpenSlot>,
        new_passphrase: Option<Passphrase>,
        now: Timestamp,
    ) -> Result<(Result<Made, Error>, Vec<OpenSlot>), Error> {
        if let ProposedChange::AddSlot(NewSlot::Token(hsm)) = change {
            return Ok((self.make_token_slot(header, hsm, &opened, now).await, opened));
        }
        let (header, change, random) = (header.clone(), change.clone(), self.random.clone());
        let making = tokio::task::spawn_blocking(move || {
            let made = make(&header, &change, &opened, new_passphrase.as_ref(), random.as_ref(), now);
            (made, opened)
        });
        making.await.map_err(|_| Error::Integrity("a ceremony"))
    }

    async fn make_token_slot(&self, header: &Header, hsm: &HsmName, opened: &[OpenSlot], now: Timestamp) -> Result<Made, Error> {
        let token = self.tokens.named(hsm)?;
        token.make_key().await.map_err(SealError::from)?;
        let any = opened.first().ok_or(Error::Absent("open slot"))?;
        let (header, slot) = header.with_token(any, token.as_ref(), self.random.as_ref(), now).await?;
        Ok(Made { header, new_slot: Some(slot), shares: Vec::new() })
    }
}

impl Open {
    pub(super) fn ceremonies(&self) -> MutexGuard<'_, Ceremonies> {
        self.ceremonies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slot that never opened may be nothing but a piece of paper that was lost: it is none of those that must be left.
    async fn check_working_slot_stays(&self, header: &Header, change: &ProposedChange) -> Result<(), Error> {
        let ProposedChange::RemoveSlot(removed) = change else { return Ok(()) };
        for info in header.slots().filter(|info| info.id != *removed) {
            if self.slot_details(info).await?.last_opened.is_some() {
                return Ok(());
            }
        }
        Err(Error::State("no other slot has opened yet, so this is the last that is known to work: test another one first"))
    }

    /// What needs no slot to be opened, as a batch.
    async fn without_ceremony(&self, permit: &Permit<()>, change: &ProposedChange) -> Result<Option<Batch>, Error> {
        match change {
            ProposedChange::EnrolRecipient(new) => self.with_recipient(permit, Batch::new(), new).await.map(Some),
            ProposedChange::RemoveRecipient(recipient) => self.without_recipient(Batch::new(), recipient).await.map(Some),
            ProposedChange::AddSlot(_) | ProposedChange::RemoveSlot(_) | ProposedChange::ReplaceRootKey { .. } => Ok(None),
        }
    }

    /// Commits a batch together with the proposal's end.
    async fn commit_closing(&self, permit: &Permit<()>, approved: &Approved, batch: Batch) -> Result<ProposalInfo, Error> {
        let (batch, proposal) = self.closing(approved, permit, batch)?;
        self.rows.store.commit(batch).await.map_err(|error| match error {
            CommitError::Conflict(_) => Error::Conflict,
            other => other.into(),
        })?;
        Ok(proposal)
    }

    /// Header, proposal and proofs in one commit.
    async fn write_ceremony(
        &self,
        permit: &Permit<()>,
        approved: &Approved,
        old: &Header,
        revision: Revision,
        opened: &[OpenSlot],
        made: Made,
    ) -> Result<CarriedOut, Error> {
        let Made { header, new_slot, shares } = made;
        let shares = new_shares(approved.change.recipients(), shares)?;
        let mut batch = Batch::new().expecting(row::header_key(), revision).put(row::header_key(), header.encode());
        for gone in old.slots().filter(|slot| !header.slots().any(|kept| kept.id == slot.id)) {
            batch = batch.delete(row::slot_proof_key(gone.id));
        }
        for slot in opened.iter().filter(|slot| header.slots().any(|kept| kept.id == slot.id())) {
            batch = self.with_slot_proof(batch, slot.id(), &super::author(permit), permit.now())?;
        }
        let proposal = self.commit_closing(permit, approved, batch).await?;
        let slot = match new_slot {
            Some(slot) => Some(self.details_of(&header, slot).await?),
            None => None,
        };
        Ok(CarriedOut { proposal, slot, shares })
    }
}

impl Ceremonies {
    /// Forgets what has waited too long.
    pub(super) fn forget_stale(&mut self, now: Instant) {
        self.tests.forget_stale(now);
        self.presented.retain(|_, brought| brought.until > now);
    }

    fn forget(&mut self) {
        self.tests.forget();
        self.presented.clear();
    }

    fn make_room(&mut self, id: ProposalId) -> Result<(), Error> {
        self.forget_stale(Instant::now());
        if self.presented.len() < AT_ONCE || self.presented.contains_key(&id) { Ok(()) } else { Err(Error::TooMany("ceremonies")) }
    }

    fn of(&mut self, id: ProposalId) -> &mut Brought {
        let until = Instant::now() + SHARES_WAIT;
        // From the first slot that is open on it is not put off any more: a root key shall not wait for as long as somebody presents
        // what opens nothing.
        let brought = self.presented.entry(id).or_insert_with(|| Brought { given: Gathering::default(), opened: Vec::new(), until });
        if brought.opened.is_empty() {
            brought.until = until;
        }
        brought
    }

    fn opened(&self, id: ProposalId) -> &[OpenSlot] {
        self.presented.get(&id).map_or(&[], |brought| &brought.opened)
    }

    /// Keeps an open slot, in the place of what was open of it before.
    fn keep<T>(&mut self, id: ProposalId, slot: OpenSlot, then: impl FnOnce(&[OpenSlot]) -> T) -> T {
        let opened = &mut self.of(id).opened;
        opened.retain(|other| other.id() != slot.id());
        opened.push(slot);
        then(opened)
    }

    /// Takes what is open for a proposal, if it is all that is needed.
    fn take(&mut self, id: ProposalId, missing: impl FnOnce(&[OpenSlot]) -> Vec<SlotId>) -> Result<Vec<OpenSlot>, Error> {
        self.forget_stale(Instant::now());
        let missing = missing(self.opened(id));
        if !missing.is_empty() {
            return Err(Error::SlotsMissing(missing));
        }
        Ok(self.presented.remove(&id).map(|brought| brought.opened).unwrap_or_default())
    }
}

/// The slots that must still be opened. For a new root key: all that are taken along. For the rest any one is enough.
fn missing(header: &Header, change: &ProposedChange, opened: &[OpenSlot]) -> Vec<SlotId> {
    let (there, closed): (Vec<_>, Vec<_>) =
        header.slots().map(|info| info.id).partition(|slot| opened.iter().any(|open| open.id() == *slot));
    match change {
        ProposedChange::ReplaceRootKey { dropped } => closed.into_iter().filter(|slot| !dropped.contains(slot)).collect(),
        ProposedChange::AddSlot(_) | ProposedChange::RemoveSlot(_) if !there.is_empty() => Vec::new(),
        ProposedChange::AddSlot(_) | ProposedChange::RemoveSlot(_) => closed,
        ProposedChange::EnrolRecipient(_) | ProposedChange::RemoveRecipient(_) => Vec::new(),
    }
}

/// The new passphrase, which must be there for a passphrase slot, and for nothing else.
fn passphrase_for(change: &ProposedChange, given: Option<&SecretBytes>) -> Result<Option<Passphrase>, Error> {
    let invalid = |why| Err(Error::Invalid { field: "new_passphrase", why });
    match (change, given) {
        (ProposedChange::AddSlot(NewSlot::Passphrase), Some(given)) => match Passphrase::parse(given) {
            Ok(passphrase) => Ok(Some(passphrase)),
            Err(SealError::Passphrase(Invalid(why))) => invalid(why),
            Err(other) => Err(other.into()),
        },
        (ProposedChange::AddSlot(NewSlot::Passphrase), None) => invalid("the proposal is for a slot with a passphrase: give it"),
        (_, Some(_)) => invalid("the proposal is for nothing that has a passphrase: leave it out"),
        (_, None) => Ok(None),
    }
}

/// The new header. Takes as long as Argon2id does, for a passphrase.
fn make(
    header: &Header,
    change: &ProposedChange,
    opened: &[OpenSlot],
    new_passphrase: Option<&Passphrase>,
    random: &dyn Random,
    now: Timestamp,
) -> Result<Made, Error> {
    let any = opened.first().ok_or(Error::Absent("open slot"))?;
    let without_slot = |header| Made { header, new_slot: None, shares: Vec::new() };
    match (change, new_passphrase) {
        (ProposedChange::AddSlot(NewSlot::Quorum { size, .. }), _) => {
            let (header, slot, shares) = header.with_quorum(any, *size, random, now)?;
            Ok(Made { header, new_slot: Some(slot), shares })
        }
        (ProposedChange::AddSlot(NewSlot::Passphrase), Some(passphrase)) => {
            let (header, slot) = header.with_passphrase(any, passphrase, Argon2Parameters::DEFAULT, random, now)?;
            Ok(Made { header, new_slot: Some(slot), shares: Vec::new() })
        }
        (ProposedChange::AddSlot(NewSlot::Passphrase), None) => Err(Error::Absent("new passphrase")),
        (ProposedChange::AddSlot(NewSlot::Token(_)), _) => Err(Error::Absent("HSM")),
        (ProposedChange::EnrolRecipient(_) | ProposedChange::RemoveRecipient(_), _) => Err(Error::Absent("ceremony for this")),
        (ProposedChange::RemoveSlot(slot), _) => Ok(without_slot(header.without_slot(any, *slot)?)),
        (ProposedChange::ReplaceRootKey { dropped }, _) => {
            let taken: Vec<_> = opened.iter().filter(|slot| !dropped.contains(&slot.id())).collect();
            Ok(without_slot(header.with_new_root(&taken, dropped, random)?))
        }
    }
}

/// The shares as they leave: in the clear, or each encrypted to its recipient.
pub(super) fn new_shares(recipients: &[Recipient], shares: Vec<Share>) -> Result<Vec<NewShare>, Error> {
    let one = |(at, share): (usize, Share)| match recipients.get(at) {
        Some(recipient) => {
            let text = SecretBytes::new(recipient.encrypt(&share.to_text())?);
            Ok(NewShare { number: share.index(), text, recipient: Some(recipient.to_string()) })
        }
        None => Ok(NewShare { number: share.index(), text: share.to_text(), recipient: None }),
    };
    shares.into_iter().enumerate().map(one).collect()
}
