//! What the tests of sc-host stand on: hosts as real processes, guests built when first asked for, clients of our own
//! that see every frame, the clients from npm, and a browser.
//!
//! Invariant: nothing outlives its test. A host and its children, a node process, a browser: each dies with the value
//! that stands for it. Every wait has a deadline and says what it waited for.

pub mod client;
pub mod guests;
pub mod host;
pub mod http;
pub mod jwt;
pub mod load;
mod lock;
pub mod log;
pub mod node;
pub mod paths;
pub mod poller;
pub mod raw;
pub mod require;
pub mod run;
pub mod session;
pub mod tls;
pub mod usage;
pub mod wait;

pub use client::Client;
pub use futures_util::future::join_all;
pub use host::{Host, HostBuilder, Role};

/// How many of `all` a test does: all with `SC_TEST_FULL=1`, else a tenth.
pub fn long(all: usize) -> usize {
    match std::env::var_os("SC_TEST_FULL").is_some_and(|full| full == "1") {
        true => all,
        false => all / 10,
    }
}
