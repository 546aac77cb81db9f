//! What ended a call, for the guest's author: the trap, where in the guest, and what it said last.

use sc_core::controller::{CallError, Fault};
use sc_core::log::{cut, told};
use wasmtime::WasmBacktrace;
use wasmtime_wasi::I32Exit;

use crate::context::Ended;

/// Functions of the guest that an error names; as many frames are walked.
pub(crate) const FRAMES: usize = 32;
/// Bytes of each name: those of generic functions have no end.
const NAME_MAX: usize = 250;

/// The error of a failed call. `refused` tells of memory that the guest asked for and did not get; `last_lines`
/// are what it wrote to stderr during the call.
pub(crate) fn of(
    error: &wasmtime::Error,
    refused: bool,
    memory_max: usize,
    last_lines: Vec<String>,
) -> CallError {
    let (fault, message) = if let Some(ended) = error.downcast_ref::<Ended>() {
        (ended.fault, told(&ended.message))
    } else if let Some(exit) = error.downcast_ref::<I32Exit>() {
        (Fault::Trap, format!("it exited with status {}", exit.0))
    } else if refused {
        let text =
            format!("it may use {} of memory and asked for more: {}", readable(memory_max), root(error));
        (Fault::Memory, text)
    } else {
        (Fault::Trap, root(error))
    };
    CallError { fault, message, backtrace: backtrace(error), last_lines }
}

fn root(error: &wasmtime::Error) -> String {
    told(&error.root_cause().to_string())
}

/// The functions of the guest, innermost first, without what every panic passes through. Those of a component without
/// names have numbers.
fn backtrace(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let names = backtrace.frames().iter().map(|frame| match frame.func_name() {
        Some(name) => cut(&readable_name(name), NAME_MAX).to_owned(),
        None => format!("function {}", frame.func_index()),
    });
    names.filter(|name| !is_panic_machinery(name)).collect()
}

/// A Rust function's path without its hash; names of other languages stay as they are.
fn readable_name(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

fn is_panic_machinery(name: &str) -> bool {
    const MACHINERY: [&str; 17] = [
        "alloc::alloc::handle_alloc_error",
        "alloc::raw_vec::handle_error",
        "core::panicking::",
        "core::cell::panic",
        "core::slice::index::",
        "core::str::slice_error",
        "core::option::expect_failed",
        "core::option::unwrap_failed",
        "core::result::unwrap_failed",
        "std::alloc::",
        "std::panicking::",
        "std::process::abort",
        "std::sys::",
        "__rustc::",
        "__rust",
        "rust_panic",
        "abort",
    ];
    MACHINERY.iter().any(|start| name.starts_with(start))
}

fn readable(bytes: usize) -> String {
    const MIB: usize = 1 << 20;
    if bytes.is_multiple_of(MIB) { format!("{} MiB", bytes / MIB) } else { format!("{bytes} bytes") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_readable_and_panics_lose_their_machinery() {
        assert_eq!(readable_name("_ZN3app4ping17h0123456789abcdefE"), "app::ping");
        assert_eq!(readable_name("_RNvCshXfaRvt2tfW_3app4ping"), "app::ping");
        assert_eq!(readable_name("on_message"), "on_message");
        for machinery in ["_RNvCsfLfy6EI15iL_7___rustc10rust_panic", "_RNvNtCshXfaRvt2tfW_3std7process5abort"]
        {
            assert!(is_panic_machinery(&readable_name(machinery)), "{machinery}");
        }
        assert!(!is_panic_machinery("app::panicking::ping"));
    }
}
