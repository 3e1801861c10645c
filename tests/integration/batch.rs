//! Many values at once: each decided and on record by itself, and none opened that does not leave.

use prost::Message;
use strongroom::api::reveal_batch_result::Outcome;
use strongroom::api::{self, Method};
use strongroom::client::{AuditEntry, AuditFilter, Client, Page, Refusal, Reveal, RevealBatch, SecretUpdate, StateChange, collect};
use strongroom::model::{SecretName, SpiffeId};
use tonic::Code;

use crate::harness::{person, workload};
use crate::stage::{Stage, bytes, named, opaque, shared};
use crate::wire::{ask, code, refused};

const OWNER: &str = "describe,reveal,create,update,destroy:**";
/// Longest message of the default configuration.
const MESSAGE_BYTES: usize = 256 * 1024;

fn request(names: impl IntoIterator<Item = SecretName>) -> api::RevealBatchRequest {
    let items = names.into_iter().map(|name| api::RevealBatchItem { name: name.to_string(), version: 0 }).collect();
    api::RevealBatchRequest { items, reason: String::new(), ticket: String::new() }
}

fn batch(names: &[&SecretName]) -> RevealBatch {
    RevealBatch::new().latest(names.iter().copied().cloned())
}

/// The entries of somebody's batches, oldest first.
async fn entries(stage: &Stage, caller: &SpiffeId) -> Vec<AuditEntry> {
    let auditor = person("auditor-of-batch");
    stage.bind("auditor", &auditor, None).await;
    let auditor = stage.client(&auditor).await;
    let filter =
        AuditFilter { principal: caller.to_string(), method: "RevealBatch".to_owned(), oldest_first: true, ..AuditFilter::default() };
    collect(0, |page: Page| auditor.list_audit_entries(&filter, page)).await.expect("listed").items
}

async fn alone(client: &Client, name: &SecretName, version: u64) -> Refusal {
    let refused = client.reveal_secret(Reveal::latest(name).version(version)).await.expect_err("refused");
    refused.refusal().expect("by the server").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_1_to_256_items_and_none_twice() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let id = stage.holder(&namespace, &[OWNER]).await;
    let (client, raw) = (stage.client(&id).await, stage.channel(&id).await);
    let names: Vec<_> = (0..257).map(|number| named(format!("{namespace}/{number}"))).collect();
    for (number, name) in names.iter().take(256).enumerate() {
        client.create_secret(opaque(name, &format!("value {number}"))).await.expect("stored");
    }
    for (count, expected) in [(0, Code::InvalidArgument), (1, Code::Ok), (256, Code::Ok), (257, Code::InvalidArgument)] {
        let request = request(names.iter().take(count).cloned());
        let answer: Result<api::RevealBatchResponse, _> = ask(&raw, Method::RevealBatch, &request).await;
        assert_eq!(code(&answer), expected, "{count} items");
        let Ok(answer) = answer else { continue };
        assert_eq!(answer.results.len(), count);
        for (number, result) in answer.results.into_iter().enumerate() {
            let Some(Outcome::Revealed(revealed)) = result.outcome else { panic!("item {number}: {result:?}") };
            assert_eq!((revealed.payload, revealed.version), (format!("value {number}").into_bytes(), 1));
        }
    }
    let twice = ask::<api::RevealBatchResponse>(&raw, Method::RevealBatch, &request([names[0].clone(), names[0].clone()])).await;
    assert_eq!(code(&twice), Code::InvalidArgument);
    // The client asks for as many as there are, 256 at once.
    let results = client.reveal_batch(batch(&names.iter().collect::<Vec<_>>())).await.expect("answered");
    assert_eq!((results.iter().filter(|result| result.is_ok()).count(), results.len()), (256, 257));
    assert!(client.reveal_batch(RevealBatch::new()).await.expect("nothing to ask for").is_empty());
}

