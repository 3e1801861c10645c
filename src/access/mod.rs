//! Access: may this principal do this, there, now? Everything here is a pure function over one snapshot.
//!
//! ```text
//! Policy (roles, bindings, namespaces by name)  ── immutable, swapped as a whole
//!    │ decide(custodians, principal, actions, target, now)
//!    ▼
//! Decision: Allow(rule) | Deny
//! ```
//!
//! | word | meaning |
//! |---|---|
//! | role | a named set of grants |
//! | grant | actions on the paths of a pattern |
//! | binding | a role given to a principal, in one namespace or over the vault, with start and end |
//! | target | what a call concerns, resolved to ids |
//!
//! Default deny: without a live binding, nothing. A binding on the vault reaches no secret (see [`VAULT_ACTIONS`]).
//! [`Policy::check`] says which changes an access administrator may make, and keeps them from raising themselves.

mod builtin;
mod change;
mod current;
mod decide;
mod policy;

pub use builtin::built_in_roles;
pub use change::{Change, ChangeRefused, check_grants};
pub use current::CurrentPolicy;
pub use decide::{Decision, Target, decide};
pub use policy::{Binding, Grant, Held, NamespaceEntry, Policy, Role, Scope, VAULT_ACTIONS};
