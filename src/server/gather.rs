//! Replies that become ready together leave together.
//!
//! h2 writes as soon as one stream has something to say, and hands over header, data and trailer as slices of their own: under
//! load two writes to the socket a call. A connection that lets the calls that are ready go first, and takes their frames as one
//! buffer, makes one write of a dozen replies; an idle connection is one turn of the scheduler later, some microseconds.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// A connection whose first write after each flush waits until the tasks that are ready have had their turn.
#[derive(Debug)]
pub struct Gathered<C> {
    connection: C,
    /// Whether they had it.
    waited: bool,
}

impl<C> Gathered<C> {
    /// Around a connection.
    pub const fn new(connection: C) -> Self {
        Self { connection, waited: false }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Gathered<C> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection).poll_read(context, buffer)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Gathered<C> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !std::mem::replace(&mut this.waited, true) {
            // Whoever wakes itself goes behind all that is ready.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut this.connection).poll_write(context, bytes)
    }

    /// Then h2 copies data of up to 1 KiB behind its header, instead of keeping a slice for each: one TLS record, one write.
    fn is_write_vectored(&self) -> bool {
        false
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.connection).poll_flush(context))?;
        this.waited = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection).poll_shutdown(context)
    }
}

impl<C: Connected> Connected for Gathered<C> {
    type ConnectInfo = C::ConnectInfo;

    fn connect_info(&self) -> C::ConnectInfo {
        self.connection.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// What a writer that is woken, and one that was ready before it, do in which order.
    #[tokio::test]
    async fn a_first_write_lets_what_is_ready_go_first_and_later_ones_do_not_wait() {
        let (near, mut far) = duplex(64);
        let mut gathered = Gathered::new(near);
        let context = &mut Context::from_waker(std::task::Waker::noop());
        for round in 0..2 {
            assert!(Pin::new(&mut gathered).poll_write(context, b"one").is_pending(), "round {round}");
            assert!(matches!(Pin::new(&mut gathered).poll_write(context, b"one"), Poll::Ready(Ok(3))));
            assert!(matches!(Pin::new(&mut gathered).poll_write(context, b"two"), Poll::Ready(Ok(3))));
            assert!(matches!(Pin::new(&mut gathered).poll_flush(context), Poll::Ready(Ok(()))));
            let mut read = [0; 6];
            far.read_exact(&mut read).await.expect("both");
            assert_eq!(&read, b"onetwo");
        }
    }

    #[tokio::test]
    async fn nothing_is_lost_on_the_way_to_and_fro() {
        let (near, far) = duplex(7);
        let (mut near, mut far) = (Gathered::new(near), Gathered::new(far));
        let sent: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        let expected = sent.clone();
        let writer = tokio::spawn(async move {
            near.write_all(&sent).await.expect("written");
            near.shutdown().await.expect("shut down");
        });
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.expect("read");
        writer.await.expect("no panic");
        assert!(read == expected);
    }
}