// immune: row-11
#[tokio::test(flavor = "multi_thread")]
async fn each_item_is_answered_as_if_it_were_alone() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let owner = stage.holding(&namespace, &[OWNER]).await;
    let made = |path: &str| named(format!("{namespace}/{path}"));
    let (open, disabled, destroyed, hidden, seen) =
        (made("open/1"), made("open/disabled"), made("open/destroyed"), made("hidden/1"), made("seen/1"));
    for name in [&open, &disabled, &destroyed, &hidden, &seen] {
        let stored = owner.create_secret(opaque(name, &format!("first of {name}"))).await.expect("stored").secret;
        owner.update_secret(SecretUpdate::new(name, bytes(format!("second of {name}")), stored.revision)).await.expect("updated");
    }
    owner.disable_secret(StateChange::of(&disabled)).await.expect("disabled");
    owner.destroy_secret(StateChange::of(&destroyed)).await.expect("destroyed");
    let id = stage.holder(&namespace, &["describe,reveal:open/**", "describe:seen/**"]).await;
    let client = stage.client(&id).await;

    let asked = [
        (open.clone(), 0),
        (hidden.clone(), 0),
        (made("hidden/absent"), 0),
        (open.clone(), 1),
        (disabled.clone(), 0),
        (named("no-such-namespace/a"), 0),
        (destroyed.clone(), 0),
        (seen.clone(), 0),
        (open.clone(), 9),
        (made("open/absent"), 0),
    ];
    let batch = asked.iter().fold(RevealBatch::new(), |batch, (name, version)| batch.version(name.clone(), *version));
    let results = client.reveal_batch(batch.reason("why").ticket("T-1")).await.expect("answered");
    let mut refusals = Vec::new();
    for ((name, version), result) in asked.iter().zip(results) {
        match result {
            Ok(revealed) => {
                let expected = if *version == 1 { format!("first of {name}") } else { format!("second of {name}") };
                assert_eq!((name, revealed.value.expose()), (&open, expected.as_bytes()));
            }
            Err(refusal) => {
                let alone = alone(&client, name, *version).await;
                assert_eq!(
                    (refusal.code, &refusal.message, refusal.missing_action),
                    (alone.code, &alone.message, alone.missing_action),
                    "{name}"
                );
                refusals.push((refusal.code, refusal.message));
            }
        }
    }
    let codes: Vec<_> = refusals.iter().map(|(code, _)| *code).collect();
    let (n, p) = (Code::NotFound, Code::FailedPrecondition);
    assert_eq!(codes, [n, n, p, n, p, Code::PermissionDenied, n, n]);
    assert!(refusals[0] == refusals[1] && refusals[1] == refusals[3], "forbidden and absent: {refusals:?}");

    let mut recorded: Vec<_> = entries(&stage, &id)
        .await
        .into_iter()
        .map(|entry| {
            assert_eq!((entry.reason.as_str(), entry.ticket.as_str(), entry.action.as_str()), ("why", "T-1", "reveal"));
            (entry.event, entry.resource, entry.outcome, entry.version)
        })
        .collect();
    let mut expected: Vec<_> = [
        ("read", &open, "ok", 2),
        ("denied", &hidden, "not_visible", 0),
        ("denied", &asked[2].0, "not_visible", 0),
        ("read", &open, "ok", 1),
        ("read", &disabled, "failed_precondition", 0),
        ("denied", &asked[5].0, "not_visible", 0),
        ("read", &destroyed, "failed_precondition", 0),
        ("denied", &seen, "permission_denied", 0),
        ("read", &open, "not_found", 0),
        ("read", &asked[9].0, "not_found", 0),
    ]
    .map(|(event, name, outcome, version)| (event.to_owned(), name.to_string(), outcome.to_owned(), version))
    .into();
    recorded.sort();
    expected.sort();
    assert_eq!(recorded, expected, "one entry for each item");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_neither_opened_nor_lost() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let id = stage.holder(&namespace, &[OWNER]).await;
    let (client, raw) = (stage.client(&id).await, stage.channel(&id).await);
    let names: Vec<_> = (0..12).map(|number| named(format!("{namespace}/{number}"))).collect();
    for (number, name) in names.iter().enumerate() {
        let length = if number == 11 { 10 } else { 65_536 };
        client.create_secret(opaque(name, &number.to_string().repeat(length)[..length])).await.expect("stored");
    }
    // A value that is refused takes no room.
    client.disable_secret(StateChange::of(&names[0])).await.expect("disabled");
    let answer: api::RevealBatchResponse = ask(&raw, Method::RevealBatch, &request(names.clone())).await.expect("answered");
    assert!(answer.encoded_len() <= MESSAGE_BYTES, "{}", answer.encoded_len());
    let codes: Vec<_> = answer
        .results
        .iter()
        .map(|result| match &result.outcome {
            Some(Outcome::Revealed(_)) => Code::Ok,
            Some(Outcome::Failure(failure)) => failure.code.into(),
            None => panic!("no outcome"),
        })
        .collect();
    let (y, f) = (Code::Ok, Code::ResourceExhausted);
    // Three of the long ones, and the short one after all those that did not fit.
    assert_eq!(codes, [Code::FailedPrecondition, y, y, y, f, f, f, f, f, f, f, y]);
    let recorded: Vec<_> = entries(&stage, &id).await.into_iter().map(|entry| (entry.resource, entry.outcome)).collect();
    let outcome = |code: &Code| match code {
        Code::Ok => "ok",
        Code::ResourceExhausted => "no_room",
        _ => "failed_precondition",
    };
    let expected: Vec<_> = names.iter().zip(&codes).map(|(name, code)| (name.to_string(), outcome(code).to_owned())).collect();
    assert_eq!(recorded, expected, "what did not leave is not on record as if it had");

    client.enable_secret(StateChange::of(&names[0])).await.expect("enabled");
    let results = client.reveal_batch(batch(&names.iter().collect::<Vec<_>>())).await.expect("answered");
    for (number, result) in results.into_iter().enumerate() {
        let length = if number == 11 { 10 } else { 65_536 };
        assert_eq!(result.expect("asked for until it fits").value.expose(), &number.to_string().repeat(length).as_bytes()[..length]);
    }
}

