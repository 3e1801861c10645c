//! What a million secrets cost: memory, disk, start, reveals and lists of a real server, each in a process of its own, beside
//! a server with 10,000 of them and an echo. All of them are loaded through gRPC over mutual TLS.
//!
//! `cargo bench --bench scale -- [--secrets N] [--rounds N] [--seconds S] [--cache-mib M]`

#[path = "common/mod.rs"]
mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Parser;
use common::figures::{bench, median};
use common::harness::{PASSPHRASE, Running, Site, person, workload};
use common::load::{Kind, Order, Shape};
use common::processes::{Measured, PAYLOAD_BYTES, call, measure, order, play, start_echo};
use strongroom::client::{ChangeKind, Client, NewSecret, Page, Reveal, Watch};
use strongroom::model::{Clock, Environment, SecretBytes, SystemClock};

/// Many calls at once fill the groups that share a sync.
const LOADING: Shape = Shape { connections: 16, calls: 32 };
const READING: Shape = Shape { connections: 8, calls: 16 };
/// What the cost of a reveal is compared with.
const FEW_SECRETS: u64 = 10_000;
/// The first finds a log that no table of pages describes yet.
const RESTARTS: usize = 5;
/// The default, and the longest that may be asked for.
const PAGES: [(u32, &str); 2] = [(100, "list_page_ms_1m"), (1_000, "list_page_of_1000_ms_1m")];

/// What a million secrets cost.
#[derive(Parser)]
struct Options {
    /// How many there are.
    #[arg(long, default_value_t = 1_000_000)]
    secrets: u64,
    /// Measurements, of which the median counts.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// How long each takes.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// The store's cache in MiB [default: the server's]
    #[arg(long)]
    cache_mib: Option<u64>,
    /// What `cargo bench` says.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Values that will soon expire, among all the others.
const EXPIRING: usize = 20;

/// A server with secrets in it.
struct Filled {
    site: Site,
    running: Running,
    secrets: u64,
}

#[tokio::main]
async fn main() {
    if !play().await {
        drive(&Options::parse()).await;
    }
}

async fn drive(options: &Options) {
    let many = Filled::with(options.secrets, options.cache_mib).await;
    let after_load = mib(many.running.resident_bytes());
    bench("disk_over_payload_1m", many.disk_bytes() / (options.secrets as f64 * PAYLOAD_BYTES as f64), "ratio");
    let many = many.restart().await;

    let few = Filled::with(FEW_SECRETS.min(options.secrets), options.cache_mib).await;
    let echo = start_echo(&many.site, "echo");
    read(options, &many, &few, &echo);
    let after_reading = mib(many.running.resident_bytes());
    for (items, name) in PAGES {
        list(&many, items, name).await;
    }
    find_expiring(&many).await;
    let after_listing = mib(many.running.resident_bytes());
    eprintln!("RSS after loading {after_load:.0}, after reading {after_reading:.0}, after listing {after_listing:.0} MiB");
    bench("server_rss_mib_1m", after_load.max(after_reading).max(after_listing), "MiB");
    for filled in [many, few] {
        assert!(filled.running.stop(), "the server ends cleanly");
    }
}

impl Filled {
    async fn with(secrets: u64, cache_mib: Option<u64>) -> Self {
        let store = cache_mib.map_or_else(String::new, |mib| format!("[store]\ncache_bytes = {}\n", mib * 1024 * 1024));
        let site = Site::with_vault(&store);
        let running = site.start_open().await;
        site.make_namespace(&running, "bench", Environment::Stage).await;
        site.bind(&running, "backend", &workload("backend"), Some("bench")).await;
        let filled = call(&order(&site, &running, Kind::Fill, LOADING, secrets));
        eprintln!("stored {secrets} secrets of {PAYLOAD_BYTES} bytes in {:.0} s", filled.seconds);
        if secrets > FEW_SECRETS {
            bench("load_per_s", filled.calls as f64 / filled.seconds, "calls/s");
        }
        Self { site, running, secrets }
    }

    fn disk_bytes(&self) -> f64 {
        bytes_in(&self.site.path("data")) as f64
    }

    /// Ends the server and starts it again, some times over.
    async fn restart(self) -> Self {
        let Self { site, mut running, secrets } = self;
        let (mut starts, mut readies) = (Vec::new(), Vec::new());
        for _ in 0..RESTARTS {
            assert!(running.stop(), "the server ends cleanly");
            let begin = Instant::now();
            running = site.start();
            starts.push(begin.elapsed().as_secs_f64());
            readies.push(seconds_to_ready(&site, &running).await);
            eprintln!("listening after {:.2} s, a reveal {:.2} s after the unseal", starts[starts.len() - 1], readies[readies.len() - 1]);
        }
        bench("start_s_1m", starts[0], "s");
        bench("start_again_s_1m", median(starts.split_off(1)), "s");
        bench("ready_after_unseal_s_1m", median(readies), "s");
        Self { site, running, secrets }
    }

