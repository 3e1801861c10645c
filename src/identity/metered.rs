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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn after_the_handshake_no_more_comes_at_once_than_is_accounted_for() {
        const ALL: usize = 4 * AT_ONCE_BYTES;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let mut far = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        let mut near = Metered::new(listener.accept().await.expect("accepted").0);
        let _sending = tokio::spawn(async move {
            far.write_all(&[0; 2 * ALL]).await.expect("sent");
            far
        });
        let mut buffer = vec![0; ALL];
        near.read_exact(&mut buffer).await.expect("the handshake has bounds of its own");
        assert_eq!(Metered::take(&mut near), ALL);
        for _ in 0..2 {
            let mut came = 0;
            while let Ok(read) = timeout(Duration::from_millis(500), near.read(&mut buffer[..16 * 1024])).await {
                came += read.expect("read");
            }
            assert!((AT_ONCE_BYTES..AT_ONCE_BYTES + 16 * 1024).contains(&came), "{came} bytes");
            assert_eq!(Metered::take(&mut near), came);
        }
    }
}
