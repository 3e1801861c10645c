//! The gate: the one door that every RPC but health passes. It decides, makes the permit that the operation consumes,
//! and lets no answer out before its audit entry is on disk.
//!
//! ```text
//! call, resource ── decide ──┬─ deny ──> entry (or a count) ──> refusal
//!                            └─ allow ─> permit
//!   a read:   permit ─> operation ─> Unreleased<T> ─> entry on disk ─> T
//!   a batch:  the same for each item: a permit each, an entry each, all on disk together
//!   a watch:  an entry when it begins and one when it ends; between them a permit for each thing that is told
//!   a stream: the intent on disk before the first piece, the outcome at its end; in between whether it may go on
//!   a change: permit ─> intent on disk ─> operation commits ─> outcome queued ─> T
//! ```
//!
//! | word | meaning |
//! |---|---|
//! | [`Call`] | who calls which RPC, from where, and what they say of it |
//! | [`Resource`] | what the call names; the gate resolves the name to an id |
//! | [`Permit`] | the proof, made here alone, that this principal may do this there, now |
//! | [`Unreleased`] | an operation's answer, which only the gate can open |
//!
//! It touches no storage, and is the only writer of call entries. A change goes on when its caller goes away: its
//! outcome is recorded all the same.

mod call;
mod each;
mod needs;
mod permit;
mod record;
mod refusal;
mod resource;
mod stream;
mod watch;

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use call::Call;
pub use needs::{Nature, Needs, goes_first, needs};
pub use permit::{Permit, Unreleased};
pub use refusal::{Failure, Refusal};
pub use resource::{
    AnyNamespace, Below, BelowAt, BindingNamed, InNamespace, NamespaceAt, OverBinding, OverScope, OwnSubject, Resource, ScopeNamed,
    SecretAt, VAULT_WORDS, Visibility, WholeVault,
};
pub use stream::Streaming;
pub use watch::Watching;

use crate::access::{CurrentPolicy, Decision};
use crate::api::Method;
use crate::audit::{self, AuditLog, Draft, Observed, Tally, TallyKey};
use crate::identity::Peer;
use crate::metrics::{Reasons, Watches};
use crate::model::{Action, Class, Clock, SpiffeId, Timestamp};
use record::Record;
use resource::Question;

/// The one door. Share it behind an [`Arc`].
pub struct Gate {
    policy: Arc<CurrentPolicy>,
    custodians: Vec<SpiffeId>,
    audit: Arc<AuditLog>,
    tally: Tally,
    refusals: Reasons,
    watches: Watches,
    changes: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
}

/// Changes under way: they go on when their callers have gone, and keep what they are to store.
const CHANGES: usize = 1_024;

/// What the gate has found out before the operation runs.
struct Admitted<G> {
    permit: Permit<G>,
    record: Record,
    needs: Needs,
}

/// A refusal, and the entry that tells of it.
struct Denied<E> {
    refusal: Refusal<E>,
    draft: Box<Draft>,
}

impl Gate {
    /// A gate over the policy in force, the custodians that the configuration names, and the audit log.
    #[must_use]
    pub fn new(policy: Arc<CurrentPolicy>, custodians: Vec<SpiffeId>, audit: Arc<AuditLog>, clock: Arc<dyn Clock>) -> Arc<Self> {
        let (tally, refusals, watches) = (Tally::default(), Reasons::default(), Watches::default());
        let changes = Arc::new(Semaphore::new(CHANGES));
        Arc::new(Self { policy, custodians, audit, tally, refusals, watches, changes, clock })
    }

    /// Runs an operation for a call, if the call may: see the module's picture.
    ///
    /// # Errors
    /// Each [`Refusal`]; then nothing was released, and nothing changed unless it says so.
    pub async fn run<R, T, E, F, O>(self: &Arc<Self>, call: Call, resource: R, operation: O) -> Result<T, Refusal<E>>
    where
        R: Resource,
        T: Send + 'static,
        E: Failure,
        F: Future<Output = Result<Unreleased<T>, E>> + Send + 'static,
        O: FnOnce(Permit<R::Granted>) -> F + Send + 'static,
    {
        match needs(call.method).nature {
            Nature::Read => {
                let admitted = self.admit(call, resource).await?;
                self.read(admitted, operation).await
            }
            Nature::Change => {
                // Before the decision, which holds for the moment alone.
                let place = self.place(call.method).await;
                let admitted = self.admit(call, resource).await?;
                let gate = self.clone();
                let change = tokio::spawn(async move {
                    let _place = place;
                    gate.change(admitted, operation).await
                });
                change.await.unwrap_or(Err(Refusal::Interrupted))
            }
        }
    }

