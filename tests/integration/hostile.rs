//! Hostile bytes: whatever arrives, with or without a certificate, there is a clear error or a clean end, memory stays bounded
//! and good callers are served.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use prost::Message;
use strongroom::api::{self, Method};
use strongroom::client::tls::ClientFiles;
use strongroom::client::{Client, Page};
use strongroom::identity::Refusal;
use strongroom::model::Environment;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::client::TlsStream;
use tonic::Code;

use crate::attacks::{Flood, answer_each, call_with, first_words, flood, knock, over_and_over, shake_hands};
use crate::flood::entries;
use crate::harness::{Running, Site, person, server_id, workload};
use crate::operations::{comes_to, figure};
use crate::stage::{named, opaque};
use crate::wire::{channel, code, refused, send};

/// What a server may grow by while it is attacked: some buffers a connection, no pile.
pub(crate) const ROOM_BYTES: u64 = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

/// A good caller gets an answer.
pub(crate) async fn is_served(client: &Client) {
    tokio::time::timeout(PATIENCE, client.list_roles(Page::default())).await.expect("in time").expect("served");
}

/// What somebody of that name connects with.
pub(crate) fn files(site: &Site, name: &str) -> ClientFiles {
    let credentials = site.credentials(&workload(name));
    ClientFiles { roots: credentials.ca, certificate: credentials.certificate, key: credentials.key }
}

// immune: row-47
#[tokio::test(flavor = "multi_thread")]
async fn floods_of_frames_pile_nothing_up_and_good_callers_are_served() {
    let site = Site::with_vault("");
    let running = site.start_open().await;
    let good = site.client(&running, &person("ana")).await;
    is_served(&good).await;
    let (address, files) = (running.address(), files(&site, "mallory"));
    for kind in Flood::ALL {
        let before = running.resident_bytes();
        let end = Instant::now() + Duration::from_secs(3);
        let again = || tokio::spawn(over_and_over(kind, address, server_id(), files.clone(), end));
        let floods: Vec<_> = (0..4).map(|_| again()).collect();
        let (mut served, mut peak) = (0, before);
        while Instant::now() < end {
            let answer = tokio::time::timeout(Duration::from_secs(2), good.list_roles(Page::default())).await;
            answer.unwrap_or_else(|_| panic!("{}: nobody else is served", kind.word())).expect("served");
            served += 1;
            peak = peak.max(running.resident_bytes());
        }
        let (mut sent, mut ended) = (0, 0);
        for flood in floods {
            let (frames, times) = flood.await.expect("no panic");
            sent += frames;
            ended += times;
        }
        let grown = peak - before;
        eprintln!("{}: {sent} frames, {ended} connections ended, {served} good calls, {} KiB more", kind.word(), grown / 1_024);
        assert!(served > 10, "{}: {served} good calls", kind.word());
        assert!(grown < ROOM_BYTES, "{}: {grown} bytes more", kind.word());
        // Of the others HTTP/2 itself has no bound: they are read from slowly, and cut off later than this.
        let bounded = !matches!(kind, Flood::Ping | Flood::Settings);
        assert!(!bounded || ended >= 4, "{}: the server puts up with it", kind.word());
    }
    assert!(running.stop());
}

// immune: row-47
#[tokio::test(flavor = "multi_thread")]
async fn who_sends_frames_for_their_own_sake_is_cut_off_counted_and_on_record() {
    let site = Site::with_vault("");
    let running = site.start_open().await;
    let (address, end) = (running.address().to_string(), Instant::now() + PATIENCE);
    let mut floods = Vec::new();
    for kind in [Flood::Ping, Flood::Settings] {
        let stream = knock(&address, server_id(), &files(&site, "mallory")).await;
        floods.push((kind, tokio::spawn(flood(stream, kind, end))));
    }
    for (kind, flood) in floods {
        let (sent, ended) = flood.await.expect("no panic");
        assert!(ended, "{}: the server puts up with it, {sent} frames", kind.word());
    }
    let why = Refusal::Flood.why();
    comes_to(&running, &format!("strongroom_connections_refused_total{{reason=\"{why}\"}}"), 2..=2).await;
    assert!(running.stop());
    let entries = entries(&site);
    // By name: this certificate is to be taken back. The second one of the minute is counted.
    let mallory = workload("mallory").to_string();
    let on_record: Vec<_> = entries.iter().filter(|entry| entry["outcome"] == why).collect();
    assert!(!on_record.is_empty(), "{entries:#?}");
    for entry in on_record {
        assert!(entry["principal"] == mallory && entry["certificate"].as_str().is_some() && entry["peer"].as_str().is_some(), "{entry:#?}");
    }
}

