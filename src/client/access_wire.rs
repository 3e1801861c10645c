//! Roles and bindings between the wire and their typed form.

use super::access::{BindingInfo, Grant, RoleInfo};
use super::{ClientError, convert};
use crate::api;
use crate::model::{Action, ActionSet};

pub(super) fn role(wire: Option<api::Role>) -> Result<RoleInfo, ClientError> {
    convert::required(wire, "no role")?.try_into()
}

pub(super) fn wire_grants(grants: &[Grant]) -> Vec<api::Grant> {
    let actions = |grant: &Grant| grant.actions.iter().map(|action| wire_action(action).into()).collect();
    grants.iter().map(|grant| api::Grant { actions: actions(grant), path_pattern: grant.path_pattern.to_string() }).collect()
}

impl TryFrom<api::Role> for RoleInfo {
    type Error = ClientError;

    fn try_from(wire: api::Role) -> Result<Self, ClientError> {
        Ok(Self {
            name: convert::parsed(&wire.name, "a role's name")?,
            description: wire.description,
            grants: wire.grants.into_iter().map(Grant::try_from).collect::<Result<_, _>>()?,
            built_in: wire.built_in,
            revision: wire.revision,
            update_time: convert::time(wire.update_time)?,
            updated_by: wire.updated_by,
        })
    }
}

impl TryFrom<api::Grant> for Grant {
    type Error = ClientError;

    fn try_from(wire: api::Grant) -> Result<Self, ClientError> {
        let action = |number: i32| {
            let known = Action::ALL.iter().find(|action| i32::from(wire_action(**action)) == number);
            known.copied().ok_or(ClientError::Answer("an unknown action"))
        };
        let actions = wire.actions.into_iter().map(action).collect::<Result<ActionSet, _>>()?;
        Ok(Self { actions, path_pattern: convert::parsed(&wire.path_pattern, "a path pattern")? })
    }
}

impl TryFrom<api::Binding> for BindingInfo {
    type Error = ClientError;

    fn try_from(wire: api::Binding) -> Result<Self, ClientError> {
        Ok(Self {
            binding_id: convert::parsed(&wire.binding_id, "a binding's id")?,
            role: convert::parsed(&wire.role, "a role's name")?,
            principal: convert::parsed(&wire.principal, "a principal")?,
            namespace: wire.namespace,
            namespace_id: wire.namespace_id,
            start_time: convert::time(wire.start_time)?,
            end_time: convert::time(wire.end_time)?,
            reason: wire.reason,
            created_by: wire.created_by,
            create_time: convert::required_time(wire.create_time)?,
            revision: wire.revision,
            suspended: wire.suspended,
        })
    }
}

fn wire_action(action: Action) -> api::Action {
    match action {
        Action::Describe => api::Action::Describe,
        Action::Reveal => api::Action::Reveal,
        Action::Use => api::Action::Use,
        Action::Create => api::Action::Create,
        Action::Update => api::Action::Update,
        Action::Destroy => api::Action::Destroy,
        Action::Verify => api::Action::Verify,
        Action::Rotate => api::Action::Rotate,
        Action::Administer => api::Action::Administer,
        Action::Approve => api::Action::Approve,
        Action::Audit => api::Action::Audit,
        Action::Operate => api::Action::Operate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_survive_the_wire_and_unknown_actions_are_refused() {
        let grant: Grant =
            format!("{}:merchants/**", Action::ALL.iter().map(|one| one.word()).collect::<Vec<_>>().join(",")).parse().expect("valid");
        let [wire] = wire_grants(std::slice::from_ref(&grant)).try_into().expect("one");
        assert_eq!(Grant::try_from(wire.clone()).expect("known"), grant);
        for number in [0, 13, -1] {
            assert!(Grant::try_from(api::Grant { actions: vec![number], ..wire.clone() }).is_err(), "{number}");
        }
    }

    #[test]
    fn a_written_grant_has_one_spelling() {
        assert_eq!(
            "reveal,describe:merchants/**".parse::<Grant>().map(|grant| grant.to_string()),
            Ok("describe,reveal:merchants/**".to_owned())
        );
        for text in ["", ":", "reveal", "reveal:", ":**", "Reveal:**", "reveal, describe:**", "reveal,:**", "everything:**", "reveal:a**"] {
            assert!(text.parse::<Grant>().is_err(), "{text:?}");
        }
    }
}
