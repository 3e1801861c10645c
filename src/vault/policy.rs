//! The policy's rows, its generation and its hash; one change of it after another.
//!
//! Each change rewrites the policy's head in the same batch, whose revision it expects: changes come one after another.
//! The head's hash covers every role and binding, so that one of them put back alone is noticed at the next start; its
//! generation stands in the audit log, so that all of them put back together are noticed too.

use std::sync::atomic::Ordering;

use crate::access::{self, Change, Policy};
use crate::crypto::{self, TagLabel};
use crate::gate::{Permit, Unreleased};
use crate::model::{NamespaceName, RoleName};
use crate::storage::{Batch, Key, Revision};

use super::namespace::load_namespaces;
use super::rows::SystemRows;
use super::{Error, Open, caller, record, row};

pub(super) const CREATE_ROLE: &str = "CreateRole";
pub(super) const UPDATE_ROLE: &str = "UpdateRole";

/// Where the policy stands. A change holds the lock around it.
pub(super) struct PolicyState {
    pub(super) head: record::PolicyHead,
    pub(super) revision: Revision,
    pub(super) rows: Vec<PolicyRow>,
    /// The store may hold a change that is not here: nobody knows whether it happened.
    pub(super) is_behind: bool,
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
        let state = Self { head, revision, rows: roles.chain(bindings).collect(), is_behind: false };
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
    let head = head_of(&rows, 1);
    (rows, head)
}

/// The head over these rows, which no call has made.
pub(super) fn head_of(rows: &[PolicyRow], generation: u64) -> record::PolicyHead {
    record::PolicyHead { generation, hash: hash_of(rows), intent: 0 }
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
    /// Checks one change, writes it with the head, and puts the new policy in force.
    pub(super) async fn change<G>(&self, permit: &Permit<G>, state: &mut PolicyState, change: Change) -> Result<Unreleased<u64>, Error> {
        let policy = self.policy.snapshot().ok_or(Error::Sealed)?;
        policy.check(&caller(permit)?, &change, self.clock.now())?;
        let key = self.row_key(&change);
        let content = self.row_content(permit, &change, state);
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
        match self.rows.store.commit(batch).await {
            Ok(revision) => {
                rows.iter_mut().filter(|row| row.key == key).for_each(|row| row.revision = revision);
                *state = PolicyState { head, revision, rows, is_behind: false };
                self.policy.replace(policy.with(&change));
            }
            Err(error) => {
                let failed = Error::from(error);
                self.read_policy_again(state, &failed).await?;
                if state.head.intent != permit.intent() || permit.intent() == 0 {
                    return Err(failed);
                }
            }
        }
        let PolicyState { head, revision, .. } = &*state;
        self.policy_generation.fetch_max(head.generation, Ordering::AcqRel);
        let answer = Unreleased::new(revision.number());
        Ok(answer.with("policy_generation", head.generation).with("policy_hash", hex::encode(&head.hash)))
    }

    /// After a commit of which nobody knows whether it happened, or before which somebody else wrote: what the store holds is
    /// in force. A store that cannot be read at once is read again by [`Open::catch_up`]; until then its answer stays unknown.
    pub(super) async fn read_policy_again(&self, state: &mut PolicyState, failed: &Error) -> Result<(), Error> {
        if !matches!(failed, Error::Unknown | Error::Conflict) {
            return Ok(());
        }
        state.is_behind = true;
        self.load_policy(state).await.map_err(|_| Error::Unknown)
    }

    async fn load_policy(&self, state: &mut PolicyState) -> Result<(), Error> {
        let namespaces = load_namespaces(&self.rows).await?;
        *state = PolicyState::load(&self.rows).await?;
        self.policy.replace(state.policy(namespaces.values().map(|namespace| namespace.entry()))?);
        self.namespaces.rcu(|known| {
            // Those that are known stay: their keys may have been rotated since the rows were read.
            let mut all = namespaces.clone();
            all.extend(known.iter().map(|(id, namespace)| (*id, namespace.clone())));
            all
        });
        Ok(())
    }

    /// Reads the policy again if a change was left in doubt.
    ///
    /// # Errors
    /// The store's; to be tried again.
    pub(super) async fn catch_up(&self) -> Result<(), Error> {
        let mut state = self.policy_change.lock().await;
        if state.is_behind { self.load_policy(&mut state).await } else { Ok(()) }
    }

    fn row_key(&self, change: &Change) -> Key {
        match change {
            Change::CreateRole(role) | Change::UpdateRole(role) => self.role_key(&role.name),
            Change::DeleteRole(name) => self.role_key(name),
            Change::Bind(binding) => row::binding_key(binding.id),
            Change::Confirm(id) | Change::Unbind(id) => row::binding_key(*id),
        }
    }

    fn row_content<G>(&self, permit: &Permit<G>, change: &Change, state: &PolicyState) -> Option<PolicyContent> {
        match change {
            Change::CreateRole(role) => Some(PolicyContent::Role(record::Role::of(role, CREATE_ROLE, permit.request_id()))),
            Change::UpdateRole(role) => Some(PolicyContent::Role(record::Role::of(role, UPDATE_ROLE, permit.request_id()))),
            Change::Bind(binding) => Some(PolicyContent::Binding(record::Binding::of(binding, permit.request_id()))),
            // Else as it is: the id of the request that made it goes on answering for it.
            Change::Confirm(id) => state.rows.iter().find(|row| row.key == row::binding_key(*id)).and_then(|row| match &row.content {
                PolicyContent::Binding(binding) => {
                    Some(PolicyContent::Binding(record::Binding { suspended: String::new(), ..binding.clone() }))
                }
                PolicyContent::Role(_) => None,
            }),
            Change::DeleteRole(_) | Change::Unbind(_) => None,
        }
    }

    pub(super) fn role_key(&self, name: &RoleName) -> Key {
        row::role_key(&self.names.tag(TagLabel::Role, name.to_string().as_bytes()))
    }
}
