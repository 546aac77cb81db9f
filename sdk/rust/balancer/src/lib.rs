//! The bindings of world `balancer`, generated from `wit/`, for `sc-sdk`. A crate of their own, for the reason that
//! those of world `middleware` have. Nothing but `sc-sdk` and what `#[balancer]` expands to should name anything in
//! here.

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
        world: "balancer",
        pub_export_macro: true,
        export_macro_name: "export_balancer",
        default_bindings_module: "sc_sdk_balancer::bindings",
    });
}

pub use bindings::exports::socketcluster::controller::arrivals::Head;
use bindings::exports::socketcluster::controller::{arrivals, lifecycle, state};
pub use bindings::socketcluster::controller::types::StartInfo;
pub use bindings::socketcluster::controller::verdicts;

/// What the host's calls do.
#[derive(Clone, Copy, Debug)]
pub struct Calls {
    /// A request came; whether it asks for a socket.
    pub arrival: fn(Head, bool),
    /// The state to be carried over a swap.
    pub snapshot: fn() -> (u32, Vec<u8>),
    /// What was carried over.
    pub restore: fn(u32, &[u8]) -> Result<(), String>,
}

/// A component whose function is under `#[balancer]`.
pub trait Entry {
    /// What the host's calls do.
    const CALLS: Calls;

    /// Sets the controller up; an error refuses to start.
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

impl<E: Entry> arrivals::Guest for E {
    fn on_request(request: Head) {
        (E::CALLS.arrival)(request, false);
    }

    fn on_upgrade(request: Head) {
        (E::CALLS.arrival)(request, true);
    }
}
