//! Calls that look at much: they are paid for by what they look at, wait for their turn, and take little memory.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::time::{Duration, Instant};

use prost::Message;
use serde_json::Value;
use strongroom::api::{self, Method};
use strongroom::client::{Page, Reveal, SecretUpdate};
use tonic::Code;
use tonic::transport::Channel;
use tonic_types::StatusExt;

use crate::harness::{Running, Site, person, workload};
use crate::operations::figure;
use crate::requests::{PROVIDER, SUBJECT};
use crate::stage::{Stage, bytes, named};
use crate::wire::{ask, channel, code, refused, send};

/// The rate that the tests' own configuration has.
const FAST: &str = "calls_per_principal_per_s = 1000000\n";
/// Calls at once where each may call once a second.
const BURST: u32 = 4;

/// The same vault, served again: each may call once a second now.
async fn again_slowly(site: &Site, running: Running) -> Running {
    assert!(running.stop());
    let file = site.path("strongroom.toml");
    let text = fs::read_to_string(&file).expect("the site's own");
    assert!(text.contains(FAST));
    let slow = format!("calls_per_principal_per_s = 1\ncalls_per_principal_burst = {BURST}\n");
    fs::write(&file, text.replace(FAST, &slow)).expect("written");
    site.start_open().await
}

/// After how long one more call would be let in; nothing if this one was.
async fn wait(channel: &Channel) -> Duration {
    let request = api::DescribeSecretRequest { name: "no/such".to_owned() };
    match send(channel, Method::DescribeSecret.path(), request.encode_to_vec()).await {
        Err(status) if status.code() == Code::ResourceExhausted => {
            status.get_details_retry_info().and_then(|info| info.retry_delay).expect("when to try again")
        }
        _ => Duration::ZERO,
    }
}

