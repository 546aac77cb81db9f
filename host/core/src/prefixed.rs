//! A client's connection under an HTTP server: its first bytes were read already, and a client that stops reading
//! loses it.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long a client may take none of the bytes that wait for it.
const STALL: Duration = Duration::from_secs(30);

/// A stream for HTTP: its first bytes were read by somebody else, and a client that stops reading loses it.
#[derive(Debug)]
pub struct Prefixed<S> {
    /// What is still to be read of those bytes.
    pub prefix: Bytes,
    /// All that comes behind them.
    pub stream: S,
    /// Whether the last bytes given to it were not taken yet.
    pub behind: Rc<Cell<bool>>,
    /// How long the other end may take none of what waits for it.
    patience: Duration,
    /// Runs while it takes none.
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S> Prefixed<S> {
    /// A stream whose first bytes are these. Who takes nothing of what waits for 30 s loses it.
    pub fn new(prefix: Bytes, stream: S) -> Self {
        Self::with_patience(prefix, stream, STALL)
    }

    /// The same with another time than 30 s.
    pub fn with_patience(prefix: Bytes, stream: S, patience: Duration) -> Self {
        Prefixed { prefix, stream, behind: Rc::default(), patience, stall: None }
    }

    /// Notes how a write went; one that waits too long fails.
    fn wrote(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.behind.set(written.is_pending());
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let patience = self.patience;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        stall.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.prefix.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let length = this.prefix.len().min(buf.remaining());
        buf.put_slice(&this.prefix.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.wrote(cx, written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.wrote(cx, flushed.map_ok(|()| 0)).map_ok(drop)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let ended = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.wrote(cx, ended.map_ok(|()| 0)).map_ok(drop)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_is_served_and_who_stops_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut stream = Prefixed::with_patience(Bytes::new(), ours, Duration::from_secs(5));
        let reading = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(4)).await;
                theirs.read_exact(&mut [0; 32]).await.expect("read");
            }
        };
        let began = tokio::time::Instant::now();
        let (written, ()) = tokio::join!(stream.write_all(&[0; 320]), reading);
        written.expect("written while it is read");
        assert_eq!(began.elapsed(), Duration::from_secs(40));
        let stalled = tokio::time::timeout(Duration::from_secs(6), stream.write_all(&[0; 320])).await;
        assert_eq!(stalled.expect("in time").expect_err("stalled").kind(), io::ErrorKind::TimedOut);
    }
}