/// A refusal is work that no call pays for: who asks for nothing else is read from slowly, and gets what it asks for.
#[tokio::test(flavor = "multi_thread")]
async fn who_calls_far_too_often_is_slowed_down_to_some_refusals_a_second() {
    const SECONDS: u64 = 6;
    let site = Site::with_vault("[limits]\ncalls_per_principal_per_s = 1\ncalls_per_principal_burst = 1\n");
    let running = site.start_open().await;
    let stream = knock(&running.address().to_string(), server_id(), &files(&site, "mallory")).await;
    let (sent, ended) = flood(stream, Flood::Calls, Instant::now() + Duration::from_secs(SECONDS)).await;
    assert!(!ended && sent > 500, "{sent} frames went out before it was cut off");
    let refused = "strongroom_calls_refused_total{reason=\"too_fast\"}";
    let refused = figure(&running, refused).await;
    // 256 for what a new connection has, 32 a second, and what came in one piece with the last.
    assert!((200..=256 + 32 * (SECONDS + 3) + 256).contains(&refused), "{refused} refusals");
    is_served(&site.client(&running, &person("ana")).await).await;
    assert!(running.stop());
}

/// What it sends is then more than a connection may without being told anything, and no flood: half a megabyte of answers, where
/// a connection has 128 KiB for what is no frame of a call, and what time gives.
#[tokio::test(flavor = "multi_thread")]
async fn who_watches_much_may_answer_each_message() {
    const CHANGES: usize = 12_000;
    let site = Site::with_vault("[limits]\ncalls_per_principal_per_s = 100000\n");
    let running = site.start_open().await;
    site.make_namespace(&running, "busy", Environment::Stage).await;
    site.bind(&running, "backend", &workload("watcher"), Some("busy")).await;
    site.bind(&running, "backend", &workload("writer"), Some("busy")).await;
    let mut stream = knock(&running.address().to_string(), server_id(), &files(&site, "watcher")).await;
    let request = api::WatchSecretsRequest { prefix: "busy".to_owned(), after_revision: 0, expiring_within: None }.encode_to_vec();
    let mut head = vec![0, 0, 0, 0, u8::try_from(request.len()).expect("short")];
    head.extend(request);
    stream.write_all(&call_with(Method::WatchSecrets, &head, true)).await.expect("sent");
    // The first message says that it has begun.
    let answering = tokio::spawn(answer_each(stream, 1 + CHANGES, Instant::now() + 3 * PATIENCE));
    let writer = site.client(&running, &workload("writer")).await;
    let writing = (0..32).map(|part| {
        let writer = writer.clone();
        tokio::spawn(async move {
            // More than are waited for: those that were stored before the watch began are not told.
            for number in 0..CHANGES.div_ceil(32) + 32 {
                let name = named(format!("busy/{part}/{number}"));
                writer.create_secret(opaque(&name, "value")).await.expect("stored");
            }
        })
    });
    for part in writing.collect::<Vec<_>>() {
        part.await.expect("no panic");
    }
    let told = answering.await.expect("no panic");
    assert!(told > CHANGES, "{told} messages came, then no more");
    assert!(running.stop());
}

