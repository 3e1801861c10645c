//! Roles and bindings at work: patterns, times, who may give what to whom, and that taking away works at once.

use std::time::Duration;

use strongroom::client::{BindingFilter, Client, NewBinding, NewRole, Page, Reveal, SecretUpdate, StateChange};
use strongroom::model::{Clock, RoleName, SecretName, SystemClock};
use tonic::Code;

use crate::harness::{person, workload};
use crate::stage::{Stage, bytes, named, new_binding, opaque, shared};
use crate::wire::refused;

const OWNER: &str = "describe,reveal,create,update,destroy:**";

fn role(name: &str, grants: &[&str]) -> NewRole {
    let grants = grants.iter().map(|grant| grant.parse().expect("a grant")).collect();
    NewRole { name: name.parse().expect("valid"), description: "a test".to_owned(), grants, request_id: String::new() }
}

/// A secret, and its name.
async fn stored(stage: &Stage, namespace: &str, path: &str) -> SecretName {
    let name = named(format!("{namespace}/{path}"));
    stage.holding(namespace, &["create:**"]).await.create_secret(opaque(&name, "value")).await.expect("stored");
    name
}

async fn reveal(client: &Client, name: &SecretName) -> Code {
    refused(&client.reveal_secret(Reveal::latest(name)).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_counts_on_what_its_pattern_covers() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let mut names = Vec::new();
    for path in ["merchants/1", "merchants/1/refresh", "merchants/1/refresh/old", "partners/1", "merchants"] {
        names.push(stored(&stage, &namespace, path).await);
    }
    let client = stage.holding(&namespace, &["reveal:merchants/*", "describe:**", "destroy:merchants/*/refresh/**"]).await;
    let expected = [Code::Ok, Code::PermissionDenied, Code::PermissionDenied, Code::PermissionDenied, Code::PermissionDenied];
    for (name, expected) in names.iter().zip(expected) {
        assert_eq!(reveal(&client, name).await, expected, "{name}");
    }
    let destroyed = [Code::PermissionDenied, Code::PermissionDenied, Code::Ok, Code::PermissionDenied, Code::PermissionDenied];
    for (name, expected) in names.iter().zip(destroyed) {
        assert_eq!(refused(&client.destroy_secret(StateChange::of(name)).await), expected, "{name}");
    }
    assert_eq!(refused(&client.update_secret(SecretUpdate::new(&names[0], bytes("other"), 1)).await), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_counts_between_its_times() {
    let stage = shared().await;
    let (ana, namespace) = (stage.ana().await, stage.namespace().await);
    let name = stored(&stage, &namespace, "merchants/1").await;
    let id = workload(&format!("hourly-{}", stage.number()));
    let client = stage.client(&id).await;
    let now = SystemClock.now();
    let from = |milliseconds| Some(now.plus(Duration::from_millis(milliseconds)));
    let timed = |start_time, end_time| NewBinding { start_time, end_time, ..new_binding("reader", &id, Some(&namespace)) };
    for (start, end) in [(None, Some(now)), (from(5_000), from(5_000)), (from(5_000), from(4_000))] {
        assert_eq!(refused(&ana.create_binding(timed(start, end)).await), Code::InvalidArgument);
    }
    ana.create_binding(timed(from(1_000), from(2_500))).await.expect("bound");
    assert_eq!(reveal(&client, &name).await, Code::NotFound, "not yet");
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    assert_eq!(reveal(&client, &name).await, Code::Ok, "now");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(reveal(&client, &name).await, Code::NotFound, "not any more");
    let filter = BindingFilter { principal: Some(id.clone()), ..BindingFilter::default() };
    assert_eq!(ana.list_bindings(&filter, Page::default()).await.expect("listed").items.len(), 1, "it is there until it is deleted");
}

// immune: row-19
#[tokio::test(flavor = "multi_thread")]
async fn nobody_raises_themselves() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let (adam, ana) = (person(&format!("adam-{}", stage.number())), stage.ana().await);
    stage.bind("access-admin", &adam, Some(&namespace)).await;
    let adam_s = stage.client(&adam).await;
    for (client, id) in [(&ana, person("ana")), (&adam_s, adam.clone())] {
        for given in ["reader", "auditor", "access-admin", "custodian", "key-admin"] {
            let bound = client.create_binding(new_binding(given, &id, Some(&namespace))).await;
            assert_eq!(refused(&bound), Code::PermissionDenied, "{given} for {id}");
        }
    }
    // Who administers a namespace makes no role, and gives none on the vault or elsewhere.
    let other = person("somebody-else");
    assert_eq!(refused(&adam_s.create_binding(new_binding("auditor", &other, None)).await), Code::PermissionDenied);
    let elsewhere = stage.namespace().await;
    assert_eq!(refused(&adam_s.create_binding(new_binding("auditor", &other, Some(&elsewhere))).await), Code::NotFound);
    assert_eq!(refused(&adam_s.create_role(role("adams", &["audit:**"])).await), Code::PermissionDenied);
    // A role that one holds is changed by others alone, an ended binding included.
    let own = stage.role(&["audit:**"]).await;
    let ben = stage.client(&person("ben")).await;
    let soon = SystemClock.now().plus(Duration::from_millis(400));
    let ended = NewBinding { end_time: Some(soon), ..new_binding(&own, &person("ana"), Some(&namespace)) };
    ben.create_binding(ended).await.expect("bound");
    let name: RoleName = own.parse().expect("valid");
    let revision = ana.describe_role(&name).await.expect("described").revision;
    let wider = role(&own, &["audit,rotate:**"]);
    assert_eq!(refused(&ana.update_role(wider.clone(), revision).await), Code::PermissionDenied);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(refused(&ana.update_role(wider.clone(), revision).await), Code::PermissionDenied);
    assert_eq!(refused(&ana.delete_role(&name, 0).await), Code::PermissionDenied);
    ben.update_role(wider, revision).await.expect("ben does not hold it");
    assert_eq!(refused(&ben.delete_role(&name, 0).await), Code::FailedPrecondition, "a binding refers to it");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_administers_access_touches_no_secret() {
    let stage = shared().await;
    let (ana, namespace) = (stage.ana().await, stage.namespace().await);
    let apart = ["reveal", "use", "create", "update", "approve"];
    for action in apart {
        let joined = role(&format!("joined-{action}"), &[&format!("administer,{action}:**")]);
        assert_eq!(refused(&ana.create_role(joined).await), Code::PermissionDenied, "{action}");
        let split = role(&format!("split-{action}"), &["administer:**", &format!("{action}:**")]);
        assert_eq!(refused(&ana.create_role(split).await), Code::PermissionDenied, "{action}");
        // Two bindings of one person, in either order, wherever each counts.
        let given = stage.role(&[&format!("{action}:**")]).await;
        assert_eq!(refused(&ana.create_binding(new_binding(&given, &person("ben"), Some(&namespace))).await), Code::PermissionDenied);
        let holder = person(&format!("holder-{action}-{}", stage.number()));
        stage.bind(&given, &holder, Some(&namespace)).await;
        let elsewhere = stage.namespace().await;
        for scope in [None, Some(elsewhere.as_str())] {
            let raised = ana.create_binding(new_binding("access-admin", &holder, scope)).await;
            assert_eq!(refused(&raised), Code::PermissionDenied, "{action}");
        }
    }
    // Nor by way of a role that is widened.
    let harmless = stage.role(&["audit:**"]).await;
    stage.bind(&harmless, &person("ben"), Some(&namespace)).await;
    let revision = ana.describe_role(&harmless.parse().expect("valid")).await.expect("described").revision;
    assert_eq!(refused(&ana.update_role(role(&harmless, &["audit,reveal:**"]), revision).await), Code::PermissionDenied);
    // A role for secrets allows nothing on the vault.
    let useless = ana.create_binding(new_binding("reader", &person("somebody-on-vault"), None)).await;
    assert_eq!(refused(&useless), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_changes_no_rights_whatever_role_it_holds() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let robot = workload(&format!("robot-{}", stage.number()));
    stage.bind("access-admin", &robot, None).await;
    let client = stage.client(&robot).await;
    client.list_roles(Page::default()).await.expect("reading them is no change");
    let accomplice = person(&format!("accomplice-{}", stage.number()));
    assert_eq!(refused(&client.create_binding(new_binding("reader", &accomplice, Some(&namespace))).await), Code::PermissionDenied);
    assert_eq!(reveal(&stage.client(&accomplice).await, &named(format!("{namespace}/a"))).await, Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_administrator_stays() {
    let stage = Stage::new("").await;
    let ben = stage.client(&person("ben")).await;
    let administrators = BindingFilter { role: Some("access-admin".parse().expect("valid")), ..BindingFilter::default() };
    let listed = ben.list_bindings(&administrators, Page::default()).await.expect("listed").items;
    let of = |name: &str| listed.iter().find(|binding| binding.principal == person(name)).expect("named when it was made").binding_id;
    // One that ends, and one of a namespace alone, are no last ones.
    let namespace = stage.namespace().await;
    stage.bind("access-admin", &person("adam"), Some(&namespace)).await;
    let hour = SystemClock.now().plus(Duration::from_secs(3600));
    let ending = NewBinding { end_time: Some(hour), ..new_binding("access-admin", &person("eve"), None) };
    ben.create_binding(ending).await.expect("bound");
    ben.delete_binding(of("ana"), "she left").await.expect("ben is still there");
    assert_eq!(refused(&ben.delete_binding(of("ben"), "").await), Code::FailedPrecondition);
    let ana = stage.client(&person("ana")).await;
    assert_eq!(refused(&ana.list_roles(Page::default()).await), Code::PermissionDenied, "what was taken is gone at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_away_is_gone_at_once_on_open_connections() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    for path in ["a/1", "a/2", "a/3"] {
        stored(&stage, &namespace, path).await;
    }
    let name = named(format!("{namespace}/a/1"));
    let id = workload(&format!("taken-{}", stage.number()));
    let binding = stage.bind("reader", &id, Some(&namespace)).await;
    let client = stage.client(&id).await;
    assert_eq!(reveal(&client, &name).await, Code::Ok);
    let first = client.list_secrets(&namespace, Page { size: 1, token: String::new() }).await.expect("listed");
    stage.ana().await.delete_binding(binding.binding_id, "over").await.expect("taken");
    assert_eq!(reveal(&client, &name).await, Code::NotFound);
    let next = Page { size: 1, token: first.next.expect("more") };
    assert_eq!(refused(&client.list_secrets(&namespace, next).await), Code::NotFound);
    // The same by a narrower role.
    let grants = stage.role(&["reveal,describe:**"]).await;
    stage.bind(&grants, &id, Some(&namespace)).await;
    assert_eq!(reveal(&client, &name).await, Code::Ok);
    let ana = stage.ana().await;
    let revision = ana.describe_role(&grants.parse().expect("valid")).await.expect("described").revision;
    ana.update_role(role(&grants, &["describe:**"]), revision).await.expect("narrowed");
    assert_eq!(reveal(&client, &name).await, Code::PermissionDenied);
    assert_eq!(refused(&ana.update_role(role(&grants, &["reveal:**"]), revision).await), Code::Aborted, "a stale revision");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_makes_one_binding_and_is_its_maker_s_own() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let (ana, ben) = (stage.ana().await, stage.client(&person("ben")).await);
    let id = workload(&format!("twice-{}", stage.number()));
    let request_id = format!("request-{}", stage.number());
    let new = NewBinding { request_id: request_id.clone(), ..new_binding("reader", &id, Some(&namespace)) };
    let first = ana.create_binding(new.clone()).await.expect("bound");
    assert_eq!(ana.create_binding(new.clone()).await.expect("a retry"), first);
    assert_eq!(
        refused(&ana.create_binding(NewBinding { role: "writer".parse().expect("valid"), ..new.clone() }).await),
        Code::AlreadyExists
    );
    let later = Some(SystemClock.now().plus(Duration::from_secs(60)));
    assert_eq!(refused(&ana.create_binding(NewBinding { start_time: later, ..new.clone() }).await), Code::AlreadyExists);
    // Another administrator's calls are never taken for hers, nor told of them.
    let others = ben.create_binding(NewBinding { role: "writer".parse().expect("valid"), ..new }).await.expect("bound");
    assert_ne!(others.binding_id, first.binding_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_everything() {
    let stage = Stage::new("").await;
    let namespace = stage.namespace().await;
    let id = stage.holder(&namespace, &[OWNER, "rotate:**"]).await;
    let owner = stage.client(&id).await;
    let (kept, destroyed) = (named(format!("{namespace}/kept")), named(format!("{namespace}/destroyed")));
    let first = owner.create_secret(opaque(&kept, "one").label("a", "b")).await.expect("stored").secret;
    owner.rotate_key(&namespace.parse().expect("valid"), 1, "").await.expect("rotated");
    let second = owner.update_secret(SecretUpdate::new(&kept, bytes("two"), first.revision)).await.expect("updated").secret;
    assert_eq!((first.kek_version, second.kek_version), (1, 2));
    owner.create_secret(opaque(&destroyed, "gone")).await.expect("stored");
    let gone = owner.destroy_secret(StateChange::of(&destroyed)).await.expect("destroyed");
    let bindings = stage.ana().await.list_bindings(&BindingFilter::default(), Page::default()).await.expect("listed");
    let roles = stage.ana().await.list_roles(Page::default()).await.expect("listed");
    let Stage { site, running, .. } = stage;
    assert!(running.stop(), "it ends cleanly");

    let running = site.start_open().await;
    let (owner, ana) = (site.client(&running, &id).await, site.client(&running, &person("ana")).await);
    assert_eq!(owner.describe_secret(&kept).await.expect("described"), second);
    assert_eq!(owner.describe_secret(&destroyed).await.expect("described"), gone);
    for (version, expected) in [(1, "one"), (2, "two")] {
        let revealed = owner.reveal_secret(Reveal::latest(&kept).version(version)).await.expect("revealed");
        assert_eq!(revealed.value.expose(), expected.as_bytes());
    }
    assert_eq!(ana.list_bindings(&BindingFilter::default(), Page::default()).await.expect("listed"), bindings);
    assert_eq!(ana.list_roles(Page::default()).await.expect("listed"), roles);
}
