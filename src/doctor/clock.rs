//! Time: the vault's, this machine's, and whether somebody keeps the latter right.

use std::path::Path;
use std::time::Duration;

use super::finding::{Check, Finding, Unseen};
use super::operations::Operations;
use super::pins::Log;
use super::server::Answers;
use crate::model::Timestamp;

/// More than the way of a call and a leap second make.
const SLACK: Duration = Duration::from_secs(5);
/// What the vault itself calls implausible.
const IMPLAUSIBLE: Duration = Duration::from_secs(3600);
const SET: &str =
    "find out which clock is wrong, and have it set from the network; the vault's own goes on as soon as the machine's has caught up";

/// Who keeps the machine's clock right.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Keeper {
    /// systemd-timesyncd, and whether it has heard from a server.
    Timesyncd(bool),
    /// Another, which says nothing in a file.
    Silent(&'static str),
    /// Nobody who is known here.
    None,
}

pub(super) fn check(answers: &Answers, operations: &Result<Operations, Unseen>, log: &Log, now: Timestamp) -> Vec<Finding> {
    let ahead = operations.as_ref().map_err(Clone::clone).and_then(|told| told.value("strongroom_clock_ahead_seconds"));
    let vault = match &answers.status {
        Ok(status) => against(status.now, answers.asked),
        Err(_) => plausible(ahead),
    };
    vec![vault, logged(log.last.as_ref().map(|last| *last), now), kept(&keeper(Path::new("/run")))]
}

/// The vault's present, told between two instants of this machine.
fn against(vault: Timestamp, [before, after]: [Timestamp; 2]) -> Finding {
    let (ahead, behind) = (vault.since(after), before.since(vault));
    let off = ahead.max(behind);
    let found = format!("the vault's clock is {} s {} this machine's", off.as_secs(), if ahead > behind { "ahead of" } else { "behind" });
    if off > IMPLAUSIBLE {
        Check::Clock.fail(format!("{found}: nothing is purged while it is"), SET)
    } else if off > SLACK {
        Check::Clock.warn(found, SET)
    } else {
        Check::Clock.pass("the vault's clock and this machine's agree")
    }
}

/// The same as far as the server's metrics tell: 0, unless it is implausible.
fn plausible(ahead: Result<f64, Unseen>) -> Finding {
    match ahead {
        Ok(ahead) if ahead > 0.0 => {
            Check::Clock.fail(format!("the vault's clock is {ahead:.0} s ahead of what is plausible: nothing is purged while it is"), SET)
        }
        Ok(_) => Check::Clock.pass("the server finds the vault's clock plausible (within an hour)"),
        Err(unseen) => Check::Clock.unknown(&unseen),
    }
}

/// The vault's time never goes below that of the last entry.
fn logged(last: Result<Timestamp, &Unseen>, now: Timestamp) -> Finding {
    let last = match last {
        Ok(last) => last,
        Err(unseen) => return Check::Clock.unknown(unseen),
    };
    let found = format!("the last entry of the audit log is of {last}, {} s ahead of this machine's clock", last.since(now).as_secs());
    match last.since(now) {
        ahead if ahead > IMPLAUSIBLE => Check::Clock.fail(found, SET),
        ahead if ahead > SLACK => Check::Clock.warn(found, SET),
        _ => Check::Clock.pass(format!("the last entry of the audit log, of {last}, is not ahead of this machine's clock")),
    }
}

fn keeper(run: &Path) -> Keeper {
    let timesync = run.join("systemd/timesync");
    if timesync.join("synchronized").exists() {
        Keeper::Timesyncd(true)
    } else if run.join("chrony").exists() {
        Keeper::Silent("`chronyc tracking`")
    } else if run.join("ntpd.pid").exists() {
        Keeper::Silent("`ntpq -p`")
    } else if timesync.exists() {
        Keeper::Timesyncd(false)
    } else {
        Keeper::None
    }
}

fn kept(keeper: &Keeper) -> Finding {
    match keeper {
        Keeper::Timesyncd(true) => Check::Clock.pass("systemd-timesyncd keeps this machine's clock right"),
        Keeper::Timesyncd(false) => {
            Check::Clock.warn("systemd-timesyncd has not heard from a time server yet", "see `timedatectl timesync-status`")
        }
        Keeper::Silent(ask) => {
            Check::Clock.unknown(&Unseen::new("whether this machine's clock is kept right stands in no file", format!("ask it: {ask}")))
        }
        Keeper::None => Check::Clock.unknown(&Unseen::new(
            "who keeps this machine's clock right cannot be seen: neither systemd-timesyncd nor chrony runs here",
            "run one of them; in a container or a virtual machine, see to its host",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_unix_ms(milliseconds).expect("valid")
    }

    #[test]
    fn clocks_agree_within_five_seconds_and_an_hour_is_too_much() {
        let base = 10_000_000;
        let verdict = |vault| against(at(vault), [at(base), at(base + 1_000)]).verdict;
        assert_eq!(verdict(base + 500), Verdict::Pass);
        assert_eq!(verdict(base + 6_000), Verdict::Pass);
        assert_eq!(verdict(base + 6_001), Verdict::Warn);
        assert_eq!(verdict(base - 5_000), Verdict::Pass);
        assert_eq!(verdict(base - 5_001), Verdict::Warn);
        assert_eq!(verdict(base + 3_601_000), Verdict::Warn);
        assert_eq!(verdict(base + 3_601_001), Verdict::Fail);
        assert_eq!(verdict(base - 3_600_001), Verdict::Fail);
        assert_eq!(plausible(Ok(0.0)).verdict, Verdict::Pass);
        assert_eq!(plausible(Ok(3_601.0)).verdict, Verdict::Fail);
        assert_eq!(plausible(Err(Unseen::new("", ""))).verdict, Verdict::Unknown);
    }

    #[test]
    fn a_log_from_the_future_is_seen() {
        let verdict = |last| logged(Ok(at(last)), at(10_000_000)).verdict;
        assert_eq!(verdict(1), Verdict::Pass);
        assert_eq!(verdict(10_005_000), Verdict::Pass);
        assert_eq!(verdict(10_005_001), Verdict::Warn);
        assert_eq!(verdict(13_600_000), Verdict::Warn);
        assert_eq!(verdict(13_600_001), Verdict::Fail);
        assert_eq!(logged(Err(&Unseen::new("", "")), at(1)).verdict, Verdict::Unknown);
    }

    #[test]
    fn a_keeper_that_says_nothing_is_no_pass() {
        let run = tempfile::tempdir().expect("a folder");
        let judged = || kept(&keeper(run.path())).verdict;
        assert_eq!(judged(), Verdict::Unknown);
        std::fs::create_dir_all(run.path().join("systemd/timesync")).expect("made");
        assert_eq!(judged(), Verdict::Warn);
        std::fs::create_dir(run.path().join("chrony")).expect("made");
        assert_eq!(judged(), Verdict::Unknown);
        std::fs::write(run.path().join("systemd/timesync/synchronized"), "").expect("written");
        assert_eq!(judged(), Verdict::Pass);
    }
}
