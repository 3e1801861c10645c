use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use super::*;

/// So many acknowledgements show that a child is at work.
const AT_WORK: usize = 20;

#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut acknowledged = Acknowledged::default();
    let mut random = 0x9e37_79b9_u64;
    for cycle in 0..20 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(cycle);
        // Some die while they start and open, the others somewhere in their writes.
        let is_writing = cycle % 3 != 0;
        let delay = Duration::from_millis(30 + (random >> 33) % 120);
        for (sequence, number) in run_and_kill(folder.path(), is_writing, delay) {
            acknowledged.note(sequence, number);
        }
        let (log, recovered) = open(folder.path());
        assert!(recovered.last_sequence >= acknowledged.last_sequence());
        drop(log);
        acknowledged.assert_in(folder.path());
    }
}

/// Starts a child that appends, kills it so long after its start or its first acknowledgements, and returns what it had
/// acknowledged.
fn run_and_kill(folder: &Path, is_writing: bool, delay: Duration) -> Vec<(u64, String)> {
    let mut child = child(&["env"], "crash::child_that_appends", folder).stdout(Stdio::piped()).spawn().expect("runs");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let mut acknowledgements = lines.filter_map(|line| acknowledgement(&line));
    let mut acknowledged: Vec<_> = acknowledgements.by_ref().take(if is_writing { AT_WORK } else { 0 }).collect();
    let killer = std::thread::spawn(move || {
        std::thread::sleep(delay);
        child.kill().expect("killed");
        child.wait().expect("dead")
    });
    // Until its end: a child whose pipe is full would not write.
    acknowledged.extend(acknowledgements);
    let end = killer.join().expect("no panic");
    assert_eq!(end.signal(), Some(9), "it runs until it is killed: {end}");
    assert!(!is_writing || acknowledged.len() >= AT_WORK);
    acknowledged
}

