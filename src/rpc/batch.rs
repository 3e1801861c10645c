//! `RevealBatch`: what a request asks for, and an answer that fits into one message.

use std::collections::HashSet;
use std::sync::Arc;

use tonic::Status;
use tonic_types::StatusExt;

use super::door::Door;
use super::field::{Fault, parsed, reason, ticket};
use super::show;
use crate::api;
use crate::api::reveal_batch_result::Outcome;
use crate::gate::Call;
use crate::model::{SecretName, limits};
use crate::vault::{Revealed, Room};

/// The longest result without a value, with its place in the answer. A test holds every wording to it.
const FAILURE_BYTES: usize = 112;

/// What a request asks for.
pub(super) struct Batch {
    names: Vec<SecretName>,
    versions: Arc<[u64]>,
}

impl Batch {
    pub(super) fn parse(message: api::RevealBatchRequest, call: &mut Call) -> Result<Self, Fault> {
        reason(call, &message.reason)?;
        ticket(call, &message.ticket)?;
        let fault = |why| Fault { field: "items", why };
        match message.items.len() {
            0 => return Err(fault("must not be empty")),
            1..=limits::BATCH_ITEMS => {}
            _ => return Err(fault("a batch has at most 256 items")),
        }
        let names: Vec<SecretName> = message.items.iter().map(|item| parsed(&item.name, "items.name")).collect::<Result<_, _>>()?;
        let versions: Arc<[u64]> = message.items.iter().map(|item| item.version).collect();
        let mut seen = HashSet::new();
        if !names.iter().zip(versions.iter()).all(|item| seen.insert(item)) {
            return Err(fault("a secret and version stands there twice"));
        }
        call.detail = vec![("items", names.len().to_string())];
        Ok(Self { names, versions })
    }

    /// Each item is worth a call, and what the words in its entry are; the first is that of the batch itself.
    pub(super) fn more_calls(&self, call: &Call) -> u32 {
        u32::try_from(self.names.len()).unwrap_or(u32::MAX).saturating_sub(1).saturating_mul(1 + call.worth_of_words())
    }

    pub(super) async fn reveal(self, door: &Door, call: Call) -> Result<api::RevealBatchResponse, Status> {
        let Self { names, versions } = self;
        // What each value adds to a message is less than what its encryption added to the row.
        let room = Arc::new(Room::new(door.message_max_bytes.saturating_sub(names.len() * FAILURE_BYTES)));
        let answers = door
            .run_each(call, names, move |vault, position, permit| {
                let (versions, room) = (versions.clone(), room.clone());
                async move { vault.open()?.reveal_within(permit, versions[position], &room).await }
            })
            .await?;
        Ok(api::RevealBatchResponse { results: answers.into_iter().map(result).collect() })
    }
}

fn result(answer: Result<Revealed, Status>) -> api::RevealBatchResult {
    let outcome = match answer {
        Ok(revealed) => Outcome::Revealed(api::RevealedSecret {
            payload: revealed.payload.into_exposed(),
            version: revealed.version,
            revision: revealed.revision,
            expire_time: revealed.expires.map(show::time),
        }),
        Err(status) => Outcome::Failure(failure(&status)),
    };
    api::RevealBatchResult { outcome: Some(outcome) }
}

/// What `RevealSecret` would have answered. The field at fault stands in the message: an item has no details of its own.
fn failure(status: &Status) -> api::RevealFailure {
    let details = status.get_error_details();
    let at_fault = details.bad_request().and_then(|bad| bad.field_violations.first());
    let message = at_fault.map_or_else(|| status.message().to_owned(), |fault| format!("{}: {}", fault.field, fault.description));
    let missing_action = details.error_info().and_then(|info| info.metadata.get("action")).cloned().unwrap_or_default();
    api::RevealFailure { code: status.code().into(), message, missing_action }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::api::Method;
    use crate::audit::AuditError;
    use crate::crypto::CryptoError;
    use crate::gate::Refusal;
    use crate::model::{Action, SecretBytes, Timestamp};
    use crate::rpc::status::{About, of_refusal};
    use crate::storage::StoreError;
    use crate::vault::Error;

    fn in_answer(results: Vec<api::RevealBatchResult>) -> usize {
        api::RevealBatchResponse { results }.encoded_len()
    }

    /// Else 256 failures could make an answer too long, after its values were opened.
    #[test]
    fn no_failure_is_longer_than_the_room_that_is_kept_for_it() {
        let long = || "x".repeat(9_000);
        let mut refusals = vec![
            Refusal::Sealed,
            Refusal::Absent,
            Refusal::PeopleOnly,
            Refusal::ReasonRequired,
            Refusal::PostQuantumRequired,
            Refusal::Interrupted,
            Refusal::Unaudited(AuditError::Unwritable(long().into())),
        ];
        refusals.extend(Action::ALL.iter().map(|missing| Refusal::Forbidden { missing: *missing }));
        let errors = [
            Error::Sealed,
            Error::Absent("secret"),
            Error::Absent("version"),
            Error::State("the secret is disabled: enable it first"),
            Error::State("the secret is destroyed: it can be restored until its recovery window ends"),
            Error::State("the value has expired: store a new one"),
            Error::from(CryptoError::NoSuchKey(1)),
            Error::from(CryptoError::Refused),
            Error::Integrity("an older version, which is another's,"),
            Error::NoRoom,
            Error::Store(StoreError::Full(long())),
            Error::Store(StoreError::Corrupt(long())),
            Error::Store(StoreError::Closed),
        ];
        refusals.extend(errors.into_iter().map(Refusal::Failed));
        let about = About { method: Method::RevealBatch, request_id: None };
        for refusal in refusals {
            let said = result(Err(of_refusal(&about, refusal)));
            assert!(in_answer(vec![said.clone()]) <= FAILURE_BYTES, "{said:?}");
        }
    }

    /// Else values that found room would not fit into the message.
    #[test]
    fn a_value_takes_less_of_the_message_than_of_its_row() {
        for length in [1, 127, 128, limits::PAYLOAD_BYTES] {
            let revealed = Revealed {
                payload: SecretBytes::new(vec![0; length]),
                version: u64::MAX,
                revision: u64::MAX,
                expires: Some(Timestamp::MAX),
            };
            assert!(in_answer(vec![result(Ok(revealed))]) < length + crate::crypto::OVERHEAD_BYTES);
        }
    }
}
