//! What a check found, and the verdict on all of it.

use serde::Serialize;

/// How it is. From the best to the worst; of several findings the worst speaks for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// It was looked at, and is as it should be.
    Pass,
    /// It could not be seen.
    Unknown,
    /// It works, and somebody should look at it.
    Warn,
    /// It is not as it should be.
    Fail,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The configuration file: whether it makes sense, and who may write it.
    Configuration,
    /// Whether the vault is the one that the configuration pins.
    Pins,
    /// Modes and owners of the key, the store and the log.
    FileModes,
    /// Whether the server's memory can get into a file or another process.
    CoreDumps,
    /// Whether keys can be swapped out.
    MemoryLocking,
    /// TLS as somebody sees it who connects.
    Tls,
    /// What a start would make of the files of certificates, keys and lists.
    TlsFiles,
    /// Ages and ends of revocation lists.
    RevocationLists,
    /// Ends of certificates.
    Certificates,
    /// The vault's clock and the machine's.
    Clock,
    /// Room on the disks of store and log.
    DiskSpace,
    /// Whether entries of the audit log can be written.
    Audit,
    /// Which ports are open, against the configuration.
    Ports,
    /// Who can reveal secrets.
    Reveal,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// By which check.
    pub check: Check,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen, or why nothing was.
    pub found: String,
    /// What to do; empty where there is nothing.
    pub advice: String,
}

/// All findings, in the order of [`Check::ALL`], at least one for each check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The findings.
    pub items: Vec<Finding>,
    /// The worst of them.
    pub verdict: Verdict,
}

/// Something that could not be seen: why, and what would show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unseen {
    pub(super) why: String,
    pub(super) advice: String,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Unknown => "UNKNOWN",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Configuration,
        Self::Pins,
        Self::FileModes,
        Self::CoreDumps,
        Self::MemoryLocking,
        Self::Tls,
        Self::TlsFiles,
        Self::RevocationLists,
        Self::Certificates,
        Self::Clock,
        Self::DiskSpace,
        Self::Audit,
        Self::Ports,
        Self::Reveal,
    ];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Pins => "pins",
            Self::FileModes => "file-modes",
            Self::CoreDumps => "core-dumps",
            Self::MemoryLocking => "memory-locking",
            Self::Tls => "tls",
            Self::TlsFiles => "tls-files",
            Self::RevocationLists => "revocation-lists",
            Self::Certificates => "certificates",
            Self::Clock => "clock",
            Self::DiskSpace => "disk-space",
            Self::Audit => "audit",
            Self::Ports => "ports",
            Self::Reveal => "reveal",
        }
    }

    pub(super) fn pass(self, found: impl Into<String>) -> Finding {
        Finding { check: self, verdict: Verdict::Pass, found: found.into(), advice: String::new() }
    }

    pub(super) fn warn(self, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { check: self, verdict: Verdict::Warn, found: found.into(), advice: advice.into() }
    }

    pub(super) fn fail(self, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { check: self, verdict: Verdict::Fail, found: found.into(), advice: advice.into() }
    }

    pub(super) fn unknown(self, unseen: &Unseen) -> Finding {
        Finding { check: self, verdict: Verdict::Unknown, found: unseen.why.clone(), advice: unseen.advice.clone() }
    }
}

impl Unseen {
    pub(super) fn new(why: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { why: why.into(), advice: advice.into() }
    }
}

impl Report {
    /// A check without a finding has seen nothing, and says so: with `unseen`.
    pub(super) fn new(mut items: Vec<Finding>, unseen: &Unseen) -> Self {
        let silent: Vec<_> = Check::ALL.into_iter().filter(|check| items.iter().all(|finding| finding.check != *check)).collect();
        items.extend(silent.into_iter().map(|check| check.unknown(unseen)));
        items.sort_by_key(|finding| Check::ALL.iter().position(|check| *check == finding.check));
        let verdict = items.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Unknown);
        Self { items, verdict }
    }

    /// Whether nothing failed; where `strict`, whether everything was seen and is as it should be.
    #[must_use]
    pub fn is_good(&self, strict: bool) -> bool {
        self.verdict <= if strict { Verdict::Pass } else { Verdict::Warn }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(items: Vec<Finding>) -> Report {
        Report::new(items, &Unseen::new("nobody looked", "look"))
    }

    fn all_pass() -> Vec<Finding> {
        Check::ALL.into_iter().rev().map(|check| check.pass("")).collect()
    }

    #[test]
    fn the_worst_speaks_for_all_and_an_unseen_thing_is_worse_than_a_good_one() {
        let unseen = Unseen::new("", "");
        for (finding, verdict, good, strictly) in [
            (Check::Pins.pass(""), Verdict::Pass, true, true),
            (Check::Pins.unknown(&unseen), Verdict::Unknown, true, false),
            (Check::Pins.warn("", ""), Verdict::Warn, true, false),
            (Check::Pins.fail("", ""), Verdict::Fail, false, false),
        ] {
            let mut items = all_pass();
            items.push(finding);
            let report = report(items);
            assert_eq!((report.verdict, report.is_good(false), report.is_good(true)), (verdict, good, strictly));
        }
    }

    #[test]
    fn a_check_that_says_nothing_has_seen_nothing() {
        let report = report(vec![Check::Reveal.pass(""), Check::Configuration.pass("")]);
        assert_eq!(report.items.len(), Check::ALL.len());
        assert_eq!(report.verdict, Verdict::Unknown);
        assert!(report.items.iter().map(|finding| finding.check).eq(Check::ALL));
    }

    #[test]
    fn json_has_the_words_of_the_table() {
        for check in Check::ALL {
            assert_eq!(serde_json::to_value(check).expect("JSON"), check.word());
        }
        for verdict in [Verdict::Pass, Verdict::Unknown, Verdict::Warn, Verdict::Fail] {
            assert_eq!(serde_json::to_value(verdict).expect("JSON"), verdict.word());
        }
    }
}
