//! How many may connect and call, in all and of one principal, each bound at its edge; and how a server ends.

use std::time::{Duration, Instant};

use prost::Message;
use strongroom::api::{self, Method};
use strongroom::client::{Client, Page};
use strongroom::model::SpiffeId;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::attacks::{begin_calls, is_there, knock, until_ended};
use crate::harness::{Running, Site, person, server_id, workload};
use crate::hostile::files;
use crate::proofs::is_turned_away;
use crate::wire::{channel, code, refused, send, slow};

const PATIENCE: Duration = Duration::from_secs(20);

/// Connections of one principal that hold their places.
async fn connections(site: &Site, running: &Running, id: &SpiffeId, count: usize) -> Vec<Client> {
    let mut held = Vec::new();
    for _ in 0..count {
        let client = site.client(running, id).await;
        assert_eq!(refused(&client.status().await), Code::PermissionDenied, "it is heard, and no custodian");
        held.push(client);
    }
    held
}

/// Connections end a moment after their client has gone.
async fn is_let_in_soon(site: &Site, running: &Running, id: &SpiffeId) {
    let begin = Instant::now();
    while is_turned_away(running, site.credentials(id)).await {
        assert!(begin.elapsed() < PATIENCE, "{id} is still turned away");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_counted_in_all_and_for_each() {
    let site = Site::with_vault("[limits]\nconnections_max = 8\nconnections_per_principal_max = 5\nhandshakes_max = 8\n");
    let running = site.start();
    let (one, other, third) = (workload("one"), workload("other"), workload("third"));
    let mut of_one = connections(&site, &running, &one, 5).await;
    assert!(is_turned_away(&running, site.credentials(&one)).await, "a sixth of one");
    let of_other = connections(&site, &running, &other, 3).await;
    assert!(is_turned_away(&running, site.credentials(&third)).await, "a ninth of all");
    let cleo = site.client(&running, &person("cleo")).await;
    cleo.status().await.expect("a few more places are the operators'");
    assert!(is_turned_away(&running, site.credentials(&third)).await, "and not the programs'");
    drop(cleo);
    of_one.pop();
    is_let_in_soon(&site, &running, &third).await;
    is_let_in_soon(&site, &running, &one).await;
    drop((of_one, of_other));
}

/// Waits until so many calls of the channel are under way, as far as the server can be asked.
async fn under_way(running: &Running, count: usize) {
    let begin = Instant::now();
    loop {
        let metrics = crate::operations::get(running, "/metrics").await.1;
        if metrics.contains(&format!("strongroom_grpc_calls_under_way {count}\n")) {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{count} calls are not under way");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn assert_exhausted(answer: &Result<Vec<u8>, Status>, says: &str) -> Duration {
    let status = answer.as_ref().expect_err("refused");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.message().contains(says), "{status:?}");
    status.get_details_retry_info().and_then(|info| info.retry_delay).expect("when to try again")
}

async fn reveal(channel: &Channel) -> Result<Vec<u8>, Status> {
    let request = api::RevealSecretRequest { name: "no/such".to_owned(), ..Default::default() };
    send(channel, Method::RevealSecret.path(), request.encode_to_vec()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_under_way_are_counted_in_all_and_for_each_and_an_operator_gets_through() {
    let site = Site::with_vault("[limits]\ncalls_max = 16\ncalls_per_principal_max = 9\n");
    let running = site.start_open().await;
    let (one, again, other) = (
        channel(&site, &running, &workload("one")).await,
        channel(&site, &running, &workload("one")).await,
        channel(&site, &running, &workload("other")).await,
    );
    let mut held: Vec<_> = (0..8).map(|_| slow(&one, Method::RevealSecret)).collect();
    under_way(&running, 8).await;
    assert_eq!(code(&reveal(&again).await), Code::NotFound, "the ninth of one");
    held.push(slow(&again, Method::RevealSecret));
    under_way(&running, 9).await;
    let delay = assert_exhausted(&reveal(&again).await, "as many calls under way as a principal may");
    assert!(delay > Duration::ZERO);
    held.extend((0..6).map(|_| slow(&other, Method::RevealSecret)));
    under_way(&running, 15).await;
    assert_eq!(code(&reveal(&other).await), Code::NotFound, "the sixteenth of all");
    held.push(slow(&other, Method::RevealSecret));
    under_way(&running, 16).await;
    assert_exhausted(&reveal(&other).await, "the server has as many calls under way as it may");
    let cleo = site.client(&running, &person("cleo")).await;
    cleo.status().await.expect("an operator gets through");
    assert_eq!(refused(&cleo.list_roles(Page::default()).await), Code::ResourceExhausted, "but not to everything");
    cleo.seal("a test").await.expect("least of all may they be kept from sealing");
    assert_exhausted(&reveal(&other).await, "the server has as many calls under way as it may");
    site.unseal(&running).await;
    under_way(&running, 16).await;

    // The first of them is finished, the others are given up.
    let (message, call) = held.remove(0);
    message.send(api::RevealSecretRequest { name: "no/such".to_owned(), ..Default::default() }.encode_to_vec()).await.expect("it waits");
    drop(message);
    assert_eq!(code(&call.await.expect("no panic")), Code::NotFound);
    assert_eq!(code(&reveal(&one).await), Code::NotFound);
    held.iter().for_each(|(_, call)| call.abort());
    under_way(&running, 0).await;
    assert_eq!(code(&reveal(&other).await), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_as_many_streams_as_the_file_says() {
    let site = Site::with_vault("[limits]\nstreams_per_connection = 3\n");
    let running = site.start();
    let mut rude = knock(&running.address().to_string(), server_id(), &files(&site, "rude")).await;
    assert_eq!(begin_calls(&mut rude, 4).await, [7], "the fourth stream is refused, and no other");
    under_way(&running, 3).await;
    // Who heeds what the server says waits instead.
    let polite = channel(&site, &running, &workload("polite")).await;
    let mut held: Vec<_> = (0..3).map(|_| slow(&polite, Method::RevealSecret)).collect();
    under_way(&running, 6).await;
    let fourth = tokio::spawn({
        let polite = polite.clone();
        async move { reveal(&polite).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!fourth.is_finished(), "it waits");
    held.pop().expect("one of three").1.abort();
    let answer = tokio::time::timeout(PATIENCE, fourth).await.expect("in time").expect("no panic");
    assert_eq!(code(&answer), Code::Unavailable, "the vault is sealed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_ends_when_the_file_says_and_not_before() {
    let site = Site::with_vault("[limits]\nidle_timeout_s = 10\n");
    let running = site.start();
    let address = running.address().to_string();
    let mut talking = knock(&address, server_id(), &files(&site, "talking")).await;
    let begin = Instant::now();
    let silent = tokio::spawn(until_ended(knock(&address, server_id(), &files(&site, "silent")).await));
    while !silent.is_finished() {
        assert!(is_there(&mut talking).await, "who says something stays");
        assert!(begin.elapsed() < PATIENCE, "nobody ends it");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (_, ended) = silent.await.expect("no panic");
    let idle = (ended - begin).as_secs_f64();
    assert!((10.0..14.0).contains(&idle), "{idle} s");
    assert!(is_there(&mut talking).await, "it is older than that, and not idle");
}

/// The shortest life that the file may give: clients are asked to leave a minute before, or after a second.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_asked_to_leave_and_cut_at_the_age_that_the_file_says() {
    let site = Site::with_vault("[limits]\nconnection_age_max_s = 60\n");
    let running = site.start();
    let begin = Instant::now();
    let stream = knock(&running.address().to_string(), server_id(), &files(&site, "old")).await;
    let (asked, ended) = tokio::time::timeout(Duration::from_secs(100), until_ended(stream)).await.expect("nobody ends it");
    let asked = (asked.expect("it is asked first") - begin).as_secs_f64();
    assert!((1.0..5.0).contains(&asked), "asked after {asked} s");
    let age = (ended - begin).as_secs_f64();
    assert!((60.0..64.0).contains(&age), "cut after {age} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_worth_as_many_calls_as_it_has_items() {
    let site = Site::with_vault("[limits]\ncalls_per_principal_per_s = 1\ncalls_per_principal_burst = 30\n");
    let running = site.start();
    let (one, other) = (channel(&site, &running, &workload("one")).await, channel(&site, &running, &workload("other")).await);
    let items = (0..256).map(|number| api::RevealBatchItem { name: format!("shop/{number}"), version: 0 }).collect();
    let batch = api::RevealBatchRequest { items, reason: String::new(), ticket: String::new() }.encode_to_vec();
    let ask = |channel| send(channel, Method::RevealBatch.path(), batch.clone());
    // The vault is sealed; it is charged all the same, and more than a full bucket holds is no reason to refuse it for ever.
    assert_eq!(code(&ask(&one).await), Code::Unavailable);
    for answer in [ask(&one).await, reveal(&one).await] {
        let delay = assert_exhausted(&answer, "more often than a principal may").as_secs();
        assert!((150..=256 + 1 - 30).contains(&delay), "{delay} s");
    }
    assert_eq!(code(&reveal(&other).await), Code::Unavailable, "another one is served");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_a_second_are_counted_for_each_over_all_of_its_connections() {
    let site = Site::with_vault("[limits]\ncalls_per_principal_per_s = 1\ncalls_per_principal_burst = 30\n");
    let running = site.start();
    let (one, other) = (channel(&site, &running, &workload("one")).await, channel(&site, &running, &workload("other")).await);
    let begin = Instant::now();
    let mut served = 0;
    let refusal = loop {
        let answer = reveal(&one).await;
        if code(&answer) != Code::Unavailable {
            break answer;
        }
        served += 1;
        assert!(served < 1_000, "nobody stops it");
    };
    // A slow machine fills the bucket meanwhile.
    let refilled = begin.elapsed().as_secs() + 1;
    assert!((30..=30 + refilled).contains(&served), "{served} calls in {:?}", begin.elapsed());
    let delay = assert_exhausted(&refusal, "more often than a principal may");
    assert!(delay > Duration::ZERO && delay <= Duration::from_secs(1), "{delay:?}");
    assert_exhausted(&reveal(&channel(&site, &running, &workload("one")).await).await, "more often");
    assert_eq!(code(&reveal(&other).await), Code::Unavailable, "another one is served");
    // It is told of, but not once for each.
    for _ in 0..100 {
        let _ = reveal(&one).await;
    }
    let metrics = crate::operations::get(&running, "/metrics").await.1;
    let counted = metrics.lines().find_map(|line| line.strip_prefix("strongroom_calls_refused_total{reason=\"too_fast\"} "));
    assert!(counted.is_some_and(|count| count.parse::<u32>().expect("a number") >= 95), "{counted:?}");
    assert!(running.stop());
    let lines: String = site.files("audit").into_iter().map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned()).collect();
    let written = lines.matches("\"outcome\":\"too_fast\"").count();
    assert!((1..=10).contains(&written), "{written} entries in full");
    assert!(lines.contains("\"event\":\"summary\""), "and the rest counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_finishes_what_it_began_until_its_deadline() {
    let site = Site::with_vault("[limits]\ndrain_timeout_s = 2\n");
    let running = site.start_open().await;
    let (quick, stuck) = (channel(&site, &running, &workload("quick")).await, channel(&site, &running, &workload("stuck")).await);
    let (message, finished) = slow(&quick, Method::RevealSecret);
    let (_never, cut) = slow(&stuck, Method::RevealSecret);
    under_way(&running, 2).await;
    let address = running.address();
    let stopping = tokio::task::spawn_blocking(move || running.stop_and_read());
    // It takes nobody new.
    let begin = Instant::now();
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        assert!(begin.elapsed() < PATIENCE, "it still listens");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    message.send(api::RevealSecretRequest { name: "no/such".to_owned(), ..Default::default() }.encode_to_vec()).await.expect("it waits");
    drop(message);
    assert_eq!(code(&finished.await.expect("no panic")), Code::NotFound, "it is answered");
    let log = tokio::time::timeout(PATIENCE, stopping).await.expect("it ends").expect("no panic");
    assert!(log.contains("still under way at the deadline"), "{log}");
    assert!(cut.await.expect("no panic").is_err());
}
