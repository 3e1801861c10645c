//! The audit log or the store cannot be written, on the real server: no secret leaves, nothing acknowledged is lost, `status`
//! says why, and service returns without hands.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use prost::Message;
use strongroom::api::{self, Method};
use strongroom::client::{Client, ClientError, NewSecret, Reveal, RevealBatch};
use strongroom::model::{Environment, SecretBytes, SecretName};
use tonic::{Code, Request};

use crate::harness::{Running, Site, person, workload};
use crate::required::leave_out;
use crate::wire::{channel, send_with};

struct Stage {
    site: Site,
    running: Running,
    backend: Client,
    cleo: Client,
}

fn name(text: &str) -> SecretName {
    text.parse().expect("valid")
}

impl Stage {
    async fn new(site: Site) -> Self {
        let running = site.start_open().await;
        site.make_namespace(&running, "shop", Environment::Stage).await;
        site.bind(&running, "backend", &workload("backend"), Some("shop")).await;
        let backend = site.client(&running, &workload("backend")).await;
        let cleo = site.client(&running, &person("cleo")).await;
        let stage = Self { site, running, backend, cleo };
        stage.put("shop/a").await.expect("stored");
        stage
    }

    async fn put(&self, at: &str) -> Result<(), ClientError> {
        self.backend.create_secret(NewSecret::opaque(&name(at), SecretBytes::new(b"value".to_vec()))).await.map(drop)
    }

    async fn get(&self, at: &str) -> Result<Vec<u8>, ClientError> {
        self.backend.reveal_secret(Reveal::latest(&name(at))).await.map(|revealed| revealed.value.expose().to_vec())
    }

    /// Waits until a read works again by itself.
    async fn recovers(&self) {
        let begin = Instant::now();
        while let Err(error) = self.get("shop/a").await {
            assert!(begin.elapsed() < Duration::from_secs(15), "it did not come back: {error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Nothing leaves and nothing changes, and `status` says so.
    async fn is_shut(&self, put: &str) {
        assert_eq!(code(&self.get("shop/a").await), Some(Code::Unavailable));
        let batch = RevealBatch::new().latest([name("shop/a"), name("shop/absent")]);
        assert_eq!(code(&self.backend.reveal_batch(batch).await), Some(Code::Unavailable));
        assert_eq!(code(&self.put(put).await), Some(Code::Unavailable));
        let status = self.cleo.status().await.expect("status is answered all the same");
        assert!(!status.audit.healthy && !status.audit.problem.is_empty());
    }

    /// The numbers of the log have no gap, over all its files.
    fn log_has_no_gap(&self) {
        let mut files = self.site.files("audit");
        files.retain(|(path, _)| path.extension().is_some_and(|extension| extension == "jsonl"));
        files.sort();
        let text: String = files.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).replace('\0', "")).collect();
        assert!(text.lines().count() > 5, "{text}");
        for (index, line) in text.lines().enumerate() {
            let entry: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
            assert_eq!(entry["sequence"], index as u64 + 1);
        }
    }
}

fn code<T>(answer: &Result<T, ClientError>) -> Option<Code> {
    answer.as_ref().err().and_then(ClientError::refusal).map(|refusal| refusal.code)
}

// immune: row-53
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_log_lets_no_secret_out() {
    let stage = Stage::new(Site::with_vault("")).await;
    let away = stage.site.path("audit-away");
    // The very first to notice is a change: its intent must be on disk before it happens. More than once, since now and then
    // the log looks after itself in between.
    for name in ["shop/b", "shop/c", "shop/d"] {
        std::fs::rename(stage.site.path("audit"), &away).expect("moved");
        assert_eq!(code(&stage.put(name).await), Some(Code::Unavailable));
        std::fs::rename(&away, stage.site.path("audit")).expect("moved back");
        stage.recovers().await;
        assert_eq!(code(&stage.get(name).await), Some(Code::NotFound), "nothing was stored");
    }
    std::fs::rename(stage.site.path("audit"), &away).expect("moved");
    stage.is_shut("shop/b").await;
    // Whoever asks with an id finds it in the log.
    let raw = channel(&stage.site, &stage.running, &workload("backend")).await;
    let mut request = Request::new(api::RevealSecretRequest { name: "shop/a".to_owned(), ..Default::default() }.encode_to_vec());
    request.metadata_mut().insert("x-request-id", "checkout-4711".parse().expect("plain"));
    send_with(&raw, Method::RevealSecret.path(), request).await.expect_err("nothing leaves");
    stage.running.says("request_id=\"checkout-4711\"");
    std::fs::rename(&away, stage.site.path("audit")).expect("moved back");
    stage.recovers().await;
    assert_eq!(code(&stage.get("shop/b").await), Some(Code::NotFound), "nothing was stored");
    stage.put("shop/b").await.expect("stored");
    stage.log_has_no_gap();
    assert!(stage.running.stop());
}

/// A small disk of its own, or why there is none. `STRONGROOM_TEST_REQUIRE=tmpfs` makes that a failure.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(at: &'a Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).expect("made");
        let options = format!("size={size},mode=700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(at).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(at));
        }
        leave_out("a full disk", "tmpfs");
        None
    }

    fn fill(&self) {
        // As much as there is.
        let _ = std::fs::write(self.0.join("ballast"), vec![1; 64 << 20]);
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).expect("removed");
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

