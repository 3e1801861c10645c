//! Each call to a disk fails once, for each of the reasons that a disk has: a script is run without faults to count the calls
//! that change files, then again and again with another of them failing. `tests/shim/shim.c` makes them fail.
//!
//! Some 90 calls in the data folder and 55 in the log's, with eight reasons each, are about 1,150 runs of half a second. One in
//! [`STRIDE`] is taken, some 28 of them; `STRONGROOM_FAULT_STRIDE=1` takes all.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::harness::{Running, Site};
use crate::script::{self, Cast, Known};
use crate::shim::{Call, Fault, Shim};

/// One run in so many. Prime, so that it meets other calls with each reason.
const STRIDE: usize = 41;
/// Sites that run side by side.
const SITES: usize = 2;
/// How long a server may take to start, to come back, or to end.
const PATIENCE: Duration = Duration::from_secs(60);
const CONFIGURATION: &str = "[audit]\nsegment_bytes = 1048576\nreserve_bytes = 65536\n";
const FOLDERS: [&str; 2] = ["data", "audit"];

/// A reason, as often as it is met.
#[derive(Debug, Clone, Copy)]
struct Reason {
    error: Option<Errno>,
    short_first: bool,
    /// Until it is told to end; otherwise once.
    lasts: bool,
}

const fn once(error: Errno) -> Reason {
    Reason { error: Some(error), short_first: false, lasts: false }
}

const fn lasting(error: Errno) -> Reason {
    Reason { lasts: true, ..once(error) }
}

const REASONS: [Reason; 8] = [
    once(Errno::IO),
    lasting(Errno::IO),
    once(Errno::NOSPC),
    lasting(Errno::NOSPC),
    lasting(Errno::ROFS),
    lasting(Errno::DQUOT),
    Reason { error: None, short_first: true, lasts: false },
    Reason { short_first: true, ..lasting(Errno::NOSPC) },
];

impl Reason {
    fn from(self, first: u64) -> Fault {
        let many = if self.lasts { u64::MAX >> 1 } else { 1 };
        // What was written to a full disk can be synced; a single failure may be that of a sync.
        let spares_syncs = self.lasts && !self.is_broken_disk();
        Fault { first, many, error: self.error, short_first: self.short_first, spares_syncs }
    }

    /// Whether a call fails at all, and is not only cut short.
    fn fails(self) -> bool {
        self.error.is_some()
    }

    /// Whether it is a disk that cannot be relied on any more, and not one that is full.
    fn is_broken_disk(self) -> bool {
        self.error == Some(Errno::IO)
    }
}

/// A vault, made ready, that each run begins with.
struct Place {
    site: Site,
    shim: Shim,
}

/// What a run is about.
struct Trial<'a> {
    place: &'a Place,
    folder: &'static str,
    reason: Option<Reason>,
}

impl Place {
    async fn new() -> Option<Self> {
        let site = Site::new(CONFIGURATION);
        let shim = Shim::new(&site, "faults of disks")?;
        site.make_cheap_vault(CONFIGURATION).await;
        let running = site.start_open().await;
        script::prepare(&site, &running).await;
        assert!(running.stop());
        for folder in FOLDERS {
            std::fs::rename(site.path(folder), site.path(&format!("kept-{folder}"))).expect("moved");
        }
        Some(Self { site, shim })
    }

    fn lay_out(&self) {
        for folder in FOLDERS {
            let to = self.site.path(folder);
            if to.exists() {
                std::fs::remove_dir_all(&to).expect("removed");
            }
            let copied = std::process::Command::new("cp").arg("-a").arg(self.site.path(&format!("kept-{folder}"))).arg(&to).status();
            assert!(copied.expect("cp runs").success());
        }
    }

    async fn start(&self, folder: &str) -> Result<Running, String> {
        let mut command = self.site.command("server");
        self.shim.load(&mut command, Some(&self.site.path(folder)));
        tokio::time::timeout(PATIENCE, aside(move || Running::of(command))).await.expect("a server that starts or ends")
    }

    /// The script without a fault: how many calls there are.
    async fn count(&self, folder: &'static str) -> u64 {
        Trial { place: self, folder, reason: None }.run(None).await;
        self.shim.counted()
    }
}

