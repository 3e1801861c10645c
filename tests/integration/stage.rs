//! A server that several tests share, and what their first lines would otherwise repeat.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use strongroom::api::{self, Method};
use strongroom::client::{
    BindingInfo, BindingScope, Client, Grant, NewBinding, NewNamespace, NewRole, NewSecret, ProposedChange, SecretInfo,
};
use strongroom::model::{Environment, SecretBytes, SecretName, SpiffeId};
use tokio::sync::{Mutex, OnceCell};
use tonic::transport::Channel;

use crate::harness::{Running, Site, person, workload};
use crate::requests::{PROVIDER, SUBJECT, Subject};
use crate::wire::{ask, channel};

/// Every action that a role without `administer` can have.
pub(crate) const EVERYTHING: &str = "describe,reveal,use,create,update,destroy,verify,rotate,approve,audit,operate:**";

/// An open vault and its server. Each test uses names of its own, so that several can share one.
pub(crate) struct Stage {
    pub(crate) site: Site,
    pub(crate) running: Running,
    next: AtomicUsize,
    /// A proposal that nobody approves or ends.
    standing: OnceCell<String>,
}

/// The stage of all tests that run at this time: it ends, and its server with it, with the last of them.
pub(crate) async fn shared() -> Arc<Stage> {
    static CURRENT: Mutex<Weak<Stage>> = Mutex::const_new(Weak::new());
    let mut current = CURRENT.lock().await;
    if let Some(stage) = current.upgrade() {
        return stage;
    }
    let stage = Arc::new(Stage::new("").await);
    *current = Arc::downgrade(&stage);
    stage
}

impl Stage {
    /// One of its own, with something at the end of the configuration.
    pub(crate) async fn new(extra: &str) -> Self {
        let site = Site::with_vault(extra);
        let running = site.start_open().await;
        Self { site, running, next: AtomicUsize::new(1), standing: OnceCell::new() }
    }

    /// A number that no other call gets.
    pub(crate) fn number(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The administrator of the vault.
    pub(crate) async fn ana(&self) -> Client {
        self.client(&person("ana")).await
    }

    /// A client for anybody.
    pub(crate) async fn client(&self, id: &SpiffeId) -> Client {
        self.site.client(&self.running, id).await
    }

    /// A raw connection for anybody.
    pub(crate) async fn channel(&self, id: &SpiffeId) -> Channel {
        channel(&self.site, &self.running, id).await
    }

    /// A namespace of its own, with the default bounds.
    pub(crate) async fn namespace(&self) -> String {
        self.namespace_with(|_| {}).await
    }

    /// The same with other bounds or another environment.
    pub(crate) async fn namespace_with(&self, change: impl FnOnce(&mut NewNamespace)) -> String {
        let name = format!("ns-{}", self.number());
        let mut new = NewNamespace::new(name.parse().expect("valid"), Environment::Stage);
        change(&mut new);
        self.ana().await.create_namespace(new).await.expect("made");
        name
    }

    /// A role of its own with these grants.
    pub(crate) async fn role(&self, grants: &[&str]) -> String {
        let name = format!("role-{}", self.number());
        let grants = grants.iter().map(|grant| grant.parse::<Grant>().expect("a grant")).collect();
        let new = NewRole { name: name.parse().expect("valid"), description: String::new(), grants, request_id: String::new() };
        self.ana().await.create_role(new).await.expect("made");
        name
    }

    /// Somebody of its own, a program, who holds these grants in a namespace.
    pub(crate) async fn holder(&self, namespace: &str, grants: &[&str]) -> SpiffeId {
        let id = workload(&format!("app-{}", self.number()));
        let role = self.role(grants).await;
        self.bind(&role, &id, Some(namespace)).await;
        id
    }

    /// The client of [`Stage::holder`].
    pub(crate) async fn holding(&self, namespace: &str, grants: &[&str]) -> Client {
        self.client(&self.holder(namespace, grants).await).await
    }

    /// Gives a role, in a namespace or on the vault.
    pub(crate) async fn bind(&self, role: &str, id: &SpiffeId, namespace: Option<&str>) -> BindingInfo {
        self.ana().await.create_binding(new_binding(role, id, namespace)).await.expect("bound")
    }

    /// What a request can be about in a namespace: an access token and a binding, both made by `owner` and the administrator.
    pub(crate) async fn subject(&self, namespace: &str, owner: &Client) -> Subject {
        let number = self.number();
        let secret = self.token(owner, &format!("{namespace}/merchants/{number}")).await;
        let binding = self.bind("support", &person(&format!("subject-{number}")), Some(namespace)).await;
        Subject {
            secret: secret.name.to_string(),
            revision: secret.revision,
            absent: format!("{namespace}/absent/{number}"),
            namespace: namespace.to_owned(),
            role: self.fresh_role(number).await,
            binding: binding.binding_id.to_string(),
            proposal: self.standing.get_or_init(|| self.fresh_proposal()).await.clone(),
            number,
        }
    }

    /// An access token of [`PROVIDER`] and [`SUBJECT`].
    pub(crate) async fn token(&self, owner: &Client, name: &str) -> SecretInfo {
        let new = NewSecret::access_token(&name.parse().expect("valid"), bytes("value"), PROVIDER, SUBJECT);
        owner.create_secret(new).await.expect("stored").secret
    }

    /// A proposal of somebody of its own, which nobody has approved.
    pub(crate) async fn fresh_proposal(&self) -> String {
        let proposer = person(&format!("proposer-{}", self.number()));
        self.bind("key-admin", &proposer, None).await;
        let change = ProposedChange::AddPassphraseSlot;
        let proposal = self.client(&proposer).await.propose(&change, "a test", None).await.expect("proposed");
        proposal.proposal_id.to_string()
    }

    /// A role that nobody holds, with its revision.
    pub(crate) async fn fresh_role(&self, number: usize) -> (String, u64) {
        let grants = vec![api::Grant { actions: vec![api::Action::Verify.into()], path_pattern: "**".to_owned() }];
        let request = api::CreateRoleRequest { name: format!("fresh-{number}"), grants, ..Default::default() };
        let ana = self.channel(&person("ana")).await;
        let role: api::CreateRoleResponse = ask(&ana, Method::CreateRole, &request).await.expect("made");
        let role = role.role.expect("the role");
        (role.name, role.revision)
    }
}

/// A binding without start and end.
pub(crate) fn new_binding(role: &str, id: &SpiffeId, namespace: Option<&str>) -> NewBinding {
    NewBinding {
        role: role.parse().expect("valid"),
        principal: id.clone(),
        scope: namespace.map_or(BindingScope::Vault, |name| BindingScope::Namespace(name.parse().expect("valid"))),
        start_time: None,
        end_time: None,
        reason: "a test".to_owned(),
        request_id: String::new(),
    }
}

/// A value.
pub(crate) fn bytes(text: impl AsRef<[u8]>) -> SecretBytes {
    SecretBytes::new(text.as_ref().to_vec())
}

/// An opaque secret.
pub(crate) fn opaque(name: &SecretName, value: &str) -> NewSecret {
    NewSecret::opaque(name, bytes(value))
}

/// The name of a secret.
pub(crate) fn named(text: impl AsRef<str>) -> SecretName {
    text.as_ref().parse().expect("valid")
}