/// Room is kept for what cannot be revealed: values that leave none would make an answer that no message takes.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_always_fit_beside_the_values() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let id = stage.holder(&namespace, &[OWNER]).await;
    let (client, raw) = (stage.client(&id).await, stage.channel(&id).await);
    let names: Vec<_> = (0..256).map(|number| named(format!("{namespace}/{number}"))).collect();
    // Together they would fill the message but for 60 bytes.
    for (name, length) in names.iter().zip([65_536, 65_536, 65_536, 65_151, 200]) {
        client.create_secret(opaque(name, &"v".repeat(length))).await.expect("stored");
    }
    let answer: api::RevealBatchResponse = ask(&raw, Method::RevealBatch, &request(names)).await.expect("answered");
    assert!(answer.encoded_len() <= MESSAGE_BYTES, "{}", answer.encoded_len());
    let revealed: Vec<_> = answer.results.iter().map(|result| matches!(result.outcome, Some(Outcome::Revealed(_)))).collect();
    assert_eq!((&revealed[..5], answer.results.len()), (&[true, true, true, false, true][..], 256));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_gives_the_reason_once() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let owner = stage.holding(&namespace, &[OWNER]).await;
    let names = ["a", "b"].map(|path| named(format!("{namespace}/{path}")));
    for name in &names {
        owner.create_secret(opaque(name, "value")).await.expect("stored");
    }
    let reader = person(&format!("reader-of-batch-{}", stage.number()));
    stage.bind("reader", &reader, Some(&namespace)).await;
    let client = stage.client(&reader).await;
    let without = client.reveal_batch(batch(&[&names[0], &names[1]])).await.expect("answered");
    for result in without {
        let refusal = result.expect_err("no reason");
        assert_eq!(refusal.code, Code::InvalidArgument);
        assert!(refusal.message.starts_with("reason: operators must say why"), "{}", refusal.message);
    }
    let with = client.reveal_batch(batch(&[&names[0], &names[1]]).reason("case 4711")).await.expect("answered");
    assert!(with.iter().all(Result::is_ok));
    let reasons: Vec<_> = entries(&stage, &reader).await.into_iter().map(|entry| (entry.outcome, entry.reason)).collect();
    let entry = |outcome: &str, reason: &str| (outcome.to_owned(), reason.to_owned());
    let (without, with) = (entry("reason_required", ""), entry("ok", "case 4711"));
    assert_eq!(reasons, [without.clone(), without, with.clone(), with]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_forbidden_names_fills_no_disk() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let nobody = workload(&format!("nobody-of-batch-{}", stage.number()));
    let raw = stage.channel(&nobody).await;
    let names: Vec<_> = (0..256).map(|number| named(format!("{namespace}/{number}"))).collect();
    let answer: api::RevealBatchResponse = ask(&raw, Method::RevealBatch, &request(names)).await.expect("answered");
    let results: std::collections::BTreeSet<_> = answer.results.iter().map(|result| format!("{result:?}")).collect();
    assert_eq!((answer.results.len(), results.len()), (256, 1), "{results:?}");
    // The others are counted, and will be in a summary.
    assert_eq!(entries(&stage, &nobody).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_vault_refuses_the_batch_as_a_whole() {
    let stage = Stage::new("").await;
    let namespace = stage.namespace().await;
    let client = stage.holding(&namespace, &[OWNER]).await;
    let name = named(format!("{namespace}/a"));
    client.create_secret(opaque(&name, "value")).await.expect("stored");
    stage.client(&person("cleo")).await.seal("").await.expect("sealed");
    let refusal = client.reveal_batch(batch(&[&name])).await;
    assert_eq!(refused(&refusal), Code::Unavailable);
    assert!(refusal.expect_err("sealed").refusal().expect("by the server").is_sealed());
}
