//! Controllers of stores: components of the world `store`. They share the engine, the cache and the limits with those
//! of workers, but their host functions work at once, on the data of the running procedure.

mod values;

use std::rc::Rc;
use std::sync::Arc;

use sc_core::config::GuestConfig;
use sc_core::controller::{
    CallError, Failure, Generation, Json, ProcedureData, StartError, StartInfo, StoreCall, StoreController,
    StoreControllerSource,
};
use sc_core::log::Occasion;
use send_wrapper::SendWrapper;
use wasmtime::Store;
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::bindings;
use crate::bindings::socketcluster::controller::types;
use crate::bindings::store::StorePre;
use crate::cache;
use crate::confined::{Bounded, confined, unmade};
use crate::context::json;
use crate::engine::{Engine, Ticker};
use crate::error::{GuestError, chain};
use crate::fault;
use crate::lift;
use crate::meter::Meter;
use crate::quota::Quota;
use crate::source::START_FACTOR;
use crate::voice::Voice;

/// What one instance's store holds.
pub(crate) struct Desk {
    pub(crate) voice: Voice,
    /// Only touched by the thread that made it.
    data: SendWrapper<Rc<dyn ProcedureData>>,
    quota: Quota,
    table: ResourceTable,
    wasi: WasiCtx,
}

impl Bounded for Desk {
    fn quota(&mut self) -> &mut Quota {
        &mut self.quota
    }
}

impl Desk {
    fn data(&self) -> &dyn ProcedureData {
        &**self.data
    }
}

impl WasiView for Desk {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// The guests of one store process.
pub struct StoreGuests {
    engine: Engine,
    _ticker: Arc<Ticker>,
}

impl StoreGuests {
    /// Sets up what instances share, and starts the ticker of epochs.
    pub fn new(engine: &Engine) -> Result<Self, GuestError> {
        Ok(StoreGuests { engine: engine.clone(), _ticker: engine.ticker()? })
    }
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<Desk>> {
    let mut linker = Linker::new(&engine.inner);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    bindings::socketcluster::controller::types::add_to_linker::<_, HasSelf<Desk>>(&mut linker, |desk| desk)?;
    bindings::socketcluster::controller::log::add_to_linker::<_, HasSelf<Desk>>(&mut linker, |desk| desk)?;
    bindings::store::socketcluster::controller::values::add_to_linker::<_, HasSelf<Desk>>(
        &mut linker,
        |desk| desk,
    )?;
    Ok(linker)
}

/// Links a compiled component, or says what keeps it from fitting the world.
pub(crate) fn link(engine: &Engine, component: &Component) -> Result<StorePre<Desk>, GuestError> {
    let unfit = |error: wasmtime::Error| {
        GuestError::Unfit(format!("it is no component of the world `store`: {}", chain(&error)))
    };
    let linker = linker(engine).map_err(|error| GuestError::Engine(chain(&error)))?;
    StorePre::new(linker.instantiate_pre(component).map_err(unfit)?).map_err(unfit)
}

impl StoreControllerSource for StoreGuests {
    type Instance = StoreGuest;

    async fn start(
        &self,
        generation: &Generation,
        info: &StartInfo,
        data: Rc<dyn ProcedureData>,
    ) -> Result<StoreGuest, StartError> {
        let (component, config) = (&generation.component, &generation.guest);
        let refuse = |error: GuestError| StartError::Load(error.to_string());
        let compiled = cache::load(&self.engine, &component.compiled).map_err(refuse)?;
        let linked = link(&self.engine, &compiled).map_err(refuse)?;
        let voice = Voice::new(generation, None);
        voice.begin("start");
        let desk = Desk {
            voice: voice.clone(),
            data: SendWrapper::new(data),
            quota: Quota::new(config.memory_max),
            table: ResourceTable::new(),
            wasi: WasiCtxBuilder::new().stdout(voice.stdout()).stderr(voice.stderr()).build(),
        };
        let (mut store, meter) = confined(&self.engine, desk, voice.clone());
        let instantiated = linked.instantiate_async(&mut store);
        let world = meter.run(config.cpu_per_call, START_FACTOR, instantiated).await;
        let world = world.map_err(|error| unmade(&mut store, config, &voice, &error))?;
        let mut guest = StoreGuest { store, world, voice, config: config.clone(), meter };
        guest.begin(info).await?;
        Ok(guest)
    }
}

/// A live instance.
pub struct StoreGuest {
    store: Store<Desk>,
    world: bindings::store::Store,
    voice: Voice,
    config: GuestConfig,
    meter: Arc<Meter>,
}

impl StoreGuest {
    async fn begin(&mut self, info: &StartInfo) -> Result<(), StartError> {
        self.prepare("start");
        let (meter, most) = (Arc::clone(&self.meter), self.config.cpu_per_call);
        let info = crate::lower::start_info(info);
        let lifecycle = self.world.socketcluster_controller_store_lifecycle();
        match meter.run(most, START_FACTOR, lifecycle.call_on_start(&mut self.store, &info)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refused)) => Err(StartError::refused(&refused)),
            Err(error) => Err(StartError::Failed(self.ended(&error))),
        }
    }

    fn prepare(&mut self, occasion: &(impl Occasion + ?Sized)) {
        self.store.data_mut().quota.begin();
        self.store.set_epoch_deadline(1);
        self.voice.begin(occasion);
    }

    fn ended(&mut self, error: &wasmtime::Error) -> CallError {
        let refused = self.store.data().quota.was_refused();
        fault::of(error, refused, self.config.memory_max, self.voice.last_lines())
    }
}

impl StoreController for StoreGuest {
    async fn run(
        &mut self,
        name: &str,
        argument: Option<&str>,
    ) -> Result<Result<Option<Json>, Failure>, CallError> {
        self.prepare(&StoreCall::Procedure(name));
        let (meter, most) = (Arc::clone(&self.meter), self.config.cpu_per_call);
        let argument = argument.map(str::to_owned);
        let procedures = self.world.socketcluster_controller_procedures();
        let called = procedures.call_on_run(&mut self.store, name, argument.as_ref());
        let outcome = meter.run(most, 1, called).await.and_then(checked);
        outcome.map_err(|error| self.ended(&error))
    }

    fn hears_channels(&self) -> bool {
        true
    }

    async fn channel(&mut self, channel: &str, is_subscribed: bool) -> Result<(), CallError> {
        self.prepare(&StoreCall::Channel(channel, is_subscribed));
        let (meter, most) = (Arc::clone(&self.meter), self.config.cpu_per_call);
        let events = self.world.socketcluster_controller_channel_events();
        let called = async {
            match is_subscribed {
                true => events.call_on_first_subscriber(&mut self.store, channel).await,
                false => events.call_on_last_subscriber(&mut self.store, channel).await,
            }
        };
        match meter.run(most, 1, called).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.ended(&error)),
        }
    }
}

/// What a procedure answered, with its texts checked.
fn checked(
    outcome: Result<Option<String>, types::Failure>,
) -> wasmtime::Result<Result<Option<Json>, Failure>> {
    const NAME: &str = "procedures.on-run";
    Ok(match outcome {
        Ok(Some(value)) => {
            json(NAME, &value)?;
            Ok(Some(value))
        }
        Ok(None) => Ok(None),
        Err(failure) => Err(lift::failure(NAME, failure)?.0),
    })
}
