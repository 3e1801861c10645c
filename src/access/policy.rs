//! The policy: roles, bindings and the namespaces' names, indexed by principal. Immutable; a change makes a new one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::model::{Action, ActionSet, BindingId, NamespaceId, NamespaceName, PathPattern, RoleName, SpiffeId, Text, Timestamp, limits};

use super::builtin::built_in_roles;
use super::change::Change;

/// The actions that concern no secret: the only ones that a binding on the vault carries, for the vault and for every
/// namespace. Who is to touch secrets is bound in their namespace.
pub const VAULT_ACTIONS: ActionSet = ActionSet::of(&[Action::Rotate, Action::Administer, Action::Approve, Action::Audit, Action::Operate]);

/// Actions on the paths that a pattern covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// At least one.
    pub actions: ActionSet,
    /// Which paths of the binding's namespace.
    pub pattern: PathPattern,
}

/// A named set of grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: RoleName,
    /// What it is for.
    pub description: Option<Text<{ limits::REASON_BYTES }>>,
    /// What it allows.
    pub grants: Vec<Grant>,
    /// Whether it stands in code and cannot be changed.
    pub built_in: bool,
    /// Who changed it last, and when; none for a built-in role.
    pub changed: Option<(SpiffeId, Timestamp)>,
}

/// Where a binding counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The vault itself, and every namespace as far as no secret is concerned.
    Vault,
    /// One namespace, by id: a namespace made again under its name is another.
    Namespace(NamespaceId),
}

/// A role given to a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Its id.
    pub id: BindingId,
    /// The role.
    pub role: RoleName,
    /// Who holds it.
    pub principal: SpiffeId,
    /// Where it counts.
    pub scope: Scope,
    /// From when it counts.
    pub start: Timestamp,
    /// From when it counts no more; none for no end.
    pub end: Option<Timestamp>,
    /// Why it was given.
    pub reason: Option<Text<{ limits::REASON_BYTES }>>,
    /// Who gave it.
    pub created_by: SpiffeId,
    /// When it was given.
    pub created: Timestamp,
    /// Why it does not count until an administrator confirms it; none if it counts.
    pub suspended: Option<Text<{ limits::REASON_BYTES }>>,
}

/// A binding with its role, and the words with which an audit entry names both.
#[derive(Debug, Clone)]
pub struct Held {
    /// The binding.
    pub binding: Arc<Binding>,
    /// Its role.
    pub role: Arc<Role>,
    /// `binding ID of role NAME`.
    pub rule: Arc<str>,
}

/// What a decision must know of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamespaceEntry {
    /// Its id.
    pub id: NamespaceId,
    /// Whether connections must have had a post-quantum key exchange.
    pub require_post_quantum: bool,
}

/// One immutable snapshot of who may do what.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    roles: BTreeMap<RoleName, Arc<Role>>,
    bindings: BTreeMap<BindingId, Arc<Binding>>,
    by_principal: HashMap<SpiffeId, Vec<Held>>,
    namespaces: HashMap<NamespaceName, NamespaceEntry>,
}

impl Role {
    /// All of its actions, on whatever path.
    #[must_use]
    pub fn actions(&self) -> ActionSet {
        self.grants.iter().fold(ActionSet::EMPTY, |all, grant| all.union(grant.actions))
    }
}

impl Binding {
    /// Whether it counts at that time: from its start on, before its end, and not while it is suspended.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.start <= now && !self.has_ended(now) && self.suspended.is_none()
    }

    /// Whether its end has come.
    #[must_use]
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.end.is_some_and(|end| end <= now)
    }
}

impl Scope {
    /// Of these actions, those that a binding here carries.
    #[must_use]
    pub fn carries(self, actions: ActionSet) -> ActionSet {
        match self {
            Self::Vault => actions.intersection(VAULT_ACTIONS),
            Self::Namespace(_) => actions,
        }
    }
}

impl Policy {
    /// The built-in roles, and the given rows. A binding whose role is unknown allows nothing.
    #[must_use]
    pub fn new(
        roles: impl IntoIterator<Item = Role>,
        bindings: impl IntoIterator<Item = Binding>,
        namespaces: impl IntoIterator<Item = (NamespaceName, NamespaceEntry)>,
    ) -> Self {
        let mut policy = Self {
            roles: roles.into_iter().chain(built_in_roles()).map(|role| (role.name.clone(), Arc::new(role))).collect(),
            bindings: bindings.into_iter().map(|binding| (binding.id, Arc::new(binding))).collect(),
            by_principal: HashMap::new(),
            namespaces: namespaces.into_iter().collect(),
        };
        policy.index();
        policy
    }

    /// The policy after a change that [`Policy::check`] has let pass.
    #[must_use]
    pub fn with(&self, change: &Change) -> Self {
        let mut next = self.clone();
        match change {
            Change::CreateRole(role) | Change::UpdateRole(role) => {
                next.roles.insert(role.name.clone(), Arc::new(role.clone()));
            }
            Change::DeleteRole(name) => {
                next.roles.remove(name);
            }
            Change::Bind(binding) => {
                next.bindings.insert(binding.id, Arc::new(binding.clone()));
            }
            Change::Confirm(id) => {
                if let Some(binding) = next.bindings.get_mut(id) {
                    *binding = Arc::new(Binding { suspended: None, ..binding.as_ref().clone() });
                }
            }
            Change::Unbind(id) => {
                next.bindings.remove(id);
            }
        }
        next.index();
        next
    }

    /// The policy with one more namespace.
    #[must_use]
    pub fn with_namespace(&self, name: NamespaceName, entry: NamespaceEntry) -> Self {
        let mut next = self.clone();
        next.namespaces.insert(name, entry);
        next
    }

    fn index(&mut self) {
        self.by_principal.clear();
        for binding in self.bindings.values() {
            if let Some(role) = self.roles.get(&binding.role) {
                let rule = format!("binding {} of role {}", binding.id, role.name).into();
                let held = Held { binding: binding.clone(), role: role.clone(), rule };
                self.by_principal.entry(binding.principal.clone()).or_default().push(held);
            }
        }
    }

    /// The namespace of that name.
    #[must_use]
    pub fn namespace(&self, name: &NamespaceName) -> Option<NamespaceEntry> {
        self.namespaces.get(name).copied()
    }

    /// The role of that name.
    #[must_use]
    pub fn role(&self, name: &RoleName) -> Option<&Role> {
        self.roles.get(name).map(AsRef::as_ref)
    }

    /// All roles, by name.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values().map(AsRef::as_ref)
    }

    /// The binding of that id.
    #[must_use]
    pub fn binding(&self, id: BindingId) -> Option<&Binding> {
        self.bindings.get(&id).map(AsRef::as_ref)
    }

    /// All bindings, by id.
    pub fn bindings(&self) -> impl Iterator<Item = &Binding> {
        self.bindings.values().map(AsRef::as_ref)
    }

    /// The bindings of a principal with their roles, live or not.
    pub fn held_by(&self, principal: &SpiffeId) -> &[Held] {
        self.by_principal.get(principal).map_or(&[], Vec::as_slice)
    }
}
