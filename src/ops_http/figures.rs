//! The figures that are looked up when somebody asks.

use std::fmt;
use std::path::Path;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Watched;
use crate::model::Timestamp;
use crate::{audit, memory, storage};

pub(super) struct Figures(pub(super) Watched);

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Figures")
    }
}

/// All counts and figures, and those of the process under the names that every Prometheus client uses.
pub(super) fn text(registry: &Registry) -> String {
    let mut out = String::with_capacity(16 * 1024);
    let written = text::encode_registry(&mut out, registry)
        .and_then(|()| text::encode_registry(&mut out, &process_registry()))
        .and_then(|()| text::encode_eof(&mut out));
    written.expect("a string takes everything");
    out
}

/// Labels of one line.
type Labels<'a> = &'a [(&'a str, &'a str)];

struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        ConstGauge::new(value).encode(self.0.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        ConstCounter::new(value).encode(self.0.encode_descriptor(name, help, None, MetricType::Counter)?)
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricType, lines: &[(Labels<'_>, f64)]) -> fmt::Result {
        let mut encoder: MetricEncoder<'_> = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in lines {
            let labels = labels.to_vec();
            let line = encoder.encode_family(&labels)?;
            match kind {
                MetricType::Counter => ConstCounter::new(*value).encode(line)?,
                _ => ConstGauge::new(*value).encode(line)?,
            }
        }
        Ok(())
    }
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut to = Writer(encoder);
        self.server(&mut to)?;
        self.audit(&mut to)?;
        self.store(&mut to)?;
        self.keys(&mut to)?;
        self.tls(&mut to)
    }
}

impl Figures {
    fn server(&self, to: &mut Writer<'_>) -> fmt::Result {
        let Watched { vault, hardening, live, ending, .. } = &self.0;
        to.family("build_info", "Which program this is", MetricType::Gauge, &[(&[("version", env!("CARGO_PKG_VERSION"))], 1.0)])?;
        to.gauge("sealed", "1 while no key is in memory", flag(!vault.is_open()))?;
        to.gauge("ending", "1 once the server is ending", flag(*ending.borrow()))?;
        to.gauge("connections", "Connections of principals that are open", count(live.open_connections()))?;
        to.gauge("policy_generation", "How often roles and bindings have changed", vault.policy_generation() as f64)?;
        to.gauge("memory_protected", "1 if core dumps are off and nobody may trace the process", flag(hardening.complete()))?;
        let kind = memory::backing().word();
        to.family("key_memory_info", "Where keys lie", MetricType::Gauge, &[(&[("kind", kind)], 1.0)])?;
        let ahead = vault.implausible_clock().map_or(0.0, |ahead| ahead.as_secs_f64());
        to.gauge("clock_ahead_seconds", "How far the vault's clock is ahead of what is plausible; nothing is purged while it is", ahead)
    }

    fn audit(&self, to: &mut Writer<'_>) -> fmt::Result {
        let status = self.0.audit.status();
        let writable = self.0.audit.condition() == audit::Condition::Writable;
        to.gauge("audit_writable", "1 if entries can be written; otherwise nothing is served", flag(writable))?;
        let lag = status.oldest_unflushed.map_or(0.0, |lag| lag.as_secs_f64());
        to.gauge("audit_lag_seconds", "How long the oldest entry that is not on disk has waited", lag)?;
        to.counter("audit_entries", "Entries on disk, over all time", status.last_sequence as f64)?;
        to.gauge("audit_segments", "Files of the audit log in its folder", count(status.segments))?;
        to.gauge("audit_bytes", "Bytes of the audit log on disk", status.bytes as f64)?;
        free(to, "audit_free_bytes", "Free room on the audit log's disk", &self.0.folders[1])
    }

    fn store(&self, to: &mut Writer<'_>) -> fmt::Result {
        let status = self.0.vault.store_status();
        to.gauge("store_writable", "1 if the store takes writes", flag(status.condition == storage::Condition::Healthy))?;
        to.gauge("store_bytes", "Bytes of the store on disk, deleted rows included", status.size_on_disk_bytes as f64)?;
        to.counter("store_commits", "Changes on disk, over all time", status.durable.number() as f64)?;
        free(to, "store_free_bytes", "Free room on the store's disk", &self.0.folders[0])
    }

