//! What a good client feels while somebody floods the server: 99 of 100 of its reveals are answered within this time, over the
//! same at rest. Each flood comes from a process of its own, of the lowest priority, since on the floods' own machine the CPU that
//! they use would be counted to the server. Rest and flood take turns; what is printed is the median of the ratios.
//!
//! `cargo bench --bench floods -- [--rounds N] [--seconds S] [--only NAME]`

#[expect(dead_code, reason = "the integration tests' attacks; the bench uses a part of them")]
#[path = "../tests/integration/attacks.rs"]
mod attacks;
#[expect(dead_code, reason = "what all benches share; this one uses a part of it")]
mod common;

use std::env;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use attacks::{Flood, over_and_over};
use clap::Parser;
use common::figures::{bench, median};
use common::harness::{Running, Site, server_id, workload};
use common::load::{Kind, Shape};
use common::processes::{call, measure, order, play};
use strongroom::client::Credentials;
use strongroom::client::tls::ClientFiles;
use strongroom::model::Environment;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const KIND: &str = "STRONGROOM_BENCH_FLOOD";
/// Connections that flood.
const CONNECTIONS: usize = 4;
/// Connections without a certificate, and without a word.
const STRANGERS: usize = 1_000;
const SECRETS: u64 = 10_000;
/// Two connections with two calls each: there is room left beside it, as on most servers at most times.
const GOOD: Shape = Shape { connections: 2, calls: 2 };

/// Floods by those who have no certificate.
const GARBAGE: &str = "garbage";
const IDLE: &str = "idle_connections";

/// What a good client feels under floods.
#[derive(Parser)]
struct Options {
    /// Measurements of each flood, of which the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each takes.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Only this flood, e.g. ping.
    #[arg(long)]
    only: Option<String>,
    /// What `cargo bench` says.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() {
    if let Ok(kind) = env::var(KIND) {
        return send(&kind, &env::args().skip(1).collect::<Vec<_>>()).await;
    }
    if !play().await {
        drive(&Options::parse()).await;
    }
}

async fn drive(options: &Options) {
    let site = Site::with_vault("");
    let real = site.start_open().await;
    site.make_namespace(&real, "bench", Environment::Stage).await;
    site.bind(&real, "backend", &workload("backend"), Some("bench")).await;
    let mut fill = order(&site, &real, Kind::Fill, Shape { connections: 8, calls: 16 }, SECRETS);
    call(&fill);
    fill.kind = Kind::Reveal;
    let mut good = fill;
    (good.shape, good.seconds) = (GOOD, options.seconds);
    measure(&real, &good);
    let mut worst = (0.0, "");
    for kind in Flood::ALL.iter().map(|kind| kind.word()).chain([GARBAGE, IDLE]) {
        if options.only.as_deref().is_some_and(|only| only != kind) {
            continue;
        }
        let ratios = (0..options.rounds).map(|_| {
            let rest = measure(&real, &good).outcome.p99_us;
            let mut flood = start(&site, &real, kind, options.seconds + 1.0);
            // Until it is at its height.
            std::thread::sleep(Duration::from_millis(500));
            let under = measure(&real, &good).outcome.p99_us;
            flood.wait().expect("it ends");
            under as f64 / rest.max(1) as f64
        });
        let ratio = median(ratios.collect());
        bench(&format!("flood_p99_ratio_{kind}"), ratio, "ratio");
        if ratio > worst.0 {
            worst = (ratio, kind);
        }
    }
    println!("the worst is {}", worst.1);
    bench("flood_p99_ratio", worst.0, "ratio");
    assert!(real.stop(), "the server ends cleanly");
}

fn start(site: &Site, running: &Running, kind: &str, seconds: f64) -> Child {
    let Credentials { ca, certificate, key } = site.credentials(&workload("mallory"));
    let mut command = Command::new("chrt");
    command.args(["--idle", "0"]).arg(env::current_exe().expect("this program")).env(KIND, kind);
    command.arg(running.address().to_string()).args([ca, certificate, key]).arg(seconds.to_string());
    command.stdout(Stdio::null()).spawn().expect("it starts")
}

/// The flooding process.
async fn send(kind: &str, words: &[String]) {
    let [address, ca, certificate, key, seconds] = words else { panic!("address, three files, seconds") };
    let files = ClientFiles { roots: ca.into(), certificate: certificate.into(), key: key.into() };
    let end = Instant::now() + Duration::from_secs_f64(seconds.parse().expect("seconds"));
    let address: SocketAddr = address.parse().expect("an address");
    let connections = match Flood::ALL.iter().find(|flood| flood.word() == kind) {
        Some(flood) => (0..CONNECTIONS).map(|_| tokio::spawn(flooding(*flood, address, files.clone(), end))).collect::<Vec<_>>(),
        None if kind == GARBAGE => (0..CONNECTIONS).map(|_| tokio::spawn(garbage(address, end))).collect(),
        None => (0..STRANGERS).map(|_| tokio::spawn(idle(address, end))).collect(),
    };
    for connection in connections {
        connection.await.expect("no panic");
    }
}

async fn flooding(kind: Flood, address: SocketAddr, files: ClientFiles, end: Instant) {
    over_and_over(kind, address, server_id(), files, end).await;
}

/// From another address of the loopback than the good client's: places for handshakes go by address.
async fn stranger(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind("127.0.0.2:0".parse().expect("an address"))?;
    socket.connect(address).await
}

async fn garbage(address: SocketAddr, end: Instant) {
    while Instant::now() < end {
        let Ok(mut stream) = stranger(address).await else { continue };
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
}

async fn idle(address: SocketAddr, end: Instant) {
    while Instant::now() < end {
        let Ok(mut stream) = stranger(address).await else { continue };
        let left = end.saturating_duration_since(Instant::now());
        let _ = tokio::time::timeout(left, stream.read_to_end(&mut Vec::new())).await;
    }
}
