//! Why a configuration was refused: file, line, key, what is wrong and what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a configuration was refused. Texts that were typed are not repeated, numbers are.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is absent, or its bytes cannot be had.
    #[error("{}: cannot be read", file.display())]
    Unreadable {
        /// The configuration file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is there but not to be believed: no regular file, too long, or open to anybody's pen.
    #[error("{}: {problem}", file.display())]
    Untrustworthy {
        /// The configuration file.
        file: PathBuf,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// Not TOML.
    #[error("{}{}: {problem}", file.display(), Line(*line))]
    Syntax {
        /// The configuration file.
        file: PathBuf,
        /// Counted from 1.
        line: Option<usize>,
        /// What the parser said.
        problem: String,
    },
    /// An unknown key, a missing one, or a value that is refused.
    #[error("{}{}: {key}: {problem}", file.display(), Line(*line))]
    Refused {
        /// The configuration file.
        file: PathBuf,
        /// Counted from 1; none if neither the key nor its table is there.
        line: Option<usize>,
        /// Dotted, e.g. `limits.page_max_items` or `tls.trust[0].class`.
        key: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Good, but it does not say which vault it is for.
    #[error("{}: vault_id and audit_public_key are missing: run `strongroom init` on this host once and copy both lines that it prints into this file", file.display())]
    NotPinned {
        /// The configuration file.
        file: PathBuf,
    },
}

/// What the second step finds wrong, before file and line are put to it.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) key: String,
    pub(super) problem: String,
}

impl Refused {
    pub(super) fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }
}

struct Line(Option<usize>);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}
