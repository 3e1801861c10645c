//! The composition root: the one place that names a concrete store, and that puts the parts together. Parse, compose, run,
//! drain: the listener and the signal to end are passed in, so that tests bind port 0.
//!
//! | file | what |
//! |---|---|
//! | `parts` | opens the log and the store, and builds the vault and its gate |
//! | `init`, `restore` | makes a vault on the host, once; makes it again out of a backup |
//! | `tls`, `reload` | from the configuration's files to the server's TLS; again, when they change |
//! | `gather` | replies that are ready together leave in one write |
//! | `automatic` | a vault that an HSM opens after a start |
//! | `work` | what goes on beside the requests: summaries, the vault's own work, health, a failing disk |
//! | `logging` | the operational log |
//! | `systemd` | what systemd hands over and wants to hear |

mod automatic;
mod gather;
mod init;
mod logging;
mod parts;
mod reload;
mod restore;
mod systemd;
#[cfg(test)]
mod tests;
mod tls;
mod work;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_stream::StreamExt as _;
use tonic::transport::Server;

pub use gather::Gathered;
pub use init::{Init, init};
pub use logging::log_to_stderr;
pub use restore::{CanaryReport, DrillOf, DrillReport, RestoreFrom, RestoreReport, drill, restore};
pub use systemd::passed_listener;
pub use tls::load_tls;

use crate::audit::AuditError;
use crate::config::{Config, ConfigError, Limits};
use crate::identity::{AcceptLimits, IdentityError, LiveTls, PrincipalLimits, accept};
use crate::memory::Hardening;
use crate::metrics::{Calls, Reasons};
use crate::ops_http::{self, Watched};
use crate::rpc::{Front, Services, routes};
use crate::storage::StoreError;
use crate::traces::Traces;
use crate::{api, vault};
use parts::{Parts, note_in_force};
use reload::Reload;

/// Why the server did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Certificates, keys or revocation lists.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The audit log.
    #[error("the audit log cannot be opened")]
    Audit(#[from] AuditError),
    /// The store.
    #[error("the store cannot be opened")]
    Store(#[from] StoreError),
    /// The log was cut so far that nobody can tell whether the store was put back.
    #[error(
        "the audit log in {} no longer says which policy was in force: put the newest of the files that were moved away back",
        .0.display()
    )]
    LogTooShort(PathBuf),
    /// A restore or a drill.
    #[error("{0}")]
    Restore(String),
    /// The vault.
    #[error("the vault cannot be used")]
    Vault(#[from] vault::Error),
    /// The address.
    #[error("cannot listen on {address}: choose another address or port, e.g. with `--listen` for `dev`, or end what listens there")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// What systemd passed is no listener of this server's.
    #[error("systemd did not pass one TCP socket, as it must: {0}; strongroom.socket opens one, with `ListenStream=`")]
    Passed(String),
    /// Systemd listens where the configuration does not say.
    #[error(
        "systemd listens on {found}, but `listen` in the configuration is {wanted}: write the one address into both, here and \
         as `ListenStream=` of strongroom.socket"
    )]
    PassedElsewhere {
        /// Where it listens.
        found: SocketAddr,
        /// What the configuration says.
        wanted: SocketAddr,
    },
    /// No thread for the handshakes, or no file descriptors for it.
    #[error(
        "the system gives the server no thread for handshakes: raise its bounds on tasks and files, `TasksMax=` and \
         `LimitNOFILE=` of strongroom.service"
    )]
    Doorkeeper(#[source] std::io::Error),
    /// The HTTP/2 server.
    #[error("the server failed")]
    Serve(#[from] tonic::transport::Error),
    /// The store failed for good: what is on disk is unknown, so nothing more is served.
    #[error("the store failed for good: {0}; the vault was sealed")]
    StoreFailed(String),
    /// What `init` was asked to do makes no sense.
    #[error("{0}")]
    Init(String),
}

/// What differs between the production server and the throwaway one.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// What `memory::harden` could do.
    pub hardening: Hardening,
    /// Whether clients may ask for the API's description.
    pub reflection: bool,
}

