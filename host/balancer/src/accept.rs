//! Accepting on the inherited listeners. When descriptors or memory run out it pauses instead of spinning, with one
//! warning per episode.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// Between two attempts while the system refuses.
const PAUSE: Duration = Duration::from_millis(100);
/// Without a refusal for so long, the next one is a new episode.
const EPISODE: Duration = Duration::from_secs(10);

/// All listeners, served in turn.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listeners: Vec<TcpListener>,
    /// Which listener is asked first the next time.
    turn: usize,
    paused_until: Option<Instant>,
    refused: Option<Instant>,
}

impl Acceptor {
    pub(crate) fn new(listeners: Vec<OwnedFd>) -> io::Result<Self> {
        let listeners = listeners.into_iter().map(|listener| {
            let listener = std::net::TcpListener::from(listener);
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        });
        Ok(Acceptor {
            listeners: listeners.collect::<Result<_, _>>()?,
            turn: 0,
            paused_until: None,
            refused: None,
        })
    }

    /// The next connection. Cancel safe.
    pub(crate) async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            if let Some(until) = self.paused_until {
                tokio::time::sleep_until(until).await;
                self.paused_until = None;
            }
            match std::future::poll_fn(|context| self.poll(context)).await {
                Ok(accepted) => return accepted,
                Err(error) if is_of_one_connection(&error) => {
                    tracing::debug!(%error, "a connection was gone before it was accepted");
                }
                Err(error) => self.pause(&error),
            }
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let count = self.listeners.len();
        self.turn = self.turn.wrapping_add(1);
        for listener in self.listeners.iter().cycle().skip(self.turn % count.max(1)).take(count) {
            if let Poll::Ready(accepted) = listener.poll_accept(context) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    }

    fn pause(&mut self, error: &io::Error) {
        let now = Instant::now();
        let is_new = self.refused.is_none_or(|refused| now.duration_since(refused) >= EPISODE);
        self.refused = Some(now);
        self.paused_until = Some(now + PAUSE);
        if !is_new {
            return;
        }
        match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE) => tracing::warn!(
                %error,
                "no descriptors are left, so new connections wait: raise the limit (ulimit -n, LimitNOFILE) or add balancers"
            ),
            _ => tracing::warn!(%error, "the system refuses new connections, so they wait"),
        }
    }
}

/// Whether an error of accepting was about the connection alone.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
