//! An instance's store, with the bounds that hold for components of every world.

use std::sync::Arc;

use sc_core::config::GuestConfig;
use sc_core::controller::StartError;
use wasmtime::Store;

use crate::engine::Engine;
use crate::fault;
use crate::meter::Meter;
use crate::quota::Quota;
use crate::voice::Voice;

/// Handles that a guest may hold to the host's objects.
const HANDLES: usize = 10_000;
/// Bytes that a guest may hand over in one call of a host function.
const HOSTCALL_BYTES: usize = 64 * 1024 * 1024;

/// Data of a store that count what the instance holds.
pub(crate) trait Bounded {
    fn quota(&mut self) -> &mut Quota;
}

/// A store in which nothing was instantiated yet, and the clock of its calls.
pub(crate) fn confined<T: Bounded + 'static>(
    engine: &Engine,
    data: T,
    voice: Voice,
) -> (Store<T>, Arc<Meter>) {
    let mut store = Store::new(&engine.inner, data);
    store.limiter(|data| data.quota());
    store.set_hostcall_fuel(HOSTCALL_BYTES);
    store.set_max_component_handles(HANDLES);
    store.set_epoch_deadline(1);
    let meter = Arc::new(Meter::new(voice));
    let ticked = Arc::clone(&meter);
    store.epoch_deadline_callback(move |_| ticked.tick());
    (store, meter)
}

/// Why no instance could be made in a store. A component that was linked fits, so it is its own code that failed: that
/// of a start function, or memory that it wants at once.
pub(crate) fn unmade<T: Bounded>(
    store: &mut Store<T>,
    config: &GuestConfig,
    voice: &Voice,
    error: &wasmtime::Error,
) -> StartError {
    let refused = store.data_mut().quota().was_refused();
    StartError::Failed(fault::of(error, refused, config.memory_max, voice.last_lines()))
}