/// A server that is put together and listens.
pub struct Bound {
    config: Arc<Config>,
    manner: Manner,
    parts: Parts,
    listener: TcpListener,
    operations: Option<TcpListener>,
    live: Arc<LiveTls>,
    reload: Reload,
    asked: Arc<Notify>,
}

impl Bound {
    /// Opens everything and binds the address, or takes the listener that was passed. The vault begins sealed.
    ///
    /// # Errors
    /// Each [`ServerError`] but those of serving.
    pub async fn new(config: Config, manner: Manner, passed: Option<std::net::TcpListener>) -> Result<Self, ServerError> {
        let config = Arc::new(config);
        let mut parts = Parts::open(&config).await?;
        // Looked at before they are read: what changes in between is seen as a change.
        let marks = reload::marks(&config);
        let highest = std::mem::take(&mut parts.highest_lists);
        let live = Arc::new(LiveTls::new(tls::load_tls(&config, parts.clock.clone())?, highest)?);
        note_in_force(&parts.audit, &parts.vault, &live).await?;
        let listener = match passed {
            Some(passed) => systemd::adopt(passed, config.listen)?,
            None => bind(config.listen).await?,
        };
        let operations = match config.operations {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let reload = Reload::new(config.clone(), &parts, live.clone(), marks);
        Ok(Self { config, manner, parts, listener, operations, live, reload, asked: Arc::default() })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> Result<SocketAddr, ServerError> {
        self.listener.local_addr().map_err(|source| ServerError::Listen { address: self.config.listen, source })
    }

    /// Where it tells health and metrics, if anywhere.
    #[must_use]
    pub fn operations_address(&self) -> Option<SocketAddr> {
        self.operations.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Has certificates and revocation lists read again, as often as it is notified. Changed files are noticed without it.
    #[must_use]
    pub fn reload(&self) -> Arc<Notify> {
        self.asked.clone()
    }

    /// Serves until `stop` is ready, then drains, seals and closes.
    ///
    /// # Errors
    /// The server failed, or the store did.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), ServerError> {
        let Self { config, manner, parts, listener, operations, live, reload, asked } = self;
        let drain = config.limits.drain_timeout;
        let (end, ending) = watch::channel(false);
        work::start(&parts, live.clone(), end.clone(), stop);
        tokio::spawn(work::until(ending.clone(), reload.run(asked)));
        tokio::spawn(work::until(ending.clone(), automatic::unseal(&config, &parts)));
        tokio::spawn(systemd::tell(parts.vault.openings(), ending.clone()));
        let services = services(&config, manner, &parts, ending.clone());
        let watched = watched(&config, &services, &live, ending.clone());
        let report = work::strangers(parts.gate.clone(), watched.strangers.clone());
        // To the very end: it says that the server is ending.
        let told = operations.map(|listener| tokio::spawn(ops_http::serve(listener, watched, std::future::pending())));
        let connections = accept(listener, live, accept_limits(&config), report, work::ended(ending.clone()))
            .map_err(ServerError::Doorkeeper)?
            .map(|ready| ready.map(Gathered::new));
        let router = builder(&config).layer(Front::new(&services)).add_routes(routes(&services)).add_service(work::health(&parts.vault));
        let router = if manner.reflection { router.add_service(reflection()) } else { router };
        let serving = router.serve_with_incoming_shutdown(connections, work::ended(ending.clone()));
        let served = tokio::select! {
            served = serving => served.map_err(ServerError::from),
            () = overdue(ending, drain) => {
                tracing::warn!(deadline_s = drain.as_secs(), "calls were still under way at the deadline; they are cut off");
                Ok(())
            }
        };
        end.send_replace(true);
        // Spans go on their way while the files are closed: nothing waits for the collector that need not.
        tokio::join!(parts.close(), services.traces.close());
        if let Some(told) = told {
            told.abort();
        }
        served?;
        // Asked last: it may have failed while it was closed, too.
        parts.store_failure().map_or(Ok(()), |why| Err(ServerError::StoreFailed(why)))
    }
}

/// Ready when the server has been ending for as long as it may.
async fn overdue(ending: watch::Receiver<bool>, drain: Duration) {
    work::ended(ending).await;
    tokio::time::sleep(drain).await;
}

/// In times of what a call may take until its answer begins.
const ANSWERS_READ_WITHIN: u32 = 2;

fn accept_limits(config: &Config) -> AcceptLimits {
    AcceptLimits {
        handshake_timeout: config.limits.handshake_timeout,
        handshakes: config.limits.handshakes_max,
        handshakes_per_address: config.limits.handshakes_per_address_max,
        connections: config.limits.connections_max,
        principal: PrincipalLimits {
            connections: config.limits.connections_per_principal_max,
            calls: config.limits.calls_per_principal_max,
            calls_per_s: config.limits.calls_per_principal_per_s,
            burst: config.limits.calls_per_principal_burst,
            watches: config.limits.watches_per_principal_max,
        },
        call_bytes: u64::from(call_bytes(&config.limits)),
        idle: config.limits.idle_timeout,
        call: ANSWERS_READ_WITHIN * config.limits.request_timeout,
        age: config.limits.connection_age_max,
    }
}

/// What a call may have, header and message.
fn call_bytes(limits: &Limits) -> u32 {
    u32::try_from(limits.message_max_bytes).unwrap_or(u32::MAX).saturating_add(limits.header_list_max_bytes)
}

fn builder(config: &Config) -> Server {
    let limits = &config.limits;
    Server::builder()
        .timeout(limits.request_timeout)
        .max_concurrent_streams(Some(limits.streams_per_connection))
        .http2_max_header_list_size(Some(limits.header_list_max_bytes))
        // So that a call that is refused before it is read cannot send more than its connection was credited with for it.
        .initial_stream_window_size(call_bytes(limits))
        // Clients are asked to leave before their connection is cut.
        .max_connection_age(limits.connection_age_max.saturating_sub(Duration::from_secs(60)).max(Duration::from_secs(1)))
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|source| ServerError::Listen { address, source })
}

fn watched(config: &Config, services: &Services, live: &Arc<LiveTls>, ending: watch::Receiver<bool>) -> Watched {
    Watched {
        vault: services.vault.clone(),
        gate: services.gate.clone(),
        audit: services.audit.clone(),
        live: live.clone(),
        clock: services.clock.clone(),
        hardening: services.hardening,
        calls: services.calls.clone(),
        traces: services.traces.clone(),
        strangers: Reasons::default(),
        folders: [config.data_folder.clone(), config.audit_folder.clone()],
        ending,
    }
}

fn services(config: &Config, manner: Manner, parts: &Parts, ending: watch::Receiver<bool>) -> Services {
    Services {
        gate: parts.gate.clone(),
        vault: parts.vault.clone(),
        audit: parts.audit.clone(),
        audit_folder: config.audit_folder.clone(),
        clock: parts.clock.clone(),
        hardening: manner.hardening,
        message_max_bytes: config.limits.message_max_bytes,
        payload_max_bytes: config.limits.payload_max_bytes,
        page_max_items: config.limits.page_max_items,
        calls_max: config.limits.calls_max,
        calls: Calls::default(),
        traces: config.traces.as_ref().map_or_else(Traces::default, |to| Traces::new(to.endpoint.clone(), to.sample_ratio)),
        watches_max: config.limits.watches_max,
        watch_heartbeat: config.limits.watch_heartbeat,
        ending,
    }
}

fn reflection() -> tonic_reflection::server::v1::ServerReflectionServer<impl tonic_reflection::server::v1::ServerReflection> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(api::DESCRIPTORS)
        .build_v1()
        .expect("the descriptors are those that the build made")
}

/// From now on each SIGHUP has certificates and revocation lists read again.
///
/// # Errors
/// The system does not let signals be watched.
pub fn reload_on_hangup(reload: Arc<Notify>) -> std::io::Result<()> {
    let mut hangups = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            reload.notify_one();
        }
    });
    Ok(())
}

/// From now on a file that reaches the process's limit (`ulimit -f`, `LimitFSIZE`) is a disk that is full: the write fails.
/// Otherwise SIGXFSZ would end the process.
///
/// # Errors
/// The system does not let signals be watched.
pub fn outlive_file_limit() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    // The handler stays when its listener is dropped.
    signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map(drop)
}

/// Ready on SIGTERM or SIGINT.
///
/// # Errors
/// The system does not let signals be watched.
pub fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
