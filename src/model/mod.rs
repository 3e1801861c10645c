//! Words that every layer speaks. Nothing here touches a disk, a socket or a key.
//!
//! | file | words |
//! |---|---|
//! | `bytes` | [`SecretBytes`]: a value that wipes itself and does not show itself |
//! | `causes` | [`with_causes`]: an error in words |
//! | `id` | [`VaultId`], [`NamespaceId`], [`SecretId`], …: 16 random bytes each |
//! | `name` | [`NamespaceName`], [`SecretPath`], [`SecretName`], [`PathPattern`], [`RoleName`], [`HsmName`] |
//! | `principal` | [`SpiffeId`], [`TrustDomain`], [`Class`], [`Principal`] |
//! | `private` | [`is_private`]: who may read a private key |
//! | `action` | [`Action`]: the one closed list of what can be done |
//! | `kind` | [`SecretKind`], [`Environment`] |
//! | `text` | [`Text`]: bounded free text that cannot carry a token |
//! | `clock` | [`Timestamp`], [`Clock`] |
//! | `effort` | [`Effort`]: what a piece of work has cost so far |
//! | `limits` | the bounds of everything |
//!
//! Every parser here refuses with [`Invalid`], whose message is a constant: a value that was refused may be a
//! secret in the wrong place, so it is never repeated.

mod action;
mod bytes;
mod causes;
mod clock;
mod effort;
mod id;
mod kind;
pub mod limits;
mod name;
mod principal;
mod private;
mod text;

pub use action::{Action, ActionSet};
pub use bytes::SecretBytes;
pub use causes::with_causes;
pub use clock::{Clock, ClockWatch, FlooredClock, SystemClock, Timestamp};
pub use effort::Effort;
pub use id::{BindingId, NamespaceId, ProposalId, SecretId, SlotId, VaultId};
pub use kind::{Environment, SecretKind};
pub use name::{HsmName, NamespaceName, PathPattern, RoleName, SecretName, SecretPath};
pub use principal::{Class, Principal, SpiffeId, TrustDomain};
pub use private::is_private;
pub use text::{Text, looks_like_token};

/// Why a text was refused. The message is a constant: it never repeats what was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub &'static str);
