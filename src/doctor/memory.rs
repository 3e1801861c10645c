//! The server's memory: can it get into a file, into another process, into swap?

use std::fs;

use super::finding::{Check, Finding, Unseen};
use super::operations::Operations;
use super::process::Process;
use super::server::Answers;

/// Below this, keys that come later may find no room that can be locked: some chunks of 64 KiB.
const LOCKED_LEAST_BYTES: u64 = 1 << 20;
const CORE_PATTERN: &str = "/proc/sys/kernel/core_pattern";

pub(super) fn check(answers: &Answers, operations: &Result<Operations, Unseen>, process: &Result<Process, Unseen>) -> Vec<Finding> {
    let pattern = fs::read_to_string(CORE_PATTERN).ok();
    let limit = process.as_ref().map_err(Clone::clone).and_then(|process| process.lock_limit.clone());
    vec![core_dumps(&protected(answers, operations), pattern.as_deref()), locking(&kind(answers, operations), &limit)]
}

fn protected(answers: &Answers, operations: &Result<Operations, Unseen>) -> Result<bool, Unseen> {
    match (&answers.status, operations) {
        (Ok(status), _) => Ok(status.memory_protected),
        (Err(_), Ok(operations)) => operations.value("strongroom_memory_protected").map(|value| value > 0.0),
        (Err(_), Err(unseen)) => Err(unseen.clone()),
    }
}

fn kind(answers: &Answers, operations: &Result<Operations, Unseen>) -> Result<String, Unseen> {
    match (&answers.status, operations) {
        (Ok(status), _) => Ok(status.key_memory.clone()),
        (Err(_), Ok(operations)) => operations.label("strongroom_key_memory_info", "kind"),
        (Err(_), Err(unseen)) => Err(unseen.clone()),
    }
}

/// A process that may not be dumped leaves no core, whatever the kernel would do with one.
fn core_dumps(protected: &Result<bool, Unseen>, pattern: Option<&str>) -> Finding {
    let to = match pattern.map(str::trim_end) {
        None => "cannot be seen".to_owned(),
        Some("") => "is empty".to_owned(),
        Some(pattern) if pattern.starts_with('|') => format!("hands them to a program ({pattern})"),
        Some(pattern) => format!("writes them to {pattern}"),
    };
    match protected {
        Ok(true) => Check::CoreDumps
            .pass(format!("the server leaves no core dump and refuses debuggers (the kernel's core_pattern, for other processes, {to})")),
        Ok(false) => Check::CoreDumps.fail(
            format!("the server's memory, keys included, can get into a core dump or a debugger; the kernel's core_pattern {to}"),
            "allow prctl(PR_SET_DUMPABLE) and setrlimit in the service's sandbox, and set LimitCORE=0",
        ),
        Err(unseen) => Check::CoreDumps.unknown(unseen),
    }
}

/// `limit` is the most that the server may lock, `None` for no bound.
fn locking(kind: &Result<String, Unseen>, limit: &Result<Option<u64>, Unseen>) -> Finding {
    let lies = match kind.as_deref() {
        Ok("memfd_secret") => "keys lie in memory that not even the kernel maps (memfd_secret)".to_owned(),
        Ok("mlock") => "keys lie in locked memory (mlock), which is never swapped out; this kernel has no memfd_secret for it".to_owned(),
        Ok(other) => {
            let found = format!("keys lie in memory that can be swapped to a disk ({other})");
            return Check::MemoryLocking.fail(found, "raise LimitMEMLOCK (RLIMIT_MEMLOCK) to 8 MiB at least, and switch swap off");
        }
        Err(unseen) => return Check::MemoryLocking.unknown(unseen),
    };
    match limit {
        Ok(Some(limit)) if *limit < LOCKED_LEAST_BYTES => Check::MemoryLocking.warn(
            format!("{lies}, but the server may lock {limit} bytes only: keys that come later may find no room"),
            "raise LimitMEMLOCK (RLIMIT_MEMLOCK) to 8 MiB",
        ),
        Ok(Some(limit)) => Check::MemoryLocking.pass(format!("{lies}; the server may lock {limit} bytes")),
        Ok(None) => Check::MemoryLocking.pass(format!("{lies}; the server may lock as much as it likes")),
        Err(Unseen { why, advice }) => {
            Check::MemoryLocking.unknown(&Unseen::new(format!("{lies}, but how much it may lock cannot be seen: {why}"), advice.clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn unseen<T>() -> Result<T, Unseen> {
        Err(Unseen::new("hidden", ""))
    }

    #[test]
    fn what_can_be_dumped_fails_and_the_kernel_s_pattern_is_told() {
        assert_eq!(core_dumps(&Ok(true), Some("core")).verdict, Verdict::Pass);
        let fail = core_dumps(&Ok(false), Some("|/usr/lib/systemd/systemd-coredump %P\n"));
        assert!(fail.verdict == Verdict::Fail && fail.found.contains("systemd-coredump %P)"), "{fail:?}");
        assert_eq!(core_dumps(&unseen(), Some("core")).verdict, Verdict::Unknown);
    }

    #[test]
    fn locked_memory_passes_with_room_for_more() {
        let judged = |kind: &str, limit| locking(&Ok(kind.to_owned()), &limit).verdict;
        for kind in ["memfd_secret", "mlock"] {
            assert_eq!(judged(kind, Ok(Some(LOCKED_LEAST_BYTES))), Verdict::Pass);
            assert_eq!(judged(kind, Ok(None)), Verdict::Pass);
            assert_eq!(judged(kind, Ok(Some(LOCKED_LEAST_BYTES - 1))), Verdict::Warn);
            assert_eq!(judged(kind, unseen()), Verdict::Unknown);
        }
        for kind in ["unlocked", "heap", ""] {
            assert_eq!(judged(kind, Ok(None)), Verdict::Fail);
        }
        assert_eq!(locking(&unseen(), &Ok(None)).verdict, Verdict::Unknown);
    }
}
