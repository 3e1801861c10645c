//! The processes of a bench: servers and the load each have one of their own, so that one's CPU time is not another's.

use std::env;
use std::fs;
use std::process::{Command, Stdio};

use super::echo::{self, Manner};
use super::harness::{Running, Site, workload};
use super::load::{self, Kind, Order, Outcome, Shape};

/// Which part of the bench this process plays; absent in the one that drives the others.
const ROLE: &str = "STRONGROOM_BENCH_ROLE";
/// Of each secret.
pub(crate) const PAYLOAD_BYTES: usize = 256;
/// Of a second: the unit of /proc/PID/stat on Linux.
pub(crate) const CLOCK_TICKS: f64 = 100.0;

/// One run of the load against one server.
pub(crate) struct Measured {
    pub(crate) outcome: Outcome,
    pub(crate) cpu_us_per_call: f64,
}

impl Measured {
    pub(crate) fn calls_per_s(&self) -> f64 {
        self.outcome.calls as f64 / self.outcome.seconds
    }
}

/// Plays the part that this process was started for. `false`: it is to drive the others.
pub(crate) async fn play() -> bool {
    let argument = || env::args().nth(1).expect("an argument");
    match env::var(ROLE).as_deref() {
        Ok("echo") => echo::serve(Manner::Bare, argument().as_ref(), PAYLOAD_BYTES).await,
        Ok("tuned echo") => echo::serve(Manner::Tuned, argument().as_ref(), PAYLOAD_BYTES).await,
        Ok("load") => {
            let order = serde_json::from_str(&argument()).expect("an order in JSON");
            println!("{}", serde_json::to_string(&load::run(order).await).expect("JSON"));
        }
        _ => return false,
    }
    true
}

/// An echo with the certificates of a site.
pub(crate) fn start_echo(site: &Site, role: &str) -> Running {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.env(ROLE, role).arg(site.path("strongroom.toml"));
    Running::of(command).unwrap_or_else(|log| panic!("the echo did not start: {log}"))
}

/// An order for a load on a server, as the site's backend.
pub(crate) fn order(site: &Site, running: &Running, kind: Kind, shape: Shape, secrets: u64) -> Order {
    let files = site.credentials(&workload("backend"));
    let path = |path: std::path::PathBuf| path.display().to_string();
    Order {
        address: running.address().to_string(),
        ca: path(files.ca),
        certificate: path(files.certificate),
        key: path(files.key),
        kind,
        shape,
        run: 0,
        seconds: 0.0,
        secrets,
        payload_bytes: PAYLOAD_BYTES,
    }
}

/// Lets a process of its own carry out an order. What it has to say on the way goes to standard error.
pub(crate) fn call(order: &Order) -> Outcome {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.env(ROLE, "load").arg(serde_json::to_string(order).expect("JSON")).stderr(Stdio::inherit());
    let output = command.output().expect("it ran");
    assert!(output.status.success(), "the load failed: {}", output.status);
    serde_json::from_slice(&output.stdout).expect("an outcome in JSON")
}

/// The same, and the server's CPU time for it.
pub(crate) fn measure(running: &Running, order: &Order) -> Measured {
    let before = cpu_ticks(running.pid());
    let outcome = call(order);
    let ticks = cpu_ticks(running.pid()) - before;
    let cpu_us_per_call = ticks / CLOCK_TICKS * 1e6 / outcome.calls.max(1) as f64;
    Measured { outcome, cpu_us_per_call }
}

/// User and system time of a process: fields 14 and 15 of its stat (proc(5)).
pub(crate) fn cpu_ticks(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // The name in brackets may hold spaces.
    let fields: Vec<_> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    [11, 12].iter().map(|field| fields[*field].parse::<f64>().expect("a number")).sum()
}
