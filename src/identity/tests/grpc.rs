//! The whole way with tonic on both sides, and the client's pin.

use std::sync::Mutex;

use tonic::service::InterceptorLayer;
use tonic::transport::{Channel, Server};
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::*;
use crate::client::tls::{ClientFiles, ConnectError, Timeouts, WrongServer, connect, connect_lazy};
use crate::pki::write_private;

/// A gRPC server with the standard health service, and what its requests carried.
struct Service {
    address: String,
    seen: Arc<Mutex<Vec<Peer>>>,
}

impl Service {
    async fn start(tls: ServerTls) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound").to_string();
        let connections = accept(
            listener,
            Arc::new(LiveTls::new(tls, HighestLists::default()).expect("nothing was seen before")),
            AcceptLimits::default(),
            drop,
            pending(),
        )
        .expect("a thread");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&seen);
        let interceptor = InterceptorLayer::new(move |request: Request<()>| {
            let peer = request.extensions().get::<Caller>().map(|caller| caller.peer.clone()).ok_or_else(|| Status::internal("no peer"))?;
            note.lock().expect("not poisoned").push(peer);
            Ok(request)
        });
        let (_, health) = tonic_health::server::health_reporter();
        tokio::spawn(Server::builder().layer(interceptor).add_service(health).serve_with_incoming(connections));
        Self { address, seen }
    }
}

async fn check(channel: Channel) -> Result<(), Status> {
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.map(drop)
}

#[tokio::test]
async fn a_handler_finds_the_peer_in_the_request() {
    let world = World::new();
    let service = Service::start(world.tls(world.anchors(&[]))).await;
    let leaf = world.alice();
    let eager = connect(&service.address, &world.client(&leaf), Timeouts::default()).await.expect("connected");
    check(eager).await.expect("served");
    let lazy = connect_lazy(&service.address, &world.client(&leaf), Timeouts::default()).expect("an address");
    check(lazy).await.expect("served");
    let seen = service.seen.lock().expect("not poisoned");
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|peer| peer.principal.id == id(ALICE) && peer.principal.class == Class::Operator));
    assert!(seen.iter().all(|peer| *peer.serial == leaf.serial() && peer.post_quantum));
}

#[tokio::test]
async fn a_client_speaks_to_the_server_that_it_pins_and_says_who_else_it_met() {
    let world = World::new();
    let service = Service::start(world.tls(world.anchors(&[]))).await;
    let leaf = world.backend();
    let root = world.workloads.certificate().clone();
    let expected = id("spiffe://shop.example/another-vault");
    let tls = ClientTls::new(vec![root], vec![leaf.certificate().clone()], leaf.key(), expected.clone()).expect("built");
    let wrong = WrongServer { expected, shown: Some(id(SERVER)) };

    let error = connect(&service.address, &tls, Timeouts::default()).await.expect_err("another server");
    let told = error.to_string();
    assert!(matches!(error, ConnectError::WrongServer(found) if found == wrong));
    assert!(told.contains("expected spiffe://shop.example/another-vault") && told.contains(&format!("shown {SERVER}")), "{told}");
    let status = check(connect_lazy(&service.address, &tls, Timeouts::default()).expect("an address")).await.expect_err("refused");
    assert_eq!(WrongServer::find(&status), Some(&wrong));
    assert!(service.seen.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn a_server_without_one_spiffe_id_or_under_another_ca_is_refused() {
    let world = World::new();
    // The server itself would not start with such a certificate, so a bare TLS server shows it.
    let mut profile = LeafProfile::new(&id(SERVER), Usage::Server, now(), now().plus(HOUR));
    profile.uris.push("spiffe://shop.example/second".to_owned());
    profile.dns_names = vec!["localhost".to_owned()];
    let twofold = world.workloads.issue(&profile).expect("issued");
    let error = meet(&world, &twofold).await;
    assert!(matches!(error, ConnectError::WrongServer(WrongServer { shown: None, .. })), "{error:?}");

    let impostor = world.operators.issue(&LeafProfile::new(&id(SERVER), Usage::Server, now(), now().plus(HOUR))).expect("issued");
    let error = meet(&world, &impostor).await;
    assert!(matches!(error, ConnectError::Transport { .. }), "{error:?}");
    // A client's certificate does not make a server, not even under the right ID.
    let client = world.workloads.issue_client(&id(SERVER), now(), HOUR).expect("issued");
    let error = meet(&world, &client).await;
    assert!(matches!(error, ConnectError::Transport { .. }), "{error:?}");
}

/// What a client says that meets a server with this certificate.
async fn meet(world: &World, shown: &Issued) -> ConnectError {
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![shown.certificate().clone()], shown.key())
        .expect("built");
    config.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound").to_string();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("accepted");
        drop(tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await);
    });
    let error = connect(&address, &world.client(&world.backend()), Timeouts::default()).await.expect_err("refused");
    server.await.expect("no panic");
    error
}

/// The alert may come after `connect` has returned: then it is the first call that fails.
#[tokio::test]
async fn a_client_that_is_turned_away_gets_no_answer() {
    let world = World::new();
    let leaf = world.backend();
    let service = Service::start(world.tls(world.anchors(&[&leaf.serial()]))).await;
    let answer = match connect(&service.address, &world.client(&leaf), Timeouts::default()).await {
        Ok(channel) => check(channel).await.map_err(|status| status.code()),
        Err(_) => Err(tonic::Code::Unavailable),
    };
    assert!(answer.is_err());
    assert!(service.seen.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn renewed_files_serve_the_next_connection() {
    let world = World::new();
    let service = Service::start(world.tls(world.anchors(&[]))).await;
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let files = ClientFiles { roots: at("ca.pem"), certificate: at("client.pem"), key: at("client.key") };
    let store = |leaf: &Issued| {
        std::fs::write(&files.roots, world.workloads.certificate_pem()).expect("written");
        std::fs::write(&files.certificate, leaf.certificate_pem()).expect("written");
        write_private(&files.key, &leaf.key_pem()).expect("written");
    };
    let (first, second) = (world.backend(), world.backend());
    store(&first);
    let tls = ClientTls::from_files(&files, id(SERVER)).expect("loaded");
    check(connect(&service.address, &tls, Timeouts::default()).await.expect("connected")).await.expect("served");
    store(&second);
    tls.reload(&files).expect("loaded");
    check(connect(&service.address, &tls, Timeouts::default()).await.expect("connected")).await.expect("served");
    let seen: Vec<String> = service.seen.lock().expect("not poisoned").iter().map(|peer| peer.serial.to_string()).collect();
    assert_eq!(seen, [first.serial(), second.serial()]);
}

#[tokio::test]
async fn an_address_is_host_and_port() {
    let world = World::new();
    let tls = world.client(&world.backend());
    for address in
        ["", "localhost", "localhost:", "localhost:99999", "user@localhost:1", "https://localhost:1", "localhost:1/path", "a b:1"]
    {
        assert!(matches!(connect_lazy(address, &tls, Timeouts::default()), Err(ConnectError::Address)), "{address:?}");
    }
    for address in ["localhost:1", "127.0.0.1:1", "[::1]:1"] {
        assert!(connect_lazy(address, &tls, Timeouts::default()).is_ok(), "{address:?}");
    }
}
