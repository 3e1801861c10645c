//! What is counted on the way of a call. Each part counts for itself; the composition root gathers the counts for
//! [`ops_http`](crate::ops_http), which adds what can be looked up when somebody asks. A label is one of a closed list of words:
//! never a name that a caller chose.

use std::time::Instant;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::api::Method;

/// Upper bounds of the classes of a call's time, in seconds: from a reveal on an idle machine to the longest deadline.
const SECONDS: [f64; 16] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Occurrences by reason.
#[derive(Debug, Clone, Default)]
pub struct Reasons(Family<Reason, Counter>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Watches, and why they ended.
#[derive(Debug, Clone, Default)]
pub struct Watches {
    under_way: Gauge,
    ended: Reasons,
}

/// Calls by RPC and by what came of them.
#[derive(Debug, Clone)]
pub struct Calls {
    finished: Family<Finished, Counter>,
    seconds: Family<Of, Histogram, fn() -> Histogram>,
    under_way: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Finished {
    method: Rpc,
    code: Code,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    method: Rpc,
}

/// `None`: health, reflection, or a path that leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Rpc(Option<Method>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Code(usize);

/// The names of the gRPC codes, by number (grpc/doc/statuscodes.md).
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
const CANCELLED: usize = 1;
const UNKNOWN: usize = 2;

/// A call under way. Dropped without an end, it counts as cancelled: its caller went away, or its time was up.
#[derive(Debug)]
pub struct CallUnderWay {
    calls: Calls,
    method: Rpc,
    begin: Instant,
    code: usize,
}

impl Reasons {
    /// One more.
    pub fn count(&self, reason: &'static str) {
        self.add(reason, 1);
    }

    /// So many more.
    pub fn add(&self, reason: &'static str, more: u64) {
        self.0.get_or_create(&Reason { reason }).inc_by(more);
    }

    /// How many there were.
    #[must_use]
    pub fn of(&self, reason: &'static str) -> u64 {
        self.0.get_or_create(&Reason { reason }).get()
    }

    /// Shows the counts under a name.
    pub fn register(&self, registry: &mut Registry, name: &'static str, help: &'static str) {
        registry.register(name, help, self.0.clone());
    }
}

impl Watches {
    /// One begins.
    pub fn begin(&self) {
        self.under_way.inc();
    }

    /// It ended.
    pub fn end(&self, reason: &'static str) {
        self.under_way.dec();
        self.ended.count(reason);
    }

    /// Shows the counts.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("watches", "Watches under way", self.under_way.clone());
        self.ended.register(registry, "watches_ended", "Watches that ended, by reason");
    }
}

impl Default for Calls {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS);
        Self { finished: Family::default(), seconds: Family::new_with_constructor(histogram), under_way: Gauge::default() }
    }
}

impl Calls {
    /// A call begins.
    #[must_use]
    pub fn begin(&self, method: Option<Method>) -> CallUnderWay {
        self.under_way.inc();
        CallUnderWay { calls: self.clone(), method: Rpc(method), begin: Instant::now(), code: CANCELLED }
    }

    /// Shows the counts.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("grpc_calls", "Calls that ended, by RPC and gRPC code", self.finished.clone());
        registry.register("grpc_call_duration_seconds", "Time from a call's header to its answer's, by RPC", self.seconds.clone());
        registry.register("grpc_calls_under_way", "Calls that have no answer yet", self.under_way.clone());
    }
}

impl CallUnderWay {
    /// It ended with this gRPC code.
    pub fn end(mut self, code: i32) {
        self.code = usize::try_from(code).ok().filter(|code| *code < CODES.len()).unwrap_or(UNKNOWN);
    }
}

impl Drop for CallUnderWay {
    fn drop(&mut self) {
        let Self { calls, method, begin, code } = self;
        calls.under_way.dec();
        calls.finished.get_or_create(&Finished { method: *method, code: Code(*code) }).inc();
        calls.seconds.get_or_create(&Of { method: *method }).observe(begin.elapsed().as_secs_f64());
    }
}

impl EncodeLabelValue for Rpc {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.map_or("other", Method::name).encode(encoder)
    }
}

impl EncodeLabelValue for Code {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        CODES[self.0].encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(register: impl Fn(&mut Registry)) -> String {
        let (mut registry, mut text) = (Registry::default(), String::new());
        register(&mut registry);
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
        text
    }

    #[test]
    fn a_call_is_counted_by_what_came_of_it() {
        let calls = Calls::default();
        calls.begin(Some(Method::RevealSecret)).end(0);
        calls.begin(Some(Method::RevealSecret)).end(0);
        calls.begin(Some(Method::RevealSecret)).end(5);
        drop(calls.begin(Some(Method::Seal)));
        calls.begin(None).end(99);
        let held = calls.begin(None);
        let text = shown(|registry| calls.register(registry));
        for line in [
            "grpc_calls_total{method=\"RevealSecret\",code=\"OK\"} 2",
            "grpc_calls_total{method=\"RevealSecret\",code=\"NOT_FOUND\"} 1",
            "grpc_calls_total{method=\"Seal\",code=\"CANCELLED\"} 1",
            "grpc_calls_total{method=\"other\",code=\"UNKNOWN\"} 1",
            "grpc_call_duration_seconds_count{method=\"RevealSecret\"} 3",
            "grpc_calls_under_way 1",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
        drop(held);
    }

    #[test]
    fn reasons_are_counted_apart() {
        let reasons = Reasons::default();
        reasons.count("one");
        reasons.count("one");
        reasons.count("other");
        assert_eq!((reasons.of("one"), reasons.of("other"), reasons.of("none")), (2, 1, 0));
        let text = shown(|registry| reasons.register(registry, "calls_refused", "Calls"));
        assert!(text.contains("calls_refused_total{reason=\"one\"} 2"), "{text}");
    }
}
