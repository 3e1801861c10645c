//! How much of the ceiling is left: the real server against a bare tonic echo with the same mutual TLS and the same reply,
//! each its own process, loaded in turn from a third, in interleaved pairs. Machines are noisy: what is printed are medians
//! of ratios within a pair.
//!
//! `cargo bench --bench read_path -- [--pairs N] [--seconds S] [--secrets N] [--only reveal|put]`

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
    pairs: usize,
    seconds: f64,
    secrets: u64,
    only: Option<Kind>,
}

/// One run of the load against one server.
struct Measured {
    outcome: Outcome,
    cpu_us_per_call: f64,
}

/// The runs of one pair: the echo's and the real server's.
struct Pair {
    echo: Measured,
    real: Measured,
}

#[tokio::main]
async fn main() {
    match env::var(ROLE).as_deref() {
        Ok("echo") => echo::serve(env::args().nth(1).expect("a configuration").as_ref(), PAYLOAD_BYTES).await,
        Ok("load") => {
            let order = serde_json::from_str(&env::args().nth(1).expect("an order")).expect("an order in JSON");
            println!("{}", serde_json::to_string(&load::run(order).await).expect("JSON"));
        }
        _ => drive(&options()).await,
    }
}

fn options() -> Options {
    let mut options = Options { pairs: 10, seconds: 2.0, secrets: 10_000, only: None };
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word} takes a value"));
        match word.as_str() {
            "--bench" => {}
            "--pairs" => options.pairs = value().parse().expect("a number of pairs"),
            "--seconds" => options.seconds = value().parse().expect("a number of seconds"),
            "--secrets" => options.secrets = value().parse().expect("a number of secrets"),
            "--only" => options.only = Some(if value() == "put" { Kind::Put } else { Kind::Reveal }),
            other => panic!("unknown option {other}: --pairs, --seconds, --secrets, --only"),
        }
    }
    options
}

async fn drive(options: &Options) {
    let site = Site::with_vault("");
    let real = site.start_open().await;
    site.make_namespace(&real, "bench", Environment::Stage).await;
    site.bind(&real, "backend", &workload("backend"), Some("bench")).await;
    let echo = start_echo(&site);
    let order = |running: &Running, kind, run, seconds| order(&site, running, kind, run, seconds, options.secrets);
    let filled = call(&order(&real, Kind::Fill, 0, 0.0));
    println!("stored {} secrets of {PAYLOAD_BYTES} bytes in {:.1} s", filled.calls, filled.seconds);
    for kind in [Kind::Reveal, Kind::Put] {
        if options.only.is_some_and(|only| only != kind) {
            continue;
        }
        for running in [&echo, &real] {
            measure(running, &order(running, kind, 0, 1.0));
        }
        let pairs: Vec<_> = (1..=options.pairs as u64)
            .map(|run| {
                // Whoever is first in a pair is second in the next.
                let (first, second) = if run % 2 == 0 { (&real, &echo) } else { (&echo, &real) };
                let one = measure(first, &order(first, kind, run, options.seconds));
                let other = measure(second, &order(second, kind, run, options.seconds));
                if run % 2 == 0 { Pair { echo: other, real: one } } else { Pair { echo: one, real: other } }
            })
            .collect();
        report(kind, &pairs);
    }
    assert!(real.stop(), "the server ends cleanly");
}

fn start_echo(site: &Site) -> Running {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.env(ROLE, "echo").arg(site.path("strongroom.toml"));
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
    assert!(output.status.success(), "a call failed: {}", String::from_utf8_lossy(&output.stderr));
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

fn report(kind: Kind, pairs: &[Pair]) {
    let name = if kind == Kind::Reveal { "reveal" } else { "put" };
    let rate = |of: &Measured| of.outcome.calls as f64 / of.outcome.seconds;
    let median = |of: &dyn Fn(&Pair) -> f64| {
        let mut values: Vec<_> = pairs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let bench = |what: &str, value: f64, unit: &str| println!("BENCH {{\"name\":\"{what}\",\"value\":{value:.3},\"unit\":\"{unit}\"}}");
    bench(&format!("{name}_over_echo_8x16"), median(&|pair| rate(&pair.real) / rate(&pair.echo)), "ratio");
    bench(&format!("{name}_cpu_over_echo_8x16"), median(&|pair| pair.real.cpu_us_per_call / pair.echo.cpu_us_per_call), "ratio");
    bench(
        &format!("{name}_p99_over_echo_8x16"),
        median(&|pair| pair.real.outcome.p99_us as f64 / pair.echo.outcome.p99_us as f64),
        "ratio",
    );
    bench(&format!("{name}_calls_per_s_8x16"), median(&|pair| rate(&pair.real)), "calls/s");
    bench(&format!("echo_{name}_calls_per_s_8x16"), median(&|pair| rate(&pair.echo)), "calls/s");
    bench(&format!("{name}_cpu_us_8x16"), median(&|pair| pair.real.cpu_us_per_call), "us");
    bench(&format!("echo_{name}_cpu_us_8x16"), median(&|pair| pair.echo.cpu_us_per_call), "us");
    bench(&format!("{name}_p50_us_8x16"), median(&|pair| pair.real.outcome.p50_us as f64), "us");
    bench(&format!("{name}_p99_us_8x16"), median(&|pair| pair.real.outcome.p99_us as f64), "us");
}
