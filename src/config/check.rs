//! The second step: what was typed -> what it means, or why not.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::limits::METADATA_BYTES;

use super::error::Refused;
use super::raw::{RawConfig, RawLimits, RawLog, RawOperations, RawTls};
use super::{Audit, Config, Limits, Log, LogFormat, LogLevel, Pins, Store, Tls, bounds, hsm, place, traces, trust};

const LISTEN: &str = "127.0.0.1:7443";
const OPERATIONS_LISTEN: &str = "127.0.0.1:7444";
const DATA_FOLDER: &str = "/var/lib/strongroom";
const AUDIT_FOLDER: &str = "/var/log/strongroom";
const NODE_BYTES: usize = 64;

/// What a message needs besides the payload: the metadata, and as much again for names and framing.
const MESSAGE_OVERHEAD_BYTES: usize = 2 * METADATA_BYTES;

/// All of it. `file` is absolute.
pub(super) fn config(raw: RawConfig, file: PathBuf) -> Result<Config, Refused> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    let (data_folder, audit_folder) = folders(&raw, folder)?;
    let tls = tls(raw.tls, folder)?;
    Ok(Config {
        listen: listen("listen", raw.listen.as_deref().unwrap_or(LISTEN))?,
        operations: operations(&raw.operations)?,
        node: node(raw.node)?,
        pinned: pins(raw.vault_id.as_deref(), raw.audit_public_key.as_deref())?,
        data_folder,
        audit_folder,
        custodians: trust::custodians(raw.custodians, &tls.trust)?,
        tls,
        limits: limits(&raw.limits)?,
        store: Store {
            cache_bytes: bounds::STORE_CACHE_BYTES.apply(raw.store.cache_bytes)?,
            reserve_bytes: bounds::STORE_RESERVE_BYTES.apply(raw.store.reserve_bytes)?,
        },
        audit: Audit {
            segment_bytes: bounds::AUDIT_SEGMENT_BYTES.apply(raw.audit.segment_bytes)?,
            reserve_bytes: bounds::AUDIT_RESERVE_BYTES.apply(raw.audit.reserve_bytes)?,
        },
        log: log(&raw.log)?,
        traces: traces::traces(raw.traces)?,
        hsms: hsm::hsms(raw.hsm, folder)?,
        file,
    })
}

fn listen(key: &'static str, text: &str) -> Result<SocketAddr, Refused> {
    let refused = |problem| Refused::new(key, problem);
    let address: SocketAddr = text
        .parse()
        .map_err(|_| refused("must be an IP address and a port, e.g. \"127.0.0.1:7443\" or \"[::]:7443\"; names are not looked up"))?;
    if address.ip().is_multicast() {
        return Err(refused("is a multicast address; name an address of this host"));
    }
    Ok(address)
}

/// Plain HTTP leaves the host only if somebody says so.
fn operations(raw: &RawOperations) -> Result<Option<SocketAddr>, Refused> {
    const KEY: &str = "operations.listen";
    let typed = raw.listen.as_deref().unwrap_or(OPERATIONS_LISTEN);
    if typed == "none" {
        return Ok(None);
    }
    let address = listen(KEY, typed)?;
    if !address.ip().is_loopback() && raw.allow_remote != Some(true) {
        return Err(Refused::new(
            KEY,
            "can be reached from other hosts, without TLS: name a loopback address, or say allow_remote = true and fence it",
        ));
    }
    Ok(Some(address))
}

fn node(typed: Option<String>) -> Result<String, Refused> {
    let name = typed.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if !(1..=NODE_BYTES).contains(&name.len()) || !name.bytes().all(fits) || name.starts_with('.') {
        let problem =
            "must be 1 to 64 letters, digits, `.`, `-` and `_`, not a `.` first; if it is left out, the host's name must be so too";
        return Err(Refused::new("node", problem));
    }
    Ok(name)
}

