//! Handshakes with the server's port: as a stranger, as somebody of yesterday, and as the profile's holder.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature};
use rustls::{AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::finding::Unseen;
use crate::client::Profile;
use crate::client::tls::{ClientFiles, ClientTls};
use crate::model::with_causes;

const PATIENCE: Duration = Duration::from_secs(5);
const START: &str = "start the server; if it runs, see whether it was started with this configuration";
const LOOK: &str = "see what listens there (`ss -ltnp`), and the server's log";
/// The alert `protocol_version` (RFC 8446, section 6.2).
const PROTOCOL_VERSION: u8 = 70;

/// What became of somebody who should be refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Refused, for the reason that there should be.
    Refused,
    /// Let in.
    LetIn,
    /// What answers is no server of ours.
    Foreign(String),
}

/// A stranger's handshake: what became of it, and the certificate that the server proved to hold.
#[derive(Debug, Clone)]
pub(super) struct Strange {
    pub(super) answer: Answer,
    pub(super) certificate: Option<CertificateDer<'static>>,
}

/// A handshake as the profile's holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// The server proved to be the one that the profile pins; with this protocol and key exchange.
    Proved { protocol: String, group: String },
    /// It did not.
    Failed(String),
}

async fn dial(address: SocketAddr) -> Result<TcpStream, Unseen> {
    let connecting = TcpStream::connect(address);
    let stream = tokio::time::timeout(PATIENCE, connecting).await.map_err(|_| io::ErrorKind::TimedOut.into()).flatten();
    stream.map_err(|error| Unseen::new(format!("nothing answers at {address}: {error}"), START))
}

async fn handshake(address: SocketAddr, config: Arc<ClientConfig>) -> Result<io::Result<TlsStream<TcpStream>>, Unseen> {
    let stream = dial(address).await?;
    // The name of the host is sent to the server, which does not look at it.
    let shaking = TlsConnector::from(config).connect(ServerName::from(address.ip()), stream);
    tokio::time::timeout(PATIENCE, shaking).await.map_err(|_| Unseen::new(format!("{address} does not finish a handshake"), LOOK))
}

/// Connects without a certificate. In TLS 1.3 the client is done before the server refuses it, so what is read first decides.
pub(super) async fn without_certificate(address: SocketAddr) -> Result<Strange, Unseen> {
    let mut stream = match handshake(address, anybody()).await? {
        Ok(stream) => stream,
        Err(error) => return Ok(Strange { answer: Answer::Foreign(error.to_string()), certificate: None }),
    };
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).cloned();
    let answer = match tokio::time::timeout(PATIENCE, stream.read(&mut [0; 16])).await {
        Ok(Ok(length)) if length > 0 => Answer::LetIn,
        Ok(Err(error)) if alert(&error) == Some(AlertDescription::CertificateRequired) => Answer::Refused,
        Ok(Err(error)) => return Err(Unseen::new(format!("{address} ended a connection without certificate otherwise: {error}"), LOOK)),
        Ok(Ok(_)) => return Err(Unseen::new(format!("{address} ended a connection without certificate, and did not say why"), LOOK)),
        Err(_) => return Err(Unseen::new(format!("{address} neither serves nor refuses a connection without certificate"), LOOK)),
    };
    Ok(Strange { answer, certificate: shown })
}

fn alert(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

/// Says hello in TLS 1.2, with every kind of suite in use: what is refused must be the version.
pub(super) async fn with_tls12(address: SocketAddr) -> Result<Answer, Unseen> {
    let exchange = async {
        let mut stream = dial(address).await?;
        let mut head = [0; 7];
        let read = async {
            stream.write_all(&hello_of_tls12()).await?;
            stream.read_exact(&mut head).await
        };
        read.await.map_err(|error| Unseen::new(format!("{address} ended a connection of TLS 1.2, and did not say why: {error}"), LOOK))?;
        Ok(head)
    };
    let head = tokio::time::timeout(PATIENCE, exchange).await;
    Ok(judge_tls12(head.map_err(|_| Unseen::new(format!("{address} does not answer a hello of TLS 1.2"), LOOK))??))
}

/// A record's head of five bytes, and its first two: of an alert its level and what it says.
fn judge_tls12(head: [u8; 7]) -> Answer {
    match head {
        [0x15, 3, .., PROTOCOL_VERSION] => Answer::Refused,
        [0x15, 3, .., other] => {
            Answer::Foreign(format!("it refuses TLS 1.2 by alert {other}, not for its version (alert {PROTOCOL_VERSION})"))
        }
        [0x16, 3, ..] => Answer::LetIn,
        _ => Answer::Foreign("it does not speak TLS".to_owned()),
    }
}

/// A ClientHello of RFC 5246, without the extension that offers later versions.
fn hello_of_tls12() -> Vec<u8> {
    const SUITES: [u16; 10] = [0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca9, 0xcca8, 0x009c, 0x009d, 0x002f, 0x0035];
    let extensions: [&[u8]; 3] = [
        &[0, 10, 0, 8, 0, 6, 0, 29, 0, 23, 0, 24], // supported_groups: x25519, P-256, P-384
        &[0, 11, 0, 2, 1, 0],                      // ec_point_formats: uncompressed
        &[0, 13, 0, 14, 0, 12, 4, 3, 5, 3, 8, 4, 8, 5, 4, 1, 5, 1], // signature_algorithms: ECDSA, RSA-PSS, RSA
    ];
    let extensions = extensions.concat();
    let short = |length: usize| u16::try_from(length).expect("a hello is short").to_be_bytes();
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]); // random: nothing is kept secret here
    body.push(0); // no session
    body.extend_from_slice(&short(2 * SUITES.len()));
    SUITES.iter().for_each(|suite| body.extend_from_slice(&suite.to_be_bytes()));
    body.extend_from_slice(&[1, 0]); // no compression
    body.extend_from_slice(&short(extensions.len()));
    body.extend_from_slice(&extensions);
    let mut record = vec![0x16, 3, 1];
    record.extend_from_slice(&short(body.len() + 4));
    record.extend_from_slice(&[1, 0]);
    record.extend_from_slice(&short(body.len()));
    record.extend_from_slice(&body);
    record
}

