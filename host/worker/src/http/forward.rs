//! Requests of another worker's session. A keep-alive connection that was handed over may later carry a request of
//! another session; that one request goes to its worker over a pair of sockets, and its answer streams back. The
//! pair is kept for the connection's next such request.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd as _;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use sc_core::config::Peer;
use sc_core::ids::WorkerId;
use sc_core::link::stream_pair;
use sc_core::log::FAULT;

use super::{Body, text};
use crate::arrival;
use crate::stream::ClientStream;
use crate::worker::Worker;

/// A client connection's links to other workers.
#[derive(Default)]
pub(super) struct Links(RefCell<HashMap<WorkerId, SendRequest<Incoming>>>);

/// What became of a request.
pub(super) enum Outcome {
    /// The other worker answered, or failed to.
    Answered(Response<Body>),
    /// The other worker is not live: the request is served here.
    NotLive(Box<Request<Incoming>>),
}

impl Links {
    /// Forwards a request to its session's worker.
    pub(super) async fn forward(
        &self,
        worker: &Worker,
        owner: WorkerId,
        peer: Peer,
        request: Request<Incoming>,
    ) -> Outcome {
        // Taken out while in use: no borrow over an await, and requests of one connection come one by one.
        let known = self.0.borrow_mut().remove(&owner).filter(|link| !link.is_closed());
        let mut link = match known {
            Some(link) => link,
            None => match connect(worker, owner, peer).await {
                Ok(link) => link,
                Err(_) => return Outcome::NotLive(Box::new(request)),
            },
        };
        if link.ready().await.is_err() {
            return Outcome::NotLive(Box::new(request));
        }
        match tokio::time::timeout(worker.config.http.longest_answer(), link.send_request(request)).await {
            Ok(Ok(response)) => {
                self.0.borrow_mut().insert(owner, link);
                Outcome::Answered(response.map(|body| body.map_err(io::Error::other).boxed_unsync()))
            }
            Ok(Err(error)) => {
                tracing::warn!(target: FAULT, owner = %owner, error = %error, "a forwarded request failed");
                Outcome::Answered(text(
                    StatusCode::BAD_GATEWAY,
                    "The session's worker went away. Try again.\n",
                ))
            }
            Err(_) => Outcome::Answered(text(
                StatusCode::GATEWAY_TIMEOUT,
                "The session's worker does not answer.\n",
            )),
        }
    }
}

async fn connect(worker: &Worker, owner: WorkerId, peer: Peer) -> io::Result<SendRequest<Incoming>> {
    let handoffs = worker.peers.borrow().get(&owner).cloned();
    let handoffs = handoffs.ok_or(io::ErrorKind::NotConnected)?;
    let (here, there) = stream_pair()?;
    handoffs.send(&arrival::forwarded(peer), &[there.as_fd()]).await.map_err(io::Error::other)?;
    drop(there);
    let (link, connection) =
        http1::handshake(TokioIo::new(ClientStream::new(here)?)).await.map_err(io::Error::other)?;
    worker.tasks.spawn_local(async move {
        // Its end is seen by whoever uses the link.
        let _ = connection.await;
    });
    Ok(link)
}
