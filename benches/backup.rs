//! What a backup of a million secrets costs while the vault serves, and what its restore: a real server in a process of its own,
//! written to all the while, and a restore into an empty folder on the same disk.
//!
//! `cargo bench --bench backup -- [--secrets N] [--writers N]`

#[path = "common/mod.rs"]
#[expect(dead_code, reason = "shared with the other benches")]
mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use common::figures::bench;
use common::harness::{IDENTITY, PASSPHRASE, Running, Site, person, workload};
use common::load::{Kind, Shape};
use common::processes::{call, order, play};
use strongroom::backup::{Archive, Identity, PartFile, Steps};
use strongroom::client::{BackupSummary, NewSecret};
use strongroom::config::Config;
use strongroom::model::{Environment, SecretBytes};
use strongroom::seal::SlotKey;
use strongroom::server::{RestoreFrom, restore};

const LOADING: Shape = Shape { connections: 16, calls: 32 };

/// What a backup and a restore cost.
#[derive(Parser)]
struct Options {
    /// How many secrets there are.
    #[arg(long, default_value_t = 1_000_000)]
    secrets: u64,
    /// How many calls that store something are under way while the backup is made.
    #[arg(long, default_value_t = 16)]
    writers: usize,
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

fn identity() -> Identity {
    Identity::parse(&SecretBytes::new(IDENTITY.as_bytes().to_vec())).expect("the tests' own")
}

async fn drive(options: &Options) {
    let site = Site::with_vault("");
    let running = site.start_open().await;
    site.make_namespace(&running, "bench", Environment::Stage).await;
    site.bind(&running, "backend", &workload("backend"), Some("bench")).await;
    let filled = call(&order(&site, &running, Kind::Fill, LOADING, options.secrets));
    eprintln!("stored {} secrets in {:.0} s", options.secrets, filled.seconds);

    // Twice: nobody writes, and everybody does.
    let quiet = site.path("quiet.age");
    let (_, seconds) = back_up(&site, &running, &quiet).await;
    bench("backup_quiet_mb_per_s", megabytes(&quiet) / seconds, "MB/s");
    let archive = site.path("vault.age");
    let (is_over, stored) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers = write_all_the_while(&site, &running, options.writers, &is_over, &stored).await;
    let (done, seconds) = back_up(&site, &running, &archive).await;
    is_over.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.expect("no panic");
    }
    eprintln!(
        "{} rows, {} changes, {:.0} MB in {seconds:.1} s, while {} secrets were stored",
        done.rows,
        done.changes,
        megabytes(&archive),
        stored.load(Ordering::SeqCst)
    );
    bench("backup_mb_per_s", megabytes(&archive) / seconds, "MB/s");
    bench("backup_writer_pause_ms", done.pause_us as f64 / 1e3, "ms");
    assert!(running.stop(), "the server ends cleanly");

    let begin = Instant::now();
    Archive::open(&archive, identity()).expect("there").verify(|_, _| {}).expect("whole");
    bench("backup_verify_mb_per_s", megabytes(&archive) / begin.elapsed().as_secs_f64(), "MB/s");
    std::fs::rename(site.path("data"), site.path("lost")).expect("moved");
    let from = RestoreFrom {
        archive: archive.clone(),
        identity: identity(),
        slot: SlotKey::passphrase(&SecretBytes::new(PASSPHRASE.as_bytes().to_vec())).expect("long enough"),
        administrators: vec![person("ana"), person("ben")],
        single_administrator: false,
        audit: None,
        steps: Steps::default(),
    };
    let config = Config::load(&site.path("strongroom.toml")).expect("the site's own");
    let report = restore(&config, from).await.expect("restored");
    assert!(report.rows >= options.secrets, "{report:?}");
    bench("restore_mb_per_s", megabytes(&archive) / report.seconds, "MB/s");
    let running = site.start_open().await;
    assert!(running.stop(), "the restored vault opens");
}

fn megabytes(file: &Path) -> f64 {
    std::fs::metadata(file).expect("there").len() as f64 / 1e6
}

async fn back_up(site: &Site, running: &Running, to: &Path) -> (BackupSummary, f64) {
    let cleo = site.client(running, &person("cleo")).await;
    let begin = Instant::now();
    let mut file = PartFile::create(to, Steps::default()).expect("new");
    let mut backup = cleo.create_backup(None, "a bench").await.expect("begun");
    while let Some(piece) = backup.next().await.expect("a piece") {
        file.write(&piece).expect("written");
    }
    file.finish().expect("whole");
    (backup.done().expect("it has ended").clone(), begin.elapsed().as_secs_f64())
}

async fn write_all_the_while(
    site: &Site,
    running: &Running,
    writers: usize,
    is_over: &Arc<AtomicBool>,
    stored: &Arc<AtomicU64>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let backend = site.client(running, &workload("backend")).await;
    let write = |_| {
        let (backend, is_over, stored) = (backend.clone(), is_over.clone(), stored.clone());
        tokio::spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                let number = stored.fetch_add(1, Ordering::SeqCst);
                let name = format!("bench/meanwhile/{number}").parse().expect("a name");
                backend.create_secret(NewSecret::opaque(&name, SecretBytes::new(vec![7; 256]))).await.expect("stored");
            }
        })
    };
    (0..writers).map(write).collect()
}
