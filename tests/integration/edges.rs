//! Every field of every request at its edge: taken at its bound, refused beyond it by its name, with nothing changed. The cases of
//! text fields are here, all others in `edge_cases`.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use strongroom::api::{self, Method};
use strongroom::client::{Client, StateChange};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::edge_cases::other_cases;
use crate::flood::entries;
use crate::harness::{Site, person};
use crate::names::holds_secret_name;
use crate::requests::{Probe, Subject, message, text_fields};
use crate::shape::fields_of_request;
use crate::stage::{EVERYTHING, Stage, named};
use crate::wire::{channel, send};

/// A request that makes sense, but perhaps for one field.
pub(crate) struct Case {
    pub(crate) field: &'static str,
    /// What stands in it.
    pub(crate) what: String,
    pub(crate) request: Vec<u8>,
    pub(crate) expected: Expected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The field is taken, and this becomes of the call.
    Taken(Code),
    /// INVALID_ARGUMENT, and the details name this field.
    Blamed(&'static str),
}

impl Expected {
    fn is(self, answer: &Result<Vec<u8>, Status>) -> bool {
        match (self, answer) {
            (Self::Taken(code), answer) => crate::wire::code(answer) == code,
            (Self::Blamed(_), Ok(_)) => false,
            (Self::Blamed(field), Err(status)) => {
                let details = status.get_error_details();
                let blamed = details.bad_request().and_then(|bad| bad.field_violations.first());
                status.code() == Code::InvalidArgument && blamed.is_some_and(|blamed| blamed.field == field)
            }
        }
    }
}

/// Texts that a field takes, what becomes of the call then, and texts that it does not take.
struct Texts {
    taken: String,
    then: Code,
    refused: Vec<String>,
}

impl Texts {
    fn new(taken: impl Into<String>, then: Code, refused: &[&str]) -> Self {
        Self { taken: taken.into(), then, refused: refused.iter().map(|text| (*text).to_owned()).collect() }
    }

    /// As many bytes, and one more. The number makes them unique.
    fn up_to(bytes: usize, number: usize) -> Self {
        Self::new(long(bytes, number), Code::Ok, &[&long(bytes + 1, number)])
    }

    fn and_not_empty(mut self) -> Self {
        self.refused.push(String::new());
        self
    }

