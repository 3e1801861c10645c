//! Configuration in two steps: what was typed, and what it means.
//!
//! ```text
//! strongroom.toml --source--> text --raw--> RawConfig --check--> Config --> everything inward
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | `source` | reads the file, refuses one that strangers may write, finds the line of a key |
//! | `raw` | the keys as typed: names, types, nothing unknown |
//! | `bounds` | each number's default and its least and most |
//! | `check` | raw -> [`Config`]: defaults, bounds, what must fit together |
//! | `trust` | trust domains, their roots and how revocation is known; custodians |
//! | `hsm` | the HSMs that open slots |
//! | `traces` | where traces go, if anywhere |
//! | `place` | where a path leads |
//! | `error` | [`ConfigError`]: file, line, key, what is wrong, what to do |
//!
//! There is no key for a secret, and no refusal repeats a text that was typed: somebody will put one there all the same.
//! Every key, unit, default and bound stands in `docs/configuration.md`.

mod bounds;
mod check;
mod error;
mod hsm;
mod place;
mod raw;
mod source;
#[cfg(test)]
mod tests;
mod traces;
mod trust;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;

use crate::hsm::Token;
use crate::model::{Class, HsmName, SpiffeId, TrustDomain, VaultId};

pub use bounds::Bound;
pub use error::ConfigError;

/// All that the configuration file says, checked: every value within its bounds, every path absolute.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file it came from, absolute.
    pub file: PathBuf,
    /// Where the gRPC server listens. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// Where health and metrics are told over plain HTTP; `None` if nowhere.
    pub operations: Option<SocketAddr>,
    /// This node's name in the audit log: 1 to 64 letters, digits, `.`, `-` and `_`.
    pub node: String,
    /// Which vault this is; `None` until `init` has made it. [`Config::pins`] insists.
    pub pinned: Option<Pins>,
    /// Where the store lies. Neither in the audit folder nor around it.
    pub data_folder: PathBuf,
    /// Where the audit log lies: in production a volume of its own.
    pub audit_folder: PathBuf,
    /// The server's certificate, and whose clients it believes.
    pub tls: Tls,
    /// Who may unseal, and see the condition of a sealed vault. At least one, each in a domain of operators.
    pub custodians: Vec<SpiffeId>,
    /// What bounds requests and connections.
    pub limits: Limits,
    /// The embedded store.
    pub store: Store,
    /// The audit log's files.
    pub audit: Audit,
    /// The operational log.
    pub log: Log,
    /// Where traces go; `None` if nowhere, and always in a program that was built without them.
    pub traces: Option<Traces>,
    /// HSMs that open slots, 8 at most, in the order in which they are asked.
    pub hsms: Vec<Hsm>,
}

/// An HSM that opens a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hsm {
    /// What it is called in commands and logs: 1 to 63 of `a-z`, `0-9` and `-`.
    pub name: HsmName,
    /// The key in it, and the way there.
    pub token: Token,
    /// Whether the vault opens by itself after a start, if a slot allows it.
    pub unseal_at_start: bool,
}

/// What `init` printed and the configuration pins, so that nobody can put another vault in this one's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pins {
    /// The vault's id.
    pub vault_id: VaultId,
    /// The Ed25519 public key (RFC 8032, 32 bytes) under which the audit log is signed.
    pub audit_public_key: [u8; 32],
}

/// The server's certificate, and whose clients it believes. PEM files all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The server's chain, leaf first.
    pub certificate: PathBuf,
    /// The leaf's private key.
    pub key: PathBuf,
    /// One entry for each trust domain, at least one.
    pub trust: Vec<Trust>,
}

/// A trust domain: who vouches for its members, and what they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The domain of the SPIFFE IDs.
    pub domain: TrustDomain,
    /// What its members are.
    pub class: Class,
    /// Root certificates, at least one. No file serves two domains.
    pub roots: Vec<PathBuf>,
    /// How a certificate that was taken back is known.
    pub revocation: Revocation,
}

/// How a certificate that was taken back is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revocation {
    /// By these revocation lists, at least one; a certificate of unknown status is refused.
    Lists(Vec<PathBuf>),
    /// By its end: only leaves that live no longer than this (1 to 24 hours) are accepted.
    ShortLived {
        /// From `notBefore` to `notAfter`.
        max_leaf_lifetime: Duration,
    },
    /// Not at all, as somebody wrote in so many words.
    None,
}

