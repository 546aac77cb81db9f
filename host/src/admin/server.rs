//! HTTP/1.1 on a listener of the admin channel: a bounded number of connections, each in a task that this room owns.
//! None keeps its place by doing nothing: neither one that asks for nothing, nor one that does not take its answer.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sc_core::prefixed::Prefixed;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;

use super::routes::Door;

/// Connections at once; others wait to be accepted.
const CONNECTIONS: usize = 64;
/// For the head of a request; how long a connection without one is kept, and one that takes nothing of its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest head of a request in bytes.
const HEAD_MAX: usize = 16 * 1024;
/// After an accept that failed, when descriptors may be short.
const PAUSE: Duration = Duration::from_millis(100);

/// Where connections come from.
pub(super) trait Listener {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// The next one.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>>;
}

impl Listener for UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn next(&self) -> io::Result<Self::Stream> {
        Ok(self.accept().await?.0)
    }
}

impl Listener for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn next(&self) -> io::Result<Self::Stream> {
        let (stream, _) = self.accept().await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Serves for ever. Dropping it ends its connections.
pub(super) async fn serve(listener: &impl Listener, door: Rc<Door>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.next(), if connections.len() < CONNECTIONS => match accepted {
                Ok(stream) => drop(connections.spawn_local(connection(stream, Rc::clone(&door)))),
                Err(error) => {
                    tracing::debug!(%error, "a connection to the admin channel was not accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, door: Rc<Door>) {
    let service = service_fn(|request| {
        let door = Rc::clone(&door);
        async move { Ok::<_, Infallible>(door.answer(request).await) }
    });
    let stream = Prefixed::with_patience(Bytes::new(), stream, PATIENCE);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the admin channel failed");
    }
}
