//! Guests against their limits. Components are written in WebAssembly text, so that each holds exactly the one
//! misbehaviour it is for.

mod component;
mod faults;
mod files;
mod limits;
mod normal;
mod stage;
