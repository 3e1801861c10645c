//! Roles and bindings.

use crate::access::{self, Change, Grant, Scope};
use crate::gate::{OverBinding, OverScope, Permit, Unreleased};
use crate::model::{BindingId, NamespaceId, NamespaceName, RoleName, SpiffeId, Text, Timestamp, limits};

use crate::storage::Revision;

use super::page::{Page, PageLimits, Shown};
use super::policy::{CREATE_ROLE, PolicyContent, PolicyRow, PolicyState, UPDATE_ROLE};
use super::{Error, Open, caller, record};

/// A role as it is shown.
#[derive(Debug, Clone)]
pub struct RoleInfo {
    /// The role.
    pub role: access::Role,
    /// The revision of its row; 0 for a built-in one.
    pub revision: u64,
}

/// A binding as it is shown.
#[derive(Debug, Clone)]
pub struct BindingInfo {
    /// The binding.
    pub binding: access::Binding,
    /// The name of its namespace; none for the vault.
    pub namespace: Option<NamespaceName>,
    /// The revision of its row.
    pub revision: u64,
}

/// What a role is to be.
#[derive(Debug, Clone)]
pub struct RoleDraft {
    /// Its name.
    pub name: RoleName,
    /// What it is for.
    pub description: Option<Text<{ limits::REASON_BYTES }>>,
    /// What it allows.
    pub grants: Vec<Grant>,
}

/// What a binding is to be; where it counts is the permit's.
#[derive(Debug, Clone)]
pub struct BindingDraft {
    /// The role.
    pub role: RoleName,
    /// Who is to hold it.
    pub principal: SpiffeId,
    /// From when it counts; none for now.
    pub start: Option<Timestamp>,
    /// From when it counts no more.
    pub end: Option<Timestamp>,
    /// Why.
    pub reason: Option<Text<{ limits::REASON_BYTES }>>,
}

/// Which bindings to list.
#[derive(Debug, Clone, Default)]
pub struct BindingFilter {
    /// Those of this principal.
    pub principal: Option<SpiffeId>,
    /// Those of this role.
    pub role: Option<RoleName>,
}

impl Open {
    /// Makes a role.
    ///
    /// # Errors
    /// [`Error::Policy`], [`Error::Conflict`].
    pub async fn create_role(&self, permit: Permit<()>, draft: RoleDraft) -> Result<Unreleased<RoleInfo>, Error> {
        let mut state = self.policy_change.lock().await;
        if let Some(replayed) = self.replayed_role(&permit, &state, &draft, CREATE_ROLE)? {
            return Ok(Unreleased::new(replayed));
        }
        let role = drafted(&permit, draft)?;
        self.change(&permit, &mut state, Change::CreateRole(role.clone()))
            .await
            .map(|done| done.map(|revision| RoleInfo { role, revision }))
    }

    /// Gives a role other grants.
    ///
    /// # Errors
    /// [`Error::Policy`], [`Error::Conflict`].
    pub async fn update_role(&self, permit: Permit<()>, draft: RoleDraft, expected: u64) -> Result<Unreleased<RoleInfo>, Error> {
        let mut state = self.policy_change.lock().await;
        if let Some(replayed) = self.replayed_role(&permit, &state, &draft, UPDATE_ROLE)? {
            return Ok(Unreleased::new(replayed));
        }
        let role = drafted(&permit, draft)?;
        self.expect_role(&state, &role.name, expected)?;
        self.change(&permit, &mut state, Change::UpdateRole(role.clone()))
            .await
            .map(|done| done.map(|revision| RoleInfo { role, revision }))
    }

    /// Deletes a role that nobody holds.
    ///
    /// # Errors
    /// [`Error::Policy`], [`Error::Conflict`].
    pub async fn delete_role(&self, permit: Permit<()>, name: RoleName, expected: u64) -> Result<Unreleased<()>, Error> {
        let mut state = self.policy_change.lock().await;
        if expected != 0 {
            self.expect_role(&state, &name, expected)?;
        }
        self.change(&permit, &mut state, Change::DeleteRole(name)).await.map(|done| done.map(|_| ()))
    }

