//! Tests of the built host, from outside: real processes, real clients, bytes on real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::large_futures)]

mod address_limit; // sockets of one address, over all workers
mod bad_input; // what newcomers and strangers get wrong
mod balance; // how evenly sockets are spread
mod balancer; // a balancer's controller, and the requests it proxies
mod browser; // a page in headless Chromium
mod chat; // examples/chat in browsers, through kills and reloads
mod classic; // clients of the classic generation: 0.9.37 and 1.0.x
mod classic_defects; // what harmed the original, tried
mod classic_kinds; // 0.9 or 1.0
mod classic_requests; // the same byte by byte
mod classic_workers; // the same among workers and in sessions
mod clients; // socketcluster-client 20 and 14 from npm, and ours
mod crashlog; // what goes wrong, and what the log says
mod create; // sc-host create: new apps
mod dev; // sc-host dev: rebuild and swap
mod faults; // kill -9 of each role under load
mod fetch; // what a controller sends to other servers
mod frames; // transcripts of frames, byte by byte
mod guests; // controllers that misbehave
mod http; // routes, static files, sessions over HTTP
mod lifecycle; // start, drain, signals
mod middleware; // components that decide about actions
mod operator; // what is asked of a running host
mod options; // options that the original had
mod plugins; // the finished middleware of plugins/
mod plugins_balancer; // plugins for balancers
mod presence; // who is on a channel, also after kill -9
mod procedures; // a store's controller
mod pubsub; // publications across workers
mod reload; // code and configuration replaced, or refused
mod sessions; // sessions over sockets, tabs, workers and restarts
mod site; // a wasi:http component behind the routes
mod soak; // clients of all generations come and go, for half an hour
mod store; // the stores' data: every operation, kill -9, what is on the disk
mod swaps; // a thousand clients, two hundred reloads
mod swaps_site; // a site is replaced under load
mod swaps_store; // a store's controller is replaced under load
mod tls; // https and wss: certificates by name, reloads, what is wrong with them
mod tls_wire; // https and wss: versions, resumption, ends
mod tokens; // tokens of others, and who may replace a key
mod traps; // a tenth of all calls traps
mod upgrade; // HTTP: the upgrade and its refusals, built-in endpoints
mod user; // a host that root starts and that goes on as another

use sc_tests::{HostBuilder, guests as components};

/// The sc-host under test.
fn binary() -> String {
    // Figures are taken of a release build.
    std::env::var("SC_TEST_HOST").unwrap_or_else(|_| env!("CARGO_BIN_EXE_sc-host").to_owned())
}

/// A host that serves nothing yet.
fn host() -> HostBuilder {
    HostBuilder::new(&binary())
}

/// A host that serves a test guest.
fn host_of(guest: &str) -> HostBuilder {
    host().component(&components::guest(guest).expect("the guest builds"))
}
