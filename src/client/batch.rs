//! Many values at once.

use tonic::Code;

use super::{Client, ClientError, Method, Refusal, Revealed, convert};
use crate::api;
use crate::api::reveal_batch_result::Outcome;
use crate::model::{Action, SecretBytes, SecretName, limits};

/// Which values to reveal at once, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RevealBatch {
    items: Vec<(SecretName, u64)>,
    reason: String,
    ticket: String,
}

impl RevealBatch {
    /// Of none yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The latest version of each of these.
    #[must_use]
    pub fn latest(mut self, names: impl IntoIterator<Item = SecretName>) -> Self {
        self.items.extend(names.into_iter().map(|name| (name, 0)));
        self
    }

    /// That version of one.
    #[must_use]
    pub fn version(mut self, name: SecretName, version: u64) -> Self {
        self.items.push((name, version));
        self
    }

    /// Why, for the audit log, with each item: at most 512 bytes; required of operators.
    #[must_use]
    pub fn reason(self, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..self }
    }

    /// The ticket it belongs to, for the audit log: at most 512 bytes.
    #[must_use]
    pub fn ticket(self, ticket: impl Into<String>) -> Self {
        Self { ticket: ticket.into(), ..self }
    }
}

impl Client {
    /// Returns many values in the clear: for each item, in the order in which they were named, the value or why there is
    /// none. The server is asked for 256 at once, and again for those that did not fit into its answer; each of these calls
    /// has the client's deadline to itself.
    ///
    /// # Errors
    /// Refused as a whole where an item stands there twice, or the vault is sealed or cannot put it on record; see
    /// [`ClientError`]. What one item lacks is in its own result.
    pub async fn reveal_batch(&self, batch: RevealBatch) -> Result<Vec<Result<Revealed, Refusal>>, ClientError> {
        let (reason, ticket) = (convert::remark("reason", batch.reason)?, convert::remark("ticket", batch.ticket)?);
        let mut results: Vec<Option<Result<Revealed, Refusal>>> = batch.items.iter().map(|_| None).collect();
        let mut open: Vec<usize> = (0..batch.items.len()).collect();
        while !open.is_empty() {
            let asked = &open[..open.len().min(limits::BATCH_ITEMS)];
            let item = |position: &usize| {
                let (name, version) = &batch.items[*position];
                api::RevealBatchItem { name: name.to_string(), version: *version }
            };
            let items = asked.iter().map(item).collect();
            let request = api::RevealBatchRequest { items, reason: reason.clone(), ticket: ticket.clone() };
            let answer = self.call(request).await?;
            if answer.results.len() != asked.len() {
                return Err(ClientError::Answer("a batch with more or fewer results than items"));
            }
            for (position, wire) in asked.iter().zip(answer.results) {
                results[*position] = Some(result(wire)?);
            }
            let fitted = |position: &usize| !results[*position].as_ref().is_some_and(did_not_fit);
            // What fits into no answer stays as it is told.
            if !asked.iter().any(fitted) {
                open.drain(..asked.len());
                continue;
            }
            open.retain(|position| results[*position].as_ref().is_none_or(did_not_fit));
        }
        Ok(results.into_iter().map(|result| result.expect("each was asked for until it was answered")).collect())
    }
}

fn did_not_fit(result: &Result<Revealed, Refusal>) -> bool {
    result.as_ref().is_err_and(|refusal| refusal.code == Code::ResourceExhausted)
}

fn result(wire: api::RevealBatchResult) -> Result<Result<Revealed, Refusal>, ClientError> {
    match wire.outcome {
        Some(Outcome::Revealed(revealed)) => {
            // First of all, so that the value is wiped whatever the rest of the answer is.
            let value = SecretBytes::new(revealed.payload);
            let expire_time = convert::time(revealed.expire_time)?;
            Ok(Ok(Revealed { value, version: revealed.version, revision: revealed.revision, expire_time }))
        }
        Some(Outcome::Failure(failure)) => Ok(Err(refusal(failure))),
        None => Err(ClientError::Answer("an item of a batch without a result")),
    }
}

fn refusal(wire: api::RevealFailure) -> Refusal {
    let missing_action = wire.missing_action.parse::<Action>().ok();
    Refusal {
        method: Method::RevealBatch,
        code: Code::from_i32(wire.code),
        message: wire.message,
        fields: Vec::new(),
        missing_action,
        retry_after: None,
        reason: String::new(),
    }
}