/// Both or neither: a vault that is pinned by half can be swapped by half.
fn pins(vault_id: Option<&str>, audit_public_key: Option<&str>) -> Result<Option<Pins>, Refused> {
    const BOTH: &str = "is missing although its twin is there; copy both lines that `strongroom init` printed";
    match (vault_id, audit_public_key) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Refused::new("vault_id", BOTH)),
        (Some(_), None) => Err(Refused::new("audit_public_key", BOTH)),
        (Some(id), Some(key)) => Ok(Some(Pins {
            vault_id: id.parse().map_err(|why: crate::model::Invalid| Refused::new("vault_id", why.0))?,
            audit_public_key: public_key(key)?,
        })),
    }
}

fn public_key(text: &str) -> Result<[u8; 32], Refused> {
    let refused = || Refused::new("audit_public_key", "must be 64 lowercase hex digits, as `strongroom init` printed them");
    let mut key = [0; 32];
    hex::decode_to_slice(text, &mut key).map_err(|_| refused())?;
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) { Err(refused()) } else { Ok(key) }
}

/// Apart, so that what fills, removes or unmounts the one leaves the other.
fn folders(raw: &RawConfig, folder: &Path) -> Result<(PathBuf, PathBuf), Refused> {
    let place = |key: &str, typed: &Option<PathBuf>, default: &str| {
        let path = typed.as_deref().unwrap_or(Path::new(default));
        if path.as_os_str().is_empty() {
            return Err(Refused::new(key, format!("is empty; name a folder, or leave it out for {default}")));
        }
        Ok(place::resolve(folder, path))
    };
    let data = place("data_folder", &raw.data_folder, DATA_FOLDER)?;
    let audit = place("audit_folder", &raw.audit_folder, AUDIT_FOLDER)?;
    if place::overlap(&data, &audit) {
        let problem = "is the data folder, lies in it or holds it; name another folder, in production on a volume of its own";
        return Err(Refused::new("audit_folder", problem));
    }
    Ok((data, audit))
}

fn tls(raw: RawTls, folder: &Path) -> Result<Tls, Refused> {
    let file = |key: &str, typed: Option<PathBuf>, what: &str| match typed {
        Some(path) if !path.as_os_str().is_empty() => Ok(folder.join(path)),
        _ => Err(Refused::new(key, format!("is missing; name the PEM file of {what}"))),
    };
    Ok(Tls {
        certificate: file("tls.certificate", raw.certificate, "the server's certificate chain, leaf first")?,
        key: file("tls.key", raw.key, "the server's private key")?,
        trust: trust::domains(raw.trust, folder)?,
    })
}

fn limits(raw: &RawLimits) -> Result<Limits, Refused> {
    let seconds = |bound: bounds::Bound, typed| bound.apply(typed).map(Duration::from_secs);
    let part = |all: usize, of: u64| Some((all as u64 / of).max(1));
    let connections_max = bounds::CONNECTIONS_MAX.apply(raw.connections_max)?;
    let calls_max = bounds::CALLS_MAX.apply(raw.calls_max)?;
    let calls_per_s: u32 = bounds::CALLS_PER_PRINCIPAL_PER_S.apply(raw.calls_per_principal_per_s)?;
    let handshakes_max: usize = bounds::HANDSHAKES_MAX.apply(raw.handshakes_max)?;
    let idle_timeout_s: u64 = bounds::IDLE_TIMEOUT_S.apply(raw.idle_timeout_s)?;
    let watches_max = bounds::WATCHES_MAX.apply(raw.watches_max)?;
    let limits = Limits {
        payload_max_bytes: bounds::PAYLOAD_MAX_BYTES.apply(raw.payload_max_bytes)?,
        message_max_bytes: bounds::MESSAGE_MAX_BYTES.apply(raw.message_max_bytes)?,
        header_list_max_bytes: bounds::HEADER_LIST_MAX_BYTES.apply(raw.header_list_max_bytes)?,
        streams_per_connection: bounds::STREAMS_PER_CONNECTION.apply(raw.streams_per_connection)?,
        connections_max,
        connections_per_principal_max: bounds::CONNECTIONS_PER_PRINCIPAL_MAX
            .apply(raw.connections_per_principal_max.or(part(connections_max, 2)))?,
        calls_max,
        calls_per_principal_max: bounds::CALLS_PER_PRINCIPAL_MAX.apply(raw.calls_per_principal_max.or(part(calls_max, 2)))?,
        calls_per_principal_per_s: calls_per_s,
        calls_per_principal_burst: bounds::CALLS_PER_PRINCIPAL_BURST
            .apply(raw.calls_per_principal_burst.or(Some(2 * u64::from(calls_per_s))))?,
        handshakes_max,
        handshakes_per_address_max: bounds::HANDSHAKES_PER_ADDRESS_MAX.apply(raw.handshakes_per_address_max.or(part(handshakes_max, 8)))?,
        handshake_timeout: seconds(bounds::HANDSHAKE_TIMEOUT_S, raw.handshake_timeout_s)?,
        idle_timeout: Duration::from_secs(idle_timeout_s),
        connection_age_max: seconds(bounds::CONNECTION_AGE_MAX_S, raw.connection_age_max_s)?,
        request_timeout: seconds(bounds::REQUEST_TIMEOUT_S, raw.request_timeout_s)?,
        drain_timeout: seconds(bounds::DRAIN_TIMEOUT_S, raw.drain_timeout_s)?,
        page_max_items: bounds::PAGE_MAX_ITEMS.apply(raw.page_max_items)?,
        watches_max,
        watches_per_principal_max: bounds::WATCHES_PER_PRINCIPAL_MAX.apply(raw.watches_per_principal_max.or(part(watches_max, 8)))?,
        watch_heartbeat: seconds(bounds::WATCH_HEARTBEAT_S, raw.watch_heartbeat_s.or(Some((idle_timeout_s / 2).min(30))))?,
    };
    limits_fit_together(&limits)?;
    Ok(limits)
}