// immune: row-53
#[tokio::test(flavor = "multi_thread")]
async fn a_full_log_lets_no_secret_out() {
    let site = Site::with_disks("[audit]\nsegment_bytes = 1048576\nreserve_bytes = 65536\n");
    let at = site.path("audit-disk");
    let Some(disk) = Disk::mount(&at, "4m") else { return };
    site.make_vault("[audit]\nsegment_bytes = 1048576\nreserve_bytes = 65536\n");
    let stage = Stage::new(site).await;
    disk.fill();
    let mut revealed = 0;
    let begin = Instant::now();
    while stage.get("shop/a").await.is_ok() {
        revealed += 1;
        assert!(begin.elapsed() < Duration::from_secs(60), "it never got full");
    }
    stage.is_shut("shop/b").await;
    disk.free();
    stage.recovers().await;
    stage.put("shop/b").await.expect("stored");
    assert!(stage.running.stop());
    let entries = stage_entries(&at.join("log"));
    let recorded = entries.iter().filter(|entry| entry["method"] == "RevealSecret" && entry["outcome"] == "ok").count();
    assert!(recorded > revealed, "each value that left is on record: {recorded} of {revealed}");
}

fn stage_entries(folder: &Path) -> Vec<serde_json::Value> {
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    let text: String = files.iter().map(|path| String::from_utf8_lossy(&std::fs::read(path).expect("read")).replace('\0', "")).collect();
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_refuses_writes_and_goes_on_reading() {
    let site = Site::with_disks("[store]\nreserve_bytes = 16777216\n");
    let at = site.path("data-disk");
    let Some(disk) = Disk::mount(&at, "40m") else { return };
    site.make_vault("[store]\nreserve_bytes = 16777216\n");
    let stage = Stage::new(site).await;
    disk.fill();
    assert_eq!(code(&stage.put("shop/b").await), Some(Code::Unavailable));
    assert_eq!(stage.get("shop/a").await.expect("reads go on"), b"value");
    let status = stage.cleo.status().await.expect("status");
    assert!(!status.store.healthy && status.audit.healthy, "{status:?}");
    disk.free();
    let begin = Instant::now();
    while stage.put("shop/b").await.is_err() {
        assert!(begin.elapsed() < Duration::from_secs(15), "it did not come back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(stage.get("shop/b").await.expect("stored"), b"value");
    assert!(stage.running.stop());
}

/// The soft limit of `ulimit -f`, of a process that runs.
fn limit_files(running: &Running, bytes: Option<u64>) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let pid = i32::try_from(running.pid()).ok().and_then(Pid::from_raw);
    prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_the_size_of_files_is_a_full_disk() {
    let stage = Stage::new(Site::with_vault("[audit]\nsegment_bytes = 1048576\nreserve_bytes = 65536\n")).await;
    let store = std::fs::metadata(stage.site.path("data/db")).expect("the log").len();
    limit_files(&stage.running, Some(store.max(2 << 20)));
    let value = vec![b'v'; 60_000];
    let mut stored = 0;
    let refused = loop {
        let new = NewSecret::opaque(&name(&format!("shop/large-{stored}")), SecretBytes::new(value.clone()));
        match stage.backend.create_secret(new).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 1_000, "there is a limit");
    };
    assert!(matches!(code::<()>(&Err(refused)), Some(Code::Unavailable | Code::Unknown)));
    stage.recovers().await;
    limit_files(&stage.running, None);
    let begin = Instant::now();
    while let Err(error) = stage.put("shop/b").await {
        if code::<()>(&Err(error)) == Some(Code::AlreadyExists) {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(15), "it did not come back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for number in 0..stored {
        assert_eq!(stage.get(&format!("shop/large-{number}")).await.expect("acknowledged"), value);
    }
    // The same of the log of what was done.
    limit_files(&stage.running, Some(4_096));
    stage.is_shut("shop/c").await;
    limit_files(&stage.running, None);
    stage.recovers().await;
    stage.log_has_no_gap();
    assert!(stage.running.stop());
}
