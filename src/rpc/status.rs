//! The one map from a refusal to a `tonic::Status`. Causes are logged and never sent.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::field::Fault;
use crate::access::ChangeRefused;
use crate::api::Method;
use crate::gate::{Call, Refusal};
use crate::identity::TooMuch;
use crate::model::{Invalid, Text, limits, with_causes};
use crate::seal::SealError;
use crate::storage::StoreError;
use crate::vault::Error;

/// For what is absent and for what is forbidden, to the letter.
const ABSENT: &str = "not found, or not visible to you";
const DOMAIN: &str = "strongroom";

/// A call whose connection proved nothing. The acceptor lets none through; this says so if it ever did.
pub(super) fn unidentified() -> Status {
    Status::unauthenticated("the connection proved no principal")
}

/// A field that makes no sense.
pub(super) fn invalid(fault: &Fault) -> Status {
    let details = ErrorDetails::with_bad_request_violation(fault.field, fault.why);
    Status::with_error_details(Code::InvalidArgument, "the request makes no sense", details)
}

/// When a caller that had too many calls under way is to try again.
const SOON: Duration = Duration::from_millis(100);

/// A call of a principal that has had too many, and the word under which it is counted.
pub(super) fn of_too_much(too_much: TooMuch) -> (&'static str, Status) {
    match too_much {
        TooMuch::Calls => ("too_many_calls", exhausted("you have as many calls under way as a principal may; wait for some of them", SOON)),
        TooMuch::Searches => (
            "too_many_searches",
            exhausted("you have as many lists, look-ups and readings under way as a principal may; wait for some of them", SOON),
        ),
        TooMuch::Rate { retry_after } => (
            "too_fast",
            exhausted("you call more often than a principal may; wait, or have `limits.calls_per_principal_per_s` raised", retry_after),
        ),
    }
}

/// A call too many in all.
pub(super) fn server_busy() -> Status {
    exhausted("the server has as many calls under way as it may; try again", SOON)
}

/// A refusal that passes by itself after a time.
fn exhausted(message: &str, retry_after: Duration) -> Status {
    Status::with_error_details(Code::ResourceExhausted, message, ErrorDetails::with_retry_info(Some(retry_after)))
}

/// Which call a line of the log is about.
pub(super) struct About {
    pub(super) method: Method,
    pub(super) request_id: Option<Text<{ limits::REQUEST_ID_BYTES }>>,
}

impl About {
    pub(super) fn of(call: &Call) -> Self {
        Self { method: call.method, request_id: call.request_id.clone().or_else(|| call.correlation.clone()) }
    }

    /// The caller's own id of the request, by which the audit log has it too; `-` if there is none.
    fn request_id(&self) -> &str {
        self.request_id.as_ref().map_or("-", |id| id.as_str())
    }
}

/// Why a call got no answer.
pub(super) fn of_refusal(about: &About, refusal: Refusal<Error>) -> Status {
    match refusal {
        Refusal::Sealed => sealed(),
        Refusal::Absent => Status::not_found(ABSENT),
        Refusal::Forbidden { missing } => {
            let details = ErrorDetails::with_error_info("MISSING_ACTION", DOMAIN, [("action".to_owned(), missing.word().to_owned())]);
            Status::with_error_details(Code::PermissionDenied, "you may not do that here", details)
        }
        Refusal::PeopleOnly => Status::permission_denied("only operators may do that: your certificate is a workload's"),
        Refusal::ReasonRequired => {
            invalid(&Fault { field: "reason", why: "operators must say why they reveal a secret, e.g. `--reason 'case 4711'`" })
        }
        Refusal::PostQuantumRequired => {
            Status::failed_precondition("this namespace demands a post-quantum key exchange: connect with X25519MLKEM768")
        }
        Refusal::Unaudited(error) => {
            tracing::error!(
                method = about.method.name(),
                request_id = about.request_id(),
                error = with_causes(&error),
                "a call was refused since it could not be recorded"
            );
            unavailable("the audit log cannot be written, so nothing was done: `status` says why")
        }
        Refusal::Interrupted => {
            tracing::error!(method = about.method.name(), request_id = about.request_id(), "an operation ended without an answer");
            Status::internal("the operation was interrupted: look whether it took effect")
        }
        Refusal::Failed(error) => of_error(about, &error),
    }
}

