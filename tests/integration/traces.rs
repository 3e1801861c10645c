//! Traces: what a collector of OpenTelemetry gets of a real server, what it never gets, and what becomes of a server whose
//! collector is away.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use prost::Message;
use strongroom::api::{self, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status};

use crate::harness::{Running, Site, workload};
use crate::operations::get_at_once;
use crate::requests::{Probe, message};
use crate::stage::{Stage, named, opaque};
use crate::wire::{channel, code, send, send_with, slow};

const PATIENCE: Duration = Duration::from_secs(10);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const REVEAL: &str = "strongroom.v1.SecretService/RevealSecret";
/// No call that waits for a collector is as fast as that; the slowest that does not is.
const NO_WAITING: Duration = Duration::from_secs(4);

/// A collector: the spans that it took, and each byte that reached it.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    resources: Arc<Mutex<BTreeSet<String>>>,
    bytes: Arc<Mutex<Vec<u8>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(&self, request: Request<ExportTraceServiceRequest>) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource_spans in request.into_inner().resource_spans {
            let resource = resource_spans.resource.expect("it says whose they are");
            self.resources.lock().expect("no panic").extend(attributes(&resource.attributes).keys().cloned());
            let spans = resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().expect("no panic").extend(spans);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Serves, behind a relay that keeps the bytes; where it is reached.
    async fn start() -> (Self, SocketAddr) {
        let collector = Self::default();
        let (outer, inner) = (bind().await, bind().await);
        let (address, behind) = (outer.local_addr().expect("bound"), inner.local_addr().expect("bound"));
        let service = TraceServiceServer::new(collector.clone());
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(inner)));
        let bytes = collector.bytes.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = outer.accept().await {
                tokio::spawn(relay(near, TcpStream::connect(behind).await.expect("connected"), bytes.clone()));
            }
        });
        (collector, address)
    }

    /// The spans of this name, once there are so many of them.
    async fn spans(&self, name: &str, count: usize) -> Vec<Span> {
        let begin = Instant::now();
        loop {
            let spans: Vec<_> = self.spans.lock().expect("no panic").iter().filter(|span| span.name == name).cloned().collect();
            if spans.len() >= count {
                return spans;
            }
            assert!(begin.elapsed() < PATIENCE, "{count} spans of {name} do not come, only {spans:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn received(&self) -> Vec<u8> {
        self.bytes.lock().expect("no panic").clone()
    }

    fn holds(&self, text: &str) -> bool {
        self.received().windows(text.len()).any(|window| window.eq_ignore_ascii_case(text.as_bytes()))
    }
}

async fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a port")
}

