use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_each_get_a_number_of_their_own_and_find_their_entry_at_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path());
    let callers: Vec<_> = (0..64)
        .map(|caller| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut written = Vec::new();
                for round in 0..40 {
                    let number = caller * 1_000 + round;
                    written.push((log.append(read_draft(number)).await.expect("written"), number));
                }
                written
            })
        })
        .collect();
    let mut written = Vec::new();
    for caller in callers {
        written.extend(caller.await.expect("no panic"));
    }
    // Read before the log is closed: what was acknowledged can be seen.
    let entries = all(folder.path());
    assert_eq!(entries.len(), 64 * 40);
    for (given, number) in written {
        let entry = &entries[usize::try_from(given.sequence).expect("small") - 1];
        assert_eq!((entry.sequence, entry.time, entry.detail["number"].clone()), (given.sequence, given.time, number.to_string()));
    }
    assert!(entries.is_sorted_by_key(|entry| entry.time));
}

#[tokio::test]
async fn a_pending_that_is_dropped_rides_along_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path());
    let intent = log.enqueue(Draft::new(Event::Intent, "PutSecret")).expect("queued");
    let sequence = intent.sequence();
    drop(intent);
    drop(log.enqueue(Draft { intent: Some(sequence), ..Draft::new(Event::Outcome, "PutSecret") }).expect("queued"));
    assert_eq!(log.append(read_draft(3)).await.expect("written").sequence, 3);
    let events: Vec<_> = all(folder.path()).iter().map(|entry| (entry.event, entry.intent)).collect();
    assert_eq!(events, [(Event::Intent, None), (Event::Outcome, Some(1)), (Event::Read, None)]);
}

#[tokio::test]
async fn a_single_caller_never_waits_for_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path());
    for number in 0..40 {
        log.append(read_draft(number)).await.expect("written");
    }
    assert_eq!(log.counts().pauses, 0, "a single caller");
    for _ in 0..100 {
        let appends: Vec<_> = (0..8).map(|caller| log.append(read_draft(caller))).collect();
        for append in appends {
            append.await.expect("written");
        }
    }
    assert!(log.counts().pauses > 0, "eight callers");
}

#[tokio::test]
async fn segments_are_rotated_by_size_and_cut_when_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path());
    for number in 0..120 {
        log.append(read_draft(number).with("padding", "x".repeat(2_000))).await.expect("written");
    }
    assert_eq!(log.status().last_sequence, 120);
    log.close().expect("closed");
    let files = segment_files(folder.path());
    assert!(files.len() >= 4, "{files:?}");
    for file in &files {
        let bytes = fs::read(file).expect("read");
        assert!(bytes.len() <= 64 * 1024 && bytes.ends_with(b"}\n") && !bytes.contains(&0), "{}", file.display());
        let first: Entry = serde_json::from_slice(bytes.split(|byte| *byte == b'\n').next().expect("a line")).expect("an entry");
        assert!(file.ends_with(segment::segment_name(first.sequence)));
    }
    assert_eq!(all(folder.path()).len(), 120);
    assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), files.len(), "the spare is gone");
}

#[tokio::test]
async fn numbers_and_times_go_on_after_a_stop_although_the_clock_went_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Hands::at("2026-11-24T08:00:00Z");
    let (log, recovered) = AuditLog::open(folder.path(), small(), clock.clone()).expect("opens");
    assert_eq!((recovered.last_sequence, recovered.last_time), (0, None));
    for number in 1..=3 {
        log.append(read_draft(number)).await.expect("written");
    }
    clock.move_to("2020-01-01T00:00:00Z");
    assert_eq!(log.append(read_draft(4)).await.expect("written").time.to_string(), "2026-11-24T08:00:00.000Z");
    log.close().expect("closed");
    let (log, recovered) = AuditLog::open(folder.path(), small(), clock).expect("opens");
    assert_eq!((recovered.last_sequence, recovered.torn_bytes), (4, 0));
    assert_eq!(recovered.last_time.map(|time| time.to_string()).as_deref(), Some("2026-11-24T08:00:00.000Z"));
    let written = log.append(read_draft(5)).await.expect("written");
    assert_eq!((written.sequence, written.time.to_string().as_str()), (5, "2026-11-24T08:00:00.000Z"));
}

#[tokio::test]
async fn intents_without_an_outcome_are_found_at_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path());
    let mut intents = Vec::new();
    for _ in 0..3 {
        intents
            .push(log.append(Draft::new(Event::Intent, "PutSecret").with("padding", "x".repeat(4_000))).await.expect("written").sequence);
    }
    log.append(Draft { intent: Some(intents[1]), outcome: Some("ok"), ..Draft::new(Event::Outcome, "PutSecret") }).await.expect("written");
    for number in 0..60 {
        log.append(read_draft(number).with("padding", "x".repeat(2_000))).await.expect("written");
    }
    drop(log);
    let (_, recovered) = open(folder.path());
    let open: Vec<_> = recovered.open_intents.iter().map(|entry| entry.sequence).collect();
    assert_eq!(open, [intents[0], intents[2]]);
}

#[tokio::test]
async fn there_is_one_writer_and_after_close_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = open(folder.path());
    assert!(matches!(AuditLog::open(folder.path(), small(), Arc::new(SystemClock)), Err(AuditError::Locked(_))));
    let queued = log.enqueue(read_draft(1)).expect("queued");
    log.close().expect("closed");
    assert_eq!(queued.await.expect("written before the end").sequence, 1);
    assert!(matches!(log.append(read_draft(2)).await, Err(AuditError::Closed)));
    log.close().expect("closing twice is nothing");
    assert_eq!(open(folder.path()).1.last_sequence, 1);
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for options in [
        AuditOptions { node: String::new(), ..small() },
        AuditOptions { node: "a\nb".into(), ..small() },
        AuditOptions { segment_bytes: 1_000, ..small() },
        AuditOptions { segment_bytes: 1 << 40, ..small() },
        AuditOptions { reserve_bytes: 60 * 1024, ..small() },
        AuditOptions { pause: Duration::from_secs(1), ..small() },
    ] {
        assert!(matches!(AuditLog::open(folder.path(), options, Arc::new(SystemClock)), Err(AuditError::Options(_))));
    }
}

// immune: row-52
#[test]
fn modes_are_narrow_whatever_the_umask() {
    let folder = tempfile::tempdir().expect("a folder");
    run_child(&["env"], "writing::child_with_an_umask", folder.path());
}

#[test]
fn child_with_an_umask() {
    let Some(parent) = child_folder() else { return };
    for mask in [0o000, 0o777] {
        let folder = parent.join(format!("audit-{mask:o}"));
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o7777;
        let check = |folder: &Path| {
            assert_eq!(mode(folder), 0o700);
            let files: Vec<_> = fs::read_dir(folder).expect("listed").map(|entry| entry.expect("listed").path()).collect();
            assert!(!files.is_empty());
            files.iter().for_each(|file| assert_eq!(mode(file), 0o600, "{}", file.display()));
        };
        drop(open(&folder));
        check(&folder);
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
        set(&segment_files(&folder)[0], 0o666);
        set(&folder, 0o777);
        let (log, _) = open(&folder);
        assert_eq!(log.status().segments, 1);
        wait_until_the_spare_has_its_length(&folder);
        check(&folder);
    }
}
