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
//! | `lifecycle` | [`Vault`]: sealed and open are different types |
//! | `init`, `unseal`, `gathering` | a new vault; from sealed to open, by a passphrase or by the shares that custodians give |
//! | `automatic` | a vault that opens by itself, with the key of an HSM |
//! | `proposal/` | what one person proposes and another confirms |
//! | `slot`, `ceremony` | slots shown, tested and changed; a new root key |
//! | `open` | [`Open`]: what is in memory while the vault is open |
//! | `row`, `record`, `rows` | keys of rows, the codec of a head, records under the system key |
//! | `secret/` | the operations on secrets |
//! | `namespace`, `role`, `key` | namespaces, roles and bindings, key versions |
//! | `retire` | the end of a key version, and the statements that prove it |
//! | `rewrap/` | data keys under the active key version, in the background; rows by key version; keys over age |
//! | `policy` | the rows of roles and bindings, and the one way in which they change |
//! | `purge`, `settle` | the vault's own work: ending recovery windows, settling changes that a crash left in doubt |
//! | `recipient`, `backup` | whom backups are encrypted to; the rows of one moment, read while it serves |
//! | `restore`, `drill` | a vault out of an archive, of a new epoch; whether its keys open what they should |
//! | `page` | page tokens |

mod automatic;
mod backup;
mod ceremony;
mod drill;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod gathering;
mod init;
mod key;
mod lifecycle;
mod namespace;
mod open;
mod page;
mod policy;
mod proposal;
mod purge;
mod recipient;
mod record;
mod restore;
mod retire;
mod rewrap;
mod role;
mod row;
mod rows;
mod secret;
mod settle;
mod slot;
#[cfg(test)]
mod tests;
mod unseal;

pub use automatic::{Tokens, Waiting};
pub use backup::{BackupDone, BackupInfo, BackupRun};
pub use ceremony::{CarriedOut, NewShare, Presented};
pub use drill::{Canary, Opened};
pub use error::Error;
pub use gathering::QuorumProgress;
pub use init::{FirstPeople, FirstSlot};
pub use key::{ALGORITHM, KeyInfo, Rotation};
pub use lifecycle::{History, Pins, Vault};
pub use namespace::{NamespaceInfo, NamespaceLimits, NewNamespace};
pub use open::Open;
pub use page::{Page, PageLimits};
pub use proposal::{NewSlot, ProposalDraft, ProposalInfo, ProposalState, ProposedChange, VOTES_NEEDED};
pub use recipient::{NewRecipient, RecipientInfo};
pub use restore::{Bindings, Fates, Replayed, Restore, RestorePlan, RestoredRows, Written};
pub use retire::{KeyStep, KeyStepTaken, signer};
pub use rewrap::{KeyFigures, RewrapInfo, RewrapOrder, RewrapStatus, RewrapWatch, Step};
pub use role::{BindingDraft, BindingFilter, BindingInfo, RoleDraft, RoleInfo};
pub use secret::{
    ChangeKind, Expiry, MetadataChange, NewSecret, NewVersion, Revealed, Room, SecretChange, SecretInfo, ShownState, StateChange, Stored,
    TokenDetails, VersionInfo, Watch, WatchFrom,
};

pub use slot::{SlotDetails, Tried};
pub use unseal::{SlotSecret, Unsealing};

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
