//! What must not be told or lent across boundaries: absent or forbidden, another namespace's objects, another's page tokens.

use prost::Message;
use strongroom::api::{self, Method};
use strongroom::client::{BindingFilter, NewNamespace, Page, RewrapOrder, SecretUpdate};
use strongroom::model::{BindingId, Environment};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::harness::{person, workload};
use crate::requests::Subject;
use crate::stage::{EVERYTHING, bytes, named, shared};
use crate::wire::{ask, call, code, refused, send};

/// Everything of an answer that a caller can see, but for the time of day.
fn seen(answer: &Result<Vec<u8>, Status>) -> String {
    let status = match answer {
        Ok(message) => return format!("{message:?}"),
        Err(status) => status,
    };
    let mut metadata = status.metadata().clone().into_headers();
    metadata.remove("date");
    let mut metadata: Vec<_> = metadata.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
    metadata.sort();
    format!("{:?} {:?} {:?} {metadata:?}", status.code(), status.message(), status.details())
}

/// The same without the store's newest revision, with which a watch begins: other tests move it.
fn without_revision(method: Method, answer: Result<Vec<u8>, Status>) -> Result<Vec<u8>, Status> {
    match answer {
        Ok(message) if method == Method::WatchSecrets => {
            let started = api::WatchSecretsResponse::decode(message.as_slice()).expect("an answer of that RPC");
            Ok(api::WatchSecretsResponse { revision: 0, ..started }.encode_to_vec())
        }
        // It begins with the size of the store.
        Ok(_) if method == Method::CreateBackup => Ok(Vec::new()),
        other => other,
    }
}

/// Calls every RPC about what is there and about what is not, and says where the answers differ.
async fn differences(who: &str, channel: &Channel, there: &Subject, not_there: &[Subject]) -> Vec<String> {
    let mut differences = Vec::new();
    for method in Method::ALL.iter().copied() {
        let forbidden = seen(&without_revision(method, call(channel, method, there).await));
        for subject in not_there {
            let absent = seen(&without_revision(method, call(channel, method, subject).await));
            if absent != forbidden {
                differences.push(format!("{method:?} by {who}: {forbidden} or {absent}"));
            }
        }
    }
    differences
}

// immune: row-11
#[tokio::test(flavor = "multi_thread")]
async fn absent_and_forbidden_are_the_same_to_the_letter() {
    let stage = shared().await;
    let (namespace, elsewhere) = (stage.namespace().await, stage.namespace().await);
    let owner = stage.holding(&namespace, &["describe,create:**"]).await;
    let mut there = stage.subject(&namespace, &owner).await;
    // The name that a create is about is taken, too.
    there.absent.clone_from(&there.secret);
    let no_secret = Subject { secret: format!("{namespace}/nobody"), absent: format!("{namespace}/nobody"), ..there.clone() };
    let no_role = Subject { role: ("no-such-role".to_owned(), 7), binding: "0".repeat(32), ..there.clone() };
    let no_namespace = Subject {
        secret: "no-such-namespace/merchants/1".to_owned(),
        absent: "no-such-namespace/merchants/1".to_owned(),
        namespace: "no-such-namespace".to_owned(),
        ..there.clone()
    };
    let nobody = stage.channel(&workload("nobody-of-boundaries")).await;
    let outsider = stage.channel(&stage.holder(&elsewhere, &[EVERYTHING]).await).await;
    // Holds everything but `describe` on another path of the very namespace: may know the namespace, not what is in it.
    let insider = stage.holder(&namespace, &["describe:other/**", "reveal,use,create,update,destroy,verify:other/**"]).await;
    let insider = stage.channel(&insider).await;
    let mut wrong = differences("nobody", &nobody, &there, &[no_secret.clone(), no_role.clone(), no_namespace.clone()]).await;
    wrong.extend(differences("outsider", &outsider, &there, &[no_secret.clone(), no_role.clone(), no_namespace]).await);
    wrong.extend(differences("insider", &insider, &there, &[no_secret, no_role]).await);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_described_is_told_apart() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let owner = stage.holding(&namespace, &["describe,create:**"]).await;
    let there = stage.subject(&namespace, &owner).await;
    let support = stage.channel(&stage.holder(&namespace, &["describe:**"]).await).await;
    let status = call(&support, Method::RevealSecret, &there).await.expect_err("forbidden");
    assert_eq!(status.code(), Code::PermissionDenied);
    let absent = Subject { secret: there.absent.clone(), ..there };
    assert_eq!(code(&call(&support, Method::DescribeSecret, &absent).await), Code::NotFound);
}

// immune: row-24
#[tokio::test(flavor = "multi_thread")]
async fn a_binding_is_deleted_by_its_own_administrators_alone() {
    let stage = shared().await;
    let (here, there) = (stage.namespace().await, stage.namespace().await);
    let (adam, eve) = (person("adam-of-here"), person("eve-of-there"));
    stage.bind("access-admin", &adam, Some(&here)).await;
    stage.bind("access-admin", &eve, Some(&there)).await;
    let reader = workload("reader-of-here");
    let binding = stage.bind("reader", &reader, Some(&here)).await;
    let (adam, eve) = (stage.client(&adam).await, stage.client(&eve).await);
    let foreign = eve.delete_binding(binding.binding_id, "").await;
    let unknown = eve.delete_binding(BindingId::from_bytes([9; 16]), "").await;
    assert_eq!(refused(&foreign), Code::NotFound);
    assert_eq!(
        foreign.expect_err("refused").to_string(),
        unknown.expect_err("refused").to_string(),
        "it is not even told that it is there"
    );
    let of_reader = BindingFilter { principal: Some(reader), ..BindingFilter::default() };
    let listed = stage.ana().await.list_bindings(&of_reader, Page::default()).await.expect("listed");
    assert_eq!(listed.items.len(), 1);
    adam.delete_binding(binding.binding_id, "").await.expect("it is his own namespace's");
    let own = BindingFilter { namespace: Some(there.parse().expect("valid")), ..BindingFilter::default() };
    assert_eq!(refused(&adam.list_bindings(&own, Page::default()).await), Code::NotFound);
}

