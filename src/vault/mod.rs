//! The vault: what needs a permit. It turns names into row keys and values into ciphertext, and knows nothing of the wire.
//!
//! ```text
//! Vault ── sealed: header row only
//!   │ unseal(passphrase): header -> root key -> system key -> namespaces, keyrings, policy
//!   ▼
//! Open  ── every operation takes a Permit and returns an Unreleased answer
//!            one storage read, one envelope (secret::reveal)
//! ```
//!
//! | file | what |
//! |---|---|
//! | `lifecycle` | [`Vault`]: init, unseal, seal; sealed and open are different types |
//! | `open` | [`Open`]: what is in memory while the vault is open |
//! | `row`, `record`, `rows` | keys of rows, the codec of a head, records under the system key |
//! | `secret/` | the operations on secrets |
//! | `namespace`, `role`, `key` | namespaces, roles and bindings, key versions |
//! | `policy` | the rows of roles and bindings, and the one way in which they change |
//! | `purge`, `settle` | the vault's own work: ending recovery windows, settling changes that a crash left in doubt |
//! | `page` | page tokens |

mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod key;
mod lifecycle;
mod namespace;
mod open;
mod page;
mod policy;
mod purge;
mod record;
mod role;
mod row;
mod rows;
mod secret;
mod settle;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use key::{ALGORITHM, KeyInfo};
pub use lifecycle::{FirstAdministrators, History, Pins, Vault};
pub use namespace::{NamespaceInfo, NamespaceLimits, NewNamespace};
pub use open::Open;
pub use page::{Page, PageLimits};
pub use role::{BindingDraft, BindingFilter, BindingInfo, RoleDraft, RoleInfo};
pub use secret::{
    ChangeKind, Expiry, MetadataChange, NewSecret, NewVersion, Revealed, Room, SecretChange, SecretInfo, ShownState, StateChange, Stored,
    TokenDetails, VersionInfo, Watch, WatchFrom,
};

use crate::access::ChangeRefused;
use crate::gate::Permit;
use crate::model::SpiffeId;

/// Who a row says made the change.
fn author<G>(permit: &Permit<G>) -> String {
    permit.principal().map_or_else(|| "strongroom".to_owned(), |principal| principal.id.to_string())
}

/// Who asks; what the vault does by itself changes no policy.
fn caller<G>(permit: &Permit<G>) -> Result<SpiffeId, Error> {
    permit.principal().map(|principal| principal.id.clone()).ok_or(Error::Policy(ChangeRefused::NotAdministrator))
}
