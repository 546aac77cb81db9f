//! Controllers of balancers: they decide about a request when its head has come, before a worker is chosen for it.
//!
//! One [`Arrival`] is one call. What the call asked for comes back with it; without any of it the request goes on.

use std::future::Future;

use super::{CallError, Generation, Header, Snapshot, SnapshotError, StartError, StartInfo};

/// A request whose head has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    /// The method.
    pub method: String,
    /// Path and query, as they came.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<Header>,
    /// The client's IP address, by the word of trusted proxies.
    pub address: String,
    /// Whether the client came over TLS.
    pub secure: bool,
    /// Whether it asks for a socket.
    pub is_upgrade: bool,
}

/// What a call asks for. All of it is checked: names are names, paths are paths.
#[derive(Clone, Debug, PartialEq)]
pub enum Ruling {
    /// The request ends here with this answer. The first of these two counts.
    Answer {
        /// From 200 to 599.
        status: u16,
        /// None that the host sets itself.
        headers: Vec<Header>,
        /// The whole body.
        body: Vec<u8>,
    },
    /// The connection ends here without an answer.
    Close,
    /// Puts a header in place of all of that name.
    SetHeader(Header),
    /// Takes all headers of that name away.
    RemoveHeader(String),
    /// Another path and query.
    Rewrite(String),
    /// Requests of one key meet one worker, while it lives.
    RouteBy(String),
}

/// A live instance of a balancer's controller.
pub trait BalancerController {
    /// Decides about a request. After an error the instance must be dropped.
    fn arrive(&mut self, arrival: &Arrival) -> impl Future<Output = Result<Vec<Ruling>, CallError>>;

    /// The state to carry over a swap; none when the controller keeps none.
    fn snapshot(&mut self) -> impl Future<Output = Result<Option<Snapshot>, SnapshotError>>;

    /// Takes the state over, before any request. After an error the instance must be dropped.
    fn restore(&mut self, state: &Snapshot) -> impl Future<Output = Result<(), StartError>>;
}

/// Where instances of a balancer's controller come from.
pub trait BalancerControllerSource {
    /// What it makes.
    type Instance: BalancerController + 'static;

    /// Loads and starts an instance.
    fn start(
        &self,
        generation: &Generation,
        info: &StartInfo,
    ) -> impl Future<Output = Result<Self::Instance, StartError>>;
}
