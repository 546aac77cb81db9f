//! What workers import: all stores as one. Each operation goes to the store that holds its key; while that store is
//! down it is parked, bounded in number, bytes and time, and sent once the store is back.
//!
//! A request is sent when the method is called, not when its future is polled, so the order of calls is the order
//! of requests to one store. A dropped future changes nothing: the operation happens all the same.
//!
//! Must be used inside a tokio `LocalSet`.

mod addresses;
mod answer;
mod link;
mod merge;
mod presence;
mod procedures;
mod reader;
mod sessions;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use sc_core::ids::StoreId;
use sc_core::limits::{LINK_BACKLOG, STORE_DEADLINE, STORE_PENDING};
use sc_core::link::frames::split;
use sc_wire::store::{Change, KeyError, KeyErrorKind, KeyOp, Member, Reply, Request, SessionMessage, Tree};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use self::answer::{Answer, Waiter};
use self::link::{Attached, Link};
use self::reader::Reader;
use crate::shard;

/// Between two looks for calls that are overdue, at least; so much later than its deadline a call may fail.
const SWEEP: Duration = Duration::from_millis(50);

/// Bytes that may wait for a store before those who publish are paused.
const BEHIND: usize = LINK_BACKLOG / 16;

/// What happens on a link without having been asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreEvent {
    /// A publication on a channel this worker subscribed to.
    Message {
        /// The channel.
        channel: String,
        /// One JSON value as text.
        data: Option<Bytes>,
    },
    /// A session of which this worker holds sockets is told something.
    Session {
        /// The session.
        session: String,
        /// What.
        message: SessionMessage,
    },
    /// A session has no sockets any more; this worker is the one that is told.
    SessionEnd(String),
    /// Somebody joined, changed or left, on a channel whose members this worker watches.
    Member {
        /// The channel.
        channel: String,
        /// What happened.
        change: Change,
        /// To whom.
        member: Member,
    },
    /// A store has a link, and knows nothing of this worker's members and of what it watches.
    Attached(StoreId),
    /// The link to a store that was lost is back and every wanted channel is subscribed again. Publications since
    /// the loss may have been missed; if the store itself died, so did its values.
    Gap(StoreId),
    /// The link to a store broke. The master is to be told; operations wait for [`Stores::attach`].
    /// It also comes when what a store must not miss found no room in the link: over the next one all is said again.
    Lost(StoreId),
}

/// Why a call failed. The text is for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The store died while the call was in flight; whether it was done is not known.
    #[error("the store died while it worked on this; whether it was done is not known, so ask again")]
    Lost,
    /// No answer within the deadline.
    #[error("the store did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// Too many operations, or too many bytes, wait for this store.
    #[error("too much waits for the store (at most {STORE_PENDING} operations): ask less often")]
    Busy,
    /// What was asked is larger than a link carries.
    #[error("{0}")]
    TooLarge(String),
    /// A procedure answered with an error of its own.
    #[error("{message}")]
    Problem {
        /// Its class.
        name: Option<String>,
        /// What is wrong.
        message: String,
        /// More members, an object as text.
        extra: Option<String>,
    },
    /// The store refused.
    #[error("{}", .0.message)]
    Refused(KeyError),
}

impl CallError {
    /// The error's name as user code sees it.
    pub fn name(&self) -> &'static str {
        match self {
            CallError::Lost => "StoreLostError",
            CallError::Timeout(_) => "StoreTimeoutError",
            CallError::Busy => "StoreBusyError",
            CallError::Problem { .. } => KeyErrorKind::Procedure.name(),
            CallError::TooLarge(_) => KeyErrorKind::Size.name(),
            CallError::Refused(error) => error.kind.name(),
        }
    }

    /// The global tree's root lies in pieces, on which this cannot be done.
    fn everywhere() -> Self {
        let message = "this needs a path: the root of the global tree is spread over all stores".to_owned();
        CallError::Refused(KeyError { kind: KeyErrorKind::Path, message })
    }
}

/// All stores of the host, as one. Cheap to clone; the links end with the last clone.
#[derive(Clone)]
pub struct Stores {
    inner: Rc<Inner>,
}

struct Inner {
    links: Vec<RefCell<Link>>,
    on_event: Box<dyn Fn(StoreEvent)>,
    /// Stores never attached so far.
    missing: Cell<usize>,
    arrived: Notify,
    /// Fails overdue calls; there while any call waits.
    timer: RefCell<Option<AbortOnDropHandle<()>>>,
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stores").field("count", &self.inner.links.len()).finish_non_exhaustive()
    }
}

