//! What a call names, and what a permit for it holds. Names are resolved to ids here, against the same snapshot by
//! which the decision is made.

use std::sync::Arc;

use crate::access::{Decision, NamespaceEntry, Policy, Scope, Target, decide};
use crate::audit;
use crate::model::{Action, ActionSet, BindingId, NamespaceId, NamespaceName, SecretName, SecretPath, SpiffeId, Timestamp};

/// Everything that a decision rests on, but for the actions and the target.
pub struct Question<'a> {
    pub(super) policy: Option<Arc<Policy>>,
    pub(super) custodians: &'a [SpiffeId],
    pub(super) principal: &'a SpiffeId,
    pub(super) now: Timestamp,
}

impl Question<'_> {
    fn decide(&self, any_of: ActionSet, target: Target<'_>) -> Decision {
        decide(self.policy.as_deref(), self.custodians, self.principal, any_of, target, self.now)
    }

    fn namespace(&self, name: &NamespaceName) -> Option<NamespaceEntry> {
        self.policy.as_ref()?.namespace(name)
    }

    /// In a namespace by name: an unknown one is denied, as a forbidden one is.
    fn decide_in(&self, name: &NamespaceName, any_of: ActionSet, target: impl FnOnce(NamespaceId) -> Target<'static>) -> Decision {
        self.namespace(name).map_or(Decision::Deny, |entry| self.decide(any_of, target(entry.id)))
    }

    fn has_any_right_in(&self, name: &NamespaceName) -> bool {
        self.decide_in(name, ActionSet::of(Action::ALL), Target::Namespace).is_allow()
    }

    fn id_of(&self, name: &NamespaceName) -> NamespaceId {
        self.namespace(name).expect("it was found when the call was allowed, in the same snapshot").id
    }

    fn visibility(&self, any_of: ActionSet) -> Visibility {
        Visibility { policy: self.policy.clone().unwrap_or_default(), principal: self.principal.clone(), any_of, now: self.now }
    }
}

