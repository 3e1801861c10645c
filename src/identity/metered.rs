//! A socket that counts what comes: TLS records with nothing in them, and key updates, never show as bytes of the stream above.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What comes at most until it is asked for again: TLS would go on reading as long as nothing comes out of it.
const AT_ONCE_BYTES: usize = 64 * 1024;

/// A socket, and how many bytes have come over it since they were last asked for.
#[derive(Debug)]
pub(super) struct Metered {
    socket: TcpStream,
    came: usize,
    most: usize,
}

impl Metered {
    pub(super) const fn new(socket: TcpStream) -> Self {
        Self { socket, came: 0, most: usize::MAX }
    }

    /// The bytes that have come since the last time. From the first time on there is a bound on them.
    pub(super) const fn take(&mut self) -> usize {
        self.most = AT_ONCE_BYTES;
        std::mem::replace(&mut self.came, 0)
    }
}

impl AsyncRead for Metered {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.came >= this.most {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.socket).poll_read(context, buffer);
        this.came += buffer.filled().len() - before;
        read
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}
