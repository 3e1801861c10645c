//! Proposals: what one person wants to be done, and another confirms before it is.
//!
//! ```text
//! propose ── row: who asks, what exactly, until when ── approve, by another person ── carried out, in one commit with what it is for
//!                                                    └─ withdrawn, or expired
//! ```
//!
//! One person is one vote, whatever certificates they have, and never the one who asks. A vote counts only as long as its holder may
//! approve. How many must agree is a constant above zero; no request and no row can say otherwise.

mod change;

use std::num::NonZeroUsize;
use std::time::Duration;

pub use change::{NewSlot, ProposedChange};

use crate::access::{Target, decide};
use crate::gate::{Permit, Unreleased};
use crate::model::{Action, ActionSet, ProposalId, SpiffeId, Text, Timestamp, limits};
use crate::storage::{Batch, CommitError, Key, Revision};

use super::page::{Page, PageLimits, Shown};
use super::{Error, Open, caller, record, row};

/// How many others must agree.
pub const VOTES_NEEDED: NonZeroUsize = NonZeroUsize::MIN;
/// How long a proposal stands if nobody says otherwise.
const STANDS: Duration = Duration::from_secs(24 * 3600);
/// The longest that one may stand.
const STANDS_AT_MOST: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long those that ended are kept.
const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// Most proposals that wait at once: they are people's, who look at each.
const PENDING: usize = 100;
/// Most that are kept, ended ones included; beyond that the oldest ended ones go early.
const STORED: usize = 10_000;

/// How far a proposal has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProposalState {
    /// It waits for somebody to agree.
    Open,
    /// Enough have agreed who still may.
    Approved,
    /// It was done.
    CarriedOut,
    /// Somebody ended it.
    Withdrawn,
    /// Its time ran out.
    Expired,
}

/// A proposal as it is shown.
#[derive(Debug, Clone)]
pub struct ProposalInfo {
    /// Its id.
    pub id: ProposalId,
    /// What is to be done.
    pub change: ProposedChange,
    /// Why.
    pub reason: String,
    /// How far it has come.
    pub state: ProposalState,
    /// Who proposed it.
    pub proposed_by: SpiffeId,
    /// When.
    pub created: Timestamp,
    /// When it ends if it was not carried out.
    pub expires: Timestamp,
    /// Who agreed, and when.
    pub votes: Vec<(SpiffeId, Timestamp)>,
    /// Who ended it, and when.
    pub ended: Option<(SpiffeId, Timestamp)>,
}

/// What is to be proposed.
#[derive(Debug, Clone)]
pub struct ProposalDraft {
    /// What is to be done.
    pub change: ProposedChange,
    /// Why.
    pub reason: Text<{ limits::REASON_BYTES }>,
    /// When it ends if it was not carried out; none for 24 hours.
    pub expires: Option<Timestamp>,
}

/// The proof that a proposal may be carried out now by who asks: what it is for, and the row that the commit must close with it.
pub(super) struct Approved {
    pub(super) id: ProposalId,
    pub(super) change: ProposedChange,
    record: record::Proposal,
    revision: Revision,
}

impl Open {
    /// Proposes a change.
    ///
    /// # Errors
    /// An absurd end, or as many wait as may.
    pub async fn propose(&self, permit: Permit<()>, draft: ProposalDraft) -> Result<Unreleased<ProposalInfo>, Error> {
        let (by, now) = (caller(&permit)?, permit.now());
        let expires = draft.expires.unwrap_or_else(|| now.plus(STANDS));
        if expires <= now || expires > now.plus(STANDS_AT_MOST) {
            return Err(Error::Invalid { field: "expire_time", why: "must be after now, and at most 7 days ahead" });
        }
        let _alone = self.proposing.lock().await;
        let all = self.proposals().await?;
        if let Some(made) = self.replayed_proposal(&permit, &all, &draft, &by)? {
            return Ok(told(made));
        }
        if all.iter().filter(|(record, _)| is_pending(record, now)).count() >= PENDING {
            return Err(Error::State("100 proposals wait already: carry them out or withdraw them"));
        }
        let id = ProposalId::from_bytes(self.new_id()?);
        let record = record::Proposal {
            id: id.as_bytes().to_vec(),
            change: Some((&draft.change).into()),
            reason: draft.reason.to_string(),
            proposed_by: by.to_string(),
            created_ms: now.unix_ms(),
            expires_ms: expires.unix_ms(),
            request_id: permit.request_id().unwrap_or_default().to_owned(),
            intent: permit.intent(),
            ..record::Proposal::default()
        };
        self.write_proposal(&record, Revision::ABSENT).await?;
        self.told(&record, now).map(told)
    }

