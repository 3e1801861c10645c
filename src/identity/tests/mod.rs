//! Real sockets, real handshakes: a small world of two CAs, a door, and those who knock.
//!
//! | file | what is shown |
//! |---|---|
//! | `identity` | which certificates make a principal, and which |
//! | `anchors` | what can be configured, revocation lists above all |
//! | `intermediates` | CAs between root and leaf, and their lists |
//! | `chains` | long chains, wide ones, leaves with many names |
//! | `lists` | what a file of a revocation list may hold |
//! | `lifetime` | when a connection ends |
//! | `loop` | what strangers can do to the accept loop |
//! | `grpc` | the whole way with tonic on both sides; the client's pin |
//! | `documented` | the commands of `docs/tls.md`, run as they stand there |

#[path = "loop.rs"]
mod accept_loop;
mod anchors;
mod chains;
mod documented;
mod grpc;
mod identity;
mod intermediates;
mod lifetime;
mod lists;

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateRevocationListDer, ServerName};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::client::tls::ClientTls;
use crate::model::{Class, Clock, SpiffeId, SystemClock, Timestamp};
use crate::pki::{Authority, Issued, LeafProfile, Usage};

const HOUR: Duration = Duration::from_secs(3600);
/// Longer than anything here takes when it works.
const PATIENCE: Duration = Duration::from_secs(10);
const SERVER: &str = "spiffe://shop.example/strongroom";
const BACKEND: &str = "spiffe://shop.example/backend";
const ALICE: &str = "spiffe://staff.example/alice";

fn id(text: &str) -> SpiffeId {
    text.parse().expect("valid")
}

fn now() -> Timestamp {
    SystemClock.now()
}

/// A CA for workloads, another for operators.
struct World {
    workloads: Authority,
    operators: Authority,
}

impl World {
    fn new() -> Self {
        let create = |name: &str, domain: &str| Authority::create(name, domain.parse().expect("valid"), now()).expect("created");
        Self { workloads: create("Shop workloads", "shop.example"), operators: create("Shop staff", "staff.example") }
    }

    fn backend(&self) -> Issued {
        self.workloads.issue_client(&id(BACKEND), now(), HOUR).expect("issued")
    }

    fn alice(&self) -> Issued {
        self.operators.issue_client(&id(ALICE), now(), HOUR).expect("issued")
    }

    fn profile(text: &str) -> LeafProfile {
        LeafProfile::new(&id(text), Usage::Client, now(), now().plus(HOUR))
    }

    /// Both domains, with lists that revoke `revoked` in the first.
    fn anchors(&self, revoked: &[&str]) -> Vec<TrustAnchor> {
        vec![
            anchor(&self.workloads, Class::Workload, lists(&self.workloads, revoked)),
            anchor(&self.operators, Class::Operator, lists(&self.operators, &[])),
        ]
    }

    fn tls(&self, anchors: Vec<TrustAnchor>) -> ServerTls {
        self.tls_by(anchors, Arc::new(SystemClock))
    }

    fn tls_by(&self, anchors: Vec<TrustAnchor>, clock: Arc<dyn Clock>) -> ServerTls {
        let own = self.workloads.issue_server(&id(SERVER), &["localhost"], &[], now(), 100 * HOUR).expect("issued");
        ServerTls::new(vec![own.certificate().clone()], own.key(), anchors, clock).expect("built")
    }

    fn client(&self, leaf: &Issued) -> ClientTls {
        let root = self.workloads.certificate().clone();
        ClientTls::new(vec![root], vec![leaf.certificate().clone()], leaf.key(), id(SERVER)).expect("built")
    }
}

fn anchor(authority: &Authority, class: Class, revocation: Revocation) -> TrustAnchor {
    let roots = vec![authority.certificate().clone()];
    TrustAnchor::new(authority.trust_domain().clone(), class, roots, revocation, now()).expect("good")
}

fn lists(authority: &Authority, revoked: &[&str]) -> Revocation {
    Revocation::Crls(vec![list(authority, revoked, now().plus(HOUR))])
}

fn list(authority: &Authority, revoked: &[&str], next_update: Timestamp) -> CertificateRevocationListDer<'static> {
    let pem = authority.crl(revoked, 1, next_update_minus(next_update), next_update).expect("signed");
    CertificateRevocationListDer::from_pem_slice(pem.as_bytes()).expect("PEM")
}

/// Two hours before, so that a list may also have ended already.
fn next_update_minus(next_update: Timestamp) -> Timestamp {
    Timestamp::from_unix_ms(next_update.unix_ms() - 2 * 3600 * 1_000).expect("valid")
}

/// A clock that stands still until a test sets it.
struct Hands(AtomicU64);

impl Hands {
    fn at(time: Timestamp) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(time.unix_ms())))
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.load(Ordering::Relaxed)).expect("valid")
    }
}

/// An accept loop on a port of its own.
struct Door {
    address: SocketAddr,
    live: Arc<LiveTls>,
    strangers: UnboundedReceiver<Stranger>,
    connections: ReceiverStream<io::Result<Connection>>,
}

impl Door {
    async fn open(tls: ServerTls) -> Self {
        Self::open_with(tls, AcceptLimits::default()).await
    }

    async fn open_with(tls: ServerTls, limits: AcceptLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let live = Arc::new(LiveTls::new(tls, HighestLists::default()).expect("nothing was seen before"));
        let (told, strangers) = mpsc::unbounded_channel();
        let report = move |stranger| told.send(stranger).expect("somebody listens");
        let connections = accept(listener, Arc::clone(&live), limits, report, pending()).expect("a thread");
        Self { address, live, strangers, connections }
    }

    /// Knocks with a client's TLS, and waits for the door's answer: a connection and the client's end of it, or why not.
    async fn knock(&mut self, config: Arc<ClientConfig>) -> Result<(Connection, TlsStream<TcpStream>), &'static str> {
        let stream = TcpStream::connect(self.address).await.expect("connected");
        let name = ServerName::try_from("localhost").expect("a name");
        let client = tokio::spawn(TlsConnector::from(config).connect(name, stream));
        let connection = self.answer().await?;
        let stream = client.await.expect("no panic").expect("the client is content when the server is");
        Ok((connection, stream))
    }

    async fn answer(&mut self) -> Result<Connection, &'static str> {
        let answer = async {
            tokio::select! {
                Some(connection) = self.connections.next() => Ok(connection.expect("never an error")),
                Some(stranger) = self.strangers.recv() => Err(stranger.why),
            }
        };
        tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time")
    }

    /// The reason for which a client with this leaf is refused.
    async fn refusal(&mut self, world: &World, leaf: &Issued) -> &'static str {
        self.knock(world.client(leaf).config()).await.err().expect("refused")
    }
}