/// The sequence and the number. The last line may be torn: without its stop it counts for nothing.
fn acknowledgement(line: &str) -> Option<(u64, String)> {
    let (sequence, number) = line.split_once("acknowledged ")?.1.split_once(' ')?;
    Some((sequence.parse().ok()?, number.strip_suffix('.')?.to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_appends() {
    let Some(folder) = child_folder() else { return };
    let (log, _) = open(&folder);
    for caller in 0..16 {
        let log = Arc::clone(&log);
        // No child of this folder writes a number that another has written.
        let first = (u64::from(std::process::id()) << 32) + (caller << 24);
        drop(tokio::spawn(async move {
            for number in first.. {
                let draft = read_draft(number).with("padding", "x".repeat(300));
                let sequence = log.append(draft).await.expect("written").sequence;
                std::io::stdout().write_all(format!("acknowledged {sequence} {number}.\n").as_bytes()).expect("the parent reads");
            }
        }));
    }
    std::future::pending().await
}

/// A log of `count` entries, closed.
async fn closed_log(folder: &Path, count: u64, padding: usize) -> PathBuf {
    let (log, _) = open(folder);
    for number in 1..=count {
        log.append(read_draft(number).with("padding", "x".repeat(padding))).await.expect("written");
    }
    log.close().expect("closed");
    segment_files(folder).pop().expect("a segment")
}

fn append_bytes(file: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).open(file).expect("opened").write_all(bytes).expect("written");
}

fn line_of(sequence: u64) -> Vec<u8> {
    let line = format!(r#"{{"time":"2099-01-01T00:00:00.000Z","sequence":{sequence},"node":"n","event":"read","method":"m"}}"#);
    [line.as_bytes(), b"\n"].concat()
}

#[tokio::test]
async fn a_torn_tail_is_wiped_and_its_number_given_again() {
    for (torn, what) in [
        (br#"{"time":"2026-11-24T08:00"#.to_vec(), "cut off"),
        ([br#"{"time":"20"#.as_slice(), &[0; 512], b"rest of it\"}\n", &[0; 100]].concat(), "a hole in the line"),
        ([[0; 700].as_slice(), &line_of(5)].concat(), "a hole before a line that made it"),
        ([[0; 20].as_slice(), &line_of(5)].concat(), "the next line ends inside what was left"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = closed_log(folder.path(), 3, 10).await;
        append_bytes(&file, &torn);
        assert_eq!(all(folder.path()).len(), 3, "a reader stops there: {what}");
        let (log, recovered) = open(folder.path());
        let wiped = torn.iter().rposition(|byte| *byte != 0).expect("not all zero") as u64 + 1;
        assert_eq!((recovered.last_sequence, recovered.torn_bytes), (3, wiped), "{what}");
        assert_eq!(log.append(read_draft(4)).await.expect("written").sequence, 4);
        log.close().expect("closed");
        assert_eq!(all(folder.path()).len(), 4, "{what}");
    }
}

#[tokio::test]
async fn a_broken_or_missing_line_is_named_by_file_and_line() {
    let spoil = |bytes: &mut Vec<u8>, what: &str| match what {
        "a flipped byte in line 3" => {
            let third = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).expect("a line").0 + 1;
            bytes[third] ^= 1;
        }
        "line 3 dropped" => {
            let ends: Vec<_> = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
            bytes.drain(ends[1]..ends[2]);
        }
        _ => unreachable!(),
    };
    for what in ["a flipped byte in line 3", "line 3 dropped"] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = closed_log(folder.path(), 6, 10).await;
        let mut bytes = fs::read(&file).expect("read");
        spoil(&mut bytes, what);
        fs::write(&file, &bytes).expect("written");
        let opened = AuditLog::open(folder.path(), small(), Arc::new(SystemClock));
        assert!(matches!(opened, Err(AuditError::Damaged { file: named, line: 3, .. }) if named == file), "{what}");
        let mut entries = Reader::open(folder.path()).expect("listed").entries(Filter::default(), Order::OldestFirst);
        assert_eq!(entries.by_ref().take(2).filter(Result::is_ok).count(), 2);
        assert!(matches!(entries.next(), Some(Err(AuditError::Damaged { line: 3, .. }))), "{what}");
        assert!(entries.next().is_none(), "after an error it ends");
    }
}

#[tokio::test]
async fn a_missing_segment_is_damage_unless_it_is_the_oldest() {
    let folder = tempfile::tempdir().expect("a folder");
    closed_log(folder.path(), 120, 2_000).await;
    let files = segment_files(folder.path());
    fs::remove_file(&files[0]).expect("shipped away");
    drop(open(folder.path()));
    assert!(all(folder.path())[0].sequence > 1);
    fs::remove_file(&files[2]).expect("removed");
    let opened = AuditLog::open(folder.path(), small(), Arc::new(SystemClock));
    assert!(matches!(opened, Err(AuditError::Damaged { file, .. }) if file == files[1]));
    let last = Reader::open(folder.path()).expect("listed").entries(Filter::default(), Order::OldestFirst).last();
    assert!(matches!(last, Some(Err(AuditError::Damaged { .. }))));
}

#[tokio::test]
async fn more_garbage_than_a_crash_can_leave_is_damage() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = closed_log(folder.path(), 3, 10).await;
    let length = fs::metadata(&file).expect("there").len();
    let open = OpenOptions::new().write(true).open(&file).expect("opened");
    open.write_all_at(b"x", length + queue::GROUP_BYTES as u64 + 1).expect("written");
    let opened = AuditLog::open(folder.path(), small(), Arc::new(SystemClock));
    assert!(matches!(opened, Err(AuditError::Damaged { line: 4, .. })));
}

#[tokio::test]
async fn what_a_failed_write_left_behind_the_next_segment_is_no_entry() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = closed_log(folder.path(), 3, 10).await;
    // The segment at fault could not be cut back: entries 4 and 5 and a torn one stand in it, none of them acknowledged.
    append_bytes(&file, &[line_of(4), line_of(5), b"{\"time".to_vec()].concat());
    fs::write(folder.path().join(segment::segment_name(4)), []).expect("made");
    let (log, recovered) = open(folder.path());
    assert_eq!((recovered.last_sequence, recovered.torn_bytes), (3, 0));
    assert_eq!(log.append(read_draft(44)).await.expect("written").sequence, 4);
    log.close().expect("closed");
    let numbers: Vec<_> = all(folder.path()).iter().map(|entry| entry.detail["number"].clone()).collect();
    assert_eq!(numbers, ["1", "2", "3", "44"]);
    assert_eq!(open(folder.path()).1.last_sequence, 4);
}

/// Each of several appends by one caller must reach the disk by itself: the kernel counts a page again only if it was clean
/// when it was written, which it is only if the write before went to disk.
#[test]
fn every_acknowledged_write_went_to_disk() {
    // Under the target folder, since /tmp may be a file system in memory, which has no disk.
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/target").expect("a folder");
    run_child(&["env"], "crash::child_that_counts_writes", folder.path());
}

#[tokio::test]
async fn child_that_counts_writes() {
    let Some(folder) = child_folder() else { return };
    let written = || {
        let io = fs::read_to_string("/proc/self/io").expect("the kernel counts");
        io.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse::<u64>().ok()).expect("a count")
    };
    let (log, _) = open(&folder);
    log.append(read_draft(0)).await.expect("written");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = written();
    assert!(before > 0, "this file system counts no writes");
    for number in 0..100 {
        log.append(read_draft(number)).await.expect("written");
    }
    let pages = (written() - before) / 4096;
    assert!(pages >= 100, "100 appends dirtied clean pages {pages} times");
}