fn limits_fit_together(limits: &Limits) -> Result<(), Refused> {
    let refused = |bound: bounds::Bound, problem: String| Err(Refused::new(bound.key, problem));
    let room = limits.payload_max_bytes + MESSAGE_OVERHEAD_BYTES;
    if limits.message_max_bytes < room {
        let is = limits.message_max_bytes;
        return refused(
            bounds::MESSAGE_MAX_BYTES,
            format!("is {is} but a payload and its metadata need {room}; raise it, or lower payload_max_bytes"),
        );
    }
    let within = [
        (bounds::HANDSHAKES_MAX, limits.handshakes_max, "connections_max", limits.connections_max),
        (bounds::HANDSHAKES_PER_ADDRESS_MAX, limits.handshakes_per_address_max, "handshakes_max", limits.handshakes_max),
        (bounds::CONNECTIONS_PER_PRINCIPAL_MAX, limits.connections_per_principal_max, "connections_max", limits.connections_max),
        (bounds::CALLS_PER_PRINCIPAL_MAX, limits.calls_per_principal_max, "calls_max", limits.calls_max),
        (bounds::WATCHES_PER_PRINCIPAL_MAX, limits.watches_per_principal_max, "watches_max", limits.watches_max),
    ];
    if let Some((bound, is, whole, most)) = within.into_iter().find(|(_, is, _, most)| is > most) {
        return refused(bound, format!("is {is} but {whole} is {most}; lower it, or raise that"));
    }
    if limits.request_timeout > limits.connection_age_max {
        let (is, most) = (limits.request_timeout.as_secs(), limits.connection_age_max.as_secs());
        return refused(bounds::REQUEST_TIMEOUT_S, format!("is {is} but connection_age_max_s is {most}; lower it, or raise that"));
    }
    if limits.watch_heartbeat >= limits.idle_timeout {
        let (is, idle) = (limits.watch_heartbeat.as_secs(), limits.idle_timeout.as_secs());
        return refused(bounds::WATCH_HEARTBEAT_S, format!("is {is} but idle_timeout_s is {idle}; make it shorter, or raise that"));
    }
    Ok(())
}

fn log(raw: &RawLog) -> Result<Log, Refused> {
    let format = match raw.format.as_deref().unwrap_or("text") {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        _ => return Err(Refused::new("log.format", "must be \"text\" or \"json\"")),
    };
    let level = match raw.level.as_deref().unwrap_or("info") {
        "error" => LogLevel::Error,
        "warn" => LogLevel::Warn,
        "info" => LogLevel::Info,
        "debug" => LogLevel::Debug,
        _ => return Err(Refused::new("log.level", "must be \"error\", \"warn\", \"info\" or \"debug\"")),
    };
    Ok(Log { format, level })
}