    fn replayed_proposal(
        &self,
        permit: &Permit<()>,
        all: &[(record::Proposal, Revision)],
        draft: &ProposalDraft,
        by: &SpiffeId,
    ) -> Result<Option<ProposalInfo>, Error> {
        let Some(request_id) = permit.request_id() else { return Ok(None) };
        let of_it = |(record, _): &&(record::Proposal, Revision)| record.request_id == request_id && record.proposed_by == by.as_str();
        let Some((record, _)) = all.iter().find(of_it) else { return Ok(None) };
        let is_same = record.change == Some((&draft.change).into()) && record.reason == draft.reason.as_str();
        if is_same { self.told(record, permit.now()).map(Some) } else { Err(Error::Exists) }
    }

    /// Agrees to somebody else's proposal. Agreeing twice changes nothing.
    ///
    /// # Errors
    /// It is one's own, has ended, or is gone.
    pub async fn approve(&self, permit: Permit<()>, id: ProposalId) -> Result<Unreleased<ProposalInfo>, Error> {
        let (by, now) = (caller(&permit)?, permit.now());
        let (mut record, revision) = self.pending_proposal(id, now).await?;
        if record.proposed_by == by.as_str() {
            return Err(Error::OwnProposal);
        }
        if !record.votes.iter().any(|vote| vote.principal == by.as_str()) {
            record.votes.push(record::Vote { principal: by.to_string(), time_ms: now.unix_ms() });
            record.intent = permit.intent();
            self.write_proposal(&record, revision).await?;
        }
        self.told(&record, now).map(told)
    }

    /// Ends a proposal. Who may approve ends anybody's, others their own.
    ///
    /// # Errors
    /// It is another's, has ended, or is gone.
    pub async fn withdraw(&self, permit: Permit<()>, id: ProposalId) -> Result<Unreleased<ProposalInfo>, Error> {
        let (by, now) = (caller(&permit)?, permit.now());
        let (mut record, revision) = self.pending_proposal(id, now).await?;
        if record.proposed_by != by.as_str() && !self.may_approve(&by, now) {
            return Err(Error::NotYours);
        }
        record.close(record::ProposalEnd::Withdrawn, &by, now, permit.intent());
        self.write_proposal(&record, revision).await?;
        self.told(&record, now).map(told)
    }

    /// Tells of a proposal.
    ///
    /// # Errors
    /// [`Error::Absent`].
    pub async fn describe_proposal(&self, permit: Permit<()>, id: ProposalId) -> Result<Unreleased<ProposalInfo>, Error> {
        let (record, _) = self.proposal(id).await?;
        self.told(&record, permit.now()).map(told)
    }

    /// Lists proposals, the newest first.
    ///
    /// # Errors
    /// A page token of another list.
    pub async fn list_proposals(
        &self,
        permit: Permit<()>,
        only_pending: bool,
        page: PageLimits,
        page_token: &str,
    ) -> Result<Unreleased<Page<ProposalInfo>>, Error> {
        let now = permit.now();
        let all = self.proposals().await?;
        let asked = all.iter().filter(|(record, _)| !only_pending || is_pending(record, now));
        let mut infos = asked.map(|(record, _)| self.told(record, now)).collect::<Result<Vec<_>, _>>()?;
        infos.sort_by_key(position);
        let filter = format!("proposals {only_pending}");
        Ok(Unreleased::new(self.paging(&permit, &filter, page).cut(infos, page_token, position)?))
    }