    /// A place among the changes. Whoever seals does not wait for those that a failing disk holds up.
    async fn place(&self, method: Method) -> Option<OwnedSemaphorePermit> {
        if goes_first(method) {
            return None;
        }
        Some(self.changes.clone().acquire_owned().await.expect("it is never closed"))
    }

    /// Decides, and refuses or makes the permit.
    async fn admit<R: Resource, E: Failure>(&self, call: Call, resource: R) -> Result<Admitted<R::Granted>, Refusal<E>> {
        match self.decide(&call, resource) {
            Ok(admitted) => Ok(admitted),
            Err(Denied { refusal, draft }) => {
                self.refuse(*draft, &call).await;
                Err(refusal)
            }
        }
    }

    /// Decides, by the policy of this moment.
    fn decide<R: Resource, E: Failure>(&self, call: &Call, resource: R) -> Result<Admitted<R::Granted>, Denied<E>> {
        let needs = needs(call.method);
        let question = Question {
            policy: self.policy.snapshot(),
            custodians: &self.custodians,
            principal: &call.peer.principal.id,
            now: self.clock.now(),
        };
        let denied = |record: Record, refusal: Refusal<E>| {
            self.refusals.count(refusal.word());
            Denied { draft: Box::new(record.denied(refusal.word())), refusal }
        };
        let refusal = match (question.policy.is_some() || needs.while_sealed, resource.decide(&question, needs.any_of)) {
            (false, _) => Refusal::Sealed,
            (true, Decision::Deny) if resource.is_visible(&question) => Refusal::Forbidden { missing: needs.wanted() },
            (true, Decision::Deny) => Refusal::Absent,
            (true, Decision::Allow(action, rule)) => {
                let record = Record::new(call, resource.name(), action, rule);
                if let Some(refusal) = Self::unmet(call, action, needs, resource.requires_post_quantum(&question)) {
                    return Err(denied(record, refusal));
                }
                let permit = Permit::new(call, action, question.now, resource.grant(&question, needs.any_of));
                return Ok(Admitted { permit, record, needs });
            }
        };
        Err(denied(Record::unruled(call, resource.name(), needs.wanted()), refusal))
    }

    /// What an allowed call must bring along and does not.
    fn unmet<E>(call: &Call, action: Action, needs: Needs, requires_post_quantum: bool) -> Option<Refusal<E>> {
        if requires_post_quantum && !call.peer.post_quantum {
            return Some(Refusal::PostQuantumRequired);
        }
        if needs.people_only && call.peer.principal.class != Class::Operator {
            return Some(Refusal::PeopleOnly);
        }
        let must_say_why = action == Action::Reveal && call.peer.principal.class == Class::Operator;
        (must_say_why && call.reason.is_none()).then_some(Refusal::ReasonRequired)
    }

    async fn read<G, T, E, F, O>(&self, admitted: Admitted<G>, operation: O) -> Result<T, Refusal<E>>
    where
        E: Failure,
        F: Future<Output = Result<Unreleased<T>, E>>,
        O: FnOnce(Permit<G>) -> F,
    {
        let Admitted { permit, record, needs } = admitted;
        let answer = operation(permit).await;
        let written = self.audit.append(record.read(&answer)).await;
        if needs.must_be_on_record {
            written.map_err(Refusal::Unaudited)?;
        }
        answer.map(Unreleased::release).map_err(Refusal::Failed)
    }

