//! The only bindings to the WIT package. Exports are bound one interface at a time, because each is optional.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated code")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "worker",
    imports: { default: trappable },
    exports: { default: async },
});