/// What bounds requests and connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest payload of a secret.
    pub payload_max_bytes: usize,
    /// Longest gRPC message in either direction; always room for a payload and 16 KiB around it.
    pub message_max_bytes: usize,
    /// Longest header list of a request.
    pub header_list_max_bytes: u32,
    /// Streams that one connection may have open.
    pub streams_per_connection: u32,
    /// Connections open at once.
    pub connections_max: usize,
    /// Those of one principal, at most as many as there may be in all.
    pub connections_per_principal_max: usize,
    /// Calls under way at once.
    pub calls_max: usize,
    /// Those of one principal, at most as many as there may be in all.
    pub calls_per_principal_max: usize,
    /// How many calls a principal may make in a second, in the long run.
    pub calls_per_principal_per_s: u32,
    /// How many it may make at once after a pause.
    pub calls_per_principal_burst: u32,
    /// Handshakes under way at once, at most as many as connections.
    pub handshakes_max: usize,
    /// Those from one IPv4 address or IPv6 /64, so that one stranger cannot take all places.
    pub handshakes_per_address_max: usize,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// How long a connection may be without a stream.
    pub idle_timeout: Duration,
    /// How old a connection may become; it never outlives its certificate.
    pub connection_age_max: Duration,
    /// The longest deadline that a caller gets, whatever it asks for; at most the connection's age.
    pub request_timeout: Duration,
    /// How long calls under way may take when the server ends.
    pub drain_timeout: Duration,
    /// Longest page of a list.
    pub page_max_items: usize,
    /// Watches at once.
    pub watches_max: usize,
    /// Those of one principal, at most as many as there may be in all.
    pub watches_per_principal_max: usize,
    /// How often a watch gives a sign of life; shorter than the idle timeout, so that it keeps its connection.
    pub watch_heartbeat: Duration,
}

/// The embedded store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Store {
    /// Memory for pages.
    pub cache_bytes: u64,
    /// Free disk space below which writes are refused, so that `status` and `seal` go on working.
    pub reserve_bytes: u64,
}

/// The audit log's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audit {
    /// Length of a segment file.
    pub segment_bytes: u64,
    /// The last room of a segment, for refusals, outcomes, `status` and `seal` alone.
    pub reserve_bytes: u64,
}

/// The operational log, which goes to standard error. It is not the audit log and holds no names of secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// The least severe that is written.
    pub level: LogLevel,
}

/// How a line of the operational log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Severities of the operational log. There is no `trace`: it would show the libraries' buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Somebody must act.
    Error,
    /// Somebody should look.
    Warn,
    /// What happened.
    Info,
    /// For whoever hunts a fault.
    Debug,
}

/// Where traces go, and how many.
#[derive(Debug, Clone, PartialEq)]
pub struct Traces {
    /// The collector's: `http`, a host and a port. On the loopback, unless somebody said otherwise.
    pub endpoint: Uri,
    /// The part of all traces that is taken, from 0 to 1.
    pub sample_ratio: f64,
}

impl Config {
    /// Reads, parses and checks the file. Relative paths in it are relative to its folder. No other file is opened.
    ///
    /// # Errors
    /// The file cannot be read, can be written by anybody, is no TOML, or holds a key or a value that is refused.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file = std::path::absolute(path).map_err(|source| ConfigError::Unreadable { file: path.to_owned(), source })?;
        let text = source::read(&file)?;
        Self::parse(&text, file)
    }

    /// What pins the vault.
    ///
    /// # Errors
    /// [`ConfigError::NotPinned`]: `init` has not been run, or what it printed was not put into the file.
    pub fn pins(&self) -> Result<Pins, ConfigError> {
        self.pinned.ok_or_else(|| ConfigError::NotPinned { file: self.file.clone() })
    }

    /// The HSM of this name.
    #[must_use]
    pub fn hsm(&self, name: &HsmName) -> Option<&Hsm> {
        self.hsms.iter().find(|hsm| hsm.name == *name)
    }

    /// Every number that can be set, with its default and bounds.
    #[must_use]
    pub fn bounds() -> &'static [Bound] {
        bounds::ALL
    }

    fn parse(text: &str, file: PathBuf) -> Result<Self, ConfigError> {
        let raw = toml::from_str(text).map_err(|error| source::explain(&file, text, &error))?;
        check::config(raw, file.clone()).map_err(|refused| {
            let line = source::line_of(text, &refused.key);
            ConfigError::Refused { file, line, key: refused.key, problem: refused.problem }
        })
    }
}