    /// Gives a role to a principal.
    ///
    /// # Errors
    /// [`Error::Policy`], [`Error::Conflict`].
    pub async fn create_binding(&self, permit: Permit<OverScope>, draft: BindingDraft) -> Result<Unreleased<BindingInfo>, Error> {
        let mut state = self.policy_change.lock().await;
        let OverScope { scope, namespace } = permit.granted().clone();
        if let Some(replayed) = replayed_binding(&permit, &state, &draft, scope, namespace.clone())? {
            return Ok(Unreleased::new(replayed));
        }
        let binding = access::Binding {
            id: BindingId::from_bytes(self.new_id()?),
            role: draft.role,
            principal: draft.principal,
            scope,
            start: draft.start.unwrap_or_else(|| permit.now()),
            end: draft.end,
            reason: draft.reason,
            created_by: caller(&permit)?,
            created: permit.now(),
            suspended: None,
        };
        let done = self.change(&permit, &mut state, Change::Bind(binding.clone())).await?;
        Ok(done.with("binding", binding.id).map(|revision| BindingInfo { binding, namespace, revision }))
    }

    /// Takes a role away from a principal.
    ///
    /// # Errors
    /// [`Error::Policy`], [`Error::Absent`].
    pub async fn delete_binding(&self, permit: Permit<OverBinding>) -> Result<Unreleased<()>, Error> {
        let mut state = self.policy_change.lock().await;
        let OverBinding(id) = *permit.granted();
        let policy = self.policy.snapshot().ok_or(Error::Sealed)?;
        let binding = policy.binding(id).ok_or(Error::Absent("binding"))?.clone();
        let done = self.change(&permit, &mut state, Change::Unbind(id)).await?;
        Ok(done.with("role", binding.role).with("holder", binding.principal).map(|_| ()))
    }

    fn expect_role(&self, state: &PolicyState, name: &RoleName, expected: u64) -> Result<(), Error> {
        let key = self.role_key(name);
        let found = state.rows.iter().find(|row| row.key == key);
        match found {
            Some(row) if row.revision.number() != expected => Err(Error::Conflict),
            // What else is wrong with the change, the policy says.
            _ => Ok(()),
        }
    }

    fn replayed_role(&self, permit: &Permit<()>, state: &PolicyState, draft: &RoleDraft, method: &str) -> Result<Option<RoleInfo>, Error> {
        let key = self.role_key(&draft.name);
        let Some(PolicyRow { content: PolicyContent::Role(role), revision, .. }) = state.rows.iter().find(|row| row.key == key) else {
            return Ok(None);
        };
        let stored = access::Role::try_from(role)?;
        // Another administrator's request ids are theirs.
        let is_own = role.changed_by == caller(permit)?.as_str() && role.method == method;
        let is_replay = is_own && permit.request_id().is_some_and(|id| id == role.request_id);
        let is_same = stored.grants == draft.grants && stored.description == draft.description;
        Ok((is_replay && is_same).then_some(RoleInfo { role: stored, revision: revision.number() }))
    }

    /// Describes a role.
    ///
    /// # Errors
    /// [`Error::Absent`].
    pub async fn describe_role(&self, _permit: Permit<()>, name: RoleName) -> Result<Unreleased<RoleInfo>, Error> {
        let roles = self.role_infos().await?;
        let role = roles.into_iter().find(|info| info.role.name == name).ok_or(Error::Absent("role"))?;
        Ok(Unreleased::new(role))
    }

    /// Lists the roles, built-in ones first.
    ///
    /// # Errors
    /// A page token of another list.
    pub async fn list_roles(&self, permit: Permit<()>, page: PageLimits, page_token: &str) -> Result<Unreleased<Page<RoleInfo>>, Error> {
        let position = |info: &RoleInfo| [&[u8::from(!info.role.built_in)], info.role.name.to_string().as_bytes()].concat();
        let mut roles = self.role_infos().await?;
        roles.sort_by_key(position);
        Ok(Unreleased::new(self.paging(&permit, "roles", page).cut(roles, page_token, position)?))
    }

    /// Lets a binding count again that a restore suspended.
    ///
    /// # Errors
    /// [`Error::Absent`]; [`Error::Policy`] for one's own, and for one that is not suspended.
    pub async fn confirm_binding(&self, permit: Permit<OverBinding>) -> Result<Unreleased<BindingInfo>, Error> {
        let mut state = self.policy_change.lock().await;
        let OverBinding(id) = *permit.granted();
        self.policy.snapshot().ok_or(Error::Sealed)?.binding(id).ok_or(Error::Absent("binding"))?;
        let done = self.change(&permit, &mut state, Change::Confirm(id)).await?;
        drop(state);
        let mut infos = self.binding_infos().await?;
        let position = infos.iter().position(|info| info.binding.id == id).ok_or(Error::Absent("binding"))?;
        let info = infos.swap_remove(position);
        let (role, holder) = (info.binding.role.clone(), info.binding.principal.clone());
        Ok(done.with("role", role).with("holder", holder).map(|_| info))
    }

