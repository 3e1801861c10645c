//! What the kernel says under `/proc`: which sockets listen, and what it lets the server's process do.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::AS_ROOT;
use super::finding::Unseen;
use crate::config::Config;

/// State of a socket that listens (include/net/tcp_states.h).
const LISTEN: &str = "0A";
/// The bit of `CAP_IPC_LOCK` (capabilities(7)): whoever has it may lock all memory.
const IPC_LOCK: u64 = 1 << 14;

/// A socket that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listening {
    pub(super) address: SocketAddr,
    pub(super) inode: u64,
}

/// The server's process.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// The inodes of its sockets.
    pub(super) sockets: BTreeSet<u64>,
    /// How many bytes it may lock; `None` for no bound.
    pub(super) lock_limit: Result<Option<u64>, Unseen>,
}

/// All sockets of this network namespace that listen.
pub(super) fn listening() -> Result<Vec<Listening>, Unseen> {
    let read = |file: &str| match fs::read_to_string(file) {
        Ok(text) => Ok(parse(&text)),
        // A machine without IPv6.
        Err(error) if error.kind() == ErrorKind::NotFound && file.ends_with('6') => Ok(Vec::new()),
        Err(error) => Err(Unseen::new(format!("{file}: {error}"), "run doctor where /proc is mounted")),
    };
    Ok([read("/proc/net/tcp")?, read("/proc/net/tcp6")?].concat())
}

/// The process that holds a socket at one of the configured addresses, or around it.
pub(super) fn serving(config: &Config, sockets: &[Listening]) -> Result<Process, Unseen> {
    let configured: Vec<_> = [Some(config.listen), config.operations].into_iter().flatten().collect();
    let near = |socket: &&Listening| configured.iter().any(|address| takes(socket.address, *address));
    let inodes: BTreeSet<_> = sockets.iter().filter(near).map(|socket| socket.inode).collect();
    if inodes.is_empty() {
        return Err(Unseen::new(
            "nothing listens at the configured addresses",
            "start the server; if it runs, see whether it was started with this configuration",
        ));
    }
    let holders = processes().filter_map(|pid| {
        let sockets = sockets_of(pid).ok()?;
        sockets.iter().any(|inode| inodes.contains(inode)).then_some((pid, sockets))
    });
    // A service manager that handed the socket over holds it, too, and is the older one.
    let (pid, sockets) = holders
        .max_by_key(|(pid, _)| *pid)
        .ok_or_else(|| Unseen::new("the process that listens there cannot be looked into", "run doctor as root"))?;
    Ok(Process { pid, sockets, lock_limit: lock_limit(pid) })
}

/// Whether a socket at `bound` gets what is sent to `address`.
pub(super) fn takes(bound: SocketAddr, address: SocketAddr) -> bool {
    bound.port() == address.port() && (bound.ip() == address.ip() || bound.ip().is_unspecified())
}

fn parse(table: &str) -> Vec<Listening> {
    table.lines().skip(1).filter_map(line).collect()
}

/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …` (proc_pid_net(5)).
fn line(line: &str) -> Option<Listening> {
    let words: Vec<_> = line.split_ascii_whitespace().collect();
    if words.get(3) != Some(&LISTEN) {
        return None;
    }
    let (ip, port) = words.get(1)?.split_once(':')?;
    let address = SocketAddr::new(ip_of(ip)?.to_canonical(), u16::from_str_radix(port, 16).ok()?);
    Some(Listening { address, inode: words.get(9)?.parse().ok()? })
}

/// Words of four bytes, each in the order of this machine.
fn ip_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let bytes = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into())
        }
        _ => None,
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn sockets_of(pid: u32) -> io::Result<BTreeSet<u64>> {
    let inode = |path: &Path| {
        let target = fs::read_link(path).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.filter_map(|entry| inode(&entry.ok()?.path())).collect())
}

fn lock_limit(pid: u32) -> Result<Option<u64>, Unseen> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::read_to_string(&path).map_err(|error| Unseen::new(format!("{path}: {error}"), AS_ROOT))
    };
    limit(&read("limits")?, &read("status")?).ok_or_else(|| Unseen::new("the kernel does not tell the process's limits", AS_ROOT))
}

fn limit(limits: &str, status: &str) -> Option<Option<u64>> {
    let capabilities = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok())?;
    if capabilities & IPC_LOCK != 0 {
        return Some(None);
    }
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max locked memory")?.split_ascii_whitespace().next())?;
    if soft == "unlimited" { Some(None) } else { soft.parse().ok().map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_listen_are_read_out_of_both_tables() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("bound");
        let of = |address| listening().expect("readable").into_iter().filter(|socket| socket.address == address).count();
        assert_eq!(of(address), 1);
        let inode = listening().expect("readable").into_iter().find(|socket| socket.address == address).expect("it listens").inode;
        assert!(sockets_of(std::process::id()).expect("its own").contains(&inode));
        let connected = std::net::TcpStream::connect(address).expect("connected");
        assert_eq!(of(connected.local_addr().expect("connected")), 0, "it does not listen");
        if let Ok(six) = std::net::TcpListener::bind("[::1]:0") {
            assert_eq!(of(six.local_addr().expect("bound")), 1);
        }
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let line = |address: &str, state: &str| {
            line(&format!("  0: {address}:1D13 00000000:0000 {state} 00000000:00000000 00:00000000 0 7 0 4711 1"))
        };
        let address = |text: &str| line(text, LISTEN).map(|socket| socket.address.to_string());
        assert_eq!(address("0100007F").as_deref(), Some("127.0.0.1:7443"));
        assert_eq!(address("00000000000000000000000001000000").as_deref(), Some("[::1]:7443"));
        assert_eq!(address("0000000000000000FFFF00000100007F").as_deref(), Some("127.0.0.1:7443"));
        assert_eq!(line("0100007F", LISTEN).map(|socket| socket.inode), Some(4711));
        assert!(line("0100007F", "01").is_none() && address("0100007").is_none() && address("").is_none());
    }

    #[test]
    fn a_wildcard_takes_what_is_sent_to_any_address() {
        let takes = |bound: &str, address: &str| takes(bound.parse().expect("valid"), address.parse().expect("valid"));
        assert!(takes("127.0.0.1:1", "127.0.0.1:1") && takes("0.0.0.0:1", "127.0.0.1:1") && takes("[::]:1", "127.0.0.1:1"));
        assert!(!takes("127.0.0.1:2", "127.0.0.1:1") && !takes("127.0.0.2:1", "127.0.0.1:1"));
    }

    #[test]
    fn what_may_be_locked_is_the_limit_unless_the_capability_lifts_it() {
        let limits = |soft: &str| format!("Limit  Soft Limit  Hard Limit  Units\nMax locked memory         {soft}    8388608    bytes\n");
        let without = "CapEff:\t0000000000000000\n";
        assert_eq!(limit(&limits("65536"), without), Some(Some(65536)));
        assert_eq!(limit(&limits("unlimited"), without), Some(None));
        assert_eq!(limit(&limits("65536"), "CapEff:\t0000000000004000\n"), Some(None));
        assert_eq!(limit("", without), None);
        assert_eq!(limit(&limits("65536"), ""), None);
    }
}
