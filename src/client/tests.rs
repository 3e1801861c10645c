use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::model::{NamespaceName, SpiffeId};

/// A self-signed certificate that is its own CA: enough to come as far as the network.
fn credentials(folder: &Path) -> Credentials {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let place = |name: &str| folder.join(name);
    fs::write(place("cert.pem"), made.cert.pem()).expect("written");
    fs::write(place("cert.key"), made.signing_key.serialize_pem()).expect("written");
    fs::set_permissions(place("cert.key"), fs::Permissions::from_mode(0o600)).expect("set");
    Credentials { ca: place("cert.pem"), certificate: place("cert.pem"), key: place("cert.key") }
}

fn options(address: &str, credentials: Credentials) -> ClientOptions {
    ClientOptions::new(address, "spiffe://shop.example/strongroom".parse().expect("valid"), credentials).deadline(Duration::from_secs(2))
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let error = Client::connect(options(&format!("127.0.0.1:{port}"), credentials(folder.path()))).await.expect_err("nobody listens");
    assert!(matches!(error, ClientError::Unreachable { .. }) && error.is_passing(), "{error:?}");
    assert!(error.to_string().contains("refused") && error.to_string().contains("check"), "{error}");
}

#[tokio::test]
async fn a_peer_that_speaks_no_tls_is_no_vault() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a caller");
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("sent");
    });
    let error = Client::connect(options(&address, credentials(folder.path()))).await.expect_err("no TLS");
    assert!(matches!(error, ClientError::Tls { .. }) && !error.is_passing(), "{error:?}");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = Credentials { ca: folder.path().join("nowhere.pem"), ..credentials(folder.path()) };
    let error = Client::connect(options("127.0.0.1:1", missing)).await.expect_err("no CA");
    assert!(matches!(error, ClientError::Tls { .. }) && error.to_string().contains("nowhere.pem"), "{error}");
    let error = Client::connect(options("no port", credentials(folder.path()))).await.expect_err("no address");
    assert!(matches!(error, ClientError::Invalid { field: "address", .. }), "{error}");
}

/// A client that was connected once, and now meets `answer` instead of the vault; and how often it came.
async fn bereft(deadline: Duration, answer: fn(TcpStream)) -> (Client, Arc<AtomicU32>) {
    let folder = tempfile::tempdir().expect("a folder");
    let Credentials { ca, certificate, key } = credentials(folder.path());
    let server_id: SpiffeId = "spiffe://shop.example/strongroom".parse().expect("valid");
    let tls = ClientTls::from_files(&ClientFiles { roots: ca, certificate, key }, server_id).expect("usable");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let visits = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&visits);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            answer(stream);
        }
    });
    let channel = tls::connect_lazy(&address, &tls, Timeouts::default()).expect("an address");
    (Client { channel, address: address.into(), deadline, retries: 3, pins_server_key: false }, visits)
}

fn namespace() -> NamespaceName {
    "wepay-stage".parse().expect("valid")
}

#[tokio::test]
async fn a_read_is_sent_again_after_pauses_and_a_rotation_is_not() {
    let (client, visits) = bereft(Duration::from_secs(10), drop).await;
    let started = Instant::now();
    let error = client.describe_namespace(&namespace()).await.expect_err("hung up");
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert_eq!(visits.load(Ordering::Relaxed), 4);
    assert!(started.elapsed() >= Duration::from_millis(25 + 50 + 100), "{:?}", started.elapsed());

    let (client, visits) = bereft(Duration::from_secs(10), drop).await;
    client.rotate_key(&namespace(), 0, "").await.expect_err("hung up");
    assert_eq!(visits.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn silence_ends_with_the_deadline() {
    let (client, _) = bereft(Duration::from_millis(200), std::mem::forget).await;
    let error = tokio::time::timeout(Duration::from_secs(5), client.status()).await.expect("it ends").expect_err("no answer");
    assert!(matches!(error, ClientError::TimedOut { method: Method::GetStatus, .. }), "{error:?}");
}