    fn then(self, then: Code) -> Self {
        Self { then, ..self }
    }
}

/// So many bytes that end in the number.
fn long(bytes: usize, number: usize) -> String {
    let number = number.to_string();
    "x".repeat(bytes - number.len()) + &number
}

/// Below a namespace: the longest path, one that is longer by a byte, and one by a segment.
fn paths(namespace: &str, number: usize, then: Code) -> Texts {
    let whole = |path: String| format!("{namespace}/{path}");
    let longest = whole(vec![long(128, number); 8].join("/"));
    Texts::new(&longest, then, &[&format!("{longest}x"), &whole(["x"; 9].join("/"))])
}

/// What a text field is tried with; nothing where that stands elsewhere.
fn texts(method: Method, field: &str, subject: &Subject) -> Option<Texts> {
    let (number, namespace) = (subject.number, subject.namespace.as_str());
    let makes = matches!(method, Method::CreateNamespace | Method::CreateRole);
    let texts = match field {
        // There is no such version.
        "reason" if matches!(method, Method::DisableKey | Method::EnableKey | Method::RetireKey | Method::CancelKeyRetirement) => {
            Texts::up_to(512, number).then(Code::NotFound)
        }
        "reason" if method == Method::CarryOutProposal => Texts::up_to(512, number).then(Code::FailedPrecondition),
        "reason" if method == Method::CreateProposal => Texts::up_to(512, number).and_not_empty(),
        // What it is about is not suspended.
        "reason" if method == Method::ConfirmBinding => Texts::up_to(512, number).then(Code::FailedPrecondition),
        "reason" | "ticket" | "description" => Texts::up_to(512, number),
        "request_id" => Texts::up_to(128, number),
        "labels.key" | "set_labels.key" | "remove_labels" => Texts::up_to(63, number).and_not_empty(),
        "labels.value" | "set_labels.value" => Texts::up_to(255, number).and_not_empty(),
        "access_token.provider" | "access_token.subject" | "access_token.scopes" => Texts::up_to(255, number).and_not_empty(),
        "provider" | "subject" => Texts::up_to(255, number).and_not_empty(),
        "access_token.token_type" => Texts::up_to(255, number),
        "payload" => Texts::up_to(65_536, number).and_not_empty(),
        _ if holds_secret_name(method, field) => {
            let then = if matches!(method, Method::CreateSecret | Method::RevealBatch) { Code::Ok } else { Code::NotFound };
            paths(namespace, number, then)
        }
        "prefix" | "resource_prefix" => paths(namespace, number, Code::Ok),
        "name" => Texts::up_to(63, number).and_not_empty().then(if makes { Code::Ok } else { Code::NotFound }),
        "role" if method == Method::ListBindings => Texts::up_to(63, number),
        "role" | "namespace" => Texts::up_to(63, number).then(Code::NotFound),
        "principal" => {
            let longest = format!("spiffe://people.test/{}", "x".repeat(2_048 - 21));
            Texts::new(&longest, Code::Ok, &[&format!("{longest}x"), "ana"])
        }
        "binding_id" => Texts::new("0".repeat(32), Code::NotFound, &["", &"0".repeat(31), &"0".repeat(33), &"g".repeat(32)]),
        "page_token" => Texts::new("", Code::Ok, &["x", "-1"]),
        "method" | "outcome" => Texts::up_to(63, number),
        "action" => Texts::new("reveal", Code::Ok, &["Reveal", "everything"]),
        "decision" => Texts::new("deny", Code::Ok, &["Deny", "perhaps"]),
        "event" => Texts::new("denied", Code::Ok, &["Denied", "nothing"]),
        // Of an open vault nobody looks at it; and what patterns there may be hangs on the actions.
        "passphrase" | "new_passphrase" | "share" | "grants.path_pattern" => return None,
        "proposal_id" => {
            let then = Code::NotFound;
            Texts::new("0".repeat(32), then, &["", &"0".repeat(31), &"0".repeat(33), &"g".repeat(32), &"A".repeat(32)])
        }
        // One of several things that can be proposed: see the cases of other fields.
        field if field.starts_with("change.") => return None,
        _ => panic!("{method:?}: {field} has no bound here"),
    };
    Some(texts)
}

fn text_cases(method: Method, subject: &Subject) -> Vec<Case> {
    let mut cases = Vec::new();
    for (position, field) in text_fields(method).into_iter().enumerate() {
        let Some(Texts { taken, then, refused }) = texts(method, field, subject) else { continue };
        let case = |text: &str, expected| Case {
            field,
            what: format!("{} bytes: {}", text.len(), text.chars().take(40).collect::<String>()),
            request: message(method, subject, &mut Probe::at(position, text)),
            expected,
        };
        // Keys and values of labels have no names of their own.
        let blamed = field.split_once('.').filter(|(of, _)| of.ends_with("labels")).map_or(field, |(of, _)| of);
        // Whose token it is never changes, however long the words.
        let is_fixed = method == Method::UpdateSecret && matches!(field, "access_token.provider" | "access_token.subject");
        cases.push(case(&taken, if is_fixed { Expected::Blamed("access_token") } else { Expected::Taken(then) }));
        cases.extend(refused.iter().map(|text| case(text, Expected::Blamed(blamed))));
    }
    cases
}

/// All cases of an RPC, those first that change nothing: what the others are about must be as it was.
fn cases(method: Method, subject: &Subject) -> Vec<Case> {
    let mut cases = text_cases(method, subject);
    cases.extend(other_cases(method, subject));
    cases.sort_by_key(|case| matches!(case.expected, Expected::Taken(_)));
    cases
}

/// An open vault, and who may do everything in it.
struct Scene {
    stage: Stage,
    namespace: String,
    owner: Client,
    /// Of the owner, and of the administrator.
    channels: [Channel; 2],
}

impl Scene {
    async fn set() -> Self {
        let stage = Stage::new("").await;
        let namespace = stage.namespace().await;
        let (id, role) = (person("owner-of-edges"), stage.role(&[EVERYTHING]).await);
        for scope in [Some(namespace.as_str()), None] {
            stage.bind(&role, &id, scope).await;
        }
        let (owner, channels) = (stage.client(&id).await, [stage.channel(&id).await, stage.channel(&person("ana")).await]);
        Self { stage, namespace, owner, channels }
    }

    fn caller(&self, method: Method) -> &Channel {
        use Method as M;
        let administers = matches!(
            method,
            M::CreateNamespace
                | M::CreateRole
                | M::UpdateRole
                | M::DeleteRole
                | M::DescribeRole
                | M::ListRoles
                | M::CreateBinding
                | M::ConfirmBinding
                | M::DeleteBinding
                | M::ListBindings
        );
        &self.channels[usize::from(administers)]
    }