    async fn change<G, T, E, F, O>(&self, admitted: Admitted<G>, operation: O) -> Result<T, Refusal<E>>
    where
        E: Failure,
        F: Future<Output = Result<Unreleased<T>, E>>,
        O: FnOnce(Permit<G>) -> F,
    {
        let Admitted { permit, record, needs } = admitted;
        let intent = match self.audit.append(record.intent()).await {
            Ok(written) => Some(written.sequence),
            Err(error) if needs.must_be_on_record => return Err(Refusal::Unaudited(error)),
            Err(_) => None,
        };
        let answer = operation(permit.with_intent(intent)).await;
        // The outcome rides the next group. If it cannot be queued any more, the intent stands without outcome, and is
        // settled from the row when the vault is next opened.
        let _ = self.audit.enqueue(record.outcome(&answer, intent));
        answer.map(Unreleased::release).map_err(Refusal::Failed)
    }

    /// Runs an operation that the vault does by itself, for no caller, e.g. the purge of what was destroyed a week ago.
    ///
    /// # Errors
    /// [`Refusal::Unaudited`] or [`Refusal::Failed`].
    pub async fn run_own<S, T, E, F, O>(&self, work: &'static str, action: Action, at: S, operation: O) -> Result<T, Refusal<E>>
    where
        S: OwnSubject,
        E: Failure,
        F: Future<Output = Result<Unreleased<T>, E>>,
        O: FnOnce(Permit<S::Granted>) -> F,
    {
        let record = Record::own(work, at.name(), action);
        let intent = self.audit.append(record.intent()).await.map_err(Refusal::Unaudited)?.sequence;
        let answer = operation(Permit::own(action, self.clock.now(), at.grant()).with_intent(Some(intent))).await;
        let _ = self.audit.enqueue(record.outcome(&answer, Some(intent)));
        answer.map(Unreleased::release).map_err(Refusal::Failed)
    }

    /// Records how a change ended that a crash had left in doubt. Like every outcome, it rides the next group.
    pub fn record_settled(&self, intent: &audit::Entry, outcome: &'static str) {
        let _ = self.audit.enqueue(record::settled(intent, outcome));
    }

    /// Records that a call was refused before it could be understood. `field` is the API's name of the field at fault.
    pub async fn refuse_invalid(&self, call: &Call, field: &str) {
        self.refusals.count("invalid_argument");
        self.refuse(Record::invalid(call, field), call).await;
    }

    /// Counts a call that was refused before it was read, since its principal or the server had too many; the first few of a
    /// minute stand in the log one by one. `why` is one word.
    pub fn count_refused(&self, peer: &Peer, method: Option<Method>, why: &'static str) {
        self.refusals.count(why);
        if self.tally.observe(TallyKey::denied(&peer.principal.id, why), self.clock.now()) == Observed::WriteNow {
            let _ = self.audit.enqueue(record::unread(peer, method, why));
        }
    }

    /// How often calls were refused, by reason.
    #[must_use]
    pub fn refusals(&self) -> &Reasons {
        &self.refusals
    }

    /// The watches under way, and those that ended.
    #[must_use]
    pub fn watches(&self) -> &Watches {
        &self.watches
    }

    /// Counts a connection that never became a principal's, and says whether it is to be written in full.
    #[must_use]
    pub fn count_stranger(&self, address: std::net::SocketAddr, why: &'static str) -> bool {
        self.tally.observe(record::stranger_key(address, why), self.clock.now()) == Observed::WriteNow
    }

    /// Writes one in full.
    pub async fn write_stranger(&self, address: std::net::SocketAddr, why: &'static str) {
        let _ = self.audit.append(record::stranger(address, why)).await;
    }

    /// Writes what was only counted; to be called about once a minute.
    pub async fn summarise(&self) {
        for draft in self.tally.drain(self.clock.now()) {
            let _ = self.audit.append(draft).await;
        }
    }

    /// Writes all that was only counted; to be called when the server ends.
    pub async fn summarise_all(&self) {
        for draft in self.tally.drain(Timestamp::MAX) {
            let _ = self.audit.append(draft).await;
        }
    }

    /// A refusal stands as refused whether or not its entry can be written.
    async fn refuse(&self, draft: Draft, call: &Call) {
        if self.is_to_be_written(call) {
            let _ = self.audit.append(draft).await;
        }
    }

    /// Whether a refusal of this call is written in full; else it was counted.
    fn is_to_be_written(&self, call: &Call) -> bool {
        self.tally.observe(record::caller_key(call), self.clock.now()) == Observed::WriteNow
    }
}