fn of_error(about: &About, error: &Error) -> Status {
    match error {
        Error::Sealed => sealed(),
        Error::Absent("secret" | "namespace") => Status::not_found(ABSENT),
        Error::Absent(what) => Status::not_found(format!("there is no such {what}")),
        Error::Exists if about.method == Method::CreateSecret => {
            Status::already_exists("the name is taken, perhaps by a destroyed secret that can still be restored")
        }
        Error::Exists => Status::already_exists("the name is taken"),
        Error::Conflict => Status::aborted("it has changed since you looked: read it again"),
        Error::State(why) => Status::failed_precondition(*why),
        Error::NotThisVault(why) => {
            tracing::error!(method = about.method.name(), request_id = about.request_id(), why, "the store is not this vault's");
            Status::failed_precondition(*why)
        }
        Error::Invalid { field, why } => invalid(&Fault { field, why }),
        Error::NoRoom => Status::resource_exhausted("it did not fit into this answer, and was not opened: ask for it again"),
        Error::Behind => Status::out_of_range("what has changed since that revision is not held any more: list again, and watch from now"),
        Error::TooMany(what) => passing(Code::ResourceExhausted, &format!("too many {what} at this time: end some, or try again later")),
        Error::SlotsMissing(_) | Error::RowsUnderKey(_) => Status::failed_precondition(error.to_string()),
        Error::OwnProposal | Error::NotYours => Status::permission_denied(error.to_string()),
        Error::Policy(refused) => of_policy(*refused),
        Error::Backup(_) => {
            tracing::error!(
                method = about.method.name(),
                request_id = about.request_id(),
                error = with_causes(error),
                "a backup could not be made"
            );
            Status::internal("the backup could not be made: the server's log says why")
        }
        Error::Unknown => Status::unknown("nobody knows whether the change happened: read it again"),
        Error::Seal(refused) | Error::Quorum { why: refused, .. } => of_seal(about, refused),
        Error::Store(StoreError::Full(_)) => {
            tracing::error!(
                method = about.method.name(),
                request_id = about.request_id(),
                error = with_causes(error),
                "the store takes no writes"
            );
            unavailable("the store takes no writes for now: `status` says why")
        }
        Error::Store(StoreError::Fatal(_) | StoreError::Closed) => {
            tracing::error!(
                method = about.method.name(),
                request_id = about.request_id(),
                error = with_causes(error),
                "the store is at its end"
            );
            Status::unavailable("the store serves no more, and the server ends: its log says why")
        }
        Error::Integrity(_) => {
            tracing::error!(
                method = about.method.name(),
                request_id = about.request_id(),
                error = with_causes(error),
                "what was read is not what was written"
            );
            Status::data_loss("what was read is not what was written: the server's log says more")
        }
        Error::Store(_) | Error::Crypto(_) => {
            tracing::error!(
                method = about.method.name(),
                request_id = about.request_id(),
                error = with_causes(error),
                "an operation failed"
            );
            Status::internal("the operation failed: the server's log says more")
        }
    }
}

fn of_policy(refused: ChangeRefused) -> Status {
    let text = refused.to_string();
    match refused {
        ChangeRefused::Unknown => Status::not_found(text),
        ChangeRefused::Exists => Status::already_exists(text),
        ChangeRefused::Invalid { field, why } => invalid(&Fault { field, why }),
        ChangeRefused::NotAdministrator | ChangeRefused::OwnRole | ChangeRefused::OwnBinding | ChangeRefused::SeparationOfDuties => {
            Status::permission_denied(text)
        }
        ChangeRefused::BuiltIn
        | ChangeRefused::InUse
        | ChangeRefused::NotSuspended
        | ChangeRefused::LastAdministrator
        | ChangeRefused::Full(_) => Status::failed_precondition(text),
    }
}