    async fn subject(&self, method: Method) -> Subject {
        let mut subject = self.stage.subject(&self.namespace, &self.owner).await;
        if matches!(method, Method::ApproveProposal | Method::WithdrawProposal) {
            subject.proposal = self.stage.fresh_proposal().await;
        }
        if matches!(method, Method::RestoreSecret | Method::PurgeSecret) {
            self.owner.destroy_secret(StateChange::of(&named(&subject.secret))).await.expect("destroyed");
        }
        subject
    }

    /// Returns how many cases there were.
    async fn try_out(&self, method: Method, wrong: &mut Vec<String>) -> usize {
        let mut subject = self.subject(method).await;
        let count = cases(method, &subject).len();
        for position in 0..count {
            let Case { field, what, request, expected } = cases(method, &subject).swap_remove(position);
            let answer = send(self.caller(method), method.path(), request).await;
            if !expected.is(&answer) {
                let told = answer.as_ref().map(|_| "done").map_err(|status| (status.code(), status.get_error_details()));
                wrong.push(format!("{method:?}: {field} is {what}: {told:?}, not {expected:?}"));
            }
            if answer.is_ok() {
                subject = self.subject_after(method).await;
            }
        }
        count
    }

    async fn subject_after(&self, method: Method) -> Subject {
        if method == Method::Seal {
            self.stage.site.unseal(&self.stage.running).await;
        }
        self.subject(method).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_field_is_taken_at_its_bound_and_refused_beyond_it_by_its_name() {
    let scene = Scene::set().await;
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for method in Method::ALL.iter().copied() {
        tried += scene.try_out(method, &mut wrong).await;
    }
    assert!(wrong.is_empty(), "{} of {tried} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried > 300, "{tried}");

    // Words for the record stand there whole, and none that was refused for its length.
    let Stage { site, running, .. } = scene.stage;
    assert!(running.stop());
    let entries = entries(&site);
    for (word, bytes) in [("reason", 512), ("ticket", 512), ("request_id", 128)] {
        let mut lengths: BTreeMap<usize, usize> = BTreeMap::new();
        for text in entries.iter().filter_map(|entry| entry[word].as_str()).filter(|text| text.starts_with("xxxx")) {
            *lengths.entry(text.len()).or_default() += 1;
        }
        assert!(lengths.keys().copied().eq([bytes]) && lengths[&bytes] >= 2, "{word}: {lengths:?}");
    }
}

/// Fields that take whatever can be sent in them; and one that has a test of its own.
const WITHOUT_EDGE: [&str; 15] = [
    // One of several things that can be proposed: it has no field of its own.
    "change.add_passphrase_slot",
    "new_passphrase",
    "only_pending",
    "share",
    "version",
    "items.version",
    "after_revision",
    "expected_active_version",
    "expected_revision",
    "oldest_first",
    "limits.require_post_quantum",
    "limits.auto_rotate",
    "rewrap",
    "reencrypt",
    "passphrase",
];

#[test]
fn no_field_of_a_request_was_forgotten() {
    for method in Method::ALL.iter().copied() {
        let cases = cases(method, &Subject::default());
        let tried: BTreeSet<_> = cases.iter().map(|case| case.field).collect();
        for field in fields_of_request(method) {
            let is_known = tried.contains(field.as_str()) || WITHOUT_EDGE.contains(&field.as_str());
            assert!(is_known, "{method:?}: {field} is tried nowhere");
        }
        for field in tried {
            let is = |expected: fn(&Expected) -> bool| cases.iter().any(|case| case.field == field && expected(&case.expected));
            assert!(is(|expected| matches!(expected, Expected::Blamed(_))), "{method:?}: {field} refuses nothing");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_has_15_characters_and_1_024_bytes() {
    let site = Site::with_vault("");
    let running = site.start();
    let custodian = channel(&site, &running, &person("cleo")).await;
    let (no, wrong) = (Expected::Blamed("passphrase"), Expected::Taken(Code::PermissionDenied));
    for (passphrase, expected) in [
        (Vec::new(), no),
        (vec![b'x'; 14], no),
        ("é".repeat(14).into_bytes(), no),
        (vec![0xff; 20], no),
        (vec![b'x'; 1_025], no),
        (vec![b'x'; 15], wrong),
        ("é".repeat(15).into_bytes(), wrong),
        (vec![b'x'; 1_024], wrong),
    ] {
        let length = passphrase.len();
        let answer = send(&custodian, Method::Unseal.path(), api::UnsealRequest { passphrase, share: Vec::new() }.encode_to_vec()).await;
        assert!(expected.is(&answer), "{length} bytes: {answer:?}, not {expected:?}");
    }
    site.unseal(&running).await;
}
