//! `strongroom doctor`: is this host set up as it should be? It looks and asks, and changes nothing.
//!
//! | word | meaning |
//! |---|---|
//! | [`Check`] | one thing to look at |
//! | [`Finding`] | what a check found: a [`Verdict`], what was seen, what to do |
//! | `Unseen` | what could not be seen, and why: it becomes UNKNOWN, never PASS |
//! | [`Report`] | all findings, and the worst verdict |
//!
//! ```text
//! configuration, files, /proc ──┐
//! operations listener (HTTP) ───┤
//! the server's port (TLS) ──────┼─ what was seen, or why not ──▶ check ──▶ findings ──▶ report
//! the server (with a profile) ──┘
//! ```
//!
//! | file | what |
//! |---|---|
//! | `finding` | the words above |
//! | `operations`, `server`, `process`, `peer` | ask: the operations listener; the server, as the profile's holder; `/proc`; the port |
//! | `configuration`, `pins`, `modes`, `memory`, `tls`, `lists`, `certificates`, `clock`, `disk`, `ports`, `reveal` | judge what was seen, by pure functions |
//!
//! All connections go to this host, whatever address the profile names: what answers elsewhere is another server.

mod certificates;
mod clock;
mod configuration;
mod disk;
mod finding;
mod lists;
mod memory;
mod modes;
mod operations;
mod peer;
mod pins;
mod ports;
mod process;
mod reveal;
mod server;
mod tls;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

pub use finding::{Check, Finding, Report, Verdict};

use crate::client::Profile;
use crate::config::{Config, ConfigError};
use crate::model::{Clock, SystemClock, with_causes};
use finding::Unseen;

/// Looks at everything. `profile` says who asks the server; without one, what only the server can tell stays unknown.
pub async fn examine(configuration: &Path, profile: Option<&Profile>) -> Report {
    let config = match Config::load(configuration) {
        Ok(config) => config,
        Err(error) => return without_configuration(&error),
    };
    let owner = modes::owner(&config.data_folder);
    let operations = operations::ask(config.operations).await;
    let address = reachable(config.listen, "listen");
    let answers = server::ask(address.clone(), profile).await;
    let sockets = process::listening();
    let process = sockets.clone().and_then(|sockets| process::serving(&config, &sockets));
    let shown = tls::look(address, profile).await;
    let log = pins::log(&config.audit_folder);
    let now = SystemClock.now();
    let items = [
        configuration::check(&configuration::look(&config.file), owner),
        pins::check(config.pinned.as_ref(), &answers, &log),
        modes::check(&config),
        memory::check(&answers, &operations, &process),
        tls::check(&shown, &config.tls.certificate),
        certificates::check_files(&config, &operations),
        lists::check(&config.tls.trust, now),
        certificates::check(&config.tls, now),
        clock::check(&answers, &operations, &log, now),
        disk::check(&config),
        vec![operations::check_audit(&answers, &operations)],
        ports::check(&config, &sockets, &process),
        reveal::check(&answers, &config.tls.trust, now),
    ];
    Report::new(items.concat(), &Unseen::new("nothing was seen", "tell whoever maintains strongroom"))
}

fn without_configuration(error: &ConfigError) -> Report {
    let denied = matches!(error, ConfigError::Unreadable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied);
    let told = with_causes(error);
    let finding = match denied {
        true => Check::Configuration.unknown(&Unseen::new(told, AS_ROOT)),
        false => Check::Configuration.fail(told, "correct it: the server would not start with it"),
    };
    Report::new(vec![finding], &Unseen::new("the configuration, which says where to look, cannot be used", "see `configuration` above"))
}

const AS_ROOT: &str = "run doctor as root, or as the user that runs the server";

/// Where a configured address can be reached from this host.
fn reachable(configured: SocketAddr, key: &str) -> Result<SocketAddr, Unseen> {
    if configured.port() == 0 {
        let why = format!("{key} has port 0, so the server takes any free one and nobody can tell which");
        return Err(Unseen::new(why, format!("name a port in {key}")));
    }
    let ip = match configured.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(SocketAddr::new(ip, configured.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_asked_on_the_loopback_and_port_0_nowhere() {
        let at = |text: &str| reachable(text.parse().expect("an address"), "listen").map(|address| address.to_string()).ok();
        assert_eq!(at("0.0.0.0:7443").as_deref(), Some("127.0.0.1:7443"));
        assert_eq!(at("[::]:7443").as_deref(), Some("[::1]:7443"));
        assert_eq!(at("10.0.0.1:7443").as_deref(), Some("10.0.0.1:7443"));
        assert_eq!(at("127.0.0.1:0"), None);
    }

    #[tokio::test]
    async fn without_a_configuration_nothing_passes() {
        let report = examine(Path::new("/nowhere/strongroom.toml"), None).await;
        assert_eq!(report.items[0].verdict, Verdict::Fail);
        assert!(report.items[1..].iter().all(|finding| finding.verdict == Verdict::Unknown), "{report:?}");
        let source = io::ErrorKind::PermissionDenied.into();
        let denied = without_configuration(&ConfigError::Unreadable { file: "a".into(), source });
        assert_eq!(denied.verdict, Verdict::Unknown);
    }
}