    /// Lists bindings by id, those of the permit's namespace if it names one.
    ///
    /// # Errors
    /// A page token of another list.
    pub async fn list_bindings(
        &self,
        permit: Permit<OverScope>,
        filter: BindingFilter,
        page: PageLimits,
        page_token: &str,
    ) -> Result<Unreleased<Page<BindingInfo>>, Error> {
        let scope = permit.granted().scope;
        let asked = format!("bindings {scope:?} {:?} {:?}", filter.principal, filter.role);
        let fits = |binding: &access::Binding| {
            (scope == Scope::Vault || binding.scope == scope)
                && filter.principal.as_ref().is_none_or(|principal| *principal == binding.principal)
                && filter.role.as_ref().is_none_or(|role| *role == binding.role)
        };
        let mut infos = self.binding_infos().await?;
        infos.retain(|info| fits(&info.binding));
        infos.sort_by_key(|info| info.binding.id);
        let page = self.paging(&permit, &asked, page).cut(infos, page_token, |info| info.binding.id.as_bytes().to_vec())?;
        Ok(Unreleased::new(page))
    }

    async fn role_infos(&self) -> Result<Vec<RoleInfo>, Error> {
        let state = self.policy_change.lock().await;
        let built_in = access::built_in_roles().into_iter().map(|role| Ok(RoleInfo { role, revision: 0 }));
        let own = state.rows.iter().filter_map(|row| match &row.content {
            PolicyContent::Role(role) => Some(access::Role::try_from(role).map(|role| RoleInfo { role, revision: row.revision.number() })),
            PolicyContent::Binding(_) => None,
        });
        built_in.chain(own).collect()
    }

    async fn binding_infos(&self) -> Result<Vec<BindingInfo>, Error> {
        let state = self.policy_change.lock().await;
        let namespaces = self.namespaces.load();
        let name = |id: &NamespaceId| namespaces.get(id).map(|namespace| namespace.info.name.clone());
        let info = |binding: &record::Binding, revision: Revision| -> Result<BindingInfo, Error> {
            let binding = access::Binding::try_from(binding)?;
            let namespace = if let Scope::Namespace(id) = &binding.scope { name(id) } else { None };
            Ok(BindingInfo { binding, namespace, revision: revision.number() })
        };
        let all = state.rows.iter().filter_map(|row| match &row.content {
            PolicyContent::Binding(binding) => Some(info(binding, row.revision)),
            PolicyContent::Role(_) => None,
        });
        all.collect()
    }
}

fn drafted(permit: &Permit<()>, draft: RoleDraft) -> Result<access::Role, Error> {
    let changed = Some((caller(permit)?, permit.now()));
    Ok(access::Role { name: draft.name, description: draft.description, grants: draft.grants, built_in: false, changed })
}

fn replayed_binding(
    permit: &Permit<OverScope>,
    state: &PolicyState,
    draft: &BindingDraft,
    scope: Scope,
    namespace: Option<NamespaceName>,
) -> Result<Option<BindingInfo>, Error> {
    let Some(request_id) = permit.request_id() else { return Ok(None) };
    // Another administrator's request ids are theirs: nothing is told of them.
    let caller = caller(permit)?;
    for row in &state.rows {
        let PolicyContent::Binding(stored) = &row.content else { continue };
        if stored.request_id == request_id && stored.created_by == caller.as_str() {
            let binding = access::Binding::try_from(stored)?;
            let is_same = binding.role == draft.role
                && binding.principal == draft.principal
                && binding.scope == scope
                && draft.start.is_none_or(|start| binding.start == start)
                && binding.end == draft.end;
            return if is_same {
                Ok(Some(BindingInfo { binding, namespace, revision: row.revision.number() }))
            } else {
                Err(Error::Exists)
            };
        }
    }
    Ok(None)
}

impl Shown for RoleInfo {
    fn shown_bytes(&self) -> usize {
        let grants: usize = self.role.grants.iter().map(|grant| 48 + grant.pattern.to_string().len()).sum();
        let changed = self.role.changed.as_ref().map_or(0, |(who, _)| who.as_str().len());
        128 + limits::REASON_BYTES + grants + changed
    }
}

impl Shown for BindingInfo {
    fn shown_bytes(&self) -> usize {
        let reason = self.binding.reason.as_ref().map_or(0, |reason| reason.as_str().len());
        384 + self.binding.principal.as_str().len() + self.binding.created_by.as_str().len() + reason
    }
}
