//! The bindings of world `worker`, generated from `wit/`. Public because `#[controller]` expands to their exports;
//! nothing else should name them.

#![allow(
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

wit_bindgen::generate!({
    path: "../../wit",
    world: "worker",
    pub_export_macro: true,
    default_bindings_module: "sc_sdk::bindings",
});
