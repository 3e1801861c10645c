//! No traces. These take no room and no time, so that nobody who speaks of traces need know whether there are any.

use http::{HeaderMap, Uri};
use prometheus_client::registry::Registry;

use crate::api::Method;

/// No traces.
#[derive(Debug, Clone, Default)]
pub struct Traces;

/// No span.
#[derive(Debug)]
pub struct Span;

impl Traces {
    /// None: a configuration that asks for some was refused.
    #[must_use]
    pub fn new(_endpoint: Uri, _sample_ratio: f64) -> Self {
        Self
    }

    /// No call gets a span.
    #[must_use]
    pub fn begin(&self, _method: Option<Method>, _headers: &HeaderMap) -> Span {
        Span
    }

    /// There is nothing to count.
    pub fn register(&self, _registry: &mut Registry) {}

    /// There is nothing to send.
    pub async fn close(&self) {}
}

impl Span {
    /// It is none.
    pub fn end(self, _code: i32) {}
}
