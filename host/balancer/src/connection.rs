//! One connection's way through the balancer, step by step: the TLS handshake if TLS is served, the request's head,
//! then `front` if there is a controller, else the handoff to a worker. Each step owns the connection and passes it
//! on.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::rc::Rc;

use sc_core::config::{BalancerConfig, Peer};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::LAST_HEADS;
use crate::client::Client;
use crate::controller::Desk;
use crate::error::BalancerError;
use crate::front;
use crate::handoff::{self, Given, Unserved};
use crate::head::{self, Signs};
use crate::pending::{Pending, Place};
use crate::refusal::Refusal;
use crate::targets::Targets;
use crate::tls::pump::Pump;
use crate::tls::{Handshake, Tls};

/// What all connections of a balancer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: BalancerConfig,
    pub(crate) targets: Targets,
    pending: Rc<RefCell<Pending>>,
    /// The last request's number; the first is random, so that those of several processes differ.
    requests: Cell<u64>,
    /// The controller's, if there is one.
    desk: Option<Rc<Desk>>,
    /// What clients shake hands with, if TLS is served.
    pub(crate) tls: Option<Tls>,
    /// Whether it drains.
    pub(crate) leaving: Cell<bool>,
    pub(crate) draining: Notify,
}

impl Shared {
    pub(crate) fn new(
        config: BalancerConfig,
        desk: Option<Rc<Desk>>,
        tls: Option<Tls>,
    ) -> Result<Self, BalancerError> {
        Ok(Shared {
            targets: Targets::new(&config, random()?),
            pending: Rc::new(Pending::new(config.pending_max, config.pending_per_address).into()),
            requests: Cell::new(random()?),
            desk,
            tls,
            leaving: Cell::new(false),
            draining: Notify::new(),
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

    /// From now on connections end as soon as they may.
    pub(crate) fn leave(&self) {
        self.leaving.set(true);
        self.draining.notify_waiters();
    }

    /// A drain has begun, and requests had the time to come.
    async fn last_heads(&self) {
        let draining = self.draining.notified();
        if !self.leaving.get() {
            draining.await;
        }
        sleep(LAST_HEADS).await;
    }

    fn next_request(&self) -> u64 {
        self.requests.set(self.requests.get().wrapping_add(1));
        self.requests.get()
    }
}

fn random() -> Result<u64, BalancerError> {
    getrandom::u64().map_err(|error| BalancerError::Random(std::io::Error::other(error.to_string())))
}

/// Brings a connection to a worker, or answers why not. Holds its place until it is handed over or closed, the answer
/// included. What comes back must be run for as long as it lives.
pub(crate) async fn serve(
    shared: Rc<Shared>,
    stream: TcpStream,
    address: SocketAddr,
    place: Place,
) -> Option<Pump> {
    let request = shared.next_request();
    let secure = shared.tls.is_some();
    let peer = Peer { address: address.ip().to_canonical(), port: address.port(), secure };
    let place = Rc::new(RefCell::new(place));
    match bring(&shared, stream, peer, request, &place).await {
        Ok(pump) => pump,
        Err(Unserved { refusal: Refusal::Gone, .. }) => {
            tracing::debug!(request, "a client went away");
            None
        }
        Err(Unserved { client, refusal }) => {
            refusal.note(request, peer.address);
            if let Some(client) = client {
                refusal.answer(client).await;
            }
            None
        }
    }
}

async fn bring(
    shared: &Rc<Shared>,
    stream: TcpStream,
    peer: Peer,
    request: u64,
    place: &Rc<RefCell<Place>>,
) -> Result<Option<Pump>, Unserved> {
    let mut client = secured(shared, stream, peer, request).await?;
    let first = match first(shared, &mut client).await {
        Ok(first) => first,
        Err(refusal) => return Err(Unserved { client: Some(client), refusal }),
    };
    let (client, given) = match &shared.desk {
        None => (client, first),
        Some(desk) => {
            let read = first.read.freeze();
            match front::serve(shared, desk, client, read, peer, request, place).await {
                Some(given) => given,
                None => return Ok(None),
            }
        }
    };
    let leaving = client.leave(shared.tls.as_ref())?;
    match handoff::give(&shared.targets, leaving.as_fd(), given, peer, request).await {
        Ok(worker) => {
            tracing::trace!(request, %worker, "a connection was handed over");
            let gone = |_| Unserved { client: None, refusal: Refusal::Gone };
            leaving.left(shared.tls.as_ref()).map_err(gone)
        }
        Err(refusal) => Err(Unserved { client: leaving.stay(), refusal }),
    }
}

/// The connection after its handshake, if there is to be one.
async fn secured(shared: &Shared, stream: TcpStream, peer: Peer, request: u64) -> Result<Client, Unserved> {
    let Some(tls) = &shared.tls else { return Ok(Client::Plain(stream)) };
    let shaken = tokio::select! {
        shaken = tls.accept(stream) => shaken,
        () = shared.last_heads() => return Err(Unserved { client: None, refusal: Refusal::Gone }),
    };
    match shaken {
        Ok(stream) => Ok(Client::Tls(stream)),
        Err(Handshake::Plain(stream)) => {
            Err(Unserved { client: Some(Client::Plain(stream)), refusal: Refusal::NoTls })
        }
        Err(Handshake::Failed(error)) => {
            tracing::debug!(request, address = %peer.address, %error, "a TLS handshake failed");
            Err(Unserved { client: None, refusal: Refusal::Gone })
        }
    }
}

/// The head of a connection's first request.
pub(crate) async fn first(shared: &Shared, client: &mut Client) -> Result<Given, Refusal> {
    let config = &shared.config;
    let signs = Signs {
        ids: config.smart_balancing.then_some(&config.session_ids),
        socket_path: &config.socket_path,
    };
    let reading = timeout(config.head_timeout, head::read(client, config.head_max, signs));
    tokio::select! {
        read = reading => read.unwrap_or(Err(Refusal::TooSlow(config.head_timeout))),
        () = shared.last_heads() => Err(Refusal::Gone),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn a_refused_connection_has_its_place_until_it_is_closed() {
        let serving = async {
            let config = crate::tests::config();
            let shared = Rc::new(Shared::new(config, None, None).expect("random numbers"));
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let mut client = TcpStream::connect(address).await.expect("connected");
            client.write_all(b"no request\r\n\r\n").await.expect("written");
            let (stream, address) = listener.accept().await.expect("accepted");
            let place = shared.admit(address.ip());
            let task = tokio::task::spawn_local(serve(Rc::clone(&shared), stream, address, place));
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.expect("read to its end");
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
            assert_eq!(shared.pending.borrow().count(), 1, "it lingers");
            drop(client);
            assert!(task.await.expect("no panic").is_none());
            assert_eq!(shared.pending.borrow().count(), 0);
        };
        LocalSet::new().run_until(serving).await;
    }
}
