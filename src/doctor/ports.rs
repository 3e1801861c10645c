//! Open ports against the configuration: what it names is open there and not wider, and the server has no others.

use std::net::SocketAddr;

use super::finding::{Check, Finding, Unseen};
use super::process::{Listening, Process, takes};
use crate::config::Config;

pub(super) fn check(config: &Config, sockets: &Result<Vec<Listening>, Unseen>, process: &Result<Process, Unseen>) -> Vec<Finding> {
    let configured: Vec<_> =
        std::iter::once(("listen", config.listen)).chain(config.operations.map(|address| ("operations.listen", address))).collect();
    let sockets = match sockets {
        Ok(sockets) => sockets,
        Err(unseen) => return vec![Check::Ports.unknown(unseen)],
    };
    let running = process.is_ok();
    let mut found: Vec<_> = configured.iter().map(|(key, address)| one(key, *address, sockets, running)).collect();
    found.push(others(&configured, sockets, process));
    found
}

fn one(key: &str, configured: SocketAddr, sockets: &[Listening], running: bool) -> Finding {
    if configured.port() == 0 {
        return Check::Ports.unknown(&Unseen::new(format!("{key} has port 0: any free one"), format!("name a port in {key}")));
    }
    let around: Vec<_> = sockets.iter().map(|socket| socket.address).filter(|bound| takes(*bound, configured)).collect();
    if let Some(wider) = around.iter().find(|bound| **bound != configured) {
        let found = format!("{key} names {configured}, but {wider} is open, on every address of this host");
        return Check::Ports.fail(found, "start the server again with this configuration, and see what else listens (`ss -ltnp`)");
    }
    let remote = key.starts_with("operations") && !configured.ip().is_loopback();
    match (around.is_empty(), running) {
        (false, _) if remote => Check::Ports.warn(
            format!("{key} is open at {configured}, without TLS, and not on the loopback alone"),
            "fence it with a firewall, or name a loopback address",
        ),
        (false, _) => Check::Ports.pass(format!("{key} is open at {configured}, and not wider")),
        (true, true) => Check::Ports.fail(
            format!("nothing listens at {configured}, which {key} names, although the server runs"),
            "start the server again: it runs on another configuration",
        ),
        (true, false) => Check::Ports.unknown(&Unseen::new(
            format!("nothing listens at {configured}, which {key} names"),
            "start the server; if it runs, see whether it was started with this configuration",
        )),
    }
}

/// Whatever else the server's process listens at.
fn others(configured: &[(&str, SocketAddr)], sockets: &[Listening], process: &Result<Process, Unseen>) -> Finding {
    let process = match process {
        Ok(process) => process,
        Err(Unseen { why, advice }) => {
            let why = format!("whether the server listens elsewhere, too, cannot be seen: {why}");
            return Check::Ports.unknown(&Unseen::new(why, advice.clone()));
        }
    };
    let own = sockets.iter().filter(|socket| process.sockets.contains(&socket.inode));
    let strange = own.filter(|socket| !configured.iter().any(|(_, address)| takes(socket.address, *address)));
    let strange: Vec<_> = strange.map(|socket| socket.address.to_string()).collect();
    if strange.is_empty() {
        return Check::Ports.pass(format!("the server (process {}) listens nowhere else", process.pid));
    }
    Check::Ports.fail(
        format!("the server (process {}) also listens at {}, which the configuration does not name", process.pid, strange.join(", ")),
        "start the server again with this configuration",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn sockets(addresses: &[&str]) -> Vec<Listening> {
        let numbered = addresses.iter().zip(1..);
        numbered.map(|(address, inode)| Listening { address: address.parse().expect("valid"), inode }).collect()
    }

    #[test]
    fn an_address_is_open_as_configured_and_not_wider() {
        let verdict = |open: &[&str], running| one("listen", "127.0.0.1:7443".parse().expect("valid"), &sockets(open), running).verdict;
        assert_eq!(verdict(&["127.0.0.1:7443", "0.0.0.0:22"], true), Verdict::Pass);
        assert_eq!(verdict(&["0.0.0.0:7443"], true), Verdict::Fail);
        assert_eq!(verdict(&["127.0.0.1:7443", "[::]:7443"], true), Verdict::Fail);
        assert_eq!(verdict(&["127.0.0.1:7444"], true), Verdict::Fail);
        assert_eq!(verdict(&["127.0.0.2:7443"], false), Verdict::Unknown);
        let at = |key, address: &str| one(key, address.parse().expect("valid"), &sockets(&["0.0.0.0:7443", "127.0.0.1:1"]), true).verdict;
        assert_eq!(at("listen", "0.0.0.0:7443"), Verdict::Pass);
        assert_eq!(at("listen", "0.0.0.0:0"), Verdict::Unknown);
        assert_eq!(at("operations.listen", "0.0.0.0:7443"), Verdict::Warn);
        assert_eq!(at("operations.listen", "127.0.0.1:1"), Verdict::Pass);
    }

    #[test]
    fn a_socket_that_nobody_configured_is_seen() {
        let open = sockets(&["127.0.0.1:7443", "127.0.0.1:9999", "0.0.0.0:22"]);
        let configured = [("listen", "127.0.0.1:7443".parse().expect("valid"))];
        let process = |sockets: &[u64]| Ok(Process { pid: 7, sockets: sockets.iter().copied().collect(), lock_limit: Ok(None) });
        assert_eq!(others(&configured, &open, &process(&[1])).verdict, Verdict::Pass);
        let strange = others(&configured, &open, &process(&[1, 2]));
        assert!(strange.verdict == Verdict::Fail && strange.found.contains("127.0.0.1:9999"), "{strange:?}");
        assert_eq!(others(&configured, &open, &Err(Unseen::new("", ""))).verdict, Verdict::Unknown);
    }
}
