//! The ceiling: a tonic service over the same mutual TLS, which answers at once with as many bytes.

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strongroom::api::{CreateSecretRequest, CreateSecretResponse, MessageCodec, Method, RevealSecretRequest, RevealSecretResponse, Secret};
use strongroom::config::{Config, Revocation as Configured};
use strongroom::identity::{
    AcceptLimits, Caller, HighestLists, LiveTls, Revocation, ServerTls, TrustAnchor, accept, load_certificates, load_private_key,
};
use strongroom::model::{Clock, SystemClock};
use strongroom::server::Gathered;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tonic::body::Body;
use tonic::codec::Codec;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// What the echo shares with the real server beside its TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Manner {
    /// Nothing: tonic as it comes.
    Bare,
    /// How bytes and messages are buffered: what is left is the vault.
    Tuned,
}

/// Serves with the TLS of a site's configuration, and says where.
pub(crate) async fn serve(manner: Manner, config: &Path, payload_bytes: usize) {
    let config = Config::load(config).expect("the site's configuration");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let tls = Arc::new(LiveTls::new(tls(&config), HighestLists::default()).expect("no lists"));
    let connections = accept(listener, tls, AcceptLimits::default(), |_| {}, std::future::pending()).expect("a thread");
    eprintln!("echo: serving on {address}");
    let limits = &config.limits;
    let server = Server::builder()
        .timeout(limits.request_timeout)
        .max_concurrent_streams(Some(limits.streams_per_connection))
        .http2_max_header_list_size(Some(limits.header_list_max_bytes))
        .max_connection_age(Duration::from_secs(3600))
        .add_service(Echo { manner, payload: vec![b'x'; payload_bytes].into() });
    let served = match manner {
        Manner::Bare => server.serve_with_incoming(connections).await,
        Manner::Tuned => server.serve_with_incoming(connections.map(|ready| ready.map(Gathered::new))).await,
    };
    served.expect("it serves");
}

fn tls(config: &Config) -> ServerTls {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let anchors = config.tls.trust.iter().map(|trust| {
        assert_eq!(trust.revocation, Configured::None, "the bench's own site has no lists");
        let roots = trust.roots.iter().flat_map(|file| load_certificates(file).expect("roots")).collect();
        TrustAnchor::new(trust.domain.clone(), trust.class, roots, Revocation::NoneByConfiguration, clock.now()).expect("an anchor")
    });
    let (chain, key) = (load_certificates(&config.tls.certificate).expect("a chain"), load_private_key(&config.tls.key).expect("a key"));
    ServerTls::new(chain, key, anchors.collect(), clock.clone()).expect("the site's TLS")
}

/// The two RPCs that are measured.
#[derive(Clone)]
struct Echo {
    manner: Manner,
    payload: Arc<[u8]>,
}

impl NamedService for Echo {
    const NAME: &'static str = "strongroom.v1.SecretService";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        // Else its connection would be slowed: its calls would be bytes that nobody accounts for.
        let credit = &request.extensions().get::<Caller>().expect("of the acceptor").credit;
        let earned = credit.earn();
        credit.earn_receipt();
        Box::pin(async move {
            let _earned = earned;
            let reveals = request.uri().path() == Method::RevealSecret.path();
            Ok(match (reveals, echo.manner) {
                (true, Manner::Bare) => answer::<RevealSecretRequest, RevealSecretResponse, _>(ProstCodec::default(), echo, request).await,
                (true, Manner::Tuned) => answer::<RevealSecretRequest, _, _>(MessageCodec::default(), echo, request).await,
                (false, Manner::Bare) => answer::<CreateSecretRequest, _, _>(ProstCodec::default(), echo, request).await,
                (false, Manner::Tuned) => answer::<CreateSecretRequest, _, _>(MessageCodec::default(), echo, request).await,
            })
        })
    }
}

type Answer<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

async fn answer<Q, A, C>(codec: C, echo: Echo, request: http::Request<Body>) -> http::Response<Body>
where
    C: Codec<Encode = A, Decode = Q>,
    Echo: UnaryService<Q, Response = A>,
    Q: Send + Sync + 'static,
    A: Send + Sync + 'static,
{
    Grpc::new(codec).unary(echo, request).await
}

impl UnaryService<RevealSecretRequest> for Echo {
    type Response = RevealSecretResponse;
    type Future = Answer<Response<RevealSecretResponse>, Status>;

    fn call(&mut self, _: Request<RevealSecretRequest>) -> Self::Future {
        let payload = self.payload.to_vec();
        Box::pin(async { Ok(Response::new(RevealSecretResponse { payload, version: 1, revision: 1, expire_time: None })) })
    }
}

impl UnaryService<CreateSecretRequest> for Echo {
    type Response = CreateSecretResponse;
    type Future = Answer<Response<CreateSecretResponse>, Status>;

    fn call(&mut self, request: Request<CreateSecretRequest>) -> Self::Future {
        let secret = Secret { name: request.into_inner().name, updated_by: "spiffe://apps.test/backend".to_owned(), ..Default::default() };
        Box::pin(async { Ok(Response::new(CreateSecretResponse { secret: Some(secret), warnings: Vec::new() })) })
    }
}
