//! What can go wrong: what is wrong, and what to do next. No error holds a value.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::Method;
use super::tls::{ConnectError, WrongServer};
use crate::model::Action;

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered that it would not.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// No connection, or one that broke.
    #[error(
        "cannot reach {address}: {problem}; check that the server runs, the address, the network between, and that the certificate is current"
    )]
    Unreachable {
        /// `host:port`.
        address: String,
        /// The chain of causes.
        problem: String,
    },
    /// No mutual TLS: certificate files that cannot be used, or a server that did not prove to be the one expected.
    #[error(
        "no TLS with {address}: {problem}; check ca, certificate, key and server_id in the profile, and that the certificate is neither expired nor revoked"
    )]
    Tls {
        /// `host:port`.
        address: String,
        /// The chain of causes.
        problem: String,
    },
    /// No answer in time. Whether a change took place is not known.
    #[error("{} got no answer within {} s; a change may have taken place: look before repeating it", method.name(), deadline.as_secs_f64())]
    TimedOut {
        /// The RPC.
        method: Method,
        /// How long was waited, all attempts together.
        deadline: Duration,
    },
    /// Refused before it was sent.
    #[error("{field}: {why}")]
    Invalid {
        /// What was refused.
        field: &'static str,
        /// Why.
        why: &'static str,
    },
    /// The server's answer makes no sense to this client.
    #[error("the server's answer does not make sense to this client ({0}); are both of the same version?")]
    Answer(&'static str),
    /// The profile cannot be used.
    #[error("profile {}: {problem}", path.display())]
    Profile {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        problem: String,
    },
    /// The random generator failed, so there is no request id.
    #[error("the machine's random generator failed: nothing was sent")]
    NoRandomness,
}

/// A server's refusal, with its `google.rpc` details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The RPC.
    pub method: Method,
    /// The gRPC code.
    pub code: Code,
    /// The server's message.
    pub message: String,
    /// The request's fields that the server objects to (`BadRequest`).
    pub fields: Vec<FieldProblem>,
    /// The action that the caller lacks (`ErrorInfo`, metadata `action`).
    pub missing_action: Option<Action>,
    /// How long to wait before the next try (`RetryInfo`).
    pub retry_after: Option<Duration>,
    /// The reason in one word, e.g. `SEALED` (`ErrorInfo`); empty if there is none.
    pub reason: String,
}

/// One field of a request, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// The field.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl ClientError {
    /// Whether the same call may succeed a little later: the server was unavailable, but not sealed, or busy
    /// and says for how long.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            // Too many calls at once: the server says after what time there is room.
            Self::Refused(refusal) if refusal.code == Code::ResourceExhausted => refusal.retry_after.is_some(),
            Self::Refused(refusal) => refusal.code == Code::Unavailable && !refusal.is_sealed(),
            Self::Unreachable { .. } => true,
            _ => false,
        }
    }

    /// The server's refusal, if this is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        if let Self::Refused(refusal) = self { Some(refusal) } else { None }
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.refusal().and_then(|refusal| refusal.retry_after)
    }

    /// From what kept the first connection from being made.
    pub(super) fn of_connect(address: &str, error: &ConnectError) -> Self {
        match error {
            ConnectError::Address => Self::Invalid { field: "address", why: "is written host:port, e.g. vault.internal:7443" },
            ConnectError::Transport { source, .. } => Self::of_connection(address, source.as_ref()),
            other => Self::Tls { address: address.to_owned(), problem: chain(other) },
        }
    }

    /// From what broke a connection. Trouble with a certificate does not pass, trouble with the network may.
    pub(super) fn of_connection(address: &str, error: &(dyn Error + 'static)) -> Self {
        let (address, problem) = (address.to_owned(), chain(error));
        // HTTP/2 keeps the words of an alert alone: the server, which speaks last in TLS 1.3, would not have the certificate.
        if problem.contains("received fatal alert") {
            return Self::Tls { address, problem: format!("the server refuses this certificate: {problem}") };
        }
        if causes(Some(error)).any(is_tls) { Self::Tls { address, problem } } else { Self::Unreachable { address, problem } }
    }

    /// From the status of a call; `None` when time ran out. A status with a source never came from the server.
    pub(super) fn of_status(method: Method, address: &str, status: &Status) -> Option<Self> {
        let cause = status.source();
        if status.code() == Code::DeadlineExceeded || causes(cause).any(<dyn Error>::is::<tonic::TimeoutExpired>) {
            return None;
        }
        Some(match cause {
            Some(cause) => Self::of_connection(address, cause),
            None => Self::Refused(Box::new(Refusal::of(method, status))),
        })
    }
}

