//! Why a call got no answer.

use crate::audit::AuditError;
use crate::model::Action;

/// What the gate must know of an operation's own errors.
pub trait Failure: Send + 'static {
    /// One word for the audit entry, e.g. `conflict`.
    fn word(&self) -> &'static str;

    /// More for the audit entry: never a value or anything derived from one.
    fn detail(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// Why a call got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Refusal<E> {
    /// The vault is sealed.
    #[error("the vault is sealed")]
    Sealed,
    /// It does not exist, or the caller may not know that it does.
    #[error("not found, or not visible to the caller")]
    Absent,
    /// The caller may see it, but not do that with it.
    #[error("the caller lacks the action {missing}")]
    Forbidden {
        /// The action that is missing.
        missing: Action,
    },
    /// Only people change who may do what.
    #[error("only operators may do that: the certificate is a workload's")]
    PeopleOnly,
    /// An operator reveals only for a reason.
    #[error("an operator must give a reason")]
    ReasonRequired,
    /// The namespace demands a post-quantum key exchange.
    #[error("the namespace demands a post-quantum key exchange")]
    PostQuantumRequired,
    /// It could not be recorded, so nothing left and nothing was begun.
    #[error("the audit log cannot be written")]
    Unaudited(#[source] AuditError),
    /// The operation ended without its answer; whether it took effect is recorded.
    #[error("the operation was interrupted")]
    Interrupted,
    /// The operation itself failed.
    #[error(transparent)]
    Failed(E),
}

impl<E: Failure> Refusal<E> {
    /// One word for the audit entry.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Absent => "not_visible",
            Self::Forbidden { .. } => "permission_denied",
            Self::PeopleOnly => "people_only",
            Self::ReasonRequired => "reason_required",
            Self::PostQuantumRequired => "post_quantum_required",
            Self::Unaudited(_) => "unaudited",
            Self::Interrupted => "interrupted",
            Self::Failed(error) => error.word(),
        }
    }
}
