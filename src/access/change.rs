//! Which changes of the policy an access administrator may make. Pure, so that the rule "nobody raises themselves" can
//! be tested over whole sequences of changes.

use crate::model::{Action, ActionSet, BindingId, RoleName, SpiffeId, Timestamp, limits};

use super::decide::{Target, decide};
use super::policy::{Binding, Grant, Policy, Role, Scope, VAULT_ACTIONS};

/// What nobody who administers access may hold: they could give themselves, by another name, what they give to others.
const APART_FROM_ADMINISTER: ActionSet = ActionSet::of(&[Action::Reveal, Action::Use, Action::Create, Action::Update, Action::Approve]);

/// One change of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new role.
    CreateRole(Role),
    /// Other grants for a role.
    UpdateRole(Role),
    /// A role less.
    DeleteRole(RoleName),
    /// A role for a principal.
    Bind(Binding),
    /// A suspended binding that is to count again.
    Confirm(BindingId),
    /// A role taken away.
    Unbind(BindingId),
}

/// Why a change was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefused {
    /// No such role or binding.
    #[error("there is no such role or binding")]
    Unknown,
    /// The name is taken.
    #[error("a role of that name exists")]
    Exists,
    /// The role is part of the vault.
    #[error("a built-in role cannot be changed or deleted: make a role of your own")]
    BuiltIn,
    /// A binding refers to the role.
    #[error("bindings refer to the role: delete them first")]
    InUse,
    /// The caller does not administer access there, or no longer does.
    #[error("you do not administer access there, or no longer do")]
    NotAdministrator,
    /// The caller holds the role.
    #[error("nobody can change a role that they hold: ask another administrator")]
    OwnRole,
    /// The caller would bind themselves.
    #[error("nobody can give a role to themselves: ask another administrator")]
    OwnBinding,
    /// There is nothing to confirm.
    #[error("the binding is not suspended: it counts already")]
    NotSuspended,
    /// The principal, or a holder of the role, would both administer access and touch secrets.
    #[error("who administers access can hold no reveal, use, create, update or approve, and the other way round")]
    SeparationOfDuties,
    /// Nobody could administer access any more.
    #[error("this is the last binding that administers the vault: bind another administrator first")]
    LastAdministrator,
    /// The vault has as many as it may have.
    #[error("{0}")]
    Full(&'static str),
    /// A field of the change says nothing, or something that cannot be.
    #[error("{why}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Whether the grants of a role make sense.
///
/// # Errors
/// None or too many; a grant without action; a pattern for an action that concerns no path; duties that no one person
/// may join.
pub fn check_grants(grants: &[Grant]) -> Result<(), ChangeRefused> {
    let invalid = |field, why| Err(ChangeRefused::Invalid { field, why });
    if grants.is_empty() || grants.len() > limits::GRANTS_PER_ROLE {
        return invalid("grants", "a role has 1 to 64 grants");
    }
    if grants.iter().any(|grant| grant.actions.is_empty()) {
        return invalid("grants.actions", "a grant names at least one action");
    }
    let has_no_path = |grant: &Grant| !grant.actions.intersection(VAULT_ACTIONS).is_empty();
    if grants.iter().any(|grant| has_no_path(grant) && !grant.pattern.is_everything()) {
        return invalid("grants.path_pattern", "rotate, administer, approve, audit and operate concern no path: grant them on ** alone");
    }
    if joins_duties(grants.iter().fold(ActionSet::EMPTY, |all, grant| all.union(grant.actions))) {
        return Err(ChangeRefused::SeparationOfDuties);
    }
    Ok(())
}

const fn joins_duties(actions: ActionSet) -> bool {
    actions.contains(Action::Administer) && !actions.intersection(APART_FROM_ADMINISTER).is_empty()
}

impl Policy {
    /// Whether `by` administers access there now. The gate asked the same when the call came; between that and the change
    /// others may have changed the policy.
    ///
    /// # Errors
    /// [`ChangeRefused::NotAdministrator`].
    pub fn check_administers(&self, by: &SpiffeId, scope: Scope, now: Timestamp) -> Result<(), ChangeRefused> {
        let target = match scope {
            Scope::Vault => Target::Vault,
            Scope::Namespace(id) => Target::Namespace(id),
        };
        let administers = decide(Some(self), &[], by, ActionSet::of(&[Action::Administer]), target, now).is_allow();
        if administers { Ok(()) } else { Err(ChangeRefused::NotAdministrator) }
    }

    /// Where who makes this change must administer access. What is unknown is the vault's.
    fn scope_of(&self, change: &Change) -> Scope {
        match change {
            Change::CreateRole(_) | Change::UpdateRole(_) | Change::DeleteRole(_) => Scope::Vault,
            Change::Bind(binding) => binding.scope,
            Change::Confirm(id) | Change::Unbind(id) => self.binding(*id).map_or(Scope::Vault, |binding| binding.scope),
        }
    }

    /// Whether `by` may make this change now.
    ///
    /// # Errors
    /// Each [`ChangeRefused`].
    pub fn check(&self, by: &SpiffeId, change: &Change, now: Timestamp) -> Result<(), ChangeRefused> {
        self.check_administers(by, self.scope_of(change), now)?;
        match change {
            Change::CreateRole(role) => self.check_new_role(role),
            Change::UpdateRole(role) => self.check_changed_role(by, role, now),
            Change::DeleteRole(name) => self.check_deleted_role(by, name),
            Change::Bind(binding) => self.check_binding(by, binding, now),
            Change::Confirm(id) => self.check_confirmation(by, *id, now),
            Change::Unbind(id) => self.check_unbinding(*id, now),
        }
    }

    fn check_new_role(&self, role: &Role) -> Result<(), ChangeRefused> {
        check_grants(&role.grants)?;
        if self.role(&role.name).is_some() {
            return Err(ChangeRefused::Exists);
        }
        if self.roles().count() >= limits::ROLES {
            return Err(ChangeRefused::Full("a vault has at most 1,000 roles, built-in ones included: delete those that nobody holds"));
        }
        Ok(())
    }

    fn check_changed_role(&self, by: &SpiffeId, role: &Role, now: Timestamp) -> Result<(), ChangeRefused> {
        check_grants(&role.grants)?;
        self.own_role_apart(by, &role.name)?;
        let after = self.with(&Change::UpdateRole(role.clone()));
        let holders = self.bindings().filter(|binding| binding.role == role.name);
        if holders.map(|binding| &binding.principal).any(|holder| after.joins_duties_of(holder, now)) {
            return Err(ChangeRefused::SeparationOfDuties);
        }
        after.check_administered(now)
    }

    fn check_deleted_role(&self, by: &SpiffeId, name: &RoleName) -> Result<(), ChangeRefused> {
        self.own_role_apart(by, name)?;
        if self.bindings().any(|binding| binding.role == *name) {
            return Err(ChangeRefused::InUse);
        }
        Ok(())
    }

    /// The role exists, is not built in, and the caller does not hold it, ended bindings included: an ended one must
    /// not come to life under grants of its holder's own making.
    fn own_role_apart(&self, by: &SpiffeId, name: &RoleName) -> Result<(), ChangeRefused> {
        if self.role(name).ok_or(ChangeRefused::Unknown)?.built_in {
            return Err(ChangeRefused::BuiltIn);
        }
        if self.held_by(by).iter().any(|held| held.role.name == *name) {
            return Err(ChangeRefused::OwnRole);
        }
        Ok(())
    }

    fn check_binding(&self, by: &SpiffeId, binding: &Binding, now: Timestamp) -> Result<(), ChangeRefused> {
        let invalid = |field, why| Err(ChangeRefused::Invalid { field, why });
        let role = self.role(&binding.role).ok_or(ChangeRefused::Unknown)?;
        if binding.principal == *by {
            return Err(ChangeRefused::OwnBinding);
        }
        if binding.end.is_some_and(|end| end <= binding.start || end <= now) {
            return invalid("end_time", "a binding ends after its start, and after now");
        }
        if binding.scope.carries(role.actions()).is_empty() {
            return invalid("namespace", "on the vault this role allows nothing: bind it in a namespace");
        }
        if self.bindings().count() >= limits::BINDINGS {
            return Err(ChangeRefused::Full("a vault has at most 100,000 bindings: delete ended ones"));
        }
        if self.with(&Change::Bind(binding.clone())).joins_duties_of(&binding.principal, now) {
            return Err(ChangeRefused::SeparationOfDuties);
        }
        Ok(())
    }

    /// Nobody lets their own rights come back.
    fn check_confirmation(&self, by: &SpiffeId, id: BindingId, now: Timestamp) -> Result<(), ChangeRefused> {
        let binding = self.binding(id).ok_or(ChangeRefused::Unknown)?;
        if binding.principal == *by {
            return Err(ChangeRefused::OwnBinding);
        }
        if binding.suspended.is_none() {
            return Err(ChangeRefused::NotSuspended);
        }
        if self.with(&Change::Confirm(id)).joins_duties_of(&binding.principal, now) {
            return Err(ChangeRefused::SeparationOfDuties);
        }
        Ok(())
    }

    fn check_unbinding(&self, id: BindingId, now: Timestamp) -> Result<(), ChangeRefused> {
        self.binding(id).ok_or(ChangeRefused::Unknown)?;
        self.with(&Change::Unbind(id)).check_administered(now)
    }

    /// Somebody can still administer access: a live binding on the vault that has no end.
    fn check_administered(&self, now: Timestamp) -> Result<(), ChangeRefused> {
        let administers = |binding: &&Binding| {
            let actions = self.role(&binding.role).map_or(ActionSet::EMPTY, Role::actions);
            binding.scope == Scope::Vault && binding.end.is_none() && binding.is_live(now) && actions.contains(Action::Administer)
        };
        self.bindings().find(administers).map(|_| ()).ok_or(ChangeRefused::LastAdministrator)
    }

    /// Whether the bindings of a principal that have not ended, future ones included, join duties that must be apart.
    fn joins_duties_of(&self, principal: &SpiffeId, now: Timestamp) -> bool {
        let lasting = self.held_by(principal).iter().filter(|held| !held.binding.has_ended(now));
        let carried = lasting.map(|held| held.binding.scope.carries(held.role.actions()));
        joins_duties(carried.fold(ActionSet::EMPTY, ActionSet::union))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access::{Target, built_in_roles, decide};
    use crate::model::{NamespaceId, SecretPath, Text};

    const HERE: NamespaceId = NamespaceId::from_bytes([1; 16]);

    fn id(name: &str) -> SpiffeId {
        format!("spiffe://ops.example/{name}").parse().expect("a test's own id")
    }

    fn now() -> Timestamp {
        Timestamp::from_unix_ms(1_000).expect("a small number")
    }

    fn binding(number: u8, role: &str, principal: &str, scope: Scope) -> Binding {
        Binding {
            id: BindingId::from_bytes([number; 16]),
            role: role.parse().expect("a test's own name"),
            principal: id(principal),
            scope,
            start: Timestamp::default(),
            end: None,
            reason: None,
            created_by: id("root"),
            created: Timestamp::default(),
            suspended: None,
        }
    }

    fn role(name: &str, bits: u16) -> Role {
        let grant = Grant { actions: ActionSet::from_bits(bits).expect("12 bits"), pattern: "**".parse().expect("valid") };
        Role { name: name.parse().expect("a test's own name"), description: None, grants: vec![grant], built_in: false, changed: None }
    }

    fn two_administrators() -> Policy {
        let bindings = [binding(1, "access-admin", "ana", Scope::Vault), binding(2, "access-admin", "ben", Scope::Vault)];
        Policy::new([], bindings, [])
    }

    #[test]
    fn nobody_binds_themselves_or_changes_a_role_they_hold() {
        let policy = two_administrators();
        let own = Change::Bind(binding(3, "auditor", "ana", Scope::Vault));
        assert_eq!(policy.check(&id("ana"), &own, now()), Err(ChangeRefused::OwnBinding));
        assert_eq!(policy.check(&id("ben"), &own, now()), Ok(()));

        let custom = role("mine", ActionSet::of(&[Action::Audit]).bits());
        let policy = policy.with(&Change::CreateRole(custom)).with(&Change::Bind(binding(3, "mine", "ana", Scope::Vault)));
        let wider = Change::UpdateRole(role("mine", ActionSet::of(&[Action::Audit, Action::Rotate]).bits()));
        assert_eq!(policy.check(&id("ana"), &wider, now()), Err(ChangeRefused::OwnRole));
        assert_eq!(policy.check(&id("ben"), &wider, now()), Ok(()));
        assert_eq!(policy.check(&id("ben"), &Change::DeleteRole("mine".parse().expect("valid")), now()), Err(ChangeRefused::InUse));
    }

    #[test]
    fn who_administers_touches_no_secret() {
        let policy = two_administrators();
        for secret_role in ["reader", "writer", "backend"] {
            let bind = Change::Bind(binding(3, secret_role, "ben", Scope::Namespace(HERE)));
            assert_eq!(policy.check(&id("ana"), &bind, now()), Err(ChangeRefused::SeparationOfDuties), "{secret_role}");
        }
        let reader = policy.with(&Change::Bind(binding(3, "reader", "cem", Scope::Namespace(HERE))));
        let raise = Change::Bind(binding(4, "access-admin", "cem", Scope::Namespace(HERE)));
        assert_eq!(reader.check(&id("ana"), &raise, now()), Err(ChangeRefused::SeparationOfDuties));
        // Through a change of a role that is held, too.
        let custom = policy.with(&Change::CreateRole(role("x", ActionSet::of(&[Action::Audit]).bits()))).with(&Change::Bind(binding(
            5,
            "x",
            "ben",
            Scope::Namespace(HERE),
        )));
        let widened = Change::UpdateRole(role("x", ActionSet::of(&[Action::Audit, Action::Reveal]).bits()));
        assert_eq!(custom.check(&id("ana"), &widened, now()), Err(ChangeRefused::SeparationOfDuties));
        assert_eq!(
            check_grants(&role("y", ActionSet::of(&[Action::Administer, Action::Reveal]).bits()).grants),
            Err(ChangeRefused::SeparationOfDuties)
        );
    }

    #[test]
    fn the_last_administrator_stays() {
        let policy = two_administrators().with(&Change::Unbind(BindingId::from_bytes([1; 16])));
        assert_eq!(policy.check(&id("ben"), &Change::Unbind(BindingId::from_bytes([2; 16])), now()), Err(ChangeRefused::LastAdministrator));
        assert_eq!(two_administrators().check(&id("ben"), &Change::Unbind(BindingId::from_bytes([2; 16])), now()), Ok(()));
    }

    // immune: row-69
    #[test]
    fn a_suspended_binding_counts_for_nothing_until_another_confirms_it() {
        let suspended = |mut binding: Binding| {
            binding.suspended = Text::parse_optional("restored").expect("short");
            binding
        };
        let bindings = [
            binding(1, "access-admin", "ana", Scope::Vault),
            suspended(binding(2, "access-admin", "ben", Scope::Vault)),
            suspended(binding(3, "auditor", "ana", Scope::Vault)),
        ];
        let policy = Policy::new([], bindings, []);
        let (own, other) = (Change::Confirm(BindingId::from_bytes([3; 16])), Change::Confirm(BindingId::from_bytes([2; 16])));
        assert!(rights(&policy, &id("ben")).iter().all(|right| !right), "he may do nothing");
        assert_eq!(policy.check(&id("ben"), &own, now()), Err(ChangeRefused::NotAdministrator));
        assert_eq!(policy.check(&id("ana"), &own, now()), Err(ChangeRefused::OwnBinding));
        assert_eq!(policy.check(&id("ana"), &Change::Unbind(BindingId::from_bytes([1; 16])), now()), Err(ChangeRefused::LastAdministrator));
        assert_eq!(policy.check(&id("ana"), &other, now()), Ok(()));
        let policy = policy.with(&other);
        assert_eq!(policy.check(&id("ana"), &other, now()), Err(ChangeRefused::NotSuspended));
        assert_eq!(policy.check(&id("ben"), &own, now()), Ok(()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let policy = two_administrators();
        let by = id("ana");
        assert_eq!(policy.check(&by, &Change::CreateRole(role("reader", 1)), now()), Err(ChangeRefused::Exists));
        assert_eq!(policy.check(&by, &Change::UpdateRole(role("reader", 1)), now()), Err(ChangeRefused::BuiltIn));
        assert_eq!(policy.check(&by, &Change::UpdateRole(role("nobody", 1)), now()), Err(ChangeRefused::Unknown));
        let blamed = |change| match policy.check(&by, &change, now()) {
            Err(ChangeRefused::Invalid { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(blamed(Change::Bind(binding(9, "reader", "cem", Scope::Vault))), "namespace");
        let mut ended = binding(9, "reader", "cem", Scope::Namespace(HERE));
        ended.end = Some(now());
        assert_eq!(blamed(Change::Bind(ended)), "end_time");
        let mut narrow = role("z", ActionSet::of(&[Action::Rotate]).bits());
        narrow.grants[0].pattern = "a/**".parse().expect("valid");
        assert_eq!(blamed(Change::CreateRole(narrow)), "grants.path_pattern");
        assert_eq!(blamed(Change::CreateRole(role("z", 0))), "grants.actions");
        let with_grants = |count| {
            let one = role("z", 1);
            Change::CreateRole(Role { grants: vec![one.grants[0].clone(); count], ..one })
        };
        assert_eq!((blamed(with_grants(0)), blamed(with_grants(65))), ("grants", "grants"));
        assert_eq!(policy.check(&by, &with_grants(64), now()), Ok(()));
    }

    #[test]
    fn a_vault_has_a_thousand_roles_and_no_more() {
        let with_roles = |count: usize| {
            let own = (0..count - built_in_roles().len()).map(|number| role(&format!("role-{number}"), 1));
            Policy::new(own, two_administrators().bindings().cloned(), [])
        };
        let one_more = Change::CreateRole(role("one-more", 1));
        let below = with_roles(limits::ROLES - 1);
        assert_eq!(below.check(&id("ana"), &one_more, now()), Ok(()));
        let full = below.with(&one_more);
        assert_eq!(full.roles().count(), 1_000);
        assert!(matches!(full.check(&id("ana"), &Change::CreateRole(role("two-more", 1)), now()), Err(ChangeRefused::Full(_))));
        // What is there can still be changed, and makes room when it is deleted.
        assert_eq!(full.check(&id("ana"), &Change::UpdateRole(role("one-more", 3)), now()), Ok(()));
        let room = full.with(&Change::DeleteRole("role-0".parse().expect("valid")));
        assert_eq!(room.check(&id("ana"), &Change::CreateRole(role("two-more", 1)), now()), Ok(()));
    }

    #[test]
    fn a_vault_has_a_hundred_thousand_bindings_and_no_more() {
        let numbered = |number: usize| {
            let mut bound = binding(0, "reader", &format!("app-{number}"), Scope::Namespace(HERE));
            bound.id = BindingId::from_bytes((number as u128 + (1 << 64)).to_be_bytes());
            bound
        };
        let first = two_administrators();
        let bindings = first.bindings().cloned().chain((0..limits::BINDINGS - 3).map(numbered));
        let below = Policy::new([], bindings, []);
        let (last, too_many) = (Change::Bind(numbered(limits::BINDINGS)), Change::Bind(numbered(limits::BINDINGS + 1)));
        assert_eq!(below.check(&id("ana"), &last, now()), Ok(()));
        let full = below.with(&last);
        assert_eq!(full.bindings().count(), 100_000);
        assert!(matches!(full.check(&id("ana"), &too_many, now()), Err(ChangeRefused::Full(_))));
        let room = full.with(&Change::Unbind(numbered(0).id));
        assert_eq!(room.check(&id("ana"), &too_many, now()), Ok(()));
    }

    fn rights(policy: &Policy, who: &SpiffeId) -> Vec<bool> {
        let path: SecretPath = "a/b".parse().expect("valid");
        let targets = [Target::Path(HERE, &path), Target::Namespace(HERE), Target::Vault];
        let cells = Action::ALL.iter().flat_map(|action| targets.map(|target| (ActionSet::of(&[*action]), target)));
        cells.map(|(action, target)| decide(Some(policy), &[], who, action, target, now()).is_allow()).collect()
    }

    fn any_change() -> impl Strategy<Value = Change> {
        let name =
            || proptest::sample::select(vec!["reader", "backend", "access-admin", "auditor", "key-admin", "custodian", "one", "two"]);
        let who = proptest::sample::select(vec!["ana", "ben", "cem"]);
        let scope = proptest::sample::select(vec![Scope::Vault, Scope::Namespace(HERE)]);
        prop_oneof![
            (name(), 0u16..0x1000).prop_map(|(name, bits)| Change::CreateRole(role(name, bits))),
            (name(), 0u16..0x1000).prop_map(|(name, bits)| Change::UpdateRole(role(name, bits))),
            name().prop_map(|name| Change::DeleteRole(name.parse().expect("valid"))),
            (3u8..9, name(), who, scope).prop_map(|(number, name, who, scope)| Change::Bind(binding(number, name, who, scope))),
            (1u8..9).prop_map(|number| Change::Unbind(BindingId::from_bytes([number; 16]))),
        ]
    }

    proptest! {
        // immune: row-19
        #[test]
        fn no_sequence_of_changes_raises_its_maker(changes in proptest::collection::vec(any_change(), 1..24)) {
            let ana = id("ana");
            let mut policy = two_administrators().with(&Change::CreateRole(role("one", 1 << 10))).with(&Change::Bind(binding(8, "one", "ana", Scope::Vault)));
            let mut before = rights(&policy, &ana);
            for change in changes {
                // A new binding never takes an id that is in use: ids are random.
                let fresh = !matches!(&change, Change::Bind(binding) if policy.binding(binding.id).is_some());
                if fresh && policy.check(&ana, &change, now()).is_ok() {
                    policy = policy.with(&change);
                }
                let after = rights(&policy, &ana);
                prop_assert!(after.iter().zip(&before).all(|(after, before)| !after || *before), "raised by {:?}", change);
                before = after;
            }
        }
    }
}
