//! What the master and its children say to each other over the control link, and what a handoff carries. A child's
//! link is its standard input: its end means that the master is gone, and the child exits.

use std::convert::Infallible;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::packets::PacketLink;
use crate::config::{BalancerConfig, Peer, StoreConfig, WorkerConfig};
use crate::controller::{Cause, Generation, Json};
use crate::ids::{BalancerId, StoreId, WorkerId};
use crate::limits::STATUS_INTERVAL;
use crate::moment::Moment;
use crate::tls::Credentials;

/// The master's end of a control link.
pub type MasterLink = PacketLink<ToChild, FromChild>;
/// The child's end of a control link.
pub type ChildLink = PacketLink<FromChild, ToChild>;
/// The end of a handoff link that gives connections away.
pub type HandoffSender = PacketLink<Handoff, Nothing>;
/// The end of a handoff link that takes connections.
pub type HandoffReceiver = PacketLink<Nothing, Handoff>;

/// A direction in which a link carries nothing.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Nothing {}

/// From the master to a child.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToChild {
    /// The first message, once: what to be. A balancer's carries the listening sockets.
    Start(Start),
    /// To a worker: a link to a store, with its end. Replaces an earlier one.
    StoreLink(StoreId),
    /// To a store: a link to a worker, with its end.
    WorkerLink(WorkerId),
    /// To a balancer or a worker: a link that gives connections to that worker, with its end. Replaces an earlier one.
    HandoffTo(WorkerId),
    /// To a worker: a link that brings connections, with its end.
    HandoffFrom(Giver),
    /// To a balancer or a worker: give that worker no more connections. To a store: it is gone.
    Retire(WorkerId),
    /// To a balancer: how many sockets each worker holds.
    Load(Vec<Load>),
    /// To a worker: the host's phase, for the health endpoint.
    Phase(Phase),
    /// Replace the running generation of the component of that name. Answered by `Reloaded` with the same number, once
    /// the new one has proved itself or the old one is back; not answered any more once another order for that
    /// component has come.
    Reload(u64, Box<Generation>),
    /// To a worker: have the component of that name go back to the generation that was replaced last, whatever it
    /// takes. Answered like a reload.
    RollBack(u64, String),
    /// To a worker: the last reload of the component of that name is final; forget the generation before.
    Keep(String),
    /// To a worker: the key that signs and verifies tokens from now on.
    AuthKey(String),
    /// To a worker: do this for the operator. Answered by `Answered` with the same number.
    Call(u64, ApiCall),
    /// Finish within so many milliseconds, then say `Drained` and exit.
    Drain(u64),
    /// To a balancer that serves TLS: with what, from the next handshake on. The first comes right after its start.
    /// Answered by `Credentialed` with the same number.
    Credentials(u64, Box<Credentials>),
    /// To a balancer that serves TLS: listening sockets whose requests are redirected to that port over TLS.
    RedirectTo(u16),
}

/// What an operator, or a backend in another language, asks of the workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ApiCall {
    /// Publish on a channel. Asked of one worker; it reaches no socket by itself.
    Publish {
        /// The channel.
        channel: String,
        /// One JSON value; none for no data.
        data: Option<Json>,
    },
    /// An event to sockets.
    Emit {
        /// To whom.
        to: Whom,
        /// Its name.
        event: String,
        /// One JSON value; none for no data.
        data: Option<Json>,
    },
    /// Close sockets.
    Disconnect {
        /// Whose.
        who: Whom,
        /// The close code.
        code: u16,
        /// At most 123 bytes.
        reason: String,
    },
    /// End a subscription and tell the clients.
    Kick {
        /// Whose.
        who: Whom,
        /// Of what.
        channel: String,
        /// Why; empty for none.
        message: String,
    },
}

/// Sockets that somebody outside can name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Whom {
    /// All sockets of the session with that id.
    Session(String),
    /// The socket with the id that clients see.
    Socket(String),
}

/// How much a worker holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Which.
    pub worker: WorkerId,
    /// Its sockets, also those whose handshake is still to come.
    pub sockets: u32,
    /// When they were counted: what was given to the worker since is not among them.
    pub at: Moment,
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreCounts {
    /// Sessions that have sockets, or had until a moment ago.
    pub sessions: u64,
    /// Channels that some worker subscribes to.
    pub channels: u64,
    /// Sockets on channels that keep a list of them, once for each channel.
    pub members: u64,
    /// Trees with data: of sessions, named ones, and the global one if some of it is here.
    pub trees: u64,
}

