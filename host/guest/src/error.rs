//! What is wrong with a component, before any of its code runs. The texts are for its author.

use std::path::PathBuf;

/// A component that cannot be used, or a cache that cannot.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The bytes are no WebAssembly.
    #[error("this is not a WebAssembly file (it does not start with \"\\0asm\")")]
    NotWasm,
    /// A core module.
    #[error(
        "this is a core WebAssembly module, not a component: build it for the target wasm32-wasip2, or wrap it with \
         `wasm-tools component new`"
    )]
    CoreModule,
    /// The component is broken, or uses what this host does not have.
    #[error("this component cannot be compiled: {0}")]
    Invalid(String),
    /// The component's functions are asynchronous in the component model's sense.
    #[error(
        "this component uses the component model's async ABI, which this host does not run; build it with \
         synchronous functions (JavaScript: `componentize-qjs --sync`): {0}"
    )]
    AsyncAbi(String),
    /// None of its exports is ours.
    #[error(
        "this component is no controller: it exports none of the interfaces of socketcluster:controller@0.1.0 \
         (lifecycle, connections, messages, ...). It exports: {found}"
    )]
    WrongWorld {
        /// What it exports.
        found: String,
    },
    /// It is a controller of another kind.
    #[error(
        "this component is no middleware (the world `middleware` of socketcluster:controller@0.1.0): {0}"
    )]
    NoMiddleware(String),
    /// It answers no HTTP requests.
    #[error(
        "this component is no site: it does not export wasi:http/incoming-handler@0.2 (the world `proxy` of \
         wasi:http 0.2). It exports: {found}"
    )]
    NoSite {
        /// What it exports.
        found: String,
    },
    /// It imports something that this host does not offer, or in another shape.
    #[error("this component does not fit this host: {0}")]
    Unfit(String),
    /// The engine refused its settings.
    #[error("the WebAssembly engine cannot be set up: {0}")]
    Engine(String),
    /// The cache's folder.
    #[error("the cache folder {} cannot be used: {reason}", path.display())]
    Cache {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl GuestError {
    /// What the compiler says of a component that it refuses.
    pub(crate) fn uncompiled(error: &wasmtime::Error) -> Self {
        let text = chain(error);
        // The validator's errors have no type, only this sentence.
        if text.contains("requires the component model async")
            || text.contains("require the component model async")
        {
            GuestError::AsyncAbi(text)
        } else {
            GuestError::Invalid(text)
        }
    }
}

/// Everything an error of wasmtime tells, in one line.
pub(crate) fn chain(error: &wasmtime::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}
