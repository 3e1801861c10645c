//! What stands before every service: counts the call, and lets it begin if its principal and the server have room for it.
//! A call that is refused here was not read: not a byte of its message is taken in.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::sync::Semaphore;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::server::NamedService;
use tower::{Layer, Service};

use super::answer::{Answer, Held, Places};
use super::door::{Door, refuse_too_much};
use super::secrets::Secrets;
use super::status::{server_busy, unidentified};
use super::watch::Watches;
use super::{Services, bounded};
use crate::api::Method;
use crate::api::secret_service_server::SecretServiceServer;
use crate::gate::{Gate, goes_first};
use crate::identity::{Caller, Earned};
use crate::metrics::{CallUnderWay, Calls};
use crate::traces::{Span, Traces};

/// The layer around all services.
#[derive(Clone)]
pub struct Front(Arc<Shared>);

struct Shared {
    gate: Arc<Gate>,
    calls: Calls,
    traces: Traces,
    places: Arc<Semaphore>,
    /// Its calls are what most calls are: they do not take the way through the router, which costs as much as a decryption.
    secrets: SecretServiceServer<Secrets>,
}

/// All services, with the layer around them.
#[derive(Clone)]
pub struct Fronted<S> {
    front: Front,
    inner: S,
}

pin_project! {
    /// The answer of a call, counted and its span ended when its header is there.
    pub struct Answering<F> {
        #[pin]
        work: Work<F>,
        method: Option<Method>,
        places: Option<Places>,
        counted: Option<(CallUnderWay, Option<Span>)>,
    }
}

pin_project! {
    #[project = WorkProjected]
    enum Work<F> {
        Refused { status: Option<Status> },
        OfSecrets { answer: BoxFuture<Response<Body>, Infallible> },
        Routed { #[pin] answer: F },
    }
}

impl Front {
    /// For the services of this server.
    #[must_use]
    pub fn new(services: &Services) -> Self {
        let places = Arc::new(Semaphore::new(services.calls_max));
        let secrets = bounded!(services, SecretServiceServer, Secrets::new(Door::new(services), Watches::new(services)));
        let (calls, traces) = (services.calls.clone(), services.traces.clone());
        Self(Arc::new(Shared { gate: services.gate.clone(), calls, traces, places, secrets }))
    }
}

impl Shared {
    fn admit(&self, method: Option<Method>, caller: Option<&Caller>) -> Result<Places, Status> {
        let caller = caller.ok_or_else(unidentified)?;
        // Also of one that is refused, the bytes are on their way.
        let earned = caller.credit.earn();
        let places = self.places(method, caller, earned);
        match places {
            Ok(_) => caller.credit.earn_receipt(),
            Err(_) => caller.credit.pay_refusal(),
        }
        places
    }

    fn places(&self, method: Option<Method>, caller: &Caller, _earned: Earned) -> Result<Places, Status> {
        let of_principal = caller.standing.begin().map_err(|too_much| refuse_too_much(&self.gate, &caller.peer, method, too_much))?;
        // An operator gets through to `status`, `seal` and `unseal` however much the others ask for.
        if method.is_some_and(goes_first) {
            return Ok(Places { _among_all: None, of_principal, _earned });
        }
        let among_all = self.places.clone().try_acquire_owned().map_err(|_| {
            self.gate.count_refused(&caller.peer, method, "server_busy");
            server_busy()
        })?;
        Ok(Places { _among_all: Some(among_all), of_principal, _earned })
    }
}

fn is_of_secrets(path: &str) -> bool {
    let method = path.strip_prefix('/').and_then(|path| path.strip_prefix(SecretServiceServer::<Secrets>::NAME));
    method.is_some_and(|method| method.starts_with('/'))
}

impl<S> Layer<S> for Front {
    type Service = Fronted<S>;

    fn layer(&self, inner: S) -> Fronted<S> {
        Fronted { front: self.clone(), inner }
    }
}

impl<S> Service<Request<Body>> for Fronted<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Answer>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = Method::of_path(request.uri().path());
        let front = &self.front.0;
        let counted = front.calls.begin(method);
        let admitted = front.admit(method, request.extensions().get::<Caller>());
        // Who calls too often takes no room among the spans of others.
        let span = admitted.is_ok().then(|| front.traces.begin(method, request.headers()));
        let counted = Some((counted, span));
        let (work, places) = match admitted {
            Ok(places) if is_of_secrets(request.uri().path()) => {
                (Work::OfSecrets { answer: front.secrets.clone().call(request) }, Some(places))
            }
            Ok(places) => (Work::Routed { answer: self.inner.call(request) }, Some(places)),
            Err(status) => (Work::Refused { status: Some(status) }, None),
        };
        Answering { work, method, places, counted }
    }
}

/// How long the answer of a call holds its places.
fn held(method: Option<Method>, places: Option<Places>) -> Held {
    match (method, places) {
        // A watch and a backup have places of their own.
        (Some(Method::WatchSecrets | Method::WatchRewrap | Method::CreateBackup), _) | (_, None) => Held::Free,
        (Some(_), Some(places)) => Held::UntilWritten(places),
        // Of health and reflection, some answers are streams.
        (None, Some(places)) => Held::UntilEnd(places.of_principal),
    }
}

impl<F, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Answer>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = match this.work.project() {
            WorkProjected::Refused { status } => Ok(status.take().expect("an answer is given once").into_http()),
            WorkProjected::OfSecrets { answer } => {
                let Ok(answer) = ready!(answer.as_mut().poll(context));
                Ok(answer)
            }
            WorkProjected::Routed { answer } => ready!(answer.poll(context)),
        };
        if let (Ok(answer), Some((counted, span))) = (&answer, this.counted.take()) {
            let code = code(answer);
            counted.end(code);
            if let Some(span) = span {
                span.end(code);
            }
        }
        let held = held(*this.method, this.places.take());
        Poll::Ready(answer.map(|answer| answer.map(|body| Answer::new(body, held))))
    }
}

/// What a handler refuses stands in the header already; an answer that begins without it is well, as far as it has come.
fn code(answer: &Response<Body>) -> i32 {
    let status = answer.headers().get("grpc-status");
    status.map_or(0, |status| status.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(i32::MAX))
}
