//! What the host calls, for any controller: `#[controller]` makes a type with [`Entry`] and exports it; so do
//! `#[middleware]`, `#[balancer]` and `#[store_controller]` with theirs.

use std::fmt::Display;

pub use sc_sdk_balancer;
pub use sc_sdk_middleware;

use crate::balancer::{self, Balancer};
use crate::bindings::exports::socketcluster::controller::{
    actions, auth_changes, client_answers, connections, fetch_answers, gaps, http_requests, keyspace_answers,
    lifecycle, messages, presence_changes, publications, publish_answers, request_actions, session_ends,
    socket_ends, state, subscriptions, timer_events,
};
use crate::host::{Failure, SocketInfo, StartInfo, WitProblem};
use crate::middleware::Middleware;
use crate::store::{self, Store, StoreEntry};
use crate::store_bindings::exports::socketcluster::controller::{
    channel_events, procedures, store_lifecycle,
};
use crate::{Worker, dispatch};

/// The function under `#[controller]`.
pub trait Entry {
    /// Sets the controller up; an error refuses to start.
    fn run(worker: &mut Worker) -> Result<(), String>;
}

/// What the host's calls of a middleware do.
pub const MIDDLEWARE: sc_sdk_middleware::Calls = sc_sdk_middleware::Calls {
    action: dispatch::on_action,
    request: |id, line, name, request| {
        let sc_sdk_middleware::Request { method, path, query, headers, address, secure, session } = request;
        let head = request_actions::Request { method, path, query, headers, address, secure, session };
        dispatch::on_request_action(id, line, name, whole(head));
    },
    end: dispatch::on_socket_end,
    timer: dispatch::on_timer,
    answer: |token, outcome| dispatch::on_answer(token, outcome.map_err(failure)),
    fetched: |token, outcome| {
        let outcome = outcome.map(|response| {
            let sc_sdk_middleware::Response { status, headers, body } = response;
            fetch_answers::Response { status, headers, body }
        });
        dispatch::on_fetched(token, outcome.map_err(failure));
    },
    snapshot: crate::state::snapshot,
    restore: crate::state::restore,
};

/// Starts a middleware with its function.
///
/// # Errors
/// The function's.
pub fn start_middleware(
    info: sc_sdk_middleware::StartInfo,
    run: impl FnOnce(&mut Middleware) -> Result<(), String>,
) -> Result<(), String> {
    let sc_sdk_middleware::StartInfo { worker, workers, app, config, cause } = info;
    dispatch::on_middleware_start(StartInfo { worker, workers, app, config, cause }, run)
}

/// What the host's calls of a balancer's controller do.
pub const BALANCER: sc_sdk_balancer::Calls = sc_sdk_balancer::Calls {
    arrival: balancer::arrive,
    snapshot: crate::state::snapshot,
    restore: crate::state::restore,
};

/// Starts a balancer's controller with its function.
///
/// # Errors
/// The function's.
pub fn start_balancer(
    info: sc_sdk_balancer::StartInfo,
    run: impl FnOnce(&mut Balancer) -> Result<(), String>,
) -> Result<(), String> {
    let sc_sdk_balancer::StartInfo { worker, workers, app, config, cause } = info;
    crate::start::set(StartInfo { worker, workers, app, config, cause });
    run(&mut Balancer::handle())
}

/// The same words, generated for another world.
fn failure(failure: sc_sdk_middleware::Failure) -> Failure {
    match failure {
        sc_sdk_middleware::Failure::Text(text) => Failure::Text(text),
        sc_sdk_middleware::Failure::Error(sc_sdk_middleware::Problem { name, message, extra }) => {
            Failure::Error(WitProblem { name, message, extra })
        }
    }
}

/// A request's head, as a request without a body.
fn whole(head: request_actions::Request) -> http_requests::Request {
    let request_actions::Request { method, path, query, headers, address, secure, session } = head;
    let (route, body, params) = Default::default();
    http_requests::Request { method, route, path, query, headers, body, address, secure, session, params }
}

/// Whether a controller's function started it.
///
/// # Errors
/// The function's, as text.
pub fn started<E: Display>(result: Result<(), E>) -> Result<(), String> {
    result.map_err(|error| error.to_string())
}

impl<E: Entry> lifecycle::Guest for E {
    fn on_start(info: StartInfo) -> Result<(), String> {
        dispatch::on_start(info, E::run)
    }
}

