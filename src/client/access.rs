//! Roles, and their bindings to principals.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::access_wire::{role, wire_grants};
use super::convert::{self, as_text, as_text_or_null};
use super::{Client, ClientError, Listed, Page};
use crate::api;
use crate::model::{Action, ActionSet, BindingId, Invalid, NamespaceName, PathPattern, RoleName, SpiffeId, Timestamp};

/// Actions on the paths that a pattern covers, written `reveal,describe:merchants/**`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// At least one.
    pub actions: ActionSet,
    /// Which paths of the binding's namespace.
    pub path_pattern: PathPattern,
}

/// A named set of grants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoleInfo {
    /// Its name.
    #[serde(serialize_with = "as_text")]
    pub name: RoleName,
    /// What it is for.
    pub description: String,
    /// What it allows.
    pub grants: Vec<Grant>,
    /// Whether it came with the vault and cannot be changed.
    pub built_in: bool,
    /// The store's number of its last change; 0 for built-in roles.
    pub revision: u64,
    /// When it last changed; `None` for built-in roles.
    #[serde(serialize_with = "as_text_or_null")]
    pub update_time: Option<Timestamp>,
    /// The SPIFFE ID of who last changed it; empty for built-in roles.
    pub updated_by: String,
}

/// What a role is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRole {
    /// Its name.
    pub name: RoleName,
    /// What it is for: at most 512 bytes.
    pub description: String,
    /// What it allows: 1 to 64 grants.
    pub grants: Vec<Grant>,
    /// The caller's own request id; empty for a random one.
    pub request_id: String,
}

/// Where a binding counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindingScope {
    /// The vault itself: no action on secrets.
    Vault,
    /// One namespace.
    Namespace(NamespaceName),
}

/// A role given to a principal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BindingInfo {
    /// Its id.
    #[serde(serialize_with = "as_text")]
    pub binding_id: BindingId,
    /// The role.
    #[serde(serialize_with = "as_text")]
    pub role: RoleName,
    /// Who holds it.
    #[serde(serialize_with = "as_text")]
    pub principal: SpiffeId,
    /// The namespace in which it counts; empty for the vault itself.
    pub namespace: String,
    /// The id of that namespace; empty for the vault.
    pub namespace_id: String,
    /// From when it counts.
    #[serde(serialize_with = "as_text_or_null")]
    pub start_time: Option<Timestamp>,
    /// From when it counts no more, if ever.
    #[serde(serialize_with = "as_text_or_null")]
    pub end_time: Option<Timestamp>,
    /// Why it was given.
    pub reason: String,
    /// The SPIFFE ID of who gave it.
    pub created_by: String,
    /// When it was given.
    #[serde(serialize_with = "as_text")]
    pub create_time: Timestamp,
    /// The store's number of its last change.
    pub revision: u64,
    /// Why it does not count until an administrator confirms it; empty if it counts.
    pub suspended: String,
}

/// A role for a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBinding {
    /// The role.
    pub role: RoleName,
    /// Who is to hold it; not the caller.
    pub principal: SpiffeId,
    /// Where it counts.
    pub scope: BindingScope,
    /// From when it counts; `None` for now.
    pub start_time: Option<Timestamp>,
    /// From when it counts no more; `None` for no end.
    pub end_time: Option<Timestamp>,
    /// Why, for the record: at most 512 bytes.
    pub reason: String,
    /// The caller's own request id; empty for a random one.
    pub request_id: String,
}

/// Which bindings to list. What is absent does not narrow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BindingFilter {
    /// Those of this principal.
    pub principal: Option<SpiffeId>,
    /// Those of this role.
    pub role: Option<RoleName>,
    /// Those in this namespace.
    pub namespace: Option<NamespaceName>,
}

impl Client {
    /// Makes a role.
    ///
    /// # Errors
    /// Refused where the name is taken or the caller lacks `administer` on the vault; see [`ClientError`].
    pub async fn create_role(&self, new: NewRole) -> Result<RoleInfo, ClientError> {
        let NewRole { name, description, grants, request_id } = new;
        let (name, description) = (name.to_string(), convert::remark("description", description)?);
        let request = api::CreateRoleRequest { name, description, grants: wire_grants(&grants), request_id };
        role(self.call(request).await?.role)
    }

    /// Replaces a role's description and grants, if its revision is still the expected one.
    ///
    /// # Errors
    /// Refused for a built-in role, where somebody was faster (`Aborted`), or as [`Client::create_role`].
    pub async fn update_role(&self, new: NewRole, expected_revision: u64) -> Result<RoleInfo, ClientError> {
        let NewRole { name, description, grants, request_id } = new;
        let (name, description) = (name.to_string(), convert::remark("description", description)?);
        let request = api::UpdateRoleRequest { name, description, grants: wire_grants(&grants), expected_revision, request_id };
        role(self.call(request).await?.role)
    }

