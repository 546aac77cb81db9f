//! The bindings of world `middleware`, generated from `wit/`, for `sc-sdk`. A crate of their own: what exports an
//! interface is a macro at a crate's root, where that of the worker's world has the same name. Nothing but `sc-sdk`
//! and what `#[middleware]` expands to should name anything in here.

/// What was generated.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    unsafe_code,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::unreachable,
    clippy::unwrap_used,
    clippy::uninlined_format_args,
    reason = "generated code: it speaks the component ABI, which is raw pointers"
)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        world: "middleware",
        pub_export_macro: true,
        export_macro_name: "export_middleware",
        default_bindings_module: "sc_sdk_middleware::bindings",
    });
}

pub use bindings::exports::socketcluster::controller::fetch_answers::Response;
pub use bindings::exports::socketcluster::controller::request_actions::Request;
use bindings::exports::socketcluster::controller::{
    actions, client_answers, fetch_answers, keyspace_answers, lifecycle, publish_answers, request_actions,
    socket_ends, state, timer_events,
};
pub use bindings::socketcluster::controller::types::{Failure, Problem, StartInfo};

/// An answer to what was asked: data, or the failure.
pub type Outcome = Result<Option<String>, Failure>;

/// What the host's calls do.
#[derive(Clone, Copy, Debug)]
pub struct Calls {
    /// An action waits: its id, line, socket, name and data.
    pub action: fn(u64, &str, u64, String, Option<String>),
    /// A request waits: its id, line, name and head.
    pub request: fn(u64, &str, String, Request),
    /// A socket that was decided about is over.
    pub end: fn(u64),
    /// A timer is due.
    pub timer: fn(u64),
    /// A client, a store, or the store of a channel answered.
    pub answer: fn(u64, Outcome),
    /// Another server answered.
    pub fetched: fn(u64, Result<Response, Failure>),
    /// The state to be carried over a swap.
    pub snapshot: fn() -> (u32, Vec<u8>),
    /// What was carried over.
    pub restore: fn(u32, &[u8]) -> Result<(), String>,
}

/// A component whose function is under `#[middleware]`.
pub trait Entry {
    /// What the host's calls do.
    const CALLS: Calls;

    /// Sets the middleware up; an error refuses to start.
    fn start(info: StartInfo) -> Result<(), String>;
}

impl<E: Entry> lifecycle::Guest for E {
    fn on_start(info: StartInfo) -> Result<(), String> {
        E::start(info)
    }
}

impl<E: Entry> state::Guest for E {
    fn snapshot() -> (u32, Vec<u8>) {
        (E::CALLS.snapshot)()
    }

    fn restore(version: u32, data: Vec<u8>) -> Result<(), String> {
        (E::CALLS.restore)(version, &data)
    }
}

impl<E: Entry> actions::Guest for E {
    fn on_action(id: u64, line: String, socket: u64, name: String, data: Option<String>) {
        (E::CALLS.action)(id, &line, socket, name, data);
    }
}

impl<E: Entry> request_actions::Guest for E {
    fn on_request_action(id: u64, line: String, name: String, request: Request) {
        (E::CALLS.request)(id, &line, name, request);
    }
}

impl<E: Entry> socket_ends::Guest for E {
    fn on_socket_end(socket: u64) {
        (E::CALLS.end)(socket);
    }
}

impl<E: Entry> timer_events::Guest for E {
    fn on_timer(timer: u64) {
        (E::CALLS.timer)(timer);
    }
}

impl<E: Entry> client_answers::Guest for E {
    fn on_client_answer(to: u64, outcome: Outcome) {
        (E::CALLS.answer)(to, outcome);
    }
}

impl<E: Entry> keyspace_answers::Guest for E {
    fn on_value(to: u64, outcome: Outcome) {
        (E::CALLS.answer)(to, outcome);
    }
}

impl<E: Entry> publish_answers::Guest for E {
    fn on_published(to: u64, outcome: Result<(), Failure>) {
        (E::CALLS.answer)(to, outcome.map(|()| None));
    }
}

impl<E: Entry> fetch_answers::Guest for E {
    fn on_fetched(to: u64, outcome: Result<Response, Failure>) {
        (E::CALLS.fetched)(to, outcome);
    }
}
