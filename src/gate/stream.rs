//! A change whose answer goes on for a while: a backup. Its intent is on disk before the first piece leaves, and its outcome says
//! how it ended. What its caller may do is asked again while it goes on.

use std::future::Future;
use std::sync::Arc;

use super::record::Record;
use super::{Admitted, Call, Failure, Gate, Permit, Refusal, Unreleased, WholeVault};

/// A stream under way. When it is dropped, its end is recorded.
pub struct Streaming {
    gate: Arc<Gate>,
    call: Call,
    resource: WholeVault,
    record: Record,
    intent: u64,
    outcome: &'static str,
    detail: Vec<(&'static str, String)>,
}

impl Gate {
    /// Begins a stream, if the call may; what `operation` made of it is released at once, since its intent is on disk.
    ///
    /// # Errors
    /// Each [`Refusal`]; then nothing was released.
    pub async fn stream<T, E, F, O>(self: &Arc<Self>, call: Call, resource: WholeVault, operation: O) -> Result<(Streaming, T), Refusal<E>>
    where
        E: Failure,
        F: Future<Output = Result<Unreleased<T>, E>>,
        O: FnOnce(Permit<()>) -> F,
    {
        let Admitted { permit, record, .. } = self.admit(call.clone(), resource).await?;
        let intent = self.audit.append(record.intent()).await.map_err(Refusal::Unaudited)?.sequence;
        let mut streaming = Streaming { gate: self.clone(), call, resource, record, intent, outcome: "interrupted", detail: Vec::new() };
        match operation(permit.with_intent(Some(intent))).await {
            Ok(begun) => {
                streaming.detail.clone_from(&begun.detail);
                Ok((streaming, begun.release()))
            }
            Err(error) => {
                streaming.outcome = error.word();
                Err(Refusal::Failed(error))
            }
        }
    }
}

impl Streaming {
    /// Whether it may go on, by the policy of this moment.
    ///
    /// # Errors
    /// [`Refusal::Sealed`], or the caller may not any more.
    pub fn goes_on<E: Failure>(&self) -> Result<(), Refusal<E>> {
        self.gate.decide(&self.call, self.resource).map(drop).map_err(|denied| denied.refusal)
    }

    /// The same with more for the entry of its end.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.detail.push((key, value.to_string()));
        self
    }

    /// Ends it; `outcome` stands in the entry: `ok`, or a word for what went wrong.
    pub fn end(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        // As an outcome it rides the next group; there is nobody left to refuse if it cannot.
        let _ = self.gate.audit.enqueue(self.record.clone().streamed(self.intent, self.outcome, &self.detail));
    }
}
