//! What every handler does the same way.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tonic::{Request, Status};

use super::Services;
use super::bill::Bill;
use super::field::{Fault, page_items};
use super::status::{About, invalid, of_refusal, of_too_much, unidentified};
use crate::api::Method;
use crate::gate::{Call, Gate, Permit, Resource, Unreleased};
use crate::identity::{Caller, Peer, TooMuch};
use crate::traces::correlation;
use crate::vault::{self, PageLimits, Vault};

/// The way from a message to an answer.
#[derive(Clone)]
pub(super) struct Door {
    gate: Arc<Gate>,
    vault: Arc<Vault>,
    pub(super) payload_max_bytes: usize,
    page_max_items: usize,
    page_max_bytes: usize,
    pub(super) message_max_bytes: usize,
}

/// Whose call it is.
pub(super) fn caller<M>(request: &Request<M>) -> Result<Caller, Status> {
    request.extensions().get::<Caller>().cloned().ok_or_else(unidentified)
}

/// Refuses a call of somebody who has had too many, and counts it.
pub(super) fn refuse_too_much(gate: &Gate, peer: &Peer, method: Option<Method>, too_much: TooMuch) -> Status {
    let (word, status) = of_too_much(too_much);
    gate.count_refused(peer, method, word);
    status
}

/// How long a call waits for its turn.
pub(super) const TURN: Duration = Duration::from_secs(2);

impl Door {
    pub(super) fn new(services: &Services) -> Self {
        Self {
            gate: services.gate.clone(),
            vault: services.vault.clone(),
            payload_max_bytes: services.payload_max_bytes,
            page_max_items: services.page_max_items,
            page_max_bytes: services.message_max_bytes - services.message_max_bytes / 16,
            message_max_bytes: services.message_max_bytes,
        }
    }

    /// Who calls what, and what the message means. A message that means nothing is refused, and on record. Long words of the
    /// caller's are paid for.
    pub(super) async fn understand<M, T>(
        &self,
        method: Method,
        request: Request<M>,
        parse: impl FnOnce(M, &mut Call) -> Result<T, Fault>,
    ) -> Result<(Call, T), Status> {
        let Caller { peer, standing, .. } = caller(&request)?;
        let mut call = Call::new(method, peer);
        call.correlation = correlation(request.metadata().as_ref());
        let meant = parse(request.into_inner(), &mut call);
        standing.owe(call.worth_of_words());
        match meant {
            Ok(meant) => Ok((call, meant)),
            Err(fault) => {
                self.gate.refuse_invalid(&call, fault.field).await;
                Err(invalid(&fault))
            }
        }
    }

    /// Runs an operation of the vault through the gate.
    pub(super) async fn run<R, T, F, O>(&self, call: Call, resource: R, operation: O) -> Result<T, Status>
    where
        R: Resource,
        T: Send + 'static,
        F: Future<Output = Result<Unreleased<T>, vault::Error>> + Send + 'static,
        O: FnOnce(Arc<Vault>, Permit<R::Granted>) -> F + Send + 'static,
    {
        let vault = self.vault.clone();
        let about = About::of(&call);
        self.gate.run(call, resource, move |permit| operation(vault, permit)).await.map_err(|refusal| of_refusal(&about, refusal))
    }

    /// Runs an operation of the vault for each item through the gate, and says what became of each.
    pub(super) async fn run_each<R, T, F, O>(&self, call: Call, items: Vec<R>, operation: O) -> Result<Vec<Result<T, Status>>, Status>
    where
        R: Resource,
        F: Future<Output = Result<Unreleased<T>, vault::Error>> + Send,
        O: Fn(Arc<Vault>, usize, Permit<R::Granted>) -> F + Send,
    {
        let about = About::of(&call);
        let of_refusal = |refusal| of_refusal(&about, refusal);
        let each = self.gate.run_each(call, items, |position, permit| operation(self.vault.clone(), position, permit));
        let answers = each.await.map_err(of_refusal)?;
        Ok(answers.into_iter().map(|answer| answer.map_err(of_refusal)).collect())
    }

    /// Charges a call that is worth so many more.
    pub(super) fn charge(&self, caller: &Caller, call: &Call, more: u32) -> Result<(), Status> {
        caller.standing.charge(more).map_err(|too_much| refuse_too_much(&self.gate, &caller.peer, Some(call.method), too_much))
    }

    /// The bill of a call that goes through much to find little, once it is its principal's turn. So much effort will be worth a
    /// call.
    pub(super) async fn bill<M>(&self, method: Method, request: &Request<M>, for_a_call: usize) -> Result<Bill, Status> {
        let caller = caller(request)?;
        let too_much = |_| refuse_too_much(&self.gate, &caller.peer, Some(method), TooMuch::Searches);
        timeout(TURN, Bill::begin(&caller, for_a_call)).await.map_err(too_much)
    }

    /// Counts a call that was refused before anything was done for it. `why` is one word.
    pub(super) fn count_refused(&self, why: &'static str) {
        self.gate.refusals().count(why);
    }

    /// How long a page is to be.
    pub(super) fn page(&self, asked: u32) -> Result<PageLimits, Fault> {
        Ok(PageLimits { items: page_items(asked, self.page_max_items)?, bytes: self.page_max_bytes })
    }
}
