//! The balancer role: accept, read the request head, choose a worker, hand the connection over. What was handed over
//! lives without the balancer.
//!
//! Every connection is one small task that this process's loop owns; none of them can hold up another or the
//! accepting. A connection's way: `accept`, `head`, `targets`, `handoff`, put together in `connection`.

mod accept;
mod connection;
mod error;
mod handoff;
mod head;
mod pending;
mod quota;
mod refusal;
mod targets;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use sc_core::config::BalancerConfig;
use sc_core::ids::BalancerId;
use sc_core::link::LinkError;
use sc_core::link::control::{ChildLink, FromChild, HandoffSender, ToChild, keep_alive};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::accept::Acceptor;
use self::connection::Shared;
pub use self::error::BalancerError;

/// How long a drain waits for requests that are under way: browsers hold connections that never send one.
const LAST_HEADS: Duration = Duration::from_secs(1);

/// Serves the listening TCP sockets until the master is gone or has it drained. Runs inside a `LocalSet`.
///
/// On [`ToChild::Drain`] it closes its listeners, hands over the connections it still has within the deadline, and
/// says so. When the master is gone it returns at once; what it handed over lives on.
///
/// # Errors
/// When a listener cannot be used, the system has no random numbers, or the control link fails.
pub async fn run(
    control: ChildLink,
    id: BalancerId,
    config: BalancerConfig,
    listeners: Vec<OwnedFd>,
) -> Result<(), BalancerError> {
    let mut balancer = Balancer {
        id,
        acceptor: Some(Acceptor::new(listeners).map_err(BalancerError::Listener)?),
        shared: Rc::new(Shared::new(config)?),
        connections: JoinSet::new(),
        deadline: None,
    };
    control.send(&FromChild::Ready, &[]).await?;
    tokio::select! {
        served = balancer.serve(&control) => served,
        never = keep_alive(&control) => match never {},
    }
}

struct Balancer {
    id: BalancerId,
    /// None while draining.
    acceptor: Option<Acceptor>,
    shared: Rc<Shared>,
    connections: JoinSet<()>,
    /// When draining ends.
    deadline: Option<Instant>,
}

impl Balancer {
    async fn serve(&mut self, control: &ChildLink) -> Result<(), BalancerError> {
        loop {
            let drained = drained(self.deadline, self.connections.is_empty());
            tokio::select! {
                received = control.recv() => match received? {
                    None => return Ok(()),
                    Some((message, descriptors)) => self.obey(message, descriptors),
                },
                (stream, address) = next(self.acceptor.as_mut()) => self.admit(stream, address),
                Some(ended) = self.connections.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(balancer = %self.id, %error, "a connection's task panicked");
                    }
                }
                () = drained => {
                    // A master that is gone needs no telling.
                    let _ = control.send(&FromChild::Drained, &[]).await;
                    return Ok(());
                }
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, address: SocketAddr) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(balancer = %self.id, %error, "a connection was gone before it was accepted");
            return;
        }
        let place = self.shared.admit(address.ip());
        let id = place.id();
        let task =
            self.connections.spawn_local(connection::serve(Rc::clone(&self.shared), stream, address, place));
        self.shared.own(id, task);
    }

    fn obey(&mut self, message: ToChild, descriptors: Vec<OwnedFd>) {
        let targets = &self.shared.targets;
        match message {
            ToChild::HandoffTo(worker) => {
                let end = descriptors.into_iter().next().ok_or(LinkError::NoDescriptor);
                match end.and_then(|end| Ok(HandoffSender::new(end)?)) {
                    Ok(link) => targets.add(worker, link),
                    Err(error) => {
                        let error: &dyn std::error::Error = &error;
                        tracing::error!(balancer = %self.id, %worker, error, "a worker's link cannot be used");
                    }
                }
            }
            ToChild::Retire(worker) => targets.retire(worker),
            ToChild::Load(loads) => targets.load(&loads),
            ToChild::Drain(ms) => {
                self.acceptor = None;
                self.deadline = Some(Instant::now() + Duration::from_millis(ms).min(LAST_HEADS));
            }
            other => {
                let message = std::mem::discriminant(&other);
                tracing::warn!(balancer = %self.id, ?message, "a message that is not for balancers was ignored");
            }
        }
    }
}

async fn next(acceptor: Option<&mut Acceptor>) -> (TcpStream, SocketAddr) {
    match acceptor {
        Some(acceptor) => acceptor.next().await,
        None => std::future::pending().await,
    }
}

async fn drained(deadline: Option<Instant>, idle: bool) {
    match deadline {
        Some(deadline) if !idle => tokio::time::sleep_until(deadline).await,
        Some(_) => {}
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
