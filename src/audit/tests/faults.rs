use std::fs;
use std::process::Command;
use std::time::Duration;

use super::*;

/// Appends until the log refuses; notes what it acknowledged.
async fn append_until_refused(log: &AuditLog, draft: impl Fn(u64) -> Draft, acknowledged: &mut Acknowledged) -> AuditError {
    for number in 1_000..2_000 {
        if let Err(error) = acknowledged.append(log, draft(number)).await {
            return error;
        }
    }
    panic!("never refused")
}

fn is_failing(log: &AuditLog) -> bool {
    matches!(log.condition(), Condition::Failing { .. })
}

/// Waits until the writer has made a whole attempt to get out of its first fault.
fn wait_for_an_attempt(log: &AuditLog) {
    wait_until(|| log.counts().attempts, |attempts| *attempts > 0);
}

fn padded(number: u64) -> Draft {
    read_draft(number).with("padding", "x".repeat(1_000))
}

// immune: row-53
#[tokio::test]
async fn a_segment_that_is_deleted_stops_the_log_and_is_written_again() {
    let folder = tempfile::tempdir().expect("a folder");
    // It finds the fault when it wants to write, not by chance a moment before.
    let never = Duration::from_secs(3_600);
    let (log, _) = AuditLog::open_with_tick(folder.path(), small(), Arc::new(SystemClock), never).expect("the log opens");
    let mut acknowledged = Acknowledged::default();
    for number in 0..30 {
        acknowledged.append(&log, padded(number)).await.expect("written");
    }
    fs::remove_file(&segment_files(folder.path())[0]).expect("removed");
    assert!(matches!(log.append(padded(30)).await, Err(AuditError::Unwritable(_))));
    assert!(is_failing(&log) && log.counts().attempts == 0);
    assert!(matches!(log.append(padded(31)).await, Err(AuditError::Unwritable(_))), "refused, and asks for an attempt");
    wait_until_writable(&log);
    acknowledged.append(&log, padded(32)).await.expect("written");
    log.close().expect("closed");
    acknowledged.assert_in(folder.path());
    assert_eq!(all(folder.path()).len(), 31, "what was refused is not there, what was acknowledged is");
}

// immune: row-53
#[tokio::test]
async fn a_folder_that_is_moved_stops_the_log_until_it_is_back() {
    let parent = tempfile::tempdir().expect("a folder");
    let (folder, away) = (parent.path().join("audit"), parent.path().join("away"));
    let (log, _) = open(&folder);
    let mut acknowledged = Acknowledged::default();
    acknowledged.append(&log, padded(0)).await.expect("written");
    fs::rename(&folder, &away).expect("moved");
    fs::create_dir(&folder).expect("another in its place");
    assert!(matches!(log.append(padded(1)).await, Err(AuditError::Unwritable(_))));
    wait_for_an_attempt(&log);
    assert!(is_failing(&log), "an empty folder of that name is not the log's");
    assert!(segment_files(&folder).is_empty());
    fs::remove_dir(&folder).expect("removed");
    fs::rename(&away, &folder).expect("moved back");
    wait_until_writable(&log);
    acknowledged.append(&log, padded(2)).await.expect("written");
    log.close().expect("closed");
    acknowledged.assert_in(&folder);
}

#[tokio::test]
async fn the_condition_tells_of_a_fault_without_traffic() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path());
    let file = segment_files(folder.path()).remove(0);
    // Another file under the segment's name, at once: the log does not overwrite what is not its own.
    let other = folder.path().join("other");
    fs::write(&other, "not yours").expect("written");
    fs::rename(&other, &file).expect("renamed");
    wait_until(|| log.condition(), |condition| *condition != Condition::Writable);
    wait_for_an_attempt(&log);
    assert!(is_failing(&log));
    assert_eq!(fs::read_to_string(&file).expect("read"), "not yours");
    fs::remove_file(&file).expect("removed");
    wait_until_writable(&log);
    assert_eq!(log.append(padded(0)).await.expect("written").sequence, 1);
}

// immune: row-53
#[test]
fn a_full_disk_by_file_size() {
    let folder = tempfile::tempdir().expect("a folder");
    run_child(&["env"], "faults::child_with_a_file_size_limit", folder.path());
}

#[tokio::test]
async fn child_with_a_file_size_limit() {
    let Some(folder) = child_folder() else { return };
    // SIGXFSZ kills unless it is handled; handled, the write fails with EFBIG.
    let _handled = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(25)).expect("a handler");
    let limit = |bytes| {
        let rlimit = rustix::process::Rlimit { current: bytes, maximum: None };
        rustix::process::setrlimit(rustix::process::Resource::Fsize, rlimit).expect("a limit");
    };
    let (log, _) = open(&folder);
    let mut acknowledged = Acknowledged::default();
    acknowledged.append(&log, padded(0)).await.expect("written");
    // In the middle of a later line: its write is cut short, then refused.
    limit(Some(10_000));
    let refused = append_until_refused(&log, padded, &mut acknowledged).await;
    assert!(matches!(refused, AuditError::Unwritable(_)) && is_failing(&log));
    assert!(matches!(log.append(Draft { importance: Importance::Always, ..padded(1) }).await, Err(AuditError::Unwritable(_))));
    wait_for_an_attempt(&log);
    assert!(is_failing(&log), "the fault has not ended");
    limit(None);
    wait_until_writable(&log);
    for number in 0..100 {
        acknowledged.append(&log, padded(number)).await.expect("written");
    }
    acknowledged.assert_in(&folder);
    assert_eq!(all(&folder).len(), acknowledged.0.len());
    log.close().expect("closed");
    assert_eq!(open(&folder).1.last_sequence, acknowledged.0.len() as u64);
}

