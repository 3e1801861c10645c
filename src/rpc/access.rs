//! `AccessService`.

use tonic::{Request, Response, Status};

use super::door::Door;
use super::field::{Fault, InField, optional, optional_time, parsed, reason, request_id};
use super::show;
use crate::access::Grant;
use crate::api::access_service_server::AccessService;
use crate::api::{self, Method};
use crate::gate::{BindingNamed, ScopeNamed, WholeVault};
use crate::model::{ActionSet, NamespaceName, RoleName, SpiffeId, Text, limits};
use crate::vault::{BindingDraft, BindingFilter, RoleDraft};

const ROLES: WholeVault = WholeVault::ROLES;

pub(super) struct Access {
    door: Door,
}

impl Access {
    pub(super) const fn new(door: Door) -> Self {
        Self { door }
    }
}

fn grants(wire: &[api::Grant]) -> Result<Vec<Grant>, Fault> {
    if wire.is_empty() || wire.len() > limits::GRANTS_PER_ROLE {
        return Err(Fault { field: "grants", why: "a role has 1 to 64 grants" });
    }
    wire.iter().map(grant).collect()
}

fn grant(wire: &api::Grant) -> Result<Grant, Fault> {
    let fault = |why| Fault { field: "grants.actions", why };
    let mut actions = ActionSet::EMPTY;
    for number in &wire.actions {
        let action = show::action_named(*number).ok_or(fault("not an action"))?;
        if actions.contains(action) {
            return Err(fault("an action stands there twice"));
        }
        actions = actions.union(ActionSet::of(&[action]));
    }
    if actions.is_empty() {
        return Err(fault("a grant names at least one action"));
    }
    Ok(Grant { actions, pattern: parsed(&wire.path_pattern, "grants.path_pattern")? })
}

fn role_draft(name: &str, description: &str, wire: &[api::Grant]) -> Result<RoleDraft, Fault> {
    let description = Text::parse_optional(description).in_field("description")?;
    Ok(RoleDraft { name: parsed(name, "name")?, description, grants: grants(wire)? })
}

#[tonic::async_trait]
impl AccessService for Access {
    async fn create_role(&self, request: Request<api::CreateRoleRequest>) -> Result<Response<api::CreateRoleResponse>, Status> {
        let (call, draft) = self
            .door
            .understand(Method::CreateRole, request, |message, call| {
                request_id(call, &message.request_id)?;
                let draft = role_draft(&message.name, &message.description, &message.grants)?;
                call.detail = vec![("role", draft.name.to_string())];
                Ok(draft)
            })
            .await?;
        let info = self.door.run(call, ROLES, |vault, permit| async move { vault.open()?.create_role(permit, draft).await }).await?;
        Ok(Response::new(api::CreateRoleResponse { role: Some(show::role(info)) }))
    }

    async fn update_role(&self, request: Request<api::UpdateRoleRequest>) -> Result<Response<api::UpdateRoleResponse>, Status> {
        let (call, (draft, expected)) = self
            .door
            .understand(Method::UpdateRole, request, |message, call| {
                request_id(call, &message.request_id)?;
                let draft = role_draft(&message.name, &message.description, &message.grants)?;
                call.detail = vec![("role", draft.name.to_string())];
                if message.expected_revision == 0 {
                    return Err(Fault {
                        field: "expected_revision",
                        why: "must be the revision that you have seen: DescribeRole gives it",
                    });
                }
                Ok((draft, message.expected_revision))
            })
            .await?;
        let updated =
            self.door.run(call, ROLES, move |vault, permit| async move { vault.open()?.update_role(permit, draft, expected).await });
        Ok(Response::new(api::UpdateRoleResponse { role: Some(show::role(updated.await?)) }))
    }

    async fn delete_role(&self, request: Request<api::DeleteRoleRequest>) -> Result<Response<api::DeleteRoleResponse>, Status> {
        let (call, (name, expected)) = self
            .door
            .understand(Method::DeleteRole, request, |message, call| {
                let name: RoleName = parsed(&message.name, "name")?;
                call.detail = vec![("role", name.to_string())];
                Ok((name, message.expected_revision))
            })
            .await?;
        self.door.run(call, ROLES, move |vault, permit| async move { vault.open()?.delete_role(permit, name, expected).await }).await?;
        Ok(Response::new(api::DeleteRoleResponse {}))
    }

