//! Roles and bindings: the policy's rows, its generation and its hash.
//!
//! Each change rewrites the policy's head in the same batch, whose revision it expects: changes come one after another.
//! The head's hash covers every role and binding, so that one of them put back alone is noticed at the next start; its
//! generation stands in the audit log, so that all of them put back together are noticed too.

use crate::access::{self, Change, ChangeRefused, Grant, Policy, Scope};
use crate::crypto::{self, TagLabel};
use crate::gate::{OverBinding, OverScope, Permit, Unreleased};
use crate::model::{BindingId, NamespaceId, NamespaceName, RoleName, SpiffeId, Text, Timestamp, limits};
use crate::storage::{Batch, Key, Revision};

use super::page::{Page, PageLimits, Shown};
use super::rows::SystemRows;
use super::{Error, Open, record, row};

/// Where the policy stands. A change holds the lock around it.
pub(super) struct PolicyState {
    pub(super) head: record::PolicyHead,
    pub(super) revision: Revision,
    pub(super) rows: Vec<PolicyRow>,
}

/// What one role's or binding's row holds.
#[derive(Clone)]
pub(super) struct PolicyRow {
    pub(super) key: Key,
    pub(super) content: PolicyContent,
    pub(super) revision: Revision,
}

#[derive(Clone)]
pub(super) enum PolicyContent {
    Role(record::Role),
    Binding(record::Binding),
}

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

impl PolicyRow {
    /// The encoded record, as the policy's hash covers it.
    fn bytes(&self) -> Vec<u8> {
        use prost::Message;
        match &self.content {
            PolicyContent::Role(role) => role.encode_to_vec(),
            PolicyContent::Binding(binding) => binding.encode_to_vec(),
        }
    }
}

impl PolicyState {
    /// Reads the policy, and checks that its rows are those that its head covers.
    pub(super) async fn load(rows: &SystemRows) -> Result<Self, Error> {
        let roles = rows.records(&row::roles_prefix()).await?.into_iter().map(|(key, role, revision)| PolicyRow {
            key,
            content: PolicyContent::Role(role),
            revision,
        });
        let bindings = rows.records(&row::bindings_prefix()).await?.into_iter();
        let bindings = bindings.map(|(key, binding, revision)| PolicyRow { key, content: PolicyContent::Binding(binding), revision });
        let (head, revision) =
            rows.record::<record::PolicyHead>(&row::policy_key()).await?.ok_or(Error::Integrity("the policy's head, which is missing,"))?;
        let state = Self { head, revision, rows: roles.chain(bindings).collect() };
        if hash_of(&state.rows) != state.head.hash {
            return Err(Error::Integrity("the policy: its roles and bindings are not those of its head; it"));
        }
        Ok(state)
    }

    /// The snapshot for decisions.
    pub(super) fn policy(&self, namespaces: impl IntoIterator<Item = (NamespaceName, access::NamespaceEntry)>) -> Result<Policy, Error> {
        let (mut roles, mut bindings) = (Vec::new(), Vec::new());
        for row in &self.rows {
            match &row.content {
                PolicyContent::Role(role) => roles.push(access::Role::try_from(role)?),
                PolicyContent::Binding(binding) => bindings.push(access::Binding::try_from(binding)?),
            }
        }
        Ok(Policy::new(roles, bindings, namespaces))
    }

    /// The head after one more change.
    fn next_head(&self, rows: &[PolicyRow], intent: u64) -> record::PolicyHead {
        record::PolicyHead { generation: self.head.generation + 1, hash: hash_of(rows), intent }
    }
}

/// The first policy: administrators, and nothing else.
pub(super) fn first_rows(bindings: &[access::Binding]) -> (Vec<PolicyRow>, record::PolicyHead) {
    let row = |binding: &access::Binding| PolicyRow {
        key: row::binding_key(binding.id),
        content: PolicyContent::Binding(record::Binding::of(binding, None)),
        revision: Revision::ABSENT,
    };
    let rows: Vec<_> = bindings.iter().map(row).collect();
    let hash = hash_of(&rows);
    (rows, record::PolicyHead { generation: 1, hash, intent: 0 })
}

