//! The decision: a pure function with a table of tests under it.

use std::sync::Arc;

use crate::model::{Action, ActionSet, NamespaceId, SecretPath, SpiffeId, Timestamp};

use super::policy::{Binding, Grant, Held, Policy, Scope, VAULT_ACTIONS};

/// What a call concerns, resolved to ids.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// One secret's path.
    Path(NamespaceId, &'a SecretPath),
    /// Something below a prefix: what is found there is asked about again, one path at a time.
    Below(NamespaceId, &'a [String]),
    /// A namespace as such: its keys, its bindings, its existence.
    Namespace(NamespaceId),
    /// Some namespace: what is found is asked about again, one namespace at a time.
    SomeNamespace,
    /// The vault itself.
    Vault,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes: this one of the actions asked for, and the rule that allows it in the words of the audit entry.
    Allow(Action, Arc<str>),
    /// No: nothing allows it.
    Deny,
}

/// Whether the principal may do one of `any_of` there now. `policy` is none while the vault is sealed; then only the
/// configured custodians may do anything, and only `operate`.
#[must_use]
pub fn decide(
    policy: Option<&Policy>,
    custodians: &[SpiffeId],
    principal: &SpiffeId,
    any_of: ActionSet,
    target: Target<'_>,
    now: Timestamp,
) -> Decision {
    if any_of.contains(Action::Operate) && matches!(target, Target::Vault) && custodians.contains(principal) {
        return Decision::Allow(Action::Operate, "custodian named in the configuration".into());
    }
    let held = policy.map_or(&[][..], |policy| policy.held_by(principal));
    for Held { binding, role, rule } in held.iter().filter(|held| held.binding.is_live(now)) {
        let allowed = role.grants.iter().find_map(|grant| allowed_action(binding, grant, any_of, target));
        if let Some(action) = allowed {
            return Decision::Allow(action, rule.clone());
        }
    }
    Decision::Deny
}

fn allowed_action(binding: &Binding, grant: &Grant, any_of: ActionSet, target: Target<'_>) -> Option<Action> {
    let actions = binding.scope.carries(grant.actions).intersection(any_of);
    let action = actions.iter().next()?;
    reaches(binding.scope, grant, target).then_some(action)
}

/// Whether a binding there, with that grant's pattern, reaches the target. Namespaces have no path: that a grant of an
/// action on namespaces covers everything is seen to when the role is made.
fn reaches(scope: Scope, grant: &Grant, target: Target<'_>) -> bool {
    match (target, scope) {
        (Target::Path(namespace, path), Scope::Namespace(bound)) => namespace == bound && grant.pattern.matches(path),
        (Target::Below(namespace, prefix), Scope::Namespace(bound)) => namespace == bound && grant.pattern.could_match_below(prefix),
        (Target::Path(..) | Target::Below(..), Scope::Vault) => false,
        (Target::Namespace(namespace), Scope::Namespace(bound)) => namespace == bound,
        (Target::Namespace(_), Scope::Vault) => !grant.actions.intersection(VAULT_ACTIONS).is_empty(),
        (Target::SomeNamespace, _) => true,
        (Target::Vault, Scope::Vault) => true,
        (Target::Vault, Scope::Namespace(_)) => false,
    }
}

impl Decision {
    /// Whether the answer is yes.
    #[must_use]
    pub const fn is_allow(&self) -> bool {
        matches!(self, Self::Allow(..))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access::policy::Role;
    use crate::model::BindingId;

    fn id(text: &str) -> SpiffeId {
        text.parse().expect("a test's own id")
    }

    fn path(text: &str) -> SecretPath {
        text.parse().expect("a test's own path")
    }

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_unix_ms(milliseconds).expect("a small number")
    }

    const HERE: NamespaceId = NamespaceId::from_bytes([1; 16]);
    const THERE: NamespaceId = NamespaceId::from_bytes([2; 16]);

    fn bound(role: &str, scope: Scope, start: u64, end: Option<u64>) -> Binding {
        Binding {
            id: BindingId::from_bytes([7; 16]),
            role: role.parse().expect("a test's own name"),
            principal: id("spiffe://ops.example/ana"),
            scope,
            start: at(start),
            end: end.map(at),
            reason: None,
            created_by: id("spiffe://ops.example/root"),
            suspended: None,
            created: at(0),
        }
    }

    fn may(policy: &Policy, action: Action, target: Target<'_>, now: u64) -> bool {
        decide(Some(policy), &[], &id("spiffe://ops.example/ana"), ActionSet::of(&[action]), target, at(now)).is_allow()
    }

    #[test]
    fn nothing_is_allowed_by_default() {
        let policy = Policy::new([], [], []);
        for action in Action::ALL {
            for target in
                [Target::Path(HERE, &path("a")), Target::Below(HERE, &[]), Target::Namespace(HERE), Target::SomeNamespace, Target::Vault]
            {
                assert!(!may(&policy, *action, target, 0), "{action} {target:?}");
            }
        }
    }

    // immune: row-25
    #[test]
    fn a_binding_counts_in_its_namespace_alone() {
        let policy = Policy::new([], [bound("reader", Scope::Namespace(HERE), 0, None)], []);
        assert!(may(&policy, Action::Reveal, Target::Path(HERE, &path("a/b")), 0));
        assert!(!may(&policy, Action::Reveal, Target::Path(THERE, &path("a/b")), 0));
        assert!(!may(&policy, Action::Update, Target::Path(HERE, &path("a/b")), 0));
        assert!(!may(&policy, Action::Describe, Target::Vault, 0));
    }

    // immune: row-66
    #[test]
    fn a_namespace_made_again_under_its_name_inherits_no_binding() {
        let entry = |id| ("shop".parse().expect("valid"), crate::access::NamespaceEntry { id, require_post_quantum: false });
        let bindings = || [bound("reader", Scope::Namespace(HERE), 0, None)];
        let (old, again) = (Policy::new([], bindings(), [entry(HERE)]), Policy::new([], bindings(), [entry(THERE)]));
        let reveals = |policy: &Policy| {
            let id = policy.namespace(&"shop".parse().expect("valid")).expect("it is there").id;
            may(policy, Action::Reveal, Target::Path(id, &path("a")), 0) || may(policy, Action::Reveal, Target::Namespace(id), 0)
        };
        assert!(reveals(&old));
        assert!(!reveals(&again));
    }

    #[test]
    fn a_binding_on_the_vault_reaches_no_secret() {
        for role in ["reader", "backend", "writer", "support"] {
            let policy = Policy::new([], [bound(role, Scope::Vault, 0, None)], []);
            for action in Action::ALL {
                assert!(!may(&policy, *action, Target::Path(HERE, &path("a")), 0), "{role} {action}");
                assert!(!may(&policy, *action, Target::Vault, 0), "{role} {action}");
            }
        }
        let policy = Policy::new([], [bound("key-admin", Scope::Vault, 0, None)], []);
        assert!(may(&policy, Action::Rotate, Target::Namespace(HERE), 0));
        assert!(!may(&policy, Action::Rotate, Target::Path(HERE, &path("a")), 0));
    }

    #[test]
    fn a_binding_counts_from_its_start_until_before_its_end() {
        let policy = Policy::new([], [bound("reader", Scope::Namespace(HERE), 100, Some(200))], []);
        for (now, expected) in [(99, false), (100, true), (199, true), (200, false), (u64::from(u32::MAX), false)] {
            assert_eq!(may(&policy, Action::Reveal, Target::Path(HERE, &path("a")), now), expected, "at {now}");
        }
    }

    #[test]
    fn a_configured_custodian_may_operate_and_nothing_else() {
        let ana = id("spiffe://ops.example/ana");
        let ask = |action, target| decide(None, std::slice::from_ref(&ana), &ana, ActionSet::of(&[action]), target, at(0)).is_allow();
        assert!(ask(Action::Operate, Target::Vault));
        assert!(!ask(Action::Operate, Target::Namespace(HERE)));
        for action in Action::ALL.iter().filter(|action| **action != Action::Operate) {
            assert!(!ask(*action, Target::Vault), "{action}");
        }
    }

    // Row 22's independent evaluator: written from the documentation, over strings, sharing no code with `decide`.
    fn model_matches(pattern: &str, path: &str) -> bool {
        let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
        match pattern.as_slice() {
            [head @ .., "**"] => path.len() > head.len() && head.iter().zip(&path).all(|(want, is)| *want == "*" || want == is),
            all => all.len() == path.len() && all.iter().zip(&path).all(|(want, is)| *want == "*" || want == is),
        }
    }

    proptest! {
        // immune: row-22
        #[test]
        fn the_decision_agrees_with_an_independent_evaluator(
            grants in proptest::collection::vec((0u16..0x1000, proptest::sample::select(vec!["**", "a/**", "a/*", "*/b", "a", "a/b/c", "*/**"])), 1..4),
            here in any::<bool>(), start in 0u64..4, end in proptest::option::of(0u64..4), now in 0u64..4,
            asked in 0usize..12, asked_path in proptest::sample::select(vec!["a", "b", "a/b", "b/b", "a/b/c", "b/a/c/d"]),
        ) {
            let action = Action::ALL[asked];
            let role = Role {
                name: "custom".parse().expect("valid"),
                description: None,
                grants: grants.iter().map(|(bits, pattern)| Grant { actions: ActionSet::from_bits(*bits).expect("12 bits"), pattern: pattern.parse().expect("valid") }).collect(),
                built_in: false,
                changed: None,
            };
            let scope = Scope::Namespace(if here { HERE } else { THERE });
            let policy = Policy::new([role], [bound("custom", scope, start, end)], []);
            let expected = here
                && start <= now
                && end.is_none_or(|end| now < end)
                && grants.iter().any(|(bits, pattern)| bits >> asked & 1 == 1 && model_matches(pattern, asked_path));
            prop_assert_eq!(may(&policy, action, Target::Path(HERE, &path(asked_path)), now), expected);
            // What may be seen lies only where a list may look.
            if expected {
                prop_assert!(may(&policy, action, Target::Below(HERE, &[]), now));
            }
        }
    }
}
