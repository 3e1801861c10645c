//! The accept loop: from a socket to a connection that has proved a principal.
//!
//! Nothing that a stranger does ends the loop or blocks it: each handshake is a task of its own with a deadline, and an
//! error of `accept` itself (no file descriptors left, for instance) is waited out. Handshakes are the dearest thing that
//! anybody can ask for, so they have a thread of their own, which yields to those that serve who has already proved a principal.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener as Listening, TcpStream as Accepted};
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, Handle};
use tokio::sync::mpsc::{self, Sender};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;

use super::admission::{Admission, Knock};
use super::metered::Metered;
use super::{AcceptLimits, Connection, LiveTls, Peer, Refusal};

/// Finished connections that wait for the server to take them.
const QUEUE: usize = 64;
/// How many are accepted in a row before the handshakes have their turn.
const IN_A_ROW: usize = 64;
/// First pause after `accept` failed; it doubles up to [`LONGEST_PAUSE`] while it keeps failing.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// By how much the doorkeeper's thread yields (setpriority(2)): where all want to run, it gets a tenth of what another one gets.
const NICENESS: i32 = 10;

/// Somebody who proved nothing, or who did and then behaved like one who had not.
#[derive(Debug, Clone)]
pub struct Stranger {
    /// Where the attempt came from.
    pub address: SocketAddr,
    /// Why it failed, or why the connection was cut: one of the constant texts of [`Refusal`].
    pub why: &'static str,
    /// What it had proved before it was cut.
    pub proved: Option<Peer>,
}

/// Accepts on `listener` until `stop` is ready or the stream is dropped, and yields the connections that have proved a
/// principal: for tonic's `serve_with_incoming`. No item is ever an error. `report` hears of everybody else; it is called
/// once for each attempt, so it must count and summarise and never block.
///
/// Must be called within the runtime that will serve the connections.
///
/// # Errors
/// The system gives no thread, or nothing to wait with.
pub fn accept(
    listener: TcpListener,
    tls: Arc<LiveTls>,
    limits: AcceptLimits,
    report: impl Fn(Stranger) + Send + Sync + 'static,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<ReceiverStream<io::Result<Connection>>> {
    let (ready, connections) = mpsc::channel(QUEUE);
    let (serving, listener) = (Handle::current(), listener.into_std()?);
    let door = Arc::new(Door { serving, tls, limits, admission: Admission::new(&limits), report: Arc::new(report), ready });
    let (started, starting) = std::sync::mpsc::sync_channel(1);
    thread::Builder::new().name("doorkeeper".into()).spawn(move || {
        // Refused, it works as any other thread does.
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::info!(%error, "handshakes have the priority of calls");
        }
        let turning = match runtime::Builder::new_current_thread().enable_all().build() {
            Ok(turning) => turning,
            Err(error) => return started.send(Err(error)).expect("it is waited for"),
        };
        turning.block_on(async {
            match listener.try_clone().and_then(|waiting| Ok((TcpListener::from_std(listener)?, waiting))) {
                Ok((announced, waiting)) => {
                    started.send(Ok(())).expect("it is waited for");
                    watch(announced, waiting, door, stop).await;
                }
                Err(error) => started.send(Err(error)).expect("it is waited for"),
            }
        });
    })?;
    starting.recv().expect("the thread says how it went")?;
    Ok(ReceiverStream::new(connections))
}

/// Who hears of those who proved nothing, and of those who did and behave like them.
pub(super) type Report = Arc<dyn Fn(Stranger) + Send + Sync>;

struct Door {
    /// Whose sockets and timers they will be.
    serving: Handle,
    tls: Arc<LiveTls>,
    limits: AcceptLimits,
    admission: Admission,
    report: Report,
    ready: Sender<io::Result<Connection>>,
}