/// Puts so many entries more into the log of a server that does not run, as it would have written them.
fn lengthen_log(site: &Site, count: u64) {
    let mut segments: Vec<_> =
        site.files("audit").into_iter().filter(|(path, _)| path.extension().is_some_and(|ending| ending == "jsonl")).collect();
    segments.sort();
    let (path, content) = segments.pop().expect("a segment");
    assert!(!content.contains(&0), "its zeros were cut when it was closed");
    let last: Value = serde_json::from_slice(content.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().expect("a line")).expect("JSON");
    let (time, sequence) = (last["time"].as_str().expect("a time"), last["sequence"].as_u64().expect("a number"));
    let detail: Vec<_> = (10..26).map(|key| format!(r#""key-{key}":"a word or two""#)).collect();
    let detail = detail.join(",");
    let mut more = String::new();
    for sequence in sequence + 1..=sequence + count {
        writeln!(more, r#"{{"time":"{time}","sequence":{sequence},"node":"test","event":"read","method":"Filler","detail":{{{detail}}}}}"#)
            .expect("a string takes all");
    }
    OpenOptions::new().append(true).open(path).expect("opened").write_all(more.as_bytes()).expect("written");
}

/// A vault with an auditor and so many entries in its log, which is stopped.
async fn with_long_log(extra: &str, entries: u64) -> Site {
    let Stage { site, running, .. } = Stage::new(extra).await;
    site.bind(&running, "auditor", &person("auditor"), None).await;
    assert!(running.stop());
    lengthen_log(&site, entries);
    site
}

/// Entries that nobody has written: all of the log is looked at, and none is found.
fn nothing() -> Vec<u8> {
    api::ListAuditEntriesRequest { method: "None".to_owned(), page_size: 1_000, ..Default::default() }.encode_to_vec()
}

/// The most that it ever had in memory (proc(5)).
fn peak_bytes(running: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a process in memory");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1_024
}

const AUDITORS: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn readings_of_the_log_take_turns_and_little_memory_and_keep_nobody_waiting() {
    let site = with_long_log("[audit]\nsegment_bytes = 67108864\n", 110_000).await;
    let running = site.start_open().await;
    let mut auditors = Vec::new();
    for number in 0..AUDITORS {
        let auditor = person(&format!("auditor-{number}"));
        site.bind(&running, "auditor", &auditor, None).await;
        auditors.push(channel(&site, &running, &auditor).await);
    }
    let ana = site.client(&running, &person("ana")).await;
    ana.list_roles(Page::default()).await.expect("listed");
    let before = peak_bytes(&running);

    let read = |number: usize| {
        let auditor = auditors[number % AUDITORS].clone();
        tokio::spawn(async move { send(&auditor, Method::ListAuditEntries.path(), nothing()).await })
    };
    // Those of whom nobody wants to know any more keep nobody from a turn.
    let given_up: Vec<_> = (0..200).map(read).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    given_up.iter().for_each(|call| call.abort());
    let calls: Vec<_> = (0..200).map(read).collect();
    let begin = Instant::now();
    ana.list_secrets("no-such", Page::default()).await.expect_err("there is none");
    ana.list_roles(Page::default()).await.expect("listed");
    assert!(begin.elapsed() < Duration::from_secs(5), "others are served meanwhile: {:?}", begin.elapsed());

    let (mut served, mut busy) = (0, 0);
    for call in calls {
        match call.await.expect("no panic") {
            Ok(_) => served += 1,
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                assert!(status.get_details_retry_info().and_then(|info| info.retry_delay).is_some(), "{status:?}");
                busy += 1;
            }
        }
    }
    assert!(served >= 2 && busy >= 20, "{served} served, {busy} told to come later");
    let counted = async |why: &str| figure(&running, &format!("strongroom_calls_refused_total{{reason=\"{why}\"}}")).await;
    let (of_all, of_one) = (counted("audit_busy").await, counted("too_many_searches").await);
    assert!(of_all > 0 && of_one > 0 && of_all + of_one == busy, "{of_all} and {of_one} of {busy}");
    let grown = peak_bytes(&running).saturating_sub(before);
    assert!(grown < 48 << 20, "{grown} bytes more");
    // One page looks at a hundred thousand lines, and says where to go on.
    let page = send(&auditors[0], Method::ListAuditEntries.path(), nothing()).await.expect("listed");
    let page = api::ListAuditEntriesResponse::decode(page.as_slice()).expect("a page");
    assert!(page.entries.is_empty() && !page.next_page_token.is_empty(), "{page:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_the_log_pays_for_the_lines_that_are_looked_at() {
    let site = with_long_log("", 20_000).await;
    let running = again_slowly(&site, site.start()).await;
    let auditor = channel(&site, &running, &person("auditor")).await;
    assert_eq!(code(&send(&auditor, Method::ListAuditEntries.path(), nothing()).await), Code::Ok);
    let wait = wait(&auditor).await.as_secs();
    assert!((8..=21).contains(&wait), "20 calls for 20,000 lines: {wait} s");
}

/// What it looks at is known by what it owes.
#[tokio::test(flavor = "multi_thread")]
async fn a_reading_ends_with_its_caller_and_is_paid_for_as_far_as_it_came() {
    const LINES: u64 = 90_000;
    let site = with_long_log("[audit]\nsegment_bytes = 67108864\n", LINES).await;
    let running = again_slowly(&site, site.start()).await;
    let auditor = channel(&site, &running, &person("auditor")).await;
    // On a slow machine it may not have come far when its caller goes.
    for patience in [100, 200, 400, 800].map(Duration::from_millis) {
        let reader = auditor.clone();
        let call = tokio::spawn(async move { send(&reader, Method::ListAuditEntries.path(), nothing()).await });
        tokio::time::sleep(patience).await;
        assert!(!call.is_finished(), "it was over within {patience:?}");
        call.abort();
        let (gone, mut owed) = (Instant::now(), Duration::ZERO);
        while owed.as_secs() < 3 && gone.elapsed() < Duration::from_secs(2) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            owed = wait(&auditor).await;
        }
        if owed.as_secs() >= 3 {
            assert!(owed.as_secs() < LINES / 1_000 * 3 / 4, "it went on for nobody: {owed:?}");
            return;
        }
        tokio::time::sleep(Duration::from_secs(BURST.into())).await;
    }
    panic!("nothing is owed for what nobody waited for");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_paid_for_by_what_is_opened_and_not_by_what_is_shown() {
    let stage = Stage::new("").await;
    let namespace = stage.namespace_with(|new| new.limits.versions_kept = 200).await;
    let owner = stage.holding(&namespace, &["describe,create,update:**"]).await;
    let seen = named(format!("{namespace}/seen"));
    let mut revision = stage.token(&owner, &seen.to_string()).await.revision;
    for number in 0..200 {
        stage.token(&owner, &format!("{namespace}/hidden/{number}")).await;
    }
    for number in 0..160 {
        let update = SecretUpdate::new(&seen, bytes(number.to_string()), revision);
        revision = owner.update_secret(update).await.expect("updated").secret.revision;
    }
    let mut viewers = Vec::new();
    for _ in 0..4 {
        viewers.push(stage.holder(&namespace, &["describe:seen"]).await);
    }
    let Stage { site, running, .. } = stage;
    let running = again_slowly(&site, running).await;
    let mut channels = Vec::new();
    for viewer in &viewers {
        channels.push(channel(&site, &running, viewer).await);
    }

    let list = api::ListSecretsRequest { prefix: namespace.clone(), page_size: 1_000, ..Default::default() };
    let listed: api::ListSecretsResponse = ask(&channels[0], Method::ListSecrets, &list).await.expect("listed");
    let (provider, subject) = (PROVIDER.to_owned(), SUBJECT.to_owned());
    let find = api::FindSecretsRequest { namespace: namespace.clone(), provider, subject };
    let found: api::FindSecretsResponse = ask(&channels[1], Method::FindSecrets, &find).await.expect("found");
    let versions = api::ListSecretVersionsRequest { name: seen.to_string(), page_size: 1, ..Default::default() };
    let versions: api::ListSecretVersionsResponse = ask(&channels[2], Method::ListSecretVersions, &versions).await.expect("listed");
    assert_eq!((listed.secrets.len(), found.secrets.len(), versions.versions.len()), (1, 1, 1));
    for (what, channel, most) in [("a list", &channels[0], 10), ("a look-up", &channels[1], 10), ("versions", &channels[2], 8)] {
        let wait = wait(channel).await.as_secs();
        assert!((3..=most).contains(&wait), "{what} of one that opened 160 or more: {wait} s");
    }
    assert_eq!(wait(&channels[3]).await, Duration::ZERO, "who asked for nothing owes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_words_for_the_log_are_paid_for() {
    let site = Site::with_vault("[limits]\ncalls_per_principal_per_s = 1\ncalls_per_principal_burst = 30\n");
    let running = site.start();
    let words = "case ".repeat(102) + "47";
    let long = api::RevealSecretRequest { name: "no/such".to_owned(), reason: words.clone(), ticket: words.clone(), version: 0 };
    let one = channel(&site, &running, &workload("one")).await;
    let (begin, mut served) = (Instant::now(), 0);
    while code(&send(&one, Method::RevealSecret.path(), long.encode_to_vec()).await) == Code::Unavailable {
        served += 1;
    }
    let refilled = begin.elapsed().as_secs() / 3 + 1;
    assert!((10..=10 + refilled).contains(&served), "each is worth three: {served}");

    let items = (0..11).map(|number| api::RevealBatchItem { name: format!("shop/{number}"), version: 0 }).collect();
    let batch = api::RevealBatchRequest { items, reason: words.clone(), ticket: words };
    let other = channel(&site, &running, &workload("other")).await;
    assert_eq!(code(&send(&other, Method::RevealBatch.path(), batch.encode_to_vec()).await), Code::Unavailable);
    assert!(wait(&other).await > Duration::ZERO, "they stand in the entry of each item: 33 of 30");
    let usual = site.client(&running, &workload("third")).await;
    for _ in 0..30 {
        let answer = usual.reveal_secret(Reveal::latest(&named("no/such")).reason("case 4711")).await;
        assert_eq!(refused(&answer), Code::Unavailable, "usual words cost nothing");
    }
}
