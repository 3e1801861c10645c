//! A connection that has proved a principal, and ends when the proof does.
//!
//! The checks of `Connection::over` run before every read and write: one look at the clock, one load and two comparisons
//! as long as nothing has changed. The timer is touched only when there is nothing to read, or no room to write.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::acceptor::Report;
use super::admission::Place;
use super::credit::{Meter, Verdict};
use super::live::Listening;
use super::tls::unix_time;
use super::{AcceptLimits, Credit, LiveTls, Peer, Refusal, ServerTls, Standing, Stranger};

/// A TLS stream whose client has proved who it is. Reads end and writes fail once the certificate has ended, the
/// connection is too old or too long idle, or the certificate no longer verifies under the TLS in force.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    live: Listening,
    /// Under which the client's chain was last verified.
    verified: Arc<ServerTls>,
    /// Of the certificate or of the age, whichever comes first.
    end: Instant,
    idle: Duration,
    last_used: Instant,
    /// The clock, read once for each call.
    now: Instant,
    timer: Pin<Box<Sleep>>,
    ended: bool,
    place: Place,
    meter: Meter,
    /// Not read from until it ends: the client sent more than its calls account for.
    pause: Option<Pin<Box<Sleep>>>,
    report: Report,
}

impl Connection {
    pub(super) fn new(
        stream: TlsStream<TcpStream>,
        peer: Peer,
        live: &Arc<LiveTls>,
        verified: Arc<ServerTls>,
        limits: &AcceptLimits,
        place: Place,
        report: Report,
    ) -> Self {
        let (now, live) = (Instant::now(), live.listen());
        let meter = Meter::new(Arc::new(Credit::new(limits.call_bytes)), now);
        let end = now + peer.not_after.since(verified.clock.now()).min(limits.age);
        let timer = Box::pin(sleep_until(end.min(now + limits.idle)));
        let (idle, ended, pause) = (limits.idle, false, None);
        Self { stream, peer, live, verified, end, idle, last_used: now, now, timer, ended, place, meter, pause, report }
    }

    /// What it proved.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether the connection may carry no further byte. The answer stays once it is yes.
    fn over(&mut self) -> bool {
        self.now = Instant::now();
        self.ended = self.ended || self.now >= self.end || !self.still_proved();
        self.ended
    }

    /// Compares pointers; only after [`LiveTls::replace`] is the chain verified again, once.
    fn still_proved(&mut self) -> bool {
        let current = self.live.live().peek();
        if Arc::ptr_eq(&current, &self.verified) {
            return true;
        }
        let chain = self.stream.get_ref().1.peer_certificates().and_then(<[_]>::split_first);
        let proved =
            chain.and_then(|(leaf, intermediates)| current.verifier.principal(leaf, intermediates, unix_time(&*current.clock)).ok());
        // The class too: a domain's anchor may have been given another one.
        let same = proved.as_ref() == Some(&*self.peer.principal);
        if same {
            self.verified = Arc::clone(&current);
        }
        same
    }

    /// Ready once the connection has reached its end, was idle for too long or is no longer proved; else sees to it that the
    /// task wakes then.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.live.wake(context.waker());
        // Only now: what was replaced since the last look rang a bell that was not yet set.
        if !self.still_proved() {
            self.ended = true;
            return Poll::Ready(());
        }
        loop {
            ready!(self.timer.as_mut().poll(context));
            let due = self.end.min(self.last_used + self.idle);
            if Instant::now() >= due {
                self.ended = true;
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(due);
        }
    }

    fn used(&mut self) {
        self.last_used = self.now;
    }

    /// Ready once the client may be read from.
    fn poll_pause(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            if self.meter.owes() {
                ready!(pause.as_mut().poll(context));
            }
            self.pause = None;
        }
        Poll::Ready(())
    }

    /// So many bytes came. Whether they may be looked at.
    fn account(&mut self, bytes: usize) -> bool {
        match self.meter.spend(bytes, self.now) {
            Verdict::Accounted => {}
            Verdict::Pause(pause) => self.pause = Some(Box::pin(sleep(pause))),
            Verdict::Cut => {
                self.ended = true;
                (self.report)(Stranger { address: self.peer.address, why: Refusal::Flood.why() });
            }
        }
        !self.ended
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.over() {
            return Poll::Ready(Ok(()));
        }
        if this.poll_pause(context).is_ready() {
            let before = buffer.filled().len();
            if let Poll::Ready(outcome) = Pin::new(&mut this.stream).poll_read(context, buffer) {
                if !this.account(buffer.filled().len() - before) {
                    buffer.set_filled(before);
                }
                this.used();
                return Poll::Ready(outcome);
            }
        }
        this.poll_end(context).map(Ok)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.over() {
            return Poll::Ready(Err(ended()));
        }
        if let Poll::Ready(written) = Pin::new(&mut this.stream).poll_write(context, bytes) {
            this.used();
            return Poll::Ready(written);
        }
        this.poll_end(context).map(|()| Err(ended()))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.over() {
            return Poll::Ready(Err(ended()));
        }
        if let Poll::Ready(written) = Pin::new(&mut this.stream).poll_write_vectored(context, slices) {
            this.used();
            return Poll::Ready(written);
        }
        this.poll_end(context).map(|()| Err(ended()))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Poll::Ready(flushed) = Pin::new(&mut this.stream).poll_flush(context) {
            return Poll::Ready(flushed);
        }
        this.poll_end(context).map(|()| Err(ended()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Whose connection a request came over.
#[derive(Debug, Clone)]
pub struct Caller {
    /// What it proved.
    pub peer: Peer,
    /// What its principal holds and does at present.
    pub standing: Arc<Standing>,
    /// What the connection may still send.
    pub credit: Arc<Credit>,
}

/// tonic puts a copy into the extensions of every request: `request.extensions().get::<Caller>()`.
impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        Caller { peer: self.peer.clone(), standing: self.place.standing().clone(), credit: self.meter.credit().clone() }
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the connection has reached its end")
}
