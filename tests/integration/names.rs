//! Names have one spelling, and nothing in them means more than itself.

use std::collections::BTreeMap;

use prost::Message;
use strongroom::api::{self, Method};
use strongroom::client::{Client, NewNamespace, NewRole, Reveal, SecretUpdate};
use strongroom::model::Environment;
use tonic::Code;
use tonic_types::StatusExt;

use crate::harness::{person, workload};
use crate::requests::{Probe, message, text_fields};
use crate::stage::{EVERYTHING, Stage, named, new_binding, opaque, shared};
use crate::wire::{ask, code, refused, send};

/// How many calls race for one name.
const RACERS: usize = 24;

/// Whether a field of an RPC's request is the name of a secret, and how a name of a namespace reads there.
pub(crate) fn holds_secret_name(method: Method, field: &str) -> bool {
    let of_namespaces_and_roles = matches!(
        method,
        Method::CreateNamespace
            | Method::DescribeNamespace
            | Method::CreateRole
            | Method::UpdateRole
            | Method::DeleteRole
            | Method::DescribeRole
    );
    field == "items.name" || (field == "name" && !of_namespaces_and_roles)
}

fn misspelt_secrets(namespace: &str) -> Vec<String> {
    let segments = ["", ".", "..", "a/", "/a", "a//b", "./a", "a/.", "a/..", "a/../b", "../other/a", "a\\b", "*", "a/*", "**", "a?", "[a]"];
    let unseen =
        ["a\0b", "a\nb", "a\r", "a\u{1b}[2J", "a\u{7f}", " a", "a ", "a\u{200b}", "a\u{202e}b", "a\u{a0}", "cafe\u{301}", "\u{212b}"];
    let long = ["x".repeat(129), ["x"; 9].join("/"), vec!["x".repeat(128); 9].join("/")];
    let paths = segments.into_iter().chain(unseen).map(str::to_owned).chain(long);
    let whole = ["", "/", "a", "/a/b", "../a/b", "./a"].map(str::to_owned);
    let upper = format!("{}/a", namespace.to_uppercase());
    paths
        .map(|path| format!("{namespace}/{path}"))
        .chain(whole)
        .chain([upper, format!(" {namespace}/a"), format!("{namespace} /a")])
        .collect()
}

fn misspelt_plain(name: &str) -> Vec<String> {
    let full_width: String =
        name.chars().map(|c| if c.is_ascii_lowercase() { char::from_u32(c as u32 + 0xfee0).expect("a letter") } else { c }).collect();
    let mut spellings =
        vec![name.to_uppercase(), format!("{name} "), format!(" {name}"), format!("{name}\0"), format!("{name}\u{200b}"), full_width];
    spellings.extend([
        format!("{name}/"),
        format!("{name}/."),
        format!("{name}*"),
        format!("{name}_"),
        "..".to_owned(),
        "-x".to_owned(),
        "x".repeat(64),
    ]);
    spellings.push(name.replacen('e', "\u{435}", 1));
    spellings.retain(|spelling| spelling != name);
    spellings
}

/// Sends a request with this text in one of its fields, by people who may do everything.
async fn with_text(
    stage: &Stage,
    powerful: &[tonic::transport::Channel],
    method: Method,
    position: usize,
    text: &str,
) -> Vec<tonic::Status> {
    let subject = crate::requests::Subject {
        secret: "ns-none/a".to_owned(),
        absent: format!("ns-none/absent-{}", stage.number()),
        revision: 1,
        namespace: "ns-none".to_owned(),
        role: ("fresh-none".to_owned(), 1),
        binding: "0".repeat(32),
        proposal: "0".repeat(32),
        number: stage.number(),
    };
    let request = message(method, &subject, &mut Probe::at(position, text));
    let mut refusals = Vec::new();
    for channel in powerful {
        let answer = send(channel, method.path(), request.clone()).await;
        refusals.push(answer.err().unwrap_or_else(|| tonic::Status::ok("")));
    }
    refusals
}

