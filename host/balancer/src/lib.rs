//! The balancer role: accept, read the request head, choose a worker, hand the connection over. What was handed over
//! lives without the balancer. With a controller, that decides about each request first, and what asks for no socket
//! is proxied.
//!
//! Every connection is one small task that this process's loop owns; none of them can hold up another or the
//! accepting. A connection's way: `accept`, `tls`, `head`, `targets`, `handoff`, put together in `connection`; with a
//! controller, whose line is `controller`, `front` and `proxy` are between. Over TLS its bytes go on through a pump of
//! this process.

mod accept;
mod client;
mod connection;
mod controller;
mod error;
mod front;
mod handoff;
mod head;
mod pending;
mod proxy;
mod quota;
mod redirect;
mod refusal;
mod targets;
mod tls;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use sc_core::config::{BalancerConfig, TlsConfig};
use sc_core::controller::{BalancerControllerSource, Generation};
use sc_core::ids::BalancerId;
use sc_core::link::LinkError;
use sc_core::link::control::{ChildLink, FromChild, Giver, HandoffSender, ToChild, keep_alive};
use sc_core::log::FAULT;
use sc_core::tls::Credentials;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::accept::Acceptor;
use self::connection::Shared;
pub use self::controller::Controlled;
use self::controller::Driver;
pub use self::error::BalancerError;
use self::tls::Tls;
use self::tls::pump::Pump;
pub use self::tls::{CredentialsError, IdentityError, IdentityInfo, check, inspect};

/// How long a drain waits for requests that are under way: browsers hold connections that never send one.
const LAST_HEADS: Duration = Duration::from_secs(1);

/// Serves the listening TCP sockets until the master is gone or has it drained, by the word of a controller if there
/// is one. Runs inside a `LocalSet`.
///
/// On [`ToChild::Drain`] it closes its listeners, hands over the connections it still has within the deadline, and
/// says so. When the master is gone it returns at once; what it handed over lives on.
///
/// # Errors
/// When a listener cannot be used, the system has no random numbers, the control link fails, or the controller does
/// not start; the master is told why.
pub async fn run<S: BalancerControllerSource + 'static>(
    control: ChildLink,
    id: BalancerId,
    config: BalancerConfig,
    listeners: Vec<OwnedFd>,
    controlled: Option<Controlled<S>>,
) -> Result<(), BalancerError> {
    let tls = match config.tls {
        Some(options) => Some(first_credentials(&control, options).await?),
        None => None,
    };
    let booted = match controlled {
        None => None,
        Some(controlled) => match Driver::boot(id, &config, controlled).await {
            Ok(booted) => Some(booted),
            Err(error) => {
                let refused = FromChild::Refused { component: None, reason: error.to_string() };
                control.send(&refused, &[]).await?;
                return Err(BalancerError::Controller(error));
            }
        },
    };
    let (driver, reloads) = booted.unzip();
    let desk = driver.as_ref().map(|driver| Rc::clone(&driver.desk));
    let mut balancer = Balancer {
        id,
        acceptor: Some(Acceptor::new(listeners).map_err(BalancerError::Listener)?),
        shared: Rc::new(Shared::new(config, desk, tls)?),
        reloads,
        redirects: None,
        connections: JoinSet::new(),
        pumps: JoinSet::new(),
        deadline: None,
    };
    let drive = async {
        match driver {
            Some(driver) => driver.run(&control).await,
            None => std::future::pending().await,
        }
    };
    control.send(&FromChild::Ready, &[]).await?;
    tokio::select! {
        () = drive => Ok(()),
        served = balancer.serve(&control) => served,
        never = keep_alive(&control, || FromChild::Alive) => match never {},
    }
}

struct Balancer {
    id: BalancerId,
    /// None while draining.
    acceptor: Option<Acceptor>,
    /// The same for plain HTTP, and the port over TLS.
    redirects: Option<(Acceptor, u16)>,
    shared: Rc<Shared>,
    /// Replaces the controller's component.
    reloads: Option<mpsc::Sender<controller::Reload>>,
    connections: JoinSet<Option<Pump>>,
    /// Connections that are with workers, over TLS.
    pumps: JoinSet<std::io::Result<()>>,
    /// When draining ends.
    deadline: Option<Instant>,
}

impl Balancer {
    async fn serve(&mut self, control: &ChildLink) -> Result<(), BalancerError> {
        loop {
            let drained = drained(self.deadline, self.connections.is_empty() && self.pumps.is_empty());
            tokio::select! {
                received = control.recv() => match received? {
                    None => return Ok(()),
                    Some((ToChild::Reload(number, generation), _)) => {
                        self.reload(control, number, *generation).await?;
                    }
                    Some((ToChild::Credentials(number, credentials), _)) => {
                        let taken = self.replace(&credentials);
                        control.send(&FromChild::Credentialed(number, taken), &[]).await?;
                    }
                    Some((message, descriptors)) => {
                        if let Some(lost) = self.obey(message, descriptors) {
                            control.send(&lost, &[]).await?;
                        }
                    }
                },
                (stream, address) = next(self.acceptor.as_mut()) => self.admit(stream, address, None),
                (stream, address, port) = next_plain(self.redirects.as_mut()) => {
                    self.admit(stream, address, Some(port));
                }
                Some(ended) = self.connections.join_next() => match ended {
                    // A task of its own: it lives long, and is small.
                    Ok(Some(pump)) => drop(self.pumps.spawn_local(pump)),
                    Ok(None) => {}
                    Err(error) if error.is_panic() => {
                        tracing::error!(
                            target: FAULT,
                            balancer = %self.id,
                            %error,
                            "a connection's task panicked"
                        );
                    }
                    Err(_) => {}
                },
                Some(ended) = self.pumps.join_next() => match ended {
                    Ok(Err(error)) => tracing::debug!(balancer = %self.id, %error, "a connection over TLS broke"),
                    Ok(Ok(())) => {}
                    Err(error) => {
                        tracing::error!(
                            target: FAULT,
                            balancer = %self.id,
                            %error,
                            "a connection's pump panicked"
                        );
                    }
                },
                () = drained => {
                    // A master that is gone needs no telling.
                    let _ = control.send(&FromChild::Drained, &[]).await;
                    return Ok(());
                }
            }
        }
    }

