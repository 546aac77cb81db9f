//! Links for requests: pairs of sockets, of which the worker gets one end as if a client had connected. Each carries
//! one request at a time and is kept for the next.

use std::cell::RefCell;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use sc_core::config::Peer;
use sc_core::limits::IDLE_LINKS;
use sc_core::link::control::{Handoff, Way};
use sc_core::link::{LinkError, stream_pair};
use sc_core::log::FAULT;
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::Body;
use crate::handoff::{self, ATTEMPT};
use crate::refusal::Refusal;
use crate::targets::{Deal, Target, Targets};

/// How long one is kept: less than a worker keeps it, or a request might meet its end.
const IDLE: Duration = Duration::from_secs(20);
/// How long a request's rest may take once its answer is there, before its link is given up.
const REST: Duration = Duration::from_secs(5);

/// The links to one worker.
#[derive(Debug)]
pub(crate) struct Links {
    idle: RefCell<Vec<(SendRequest<Body>, Instant)>>,
    room: Arc<Semaphore>,
}

/// One of them, in use.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) sender: SendRequest<Body>,
    _room: OwnedSemaphorePermit,
}

impl Links {
    /// So many may be in use at once; other requests wait.
    pub(crate) fn new(most: usize) -> Self {
        Links { idle: RefCell::default(), room: Arc::new(Semaphore::new(most)) }
    }

    /// Keeps a link whose answer has come, once its request has gone out as well.
    pub(crate) fn keep(&self, target: &Rc<Target>, link: Link) {
        if link.sender.is_ready() {
            return self.put(link);
        }
        let target = Rc::clone(target);
        tokio::task::spawn_local(async move {
            let mut link = link;
            if let Ok(Ok(())) = timeout(REST, link.sender.ready()).await {
                target.links.put(link);
            }
        });
    }

    fn put(&self, link: Link) {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < IDLE);
        if idle.len() < IDLE_LINKS && !link.sender.is_closed() {
            idle.push((link.sender, Instant::now()));
        }
    }

    /// The one that was used last: it lives most likely.
    fn idle(&self) -> Option<SendRequest<Body>> {
        let mut idle = self.idle.borrow_mut();
        while let Some((sender, since)) = idle.pop() {
            if sender.is_ready() && since.elapsed() < IDLE {
                return Some(sender);
            }
        }
        None
    }
}

/// A link to that worker; none when it takes none now, or is gone. An error is this process's own.
pub(super) async fn take(
    targets: &Targets,
    target: &Rc<Target>,
    deadline: Instant,
) -> Result<Option<Link>, Refusal> {
    let room = Arc::clone(&target.links.room).acquire_owned();
    let Ok(Ok(room)) = timeout_at(deadline, room).await else { return Ok(None) };
    if let Some(sender) = target.links.idle() {
        return Ok(Some(Link { sender, _room: room }));
    }
    Ok(match timeout_at(deadline.min(Instant::now() + ATTEMPT), connect(targets, target)).await {
        Ok(Ok(Some(sender))) => {
            target.took(Deal::Request);
            Some(Link { sender, _room: room })
        }
        Ok(Ok(None)) => None,
        Ok(Err(LinkError::Closed)) => {
            targets.lose(target);
            None
        }
        Ok(Err(error)) if let Some(refusal) = handoff::own_fault(&error) => return Err(refusal),
        Ok(Err(error)) => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(
                target: FAULT,
                worker = %target.worker,
                error,
                "a worker could not be linked for requests"
            );
            target.stalls();
            None
        }
        Err(_) => {
            tracing::warn!(
                target: FAULT,
                worker = %target.worker,
                "a worker took no link for requests for a while"
            );
            target.stalls();
            None
        }
    })
}

/// None when the worker was retired or linked anew meanwhile.
async fn connect(targets: &Targets, target: &Rc<Target>) -> Result<Option<SendRequest<Body>>, LinkError> {
    let (here, there) = stream_pair()?;
    // Whose a request is, each says itself.
    let nobody = Peer { address: [127, 0, 0, 1].into(), port: 0, secure: false };
    let handoff = Handoff { peer: nobody, request: 0, read: Bytes::new(), way: Way::Proxied };
    if !handoff::send(targets, target, &handoff, there.as_fd()).await? {
        return Ok(None);
    }
    drop::<OwnedFd>(there);
    let stream = UnixStream::from_std(here.into())?;
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(|error| LinkError::Io(std::io::Error::other(error)))?;
    tokio::task::spawn_local(async move {
        // Its end is seen by whoever uses the link.
        let _ = connection.await;
    });
    Ok(Some(sender))
}
