//! By what a call is found again elsewhere: the id that its caller gave it, and, in a program that was built with the feature
//! `otlp`, a span for an OpenTelemetry collector.
//!
//! ```text
//! rpc/front: Traces::begin ── Span ── end: its code ──> queue, bounded ──> one task: batches ──> collector
//! ```
//!
//! | file | what |
//! |---|---|
//! | `otlp` | which calls get a span, and what stands in it |
//! | `parent` | the `traceparent` of a request |
//! | `export` | from the queue to the collector; what is lost on the way is counted |
//! | `off` | the same words that do nothing, of a program without the feature |
//!
//! A span holds the RPC, its code, its times, the request's id and the ids that `traceparent` gave: never a name, a value, a
//! principal, or anything else of a request. A call never waits for a span: where there is no room for one, it is thrown away.

#[cfg(feature = "otlp")]
mod export;
#[cfg(not(feature = "otlp"))]
mod off;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(feature = "otlp")]
mod parent;

use http::HeaderMap;

use crate::model::{Text, limits};

#[cfg(not(feature = "otlp"))]
pub use off::{Span, Traces};
#[cfg(feature = "otlp")]
pub use otlp::{Span, Traces};

/// Whether this program can send traces.
pub const AVAILABLE: bool = cfg!(feature = "otlp");

/// The header that proxies and callers give a request to find it again.
const CORRELATION: &str = "x-request-id";

/// The request's id. What cannot stand in a log is left out: nobody's call fails for it.
#[must_use]
pub fn correlation(headers: &HeaderMap) -> Option<Text<{ limits::REQUEST_ID_BYTES }>> {
    Text::parse(headers.get(CORRELATION)?.to_str().ok()?).ok()
}
