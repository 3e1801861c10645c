//! What machines that watch machines ask, over plain HTTP/1.1 on a port of its own, by default on the loopback alone:
//!
//! | path | answer |
//! |---|---|
//! | `/livez` | 200 while the process turns: a supervisor restarts it otherwise, and it comes back sealed |
//! | `/readyz` | 200 if calls would be served, else 503; in either case a line for each condition |
//! | `/metrics` | counts and figures, in the text form that Prometheus reads (OpenMetrics 1.0) |
//!
//! There is nothing to log in with, so nothing here tells of a secret, a principal or a namespace, and nothing can be changed.
//!
//! Nobody who can connect may keep a supervisor from its answer, which would restart the process and so seal the vault: a
//! connection is good for one request and a few seconds, the oldest gives way where all places are taken (`places`), and what
//! looks at disks is done once for all who ask within a second (`shared`).

mod figures;
mod places;
mod ready;
mod shared;

use std::convert::Infallible;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::audit::AuditLog;
use crate::gate::Gate;
use crate::identity::LiveTls;
use crate::memory::Hardening;
use crate::metrics::{Calls, Reasons};
use crate::model::Clock;
use crate::traces::Traces;
use crate::vault::Vault;
use figures::Figures;
use places::Places;
use shared::Shared;

/// Connections at once.
const CONNECTIONS: usize = 32;
/// How long a connection lasts at most, from its first byte to its last.
const AGE: Duration = Duration::from_secs(5);
/// For how long the figures are good.
const FIGURES_AGE: Duration = Duration::from_secs(1);
/// How much of a request is looked at.
const HEADER_BYTES: usize = 8 * 1024;
/// The pause after `accept` failed.
const PAUSE: Duration = Duration::from_millis(100);

/// What is watched.
#[derive(Clone)]
pub struct Watched {
    /// Sealed or open; the store's condition.
    pub vault: Arc<Vault>,
    /// Whose refusals are counted.
    pub gate: Arc<Gate>,
    /// Whether it can be written, and how far it is behind.
    pub audit: Arc<AuditLog>,
    /// Certificates and revocation lists in force.
    pub live: Arc<LiveTls>,
    /// The vault's time.
    pub clock: Arc<dyn Clock>,
    /// How far the process is protected.
    pub hardening: Hardening,
    /// Calls.
    pub calls: Calls,
    /// Traces.
    pub traces: Traces,
    /// Connections that proved nothing, by reason.
    pub strangers: Reasons,
    /// Folders of store and log, for the free room on their disks.
    pub folders: [PathBuf; 2],
    /// True once the server is ending.
    pub ending: watch::Receiver<bool>,
}

/// Answers on `listener` until `stop` is ready.
pub async fn serve(listener: TcpListener, watched: Watched, stop: impl Future<Output = ()>) {
    let mut registry = Registry::with_prefix("strongroom");
    watched.calls.register(&mut registry);
    watched.traces.register(&mut registry);
    watched.strangers.register(&mut registry, "connections_refused", "Connections that proved no principal, by reason");
    watched.gate.watches().register(&mut registry);
    watched.gate.refusals().register(&mut registry, "calls_refused", "Calls that were refused before anything was done, by reason");
    registry.register_collector(Box::new(Figures(watched.clone())));
    let asked = Arc::new(Asked { registry, watched, figures: Shared::new(FIGURES_AGE) });
    let accepting = async {
        let mut places = Places::new(CONNECTIONS);
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let asked = asked.clone();
                    places.take(async move {
                        let _ = tokio::time::timeout(AGE, answer_one(stream, asked)).await;
                    });
                    // Who came just now is heard before the next one comes, however many wait.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    tracing::warn!(kind = ?error.kind(), "the operations listener could not accept; trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = stop => {}
        () = accepting => {}
    }
}

struct Asked {
    registry: Registry,
    watched: Watched,
    figures: Shared,
}

async fn answer_one(stream: TcpStream, asked: Arc<Asked>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let asked = asked.clone();
        async move { Ok::<_, Infallible>(asked.answer(request.method(), request.uri().path()).await) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.keep_alive(false).header_read_timeout(None).max_buf_size(HEADER_BYTES);
    // Whoever breaks the protocol is gone; there is nothing to tell anybody.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Asked {
    async fn answer(self: Arc<Self>, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n");
        }
        match path {
            "/livez" => response(StatusCode::OK, TEXT, "alive\n"),
            "/readyz" => {
                let (ready, told) = ready::told(&self.watched);
                response(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, TEXT, told)
            }
            "/metrics" => {
                let own = self.clone();
                match self.figures.get(move || figures::text(&own.registry)).await {
                    Ok(text) => response(StatusCode::OK, OPEN_METRICS, text),
                    Err(_) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the figures could not be gathered\n"),
                }
            }
            _ => response(StatusCode::NOT_FOUND, TEXT, "there are /livez, /readyz and /metrics\n"),
        }
    }
}

fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, kind)
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .body(Full::new(body.into()))
        .expect("constant headers are well-formed")
}