async fn relay(near: TcpStream, far: TcpStream, bytes: Arc<Mutex<Vec<u8>>>) {
    let ((mut from, mut back), (mut answers, mut to)) = (near.into_split(), far.into_split());
    tokio::spawn(async move { tokio::io::copy(&mut answers, &mut back).await });
    let mut buffer = vec![0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        bytes.lock().expect("no panic").extend_from_slice(&buffer[..length]);
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

fn attributes(all: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Option<AnyValue>| match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("neither a text nor a number: {other:?}"),
    };
    all.iter().map(|one| (one.key.clone(), text(&one.value))).collect()
}

fn of(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn status(span: &Span) -> StatusCode {
    span.status.as_ref().map_or(StatusCode::Unset, |status| status.code())
}

/// The lines of the configuration.
fn to(address: SocketAddr, sample_ratio: f64) -> String {
    format!("[traces]\nendpoint = \"http://{address}\"\nsample_ratio = {sample_ratio}\n")
}

/// Reveals, with metadata of the test's choice.
async fn reveal(channel: &Channel, name: &str, metadata: &[(&'static str, String)]) -> Code {
    let message = api::RevealSecretRequest {
        name: name.to_owned(),
        version: 0,
        reason: "the canary's reason".to_owned(),
        ticket: "CANARY-1".to_owned(),
    };
    let mut request = Request::new(message.encode_to_vec());
    for (key, value) in metadata {
        request.metadata_mut().append(*key, value.parse().expect("plain"));
    }
    code(&send_with(channel, Method::RevealSecret.path(), request).await)
}

fn traceparent(trace: &str, flags: &str) -> (&'static str, String) {
    ("traceparent", format!("00-{trace}-{PARENT}-{flags}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_span_tells_of_the_rpc_and_of_nothing_that_it_was_about() {
    let (collector, address) = Collector::start().await;
    let stage = Stage::new(&to(address, 1.0)).await;
    let namespace = stage.namespace().await;
    let canary = workload("canary-backend");
    stage.bind("backend", &canary, Some(&namespace)).await;
    let name = format!("{namespace}/merchants/canary");
    stage.client(&canary).await.create_secret(opaque(&named(&name), "the canary's value")).await.expect("stored");
    let channel = stage.channel(&canary).await;

    let told = [
        traceparent(TRACE, "01"),
        ("x-request-id", "checkout-4711".to_owned()),
        ("tracestate", "vendor=canary".to_owned()),
        ("baggage", "user=canary".to_owned()),
        ("authorization", "the canary's password".to_owned()),
    ];
    assert_eq!(reveal(&channel, &name, &told).await, Code::Ok);
    let answered = collector.spans(REVEAL, 1).await.remove(0);
    assert_eq!((hex::encode(&answered.trace_id), hex::encode(&answered.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
    assert_eq!((answered.kind(), status(&answered), answered.trace_state.as_str()), (SpanKind::Server, StatusCode::Unset, ""));
    let rpc = [("rpc.system", "grpc"), ("rpc.service", "strongroom.v1.SecretService"), ("rpc.method", "RevealSecret")];
    let expected = [rpc.as_slice(), &[("rpc.grpc.status_code", "0"), ("strongroom.request_id", "checkout-4711")]].concat();
    assert_eq!(attributes(&answered.attributes), of(&expected));
    assert!(answered.start_time_unix_nano < answered.end_time_unix_nano && answered.span_id != answered.parent_span_id);

    // A refusal is the caller's. What is malformed, repeated, or has the look of a token is left out.
    let token = format!("STAGE_{}", "c0ffee".repeat(6));
    let odd = [traceparent(TRACE, "01"), traceparent(TRACE, "01"), ("x-request-id", token)];
    assert_eq!(reveal(&channel, &format!("{namespace}/no/canary"), &odd).await, Code::NotFound);
    let refused = collector.spans(REVEAL, 2).await.remove(1);
    assert_eq!(attributes(&refused.attributes), of(&[rpc.as_slice(), &[("rpc.grpc.status_code", "5")]].concat()));
    assert_eq!((status(&refused), refused.parent_span_id.len()), (StatusCode::Unset, 0));
    assert_ne!(hex::encode(&refused.trace_id), TRACE);

    // What the server cannot do is an error; a path that leads nowhere is a caller's text.
    send(&channel, "/canary.Service/Canary", Vec::new()).await.expect_err("there is no such service");
    let other = collector.spans("other", 1).await.remove(0);
    assert_eq!(attributes(&other.attributes), of(&[("rpc.system", "grpc"), ("rpc.grpc.status_code", "12")]));
    assert_eq!(status(&other), StatusCode::Error);

    // Every RPC, whatever comes of it.
    let subject = stage.subject(&namespace, &stage.client(&canary).await).await;
    for method in Method::ALL.iter().filter(|method| !matches!(method, Method::Seal | Method::Unseal)) {
        let _ = send(&channel, method.path(), message(*method, &subject, &mut Probe::none())).await;
    }

    let Stage { site: _site, running, .. } = stage;
    running.stop_and_read();
    let spans = collector.spans.lock().expect("no panic").clone();
    let keys: BTreeSet<_> = spans.iter().flat_map(|span| attributes(&span.attributes).into_keys()).collect();
    assert_eq!(keys, expected.iter().map(|(key, _)| (*key).to_owned()).collect());
    assert!(spans.iter().all(|span| span.events.is_empty() && span.links.is_empty() && span.trace_state.is_empty()));
    let seen: BTreeSet<_> = spans.iter().map(|span| span.name.as_str()).collect();
    for method in Method::ALL.iter().filter(|method| !matches!(method, Method::Seal)) {
        assert!(seen.contains(method.path().trim_start_matches('/')), "{method:?} has no span");
    }
    assert_eq!(*collector.resources.lock().expect("no panic"), ["service.name", "service.version"].map(str::to_owned).into());
    assert!(collector.holds("checkout-4711") && collector.holds(REVEAL), "what is there is found");
    for text in
        ["canary", "merchants", &namespace, "spiffe", "apps.test", "people.test", "backend", "c0ffee", "vendor", "value", "password"]
    {
        assert!(!collector.holds(text), "{text} is among the bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_time_is_up_has_a_span_too() {
    let (collector, address) = Collector::start().await;
    let site = Site::with_vault(&format!("[limits]\nrequest_timeout_s = 1\n{}", to(address, 1.0)));
    let running = site.start();
    let channel = channel(&site, &running, &workload("somebody")).await;
    let (_never_sent, call) = slow(&channel, Method::DescribeRole);
    let span = collector.spans("strongroom.v1.AccessService/DescribeRole", 1).await.remove(0);
    assert_eq!((attributes(&span.attributes)["rpc.grpc.status_code"].as_str(), status(&span)), ("1", StatusCode::Unset));
    assert!(span.end_time_unix_nano - span.start_time_unix_nano >= 1_000_000_000);
    assert_ne!(code(&call.await.expect("it does not panic")), Code::Ok);
}

/// The half of a trace's id that the ratio looks at, at its ends.
const LOW: &str = "0000000000000000";
const HIGH: &str = "ffffffffffffffff";

/// A trace's id that has its flags in it, so that each call is found.
fn trace(low_half: &str, flags: &str) -> String {
    format!("aaaaaaaaaaaaaa{flags}{low_half}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ratio_and_the_traces_id_decide_and_no_callers_flag() {
    let (collector, address) = Collector::start().await;
    for (ratio, low, high) in [(0.0, false, false), (0.5, true, false), (1.0, true, true)] {
        let stage = Stage::new(&to(address, ratio)).await;
        let channel = stage.channel(&workload("somebody")).await;
        for (low_half, flags) in [(LOW, "00"), (LOW, "01"), (HIGH, "00"), (HIGH, "01")] {
            reveal(&channel, "no/such", &[traceparent(&trace(low_half, flags), flags)]).await;
        }
        let Stage { site: _site, running, .. } = stage;
        running.stop_and_read();
        let spans = std::mem::take(&mut *collector.spans.lock().expect("no panic"));
        for (low_half, flags, expected) in [(LOW, "00", low), (LOW, "01", low), (HIGH, "00", high), (HIGH, "01", high)] {
            let taken = spans.iter().any(|span| hex::encode(&span.trace_id) == trace(low_half, flags));
            assert_eq!(taken, expected, "ratio {ratio}, flags {flags}, {low_half}");
        }
        assert_eq!(collector.received().is_empty(), ratio == 0.0, "at ratio {ratio}");
    }
}

/// The number that `/metrics` has of lost spans.
async fn lost(running: &Running, reason: &str) -> u64 {
    let line = format!("strongroom_trace_spans_lost_total{{reason=\"{reason}\"}} ");
    let metrics = get_at_once(running, "/metrics").await.1;
    metrics.lines().find_map(|shown| shown.strip_prefix(&line)).map_or(0, |number| number.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_or_silent_costs_spans_and_nothing_else() {
    // One that nobody listens for; and one that takes connections and never says a word.
    let (away, silent) = (bind().await.local_addr().expect("bound"), bind().await);
    for (address, reason) in [(away, "not_taken"), (silent.local_addr().expect("bound"), "queue_full")] {
        let site = Site::with_vault(&to(address, 1.0));
        let running = site.start_open().await;
        let channel = channel(&site, &running, &workload("somebody")).await;
        // More than wait and than are sent at once.
        let begin = Instant::now();
        let callers: Vec<_> = (0..8)
            .map(|_| {
                let channel = channel.clone();
                tokio::spawn(async move {
                    for _ in 0..400 {
                        assert_eq!(code(&send(&channel, "/no.Such/Call", Vec::new()).await), Code::Unimplemented);
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.expect("each call is answered");
        }
        assert!(begin.elapsed() < NO_WAITING, "calls are slow: {:?}", begin.elapsed());
        let begin = Instant::now();
        while lost(&running, reason).await == 0 {
            assert!(begin.elapsed() < PATIENCE, "nothing is counted as {reason}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let begin = Instant::now();
        let log = running.stop_and_read();
        assert!(begin.elapsed() < NO_WAITING, "the end takes {:?}", begin.elapsed());
        assert!(log.matches("the collector").count() <= 1, "{log}");
        assert!(log.contains(if reason == "not_taken" { "does not take traces" } else { "too slow" }), "{log}");
    }
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Kinds of frames, and the flag that says that no more headers follow.
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_HEADERS: u8 = 4;

/// Waits for the first request of a connection, says this and no more, and keeps the connection.
async fn say_once(mut stream: TcpStream, frames: Vec<u8>) -> std::io::Result<()> {
    let preface = 24;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    stream.read_exact(&mut vec![0; preface]).await?;
    // Settings come first, and are acknowledged.
    stream.write_all(&frame(SETTINGS, 1, 0, &[])).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        stream.read_exact(&mut vec![0; length]).await?;
        if head[3] == HEADERS {
            break;
        }
    }
    stream.write_all(&frames).await?;
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
}

/// Says so on every connection.
async fn odd_collector(frames: Vec<u8>) -> SocketAddr {
    let listener = bind().await;
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(say_once(stream, frames.clone()));
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_begins_an_answer_and_never_ends_it_is_given_up() {
    // `:status: 200` and `content-type: application/grpc`, in HPACK (RFC 7541).
    let headers = [&[0x88, 0x0f, 0x10, 16][..], b"application/grpc"].concat();
    let begun = frame(HEADERS, END_HEADERS, 1, &headers);
    // The end of a connection may come with a text (RFC 9113, section 6.8).
    let text = [&0_u32.to_be_bytes()[..], &11_u32.to_be_bytes(), b"canary of the collector"].concat();
    for frames in [begun, frame(GOAWAY, 0, 0, &text)] {
        let site = Site::with_vault(&to(odd_collector(frames.clone()).await, 1.0));
        let running = site.start();
        let channel = channel(&site, &running, &workload("somebody")).await;
        assert_eq!(code(&send(&channel, "/no.Such/Call", Vec::new()).await), Code::Unimplemented);
        let begin = Instant::now();
        while lost(&running, "not_taken").await == 0 {
            assert!(begin.elapsed() < PATIENCE, "it is waited for without end");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        running.says("does not take traces");
        let log = running.stop_and_read();
        assert!(!log.contains("canary"), "a collector's text is in the log: {log}");
    }
}