/// `announced` and `waiting` are one socket: the runtime tells when somebody is there and takes the first; whoever waits behind
/// is taken without it, since it would put each of a crowd under watch that is refused the moment after.
async fn watch(announced: TcpListener, waiting: Listening, door: Arc<Door>, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    let mut pause = FIRST_PAUSE;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => return,
            () = door.ready.closed() => return,
            accepted = yielding(announced.accept()) => accepted,
        };
        match accepted.and_then(|(stream, address)| Ok((stream.into_std()?, address))) {
            Ok((stream, address)) => {
                pause = FIRST_PAUSE;
                door.open(stream, address);
                door.open_waiting(&waiting);
                // Those who are inside the door have their turn before the next of a crowd.
                tokio::task::yield_now().await;
            }
            Err(error) if concerns_one_client(&error) => {}
            Err(error) => {
                tracing::warn!(kind = ?error.kind(), pause_ms = pause.as_millis(), "accept failed; trying again");
                tokio::select! {
                    () = &mut stop => return,
                    () = sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Lets other threads go first after each step: a step takes some 100 microseconds, a thread's turn some milliseconds.
async fn yielding<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        let polled = work.as_mut().poll(context);
        thread::yield_now();
        polled
    })
    .await
}

/// The client was gone before it was accepted; the next one may be there.
fn concerns_one_client(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::ConnectionAborted | Kind::ConnectionReset | Kind::ConnectionRefused | Kind::Interrupted)
}

impl Door {
    /// What goes wrong here goes wrong again where it is waited out.
    fn open_waiting(self: &Arc<Self>, waiting: &Listening) {
        for _ in 1..IN_A_ROW {
            let Ok((stream, address)) = waiting.accept() else { return };
            self.open(stream, address);
            thread::yield_now();
        }
    }

    fn open(self: &Arc<Self>, stream: Accepted, address: SocketAddr) {
        match self.admission.knock(address.ip()) {
            Some(knock) => drop(tokio::spawn(Arc::clone(self).receive(stream, address, knock))),
            None => self.refuse(address, Refusal::Crowded),
        }
    }

    async fn receive(self: Arc<Self>, stream: Accepted, address: SocketAddr, knock: Knock) {
        let proved = yielding(timeout(self.limits.handshake_timeout, self.prove(stream, address))).await;
        drop(knock);
        match proved.unwrap_or(Err(Refusal::TimedOut)) {
            // Fails only when the server has stopped taking connections: then this one is closed.
            Ok(connection) => drop(self.ready.send(Ok(connection)).await),
            Err(refusal) => self.refuse(address, refusal),
        }
    }

    async fn prove(&self, stream: Accepted, address: SocketAddr) -> Result<Connection, Refusal> {
        // The snapshot stays with the connection: whatever replaces it meanwhile is noticed at the first byte.
        let tls = self.tls.current();
        let stream = Metered::new(self.adopt(stream).map_err(|_| Refusal::Handshake)?);
        let stream = TlsAcceptor::from(Arc::clone(&tls.config)).accept(stream).await.map_err(|error| Refusal::from(&error))?;
        let peer = Peer::of(stream.get_ref().1, &tls.verifier, address)?;
        let place = self.admission.enter(&peer.principal)?;
        let _serving = self.serving.enter();
        Ok(Connection::new(stream, peer, &self.tls, tls, &self.limits, place, self.report.clone()))
    }

    /// From here on it is a socket of the runtime that will serve it.
    fn adopt(&self, stream: Accepted) -> io::Result<TcpStream> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let _serving = self.serving.enter();
        TcpStream::from_std(stream)
    }

    fn refuse(&self, address: SocketAddr, refusal: Refusal) {
        (self.report)(Stranger { address, why: refusal.why(), proved: None });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // immune: row-48
    /// Linux hands out a client that has gone all the same; where `accept` fails for it instead there is no pause.
    #[test]
    fn only_a_client_that_has_gone_is_a_reason_to_accept_at_once() {
        use io::ErrorKind as Kind;
        for kind in [Kind::ConnectionAborted, Kind::ConnectionReset, Kind::ConnectionRefused, Kind::Interrupted] {
            assert!(concerns_one_client(&kind.into()), "{kind}");
        }
        for kind in [Kind::OutOfMemory, Kind::PermissionDenied, Kind::InvalidInput, Kind::WouldBlock, Kind::Other] {
            assert!(!concerns_one_client(&kind.into()), "{kind}");
        }
        use rustix::io::Errno;
        for number in [Errno::CONNABORTED, Errno::INTR] {
            assert!(concerns_one_client(&number.into()), "{number}");
        }
        for number in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert!(!concerns_one_client(&number.into()), "{number}");
        }
    }
}