impl Stores {
    /// For `count` stores (at least 1), none of them attached. `on_event` is called synchronously by the task that
    /// reads the link, in the link's order, ahead of answers that come later on it. It may call back into this.
    pub fn new(count: u16, on_event: impl Fn(StoreEvent) + 'static) -> Self {
        let count = usize::from(count.max(1));
        Stores {
            inner: Rc::new(Inner {
                links: (0..count).map(|_| RefCell::default()).collect(),
                on_event: Box::new(on_event),
                missing: Cell::new(count),
                arrived: Notify::new(),
                timer: RefCell::default(),
            }),
        }
    }

    /// Gives a store its link, replacing an earlier one: calls in flight on that one fail with [`CallError::Lost`].
    /// Re-subscribes every wanted channel, then sends what was parked, in order.
    ///
    /// # Errors
    /// When there is no such store, when the descriptor cannot be used, or when the names of all wanted channels
    /// together are over the link's backlog.
    pub fn attach(&self, store: StoreId, end: OwnedFd) -> io::Result<()> {
        let Some(link) = self.inner.links.get(usize::from(store.0)) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there is no store {store}")));
        };
        let (sender, receiver, drain) = split::<Request, Reply>(end)?;
        let attached = link.borrow_mut().attach(sender);
        let attached = attached.map_err(io::Error::other)?;
        if attached.first {
            self.inner.missing.set(self.inner.missing.get().saturating_sub(1));
            self.inner.arrived.notify_waiters();
        }
        let Attached { generation, broken, gap_now, .. } = attached;
        let reader = Reader { inner: Rc::downgrade(&self.inner), store, generation, broken };
        let task = tokio::task::spawn_local(reader.run(receiver, drain, gap_now));
        link.borrow_mut().own(AbortOnDropHandle::new(task));
        (self.inner.on_event)(StoreEvent::Attached(store));
        Ok(())
    }

    /// Resolves once every store was attached once.
    pub fn all_attached(&self) -> impl Future<Output = ()> + use<> {
        let inner = Rc::clone(&self.inner);
        async move {
            while inner.missing.get() > 0 {
                inner.arrived.notified().await;
            }
        }
    }

    /// Wants a channel's publications, until [`Stores::unsubscribe`]: the want outlives the store's death and also
    /// an error of this call. Resolves when the store confirmed; when the store dies before that, by the
    /// re-subscription to its successor.
    ///
    /// # Errors
    /// [`CallError::Timeout`], [`CallError::Busy`], [`CallError::TooLarge`], [`CallError::Refused`];
    /// [`CallError::Lost`] only when the channel was unsubscribed before the store confirmed.
    pub fn subscribe(&self, channel: &str) -> impl Future<Output = Result<(), CallError>> + use<> {
        let store = shard::of_channel(channel, self.count());
        done(self.wait(store, |link, waiter| link.subscribe(channel, waiter)))
    }

    /// Wants a channel's publications no more. What is on its way may still arrive.
    pub fn unsubscribe(&self, channel: &str) {
        let store = shard::of_channel(channel, self.count());
        if let Some(link) = self.inner.links.get(usize::from(store.0)) {
            link.borrow_mut().unsubscribe(channel);
        }
    }

    /// Publishes one JSON value to all subscribed workers, this one included. While the store is down it is parked
    /// and, past the deadline, dropped with a warning.
    ///
    /// # Errors
    /// [`CallError::Busy`], or [`CallError::TooLarge`] when it is larger than a frame may be.
    pub fn publish(&self, channel: &str, data: Option<Bytes>) -> Result<(), CallError> {
        let store = shard::of_channel(channel, self.count());
        let request = Request::Publish { op: None, channel: channel.to_owned(), data };
        let Some(link) = self.inner.links.get(usize::from(store.0)) else { return Err(CallError::Lost) };
        link.borrow_mut().tell(request, Instant::now() + STORE_DEADLINE)?;
        self.inner.arm();
        Ok(())
    }

    /// As [`Stores::publish`]; resolves when the store took it, after this worker got its own copy.
    ///
    /// # Errors
    /// All of [`CallError`].
    pub fn publish_and_wait(
        &self,
        channel: &str,
        data: Option<Bytes>,
    ) -> impl Future<Output = Result<(), CallError>> + use<> {
        let store = shard::of_channel(channel, self.count());
        let channel = channel.to_owned();
        done(self.wait(store, |link, waiter| {
            link.ask(|op| Request::Publish { op: Some(op), channel, data }, waiter);
        }))
    }

    /// Does something with the value under a path; see [`KeyOp`] for what it resolves to. An empty path means the
    /// whole tree; of the global tree each store does its piece by itself, so after an error some may be done.
    ///
    /// # Errors
    /// All of [`CallError`].
    pub fn key(
        &self,
        tree: &Tree,
        path: Vec<String>,
        action: KeyOp,
    ) -> impl Future<Output = Result<Option<Bytes>, CallError>> + use<> {
        let merge = merge::of(&action);
        let asked = match (shard::of_path(tree, &path, self.count()), merge) {
            (Some(store), _) => vec![self.ask_one(store, tree, path, action)],
            // Only the global tree's root is everywhere.
            (None, Some(_)) => (0..self.count())
                .map(|store| self.ask_one(StoreId(store), tree, Vec::new(), action.clone()))
                .collect(),
            (None, None) => {
                let (waiter, answer) = Waiter::new(Instant::now());
                waiter.answer(Err(CallError::everywhere()));
                vec![answer]
            }
        };
        async move {
            let one = asked.len() == 1;
            let mut values = Vec::new();
            for answer in asked {
                let value = answer.await?;
                if one {
                    return Ok(value);
                }
                values.extend(value);
            }
            Ok(merge.and_then(|merge| merge(&values)))
        }
    }

    /// Whether any store takes publications more slowly than they come: whoever publishes should pause for
    /// [`Stores::room`], long before anything is lost.
    pub fn are_behind(&self) -> bool {
        self.inner.links.iter().any(|link| link.borrow().is_behind(BEHIND))
    }

    /// Resolves once no store is behind. Links that are down are not waited for.
    pub fn room(&self) -> impl Future<Output = ()> + use<> {
        self.waiting_at_most(BEHIND)
    }

    /// Resolves once everything that was sent before is with the system, so that it outlives this process. Links that
    /// are down are not waited for.
    pub fn written(&self) -> impl Future<Output = ()> + use<> {
        self.waiting_at_most(0)
    }

    fn waiting_at_most(&self, bytes: usize) -> impl Future<Output = ()> + use<> {
        let links: Vec<_> = self.inner.links.iter().filter_map(|link| link.borrow().room(bytes)).collect();
        async move {
            for link in links {
                link.await;
            }
        }
    }

    fn ask_one(&self, store: StoreId, tree: &Tree, path: Vec<String>, action: KeyOp) -> Answer {
        let tree = tree.clone();
        self.wait(store, |link, waiter| link.ask(|op| Request::Key { op, tree, path, action }, waiter))
    }

    /// Starts a call that somebody waits for.
    fn wait(&self, store: StoreId, start: impl FnOnce(&mut Link, Waiter)) -> Answer {
        let (waiter, answer) = Waiter::new(Instant::now() + STORE_DEADLINE);
        match self.inner.links.get(usize::from(store.0)) {
            Some(link) => start(&mut link.borrow_mut(), waiter),
            None => waiter.answer(Err(CallError::Lost)),
        }
        self.inner.arm();
        answer
    }

    fn count(&self) -> u16 {
        u16::try_from(self.inner.links.len()).unwrap_or(u16::MAX)
    }
}

async fn done(answer: Answer) -> Result<(), CallError> {
    answer.await.map(drop)
}

impl Inner {
    /// Has the timer running while anything waits.
    fn arm(self: &Rc<Self>) {
        let mut timer = self.timer.borrow_mut();
        if timer.is_some() || !self.links.iter().any(|link| link.borrow().is_unswept()) {
            return;
        }
        let weak = Rc::downgrade(self);
        *timer = Some(AbortOnDropHandle::new(tokio::task::spawn_local(async move {
            while let Some(next) = weak.upgrade().and_then(|inner| inner.sweep()) {
                tokio::time::sleep_until(next.max(Instant::now() + SWEEP)).await;
            }
            if let Some(inner) = weak.upgrade() {
                let finished = inner.timer.borrow_mut().take();
                drop(finished);
            }
        })));
    }

    /// Fails what is overdue; the deadline that is next.
    fn sweep(&self) -> Option<Instant> {
        let now = Instant::now();
        self.links.iter().filter_map(|link| link.borrow_mut().sweep(now)).min()
    }
}

#[cfg(test)]
mod tests;