impl Trial<'_> {
    async fn run(&self, fault: Option<Fault>) {
        let Place { site, shim } = self.place;
        self.place.lay_out();
        shim.begin(fault);
        let known = match self.place.start(self.folder).await {
            Ok(running) => self.perform(running).await,
            Err(log) => {
                assert!(!is_harmless(fault), "it does not start, though nothing failed: {log}");
                let says_why =
                    log.contains("strongroom: the store cannot be opened: ") || log.contains("strongroom: the audit log cannot be ");
                assert!(shim.failed() > 0 && says_why && log.ends_with("exit status: 1"), "it does not start, and why? {log}");
                Known::default()
            }
        };
        if is_harmless(fault) {
            assert_eq!(known.refusals, 0, "nothing fails by itself, nor for a write that is cut short: {known:?}");
        }
        // On a sound disk, without the shim.
        let command = site.command("server");
        let running = aside(move || Running::of(command)).await.unwrap_or_else(|log| panic!("it does not start again: {log}"));
        let cast = Cast::connect(site, &running).await.expect("connected");
        cast.unseal().await.expect("unsealed");
        let happened = script::check(&cast, &known).await;
        let log = aside(move || running.stop_and_read()).await;
        assert!(!log.contains("ERROR"), "{log}");
        script::check_record(site, &known, &happened);
    }

    /// The script, and then whether the server comes back without hands, or ended for a good reason.
    async fn perform(&self, mut running: Running) -> Known {
        let Place { site, shim } = self.place;
        let cast = match Cast::connect(site, &running).await {
            Ok(cast) => cast,
            Err(error) => {
                assert!(self.reason.is_some_and(Reason::fails), "nobody can connect, though nothing failed: {error}");
                self.ended(running).await;
                return Known::default();
            }
        };
        let mut known = script::run(&cast).await;
        shim.relent();
        let begin = Instant::now();
        // A custodian who was refused asks again; that is all that people do.
        while cast.reveal("once more").await.is_err() && !running.has_ended() {
            assert!(begin.elapsed() < PATIENCE, "it neither comes back nor ends");
            let _ = cast.unseal().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut number = 0;
        while !running.has_ended() {
            // Writes as well, each under a name of its own: one of them that was refused may be there.
            number += 1;
            let name = crate::stage::named(format!("shop/afterwards-{number}"));
            if cast.owner.create_secret(crate::stage::opaque(&name, "value")).await.is_ok() {
                known.reveal(&cast, "back").await;
                break;
            }
            assert!(begin.elapsed() < PATIENCE, "it takes no writes again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if !running.has_ended() {
            script::reopen(&cast, &mut known).await;
        }
        self.ended(running).await;
        known
    }

    /// It ends well, or says why not; and that may be no disk that was only full.
    async fn ended(&self, running: Running) {
        let shim = &self.place.shim;
        let (status, log) = aside(move || running.end()).await;
        let (call, file) = shim.victim();
        if status.success() {
            // The store's own sync, before it acknowledges: after that nobody knows what is on the disk.
            let is_the_end = self.folder == "data" && shim.failed() > 0 && (call, file.as_str()) == (Call::Fdatasync, "/db");
            assert!(!is_the_end, "it goes on after a failed sync: {log}");
            return;
        }
        assert!(self.reason.is_some_and(Reason::fails), "it ended, though nothing failed: {log}");
        let may_end =
            self.folder == "data" && shim.failed() > 0 && (call != Call::Other || self.reason.is_some_and(Reason::is_broken_disk));
        assert!(may_end && status.code() == Some(1), "{status} after {call:?} of {file} failed: {log}");
        assert!(log.contains("strongroom: the store failed for good: "), "it ended and does not say why: {log}");
    }
}

/// Whether nobody may notice: there is no fault, or a write that is cut short and then goes on.
fn is_harmless(fault: Option<Fault>) -> bool {
    fault.is_none_or(|fault| fault.error.is_none())
}

/// What waits for a server, beside the tasks that its clients need.
async fn aside<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(wait).await.expect("no panic")
}

// immune: row-53
#[tokio::test(flavor = "multi_thread")]
async fn each_call_to_a_disk_may_fail() {
    let stride = std::env::var("STRONGROOM_FAULT_STRIDE").ok().map_or(STRIDE, |text| text.parse().expect("a number"));
    let Some(first) = Place::new().await else { return };
    let mut trials = Vec::new();
    for folder in FOLDERS {
        let calls = first.count(folder).await;
        assert!(calls > 20, "{folder}: {calls} calls that change files");
        for reason in REASONS {
            trials.extend((1..=calls).map(|number| (folder, reason, number)));
        }
        eprintln!("{folder}: {calls} calls, {} reasons", REASONS.len());
    }
    let trials: Arc<Vec<_>> = Arc::new(trials.into_iter().step_by(stride).collect());
    eprintln!("{} runs", trials.len());
    let (next, hit, failures) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let mut places = vec![Arc::new(first)];
    for _ in 1..SITES {
        places.push(Arc::new(Place::new().await.expect("as the first")));
    }
    let runs = places.into_iter().map(|place| {
        let (trials, next, hit, failures) = (trials.clone(), next.clone(), hit.clone(), failures.clone());
        tokio::spawn(async move {
            while let Some((folder, reason, number)) = trials.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
                let own = place.clone();
                let trial = async move { Trial { place: &own, folder, reason: Some(reason) }.run(Some(reason.from(number))).await };
                if tokio::spawn(trial).await.is_err() {
                    let (call, file) = place.shim.victim();
                    failures.lock().expect("no panic in here").push(format!("call {number} in {folder}, {reason:?}: {call:?} of {file}"));
                }
                hit.fetch_add(usize::from(place.shim.failed() > 0), Ordering::Relaxed);
            }
        })
    });
    for run in runs.collect::<Vec<_>>() {
        run.await.expect("no panic in here");
    }
    let failures = failures.lock().expect("no panic in there");
    assert!(failures.is_empty(), "{} of {} runs:\n{}", failures.len(), trials.len(), failures.join("\n"));
    let (hit, all) = (hit.load(Ordering::Relaxed), trials.len());
    eprintln!("{hit} of {all} runs met their fault");
    // To cut short what has no bytes changes nothing, and now and then a run has a call less than the one that was counted.
    assert!(hit * 10 > all * 7, "{hit} of {all} runs met their fault");
}
