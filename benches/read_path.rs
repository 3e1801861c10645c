//! How much of the ceiling is left: the real server against a tonic echo with the same mutual TLS and the same reply, each its
//! own process, loaded in turn from another, in interleaved rounds. There are two echoes: a bare one, tonic as it comes, which
//! is the ceiling; and one that buffers as the real server does, so that what is left is what the vault itself costs. Machines
//! are noisy: what is printed are medians of ratios within a round.
//!
//! `cargo bench --bench read_path -- [--rounds N] [--seconds S] [--secrets N] [--only reveal|put] [--shape 8x16]`

#[path = "common/mod.rs"]
mod common;

use clap::Parser;
use common::figures::{bench, median};
use common::harness::{Running, Site, workload};
use common::load::{Kind, Shape};
use common::processes::{Measured, PAYLOAD_BYTES, call, measure, order, play, start_echo};
use strongroom::model::Environment;

/// One call at a time, a backend's usual load, and more than two cores can take.
const SHAPES: [Shape; 3] = [Shape { connections: 1, calls: 1 }, Shape { connections: 8, calls: 16 }, Shape { connections: 16, calls: 32 }];
/// The one in which creations are measured, too.
const USUAL: Shape = SHAPES[1];

/// How much of the ceiling is left.
#[derive(Parser)]
struct Options {
    /// Measurements, of which the median counts.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// How long each takes.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How many there are to read.
    #[arg(long, default_value_t = 10_000)]
    secrets: u64,
    /// Only reveal or put.
    #[arg(long, value_parser = kind)]
    only: Option<Kind>,
    /// Only this one: 1x1, 8x16 or 16x32.
    #[arg(long, value_parser = shape)]
    shape: Option<Shape>,
    /// What `cargo bench` says.
    #[arg(long, hide = true)]
    bench: bool,
}

fn kind(text: &str) -> Result<Kind, &'static str> {
    match text {
        "reveal" => Ok(Kind::Reveal),
        "put" => Ok(Kind::Put),
        _ => Err("reveal or put"),
    }
}

fn shape(text: &str) -> Result<Shape, &'static str> {
    SHAPES.into_iter().find(|shape| name_of(*shape) == text).ok_or("1x1, 8x16 or 16x32")
}

/// The servers, in the order of a round's runs.
#[derive(Clone, Copy)]
enum Server {
    Echo,
    TunedEcho,
    Real,
}

const SERVERS: [Server; 3] = [Server::Echo, Server::TunedEcho, Server::Real];

/// One run against each, in the order of [`SERVERS`].
type Round = [Measured; SERVERS.len()];

#[tokio::main]
async fn main() {
    if !play().await {
        drive(&Options::parse()).await;
    }
}

fn name_of(Shape { connections, calls }: Shape) -> String {
    format!("{connections}x{calls}")
}

async fn drive(options: &Options) {
    let site = Site::with_vault("");
    let real = site.start_open().await;
    site.make_namespace(&real, "bench", Environment::Stage).await;
    site.bind(&real, "backend", &workload("backend"), Some("bench")).await;
    let servers = [start_echo(&site, "echo"), start_echo(&site, "tuned echo"), real];
    let filled = call(&order(&site, &servers[Server::Real as usize], Kind::Fill, USUAL, options.secrets));
    println!("stored {} secrets of {PAYLOAD_BYTES} bytes in {:.1} s", filled.calls, filled.seconds);
    // The usual shape first: it fills the store for no other.
    for (kind, shape) in [(Kind::Reveal, USUAL), (Kind::Reveal, SHAPES[0]), (Kind::Reveal, SHAPES[2]), (Kind::Put, USUAL)] {
        let is_asked_for = options.only.is_none_or(|only| only == kind) && options.shape.is_none_or(|only| only == shape);
        if is_asked_for {
            let rounds = rounds(options, &site, &servers, kind, shape);
            report(kind, shape, &rounds);
        }
    }
    let [_, _, real] = servers;
    assert!(real.stop(), "the server ends cleanly");
}

fn rounds(options: &Options, site: &Site, servers: &[Running; SERVERS.len()], kind: Kind, shape: Shape) -> Vec<Round> {
    let run = |server: &Running, run, seconds| {
        let order = common::load::Order { run, seconds, ..order(site, server, kind, shape, options.secrets) };
        measure(server, &order)
    };
    for server in servers {
        run(server, 0, 1.0);
    }
    let round = |number| {
        // Whoever is first in a round is last in the next.
        let mut round = SERVERS.map(|_| None);
        for turn in 0..SERVERS.len() {
            let server = (number + turn) % SERVERS.len();
            round[server] = Some(run(&servers[server], number as u64, options.seconds));
        }
        round.map(|measured| measured.expect("each had its turn"))
    };
    (1..=options.rounds).map(round).collect()
}

fn report(kind: Kind, shape: Shape, rounds: &[Round]) {
    let name = if kind == Kind::Reveal { "reveal" } else { "put" };
    let cpu = |of: &Measured| of.cpu_us_per_call;
    let p50 = |of: &Measured| of.outcome.p50_us as f64;
    let p99 = |of: &Measured| of.outcome.p99_us as f64;
    let print = |what: &str, of: &dyn Fn(&Round) -> f64, unit: &str| {
        bench(&format!("{what}_{}", name_of(shape)), median(rounds.iter().map(of).collect()), unit);
    };
    for (echo, over) in [(Server::Echo, "over_echo"), (Server::TunedEcho, "over_tuned_echo")] {
        let ratio = |what: &str, figure: fn(&Measured) -> f64| {
            print(&format!("{name}_{what}{over}"), &|round| figure(&round[Server::Real as usize]) / figure(&round[echo as usize]), "ratio");
        };
        ratio("", Measured::calls_per_s);
        ratio("cpu_", cpu);
        ratio("p99_", p99);
    }
    for (server, prefix) in [(Server::Real, ""), (Server::Echo, "echo_"), (Server::TunedEcho, "tuned_echo_")] {
        let plain = |what: &str, figure: fn(&Measured) -> f64, unit: &str| {
            print(&format!("{prefix}{name}_{what}"), &|round| figure(&round[server as usize]), unit);
        };
        plain("calls_per_s", Measured::calls_per_s, "calls/s");
        plain("cpu_us", cpu, "us");
        plain("p50_us", p50, "us");
        plain("p99_us", p99, "us");
    }
}
