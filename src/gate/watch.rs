//! A watch: a read that goes on. What its caller may see is decided for each thing that is told, by the policy in force at that
//! moment and not by the one under which it began. Two entries stand for it: one before anything is told, one at its end.

use std::future::Future;
use std::sync::Arc;

use super::record::Record;
use super::{Admitted, Below, Call, Failure, Gate, Permit, Refusal, Resource, Unreleased};

/// A watch under way. When it is dropped, its end is recorded and counted.
pub struct Watching<R: Resource + Clone = Below> {
    gate: Arc<Gate>,
    call: Call,
    resource: R,
    record: Record,
    begun: u64,
    told: u64,
    why: &'static str,
}

impl Gate {
    /// Begins a watch, if the call may; what `operation` made of it is released once that is on disk.
    ///
    /// # Errors
    /// Each [`Refusal`]; then nothing was released.
    pub async fn watch<R, T, E, F, O>(self: &Arc<Self>, call: Call, resource: R, operation: O) -> Result<(Watching<R>, T), Refusal<E>>
    where
        R: Resource + Clone,
        E: Failure,
        F: Future<Output = Result<Unreleased<T>, E>>,
        O: FnOnce(Permit<R::Granted>) -> F,
    {
        let Admitted { permit, record, .. } = self.admit(call.clone(), resource.clone()).await?;
        let answer = operation(permit).await;
        let written = self.audit.append(record.clone().read(&answer)).await.map_err(Refusal::Unaudited)?;
        let begun = answer.map(Unreleased::release).map_err(Refusal::Failed)?;
        self.watches.begin();
        let watching = Watching { gate: self.clone(), call, resource, record, begun: written.sequence, told: 0, why: "interrupted" };
        Ok((watching, begun))
    }
}

impl<R: Resource + Clone> Watching<R> {
    /// A permit for what the caller may see now.
    ///
    /// # Errors
    /// [`Refusal::Sealed`], or nothing of it any more: the watch is to end.
    pub fn permit<E: Failure>(&self) -> Result<Permit<R::Granted>, Refusal<E>> {
        self.gate.decide(&self.call, self.resource.clone()).map(|admitted| admitted.permit).map_err(|denied| denied.refusal)
    }

    /// What is told; counted for the entry of the end.
    pub fn release<T>(&mut self, told: Unreleased<Vec<T>>) -> Vec<T> {
        let told = told.release();
        self.told += told.len() as u64;
        told
    }

    /// One thing that is told; counted likewise.
    pub fn release_one<T>(&mut self, told: Unreleased<T>) -> T {
        self.told += 1;
        told.release()
    }

    /// Ends it; `why` stands in the entry.
    pub fn end(mut self, why: &'static str) {
        self.why = why;
    }
}

impl<R: Resource + Clone> Drop for Watching<R> {
    fn drop(&mut self) {
        self.gate.watches.end(self.why);
        // As an outcome it rides the next group; there is nobody left to refuse if it cannot.
        let _ = self.gate.audit.enqueue(self.record.clone().ended(self.begun, self.told, self.why));
    }
}
