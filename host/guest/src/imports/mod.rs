//! What guests import: one file per interface, named as in `wit/`. A command is checked and appended to the running
//! call's buffer; an error here fails the call.

mod auth_keys;
mod exchange;
mod gate;
pub(crate) mod http;
mod keyspace;
mod log;
mod presence;
mod sessions;
mod setup;
mod sockets;
mod timers;
mod tokens;

use wasmtime::component::{HasSelf, Linker};

use crate::bindings::socketcluster::controller as wit;
use crate::context::Context;

impl wit::types::Host for Context {}

/// Offers every import: the controller's commands, and WASI.
pub(crate) fn add_to_linker(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wit::types::add_to_linker::<_, HasSelf<Context>>(linker, |context| context)?;
    wit::setup::add_to_linker::<_, HasSelf<Context>>(linker, |context| context)?;
    wit::gate::add_to_linker::<_, HasSelf<Context>>(linker, |context| context)?;
    wit::sockets::add_to_linker::<_, HasSelf<Context>>(linker, |context| context)?;
    wit::sessions::add_to_linker::<_, HasSelf<Context>>(linker, |context| context)?;
    wit::exchange::add_to_linker::<_, HasSelf<Context>>(linker, |context| context)?;
    wit::presence::add_to_linker::<_, HasSelf<Context>>(linker, |context| context)?;
    wit::keyspace::add_to_linker::<_, HasSelf<Context>>(linker, |context| context)?;
    wit::timers::add_to_linker::<_, HasSelf<Context>>(linker, |context| context)?;
    wit::auth_keys::add_to_linker::<_, HasSelf<Context>>(linker, |context| context)?;
    wit::tokens::add_to_linker::<_, HasSelf<Context>>(linker, |context| context)?;
    wit::http::add_to_linker::<_, HasSelf<Context>>(linker, |context| context)?;
    wit::log::add_to_linker::<_, HasSelf<Context>>(linker, |context| context)?;
    Ok(())
}