impl<E: Entry> state::Guest for E {
    fn snapshot() -> (u32, Vec<u8>) {
        crate::state::snapshot()
    }

    fn restore(version: u32, data: Vec<u8>) -> Result<(), String> {
        crate::state::restore(version, &data)
    }
}

impl<E: Entry> actions::Guest for E {
    fn on_action(id: u64, line: String, socket: u64, name: String, data: Option<String>) {
        dispatch::on_action(id, &line, socket, name, data);
    }
}

impl<E: Entry> request_actions::Guest for E {
    fn on_request_action(id: u64, line: String, name: String, request: request_actions::Request) {
        dispatch::on_request_action(id, &line, name, whole(request));
    }
}

impl<E: Entry> socket_ends::Guest for E {
    fn on_socket_end(socket: u64) {
        dispatch::on_socket_end(socket);
    }
}

impl<E: Entry> connections::Guest for E {
    fn on_open(socket: SocketInfo) {
        dispatch::on_open(socket);
    }

    fn on_resume(socket: SocketInfo) {
        dispatch::on_resume(socket);
    }

    fn on_close(socket: u64, code: u16, reason: String) {
        dispatch::on_close(socket, code, &reason);
    }
}

impl<E: Entry> messages::Guest for E {
    fn on_message(socket: u64, event: String, data: Option<String>, reply: Option<u64>) {
        dispatch::on_message(socket, &event, data.as_deref(), reply);
    }
}

impl<E: Entry> auth_changes::Guest for E {
    fn on_auth_change(socket: u64, auth: Option<String>) {
        dispatch::on_auth_change(socket, auth.as_deref());
    }
}

impl<E: Entry> publications::Guest for E {
    fn on_publication(channel: String, data: Option<String>) {
        dispatch::on_publication(&channel, data.as_deref());
    }
}

impl<E: Entry> subscriptions::Guest for E {
    fn on_subscribe(socket: u64, channel: String) {
        dispatch::on_subscribe(socket, &channel);
    }

    fn on_unsubscribe(socket: u64, channel: String) {
        dispatch::on_unsubscribe(socket, &channel);
    }
}

impl<E: Entry> timer_events::Guest for E {
    fn on_timer(timer: u64) {
        dispatch::on_timer(timer);
    }
}

impl<E: Entry> client_answers::Guest for E {
    fn on_client_answer(to: u64, outcome: Result<Option<String>, Failure>) {
        dispatch::on_answer(to, outcome);
    }
}

impl<E: Entry> keyspace_answers::Guest for E {
    fn on_value(to: u64, outcome: Result<Option<String>, Failure>) {
        dispatch::on_answer(to, outcome);
    }
}

impl<E: Entry> publish_answers::Guest for E {
    fn on_published(to: u64, outcome: Result<(), Failure>) {
        dispatch::on_published(to, outcome);
    }
}

impl<E: Entry> gaps::Guest for E {
    fn on_gap(store: u32) {
        dispatch::on_gap(store);
    }
}

impl<E: Entry> session_ends::Guest for E {
    fn on_session_leave(session: String) {
        dispatch::on_session_leave(&session);
    }

    fn on_session_end(session: String) {
        dispatch::on_session_end(&session);
    }
}

impl<E: Entry> http_requests::Guest for E {
    fn on_request(id: u64, request: http_requests::Request) {
        dispatch::on_request(id, request);
    }
}

impl<E: Entry> presence_changes::Guest for E {
    fn on_presence(channel: String, change: String, who: presence_changes::Member) {
        dispatch::on_presence(&channel, &change, who);
    }
}

impl<E: Entry> fetch_answers::Guest for E {
    fn on_fetched(to: u64, outcome: Result<fetch_answers::Response, Failure>) {
        dispatch::on_fetched(to, outcome);
    }
}

impl<E: StoreEntry> store_lifecycle::Guest for E {
    fn on_start(info: StartInfo) -> Result<(), String> {
        crate::start::set(info);
        E::run(&mut Store::handle())
    }
}

impl<E: StoreEntry> procedures::Guest for E {
    fn on_run(name: String, argument: Option<String>) -> Result<Option<String>, Failure> {
        store::run(&name, argument.as_deref())
    }
}

impl<E: StoreEntry> channel_events::Guest for E {
    fn on_first_subscriber(channel: String) {
        store::channel(&channel, true);
    }

    fn on_last_subscriber(channel: String) {
        store::channel(&channel, false);
    }
}