/// Runs a child as root of a mount namespace of its own. Mounts need root and `unshare`: without them it is left out.
fn run_with_mounts(test: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let able = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "none"]).arg(folder.path()).status();
    if !able.is_ok_and(|status| status.success()) {
        crate::required::leave_out(test, "tmpfs");
        return;
    }
    run_child(&["unshare", "--mount"], test, folder.path());
}

fn mount(words: &[&str], at: &Path) {
    let status = Command::new("mount").args(words).arg(at).status().expect("mount runs");
    assert!(status.success());
}

// immune: row-53
#[test]
fn a_full_disk_leaves_the_reserve_and_recovers() {
    run_with_mounts("faults::child_on_a_full_disk");
}

#[tokio::test]
async fn child_on_a_full_disk() {
    let Some(disk) = child_folder() else { return };
    mount(&["-t", "tmpfs", "-o", "size=256k", "none"], &disk);
    let folder = disk.join("audit");
    let (log, _) = open(&folder);
    wait_until_the_spare_has_its_length(&folder);
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![1; 256 * 1024]).expect_err("the disk is full");
    let mut acknowledged = Acknowledged::default();
    let refused = append_until_refused(&log, padded, &mut acknowledged).await;
    assert!(matches!(refused, AuditError::Unwritable(_)) && is_failing(&log), "{refused}");
    assert!(acknowledged.0.len() > 80, "both segments are used first: {}", acknowledged.0.len());
    for number in 0..10 {
        let draft = Draft { importance: Importance::Always, ..padded(number) };
        acknowledged.append(&log, draft).await.expect("the reserve is there for this");
    }
    assert!(matches!(log.append(padded(0)).await, Err(AuditError::Unwritable(_))));
    let always = |number| Draft { importance: Importance::Always, ..padded(number) };
    append_until_refused(&log, always, &mut acknowledged).await;
    fs::remove_file(&ballast).expect("removed");
    wait_until_writable(&log);
    acknowledged.append(&log, padded(1)).await.expect("written");
    log.close().expect("closed");
    acknowledged.assert_in(&folder);
    assert_eq!(all(&folder).len(), acknowledged.0.len());
}

/// While the next segment is being prepared nobody knows that it cannot be: ordinary entries must not use that time to eat
/// the reserve. Many rounds and callers, since it is a race.
#[test]
fn ordinary_entries_never_get_at_the_reserve() {
    run_with_mounts("faults::child_racing_for_the_reserve");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_racing_for_the_reserve() {
    let Some(disk) = child_folder() else { return };
    mount(&["-t", "tmpfs", "-o", "size=256k", "none"], &disk);
    for round in 0..30 {
        let folder = disk.join(format!("audit-{round}"));
        let (log, _) = open(&folder);
        let ballast = disk.join("ballast");
        fs::write(&ballast, vec![1; 256 * 1024]).expect_err("the disk is full");
        let callers: Vec<_> = (0..16)
            .map(|_| {
                let log = Arc::clone(&log);
                tokio::spawn(async move { append_until_refused(&log, padded, &mut Acknowledged::default()).await })
            })
            .collect();
        for caller in callers {
            caller.await.expect("no panic");
        }
        for number in 0..10 {
            let draft = Draft { importance: Importance::Always, ..padded(number) };
            log.append(draft).await.unwrap_or_else(|error| panic!("round {round}, entry {number}: {error}"));
        }
        log.close().expect("closed");
        fs::remove_dir_all(&folder).expect("removed");
        fs::remove_file(&ballast).expect("removed");
    }
}

// immune: row-53
#[test]
fn a_read_only_mount_over_the_folder() {
    run_with_mounts("faults::child_under_a_read_only_mount");
}

#[tokio::test]
async fn child_under_a_read_only_mount() {
    let Some(parent) = child_folder() else { return };
    mount(&["-t", "tmpfs", "none"], &parent);
    let folder = parent.join("audit");
    let (log, _) = open(&folder);
    let mut acknowledged = Acknowledged::default();
    acknowledged.append(&log, padded(0)).await.expect("written");
    mount(&["-t", "tmpfs", "-o", "ro,mode=700", "none"], &folder);
    assert!(matches!(log.append(padded(1)).await, Err(AuditError::Unwritable(_))));
    assert!(matches!(AuditLog::open(&folder, small(), Arc::new(SystemClock)), Err(AuditError::Io { .. })));
    assert!(is_failing(&log));
    assert!(Command::new("umount").arg(&folder).status().expect("umount runs").success());
    wait_until_writable(&log);
    acknowledged.append(&log, padded(2)).await.expect("written");
    log.close().expect("closed");
    acknowledged.assert_in(&folder);
}