/// What a child is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Start {
    /// A worker.
    Worker {
        /// Its number.
        id: WorkerId,
        /// How many workers there are.
        workers: u16,
        /// How many stores there are.
        stores: u16,
        /// Its options.
        config: Box<WorkerConfig>,
        /// Its controller.
        controller: Box<Generation>,
        /// Its middleware, in the order in which they decide.
        middleware: Vec<Generation>,
        /// Its site, if there is one.
        site: Option<Box<Generation>>,
        /// Why it starts.
        cause: Cause,
        /// The host's phase.
        phase: Phase,
    },
    /// A store.
    Store {
        /// Its number.
        id: StoreId,
        /// Its options.
        config: Box<StoreConfig>,
        /// Its controller, if it has one, with what that is configured with.
        component: Option<Box<Generation>>,
        /// Why it starts.
        cause: Cause,
    },
    /// A balancer. Comes with the listening sockets.
    Balancer {
        /// Its number.
        id: BalancerId,
        /// Its options.
        config: Box<BalancerConfig>,
        /// Its controller, if it has one, with what that is configured with.
        component: Option<Box<Generation>>,
        /// Why it starts.
        cause: Cause,
    },
}

/// Who gives connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Giver {
    /// A balancer.
    Balancer(BalancerId),
    /// Another worker: requests that belong here.
    Worker(WorkerId),
}

/// How far the host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Children are starting.
    Starting,
    /// All roles serve.
    Ready,
    /// It finishes its work to exit.
    Draining,
}

/// From a child to the master.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromChild {
    /// It serves.
    Ready,
    /// It cannot start, and would not the next time either.
    Refused {
        /// The name of the component that does not start; none for the role's own.
        component: Option<String>,
        /// For the user.
        reason: String,
    },
    /// A store reads its journal and comes on: how many bytes of it it has dealt with.
    Opening(u64),
    /// A store cannot use its folder: the text is for the user.
    DataUnusable(String),
    /// A worker's counts, each second.
    Status {
        /// Open sockets.
        sockets: u32,
        /// All sockets, also those whose handshake is still to come, and those whose upgrade is still to be answered.
        held: u32,
        /// When they were counted.
        at: Moment,
        /// Packets from clients since it started.
        packets: u64,
        /// Instances of its controller that failed since it started.
        guest_failures: u32,
    },
    /// What a store holds, each second.
    Holds(StoreCounts),
    /// A balancer runs, each second.
    Alive,
    /// A worker lost its link to a store, which may still live.
    StoreLost(StoreId),
    /// A balancer or a worker could not take its end of the link that gives connections to that worker.
    HandoffsLost(Giver, WorkerId),
    /// How the reload or the roll-back that was ordered by that number ended in this process; an error's text is for
    /// the user.
    Reloaded(u64, Result<(), String>),
    /// What came of a call of that number: how many sockets it reached, or why it failed, for the user.
    Answered(u64, Result<u32, String>),
    /// The worker's controller replaced the key of tokens: tell all workers.
    RotateAuthKey(String),
    /// It has drained and exits.
    Drained,
    /// A balancer uses the credentials of that number, or why it cannot, for the user.
    Credentialed(u64, Result<(), String>),
}

/// A connection on its way to a worker. Comes with its descriptor, a TCP or Unix stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Handoff {
    /// The client.
    pub peer: Peer,
    /// Names the request in logs of all roles.
    pub request: u64,
    /// Bytes already read from the connection: a whole request head, and whatever followed.
    pub read: Bytes,
    /// What comes over the connection, and what is settled about it.
    pub way: Way,
}

/// How a connection came to be given to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// A client's own, by its session or, without one, by chance. A request of another worker's session goes there.
    Open,
    /// A client's own, by a decision that its session does not overrule.
    Settled,
    /// A balancer's link for requests of many clients: it says of each whose it is, by `X-Forwarded-For` and `-Proto`.
    Proxied,
}

/// Sends the master a sign of life each second. A child that falls silent is considered frozen and killed. If the link
/// fails, this waits for ever: the reader reports it.
pub async fn keep_alive(control: &ChildLink, says: impl Fn() -> FromChild) -> Infallible {
    let mut ticks = interval_at(Instant::now() + STATUS_INTERVAL, STATUS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if control.send(&says(), &[]).await.is_err() {
            std::future::pending().await
        }
    }
}
