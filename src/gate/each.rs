//! A batch: several reads in one call. Each item has a permit of its own and an entry of its own; the entries go to disk
//! together, and until they are all there nothing of the batch leaves.

use std::future::Future;

use super::record::Record;
use super::{Admitted, Call, Denied, Failure, Gate, Nature, Permit, Refusal, Resource, Unreleased, needs};
use crate::audit::Draft;

impl Gate {
    /// Runs a read for each item, one after the other, and says what became of each. `operation` gets the item's position
    /// beside its permit. The policy is asked for each item anew: what is taken away meanwhile is not revealed.
    ///
    /// # Errors
    /// [`Refusal::Sealed`] and [`Refusal::Unaudited`], for the batch as a whole: then nothing was released.
    ///
    /// # Panics
    /// The RPC is a change.
    pub async fn run_each<R, T, E, F, O>(&self, call: Call, items: Vec<R>, operation: O) -> Result<Vec<Result<T, Refusal<E>>>, Refusal<E>>
    where
        R: Resource,
        E: Failure,
        F: Future<Output = Result<Unreleased<T>, E>>,
        O: Fn(usize, Permit<R::Granted>) -> F,
    {
        assert_eq!(needs(call.method).nature, Nature::Read, "a change has an intent, which this does not write");
        let (mut answers, mut denials) = (Vec::with_capacity(items.len()), Vec::new());
        let mut entries = Vec::with_capacity(items.len());
        for (position, item) in items.into_iter().enumerate() {
            answers.push(match self.decide(&call, item) {
                Ok(admitted) => {
                    let (answer, entry) = ask(admitted, |permit| operation(position, permit)).await;
                    entries.push(entry);
                    answer.map_err(Refusal::Failed)
                }
                Err(Denied { refusal: Refusal::Sealed, draft }) => {
                    self.refuse(*draft, &call).await;
                    return Err(Refusal::Sealed);
                }
                Err(Denied { refusal, draft }) => {
                    denials.extend(self.is_to_be_written(&call).then_some(*draft));
                    Err(refusal)
                }
            });
            // A long batch holds up nobody else's call.
            tokio::task::yield_now().await;
        }
        // A refusal stands whether or not its entry can be written; a value leaves only if all entries are.
        let (denied, written) = (self.audit.append_all(denials), self.audit.append_all(entries));
        let _ = denied.await;
        written.await.map_err(Refusal::Unaudited)?;
        Ok(answers.into_iter().map(|answer| answer.map(Unreleased::release)).collect())
    }
}

async fn ask<G, T, E: Failure, F>(admitted: Admitted<G>, operation: impl FnOnce(Permit<G>) -> F) -> (Result<Unreleased<T>, E>, Draft)
where
    F: Future<Output = Result<Unreleased<T>, E>>,
{
    let Admitted { permit, record, .. } = admitted;
    let answer = operation(permit).await;
    let entry = Record::read(record, &answer);
    (answer, entry)
}
