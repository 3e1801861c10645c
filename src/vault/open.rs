//! What is in memory while the vault is open. Dropped as a whole when it is sealed; its keys wipe themselves.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;

use crate::access::CurrentPolicy;
use crate::crypto::{CryptoError, NameKey, Random};
use crate::gate::Permit;
use crate::model::{Clock, NamespaceId};

use super::Error;
use super::ceremony::Ceremonies;
use super::namespace::Namespace;
use super::page::{PageLimits, PageTokens, Paging};
use super::policy::PolicyState;
use super::rewrap::Rewraps;
use super::rows::SystemRows;

/// An open vault. Its operations are in the files of their subjects.
pub struct Open {
    pub(super) rows: SystemRows,
    /// The system key's number, which the vault's own secrets are wrapped with.
    pub(super) epoch: u64,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) names: NameKey,
    pub(super) pages: PageTokens,
    pub(super) namespaces: ArcSwap<HashMap<NamespaceId, Arc<Namespace>>>,
    pub(super) policy: Arc<CurrentPolicy>,
    pub(super) policy_generation: Arc<AtomicU64>,
    pub(super) rewraps: Rewraps,
    pub(super) policy_change: tokio::sync::Mutex<PolicyState>,
    /// One proposal is made after another.
    pub(super) proposing: tokio::sync::Mutex<()>,
    pub(super) ceremonies: Mutex<Ceremonies>,
}

impl Open {
    /// The namespace of a permit. It is there unless it was removed since the permit was made.
    pub(super) fn namespace(&self, id: NamespaceId) -> Result<Arc<Namespace>, Error> {
        self.namespaces.load().get(&id).cloned().ok_or(Error::Absent("namespace"))
    }

    pub(super) fn random(&self) -> &dyn Random {
        self.rows.random.as_ref()
    }

    pub(super) fn new_id(&self) -> Result<[u8; 16], Error> {
        let mut id = [0; 16];
        self.random().fill(&mut id).map_err(CryptoError::from)?;
        Ok(id)
    }

    /// How a list of this caller's is cut into pages. `filter` says what was asked for: a token serves the same list alone.
    pub(super) fn paging<'a, G>(&'a self, permit: &'a Permit<G>, filter: &'a str, limits: PageLimits) -> Paging<'a> {
        let principal = permit.principal().map_or("", |principal| principal.id.as_str());
        Paging { tokens: &self.pages, principal, filter, random: self.random(), limits }
    }
}
