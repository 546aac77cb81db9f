//! One connection's way through the balancer, as a line of steps that each take the connection from the one before.
//! TLS belongs ahead of reading the head, balancer controllers between the head and the choice.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use sc_core::config::{BalancerConfig, Peer};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use crate::error::BalancerError;
use crate::handoff::{self, Unserved};
use crate::head;
use crate::pending::{Pending, Place};
use crate::refusal::Refusal;
use crate::targets::Targets;

/// What all connections of a balancer share.
#[derive(Debug)]
pub(crate) struct Shared {
    config: BalancerConfig,
    pub(crate) targets: Targets,
    pending: Rc<RefCell<Pending>>,
    /// The last request's number; the first is random, so that those of several processes differ.
    requests: Cell<u64>,
}

impl Shared {
    pub(crate) fn new(config: BalancerConfig) -> Result<Self, BalancerError> {
        Ok(Shared {
            targets: Targets::new(&config, random()?),
            pending: Rc::new(Pending::new(config.pending_max, config.pending_per_address).into()),
            requests: Cell::new(random()?),
            config,
        })
    }

    /// A place for a new connection, if need be the oldest one's.
    pub(crate) fn admit(&self, address: IpAddr) -> Place {
        Place::take(&self.pending, address)
    }

    /// Names the task of a connection by its place.
    pub(crate) fn own(&self, place: u64, task: AbortHandle) {
        self.pending.borrow_mut().own(place, task);
    }

    fn next_request(&self) -> u64 {
        self.requests.set(self.requests.get().wrapping_add(1));
        self.requests.get()
    }
}

fn random() -> Result<u64, BalancerError> {
    getrandom::u64().map_err(|error| BalancerError::Random(std::io::Error::other(error.to_string())))
}

/// Brings a connection to a worker, or answers why not. Holds its place until it is handed over or closed.
pub(crate) async fn serve(shared: Rc<Shared>, stream: TcpStream, address: SocketAddr, _place: Place) {
    let request = shared.next_request();
    let peer = Peer { address: address.ip().to_canonical(), port: address.port(), secure: false };
    match bring(&shared, stream, peer, request).await {
        Ok(()) => {}
        Err(Unserved { refusal: Refusal::Gone, .. }) => tracing::debug!(request, "a client went away"),
        Err(Unserved { stream, refusal }) => {
            tracing::debug!(request, address = %peer.address, ?refusal, "a request was refused");
            if let Some(stream) = stream {
                refusal.answer(stream).await;
            }
        }
    }
}

async fn bring(shared: &Shared, stream: TcpStream, peer: Peer, request: u64) -> Result<(), Unserved> {
    let limit = shared.config.head_timeout;
    let ids = shared.config.smart_balancing.then_some(&shared.config.session_ids);
    let head = match tokio::time::timeout(limit, head::read(&stream, shared.config.head_max, ids)).await {
        Ok(Ok(head)) => head,
        Ok(Err(refusal)) => return Err(Unserved { stream: Some(stream), refusal }),
        Err(_) => return Err(Unserved { stream: Some(stream), refusal: Refusal::TooSlow(limit) }),
    };
    let worker = handoff::give(&shared.targets, stream, head, peer, request).await?;
    tracing::trace!(request, %worker, "a connection was handed over");
    Ok(())
}