    async fn describe_role(&self, request: Request<api::DescribeRoleRequest>) -> Result<Response<api::DescribeRoleResponse>, Status> {
        let (call, name) = self
            .door
            .understand(Method::DescribeRole, request, |message, call| {
                let name: RoleName = parsed(&message.name, "name")?;
                call.detail = vec![("role", name.to_string())];
                Ok(name)
            })
            .await?;
        let info = self.door.run(call, ROLES, |vault, permit| async move { vault.open()?.describe_role(permit, name).await }).await?;
        Ok(Response::new(api::DescribeRoleResponse { role: Some(show::role(info)) }))
    }

    async fn list_roles(&self, request: Request<api::ListRolesRequest>) -> Result<Response<api::ListRolesResponse>, Status> {
        let (call, (items, token)) = self
            .door
            .understand(Method::ListRoles, request, |message, _| Ok((self.door.page(message.page_size)?, message.page_token)))
            .await?;
        let listed = self.door.run(call, ROLES, move |vault, permit| async move { vault.open()?.list_roles(permit, items, &token).await });
        let page = listed.await?;
        let roles = page.items.into_iter().map(show::role).collect();
        Ok(Response::new(api::ListRolesResponse { roles, next_page_token: page.next_page_token }))
    }

    async fn create_binding(&self, request: Request<api::CreateBindingRequest>) -> Result<Response<api::CreateBindingResponse>, Status> {
        let (call, (scope, draft)) = self
            .door
            .understand(Method::CreateBinding, request, |message, call| {
                request_id(call, &message.request_id)?;
                reason(call, &message.reason)?;
                let role: RoleName = parsed(&message.role, "role")?;
                let principal: SpiffeId = parsed(&message.principal, "principal")?;
                let namespace: Option<NamespaceName> = optional(&message.namespace, "namespace")?;
                let start = optional_time(message.start_time.as_ref(), "start_time")?;
                let end = optional_time(message.end_time.as_ref(), "end_time")?;
                call.detail = vec![("role", role.to_string()), ("holder", principal.to_string())];
                call.detail.extend(end.map(|end| ("end", end.to_string())));
                let draft = BindingDraft { role, principal, start, end, reason: call.reason.clone() };
                Ok((ScopeNamed(namespace), draft))
            })
            .await?;
        let bound = self.door.run(call, scope, |vault, permit| async move { vault.open()?.create_binding(permit, draft).await });
        Ok(Response::new(api::CreateBindingResponse { binding: Some(show::binding(bound.await?)) }))
    }

    async fn confirm_binding(&self, request: Request<api::ConfirmBindingRequest>) -> Result<Response<api::ConfirmBindingResponse>, Status> {
        let (call, id) = self
            .door
            .understand(Method::ConfirmBinding, request, |message, call| {
                reason(call, &message.reason)?;
                let id = parsed(&message.binding_id, "binding_id")?;
                call.detail = vec![("binding", message.binding_id)];
                Ok(BindingNamed(id))
            })
            .await?;
        let confirmed = self.door.run(call, id, |vault, permit| async move { vault.open()?.confirm_binding(permit).await });
        Ok(Response::new(api::ConfirmBindingResponse { binding: Some(show::binding(confirmed.await?)) }))
    }

    async fn delete_binding(&self, request: Request<api::DeleteBindingRequest>) -> Result<Response<api::DeleteBindingResponse>, Status> {
        let (call, id) = self
            .door
            .understand(Method::DeleteBinding, request, |message, call| {
                reason(call, &message.reason)?;
                let id = parsed(&message.binding_id, "binding_id")?;
                call.detail = vec![("binding", message.binding_id)];
                Ok(BindingNamed(id))
            })
            .await?;
        self.door.run(call, id, |vault, permit| async move { vault.open()?.delete_binding(permit).await }).await?;
        Ok(Response::new(api::DeleteBindingResponse {}))
    }

    async fn list_bindings(&self, request: Request<api::ListBindingsRequest>) -> Result<Response<api::ListBindingsResponse>, Status> {
        let (call, (scope, filter, items, token)) = self
            .door
            .understand(Method::ListBindings, request, |message, _| {
                let filter =
                    BindingFilter { principal: optional(&message.principal, "principal")?, role: optional(&message.role, "role")? };
                let namespace: Option<NamespaceName> = optional(&message.namespace, "namespace")?;
                Ok((ScopeNamed(namespace), filter, self.door.page(message.page_size)?, message.page_token))
            })
            .await?;
        let listed = self
            .door
            .run(call, scope, move |vault, permit| async move { vault.open()?.list_bindings(permit, filter, items, &token).await });
        let page = listed.await?;
        let bindings = page.items.into_iter().map(show::binding).collect();
        Ok(Response::new(api::ListBindingsResponse { bindings, next_page_token: page.next_page_token }))
    }
}