impl Refusal {
    /// Whether the vault is sealed.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.reason == "SEALED"
    }

    /// Whether the caller may not do that there, or may not know that it is there.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self.code, Code::PermissionDenied | Code::NotFound)
    }

    /// The code as the gRPC specification spells it, e.g. `NOT_FOUND`.
    #[must_use]
    pub const fn code_word(&self) -> &'static str {
        match self.code {
            Code::Ok => "OK",
            Code::Cancelled => "CANCELLED",
            Code::Unknown => "UNKNOWN",
            Code::InvalidArgument => "INVALID_ARGUMENT",
            Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Code::NotFound => "NOT_FOUND",
            Code::AlreadyExists => "ALREADY_EXISTS",
            Code::PermissionDenied => "PERMISSION_DENIED",
            Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Code::FailedPrecondition => "FAILED_PRECONDITION",
            Code::Aborted => "ABORTED",
            Code::OutOfRange => "OUT_OF_RANGE",
            Code::Unimplemented => "UNIMPLEMENTED",
            Code::Internal => "INTERNAL",
            Code::Unavailable => "UNAVAILABLE",
            Code::DataLoss => "DATA_LOSS",
            Code::Unauthenticated => "UNAUTHENTICATED",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn next_step(&self) -> &'static str {
        match self.code {
            _ if self.is_sealed() => "a custodian must unseal the vault",
            Code::NotFound => "check the name; without the right to describe it, what exists looks absent too",
            Code::PermissionDenied if self.method == Method::Unseal => {
                "check the passphrase, and that the server's configuration names you"
            }
            Code::PermissionDenied if self.missing_action.is_none() => "no role of your own changes that",
            Code::PermissionDenied => "ask an administrator for a role that allows it",
            Code::Unauthenticated => "check that the certificate is current and from a CA that the server trusts",
            Code::AlreadyExists if self.method != Method::CreateSecret => "choose another name, or change what is there",
            Code::AlreadyExists => "update it instead, or restore or purge it if it is destroyed",
            Code::Aborted if self.method == Method::RotateKey => "somebody else rotated it first: list the keys",
            Code::Aborted => "somebody else changed it first: describe it again, then repeat with its new revision",
            Code::FailedPrecondition if matches!(self.method, Method::Unseal | Method::Seal) => {
                "look at the vault's status and the server's log"
            }
            Code::FailedPrecondition if !self.method.path().contains("SecretService") => "change that first",
            Code::FailedPrecondition => "describe it: its state does not allow this",
            Code::ResourceExhausted => "wait and try again, or ask for a higher limit",
            Code::Unavailable => "try again; if it goes on, look at the vault's status",
            Code::InvalidArgument | Code::OutOfRange => "correct the request",
            Code::Unimplemented => "the server is older than this client",
            _ => "look in the server's log",
        }
    }

    fn of(method: Method, status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        let problem = |violation: &tonic_types::FieldViolation| FieldProblem {
            field: violation.field.clone(),
            problem: violation.description.clone(),
        };
        Self {
            method,
            code: status.code(),
            message: status.message().to_owned(),
            fields: violations.iter().map(problem).collect(),
            missing_action: info.and_then(|info| info.metadata.get("action")).and_then(|word| word.parse().ok()),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        for FieldProblem { field, problem } in &self.fields {
            match field.is_empty() {
                true => write!(f, "; {problem}")?,
                false => write!(f, "; {field}: {problem}")?,
            }
        }
        if let Some(action) = self.missing_action {
            write!(f, "; the missing action is `{action}`")?;
        }
        write!(f, " ({}); {}", self.code_word(), self.next_step())?;
        match self.retry_after {
            Some(delay) => write!(f, ", not before {} s have passed", delay.as_secs_f64()),
            None => Ok(()),
        }
    }
}

/// An error and all its causes. `io::Error` hides the error that it wraps from `source`, so it is asked itself.
fn causes<'a>(first: Option<&'a (dyn Error + 'static)>) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(first, |error| {
        let error: &'a (dyn Error + 'static) = *error;
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        wrapped.map_or_else(|| error.source(), |wrapped| Some(wrapped))
    })
}

fn is_tls(error: &(dyn Error + 'static)) -> bool {
    error.is::<rustls::Error>() || error.is::<WrongServer>()
}

/// The messages of an error and its causes, each said once.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut said = String::new();
    for cause in causes(Some(error)) {
        let message = cause.to_string();
        if !said.contains(&message) {
            said.push_str(if said.is_empty() { "" } else { ": " });
            said.push_str(&message);
        }
    }
    said
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