    /// Answered by the driver, unless there is none or it is behind.
    async fn reload(
        &self,
        control: &ChildLink,
        number: u64,
        generation: Generation,
    ) -> Result<(), BalancerError> {
        let refused = match &self.reloads {
            None => "this balancer has no controller",
            Some(reloads) => match reloads.try_send((number, generation)) {
                Ok(()) => return Ok(()),
                Err(_) => "too many reloads wait already",
            },
        };
        Ok(control.send(&FromChild::Reloaded(number, Err(refused.to_owned())), &[]).await?)
    }

    /// Handshakes from now on use these; what was shaken stays.
    fn replace(&self, credentials: &Credentials) -> Result<(), String> {
        let Some(tls) = &self.shared.tls else { return Err("this balancer serves no TLS".to_owned()) };
        tls.replace(credentials).map_err(|error| error.to_string())
    }

    fn admit(&mut self, stream: TcpStream, address: SocketAddr, redirect: Option<u16>) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(balancer = %self.id, %error, "a connection was gone before it was accepted");
            return;
        }
        let place = self.shared.admit(address.ip());
        let id = place.id();
        let shared = Rc::clone(&self.shared);
        let task = match redirect {
            None => self.connections.spawn_local(connection::serve(shared, stream, address, place)),
            Some(port) => self.connections.spawn_local(async move {
                redirect::serve(shared, stream, address, place, port).await;
                None
            }),
        };
        self.shared.own(id, task);
    }

    /// Returns what the master has to know.
    fn obey(&mut self, message: ToChild, descriptors: Vec<OwnedFd>) -> Option<FromChild> {
        let targets = &self.shared.targets;
        match message {
            ToChild::HandoffTo(worker) => {
                let end = descriptors.into_iter().next().ok_or(LinkError::NoDescriptor);
                match end.and_then(|end| Ok(HandoffSender::new(end)?)) {
                    Ok(link) => targets.add(worker, link),
                    Err(error) => {
                        let error: &dyn std::error::Error = &error;
                        tracing::error!(balancer = %self.id, %worker, error, "a worker's link cannot be used");
                        // The master lays another one.
                        return Some(FromChild::HandoffsLost(Giver::Balancer(self.id), worker));
                    }
                }
            }
            ToChild::Retire(worker) => targets.retire(worker),
            ToChild::Load(loads) => targets.load(&loads),
            ToChild::Drain(ms) => {
                self.acceptor = None;
                self.redirects = None;
                // Requests that are proxied end here, and what goes over TLS; both may take their time.
                let within = Duration::from_millis(ms);
                let ends_here = self.reloads.is_some() || self.shared.tls.is_some();
                let within = if ends_here { within } else { within.min(LAST_HEADS) };
                self.deadline = Some(Instant::now() + within);
                self.shared.leave();
            }
            ToChild::RedirectTo(port) => match Acceptor::new(descriptors) {
                // One that drains has no more to accept.
                Ok(acceptor) => self.redirects = self.acceptor.is_some().then_some((acceptor, port)),
                Err(error) => tracing::error!(balancer = %self.id, %error, "plain HTTP cannot be redirected"),
            },
            other => {
                let message = std::mem::discriminant(&other);
                tracing::warn!(balancer = %self.id, received = ?message, "a message that is not for balancers was ignored");
            }
        }
        None
    }
}

/// What comes first: without it there is no handshake.
async fn first_credentials(control: &ChildLink, options: TlsConfig) -> Result<Tls, BalancerError> {
    let (number, credentials) = match control.recv().await? {
        Some((ToChild::Credentials(number, credentials), _)) => (number, credentials),
        Some(_) | None => return Err(BalancerError::NoCredentials),
    };
    match Tls::new(options, &credentials) {
        Ok(tls) => {
            control.send(&FromChild::Credentialed(number, Ok(())), &[]).await?;
            Ok(tls)
        }
        Err(error) => {
            let refused = FromChild::Refused { component: None, reason: error.to_string() };
            control.send(&refused, &[]).await?;
            Err(BalancerError::Credentials(error))
        }
    }
}

async fn next_plain(redirects: Option<&mut (Acceptor, u16)>) -> (TcpStream, SocketAddr, u16) {
    match redirects {
        Some((acceptor, port)) => {
            let (stream, address) = acceptor.next().await;
            (stream, address, *port)
        }
        None => std::future::pending().await,
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
