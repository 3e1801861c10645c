//! How much of the ceiling is left: the real server against a tonic echo with the same mutual TLS and the same reply, each its
//! own process, loaded in turn from another, in interleaved rounds. There are two echoes: a bare one, tonic as it comes, which
//! is the ceiling; and one that buffers as the real server does, so that what is left is what the vault itself costs. Machines
//! are noisy: what is printed are medians of ratios within a round.
//!
//! `cargo bench --bench read_path -- [--rounds N] [--seconds S] [--secrets N] [--only reveal|put]`

#[path = "common/echo.rs"]
mod echo;
#[expect(dead_code, reason = "the integration tests' harness; the bench uses a part of it")]
#[path = "../tests/integration/harness.rs"]
mod harness;
#[path = "common/load.rs"]
mod load;

use std::env;
use std::fs;
use std::process::Command;

use echo::Manner;
use harness::{Running, Site, workload};
use load::{Kind, Order, Outcome};
use strongroom::model::Environment;

const ROLE: &str = "STRONGROOM_BENCH_ROLE";
const CONNECTIONS: usize = 8;
const CALLS: usize = 16;
const PAYLOAD_BYTES: usize = 256;
/// Of a second: the unit of /proc/PID/stat on Linux.
const CLOCK_TICKS: f64 = 100.0;

struct Options {
    rounds: usize,
    seconds: f64,
    secrets: u64,
    only: Option<Kind>,
}

/// One run of the load against one server.
struct Measured {
    outcome: Outcome,
    cpu_us_per_call: f64,
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
    let argument = || env::args().nth(1).expect("an argument");
    match env::var(ROLE).as_deref() {
        Ok("echo") => echo::serve(Manner::Bare, argument().as_ref(), PAYLOAD_BYTES).await,
        Ok("tuned echo") => echo::serve(Manner::Tuned, argument().as_ref(), PAYLOAD_BYTES).await,
        Ok("load") => {
            let order = serde_json::from_str(&argument()).expect("an order in JSON");
            println!("{}", serde_json::to_string(&load::run(order).await).expect("JSON"));
        }
        _ => drive(&options()).await,
    }
}

fn options() -> Options {
    let mut options = Options { rounds: 10, seconds: 2.0, secrets: 10_000, only: None };
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word} takes a value"));
        match word.as_str() {
            "--bench" => {}
            "--rounds" => options.rounds = value().parse().expect("a number of rounds"),
            "--seconds" => options.seconds = value().parse().expect("a number of seconds"),
            "--secrets" => options.secrets = value().parse().expect("a number of secrets"),
            "--only" => options.only = Some(if value() == "put" { Kind::Put } else { Kind::Reveal }),
            other => panic!("unknown option {other}: --rounds, --seconds, --secrets, --only"),
        }
    }
    options
}

async fn drive(options: &Options) {
    let site = Site::with_vault("");
    let real = site.start_open().await;
    site.make_namespace(&real, "bench", Environment::Stage).await;
    site.bind(&real, "backend", &workload("backend"), Some("bench")).await;
    let servers = [start_echo(&site, "echo"), start_echo(&site, "tuned echo"), real];
    let order = |running: &Running, kind, run, seconds| order(&site, running, kind, run, seconds, options.secrets);
    let filled = call(&order(&servers[Server::Real as usize], Kind::Fill, 0, 0.0));
    println!("stored {} secrets of {PAYLOAD_BYTES} bytes in {:.1} s", filled.calls, filled.seconds);
    for kind in [Kind::Reveal, Kind::Put] {
        if options.only.is_some_and(|only| only != kind) {
            continue;
        }
        for running in &servers {
            measure(running, &order(running, kind, 0, 1.0));
        }
        let rounds: Vec<_> = (1..=options.rounds)
            .map(|run| {
                // Whoever is first in a round is last in the next.
                let mut round = SERVERS.map(|_| None);
                for turn in 0..SERVERS.len() {
                    let server = (run + turn) % SERVERS.len();
                    round[server] = Some(measure(&servers[server], &order(&servers[server], kind, run as u64, options.seconds)));
                }
                round.map(|measured| measured.expect("each had its turn"))
            })
            .collect();
        report(kind, &rounds);
    }
    let [_, _, real] = servers;
    assert!(real.stop(), "the server ends cleanly");
}