    async fn backend(&self) -> Client {
        self.site.client(&self.running, &workload("backend")).await
    }
}

/// From the request to open the vault to the first value.
async fn seconds_to_ready(site: &Site, running: &Running) -> f64 {
    let cleo = site.client(running, &person("cleo")).await;
    let backend = site.client(running, &workload("backend")).await;
    let begin = Instant::now();
    cleo.unseal(SecretBytes::new(PASSPHRASE.as_bytes().to_vec())).await.expect("unsealed");
    backend.reveal_secret(Reveal::latest(&"bench/s/0".parse().expect("a name"))).await.expect("revealed");
    begin.elapsed().as_secs_f64()
}

/// Reveals of keys drawn over the whole range, from the three servers in turn.
fn read(options: &Options, many: &Filled, few: &Filled, echo: &Running) {
    let run = |site: &Site, running: &Running, secrets, run, seconds| {
        measure(running, &Order { run, seconds, ..order(site, running, Kind::Reveal, READING, secrets) })
    };
    let round = |number: u64, seconds: f64| {
        let of_many = || run(&many.site, &many.running, many.secrets, number, seconds);
        let of_few = || run(&few.site, &few.running, few.secrets, number, seconds);
        // Whoever is first in a round is last in the next.
        let (of_many, of_few, of_echo) = if number.is_multiple_of(2) {
            let measured = of_many();
            let of_echo = run(&many.site, echo, many.secrets, number, seconds);
            (measured, of_few(), of_echo)
        } else {
            let measured = of_few();
            let of_echo = run(&many.site, echo, many.secrets, number, seconds);
            (of_many(), measured, of_echo)
        };
        [of_many, of_few, of_echo]
    };
    round(0, 1.0);
    let rounds: Vec<_> = (1..=options.rounds as u64).map(|number| round(number, options.seconds)).collect();
    let of = |figure: &dyn Fn(&[Measured; 3]) -> f64| median(rounds.iter().map(figure).collect());
    bench("reveal_cost_1m_over_10k", of(&|[many, few, _]| many.cpu_us_per_call / few.cpu_us_per_call), "ratio");
    bench("reveal_over_echo_8x16_1m", of(&|[many, _, echo]| many.calls_per_s() / echo.calls_per_s()), "ratio");
    bench("reveal_cpu_us_1m", of(&|[many, ..]| many.cpu_us_per_call), "us");
    bench("reveal_cpu_us_10k", of(&|[_, few, _]| few.cpu_us_per_call), "us");
    bench("reveal_p99_us_1m", of(&|[many, ..]| many.outcome.p99_us as f64), "us");
}

/// Pages through the whole list, one call after the other.
async fn list(many: &Filled, items: u32, name: &str) {
    let backend = many.backend().await;
    let (mut took_ms, mut found, mut token) = (Vec::new(), 0, String::new());
    loop {
        let begin = Instant::now();
        let page = backend.list_secrets("bench", Page { size: items, token }).await.expect("a page");
        took_ms.push(begin.elapsed().as_secs_f64() * 1e3);
        found += page.items.len() as u64;
        match page.next {
            Some(next) => token = next,
            None => break,
        }
    }
    assert_eq!(found, many.secrets, "the list is whole");
    eprintln!("listed {found} secrets in {} pages of {items}", took_ms.len());
    bench(name, median(took_ms), "ms");
}

/// From the beginning of a watch until it has told of all values that will soon expire, which lie evenly among the others.
async fn find_expiring(many: &Filled) {
    let backend = many.backend().await;
    let week = Duration::from_secs(7 * 24 * 3600);
    let soon = SystemClock.now().plus(week / 7);
    for number in 0..EXPIRING {
        let name = format!("bench/s/soon-{number}").parse().expect("a name");
        backend.create_secret(NewSecret::opaque(&name, SecretBytes::new(vec![7; 256])).expires(soon)).await.expect("stored");
    }
    let begin = Instant::now();
    let mut watch = backend.watch_secrets(Watch::below("bench").expiring_within(week)).await.expect("a watch");
    for _ in 0..EXPIRING {
        let change = watch.next().await.expect("told");
        assert_eq!(change.kind, ChangeKind::Expiring);
    }
    bench("expiring_told_s_1m", begin.elapsed().as_secs_f64(), "s");
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let bytes = |entry: fs::DirEntry| if entry.path().is_dir() { bytes_in(&entry.path()) } else { entry.metadata().expect("a file").len() };
    entries.map(bytes).sum()
}
