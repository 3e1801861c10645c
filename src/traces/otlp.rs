//! Which calls get a span, and what stands in it: the attributes of OpenTelemetry's conventions for gRPC.

use std::sync::Arc;

use http::{HeaderMap, Uri};
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, SpanLimits};
use prometheus_client::registry::Registry;
use tonic::Code;

use super::correlation;
use super::export::Export;
use super::parent::parent;
use crate::api::Method;

/// The name of a span whose RPC is none of the vault's: health, reflection, or a path that leads nowhere, which is a caller's text.
const OTHER: &str = "other";

/// Where calls get their spans; by default, none does.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Taking>>);

struct Taking {
    tracer: SdkTracer,
    export: Export,
}

/// A call's span, if its trace is taken. Dropped without an end, the call counts as cancelled: its caller went away, or its time
/// was up.
pub struct Span(Option<Box<opentelemetry_sdk::trace::Span>>);

impl Traces {
    /// Sends this part of all traces to the collector, from a task of the current runtime. Whether a trace is taken depends on its
    /// id alone, so that all who go by the same ratio agree; what a caller says of it decides nothing.
    #[must_use]
    pub fn new(endpoint: Uri, sample_ratio: f64) -> Self {
        // Said here in full: otherwise the library looks into environment variables.
        let resource = Resource::builder_empty()
            .with_attributes([KeyValue::new("service.name", "strongroom"), KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))])
            .build();
        let (export, queue) = Export::start(endpoint, &resource);
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::TraceIdRatioBased(sample_ratio))
            .with_span_limits(SpanLimits::default())
            .with_resource(resource)
            .with_span_processor(queue)
            .build();
        Self(Some(Arc::new(Taking { tracer: provider.tracer("strongroom"), export })))
    }

    /// A call begins.
    #[must_use]
    pub fn begin(&self, method: Option<Method>, headers: &HeaderMap) -> Span {
        let Some(taking) = &self.0 else { return Span(None) };
        let context = parent(headers).map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent));
        let name = method.map_or(OTHER, |method| method.path().trim_start_matches('/'));
        let mut span = taking.tracer.build_with_context(SpanBuilder::from_name(name).with_kind(SpanKind::Server), &context);
        if !span.is_recording() {
            return Span(None);
        }
        span.set_attribute(KeyValue::new("rpc.system", "grpc"));
        if let Some((service, method)) = name.split_once('/') {
            span.set_attributes([KeyValue::new("rpc.service", service), KeyValue::new("rpc.method", method)]);
        }
        if let Some(id) = correlation(headers) {
            span.set_attribute(KeyValue::new("strongroom.request_id", id.as_str().to_owned()));
        }
        Span(Some(Box::new(span)))
    }

    /// Shows what was lost.
    pub fn register(&self, registry: &mut Registry) {
        if let Some(taking) = &self.0 {
            taking.export.lost().register(registry, "trace_spans_lost", "Spans that the collector did not get, by reason");
        }
    }

    /// Sends what still waits, as far as that can be done in a short time.
    pub async fn close(&self) {
        if let Some(taking) = &self.0 {
            taking.export.close().await;
        }
    }
}

impl Span {
    /// It ended with this gRPC code.
    pub fn end(mut self, code: i32) {
        self.close(Code::from_i32(code));
    }

    fn close(&mut self, code: Code) {
        let Some(mut span) = self.0.take() else { return };
        span.set_attribute(KeyValue::new("rpc.grpc.status_code", i64::from(i32::from(code))));
        if is_the_servers_fault(code) {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.close(Code::Cancelled);
    }
}

/// What the conventions have a server call an error; the other refusals are its answers.
const fn is_the_servers_fault(code: Code) -> bool {
    matches!(code, Code::Unknown | Code::DeadlineExceeded | Code::Unimplemented | Code::Internal | Code::Unavailable | Code::DataLoss)
}