    /// Deletes a role that no binding refers to; `expected_revision` 0 for any. Never sent twice by itself.
    ///
    /// # Errors
    /// Refused while a binding refers to it, or as [`Client::update_role`].
    pub async fn delete_role(&self, name: &RoleName, expected_revision: u64) -> Result<(), ClientError> {
        self.call(api::DeleteRoleRequest { name: name.to_string(), expected_revision }).await.map(|_| ())
    }

    /// Describes a role.
    ///
    /// # Errors
    /// Refused where it does not exist or the caller has neither `administer` nor `audit`; see [`ClientError`].
    pub async fn describe_role(&self, name: &RoleName) -> Result<RoleInfo, ClientError> {
        role(self.call(api::DescribeRoleRequest { name: name.to_string() }).await?.role)
    }

    /// One page of the roles by name, built-in ones first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list_roles(&self, page: Page) -> Result<Listed<RoleInfo>, ClientError> {
        let answer = self.call(api::ListRolesRequest { page_size: page.size, page_token: page.token }).await?;
        Listed::of(answer.roles, answer.next_page_token, RoleInfo::try_from)
    }

    /// Gives a role to a principal.
    ///
    /// # Errors
    /// Refused to who lacks `administer`, or would raise themselves; see [`ClientError`].
    pub async fn create_binding(&self, new: NewBinding) -> Result<BindingInfo, ClientError> {
        let request = api::CreateBindingRequest {
            role: new.role.to_string(),
            principal: new.principal.to_string(),
            namespace: match new.scope {
                BindingScope::Vault => String::new(),
                BindingScope::Namespace(name) => name.to_string(),
            },
            start_time: new.start_time.map(convert::wire_time),
            end_time: new.end_time.map(convert::wire_time),
            reason: convert::remark("reason", new.reason)?,
            request_id: new.request_id,
        };
        convert::required(self.call(request).await?.binding, "no binding")?.try_into()
    }

    /// Lets a binding count again that a restore suspended. Never sent twice by itself.
    ///
    /// # Errors
    /// Refused where it does not exist, is the caller's own or is not suspended, or the caller lacks `administer`; see
    /// [`ClientError`].
    pub async fn confirm_binding(&self, id: BindingId, reason: &str) -> Result<BindingInfo, ClientError> {
        let reason = convert::remark("reason", reason.to_owned())?;
        let answer = self.call(api::ConfirmBindingRequest { binding_id: id.to_string(), reason }).await?;
        convert::required(answer.binding, "no binding")?.try_into()
    }

    /// Takes a role away, at once. Never sent twice by itself.
    ///
    /// # Errors
    /// Refused where it does not exist or the caller lacks `administer`; see [`ClientError`].
    pub async fn delete_binding(&self, id: BindingId, reason: &str) -> Result<(), ClientError> {
        let reason = convert::remark("reason", reason.to_owned())?;
        self.call(api::DeleteBindingRequest { binding_id: id.to_string(), reason }).await.map(|_| ())
    }

    /// One page of bindings, ended ones included.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list_bindings(&self, filter: &BindingFilter, page: Page) -> Result<Listed<BindingInfo>, ClientError> {
        let request = api::ListBindingsRequest {
            principal: filter.principal.as_ref().map(ToString::to_string).unwrap_or_default(),
            role: filter.role.as_ref().map(ToString::to_string).unwrap_or_default(),
            namespace: filter.namespace.as_ref().map(ToString::to_string).unwrap_or_default(),
            page_size: page.size,
            page_token: page.token,
        };
        let answer = self.call(request).await?;
        Listed::of(answer.bindings, answer.next_page_token, BindingInfo::try_from)
    }
}

impl FromStr for Grant {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (actions, pattern) =
            text.split_once(':').ok_or(Invalid("a grant is written ACTION,ACTION:PATTERN, e.g. reveal,describe:merchants/**"))?;
        let actions = actions.split(',').map(str::parse).collect::<Result<ActionSet, _>>()?;
        Ok(Self { actions, path_pattern: pattern.parse()? })
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.actions.iter().map(Action::word).collect();
        write!(f, "{}:{}", words.join(","), self.path_pattern)
    }
}

/// In JSON: `{"actions": ["describe", …], "path_pattern": "merchants/**"}`.
impl Serialize for Grant {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let words: Vec<_> = self.actions.iter().map(Action::word).collect();
        let mut grant = serializer.serialize_struct("Grant", 2)?;
        grant.serialize_field("actions", &words)?;
        grant.serialize_field("path_pattern", &self.path_pattern.to_string())?;
        grant.end()
    }
}
