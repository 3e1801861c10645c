//! From an address to a channel: TCP, TLS, HTTP/2.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use hyper_util::rt::TokioIo;
use rustls::{CertificateError, ClientConfig, OtherError};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower::BoxError;
use tower::util::BoxCloneSyncService;

use super::{ClientTls, ConnectError, WrongServer};
use crate::model::limits;

/// How long to wait for a server.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For TCP and TLS together.
    pub connect: Duration,
    /// From one HTTP/2 ping to the next while calls are under way; an idle connection is not kept alive.
    pub ping_interval: Duration,
    /// For the answer to a ping.
    pub ping_answer: Duration,
}

/// 5 s, 30 s, 10 s.
impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), ping_interval: Duration::from_secs(30), ping_answer: Duration::from_secs(10) }
    }
}

/// Connects, and says what went wrong if that fails. A server that turns a client's certificate away may do so only after
/// this has returned (TLS 1.3 lets the client speak first): then the first call fails.
///
/// # Errors
/// Not `host:port`, another server than the pinned one, or no connection in time.
pub async fn connect(address: &str, tls: &ClientTls, timeouts: Timeouts) -> Result<Channel, ConnectError> {
    let Route { endpoint, connector } = route(address, tls, timeouts)?;
    endpoint.connect_with_connector(connector).await.map_err(|error| match WrongServer::find(&error) {
        Some(wrong) => ConnectError::WrongServer(wrong.clone()),
        None => ConnectError::Transport { address: address.to_owned(), source: error.into() },
    })
}

/// Connects at the first call, and again whenever the connection was lost. The failure of a call then has a
/// [`WrongServer`] among its sources where that was the reason: [`WrongServer::find`] tells.
///
/// # Errors
/// Not `host:port`.
pub fn connect_lazy(address: &str, tls: &ClientTls, timeouts: Timeouts) -> Result<Channel, ConnectError> {
    let Route { endpoint, connector } = route(address, tls, timeouts)?;
    Ok(endpoint.connect_with_connector_lazy(connector))
}

/// Where to connect, and how.
struct Route {
    endpoint: Endpoint,
    connector: BoxCloneSyncService<Uri, TokioIo<TlsStream<TcpStream>>, BoxError>,
}

fn route(address: &str, tls: &ClientTls, timeouts: Timeouts) -> Result<Route, ConnectError> {
    let authority: Authority = address.parse().map_err(|_| ConnectError::Address)?;
    let (Some(port), false) = (authority.port_u16(), address.contains('@')) else {
        return Err(ConnectError::Address);
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host.clone()).map_err(|_| ConnectError::Address)?;
    let endpoint = Endpoint::from_shared(format!("https://{authority}"))
        .map_err(|_| ConnectError::Address)?
        .connect_timeout(timeouts.connect)
        .http2_keep_alive_interval(timeouts.ping_interval)
        .keep_alive_timeout(timeouts.ping_answer)
        // Else the server could never tell an idle connection from a used one.
        .keep_alive_while_idle(false)
        .http2_max_header_list_size(limits::HEADER_LIST_BYTES);
    let current = Arc::clone(&tls.current);
    let connector = tower::service_fn(move |_: Uri| dial(host.clone(), port, name.clone(), current.load_full()));
    Ok(Route { endpoint, connector: BoxCloneSyncService::new(connector) })
}

async fn dial(
    host: String,
    port: u16,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
) -> Result<TokioIo<TlsStream<TcpStream>>, BoxError> {
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(unwrap_wrong_server)?;
    Ok(TokioIo::new(stream))
}

/// Brings a [`WrongServer`] out of rustls's error, which does not show it among its sources.
fn unwrap_wrong_server(error: io::Error) -> BoxError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let wrong = match inner {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(wrong)))) => wrong.downcast_ref::<WrongServer>(),
        _ => None,
    };
    wrong.cloned().map_or_else(|| error.into(), Into::into)
}