    /// The evidence that who asks may carry this proposal out now.
    ///
    /// # Errors
    /// It is another's, is not approved, has ended, or is gone.
    pub(super) async fn approved<G>(&self, permit: &Permit<G>, id: ProposalId) -> Result<Approved, Error> {
        let approved = self.approved_of_anybody(id, permit.now()).await?;
        if approved.record.proposed_by == caller(permit)?.as_str() { Ok(approved) } else { Err(Error::NotYours) }
    }

    /// The same for who helps with it.
    pub(super) async fn approved_of_anybody(&self, id: ProposalId, now: Timestamp) -> Result<Approved, Error> {
        let (record, revision) = self.pending_proposal(id, now).await?;
        if self.proposal_state(&record, now)? != ProposalState::Approved {
            return Err(Error::State("nobody else has approved the proposal yet, or who did may not approve any more"));
        }
        Ok(Approved { id, change: record.proposed_change()?, record, revision })
    }

    /// A batch that closes the proposal together with whatever else it does.
    pub(super) fn closing<G>(&self, approved: &Approved, permit: &Permit<G>, batch: Batch) -> Result<(Batch, ProposalInfo), Error> {
        let mut record = approved.record.clone();
        record.close(record::ProposalEnd::CarriedOut, &caller(permit)?, permit.now(), permit.intent());
        let key = row::proposal_key(approved.id);
        let batch = batch.expecting(key.clone(), approved.revision).put(key.clone(), self.rows.seal(&key, &record)?);
        Ok((batch, self.told(&record, permit.now())?))
    }

    /// Deletes proposals that ended long ago.
    pub(super) async fn forget_old_proposals(&self, now: Timestamp) -> Result<(), Error> {
        let mut ended: Vec<_> = self.proposals().await?.into_iter().filter(|(record, _)| !is_pending(record, now)).collect();
        ended.sort_by_key(|(record, _)| std::cmp::Reverse(end_ms(record)));
        let kept_ms = u64::try_from(KEPT.as_millis()).expect("90 days");
        for (place, (record, revision)) in ended.iter().enumerate() {
            if place >= STORED || end_ms(record).saturating_add(kept_ms) <= now.unix_ms() {
                let key = row::proposal_key(record.proposal_id()?);
                self.rows.store.commit(Batch::new().expecting(key.clone(), *revision).delete(key)).await?;
            }
        }
        Ok(())
    }

    /// The number itself, if it is that of a proposal's making; else 0.
    pub(super) async fn proposed_with(&self, intent: u64) -> Result<Option<u64>, Error> {
        let made = self.proposals().await?.iter().any(|(record, _)| record.intent == intent);
        Ok(Some(if made { intent } else { 0 }))
    }

    /// The number of the intent of a proposal's last change.
    pub(super) async fn proposal_intent(&self, id: ProposalId) -> Result<Option<u64>, Error> {
        Ok(Some(self.rows.record::<record::Proposal>(&row::proposal_key(id)).await?.map_or(0, |(record, _)| record.intent)))
    }

    async fn proposals(&self) -> Result<Vec<(record::Proposal, Revision)>, Error> {
        let records = self.rows.records::<record::Proposal>(&row::proposals_prefix()).await?;
        Ok(records.into_iter().map(|(_, record, revision)| (record, revision)).collect())
    }

    async fn proposal(&self, id: ProposalId) -> Result<(record::Proposal, Revision), Error> {
        self.rows.record(&row::proposal_key(id)).await?.ok_or(Error::Absent("proposal"))
    }