fn of_seal(about: &About, refused: &SealError) -> Status {
    match refused {
        SealError::Passphrase(Invalid(why)) => invalid(&Fault { field: "passphrase", why }),
        SealError::NoSlotOpens => Status::permission_denied("the passphrase is wrong, or its slot was altered"),
        SealError::OutOfMemory => unavailable("not enough memory for Argon2id"),
        SealError::Share(why) => {
            let details = ErrorDetails::with_bad_request_violation("share", why.to_string());
            Status::with_error_details(Code::InvalidArgument, "the request makes no sense", details)
        }
        SealError::QuorumFailed => Status::permission_denied(refused.to_string()),
        SealError::NoSuchSlot(_) => Status::not_found(refused.to_string()),
        SealError::TooManySlots
        | SealError::LastSlot
        | SealError::SlotUnaccounted(_)
        | SealError::SlotNamedTwice(_)
        | SealError::TooFewShares { .. }
        | SealError::Token(_) => Status::failed_precondition(refused.to_string()),
        SealError::Tampered | SealError::Malformed(_) | SealError::Parameters(_) | SealError::Random(_) | SealError::Crypto(_) => {
            tracing::error!(
                method = about.method.name(),
                request_id = about.request_id(),
                error = with_causes(refused),
                "the vault's header cannot be opened"
            );
            Status::data_loss("the vault's header is damaged: the server's log says more")
        }
    }
}

fn sealed() -> Status {
    let details = ErrorDetails::with_error_info("SEALED", DOMAIN, []);
    Status::with_error_details(Code::Unavailable, "the vault is sealed", details)
}

/// The server ends while a watch goes on.
pub(super) fn ending() -> Status {
    unavailable("the server is ending: go on after the last revision once it is back")
}

/// A caller who does not read what it asked for.
pub(super) fn too_slow() -> Status {
    passing(Code::ResourceExhausted, "you read too slowly: go on after the last revision that you have read")
}

fn unavailable(message: &str) -> Status {
    passing(Code::Unavailable, message)
}

/// What passes by itself, perhaps.
fn passing(code: Code, message: &str) -> Status {
    Status::with_error_details(code, message, ErrorDetails::with_retry_info(Some(Duration::from_secs(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(status: Status) -> (i32, String, Vec<u8>, usize) {
        (status.code().into(), status.message().to_owned(), status.details().to_vec(), status.metadata().len())
    }

    // immune: row-11
    #[test]
    fn absent_and_forbidden_are_one_answer() {
        let about = About { method: Method::RevealSecret, request_id: None };
        let forbidden = of_refusal(&about, Refusal::Absent);
        let absent = of_refusal(&about, Refusal::Failed(Error::Absent("secret")));
        let no_namespace = of_refusal(&about, Refusal::Failed(Error::Absent("namespace")));
        assert_eq!(bytes(forbidden.clone()), bytes(absent));
        assert_eq!(bytes(forbidden), bytes(no_namespace));
    }

    /// Nothing is wrong with any field of such a request: another vault, or this one tomorrow, takes it.
    #[test]
    fn of_what_the_vault_has_enough_one_more_is_no_fault_of_the_request() {
        let about = About { method: Method::CreateRole, request_id: None };
        for full in [Error::Policy(ChangeRefused::Full("enough roles")), Error::State("enough namespaces")] {
            let status = of_refusal(&about, Refusal::Failed(full));
            assert_eq!(status.code(), Code::FailedPrecondition);
            assert!(status.get_error_details().bad_request().is_none());
        }
    }
}
