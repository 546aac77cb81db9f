//! The bindings of world `store`, generated from `wit/`. Public because `#[store_controller]` expands to their
//! exports; nothing else should name them.

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
    world: "store",
    pub_export_macro: true,
    export_macro_name: "export_store",
    default_bindings_module: "sc_sdk::store_bindings",
    with: {
        "socketcluster:controller/types@0.1.0": crate::bindings::socketcluster::controller::types,
        "socketcluster:controller/log@0.1.0": crate::bindings::socketcluster::controller::log,
    },
});