// immune: row-18
// immune: row-21
#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_name_makes_no_sense_to_any_call() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let everything = stage.channel(&stage.holder(&namespace, &[EVERYTHING]).await).await;
    let powerful = [everything, stage.channel(&person("ana")).await];
    let mut wrong = Vec::new();
    for method in Method::ALL.iter().copied() {
        for (position, field) in text_fields(method).into_iter().enumerate() {
            let misspelt = match field {
                _ if holds_secret_name(method, field) => misspelt_secrets(&namespace),
                "prefix" | "resource_prefix" => {
                    misspelt_secrets(&namespace).into_iter().filter(|text| !["", "a"].contains(&text.as_str())).collect()
                }
                "name" | "role" => misspelt_plain("reader"),
                "namespace" => misspelt_plain(&namespace),
                _ => continue,
            };
            for text in misspelt {
                for status in with_text(&stage, &powerful, method, position, &text).await {
                    let details = status.get_error_details();
                    let blamed =
                        details.bad_request().and_then(|bad| bad.field_violations.first()).map(|violation| violation.field.as_str());
                    if (status.code(), blamed) != (Code::InvalidArgument, Some(field)) {
                        wrong.push(format!("{method:?}: {field} {text:?}: {status:?}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// immune: row-18
#[tokio::test(flavor = "multi_thread")]
async fn no_role_of_a_powerful_name_is_there() {
    let stage = shared().await;
    let ana = stage.ana().await;
    for role in ["root", "admin", "administrator", "superuser", "operator", "vault"] {
        let bound = ana.create_binding(new_binding(role, &person("mallory"), None)).await;
        assert_eq!(refused(&bound), Code::NotFound, "{role}");
    }
    for built_in in ["reader", "access-admin", "custodian"] {
        let grants = vec!["reveal:**".parse().expect("a grant")];
        let new = NewRole { name: built_in.parse().expect("valid"), description: String::new(), grants, request_id: String::new() };
        assert_eq!(refused(&ana.create_role(new.clone()).await), Code::AlreadyExists, "{built_in}");
        assert_eq!(refused(&ana.update_role(new, 1).await), Code::FailedPrecondition, "{built_in}");
        assert_eq!(refused(&ana.delete_role(&built_in.parse().expect("valid"), 0).await), Code::FailedPrecondition, "{built_in}");
    }
}

/// Runs the same call many times at once, over several connections, and counts the answers.
async fn race<F: Future<Output = Code> + Send + 'static>(clients: &[Client], call: impl Fn(Client, usize) -> F) -> BTreeMap<String, usize> {
    let racers: Vec<_> = (0..RACERS).map(|number| tokio::spawn(call(clients[number % clients.len()].clone(), number))).collect();
    let mut counts = BTreeMap::new();
    for racer in racers {
        *counts.entry(format!("{:?}", racer.await.expect("no panic"))).or_default() += 1;
    }
    counts
}

// immune: row-20
#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_take_one_name_at_once_one_gets_it() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let owner = stage.holder(&namespace, &["describe,create,update:**"]).await;
    let owners = [stage.client(&owner).await, stage.client(&owner).await, stage.client(&owner).await];
    let administrators = [stage.ana().await, stage.client(&person("ben")).await];
    let one = |loser: &str| BTreeMap::from([("Ok".to_owned(), 1), (loser.to_owned(), RACERS - 1)]);

    let name = named(format!("{namespace}/raced"));
    let created = race(&owners, |client, number| {
        let new = opaque(&name, &format!("value {number}"));
        async move { refused(&client.create_secret(new).await) }
    });
    assert_eq!(created.await, one("AlreadyExists"));
    let seen = owners[0].describe_secret(&name).await.expect("it is there");
    assert_eq!(seen.version, 1);
    let updated = race(&owners, |client, number| {
        let update = SecretUpdate::new(&name, crate::stage::bytes(format!("new {number}")), seen.revision);
        async move { refused(&client.update_secret(update).await) }
    });
    assert_eq!(updated.await, one("Aborted"));
    assert_eq!(owners[0].describe_secret(&name).await.expect("it is there").version, 2);

    let made = format!("raced-{}", stage.number());
    let namespaces = race(&administrators, |client, _| {
        let new = NewNamespace::new(made.parse().expect("valid"), Environment::Stage);
        async move { refused(&client.create_namespace(new).await) }
    });
    assert_eq!(namespaces.await, one("AlreadyExists"));
    let roles = race(&administrators, |client, _| {
        let (name, grants) = (made.parse().expect("valid"), vec!["describe:**".parse().expect("a grant")]);
        let new = NewRole { name, description: String::new(), grants, request_id: String::new() };
        async move { refused(&client.create_role(new).await) }
    });
    assert_eq!(roles.await, one("AlreadyExists"));
}

// immune: row-23
#[tokio::test(flavor = "multi_thread")]
async fn what_is_a_wildcard_elsewhere_is_a_letter_here() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let owner = stage.holding(&namespace, &["describe,create,reveal:**"]).await;
    let odd =
        ["+", "#", "%", "%2e%2e", "a,b", "a:b", "a=b", "$x", "~", "-", "_", "x\";drop", "a b", "é", "...", "a|b", "(a)", "^a$", "<a>", "&"];
    for segment in odd.into_iter().chain(["a", "b"]) {
        let name = named(format!("{namespace}/{segment}/1"));
        owner.create_secret(opaque(&name, segment)).await.unwrap_or_else(|error| panic!("{segment}: {error}"));
    }
    for segment in odd {
        let reader = stage.holding(&namespace, &[&format!("describe:{segment}/*")]).await;
        let listed = reader.list_secrets(&namespace, strongroom::client::Page::default()).await.expect("listed");
        let names: Vec<_> = listed.items.iter().map(|secret| secret.name.to_string()).collect();
        assert_eq!(names, [format!("{namespace}/{segment}/1")], "{segment}");
        let revealed = owner.reveal_secret(Reveal::latest(&named(&names[0]))).await.expect("revealed");
        assert_eq!(revealed.value.expose(), segment.as_bytes());
    }
    let ana = stage.channel(&person("ana")).await;
    for path in ["*", "+", "a,b", "a b", "a%2fb", "**", "app?", "app;x", "app:1"] {
        let principal = format!("spiffe://apps.test/{path}");
        let request =
            api::CreateBindingRequest { role: "reader".to_owned(), principal, namespace: namespace.clone(), ..Default::default() };
        let bound: Result<api::CreateBindingResponse, _> = ask(&ana, Method::CreateBinding, &request).await;
        assert_eq!(code(&bound), Code::InvalidArgument, "{path}");
    }
    for pattern in ["a*", "*a", "**/a", "a/**/b", "a/", "/a", "a//b", "..", "a/[b]", "", "a,b/**,c\n"] {
        let grants = vec![api::Grant { actions: vec![api::Action::Describe.into()], path_pattern: pattern.to_owned() }];
        let request = api::CreateRoleRequest { name: format!("role-{}", stage.number()), grants, ..Default::default() };
        assert_eq!(code(&send(&ana, Method::CreateRole.path(), request.encode_to_vec()).await), Code::InvalidArgument, "{pattern:?}");
    }
    // A principal whose id begins with another's is another.
    stage.bind("reader", &workload("prefixed"), Some(&namespace)).await;
    let longer = stage.client(&workload("prefixed-more")).await;
    assert_eq!(refused(&longer.describe_secret(&named(format!("{namespace}/a/1"))).await), Code::NotFound);
}
