//! Gives a connection to a worker: its descriptor and what was read from it, in one packet. A link that is gone, or
//! a worker that takes nothing for a while, costs the connection nothing but a new choice.

use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use rustix::io::Errno;
use sc_core::config::Peer;
use sc_core::ids::WorkerId;
use sc_core::link::LinkError;
use sc_core::link::control::{Handoff, Way};
use sc_core::log::FAULT;
use tokio::time::{Instant, sleep, timeout_at};

use crate::client::Client;
use crate::head::READ_MAX;
use crate::refusal::Refusal;
use crate::targets::{Target, Targets, Wish};

/// How long a connection may wait for a worker, restarts included.
pub(crate) const WORKER_WAIT: Duration = Duration::from_secs(10);
/// How long a worker may take no connection before another is tried.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(2);
/// After the system refused to pass a descriptor.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// What is given with a connection.
#[derive(Debug)]
pub(crate) struct Given {
    /// What was read from it: a whole request head, and what followed.
    pub(crate) read: BytesMut,
    /// Where it belongs.
    pub(crate) wish: Wish,
}

/// A connection that no worker took, and why.
#[derive(Debug)]
pub(crate) struct Unserved {
    /// None when it broke meanwhile.
    pub(crate) client: Option<Client>,
    pub(crate) refusal: Refusal,
}

/// Gives a connection to a worker.
pub(crate) async fn give(
    targets: &Targets,
    descriptor: BorrowedFd<'_>,
    given: Given,
    peer: Peer,
    request: u64,
) -> Result<WorkerId, Refusal> {
    let deadline = Instant::now() + WORKER_WAIT;
    let Given { read, wish } = given;
    let way = if wish.key.is_some() { Way::Settled } else { Way::Open };
    let handoff = Handoff { peer, request, read: read.freeze(), way };
    loop {
        let added = targets.added();
        let Some(target) = targets.choose(&wish, peer.address) else {
            match timeout_at(deadline, added).await {
                Ok(()) => continue,
                Err(_) => return Err(Refusal::NoWorker(WORKER_WAIT)),
            }
        };
        let until = deadline.min(Instant::now() + ATTEMPT);
        match timeout_at(until, send(targets, &target, &handoff, descriptor)).await {
            Ok(Ok(true)) => {
                target.took(wish.deal);
                return Ok(target.worker);
            }
            Ok(Ok(false)) => {}
            Ok(Err(LinkError::Closed)) => {
                targets.lose(&target);
                tracing::debug!(request, worker = %target.worker, "a worker's link is gone");
            }
            Ok(Err(error)) if let Some(refusal) = own_fault(&error) => return Err(refusal),
            Ok(Err(error)) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(
                    target: FAULT,
                    request,
                    worker = %target.worker,
                    error,
                    "a connection could not be handed over"
                );
                target.stalls();
                sleep(PAUSE).await;
            }
            Err(_) => {
                tracing::warn!(
                    target: FAULT,
                    request,
                    worker = %target.worker,
                    "a worker took no connection for a while"
                );
                target.stalls();
            }
        }
        if Instant::now() >= deadline {
            return Err(Refusal::NoWorker(WORKER_WAIT));
        }
    }
}

/// The refusal when it is the connection or this process, and no worker, that a handoff failed by.
pub(crate) fn own_fault(error: &LinkError) -> Option<Refusal> {
    match error {
        LinkError::Frame(_) => Some(Refusal::TooLong(READ_MAX)),
        LinkError::Io(error) => {
            let is_out = matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE));
            is_out.then_some(Refusal::Full)
        }
        _ => None,
    }
}

/// False when the worker was retired or linked anew while others were ahead in line.
pub(crate) async fn send(
    targets: &Targets,
    target: &Rc<Target>,
    handoff: &Handoff,
    descriptor: BorrowedFd<'_>,
) -> Result<bool, LinkError> {
    let link = target.link.lock().await;
    if !targets.is_current(target) {
        return Ok(false);
    }
    link.send(handoff, &[descriptor]).await?;
    Ok(true)
}
