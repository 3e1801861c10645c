//! What it costs to put a million data keys under a new key version: how fast on one core, what readers notice of it, and how long
//! the inventory of a thousand namespaces takes. A real server in a process of its own, loaded through gRPC over mutual TLS.
//!
//! `cargo bench --bench rotation -- [--secrets N] [--rounds N] [--seconds S] [--namespaces N]`

#[expect(dead_code, reason = "what the benches share; this one measures no echo")]
#[path = "common/mod.rs"]
mod common;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use common::figures::{bench, median};
use common::harness::{PROGRAM, Running, Site, person, workload};
use common::load::{Kind, Order, Shape};
use common::processes::{CLOCK_TICKS, call, cpu_ticks, order, play};
use strongroom::client::{Client, Page, RewrapInfo, RewrapOrder, RewrapState};
use strongroom::model::{Environment, NamespaceName};

/// Many calls at once fill the groups that share a sync.
const LOADING: Shape = Shape { connections: 16, calls: 32 };
/// Readers that do not fill the machine by themselves: it is their waiting that is measured.
const READING: Shape = Shape { connections: 2, calls: 2 };
/// The longest page of a list.
const PAGE: u32 = 1_000;
/// Calls of which the median counts.
const LISTS: usize = 20;
/// As fast as it can.
const UNBOUND: RewrapOrder = RewrapOrder { reencrypt: false, rate_per_s: 1_000_000 };

/// What a rotation costs.
#[derive(Parser)]
struct Options {
    /// How many secrets there are.
    #[arg(long, default_value_t = 1_000_000)]
    secrets: u64,
    /// Pairs of measurements, of which the median counts.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// How long each takes.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Namespaces of the inventory.
    #[arg(long, default_value_t = 1_000)]
    namespaces: usize,
    /// What `cargo bench` says.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() {
    if !play().await {
        drive(&Options::parse()).await;
    }
}

async fn drive(options: &Options) {
    let site = Site::with_vault("");
    let running = site.start_open().await;
    site.make_namespace(&running, "bench", Environment::Stage).await;
    site.bind(&running, "backend", &workload("backend"), Some("bench")).await;
    site.bind(&running, "key-admin", &person("kim"), None).await;
    let filled = call(&order(&site, &running, Kind::Fill, LOADING, options.secrets));
    eprintln!("stored {} secrets in {:.0} s", options.secrets, filled.seconds);
    read_meanwhile(options, &site, &running).await;
    list_namespaces(options, &site, &running).await;
    assert!(running.stop(), "the server ends cleanly");
    let alone = on_one_core(&site).await;
    rewrap(options, &site, &alone).await;
    assert!(alone.stop(), "the server ends cleanly");
}

fn shop() -> NamespaceName {
    "bench".parse().expect("valid")
}

async fn keeper(site: &Site, running: &Running) -> Client {
    site.client(running, &person("kim")).await
}

/// The server with one core for all of its threads.
async fn on_one_core(site: &Site) -> Running {
    let mut command = Command::new("taskset");
    command.args(["-c", "0", PROGRAM, "server", "--config"]).arg(site.path("strongroom.toml")).stdin(Stdio::null());
    let running = Running::of(command).unwrap_or_else(|log| panic!("the server did not start: {log}"));
    site.unseal(&running).await;
    running
}

/// From the order to the end, counting included.
async fn rewrap(options: &Options, site: &Site, running: &Running) {
    let kim = keeper(site, running).await;
    let (begin, before) = (Instant::now(), cpu_ticks(running.pid()));
    kim.rotate_key_and_rewrap(&shop(), 0, UNBOUND, "a bench").await.expect("rotated");
    let ended = until_ended(&kim).await;
    let seconds = begin.elapsed().as_secs_f64();
    let cpu_s = (cpu_ticks(running.pid()) - before) / CLOCK_TICKS;
    assert_eq!((ended.rewrapped, ended.damaged), (options.secrets, 0), "every row, and each once");
    bench("rewrap_records_per_s", ended.rewrapped as f64 / seconds, "records/s");
    bench("rewrap_records_per_cpu_s", ended.rewrapped as f64 / cpu_s, "records/s");
}

async fn until_ended(kim: &Client) -> RewrapInfo {
    let mut watch = kim.watch_rewrap(&shop()).await.expect("begun");
    let mut last = None;
    while let Some(told) = watch.next().await.expect("told") {
        eprintln!("{} of {}, {} rows/s", told.seen, told.total, told.rows_per_s);
        last = Some(told);
    }
    last.expect("it is told at once")
}

/// Reveals while it is paused and while it goes on at its default rate, in turn.
async fn read_meanwhile(options: &Options, site: &Site, running: &Running) {
    let kim = keeper(site, running).await;
    kim.rotate_key_and_rewrap(&shop(), 0, RewrapOrder::default(), "a bench").await.expect("rotated");
    let reveal = |run| call(&Order { run, seconds: options.seconds, ..order(site, running, Kind::Reveal, READING, options.secrets) });
    // Rows are counted first.
    while kim.list_rewraps(Some(&shop()), Page::default()).await.expect("listed").items[0].seen == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (mut ratios, mut rests, mut works) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=options.rounds as u64 {
        kim.pause_rewrap(&shop(), "a bench").await.expect("paused");
        tokio::time::sleep(Duration::from_millis(500)).await;
        let rest = reveal(2 * number).p99_us as f64;
        let resumed = kim.resume_rewrap(&shop(), None, "a bench").await.expect("resumed");
        if resumed.state == RewrapState::Done {
            kim.start_rewrap(&shop(), RewrapOrder { reencrypt: true, rate_per_s: 0 }, "a bench").await.expect("begun anew");
        }
        let work = reveal(2 * number + 1).p99_us as f64;
        eprintln!("p99 {rest:.0} us at rest, {work:.0} us while it goes on");
        ratios.push(work / rest);
        rests.push(rest);
        works.push(work);
    }
    bench("reveal_p99_us_at_rest", median(rests), "us");
    bench("reveal_p99_us_while_rewrapping", median(works), "us");
    bench("reveal_p99_rewrap_over_rest", median(ratios), "ratio");
    kim.resume_rewrap(&shop(), Some(UNBOUND.rate_per_s), "a bench").await.expect("resumed");
    until_ended(&kim).await;
}

/// The inventory in as few calls as may be.
async fn list_namespaces(options: &Options, site: &Site, running: &Running) {
    for number in 1..options.namespaces {
        site.make_namespace(running, &format!("n{number}"), Environment::Stage).await;
    }
    let kim = keeper(site, running).await;
    let mut took_ms = Vec::new();
    for _ in 0..LISTS {
        let (begin, mut token, mut found) = (Instant::now(), String::new(), 0);
        loop {
            let page = kim.list_keys(None, Page { size: PAGE, token }).await.expect("a page");
            found += page.items.len();
            match page.next {
                Some(next) => token = next,
                None => break,
            }
        }
        took_ms.push(begin.elapsed().as_secs_f64() * 1e3);
        assert!(found >= options.namespaces, "the list is whole");
    }
    bench("keys_list_ms_1000ns", median(took_ms), "ms");
}