/// Asks for the first page, one item long, of every list that has sealed tokens. Returns the requests for the page after,
/// with its own token or the one given.
async fn next_pages(channel: &Channel, subject: &Subject, token: Option<&str>) -> Vec<(Method, String, Vec<u8>)> {
    macro_rules! list {
        ($method:ident, $request:ident, $answer:ident { $($field:ident: $value:expr),* }) => {{
            let request = api::$request { page_size: 1, page_token: String::new(), $($field: $value),* };
            let first: api::$answer = ask(channel, Method::$method, &request).await.expect("a first page");
            let page_token = token.map_or(first.next_page_token, str::to_owned);
            assert!(!page_token.is_empty(), "{} has one page only", stringify!($method));
            let request = api::$request { page_token: page_token.clone(), ..request };
            (Method::$method, page_token, request.encode_to_vec())
        }};
    }
    let namespace = || subject.namespace.clone();
    vec![
        list!(ListSecrets, ListSecretsRequest, ListSecretsResponse { prefix: namespace() }),
        list!(ListSecretVersions, ListSecretVersionsRequest, ListSecretVersionsResponse { name: subject.secret.clone() }),
        list!(ListKeys, ListKeysRequest, ListKeysResponse { namespace: namespace() }),
        list!(ListRewraps, ListRewrapsRequest, ListRewrapsResponse { namespace: String::new() }),
        list!(ListNamespaces, ListNamespacesRequest, ListNamespacesResponse {}),
        list!(ListRoles, ListRolesRequest, ListRolesResponse {}),
        list!(
            ListBindings,
            ListBindingsRequest,
            ListBindingsResponse { principal: String::new(), role: String::new(), namespace: namespace() }
        ),
    ]
}

// immune: row-24
#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_serves_its_own_caller_and_list_alone() {
    let stage = shared().await;
    let (namespace, second) = (stage.namespace().await, stage.namespace().await);
    let everywhere = stage.role(&["audit,rotate:**"]).await;
    let mut callers = Vec::new();
    for _ in 0..2 {
        let id = stage.holder(&namespace, &["describe,create,update,rotate,audit:**"]).await;
        stage.bind(&everywhere, &id, None).await;
        callers.push(id);
    }
    let owner = stage.client(&callers[0]).await;
    let subject = stage.subject(&namespace, &owner).await;
    stage.token(&owner, &format!("{namespace}/merchants/second")).await;
    owner.update_secret(SecretUpdate::new(&named(&subject.secret), bytes("two"), subject.revision)).await.expect("a second version");
    owner.rotate_key(&namespace.parse().expect("valid"), 0, "").await.expect("a second key");
    for namespace in [&namespace, &second] {
        owner.start_rewrap(&namespace.parse().expect("valid"), RewrapOrder::default(), "").await.expect("a second rewrap");
    }

    let (mine, other) = (stage.channel(&callers[0]).await, stage.channel(&callers[1]).await);
    let pages = next_pages(&mine, &subject, None).await;
    for (method, _, request) in &pages {
        send(&mine, method.path(), request.clone()).await.unwrap_or_else(|status| panic!("{method:?}: {status}"));
        let lent = send(&other, method.path(), request.clone()).await;
        assert_eq!(code(&lent), Code::InvalidArgument, "{method:?} lent to another");
    }
    for (from, token, _) in &pages {
        for (to, _, request) in next_pages(&mine, &subject, Some(token)).await {
            let answer = code(&send(&mine, to.path(), request).await);
            assert_eq!(answer, if *from == to { Code::Ok } else { Code::InvalidArgument }, "the token of {from:?} in {to:?}");
        }
    }
    let mut changed = pages[0].1.clone();
    let digit = if changed.ends_with('0') { "1" } else { "0" };
    changed.replace_range(changed.len() - 1.., digit);
    for token in [changed, "zz".to_owned(), "00".repeat(200)] {
        for (method, _, request) in next_pages(&mine, &subject, Some(&token)).await {
            assert_eq!(code(&send(&mine, method.path(), request).await), Code::InvalidArgument, "{method:?}: {token}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_of_another_prefix_is_refused() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let owner = stage.holding(&namespace, &["describe,create:**"]).await;
    for path in ["a/1", "a/2", "b/1", "b/2"] {
        stage.token(&owner, &format!("{namespace}/{path}")).await;
    }
    let first = owner.list_secrets(&format!("{namespace}/a"), Page { size: 1, token: String::new() }).await.expect("listed");
    let next = Page { size: 1, token: first.next.expect("there is another") };
    for prefix in [format!("{namespace}/b"), namespace.clone()] {
        assert_eq!(refused(&owner.list_secrets(&prefix, next.clone()).await), Code::InvalidArgument, "{prefix}");
    }
    assert_eq!(owner.list_secrets(&format!("{namespace}/a"), next).await.expect("listed").items.len(), 1);
}

// immune: row-25
#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_the_vault_is_not_that_of_a_namespace_of_its_name() {
    let stage = shared().await;
    let ana = stage.ana().await;
    for word in ["vault", "roles", "bindings", "namespaces"] {
        let made = ana.create_namespace(NewNamespace::new(word.parse().expect("valid"), Environment::Stage)).await;
        assert_eq!(refused(&made), Code::InvalidArgument, "an auditor of {word} would read the vault's own entries");
    }
}