/// SHA-256 over each row's key and record with their lengths, in the order of the keys.
fn hash_of(rows: &[PolicyRow]) -> Vec<u8> {
    let mut sorted: Vec<_> = rows.iter().collect();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    let parts: Vec<_> = sorted.iter().flat_map(|row| [row.key.as_bytes().to_vec(), row.bytes()]).collect();
    let framed = parts.iter().flat_map(|part| [(part.len() as u64).to_be_bytes().to_vec(), part.clone()]);
    crypto::sha256(&framed.flatten().collect::<Vec<_>>()).to_vec()
}

impl Open {
    /// Makes a role.
    ///
    /// # Errors
    /// [`Error::Policy`], [`Error::Conflict`].
    pub async fn create_role(&self, permit: Permit<()>, draft: RoleDraft) -> Result<Unreleased<RoleInfo>, Error> {
        let mut state = self.policy_change.lock().await;
        if let Some(replayed) = self.replayed_role(&permit, &state, &draft)? {
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
        if let Some(replayed) = self.replayed_role(&permit, &state, &draft)? {
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

    /// Checks one change, writes it with the head, and puts the new policy in force.
    async fn change<G>(&self, permit: &Permit<G>, state: &mut PolicyState, change: Change) -> Result<Unreleased<u64>, Error> {
        let policy = self.policy.snapshot().ok_or(Error::Sealed)?;
        policy.check(&caller(permit)?, &change, permit.now())?;
        let key = self.row_key(&change);
        let content = self.row_content(permit, &change);
        let mut rows: Vec<_> = state.rows.iter().filter(|row| row.key != key).cloned().collect();
        rows.extend(content.clone().map(|content| PolicyRow { key: key.clone(), content, revision: Revision::ABSENT }));
        let head = state.next_head(&rows, permit.intent());
        let batch =
            Batch::new().expecting(row::policy_key(), state.revision).put(row::policy_key(), self.rows.seal(&row::policy_key(), &head)?);
        let batch = match &content {
            Some(PolicyContent::Role(role)) => batch.put(key.clone(), self.rows.seal(&key, role)?),
            Some(PolicyContent::Binding(binding)) => batch.put(key.clone(), self.rows.seal(&key, binding)?),
            None => batch.delete(key.clone()),
        };
        let revision = self.rows.store.commit(batch).await?;
        rows.iter_mut().filter(|row| row.key == key).for_each(|row| row.revision = revision);
        let answer =
            Unreleased::new(revision.number()).with("policy_generation", head.generation).with("policy_hash", hex::encode(&head.hash));
        *state = PolicyState { head, revision, rows };
        self.policy.replace(policy.with(&change));
        Ok(answer)
    }

    fn row_key(&self, change: &Change) -> Key {
        match change {
            Change::CreateRole(role) | Change::UpdateRole(role) => self.role_key(&role.name),
            Change::DeleteRole(name) => self.role_key(name),
            Change::Bind(binding) => row::binding_key(binding.id),
            Change::Unbind(id) => row::binding_key(*id),
        }
    }

    fn row_content<G>(&self, permit: &Permit<G>, change: &Change) -> Option<PolicyContent> {
        match change {
            Change::CreateRole(role) | Change::UpdateRole(role) => Some(PolicyContent::Role(record::Role::of(role, permit.request_id()))),
            Change::Bind(binding) => Some(PolicyContent::Binding(record::Binding::of(binding, permit.request_id()))),
            Change::DeleteRole(_) | Change::Unbind(_) => None,
        }
    }

    fn role_key(&self, name: &RoleName) -> Key {
        row::role_key(&self.names.tag(TagLabel::Role, name.to_string().as_bytes()))
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

    fn replayed_role(&self, permit: &Permit<()>, state: &PolicyState, draft: &RoleDraft) -> Result<Option<RoleInfo>, Error> {
        let key = self.role_key(&draft.name);
        let Some(PolicyRow { content: PolicyContent::Role(role), revision, .. }) = state.rows.iter().find(|row| row.key == key) else {
            return Ok(None);
        };
        let stored = access::Role::try_from(role)?;
        let is_replay = permit.request_id().is_some_and(|id| id == role.request_id);
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

fn caller<G>(permit: &Permit<G>) -> Result<SpiffeId, Error> {
    permit
        .principal()
        .map(|principal| principal.id.clone())
        .ok_or(Error::Policy(ChangeRefused::Invalid("only a principal changes the policy")))
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
