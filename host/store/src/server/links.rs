//! The links of workers. Each has one task that reads, acts and writes; a link that breaks, or whose worker reads too
//! slowly, is dropped by itself and its worker sees the end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::time::Instant;

use bytes::Bytes;
use sc_core::ids::{StoreId, WorkerId};
use sc_core::limits::LINK_BACKLOG;
use sc_core::link::LinkError;
use sc_core::link::frames::{FrameReceiver, FrameSender, split};
use sc_wire::store::{OpId, Reply, Request, Tree};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::StoreError;
use crate::keyspace::{Keyspace, Millis, Place, check_name};
use crate::pubsub::{Channels, LinkId};

/// Operations of one link done before other links get their turn.
const TURN: usize = 64;
/// Bytes of answers that may wait for a worker before its next operations are left in its link.
const ANSWERS_AHEAD: usize = LINK_BACKLOG / 8;

/// All that the links share.
pub(super) struct Hub {
    id: StoreId,
    began: Instant,
    keys: Keyspace,
    channels: Channels,
    links: BTreeMap<LinkId, Link>,
    last: u64,
    changed: Rc<Notify>,
}

struct Link {
    worker: WorkerId,
    sender: Rc<FrameSender<Reply>>,
    /// Reads, acts and writes; ends with the link's entry.
    _task: AbortOnDropHandle<()>,
}

/// Serves a worker over a new link, which replaces its earlier ones.
pub(super) fn serve(hub: &Rc<RefCell<Hub>>, worker: WorkerId, end: OwnedFd) -> std::io::Result<()> {
    let (sender, receiver, drain) = split::<Reply, Request>(end)?;
    let sender = Rc::new(sender);
    let mut state = hub.borrow_mut();
    let earlier: Vec<_> =
        state.links.iter().filter(|(_, link)| link.worker == worker).map(|(link, _)| *link).collect();
    for link in earlier {
        state.drop_link(link);
    }
    state.last += 1;
    let link = LinkId(state.last);
    let reading = read(Rc::downgrade(hub), link, receiver, Rc::clone(&sender));
    let weak = Rc::downgrade(hub);
    let store = state.id;
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
    state.links.insert(link, Link { worker, sender, _task: AbortOnDropHandle::new(task) });
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
        hub.borrow_mut().act(link, request);
        drop(hub);
        turn += 1;
        if turn % TURN == 0 {
            tokio::task::yield_now().await;
        }
        // A worker that asks faster than it reads waits; it is not too slow for what it did not ask for.
        sender.room(ANSWERS_AHEAD).await;
    }
    Ok(())
}

impl Hub {
    pub(super) fn new(id: StoreId) -> Self {
        Hub {
            id,
            began: Instant::now(),
            keys: Keyspace::default(),
            channels: Channels::default(),
            links: BTreeMap::new(),
            last: 0,
            changed: Rc::default(),
        }
    }

    /// Told whenever a link is gone.
    pub(super) fn changed(&self) -> Rc<Notify> {
        Rc::clone(&self.changed)
    }

    /// Whether no worker is linked.
    pub(super) fn is_idle(&self) -> bool {
        self.links.is_empty()
    }

    /// Frees what has expired.
    pub(super) fn sweep(&mut self) {
        let now = self.now();
        self.keys.expire_due(now);
    }

    fn now(&self) -> Millis {
        Millis::try_from(self.began.elapsed().as_millis()).unwrap_or(Millis::MAX)
    }

    fn drop_link(&mut self, link: LinkId) {
        if self.links.remove(&link).is_some() {
            self.channels.forget(link);
            self.changed.notify_one();
        }
    }

    fn act(&mut self, link: LinkId, request: Request) {
        let now = self.now();
        let place = |tree: Tree, path: Vec<String>| Place { tree, path };
        match request {
            Request::Subscribe { op, channel } => {
                let checked = check_name(&channel);
                if checked.is_ok() {
                    self.channels.subscribe(link, channel);
                }
                self.send(link, &done(op, checked));
            }
            Request::Unsubscribe { channel } => self.channels.unsubscribe(link, &channel),
            Request::Publish { op, channel, data } => {
                self.publish(channel, data);
                if let Some(op) = op {
                    self.send(link, &Reply::Done { op });
                }
            }
            Request::Get { op, tree, path } => {
                let got = self.keys.get(now, &place(tree, path));
                self.send(link, &value(op, got));
            }
            Request::Set { op, tree, path, value: new } => {
                let set = self.keys.set(now, &place(tree, path), new);
                self.send(link, &value(op, set.map(|()| None)));
            }
            Request::Remove { op, tree, path } => {
                let removed = self.keys.remove(now, &place(tree, path));
                self.send(link, &value(op, removed));
            }
            Request::Expire { op, tree, path, after_ms } => {
                let expiring = self.keys.expire(now, &place(tree, path), after_ms);
                let text = |is_there| Some(Bytes::from_static(if is_there { b"true" } else { b"false" }));
                self.send(link, &value(op, expiring.map(text)));
            }
        }
    }

    fn publish(&mut self, channel: String, data: Option<Bytes>) {
        let links = self.channels.links(&channel).to_vec();
        let message = Reply::Message { channel, data };
        for link in links {
            self.send(link, &message);
        }
    }

    fn send(&mut self, to: LinkId, reply: &Reply) {
        let Some(link) = self.links.get(&to) else { return };
        let worker = link.worker;
        match link.sender.send(reply) {
            Ok(()) => {}
            Err(LinkError::Frame(error)) if op(reply).is_some() => {
                tracing::warn!(store = %self.id, %worker, %error, "an answer is too large for a link");
                let message = format!("the value is too large to be sent: {error}");
                if let Some(op) = op(reply) {
                    self.send(to, &Reply::Failed { op, message });
                }
            }
            Err(LinkError::Closed) => self.drop_link(to),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(store = %self.id, %worker, error, "a worker's link was dropped");
                self.drop_link(to);
            }
        }
    }
}

fn op(reply: &Reply) -> Option<OpId> {
    match reply {
        Reply::Value { op, .. } => Some(*op),
        Reply::Message { .. } | Reply::Done { .. } | Reply::Failed { .. } => None,
    }
}

fn done(op: OpId, outcome: Result<(), StoreError>) -> Reply {
    match outcome {
        Ok(()) => Reply::Done { op },
        Err(error) => Reply::Failed { op, message: error.to_string() },
    }
}

fn value(op: OpId, outcome: Result<Option<Bytes>, StoreError>) -> Reply {
    match outcome {
        Ok(value) => Reply::Value { op, value },
        Err(error) => Reply::Failed { op, message: error.to_string() },
    }
}
