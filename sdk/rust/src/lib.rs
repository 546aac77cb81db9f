//! Write controllers for sc-host in Rust.
//!
//! A controller is a WebAssembly component: the host owns every socket, the controller decides what happens. It is
//! called with one event at a time; what it asks for during a call happens when the call returns, all of it or, if
//! the call fails, none.
//!
//! ```no_run
//! use sc_sdk::prelude::*;
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! struct Login {
//!     username: String,
//! }
//!
//! #[controller]
//! fn run(worker: &mut Worker) {
//!     let pings = Counter::new();
//!     worker.keep_state(&pings); // carried over when new code replaces this
//!
//!     worker.on_connection(move |socket| {
//!         socket.emit("greet", "hello world");
//!
//!         let pings = pings.clone();
//!         socket.on("ping", move |socket, _data: Json| socket.emit("pong", json!({ "count": pings.next() })));
//!
//!         socket.on_request("login", async |socket, login: Login| {
//!             let known: Option<Json> = socket.worker().global().get(["users", &login.username]).await?;
//!             if known.is_none() {
//!                 return Err(Problem::new("FailedLoginError", "Failed to login"));
//!             }
//!             socket.set_auth_token(json!({ "username": login.username }), Expires::in_hours(24));
//!             Ok(())
//!         });
//!     });
//!
//!     worker.set_interval(Duration::from_secs(1), |worker| worker.emit_to_all("rand", random_u32() % 100));
//! }
//! # fn main() {}
//! ```
//!
//! # Data
//!
//! Everything that implements serde's traits goes in and out. `()` sends no data at all; `None` and [`Json::Null`]
//! send `null`, and both arrive as `null`. An event whose data does not fit its handler's type is logged and
//! dropped; a request gets an `InvalidArgumentsError` that names the event.
//!
//! # Asking
//!
//! What asks (a store, a client) is sent when the method is called and returns an [`Answer`] to await. An answer that
//! nobody awaits is fine: the command happens all the same. Handlers that are plain closures await in a task:
//! [`spawn`].
//!
//! # After a crash or a swap
//!
//! Sockets outlive the controller. A fresh instance runs the connection handlers again for each live socket, to
//! attach the handlers of its events. While that runs, the instance is *muted*: see [`Worker::on_connection`].

#![deny(missing_docs)]

mod answer;
mod auth;
pub mod balancer;
#[doc(hidden)]
pub mod bindings;
mod dispatch;
mod exchange;
mod executor;
#[doc(hidden)]
pub mod export;
mod handlers;
mod host;
mod http;
mod keyspace;
pub mod log;
pub mod middleware;
mod mute;
mod names;
mod payload;
mod presence;
mod problem;
mod random;
mod session;
mod socket;
mod sockets;
mod start;
mod state;
pub mod store;
#[doc(hidden)]
pub mod store_bindings;
mod timers;
mod worker;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

pub use answer::Answer;
pub use auth::{Auth, Expires};
pub use cookie::Cookie;
pub use exchange::{Exchange, Subscription};
pub use executor::spawn;
pub use http::{Fetch, Fetched, Http, Params, Request, Response};
pub use keyspace::{IntoKey, IntoPath, Tree};
pub use presence::{Change, Member};
pub use problem::Problem;
pub use random::random_u32;
pub use sc_sdk_macros::{balancer, controller, middleware, store_controller};
pub use serde_json::{Value as Json, json};
pub use session::Session;
pub use socket::Socket;
pub use start::Cause;
pub use state::{Counter, Keep, State};
pub use timers::{Sleep, Timer, sleep};
pub use worker::Worker;

/// All that a controller usually needs: `use sc_sdk::prelude::*;`
///
/// ```no_run
/// use sc_sdk::prelude::*;
///
/// #[controller]
/// fn run(worker: &mut Worker) {
///     info!("worker {} starts", worker.id());
/// }
/// # fn main() {}
/// ```
pub mod prelude {
    pub use std::time::Duration;

    pub use crate::{
        Answer, Cause, Cookie, Counter, Expires, Fetch, Json, Member, Params, Problem, Request, Response,
        Session, Socket, State, Timer, Tree, Worker, controller, debug, error, info, json, random_u32, sleep,
        spawn, trace, warn,
    };
}

/// The README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
