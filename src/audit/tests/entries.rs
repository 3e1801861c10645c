use std::fs;

use super::*;
use crate::model::{Action, Class, Principal, Text};

const TIME: &str = "2026-11-24T08:00:00.123Z";

fn principal() -> Principal {
    Principal { id: "spiffe://shop.example/backend/eu-1".parse().expect("valid"), class: Class::Workload }
}

/// The drafts whose lines are frozen, in the order of the vector file.
fn vectors() -> Vec<(&'static str, Draft)> {
    let read = Draft {
        certificate: Some("0a1b2c3d4e5f".into()),
        peer: Some("192.0.2.7:50312".parse().expect("an address")),
        tls_group: Some("X25519MLKEM768"),
        action: Some(Action::Reveal),
        resource: Some(Resource::secret(&"wepay-prod/merchants/12345".parse().expect("valid"))),
        decision: Some(Decision::Allow),
        rule: Some("role backend: reveal on merchants/**".into()),
        reason: Some(Text::parse("refund").expect("valid")),
        ticket: Some(Text::parse("CASE-4711").expect("valid")),
        request_id: Some(Text::parse("req-1").expect("valid")),
        version: Some(3),
        ..Draft::new(Event::Read, "GetSecret").by(&principal())
    };
    let denied = Draft {
        peer: Some("[2001:db8::1]:443".parse().expect("an address")),
        action: Some(Action::Administer),
        resource: Some(Resource::namespace(&"wepay-stage".parse().expect("valid"))),
        decision: Some(Decision::Deny),
        rule: Some("no \"rule\"\\\nallows\u{1b}[0m \u{202e}it\u{2028}".into()),
        ..Draft::new(Event::Denied, "CreateRole")
    };
    let outcome = Draft { intent: Some(1), outcome: Some("ok"), version: Some(1), ..Draft::new(Event::Outcome, "PutSecret") };
    let list = Draft {
        resource: Some(Resource::below(&"wepay-prod".parse().expect("valid"), &["münchen".into(), "日本".into()])),
        ..Draft::new(Event::Read, "ListSecrets")
    };
    let system = Draft { resource: Some(Resource::word("vault")), ..Draft::new(Event::System, "Unseal") };
    vec![
        ("everything", read),
        ("escapes", denied),
        ("outcome", outcome),
        ("names in the clear", list),
        ("detail in order", system.with("policy_hash", "ab12").with("policy_generation", 7)),
        ("least", Draft::new(Event::Intent, "PutSecret")),
    ]
}

#[derive(serde::Deserialize)]
struct Vector {
    name: String,
    line: String,
}

#[tokio::test]
async fn the_bytes_of_a_line_are_frozen() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = AuditLog::open(folder.path(), small(), Hands::at(TIME)).expect("opens");
    for (_, draft) in vectors() {
        log.append(draft).await.expect("written");
    }
    log.close().expect("closed");
    let written = fs::read_to_string(&segment_files(folder.path())[0]).expect("UTF-8");
    let frozen: Vec<Vector> = serde_json::from_str(include_str!("../../../tests/vectors/audit-entry.json")).expect("vectors");
    assert_eq!(written.lines().count(), frozen.len());
    for ((line, vector), (name, _)) in written.lines().zip(&frozen).zip(vectors()) {
        assert_eq!((name, line), (vector.name.as_str(), vector.line.as_str()));
        let entry: Entry = serde_json::from_str(line).expect("an entry");
        assert_eq!(String::from_utf8(entry.to_line()).expect("UTF-8"), line, "read and written again");
    }
}

// immune: row-43
#[tokio::test]
async fn hostile_text_in_any_field_stays_inside_its_line() {
    const HOSTILE: &str = "x\"}\n{\"sequence\":9,\"event\":\"read\"}\r\u{1b}[2J\u{1b}]0;t\u{7}\u{85}\u{2028}\u{2029}\u{202e}\u{2066}\u{200b}\u{feff}\\\0\u{7f}\u{9b}";
    let text = || Some(HOSTILE.to_owned());
    let least: Entry = serde_json::from_slice(
        &[br#"{"time":"2026-11-24T08:00:00Z","sequence":1,"node":"n","#.as_slice(), &Draft::new(Event::Read, "m").render()[1..]].concat(),
    )
    .expect("an entry");
    let entry = Entry {
        node: HOSTILE.into(),
        method: HOSTILE.into(),
        principal: text(),
        certificate: text(),
        peer: text(),
        tls_group: text(),
        resource: text(),
        rule: text(),
        reason: text(),
        ticket: text(),
        request_id: text(),
        outcome: text(),
        detail: [(HOSTILE.to_owned(), HOSTILE.to_owned())].into(),
        ..least
    };
    let line = entry.to_line();
    assert!(line.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' '), "{}", String::from_utf8_lossy(&line));
    assert_eq!(serde_json::from_slice::<Entry>(&line).expect("an entry"), entry);

    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path());
    let draft = Draft { rule: Some(HOSTILE.into()), certificate: text(), ..Draft::new(Event::Denied, "GetSecret").with("detail", HOSTILE) };
    log.append(draft).await.expect("written");
    log.close().expect("closed");
    let bytes = fs::read(&segment_files(folder.path())[0]).expect("read");
    assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert_eq!(all(folder.path())[0].rule.as_deref(), Some(HOSTILE));
}

#[tokio::test]
async fn a_line_too_long_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path());
    log.append(read_draft(1)).await.expect("written");
    let of = |length: usize| Draft::new(Event::Read, "GetSecret").with("long", "x".repeat(length));
    let Err(AuditError::TooLong(length)) = log.append(of(LINE_BYTES)).await else { panic!("not refused") };
    let fits = LINE_BYTES - (length - LINE_BYTES);
    assert!(matches!(log.append(of(fits + 1)).await, Err(AuditError::TooLong(length)) if length == LINE_BYTES + 1));
    assert_eq!(log.append(of(fits)).await.expect("written").sequence, 2);
    log.close().expect("closed");
    assert_eq!(all(folder.path()).len(), 2);
}

#[tokio::test]
async fn the_longest_call_that_the_model_lets_through_still_fits() {
    let quoted = |length: usize| "\"".repeat(length);
    let segments = vec!["\"".repeat(128); 8].join("/");
    let draft = Draft {
        certificate: Some("f".repeat(40)),
        peer: Some("[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535".parse().expect("an address")),
        tls_group: Some("X25519MLKEM768"),
        action: Some(Action::Administer),
        resource: Some(Resource::secret(&format!("{}/{segments}", "n".repeat(63)).parse().expect("valid"))),
        decision: Some(Decision::Deny),
        rule: Some("no rule allows it".into()),
        reason: Some(Text::parse(&quoted(512)).expect("valid")),
        ticket: Some(Text::parse(&quoted(512)).expect("valid")),
        request_id: Some(Text::parse(&quoted(128)).expect("valid")),
        version: Some(u64::MAX),
        principal: Some(format!("spiffe://a/{}", "x".repeat(2037)).parse().expect("valid")),
        ..Draft::new(Event::Denied, "GetSecret").by(&principal())
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path());
    assert!(log.append(draft).await.is_ok());
}