/// Connects as every client does: TLS 1.3, and the pinned server or none.
pub(super) async fn as_holder(address: SocketAddr, profile: &Profile) -> Result<Known, Unseen> {
    let files = profile.credentials.clone();
    let files = ClientFiles { roots: files.ca, certificate: files.certificate, key: files.key };
    let tls = ClientTls::from_files(&files, profile.server_id.clone());
    let tls = tls.map_err(|error| Unseen::new(format!("the profile cannot be used: {}", with_causes(&error)), "mend the profile"))?;
    let stream = match handshake(address, tls.config()).await? {
        Ok(stream) => stream,
        Err(error) => return Ok(Known::Failed(told(&error))),
    };
    let session = stream.get_ref().1;
    let word = |name: Option<String>| name.unwrap_or_default();
    Ok(Known::Proved {
        protocol: word(session.protocol_version().map(|version| format!("{version:?}"))),
        group: word(session.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()))),
    })
}

/// rustls shows what our own verifier says as code; here it is in words.
fn told(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(own)))) => own.to_string(),
        _ => error.to_string(),
    }
}

/// Somebody without a certificate, who takes whatever certificate the server has and looks at it.
fn anybody() -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Taken(provider.signature_verification_algorithms);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has TLS 1.3 suites and groups")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// Whoever holds the certificate's key is taken: nothing is sent over such a connection, and the certificate is compared after.
#[derive(Debug)]
struct Taken(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Taken {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _host: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rustls::ServerConfig;
    use rustls::crypto::CryptoProvider;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::model::{Clock, SystemClock};
    use crate::pki::{Authority, Issued};

    #[test]
    fn only_the_alert_about_the_version_is_a_refusal_of_the_version() {
        assert_eq!(judge_tls12([0x15, 3, 3, 0, 2, 2, 70]), Answer::Refused);
        assert!(matches!(judge_tls12([0x15, 3, 3, 0, 2, 2, 40]), Answer::Foreign(_)));
        assert_eq!(judge_tls12([0x16, 3, 3, 0, 90, 2, 0]), Answer::LetIn);
        assert!(matches!(judge_tls12(*b"HTTP/1."), Answer::Foreign(_)));
    }

    fn leaf() -> Issued {
        let now = SystemClock.now();
        let authority = Authority::create("CA", "a.test".parse().expect("valid"), now).expect("made");
        let id = "spiffe://a.test/vault".parse().expect("valid");
        authority.issue_server(&id, &[], &[], now, Duration::from_secs(3600)).expect("issued")
    }

    /// A server that asks nobody for a certificate, and says something to whoever comes.
    async fn careless(leaf: &Issued) -> SocketAddr {
        let provider = Arc::new(CryptoProvider::clone(&aws_lc_rs::default_provider()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("it has TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.certificate().clone()], leaf.key())
            .expect("they fit");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a caller");
            let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await.expect("let in");
            stream.write_all(b"welcome").await.expect("said");
            let _ = stream.flush().await;
            let _ = stream.read(&mut [0; 1]).await;
        });
        address
    }

    #[tokio::test]
    async fn a_server_that_lets_strangers_in_is_seen() {
        let leaf = leaf();
        let strange = without_certificate(careless(&leaf).await).await.expect("it answers");
        assert_eq!(strange.answer, Answer::LetIn);
        assert_eq!(strange.certificate.as_ref(), Some(leaf.certificate()));
    }

    /// Something that answers whatever it is asked with these bytes.
    async fn saying(bytes: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a caller");
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(bytes).await;
        });
        address
    }

    #[tokio::test]
    async fn what_is_no_server_of_ours_is_no_refusal() {
        let plain = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        assert!(matches!(without_certificate(saying(plain).await).await.expect("it answers").answer, Answer::Foreign(_)));
        assert!(matches!(with_tls12(saying(plain).await).await, Ok(Answer::Foreign(_))));
        assert_eq!(with_tls12(saying(&[0x16, 3, 3, 0, 90, 2, 0]).await).await, Ok(Answer::LetIn));
        assert!(with_tls12(saying(b"").await).await.is_err(), "an end says nothing");
        let nobody = TcpListener::bind("127.0.0.1:0").await.expect("bound").local_addr().expect("bound");
        assert!(without_certificate(nobody).await.is_err() && with_tls12(nobody).await.is_err());
    }
}