/// What a call can be about.
pub trait Resource: Send + Sync + 'static {
    /// What a permit for it holds.
    type Granted: Send + Sync + 'static;

    /// Its name in the audit entry.
    fn name(&self) -> audit::Resource;
    /// May one of these actions be done there?
    fn decide(&self, question: &Question<'_>, any_of: ActionSet) -> Decision;
    /// May the caller know that it exists? Only then is "forbidden" told from "absent".
    fn is_visible(&self, question: &Question<'_>) -> bool;
    /// Does it demand a post-quantum key exchange?
    fn requires_post_quantum(&self, _question: &Question<'_>) -> bool {
        false
    }
    /// What the permit holds, once the decision was to allow.
    fn grant(self, question: &Question<'_>, any_of: ActionSet) -> Self::Granted;
}

/// Which of the things found may be shown: the evidence of a list.
#[derive(Debug, Clone)]
pub struct Visibility {
    policy: Arc<Policy>,
    principal: SpiffeId,
    any_of: ActionSet,
    now: Timestamp,
}

impl Visibility {
    /// Whether this path may be shown.
    #[must_use]
    pub fn shows(&self, namespace: NamespaceId, path: &SecretPath) -> bool {
        self.asks(Target::Path(namespace, path))
    }

    /// Whether this namespace may be shown.
    #[must_use]
    pub fn shows_namespace(&self, namespace: NamespaceId) -> bool {
        self.asks(Target::Namespace(namespace))
    }

    fn asks(&self, target: Target<'_>) -> bool {
        decide(Some(&self.policy), &[], &self.principal, self.any_of, target, self.now).is_allow()
    }
}

/// Permitted: one secret.
#[derive(Debug, Clone)]
pub struct SecretAt {
    /// Its namespace.
    pub namespace: NamespaceId,
    /// Its name.
    pub name: SecretName,
}

/// What the vault's own work can be about: it was found in a row, so no name is resolved and nothing is decided.
pub trait OwnSubject: Send {
    /// What a permit for it holds.
    type Granted;

    /// Its name in the audit entry.
    fn name(&self) -> audit::Resource;
    /// What the permit holds.
    fn grant(self) -> Self::Granted;
}

impl OwnSubject for SecretAt {
    type Granted = Self;

    fn name(&self) -> audit::Resource {
        audit::Resource::secret(&self.name)
    }

    fn grant(self) -> Self {
        self
    }
}

/// A namespace that the vault's own work is about.
#[derive(Debug, Clone)]
pub struct NamespaceAt {
    /// Its id.
    pub id: NamespaceId,
    /// Its name.
    pub name: NamespaceName,
}

impl OwnSubject for NamespaceAt {
    type Granted = NamespaceId;

    fn name(&self) -> audit::Resource {
        audit::Resource::namespace(&self.name)
    }

    fn grant(self) -> NamespaceId {
        self.id
    }
}

impl OwnSubject for WholeVault {
    type Granted = ();

    fn name(&self) -> audit::Resource {
        audit::Resource::word(self.0)
    }

    fn grant(self) {}
}

impl Resource for SecretName {
    type Granted = SecretAt;

    fn name(&self) -> audit::Resource {
        audit::Resource::secret(self)
    }

    fn decide(&self, question: &Question<'_>, any_of: ActionSet) -> Decision {
        let Some(entry) = question.namespace(&self.namespace) else { return Decision::Deny };
        question.decide(any_of, Target::Path(entry.id, &self.path))
    }

    fn is_visible(&self, question: &Question<'_>) -> bool {
        self.decide(question, ActionSet::of(&[Action::Describe])).is_allow()
    }

    fn requires_post_quantum(&self, question: &Question<'_>) -> bool {
        question.namespace(&self.namespace).is_some_and(|entry| entry.require_post_quantum)
    }

    fn grant(self, question: &Question<'_>, _any_of: ActionSet) -> SecretAt {
        SecretAt { namespace: question.id_of(&self.namespace), name: self }
    }
}

/// What lies below a prefix of a namespace.
#[derive(Debug, Clone)]
pub struct Below {
    /// The namespace.
    pub namespace: NamespaceName,
    /// The first segments of every path in question; none for the whole namespace.
    pub prefix: Vec<String>,
}

/// Permitted: what lies below a prefix, as far as it may be shown.
#[derive(Debug, Clone)]
pub struct BelowAt {
    /// The namespace.
    pub namespace: NamespaceId,
    /// Its name.
    pub namespace_name: NamespaceName,
    /// The first segments.
    pub prefix: Vec<String>,
    /// What may be shown.
    pub visibility: Visibility,
}

impl Resource for Below {
    type Granted = BelowAt;

    fn name(&self) -> audit::Resource {
        audit::Resource::below(&self.namespace, &self.prefix)
    }

    fn decide(&self, question: &Question<'_>, any_of: ActionSet) -> Decision {
        let Some(entry) = question.namespace(&self.namespace) else { return Decision::Deny };
        question.decide(any_of, Target::Below(entry.id, &self.prefix))
    }

    fn is_visible(&self, question: &Question<'_>) -> bool {
        question.has_any_right_in(&self.namespace)
    }

    fn requires_post_quantum(&self, question: &Question<'_>) -> bool {
        question.namespace(&self.namespace).is_some_and(|entry| entry.require_post_quantum)
    }

    fn grant(self, question: &Question<'_>, any_of: ActionSet) -> BelowAt {
        BelowAt {
            namespace: question.id_of(&self.namespace),
            namespace_name: self.namespace,
            prefix: self.prefix,
            visibility: question.visibility(any_of),
        }
    }
}

/// A namespace as such. A permit for it holds its id.
#[derive(Debug, Clone)]
pub struct InNamespace(pub NamespaceName);

impl Resource for InNamespace {
    type Granted = NamespaceId;

    fn name(&self) -> audit::Resource {
        audit::Resource::namespace(&self.0)
    }

    fn decide(&self, question: &Question<'_>, any_of: ActionSet) -> Decision {
        question.decide_in(&self.0, any_of, Target::Namespace)
    }

    fn is_visible(&self, question: &Question<'_>) -> bool {
        question.has_any_right_in(&self.0)
    }

    fn grant(self, question: &Question<'_>, _any_of: ActionSet) -> NamespaceId {
        question.id_of(&self.0)
    }
}

/// Whatever namespaces may be shown. A permit for it holds which.
#[derive(Debug, Clone, Copy)]
pub struct AnyNamespace;

impl Resource for AnyNamespace {
    type Granted = Visibility;

    fn name(&self) -> audit::Resource {
        audit::Resource::word(WholeVault::NAMESPACES.0)
    }

    fn decide(&self, question: &Question<'_>, any_of: ActionSet) -> Decision {
        question.decide(any_of, Target::SomeNamespace)
    }

    fn is_visible(&self, _question: &Question<'_>) -> bool {
        true
    }

    fn grant(self, question: &Question<'_>, any_of: ActionSet) -> Visibility {
        question.visibility(any_of)
    }
}

/// The words by which the vault's own parts stand in the audit log, where else a namespace's name stands. No namespace may
/// be called so: who audits it would read the vault's own entries.
pub const VAULT_WORDS: [&str; 4] = [WholeVault::VAULT.0, WholeVault::ROLES.0, WholeVault::NAMESPACES.0, BINDINGS];
const BINDINGS: &str = "bindings";

/// The vault itself, under the word for a part of it.
#[derive(Debug, Clone, Copy)]
pub struct WholeVault(&'static str);

impl WholeVault {
    /// All of it.
    pub const VAULT: Self = Self("vault");
    /// Its roles.
    pub const ROLES: Self = Self("roles");
    /// Its namespaces.
    pub const NAMESPACES: Self = Self("namespaces");
}

impl Resource for WholeVault {
    type Granted = ();

    fn name(&self) -> audit::Resource {
        audit::Resource::word(self.0)
    }

    fn decide(&self, question: &Question<'_>, any_of: ActionSet) -> Decision {
        question.decide(any_of, Target::Vault)
    }

    fn is_visible(&self, _question: &Question<'_>) -> bool {
        true
    }

    fn grant(self, _question: &Question<'_>, _any_of: ActionSet) {}
}

/// A namespace, or the vault where none is named.
#[derive(Debug, Clone)]
pub struct ScopeNamed(pub Option<NamespaceName>);

/// Permitted: a namespace or the vault.
#[derive(Debug, Clone)]
pub struct OverScope {
    /// Which.
    pub scope: Scope,
    /// The namespace's name; none for the vault.
    pub namespace: Option<NamespaceName>,
}

impl Resource for ScopeNamed {
    type Granted = OverScope;

    fn name(&self) -> audit::Resource {
        self.0.as_ref().map_or(audit::Resource::word(WholeVault::VAULT.0), audit::Resource::namespace)
    }

    fn decide(&self, question: &Question<'_>, any_of: ActionSet) -> Decision {
        match &self.0 {
            Some(name) => question.decide_in(name, any_of, Target::Namespace),
            None => question.decide(any_of, Target::Vault),
        }
    }

    fn is_visible(&self, question: &Question<'_>) -> bool {
        self.0.as_ref().is_none_or(|name| question.has_any_right_in(name))
    }

    fn grant(self, question: &Question<'_>, _any_of: ActionSet) -> OverScope {
        let scope = self.0.as_ref().map_or(Scope::Vault, |name| Scope::Namespace(question.id_of(name)));
        OverScope { scope, namespace: self.0 }
    }
}

/// A binding, by id. An unknown one is the vault's, so that only who administers the vault learns that it is not there.
#[derive(Debug, Clone, Copy)]
pub struct BindingNamed(pub BindingId);

/// Permitted: a binding.
#[derive(Debug, Clone, Copy)]
pub struct OverBinding(pub BindingId);

impl Resource for BindingNamed {
    type Granted = OverBinding;

    fn name(&self) -> audit::Resource {
        audit::Resource::word(BINDINGS)
    }

    fn decide(&self, question: &Question<'_>, any_of: ActionSet) -> Decision {
        let scope = question.policy.as_ref().and_then(|policy| policy.binding(self.0)).map_or(Scope::Vault, |binding| binding.scope);
        match scope {
            Scope::Vault => question.decide(any_of, Target::Vault),
            Scope::Namespace(id) => question.decide(any_of, Target::Namespace(id)),
        }
    }

    fn is_visible(&self, question: &Question<'_>) -> bool {
        question.decide(ActionSet::of(&[Action::Audit]), Target::Vault).is_allow()
    }

    fn grant(self, _question: &Question<'_>, _any_of: ActionSet) -> OverBinding {
        OverBinding(self.0)
    }
}
