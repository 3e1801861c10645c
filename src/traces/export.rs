//! From the end of a span to the collector. A queue of bounded length, and one task that empties it: a collector that is away or
//! slow costs spans, which are counted, and nothing else.

use std::error::Error as _;
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use http::Uri;
use opentelemetry::Context;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::metrics::Reasons;

/// Spans that wait: some hundred bytes each.
const QUEUE_SPANS: usize = 2_048;
/// Spans in one message.
const BATCH_SPANS: usize = 512;
/// How long spans are gathered for one message.
const GATHER: Duration = Duration::from_secs(1);
/// How long connecting, and an answer, may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long the end of the server waits for the last of them.
const FLUSH: Duration = Duration::from_secs(2);
/// How often the log says that spans are lost.
const COMPLAIN: Duration = Duration::from_secs(60);

/// Why a span was lost: it found no room in the queue, or the collector did not take it.
const QUEUE_FULL: &str = "queue_full";
const NOT_TAKEN: &str = "not_taken";

/// The task, and what it could not send.
pub(super) struct Export {
    lost: Reasons,
    end: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Where spans go when they end.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: mpsc::Sender<SpanData>,
    lost: Reasons,
}

/// What sends them.
struct Sending {
    collector: TraceServiceClient<Channel>,
    resource: ResourceAttributesWithSchema,
    lost: Reasons,
    complained: Option<Instant>,
}

impl Export {
    /// Connects when there is something to send, and not before.
    pub(super) fn start(endpoint: Uri, resource: &Resource) -> (Self, Queue) {
        let (waiting, spans) = mpsc::channel(QUEUE_SPANS);
        let (end, ending) = watch::channel(false);
        let lost = Reasons::default();
        let channel = Endpoint::from(endpoint).connect_timeout(TIMEOUT).connect_lazy();
        let sending =
            Sending { collector: TraceServiceClient::new(channel), resource: resource.into(), lost: lost.clone(), complained: None };
        let task = Mutex::new(Some(tokio::spawn(sending.run(spans, ending))));
        (Self { lost: lost.clone(), end, task }, Queue { waiting, lost })
    }

    /// What was lost, by reason.
    pub(super) const fn lost(&self) -> &Reasons {
        &self.lost
    }

    /// Sends what waits, for no longer than [`FLUSH`].
    pub(super) async fn close(&self) {
        self.end.send_replace(true);
        let task = self.task.lock().expect("nobody panics with it").take();
        if let Some(mut task) = task
            && tokio::time::timeout(FLUSH, &mut task).await.is_err()
        {
            task.abort();
            tracing::warn!("the collector is too slow: the last spans were thrown away");
        }
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.waiting.try_send(span).is_err() {
            self.lost.count(QUEUE_FULL);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Sending {
    /// Until the server ends, and the queue is empty.
    async fn run(mut self, mut spans: mpsc::Receiver<SpanData>, mut ending: watch::Receiver<bool>) {
        let mut batch = Vec::new();
        loop {
            let count = tokio::select! {
                count = spans.recv_many(&mut batch, BATCH_SPANS) => count,
                () = ended(&mut ending), if !spans.is_closed() => {
                    spans.close();
                    continue;
                }
            };
            if count == 0 {
                return;
            }
            let all_taken = self.send(std::mem::take(&mut batch)).await;
            if count < BATCH_SPANS || !all_taken {
                tokio::select! {
                    () = tokio::time::sleep(GATHER) => {}
                    () = ended(&mut ending) => {}
                }
            }
        }
    }

    /// Whether the collector took all of them. What it did not take is not tried again.
    async fn send(&mut self, batch: Vec<SpanData>) -> bool {
        let count = batch.len() as u64;
        let request = ExportTraceServiceRequest { resource_spans: group_spans_by_resource_and_scope(batch, &self.resource) };
        // Around all of it: what the channel itself offers ends with the answer's headers.
        let answer = tokio::time::timeout(TIMEOUT, self.collector.export(request)).await;
        let refused = match answer.unwrap_or_else(|_| Err(Status::deadline_exceeded(""))) {
            Ok(answer) => {
                let rejected = answer.into_inner().partial_success.map_or(0, |part| u64::try_from(part.rejected_spans).unwrap_or(0));
                (rejected > 0).then(|| (rejected.min(count), "it refused some of them".to_owned()))
            }
            Err(status) => Some((count, why(&status))),
        };
        let Some((lost, why)) = refused else { return true };
        self.lost.add(NOT_TAKEN, lost);
        if self.complained.is_none_or(|complained| complained.elapsed() >= COMPLAIN) {
            self.complained = Some(Instant::now());
            tracing::warn!(spans = lost, why, "the collector does not take traces: they are thrown away; calls go on");
        }
        false
    }
}

/// What the log says: the code, and what kind of trouble the connection had. No text: the collector may have written it, in a
/// status or at the end of a connection.
fn why(status: &Status) -> String {
    let mut cause = status.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return format!("{}: {}", status.code(), error.kind());
        }
        cause = error.source();
    }
    status.code().to_string()
}

/// Ready when the server ends.
async fn ended(ending: &mut watch::Receiver<bool>) {
    // If the sender is gone, so is the server.
    let _ = ending.wait_for(|ending| *ending).await;
}
