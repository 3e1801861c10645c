//! What comes again and again fills no log: the first few entries in full, then a count.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use strongroom::client::Page;
use tonic::Code;

use crate::harness::{Site, person, workload};
use crate::operations::comes_to;
use crate::proofs::is_turned_away;
use crate::stage::named;
use crate::strangers::CROWDED;
use crate::wire::refused;

/// Entries in full of one caller and method, or of one network, in a minute.
const IN_FULL: usize = 10;
const TIMES: usize = 40;

/// The audit log of a server that has ended.
pub(crate) fn entries(site: &Site) -> Vec<Value> {
    let mut segments = site.files("audit");
    segments.sort();
    let text: String = segments.iter().map(|(_, content)| String::from_utf8_lossy(content).replace('\0', "")).collect();
    text.lines().map(|line| serde_json::from_str(line).expect("one object of JSON a line")).collect()
}

/// How many stand there in full, and how many a summary counts.
fn count(entries: &[Value], is_it: impl Fn(&Value) -> bool) -> (usize, u64) {
    let (summaries, full): (Vec<_>, Vec<_>) = entries.iter().filter(|entry| is_it(entry)).partition(|entry| entry["event"] == "summary");
    let counted = summaries
        .iter()
        .map(|entry| entry["detail"]["counted"].as_str().and_then(|text| text.parse::<u64>().ok()).expect("a number"))
        .sum();
    (full.len(), counted)
}

/// A connection from another address of the loopback network than everybody else's.
pub(crate) async fn silent_stranger(to: SocketAddr) -> tokio::net::TcpStream {
    silent_stranger_from(2, to).await
}

async fn silent_stranger_from(host: u8, to: SocketAddr) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, host], 0).into()).expect("bound");
    socket.connect(to).await.expect("connected")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_take_every_handshake() {
    let site = Site::with_vault("[limits]\nhandshakes_max = 8\nhandshakes_per_address_max = 4\n");
    let running = site.start_open().await;
    let mut silent = Vec::new();
    for _ in 0..16 {
        silent.push(silent_stranger(running.address()).await);
    }
    site.client(&running, &person("ana")).await.list_roles(Page::default()).await.expect("served all the same");
    drop(silent);
    assert!(running.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_addresses_take_no_more_handshakes_than_there_are() {
    let limits = "[limits]\nhandshakes_max = 8\nhandshakes_per_address_max = 4\nhandshake_timeout_s = 30\n";
    let site = Site::with_vault(limits);
    let running = site.start_open().await;
    let mut silent = Vec::new();
    for number in 0..16 {
        silent.push(silent_stranger_from(2 + number % 4, running.address()).await);
    }
    comes_to(&running, CROWDED, 8..=8).await;
    assert!(is_turned_away(&running, site.credentials(&person("ana"))).await, "a ninth");
    drop(silent);
    let begin = Instant::now();
    while is_turned_away(&running, site.credentials(&person("ana"))).await {
        assert!(begin.elapsed() < Duration::from_secs(10), "their places do not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(running.stop());
}

// immune: row-67
#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_denied_callers_are_counted_and_do_not_fill_the_log() {
    let site = Site::with_vault("");
    let running = site.start_open().await;
    let denied = workload("denied");
    let client = site.client(&running, &denied).await;
    for number in 0..TIMES {
        assert_eq!(refused(&client.describe_secret(&named(format!("shop/{number}"))).await), Code::NotFound);
        let mut stranger = TcpStream::connect(running.address()).expect("connected");
        stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("written");
        // Until the server has had its say.
        drop(std::io::copy(&mut stranger, &mut std::io::sink()));
    }
    // Whoever is let in is served meanwhile.
    site.client(&running, &person("ana")).await.list_roles(Page::default()).await.expect("served");
    assert!(running.stop());
    let entries = entries(&site);
    let all_but = (TIMES - IN_FULL) as u64;
    assert_eq!(count(&entries, |entry| entry["principal"] == denied.as_str()), (IN_FULL, all_but), "{entries:#?}");
    assert_eq!(
        count(&entries, |entry| entry["method"] == "handshake" || entry["detail"]["network"].is_string()),
        (IN_FULL, all_but),
        "{entries:#?}"
    );
}
