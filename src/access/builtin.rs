//! The roles that come with every vault. They stand in code, so that no row of a database can change them.

use crate::model::{Action, ActionSet, PathPattern, Text};

use super::policy::{Grant, Role};

/// Name, actions, and what the role is for.
const TABLE: [(&str, &[Action], &str); 9] = [
    (
        "backend",
        &[Action::Create, Action::Reveal, Action::Describe, Action::Use],
        "An application's backend: stores new secrets and reads them back; cannot replace or destroy one.",
    ),
    ("writer", &[Action::Create, Action::Update, Action::Describe], "Stores and replaces secrets; cannot read one."),
    ("reader", &[Action::Reveal, Action::Describe], "Reads secrets."),
    ("support", &[Action::Describe], "Sees that a secret exists, its state, age and expiry; never a value."),
    ("key-admin", &[Action::Rotate], "Makes and lists key versions, proposes and carries out changes of slots; sees no secret."),
    ("approver", &[Action::Approve], "Confirms what another person proposed; can do nothing alone."),
    (
        "access-admin",
        &[Action::Administer],
        "Makes namespaces and roles, and gives roles to others; can hold no role that reads or writes secrets.",
    ),
    ("auditor", &[Action::Audit], "Reads the audit log, roles and bindings."),
    ("custodian", &[Action::Operate], "Sees the vault's condition, seals and unseals it."),
];

/// The built-in roles, each with one grant on `**`.
#[must_use]
pub fn built_in_roles() -> Vec<Role> {
    let role = |(name, actions, description): &(&str, &[Action], &str)| Role {
        name: name.parse().expect("the names of this table are canonical"),
        description: Some(Text::parse(description).expect("the descriptions of this table are short and plain")),
        grants: vec![Grant { actions: ActionSet::of(actions), pattern: PathPattern::everything() }],
        built_in: true,
        changed: None,
    };
    TABLE.iter().map(role).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backend_can_neither_replace_nor_destroy() {
        // immune: row-56
        let roles = built_in_roles();
        let backend = roles.iter().find(|role| role.name.to_string() == "backend").expect("it is built in");
        let actions = backend.actions();
        assert_eq!(actions.to_string(), "describe, reveal, use, create");
        assert!(!actions.contains(Action::Update) && !actions.contains(Action::Destroy));
    }

    #[test]
    fn no_built_in_role_could_not_be_held() {
        for role in built_in_roles() {
            assert_eq!(super::super::check_grants(&role.grants), Ok(()), "{:?}", role.name);
        }
    }
}
