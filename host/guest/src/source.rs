//! Where instances come from: a compiled component is mapped and linked once, and every instance starts from that.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use sc_core::config::GuestConfig;
use sc_core::controller::{
    Command, ComponentRef, ControllerSource, Generation, HostAccess, StartError, StartInfo,
};
use wasmtime::component::{InstancePre, Linker};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use crate::cache;
use crate::confined::{confined, unmade};
use crate::context::Context;
use crate::engine::{Engine, Ticker};
use crate::error::{GuestError, chain};
use crate::fit;
use crate::imports;
use crate::inspect;
use crate::instance::{Exports, Guest};
use crate::voice::Voice;

/// Starting, restoring and snapshots may use so many times the CPU of a call: language runtimes set themselves up.
pub(crate) const START_FACTOR: u32 = 20;
/// Components that stay loaded: the running one, and the one before in case it comes back.
const LOADED: usize = 2;

/// A component, ready to be instantiated.
#[derive(Clone)]
struct Loaded {
    hash: String,
    instance: InstancePre<Context>,
    exports: Exports,
}

/// The guests of one worker process.
pub struct Guests {
    engine: Engine,
    is_middleware: bool,
    linker: Linker<Context>,
    /// The last one first.
    loaded: RefCell<VecDeque<Rc<Loaded>>>,
    _ticker: Arc<Ticker>,
}

impl Guests {
    /// Sets up what the instances of a worker's controller share; the ticker of epochs runs from now on.
    pub fn new(engine: &Engine) -> Result<Self, GuestError> {
        Self::of(engine, false)
    }

    /// The same for a middleware.
    pub fn middleware(engine: &Engine) -> Result<Self, GuestError> {
        Self::of(engine, true)
    }

    fn of(engine: &Engine, is_middleware: bool) -> Result<Self, GuestError> {
        let (linker, ticker) = (linker(engine)?, engine.ticker()?);
        let (engine, loaded) = (engine.clone(), RefCell::default());
        Ok(Guests { engine, is_middleware, linker, loaded, _ticker: ticker })
    }

    fn load(&self, component: &ComponentRef) -> Result<Rc<Loaded>, StartError> {
        if let Some(loaded) = self.loaded.borrow().iter().find(|loaded| loaded.hash == component.hash) {
            return Ok(Rc::clone(loaded));
        }
        let refuse = |error: GuestError| StartError::Load(error.to_string());
        let compiled = cache::load(&self.engine, &component.compiled).map_err(refuse)?;
        let exported = inspect::our_exports(&self.engine, &compiled);
        let linked = fit::link(&self.engine, &self.linker, &compiled).map_err(|misfits| misfits.join("; "));
        // A component of another world is mostly wrong in both ways: all is said at once.
        let (exported, instance) = match (exported, linked) {
            (Ok(exported), Ok(instance)) => (exported, instance),
            (Ok(_), Err(misfits)) => return Err(refuse(GuestError::Unfit(misfits))),
            (Err(world), Ok(_)) => return Err(refuse(world)),
            (Err(world), Err(misfits)) => return Err(StartError::Load(format!("{world}; {misfits}"))),
        };
        if self.is_middleware {
            let unlike = fit::unlike_middleware(&self.engine, &compiled, &exported);
            if !unlike.is_empty() {
                return Err(refuse(GuestError::NoMiddleware(unlike.join("; "))));
            }
        }
        let exports = Exports::find(&instance, &exported)
            .map_err(|error| StartError::Load(GuestError::Unfit(error).to_string()))?;
        let loaded = Rc::new(Loaded { hash: component.hash.clone(), instance, exports });
        let mut kept = self.loaded.borrow_mut();
        kept.push_front(Rc::clone(&loaded));
        kept.truncate(LOADED);
        Ok(loaded)
    }
}

fn wasi(config: &GuestConfig, voice: &Voice) -> Result<WasiCtx, StartError> {
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdout(voice.stdout()).stderr(voice.stderr()).envs(&config.env);
    for dir in &config.dirs {
        let rights =
            if dir.write { wasmtime_wasi::FsPerms::ReadWrite } else { wasmtime_wasi::FsPerms::ReadOnly };
        wasi.preopened_dir(&dir.host, &dir.guest, rights).map_err(|error| {
            StartError::Load(format!(
                "the folder {} cannot be granted: {}",
                dir.host.display(),
                chain(&error)
            ))
        })?;
    }
    Ok(wasi.build())
}

pub(crate) fn linker(engine: &Engine) -> Result<Linker<Context>, GuestError> {
    let mut linker = Linker::new(&engine.inner);
    imports::add_to_linker(&mut linker).map_err(|error| GuestError::Engine(chain(&error)))?;
    Ok(linker)
}

impl ControllerSource for Guests {
    type Instance = Guest;

    async fn start(
        &self,
        generation: &Generation,
        info: &StartInfo,
        access: &HostAccess,
    ) -> Result<(Guest, Vec<Command>), StartError> {
        let (component, config) = (&generation.component, &generation.guest);
        let loaded = self.load(component)?;
        let voice = Voice::new(generation, Some(Rc::clone(&access.view)));
        voice.begin("start");
        let context = Context::new(voice.clone(), access, wasi(config, &voice)?, config.memory_max);
        let (mut store, meter) = confined(&self.engine, context, voice.clone());
        let instantiated = loaded.instance.instantiate_async(&mut store);
        let instance = meter.run(config.cpu_per_call, START_FACTOR, instantiated).await;
        let instance = instance.map_err(|error| unmade(&mut store, config, &voice, &error))?;
        let load = |error: wasmtime::Error| StartError::Load(GuestError::Unfit(chain(&error)).to_string());
        let handlers = loaded.exports.load(&mut store, &instance).map_err(load)?;
        let mut guest = Guest { store, handlers, voice, config: config.clone(), meter };
        guest.begin(info).await?;
        let commands = guest.store.data_mut().take_commands();
        Ok((guest, commands))
    }
}

impl Guest {
    async fn begin(&mut self, info: &StartInfo) -> Result<(), StartError> {
        let (meter, most) = (Arc::clone(&self.meter), self.config.cpu_per_call);
        let Some(lifecycle) = self.handlers.lifecycle.clone() else { return Ok(()) };
        let info = crate::lower::start_info(info);
        self.prepare("start");
        match meter.run(most, START_FACTOR, lifecycle.call_on_start(&mut self.store, &info)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refused)) => Err(StartError::refused(&refused)),
            Err(error) => Err(StartError::Failed(self.ended(&error))),
        }
    }
}
