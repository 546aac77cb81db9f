//! The worker role: HTTP, WebSocket, sockets, channels, and the controller that decides. One thread, one event loop:
//! no lock and no atomic on a message's way.
//!
//! A message's way: `socket` reads and decodes it, `dispatch` acts or queues it in `calls`, `controller`
//! hands it to user code, `effects` does what that asked for, `hub` queues the answers and writes them.

mod addresses;
mod arrival;
mod auth;
mod backlog;
mod calls;
mod classic;
mod controller;
mod dispatch;
mod effects;
mod exchange;
mod fetch;
mod flush;
mod gate;
mod guards;
mod guest_timers;
mod handshake;
mod heartbeat;
mod http;
mod hub;
mod interests;
mod operator;
mod presence;
mod role;
mod rotation;
mod seat;
mod sessions;
mod site;
mod socket;
mod stream;
mod timers;
mod upgrade;
mod worker;

pub use auth::check_public_key;
pub use role::{WorkerError, WorkerStart, run};
pub use site::SitePlace;
