//! Answers that nobody reads hold their calls' places until they are gone, so that they take up a bounded amount of memory.

use std::time::{Duration, Instant};

use prost::Message;
use strongroom::api::{self, Method};
use strongroom::client::Client;
use strongroom::client::tls::ClientFiles;
use strongroom::identity::Refusal;
use strongroom::model::{Environment, SpiffeId};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tonic::Code;
use tonic::transport::Channel;

use crate::attacks::{DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, frame, header, knock};
use crate::flood::entries;
use crate::harness::{Running, Site, server_id, workload};
use crate::operations::comes_to;
use crate::stage::{named, opaque};
use crate::wire::{channel, code, refused, send};

const PLACES: usize = 32;
/// Asks whether the server is there (RFC 9113, section 6.7).
const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7];
const NAME: &str = "shop/token";

/// Opens a window of so few bytes for each answer (RFC 9113, section 6.5.2), and reveals as often as it has places.
async fn calls_without_reading(site: &Site, running: &Running, id: &SpiffeId, window: u8, message: &[u8]) -> TlsStream<TcpStream> {
    let initial_window_size = [0, 4, 0, 0, 0, window];
    let credentials = site.credentials(id);
    let files = ClientFiles { roots: credentials.ca, certificate: credentials.certificate, key: credentials.key };
    let mut stream = knock(&running.address().to_string(), server_id(), &files).await;
    let mut bytes = Vec::new();
    frame(&mut bytes, SETTINGS, 0, 0, &initial_window_size);
    let mut whole = vec![0, 0, 0, 0, u8::try_from(message.len()).expect("short")];
    whole.extend(message);
    for call in 0..PLACES {
        let number = u32::try_from(2 * call + 1).expect("small");
        frame(&mut bytes, HEADERS, END_HEADERS, number, &header(Method::RevealSecret));
        frame(&mut bytes, DATA, END_STREAM, number, &whole);
    }
    stream.write_all(&bytes).await.expect("sent");
    stream.flush().await.expect("sent");
    stream
}

/// Waits until the principal's calls are let in again.
async fn is_let_in_again(channel: &Channel, message: &[u8]) {
    let begin = Instant::now();
    while let Err(status) = send(channel, Method::RevealSecret.path(), message.to_vec()).await {
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(begin.elapsed() < Duration::from_secs(20), "still {status:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A vault with one secret that both may reveal, somebody good and a thief.
async fn with_a_thief(limits: &str) -> (Site, Running, Client, SpiffeId) {
    let bounds = format!("calls_max = {}\ncalls_per_principal_max = {PLACES}\n", 2 * PLACES);
    let site = Site::with_vault(&format!("[limits]\n{bounds}{limits}"));
    let running = site.start_open().await;
    let (thief, good) = (workload("thief"), workload("good"));
    site.make_namespace(&running, "shop", Environment::Stage).await;
    site.bind(&running, "backend", &thief, Some("shop")).await;
    site.bind(&running, "backend", &good, Some("shop")).await;
    let client = site.client(&running, &good).await;
    client.create_secret(opaque(&named(NAME), "value")).await.expect("stored");
    (site, running, client, thief)
}

fn the_secret() -> Vec<u8> {
    api::RevealSecretRequest { name: NAME.to_owned(), ..api::RevealSecretRequest::default() }.encode_to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_its_answers_gets_no_more_of_them() {
    let (site, running, client, thief) = with_a_thief("").await;
    let accomplice = workload("accomplice");
    site.bind(&running, "backend", &accomplice, Some("shop")).await;
    let message = the_secret();
    let (mut unread, mut others) = (Vec::new(), Vec::new());
    // One lets nothing of an answer come, the other its first byte: then the rest lies ready behind it.
    for (id, window) in [(&thief, 0), (&accomplice, 1)] {
        client.describe_secret(&named(NAME)).await.expect("others have places of their own");
        unread.push(calls_without_reading(&site, &running, id, window, &message).await);
        let answered = (PLACES * unread.len()) as u64;
        comes_to(&running, "strongroom_grpc_calls_total{method=\"RevealSecret\",code=\"OK\"}", answered..=answered).await;
        let other = channel(&site, &running, id).await;
        for _ in 0..3 {
            let refused = send(&other, Method::RevealSecret.path(), message.clone()).await;
            assert_eq!(code(&refused), Code::ResourceExhausted, "its answers are still there, {window} bytes of each read");
        }
        others.push(other);
    }
    assert_eq!(refused(&client.describe_secret(&named(NAME)).await), Code::ResourceExhausted, "all places are taken");
    drop(unread);
    for other in &others {
        is_let_in_again(other, &message).await;
    }
    client.describe_secret(&named(NAME)).await.expect("there is room again");
    assert!(running.stop());
}

/// It keeps its connection busy all the while, so that it is not idle.
#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_its_answers_is_cut_off_and_on_record() {
    let (site, running, _, thief) = with_a_thief("request_timeout_s = 1\n").await;
    let message = the_secret();
    let mut unread = calls_without_reading(&site, &running, &thief, 0, &message).await;
    let other = channel(&site, &running, &thief).await;
    let begin = Instant::now();
    let mut refused = 0;
    while code(&send(&other, Method::RevealSecret.path(), message.clone()).await) == Code::ResourceExhausted {
        refused += 1;
        assert!(begin.elapsed() < Duration::from_secs(20), "it keeps its places");
        let _ = unread.write_all(&PING).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(refused > 3, "let in after {refused} refusals: its answers were not waited for");
    let why = Refusal::Unread.why();
    comes_to(&running, &format!("strongroom_connections_refused_total{{reason=\"{why}\"}}"), 1..=1).await;
    assert!(running.stop());
    let entries = entries(&site);
    assert!(entries.iter().any(|entry| entry["outcome"] == why && entry["principal"] == thief.to_string()), "{entries:#?}");
}

/// One call of health's or reflection's may go on for ever.
#[tokio::test(flavor = "multi_thread")]
async fn who_watches_health_holds_places_of_its_own_alone() {
    // As many watch as there are places in all: none of those may be held.
    let site = Site::with_vault(&format!("[limits]\ncalls_max = {PLACES}\ncalls_per_principal_max = {PLACES}\n"));
    let running = site.start_open().await;
    let (watcher, good) = (workload("watcher"), workload("good"));
    site.make_namespace(&running, "shop", Environment::Stage).await;
    site.bind(&running, "backend", &good, Some("shop")).await;
    let client = site.client(&running, &good).await;
    client.create_secret(opaque(&named(NAME), "value")).await.expect("stored");
    let channel = channel(&site, &running, &watcher).await;
    let mut watches = Vec::new();
    let watch = || async {
        let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
        health.watch(tonic_health::pb::HealthCheckRequest { service: String::new() }).await
    };
    for _ in 0..PLACES {
        watches.push(watch().await.expect("watched"));
    }
    assert_eq!(watch().await.map(drop).map_err(|status| status.code()), Err(Code::ResourceExhausted));
    for _ in 0..64 {
        client.describe_secret(&named(NAME)).await.expect("others have places of their own");
    }
    drop(watches);
    let begin = Instant::now();
    while let Err(status) = watch().await {
        assert!(begin.elapsed() < Duration::from_secs(20), "still {status:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(running.stop());
}