fn start_echo(site: &Site, role: &str) -> Running {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.env(ROLE, role).arg(site.path("strongroom.toml"));
    Running::of(command).unwrap_or_else(|log| panic!("the echo did not start: {log}"))
}

fn order(site: &Site, running: &Running, kind: Kind, run: u64, seconds: f64, secrets: u64) -> Order {
    let files = site.credentials(&workload("backend"));
    let path = |path: std::path::PathBuf| path.display().to_string();
    Order {
        address: running.address().to_string(),
        ca: path(files.ca),
        certificate: path(files.certificate),
        key: path(files.key),
        kind,
        run,
        seconds,
        connections: CONNECTIONS,
        calls: CALLS,
        secrets,
        payload_bytes: PAYLOAD_BYTES,
    }
}

/// Lets a process of its own carry out an order.
fn call(order: &Order) -> Outcome {
    let mut command = Command::new(env::current_exe().expect("this program"));
    let output = command.env(ROLE, "load").arg(serde_json::to_string(order).expect("JSON")).output().expect("it ran");
    assert!(output.status.success(), "the load failed, {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("an outcome in JSON")
}

fn measure(running: &Running, order: &Order) -> Measured {
    let before = cpu_ticks(running.pid());
    let outcome = call(order);
    let ticks = cpu_ticks(running.pid()) - before;
    let cpu_us_per_call = ticks / CLOCK_TICKS * 1e6 / outcome.calls.max(1) as f64;
    Measured { outcome, cpu_us_per_call }
}

/// User and system time of a process: fields 14 and 15 of its stat (proc(5)).
fn cpu_ticks(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // The name in brackets may hold spaces.
    let fields: Vec<_> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    [11, 12].iter().map(|field| fields[*field].parse::<f64>().expect("a number")).sum()
}

fn report(kind: Kind, rounds: &[Round]) {
    let name = if kind == Kind::Reveal { "reveal" } else { "put" };
    let rate = |of: &Measured| of.outcome.calls as f64 / of.outcome.seconds;
    let cpu = |of: &Measured| of.cpu_us_per_call;
    let p50 = |of: &Measured| of.outcome.p50_us as f64;
    let p99 = |of: &Measured| of.outcome.p99_us as f64;
    let bench = |what: &str, of: &dyn Fn(&Round) -> f64, unit: &str| {
        let value = median(rounds.iter().map(of).collect());
        println!("BENCH {{\"name\":\"{what}_8x16\",\"value\":{value:.3},\"unit\":\"{unit}\"}}");
    };
    for (echo, over) in [(Server::Echo, "over_echo"), (Server::TunedEcho, "over_tuned_echo")] {
        let ratio = |what: &str, figure: fn(&Measured) -> f64| {
            bench(&format!("{name}_{what}{over}"), &|round| figure(&round[Server::Real as usize]) / figure(&round[echo as usize]), "ratio");
        };
        ratio("", rate);
        ratio("cpu_", cpu);
        ratio("p99_", p99);
    }
    for (server, prefix) in [(Server::Real, ""), (Server::Echo, "echo_"), (Server::TunedEcho, "tuned_echo_")] {
        let plain = |what: &str, figure: fn(&Measured) -> f64, unit: &str| {
            bench(&format!("{prefix}{name}_{what}"), &|round| figure(&round[server as usize]), unit);
        };
        plain("calls_per_s", rate, "calls/s");
        plain("cpu_us", cpu, "us");
        plain("p50_us", p50, "us");
        plain("p99_us", p99, "us");
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] }
}
