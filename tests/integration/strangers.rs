//! Garbage, and connections by the thousand on which nothing is said: they end in time, hold little memory and no one up.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::attacks::knock;
use crate::flood::silent_stranger;
use crate::harness::{Running, Site, person, server_id};
use crate::hostile::{ROOM_BYTES, files, is_served};
use crate::operations::{comes_to, figure};

const MANY: u64 = 1_000;
const HANDSHAKE: Duration = Duration::from_secs(3);
/// Less than the default is longer.
const SLACK: Duration = Duration::from_millis(1_500);
const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const CROWDED: &str = "strongroom_connections_refused_total{reason=\"too many at once\"}";
/// Room for a thousand at once.
const ROOMY: &str =
    "[limits]\nhandshakes_max = 1024\nhandshakes_per_address_max = 1024\nhandshake_timeout_s = 30\nconnections_max = 2048\n";

const GARBAGE: [&[u8]; 5] = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\xff\xff\x01\x00\xff\xff", // a TLS record that is longer than one may be
    b"\x15\x03\x03\x00\x02\x02\x28",         // an alert
    b"SSH-2.0-OpenSSH_9.9\r\n",
];
/// Nothing, a part of a record's head, and the head of one of 16 KiB of which no more comes.
const UNFINISHED: [&[u8]; 3] = [b"", b"\x16\x03", b"\x16\x03\x01\x40\x00"];

/// How long it takes until the server ends a connection on which this was sent.
async fn time_of(bytes: &'static [u8], address: SocketAddr) -> Duration {
    let ended = move || {
        let begin = Instant::now();
        let mut stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let _ = stream.write_all(bytes);
        // The server has the last word, and ends it, also what is not finished.
        let mut rest = Vec::new();
        if let Err(error) = stream.read_to_end(&mut rest) {
            assert_ne!(error.kind(), ErrorKind::WouldBlock, "{bytes:?} holds a connection");
        }
        assert!(rest.len() < 1_024 && !rest.windows(4).any(|window| window == b"HTTP"), "{rest:?}");
        begin.elapsed()
    };
    tokio::task::spawn_blocking(ended).await.expect("no panic")
}

/// From another address than everybody else's.
async fn thousand(to: SocketAddr) -> Vec<tokio::net::TcpStream> {
    let mut silent = Vec::new();
    for _ in 0..MANY {
        silent.push(silent_stranger(to).await);
    }
    silent
}

/// Somebody good who comes only now is served.
async fn newcomer_is_served(site: &Site, running: &Running) {
    let client = tokio::time::timeout(PATIENCE, site.client(running, &person("ben"))).await.expect("in time");
    is_served(&client).await;
}

/// For the test's own ends of the connections, and for the server, which inherits it.
fn room_for_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("as many as it may have");
}

// immune: row-46
#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_at_once_and_what_is_not_finished_in_time() {
    let site = Site::with_vault(&format!("[limits]\nhandshake_timeout_s = {}\n", HANDSHAKE.as_secs()));
    let running = site.start_open().await;
    let address = running.address();
    let garbage = GARBAGE.map(|bytes| tokio::spawn(time_of(bytes, address)));
    let unfinished = UNFINISHED.map(|bytes| tokio::spawn(time_of(bytes, address)));
    newcomer_is_served(&site, &running).await;
    for (bytes, time) in GARBAGE.iter().zip(garbage) {
        let time = time.await.expect("no panic");
        assert!(time < HANDSHAKE, "{bytes:?} is no handshake, and ended after {time:?}");
    }
    for (bytes, time) in UNFINISHED.iter().zip(unfinished) {
        let time = time.await.expect("no panic");
        assert!((HANDSHAKE..HANDSHAKE + SLACK).contains(&time), "{bytes:?} may go on, and ended after {time:?}");
    }
}

// immune: row-46
#[tokio::test(flavor = "multi_thread")]
async fn strangers_hold_little_memory_and_no_one_up() {
    room_for_files();
    // So long that no place comes back while they come.
    let site = Site::with_vault("[limits]\nhandshake_timeout_s = 30\n");
    let running = site.start_open().await;
    let good = site.client(&running, &person("ana")).await;
    is_served(&good).await;
    let before = running.resident_bytes();
    for round in 0..3 {
        let refused = figure(&running, CROWDED).await;
        let idle = thousand(running.address()).await;
        // All but the 64 handshakes that one address may have by default.
        comes_to(&running, CROWDED, refused + MANY - 64..).await;
        is_served(&good).await;
        newcomer_is_served(&site, &running).await;
        let grown = running.resident_bytes().saturating_sub(before);
        assert!(grown < ROOM_BYTES, "round {round}: {grown} bytes more");
        drop(idle);
    }
}

// immune: row-46
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_handshakes_that_are_let_begin_take_little() {
    room_for_files();
    let site = Site::with_vault(ROOMY);
    let running = site.start_open().await;
    newcomer_is_served(&site, &running).await;
    let (before, descriptors) = (running.resident_bytes(), figure(&running, "process_open_fds").await);
    let idle = thousand(running.address()).await;
    comes_to(&running, "process_open_fds", descriptors + MANY..).await;
    newcomer_is_served(&site, &running).await;
    let grown = running.resident_bytes().saturating_sub(before);
    eprintln!("{} KiB more", grown / 1_024);
    assert!(grown <= 32 << 20, "{grown} bytes more");
    assert_eq!(figure(&running, CROWDED).await, 0);
    drop(idle);
    comes_to(&running, "process_open_fds", ..descriptors + 64).await;
}

// immune: row-46
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_with_a_certificate_take_little() {
    room_for_files();
    let site = Site::with_vault(ROOMY);
    let running = site.start_open().await;
    newcomer_is_served(&site, &running).await;
    let before = running.resident_bytes();
    let address = running.address().to_string();
    let somebody = |number: u64| {
        let (address, files) = (address.clone(), files(&site, &format!("idle-{number}")));
        tokio::spawn(async move {
            let mut held = Vec::new();
            for _ in 0..MANY / 10 {
                held.push(knock(&address, server_id(), &files).await);
            }
            held
        })
    };
    let mut idle = Vec::new();
    for held in (0..10).map(somebody).collect::<Vec<_>>() {
        idle.extend(held.await.expect("no panic"));
    }
    comes_to(&running, "strongroom_connections", MANY..).await;
    newcomer_is_served(&site, &running).await;
    let grown = running.resident_bytes().saturating_sub(before);
    eprintln!("{} KiB more", grown / 1_024);
    assert!(grown <= 64 << 20, "{grown} bytes more");
    drop(idle);
    comes_to(&running, "strongroom_connections", ..64).await;
}
