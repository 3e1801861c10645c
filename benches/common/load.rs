//! The load: connections with calls in flight on each, one call after the other, until the time is up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use strongroom::api::secret_service_client::SecretServiceClient;
use strongroom::api::{CreateSecretRequest, RevealSecretRequest};
use strongroom::client::tls::{ClientFiles, ClientTls, Timeouts, connect};
use tonic::transport::Channel;

/// How often a long load says how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// `RevealSecret` of one of the secrets that are there.
    Reveal,
    /// `CreateSecret` under a new name.
    Put,
    /// `CreateSecret` of each secret that is to be there, once.
    Fill,
}

/// How the calls come: so many connections, with so many calls in flight on each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    pub(crate) calls: usize,
}

/// An order for the load process, as JSON in its first argument.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) address: String,
    pub(crate) ca: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) kind: Kind,
    pub(crate) shape: Shape,
    /// Distinguishes the names that this run creates or draws from those of other runs.
    pub(crate) run: u64,
    pub(crate) seconds: f64,
    pub(crate) secrets: u64,
    pub(crate) payload_bytes: usize,
}

/// What came of it, as JSON on standard output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) calls: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
}

/// Carries out an order. Any call that fails ends it.
pub(crate) async fn run(order: Order) -> Outcome {
    let channels = connect_all(&order).await;
    let next = Arc::new(AtomicU64::new(0));
    let order = Arc::new(order);
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(order.seconds);
    let callers: Vec<_> = channels
        .iter()
        .flat_map(|channel| std::iter::repeat_n(channel, order.shape.calls))
        .map(|channel| tokio::spawn(caller(order.clone(), SecretServiceClient::new(channel.clone()), next.clone(), end)))
        .collect();
    let progress = (order.kind == Kind::Fill).then(|| tokio::spawn(tell_progress(next.clone(), order.secrets)));
    let mut latencies = Vec::new();
    for caller in callers {
        latencies.extend(caller.await.expect("no call failed"));
    }
    let seconds = begin.elapsed().as_secs_f64();
    progress.inspect(tokio::task::JoinHandle::abort);
    latencies.sort_unstable();
    let quantile = |of: usize| latencies.get(latencies.len() * of / 100).copied().unwrap_or(0);
    Outcome { calls: latencies.len() as u64, seconds, p50_us: quantile(50), p99_us: quantile(99) }
}

async fn tell_progress(next: Arc<AtomicU64>, secrets: u64) {
    loop {
        tokio::time::sleep(PROGRESS).await;
        eprintln!("stored {} of {secrets} secrets", next.load(Ordering::Relaxed).min(secrets));
    }
}

async fn connect_all(order: &Order) -> Vec<Channel> {
    let files = ClientFiles { roots: (&order.ca).into(), certificate: (&order.certificate).into(), key: (&order.key).into() };
    let tls = ClientTls::from_files(&files, "spiffe://apps.test/strongroom".parse::<strongroom::model::SpiffeId>().expect("an id"))
        .expect("files of the site");
    let mut channels = Vec::new();
    for _ in 0..order.shape.connections {
        channels.push(connect(&order.address, &tls, Timeouts::default()).await.expect("connected"));
    }
    channels
}

async fn caller(order: Arc<Order>, mut client: SecretServiceClient<Channel>, next: Arc<AtomicU64>, end: Instant) -> Vec<u64> {
    let mut latencies = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let is_over = match order.kind {
            Kind::Fill => number >= order.secrets,
            Kind::Reveal | Kind::Put => Instant::now() >= end,
        };
        if is_over {
            return latencies;
        }
        let begin = Instant::now();
        match order.kind {
            Kind::Reveal => {
                let name = format!("bench/s/{}", drawn(order.run, number) % order.secrets);
                let answer = client.reveal_secret(RevealSecretRequest { name, ..Default::default() }).await.expect("revealed");
                assert_eq!(answer.into_inner().payload.len(), order.payload_bytes);
            }
            Kind::Put => drop(client.create_secret(new_secret(&order, format!("bench/p/{}/{number}", order.run))).await.expect("stored")),
            Kind::Fill => drop(client.create_secret(new_secret(&order, format!("bench/s/{number}"))).await.expect("stored")),
        }
        latencies.push(u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
}

/// As good as drawn, but the same in each run of this number: the finalizer of `SplitMix64`.
const fn drawn(run: u64, number: u64) -> u64 {
    let mut bits = (run << 40).wrapping_add(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

fn new_secret(order: &Order, name: String) -> CreateSecretRequest {
    CreateSecretRequest { name, payload: vec![b'x'; order.payload_bytes], ..Default::default() }
}