    async fn pending_proposal(&self, id: ProposalId, now: Timestamp) -> Result<(record::Proposal, Revision), Error> {
        let (record, revision) = self.proposal(id).await?;
        match self.proposal_state(&record, now)? {
            ProposalState::Open | ProposalState::Approved => Ok((record, revision)),
            ProposalState::CarriedOut => Err(Error::State("the proposal was carried out already")),
            ProposalState::Withdrawn => Err(Error::State("the proposal was withdrawn: make another one")),
            ProposalState::Expired => Err(Error::State("the proposal has expired: make another one")),
        }
    }

    async fn write_proposal(&self, record: &record::Proposal, expected: Revision) -> Result<(), Error> {
        let key: Key = row::proposal_key(record.proposal_id()?);
        let batch = Batch::new().expecting(key.clone(), expected).put(key.clone(), self.rows.seal(&key, record)?);
        match self.rows.store.commit(batch).await {
            Ok(_) => Ok(()),
            Err(CommitError::Conflict(_)) => Err(Error::Conflict),
            Err(error) => Err(error.into()),
        }
    }

    fn proposal_state(&self, record: &record::Proposal, now: Timestamp) -> Result<ProposalState, Error> {
        Ok(match record.end() {
            record::ProposalEnd::CarriedOut => ProposalState::CarriedOut,
            record::ProposalEnd::Withdrawn => ProposalState::Withdrawn,
            record::ProposalEnd::Unspecified if !is_pending(record, now) => ProposalState::Expired,
            record::ProposalEnd::Unspecified => {
                let mut voters: Vec<_> = record.voters()?.into_iter().map(|(voter, _)| voter).collect();
                voters.sort();
                voters.dedup();
                let counts = |voter: &SpiffeId| voter.as_str() != record.proposed_by && self.may_approve(voter, now);
                if voters.iter().filter(|voter| counts(voter)).count() >= VOTES_NEEDED.get() {
                    ProposalState::Approved
                } else {
                    ProposalState::Open
                }
            }
        })
    }

    fn may_approve(&self, who: &SpiffeId, now: Timestamp) -> bool {
        let policy = self.policy.snapshot();
        decide(policy.as_deref(), &[], who, ActionSet::of(&[Action::Approve]), Target::Vault, now).is_allow()
    }

    fn told(&self, record: &record::Proposal, now: Timestamp) -> Result<ProposalInfo, Error> {
        let ended = match record.end() {
            record::ProposalEnd::Unspecified => None,
            _ => Some((record::principal(&record.ended_by)?, record::time(record.ended_ms)?)),
        };
        Ok(ProposalInfo {
            id: record.proposal_id()?,
            change: record.proposed_change()?,
            reason: record.reason.clone(),
            state: self.proposal_state(record, now)?,
            proposed_by: record::principal(&record.proposed_by)?,
            created: record::time(record.created_ms)?,
            expires: record::time(record.expires_ms)?,
            votes: record.voters()?,
            ended,
        })
    }
}

/// Whether it can still be agreed to or carried out.
fn is_pending(record: &record::Proposal, now: Timestamp) -> bool {
    record.end() == record::ProposalEnd::Unspecified && record.expires_ms > now.unix_ms()
}

/// When it was closed, or ran out.
fn end_ms(record: &record::Proposal) -> u64 {
    if record.end() == record::ProposalEnd::Unspecified { record.expires_ms } else { record.ended_ms }
}

/// The newest first.
fn position(info: &ProposalInfo) -> Vec<u8> {
    [&(u64::MAX - info.created.unix_ms()).to_be_bytes()[..], info.id.as_bytes()].concat()
}

fn told(info: ProposalInfo) -> Unreleased<ProposalInfo> {
    let (id, change) = (info.id, info.change.to_string());
    Unreleased::new(info).with("proposal", id).with("change", change)
}

impl Shown for ProposalInfo {
    fn shown_bytes(&self) -> usize {
        let votes: usize = self.votes.iter().map(|(voter, _)| 32 + voter.as_str().len()).sum();
        let ended = self.ended.as_ref().map_or(0, |(who, _)| who.as_str().len());
        512 + 2 * self.change.to_string().len() + self.reason.len() + self.proposed_by.as_str().len() + votes + ended
    }
}
