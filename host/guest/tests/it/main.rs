//! Guests against their limits. Components are written in WebAssembly text, so that each holds exactly the one
//! misbehaviour it is for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod component;
mod faults;
mod files;
mod limits;
mod normal;
mod stage;
