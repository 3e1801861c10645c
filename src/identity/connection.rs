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
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::acceptor::Report;
use super::admission::Place;
use super::credit::{Meter, Verdict};
use super::frames::Frames;
use super::live::Listening;
use super::metered::Metered;
use super::tls::unix_time;
use super::{AcceptLimits, Credit, LiveTls, Peer, Refusal, ServerTls, Standing, Stranger};

/// What may have come and not yet be out of TLS: a record, and as much behind it.
const RECORD_BYTES: i64 = 32 * 1024;

/// A TLS stream whose client has proved who it is. Reads end and writes fail once the certificate has ended, the
/// connection is too old or too long idle, or the certificate no longer verifies under the TLS in force.
pub struct Connection {
    stream: TlsStream<Metered>,
    peer: Peer,
    live: Listening,
    /// Under which the client's chain was last verified.
    verified: Arc<ServerTls>,
    /// Of the certificate or of the age, whichever comes first.
    end: Instant,
    idle: Duration,
    /// A call that is under way for longer than this, and at most twice as long, has an answer that is not read.
    turn: Duration,
    turn_ends: Instant,
    last_used: Instant,
    /// The clock, read once for each call.
    now: Instant,
    timer: Pin<Box<Sleep>>,
    ended: bool,
    place: Place,
    frames: Frames,
    /// How much more came over the socket than out of TLS, as far as it is not accounted for.
    ahead: i64,
    meter: Meter,
    /// Not read from until it ends: the client sent more than its calls account for.
    pause: Option<Pin<Box<Sleep>>>,
    report: Report,
}

impl Connection {
    pub(super) fn new(
        mut stream: TlsStream<Metered>,
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
        let (turn, turn_ends) = (limits.call, now + limits.call);
        let timer = Box::pin(sleep_until(end.min(now + limits.idle).min(turn_ends)));
        // The handshake had its own bounds.
        stream.get_mut().0.take();
        let (idle, ended, frames, ahead, pause) = (limits.idle, false, Frames::new(), 0, None);
        Self {
            stream,
            peer,
            live,
            verified,
            end,
            idle,
            turn,
            turn_ends,
            last_used: now,
            now,
            timer,
            ended,
            place,
            frames,
            ahead,
            meter,
            pause,
            report,
        }
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
        if self.ended {
            return Poll::Ready(());
        }
        self.live.wake(context.waker());
        // Only now: what was replaced since the last look rang a bell that was not yet set.
        if !self.still_proved() {
            self.ended = true;
            return Poll::Ready(());
        }
        loop {
            ready!(self.timer.as_mut().poll(context));
            let now = Instant::now();
            let due = self.end.min(self.last_used + self.idle);
            if now >= due {
                self.ended = true;
                return Poll::Ready(());
            }
            if now >= self.turn_ends {
                if self.meter.credit().has_outlived() {
                    self.cut(Refusal::Unread);
                    return Poll::Ready(());
                }
                self.turn_ends = now + self.turn;
            }
            self.timer.as_mut().reset(due.min(self.turn_ends));
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

    /// These bytes came, in who knows how many more of TLS. Whether they may be looked at.
    fn account(&mut self, bytes: &[u8]) -> bool {
        let length = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
        self.ahead += length(self.stream.get_mut().0.take()) - length(bytes.len());
        let overhead = (self.ahead - RECORD_BYTES).max(0);
        self.ahead -= overhead;
        let count = self.frames.count(bytes);
        match self.meter.spend(count.of_calls, count.besides + overhead, self.now) {
            Verdict::Accounted => {}
            Verdict::Pause(pause) => self.pause = Some(Box::pin(sleep(pause))),
            Verdict::Cut => {
                self.cut(Refusal::Flood);
            }
        }
        !self.ended
    }

    fn cut(&mut self, why: Refusal) {
        self.ended = true;
        (self.report)(Stranger { address: self.peer.address, why: why.why(), proved: Some(self.peer.clone()) });
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
            let outcome = Pin::new(&mut this.stream).poll_read(context, buffer);
            if !this.account(&buffer.filled()[before..]) {
                buffer.set_filled(before);
                return Poll::Ready(Ok(()));
            }
            if outcome.is_ready() {
                this.used();
                return outcome;
            }
            // TLS took in what says nothing: it wakes when it may be read from again.
            let _ = this.poll_pause(context);
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
        let this = self.get_mut();
        if let Poll::Ready(shut) = Pin::new(&mut this.stream).poll_shutdown(context) {
            return Poll::Ready(shut);
        }
        // A client that reads nothing more does not keep its place for it.
        this.poll_end(context).map(|()| Err(ended()))
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
