//! | file | what is tried |
//! |---|---|
//! | `entries` | the bytes of a line: frozen vectors, escapes, bounds |
//! | `writing` | groups under concurrency, rotation, modes, going on after a stop |
//! | `faults` | the folder full, removed, mounted over: nothing acknowledged, and back by itself |
//! | `crash` | SIGKILL, torn tails, damage, leftovers of failed writes, durability |
//! | `reading` | filters, pages, skipping, reading while writing |
//!
//! Some need a process of their own (limits, umask, mounts, a death): they run this test binary again, on one test with
//! [`CHILD`] set to the folder; without it that test returns at once.

mod crash;
mod entries;
mod faults;
mod reading;
mod writing;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::model::{Clock, SystemClock, Timestamp};

const CHILD: &str = "STRONGROOM_AUDIT_CHILD";

/// A clock that tests move: milliseconds since 1970.
struct Hands(AtomicU64);

impl Hands {
    fn at(text: &str) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(Timestamp::parse(text).expect("RFC 3339").unix_ms())))
    }

    fn move_to(&self, text: &str) {
        self.0.store(Timestamp::parse(text).expect("RFC 3339").unix_ms(), Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.load(Ordering::SeqCst)).expect("before the year 9999")
    }
}

fn small() -> AuditOptions {
    AuditOptions { segment_bytes: 64 * 1024, reserve_bytes: 16 * 1024, ..AuditOptions::new("node-1") }
}

fn open(folder: &Path) -> (Arc<AuditLog>, Recovered) {
    AuditLog::open(folder, small(), Arc::new(SystemClock)).expect("the log opens")
}

fn read_draft(number: u64) -> Draft {
    Draft::new(Event::Read, "GetSecret").with("number", number)
}

fn all(folder: &Path) -> Vec<Entry> {
    let entries = Reader::open(folder).expect("listed").entries(Filter::default(), Order::OldestFirst);
    entries.collect::<Result<_, _>>().expect("an undamaged log")
}

fn segment_files(folder: &Path) -> Vec<PathBuf> {
    segment::segments_in(folder).expect("listed").into_iter().map(|first| folder.join(segment::segment_name(first))).collect()
}

/// What was acknowledged: by its sequence, the number that stands in the entry's detail.
#[derive(Default)]
struct Acknowledged(BTreeMap<u64, String>);

impl Acknowledged {
    /// Appends, and notes the entry unless it is refused.
    async fn append(&mut self, log: &AuditLog, draft: Draft) -> Result<(), AuditError> {
        let number = draft.detail["number"].clone();
        let written = log.append(draft).await?;
        self.note(written.sequence, number);
        Ok(())
    }

    fn note(&mut self, sequence: u64, number: String) {
        assert!(self.0.insert(sequence, number).is_none(), "sequence {sequence} was given twice");
    }

    fn last_sequence(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(sequence, _)| *sequence)
    }

    /// Every one of them stands in the log at its sequence, and the sequences have no gaps.
    fn assert_in(&self, folder: &Path) {
        let entries = all(folder);
        let sequences: Vec<u64> = entries.iter().map(|entry| entry.sequence).collect();
        assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>(), "gaps");
        let numbers: BTreeMap<_, _> = entries.iter().map(|entry| (entry.sequence, entry.detail.get("number"))).collect();
        for (sequence, number) in &self.0 {
            assert_eq!(numbers.get(sequence), Some(&Some(number)), "what was acknowledged as {sequence}");
        }
    }
}

/// Looks again and again until what is found is as wanted.
fn wait_until<Found: Debug>(look: impl Fn() -> Found, is_wanted: impl Fn(&Found) -> bool) {
    let began = Instant::now();
    loop {
        let found = look();
        if is_wanted(&found) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "after 10 s still {found:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits for the log to become writable by itself, without traffic.
fn wait_until_writable(log: &AuditLog) {
    wait_until(|| log.condition(), |condition| *condition == Condition::Writable);
}

/// Its mode is narrowed before that.
fn wait_until_the_spare_has_its_length(folder: &Path) {
    let length = || std::fs::metadata(folder.join("audit-spare")).map_or(0, |metadata| metadata.len());
    wait_until(length, |length| *length == small().segment_bytes);
}

/// The test of that name in a process of its own; `wrapper` goes before the command.
fn child(wrapper: &[&str], test: &str, folder: &Path) -> Command {
    let binary = std::env::current_exe().expect("the test binary");
    let words: Vec<_> = wrapper.iter().map(std::ffi::OsString::from).chain([binary.into_os_string()]).collect();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args([&format!("audit::tests::{test}"), "--exact", "--nocapture", "--test-threads=1"]);
    command.env(CHILD, folder);
    command
}

/// Runs it to its end. A name that no test has would be a success too: one test must have passed.
fn run_child(wrapper: &[&str], test: &str, folder: &Path) {
    let output = child(wrapper, test, folder).output().expect("the test binary runs");
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.contains("test result: ok. 1 passed;"), "{told}{errors}");
}

/// The folder, if this process is such a child.
fn child_folder() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}