fn varint(mut number: u64, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push((number as u8) | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// A message of that length, of more than 16 KiB, which is one unknown field.
pub(crate) fn unknown_field(length: usize) -> Vec<u8> {
    let mut message = vec![0xa2, 0x06];
    varint(length as u64 - 5, &mut message);
    assert_eq!(message.len(), 5);
    message.resize(length, b'x');
    message
}

// immune: row-45
#[tokio::test(flavor = "multi_thread")]
async fn nesting_without_end_is_a_clean_error() {
    let site = Site::with_vault("");
    let running = site.start_open().await;
    let raw = channel(&site, &running, &workload("mallory")).await;
    // Groups of an unknown field, one in the other: 2 bytes a level.
    for levels in [99, 100, 101, 1_000, 100_000] {
        let mut message = [0xa3, 0x06].repeat(levels);
        message.extend([0xa4, 0x06].repeat(levels));
        for method in [Method::RevealSecret, Method::CreateBinding, Method::GetStatus] {
            let answer = send(&raw, method.path(), message.clone()).await;
            let accepted = [Code::NotFound, Code::PermissionDenied, Code::InvalidArgument, Code::Internal, Code::OutOfRange];
            assert!(accepted.contains(&code(&answer)), "{levels} levels, {method:?}: {answer:?}");
        }
    }
    // A million are longer than a message may be.
    assert_eq!(code(&send(&raw, Method::RevealSecret.path(), [0xa3, 0x06].repeat(1_000_000)).await), Code::OutOfRange);
    is_served(&site.client(&running, &person("ana")).await).await;
}

// immune: row-44
#[tokio::test(flavor = "multi_thread")]
async fn lengths_are_looked_at_before_anything_is_taken_in() {
    let site = Site::with_vault("");
    let running = site.start_open().await;
    let raw = channel(&site, &running, &workload("mallory")).await;
    let most = 262_144;
    // At the edge, as an unknown field: a message of that length is read, one byte more is not.
    for (length, expected) in [(most, Code::InvalidArgument), (most + 1, Code::OutOfRange)] {
        let answer = send(&raw, Method::RevealSecret.path(), unknown_field(length)).await;
        assert!(code(&answer) == expected, "{length} bytes: {answer:?}");
    }
    let before = running.resident_bytes();
    // A message that says it has 4 GiB, and one that says it is compressed: answered though no more of it comes.
    for (head, code) in [([0, 0xff, 0xff, 0xff, 0xff], "OUT_OF_RANGE"), ([1, 0, 0, 0, 4], "INTERNAL")] {
        let answered = format!("strongroom_grpc_calls_total{{method=\"RevealSecret\",code=\"{code}\"}}");
        let already = figure(&running, &answered).await;
        let mut streams = Vec::new();
        for _ in 0..64 {
            let mut stream = knock(&running.address().to_string(), server_id(), &files(&site, "mallory")).await;
            stream.write_all(&call_with(Method::RevealSecret, &head, false)).await.expect("sent");
            streams.push(stream);
        }
        comes_to(&running, &answered, already + 64..).await;
    }
    assert!(running.resident_bytes().saturating_sub(before) < ROOM_BYTES);
}

// immune: row-48
#[tokio::test(flavor = "multi_thread")]
async fn without_file_descriptors_it_goes_on_and_comes_back() {
    let site = Site::with_vault("");
    let mut command = std::process::Command::new("sh");
    let server = format!("ulimit -n 64; exec '{}' server --config '{}'", crate::harness::PROGRAM, site.path("strongroom.toml").display());
    command.args(["-c", &server]).stdin(std::process::Stdio::null());
    let running = Running::of(command).expect("it starts");
    site.unseal(&running).await;
    let good = site.client(&running, &person("ana")).await;
    is_served(&good).await;
    let held: Vec<_> = (0..128).filter_map(|_| TcpStream::connect_timeout(&running.address(), Duration::from_secs(5)).ok()).collect();
    let failed = "accept failed; trying again";
    running.says(failed);
    // It tries again after a pause that grows, and does not turn in a circle.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(running.times_said(failed) <= 20, "{} times in a second", running.times_said(failed));
    // Who is in is served; the log too can still be written.
    is_served(&good).await;
    good.create_namespace(strongroom::client::NewNamespace::new("during".parse().expect("valid"), Environment::Stage))
        .await
        .expect("changes as well");
    drop(held);
    let begin = Instant::now();
    loop {
        let client = tokio::time::timeout(Duration::from_secs(8), site.client(&running, &person("ben"))).await;
        if let Ok(client) = client {
            is_served(&client).await;
            return;
        }
        assert!(begin.elapsed() < 2 * PATIENCE, "nobody gets in any more");
    }
}

/// Sends each byte in a TLS record of its own, until the server has said `enough` or ended the connection. Returns whether it has
/// said it.
async fn drop_by_drop(stream: TlsStream<tokio::net::TcpStream>, bytes: Vec<u8>, enough: &[u8]) -> bool {
    let (mut from, mut to) = tokio::io::split(stream);
    let sending = tokio::spawn(async move {
        for byte in bytes {
            if to.write_all(&[byte]).await.is_err() || to.flush().await.is_err() {
                break;
            }
        }
        to
    });
    let mut said = Vec::new();
    let is_enough = loop {
        match tokio::time::timeout(PATIENCE, from.read_buf(&mut said)).await.expect("an answer or an end, in time") {
            Ok(length) if length > 0 => {}
            _ => break false,
        }
        if said.windows(enough.len()).any(|window| window == enough) {
            break true;
        }
    };
    sending.abort();
    is_enough
}

/// What a client says first, and one whole call.
fn conversation(method: Method, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    [first_words(), call_with(method, &[&[0][..], &length, message].concat(), true)].concat()
}

/// 22 bytes of TLS for each: a call of the usual length is far below what anybody may send besides, one of 40 KB far beyond.
// immune: row-47
#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_bytes_each_come_in_a_record_of_their_own_is_answered_or_cut_off() {
    let site = Site::with_vault("");
    let running = site.start_open().await;
    let good = site.client(&running, &person("ana")).await;
    site.make_namespace(&running, "shop", Environment::Stage).await;
    site.bind(&running, "backend", &workload("mallory"), Some("shop")).await;
    let owner = site.client(&running, &workload("mallory")).await;
    owner.create_secret(opaque(&named("shop/token"), "drop by drop")).await.expect("stored");
    let (address, files) = (running.address().to_string(), files(&site, "mallory"));
    let begin = || shake_hands(&address, server_id(), &files);

    let reveal = api::RevealSecretRequest { name: "shop/token".to_owned(), ..Default::default() }.encode_to_vec();
    for _ in 0..3 {
        assert!(drop_by_drop(begin().await, conversation(Method::RevealSecret, &reveal), b"drop by drop").await, "it is answered");
    }

    let create = |name: &str| {
        let request = api::CreateSecretRequest { name: name.to_owned(), payload: vec![b'x'; 40_000], ..Default::default() };
        conversation(Method::CreateSecret, &request.encode_to_vec())
    };
    let mut whole = begin().await;
    whole.write_all(&create("shop/whole")).await.expect("sent");
    comes_to(&running, "strongroom_grpc_calls_total{method=\"CreateSecret\",code=\"OK\"}", 2..=2).await;
    let cut_off = tokio::spawn(drop_by_drop(begin().await, create("shop/drops"), b"shop/drops"));
    while !cut_off.is_finished() {
        is_served(&good).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!cut_off.await.expect("no panic"), "the server puts up with it");
    let why = Refusal::Flood.why();
    comes_to(&running, &format!("strongroom_connections_refused_total{{reason=\"{why}\"}}"), 1..=1).await;
    assert_eq!(owner.describe_secret(&named("shop/whole")).await.expect("stored").version, 1);
    assert_eq!(refused(&owner.describe_secret(&named("shop/drops")).await), Code::NotFound, "nothing came of it");
    assert!(running.stop());
    assert_eq!(entries(&site).iter().filter(|entry| entry["outcome"] == why).count(), 1, "on record");
}
