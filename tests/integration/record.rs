//! What stands in the audit log: each call as it went, one line each, whatever its texts hold.

use serde_json::Value;
use strongroom::api::Method;
use strongroom::client::{AuditEntry, AuditFilter, Page, Reveal, SecretUpdate, StateChange};
use strongroom::model::SpiffeId;
use tonic::Code;

use crate::harness::{Site, person, workload};
use crate::requests::{Probe, Subject, message, text_fields};
use crate::stage::{EVERYTHING, Stage, bytes, named, opaque, shared};
use crate::wire::{code, send};

/// The lines of all segments, as they lie on disk; the zeros that make room ahead are cut.
fn lines(site: &Site) -> Vec<Vec<u8>> {
    let mut segments = site.files("audit");
    segments.sort();
    let written = segments.iter().filter(|(path, _)| path.extension().is_some_and(|ending| ending == "jsonl"));
    let content: Vec<u8> = written.flat_map(|(_, content)| content.iter().copied().take_while(|byte| *byte != 0)).collect();
    content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

// immune: row-43
#[tokio::test(flavor = "multi_thread")]
async fn no_text_forges_a_line_or_steers_a_terminal() {
    let stage = Stage::new("[audit]\nsegment_bytes = 1048576\n").await;
    let namespace = stage.namespace().await;
    let id = stage.holder(&namespace, &[EVERYTHING]).await;
    let owner = stage.client(&id).await;
    let subject = stage.subject(&namespace, &owner).await;
    let callers = [stage.channel(&id).await, stage.channel(&person("ana")).await];
    let forged = "x\n{\"forged\":true}\n";
    for text in [
        forged,
        "x\r\n{\"forged\":true}",
        "\u{1b}[2Jx",
        "\u{1b}]0;forged\u{7}",
        "\u{2028}forged",
        "\u{202e}forged",
        "x\0forged",
        "\u{85}forged",
    ] {
        for method in Method::ALL.iter().copied() {
            for (position, field) in text_fields(method).into_iter().enumerate() {
                // Values are bytes: they may hold anything, and stand in no line.
                if matches!(field, "payload" | "passphrase" | "new_passphrase" | "share") {
                    continue;
                }
                let number = stage.number();
                let subject = Subject { number, absent: format!("{namespace}/made/{number}"), ..subject.clone() };
                for caller in &callers {
                    let answer = send(caller, method.path(), message(method, &subject, &mut Probe::at(position, text))).await;
                    // A page token means something to the list alone, after the gate.
                    let is_expected = match code(&answer) {
                        Code::InvalidArgument => true,
                        Code::PermissionDenied | Code::NotFound => field == "page_token",
                        _ => false,
                    };
                    assert!(is_expected, "{method:?} with {text:?} as its {field}: {answer:?}");
                }
            }
        }
    }
    // What is harmless but looks like JSON stands in one line, escaped.
    let quoted = "\"},{\"forged\":true,\"x\":\"\\u000a\\n";
    owner.reveal_secret(Reveal::latest(&named(&subject.secret)).reason(quoted).ticket("<script>")).await.expect("revealed");
    let Stage { site, running, .. } = stage;
    let log = running.stop_and_read();
    let mut reasons = 0;
    for line in lines(&site) {
        assert!(!line.iter().any(|byte| byte.is_ascii_control()), "{:?}", String::from_utf8_lossy(&line));
        let entry: Value = serde_json::from_slice(&line).expect("one object of JSON a line");
        assert!(entry.get("forged").is_none() && entry.get("sequence").is_some());
        reasons += usize::from(entry.get("reason").and_then(Value::as_str) == Some(quoted));
    }
    assert_eq!(reasons, 1);
    assert!(!log.contains(['\u{1b}', '\r', '\u{202e}', '\u{2028}']) && !log.contains("forged"), "{log}");
}

/// The entries of one caller, oldest first.
async fn entries(stage: &Stage, caller: &SpiffeId) -> Vec<AuditEntry> {
    let auditor = person("auditor-of-record");
    stage.bind("auditor", &auditor, None).await;
    let filter = AuditFilter { principal: caller.to_string(), oldest_first: true, ..AuditFilter::default() };
    // Outcomes ride the next group, which the binding above has begun.
    stage.client(&auditor).await.list_audit_entries(&filter, Page::default()).await.expect("listed").items
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_is_on_record_as_it_went() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let id = workload(&format!("recorded-{}", stage.number()));
    let role = stage.role(&["describe,reveal,create,update:**"]).await;
    stage.bind(&role, &id, Some(&namespace)).await;
    let client = stage.client(&id).await;
    let name = named(format!("{namespace}/merchants/1"));
    let first = client.create_secret(opaque(&name, "one").request_id("R-1")).await.expect("stored").secret;
    client.update_secret(SecretUpdate::new(&name, bytes("two"), first.revision).request_id("R-2")).await.expect("updated");
    client.update_secret(SecretUpdate::new(&name, bytes("three"), 1).request_id("R-3")).await.expect_err("stale");
    client.reveal_secret(Reveal::latest(&name).version(1).reason("why").ticket("T-1")).await.expect("revealed");
    client.reveal_secret(Reveal::latest(&named(format!("{namespace}/absent")))).await.expect_err("absent");
    client.destroy_secret(StateChange::of(&name).request_id("R-4")).await.expect_err("forbidden");

    let entries = entries(&stage, &id).await;
    let seen: Vec<_> =
        entries.iter().map(|entry| (entry.event.as_str(), entry.method.as_str(), entry.outcome.as_str(), entry.version)).collect();
    assert_eq!(
        seen,
        [
            ("intent", "CreateSecret", "", 0),
            ("outcome", "CreateSecret", "ok", 1),
            ("intent", "UpdateSecret", "", 0),
            ("outcome", "UpdateSecret", "ok", 2),
            ("intent", "UpdateSecret", "", 0),
            ("outcome", "UpdateSecret", "conflict", 0),
            ("read", "RevealSecret", "ok", 1),
            ("read", "RevealSecret", "not_found", 0),
            ("denied", "DestroySecret", "permission_denied", 0),
        ]
    );
    for (intent, outcome) in [(0, 1), (2, 3), (4, 5)] {
        assert_eq!(entries[outcome].intent, entries[intent].sequence);
    }
    let reveal = &entries[6];
    assert_eq!((reveal.reason.as_str(), reveal.ticket.as_str(), reveal.resource.as_str()), ("why", "T-1", name.to_string().as_str()));
    assert_eq!((reveal.action.as_str(), reveal.decision.as_str(), reveal.class.as_str()), ("reveal", "allow", "workload"));
    assert!(reveal.rule.ends_with(&format!("of role {role}")) && reveal.tls_group == "X25519MLKEM768" && !reveal.certificate.is_empty());
    let requests: Vec<_> = entries.iter().map(|entry| entry.request_id.as_str()).collect();
    assert_eq!(requests, ["R-1", "R-1", "R-2", "R-2", "R-3", "R-3", "", "", "R-4"]);
}
