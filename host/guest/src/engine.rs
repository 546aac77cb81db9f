//! The engine: its settings, in one place, and the ticker of its epochs.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::Config;

use crate::error::{GuestError, chain};
use crate::fault::FRAMES;

/// Between two epochs: how long a guest runs before native work of its thread has a turn.
const TICK: Duration = Duration::from_millis(5);
/// Stack of a guest's code; deeper recursion traps.
const STACK: usize = 1024 * 1024;

/// A wasmtime engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: wasmtime::Engine,
    ticker: Arc<Mutex<Weak<Ticker>>>,
}

impl Engine {
    /// The one ticker of this engine, which runs as long as somebody holds it.
    pub(crate) fn ticker(&self) -> Result<Arc<Ticker>, GuestError> {
        let mut known = self.ticker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ticker) = known.upgrade() {
            return Ok(ticker);
        }
        let ticker = Arc::new(Ticker::start(self.inner.clone())?);
        *known = Arc::downgrade(&ticker);
        Ok(ticker)
    }
}

/// An engine as every process of the host sets it up; compiled components fit all of them.
pub fn engine() -> Result<Engine, GuestError> {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .concurrency_support(false)
        .max_wasm_stack(STACK)
        .async_stack_size(2 * STACK)
        .wasm_backtrace_max_frames(NonZeroUsize::new(FRAMES));
    let inner = wasmtime::Engine::new(&config).map_err(|error| GuestError::Engine(chain(&error)))?;
    Ok(Engine { inner, ticker: Arc::default() })
}

/// Ticks an engine's epochs from a thread of its own, until it is dropped.
pub(crate) struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: wasmtime::Engine) -> Result<Self, GuestError> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("epochs".to_owned())
            .spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    std::thread::sleep(TICK);
                    engine.increment_epoch();
                }
            })
            .map_err(|error| GuestError::Engine(format!("no thread for its epochs: {error}")))?;
        Ok(Ticker { stop, thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to panic about, and nobody could use the news.
            let _ = thread.join();
        }
    }
}