    /// Totals: a line for each of 10,000 namespaces would be more than anybody reads. Nothing while the vault is sealed.
    fn keys(&self, to: &mut Writer<'_>) -> fmt::Result {
        let Some(keys) = self.0.vault.key_figures() else { return Ok(()) };
        to.gauge("keys_over_age", "Namespaces whose active key is older than its cryptoperiod", count(keys.over_age))?;
        to.gauge("key_oldest_active_age_seconds", "Age of the oldest active key", keys.oldest_active.as_secs_f64())?;
        let states: [(Labels<'_>, f64); 2] = [(&[("state", "running")], count(keys.running)), (&[("state", "paused")], count(keys.paused))];
        to.family("rewraps", "Rewraps that have not ended, by state", MetricType::Gauge, &states)?;
        to.counter("rewrapped_rows", "Rows that were put under another key, since the vault was opened", keys.rewrapped as f64)
    }

    fn tls(&self, to: &mut Writer<'_>) -> fmt::Result {
        let (tls, reloads) = (self.0.live.current(), self.0.live.reloads());
        to.gauge("certificate_expiry_timestamp_seconds", "End of the server's certificate", seconds(tls.not_after()))?;
        let lists: Vec<_> = tls
            .lists()
            .iter()
            .map(|list| ([("domain", list.domain.as_str()), ("issuer", list.issuer.as_str())], seconds(list.next_update)))
            .collect();
        let lines: Vec<_> = lists.iter().map(|(labels, end)| (labels.as_slice(), *end)).collect();
        to.family(
            "crl_expiry_timestamp_seconds",
            "End of each revocation list; from then on nobody of its CA can connect",
            MetricType::Gauge,
            &lines,
        )?;
        let outcomes: [(Labels<'_>, f64); 2] =
            [(&[("outcome", "in_force")], reloads.done as f64), (&[("outcome", "refused")], reloads.failed as f64)];
        to.family("tls_reloads", "Certificates and lists read again, by outcome", MetricType::Counter, &outcomes)?;
        to.gauge("tls_reload_refused", "1 if the files as they are now are not in force", flag(reloads.refused.is_some()))
    }
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

fn count(value: usize) -> f64 {
    value as f64
}

fn seconds(time: Timestamp) -> f64 {
    (time.unix_ms() / 1_000) as f64
}

/// Nothing where the system does not say.
fn free(to: &mut Writer<'_>, name: &str, help: &str, folder: &Path) -> fmt::Result {
    let Ok(disk) = rustix::fs::statvfs(folder) else { return Ok(()) };
    to.gauge(name, help, (disk.f_bavail * disk.f_frsize) as f64)
}

#[derive(Debug)]
struct Process;

fn process_registry() -> Registry {
    let mut registry = Registry::with_prefix("process");
    registry.register_collector(Box::new(Process));
    registry
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut to = Writer(encoder);
        let read = |file: &str| std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
        let page = rustix::param::page_size() as f64;
        if let Some(pages) = read("statm").split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<f64>().ok()) {
            to.gauge("resident_memory_bytes", "Resident memory", pages * page)?;
        }
        // After the name of the program, which may hold anything: user and system time are the 12th and 13th word.
        let stat = read("stat");
        let words: Vec<f64> =
            stat.rsplit(')').next().unwrap_or("").split_ascii_whitespace().map(|word| word.parse().unwrap_or(0.0)).collect();
        if let [user, system] = words.get(11..13).unwrap_or_default() {
            let ticks = rustix::param::clock_ticks_per_second() as f64;
            to.counter("cpu_seconds", "User and system time", (user + system) / ticks)?;
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            to.gauge("open_fds", "Open file descriptors", count(open.count()))?;
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        limit.map_or(Ok(()), |limit| to.gauge("max_fds", "Most open file descriptors", limit as f64))
    }
}
