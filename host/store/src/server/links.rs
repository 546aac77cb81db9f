//! The links of workers. Each has one task that reads, acts and writes; a link that breaks, or whose worker reads too
//! slowly, is dropped by itself and its worker sees the end.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};

use sc_core::ids::WorkerId;
use sc_core::limits::LINK_BACKLOG;
use sc_core::link::LinkError;
use sc_core::link::frames::{FrameReceiver, FrameSender, split};
use sc_wire::store::{Reply, Request};
use tokio_util::task::AbortOnDropHandle;

use super::hub::Hub;
use crate::pubsub::LinkId;

/// Operations of one link done before other links get their turn.
const TURN: usize = 64;
/// Bytes of answers that may wait for a worker before its next operations are left in its link.
const ANSWERS_AHEAD: usize = LINK_BACKLOG / 8;

pub(super) struct Link {
    pub(super) worker: WorkerId,
    /// The worker's process is no more.
    pub(super) is_gone: bool,
    pub(super) sender: Rc<FrameSender<Reply>>,
    /// Reads, acts and writes; ends with the link's entry.
    _task: AbortOnDropHandle<()>,
}

/// Serves a worker over a new link, which replaces its earlier ones.
pub(super) fn serve(hub: &Rc<RefCell<Hub>>, worker: WorkerId, end: OwnedFd) -> std::io::Result<()> {
    let (sender, receiver, drain) = split::<Reply, Request>(end)?;
    let sender = Rc::new(sender);
    let link = hub.borrow_mut().next_link(worker);
    let reading = read(Rc::downgrade(hub), link, receiver, Rc::clone(&sender));
    let weak = Rc::downgrade(hub);
    let store = hub.borrow().id();
    let task = tokio::task::spawn_local(async move {
        let ended = tokio::select! {
            ended = reading => ended,
            () = drain => Ok(()),
        };
        if let Err(error) = ended {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(%store, %worker, error, "a worker's link failed and was dropped");
        }
        if let Some(hub) = weak.upgrade() {
            hub.borrow_mut().drop_link(link);
        }
    });
    hub.borrow_mut().link(link, Link { worker, is_gone: false, sender, _task: AbortOnDropHandle::new(task) });
    Ok(())
}

async fn read(
    hub: Weak<RefCell<Hub>>,
    link: LinkId,
    mut receiver: FrameReceiver<Request>,
    sender: Rc<FrameSender<Reply>>,
) -> Result<(), LinkError> {
    let mut turn = 0;
    while let Some(request) = receiver.recv().await? {
        let Some(hub) = hub.upgrade() else { return Ok(()) };
        // A procedure has the data for itself.
        until_idle(&hub).await;
        hub.borrow_mut().act(link, request);
        turn += 1;
        let rests = turn % TURN == 0;
        if rests || !receiver.is_ready() {
            hub.borrow_mut().commit();
        }
        drop(hub);
        if rests {
            tokio::task::yield_now().await;
        }
        // A worker that asks faster than it reads waits; it is not too slow for what it did not ask for.
        sender.room(ANSWERS_AHEAD).await;
    }
    Ok(())
}

async fn until_idle(hub: &Rc<RefCell<Hub>>) {
    loop {
        let Some(idle) = hub.borrow().procedure_ends() else { return };
        idle.notified().await;
    }
}
