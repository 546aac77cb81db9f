//! The only bindings to the WIT package. A worker's exports are bound one interface at a time, because each is
//! optional.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated code")]

/// The world of balancers' controllers.
pub mod balancer {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "balancer",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "socketcluster:controller/types": super::socketcluster::controller::types,
            "socketcluster:controller/log": super::socketcluster::controller::log,
        },
    });
}

/// The world of stores' controllers; what it has in common with that of workers is bound once.
pub mod store {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "store",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "socketcluster:controller/types": super::socketcluster::controller::types,
            "socketcluster:controller/log": super::socketcluster::controller::log,
        },
    });
}

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "worker",
    imports: { default: trappable },
    exports: { default: async },
});
