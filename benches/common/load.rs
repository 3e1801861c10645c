//! The load: connections with calls in flight on each, one call after the other, until the time is up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use strongroom::api::secret_service_client::SecretServiceClient;
use strongroom::api::{CreateSecretRequest, RevealSecretRequest};
use strongroom::client::tls::{ClientFiles, ClientTls, Timeouts, connect};
use tonic::transport::Channel;

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

/// An order for the load process, as JSON in its first argument.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) address: String,
    pub(crate) ca: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) kind: Kind,
    /// Distinguishes the names that this run creates from those of other runs.
    pub(crate) run: u64,
    pub(crate) seconds: f64,
    pub(crate) connections: usize,
    pub(crate) calls: usize,
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
        .flat_map(|channel| std::iter::repeat_n(channel, order.calls))
        .map(|channel| tokio::spawn(caller(order.clone(), SecretServiceClient::new(channel.clone()), next.clone(), end)))
        .collect();
    let mut latencies = Vec::new();
    for caller in callers {
        latencies.extend(caller.await.expect("no call failed"));
    }
    let seconds = begin.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let quantile = |of: usize| latencies.get(latencies.len() * of / 100).copied().unwrap_or(0);
    Outcome { calls: latencies.len() as u64, seconds, p50_us: quantile(50), p99_us: quantile(99) }
}

async fn connect_all(order: &Order) -> Vec<Channel> {
    let files = ClientFiles { roots: (&order.ca).into(), certificate: (&order.certificate).into(), key: (&order.key).into() };
    let tls = ClientTls::from_files(&files, "spiffe://apps.test/strongroom".parse().expect("an id")).expect("files of the site");
    let mut channels = Vec::new();
    for _ in 0..order.connections {
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
                // A step that shares no factor with any plausible number of secrets visits all of them.
                let name = format!("bench/s/{}", number.wrapping_mul(7_919) % order.secrets);
                let answer = client.reveal_secret(RevealSecretRequest { name, ..Default::default() }).await.expect("revealed");
                assert_eq!(answer.into_inner().payload.len(), order.payload_bytes);
            }
            Kind::Put => drop(client.create_secret(new_secret(&order, format!("bench/p/{}/{number}", order.run))).await.expect("stored")),
            Kind::Fill => drop(client.create_secret(new_secret(&order, format!("bench/s/{number}"))).await.expect("stored")),
        }
        latencies.push(u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
}

fn new_secret(order: &Order, name: String) -> CreateSecretRequest {
    CreateSecretRequest { name, payload: vec![b'x'; order.payload_bytes], ..Default::default() }
}
