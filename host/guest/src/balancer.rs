//! Controllers of balancers: components of the world `balancer`. They share the engine, the cache and the limits with
//! those of workers. What a call asks for is checked when it is asked, and comes back with the call.

mod rulings;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use sc_core::config::GuestConfig;
use sc_core::controller::{
    Arrival, BalancerController, BalancerControllerSource, CallError, ComponentRef, Generation, Ruling,
    Snapshot, SnapshotError, StartError, StartInfo,
};
use sc_core::limits::SNAPSHOT_MAX;
use sc_core::log::Occasion;
use wasmtime::Store;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::bindings;
use crate::bindings::balancer::exports::socketcluster::controller as wit;
use crate::cache;
use crate::confined::{Bounded, confined, unmade};
use crate::engine::{Engine, Ticker};
use crate::error::{GuestError, chain};
use crate::fault;
use crate::meter::Meter;
use crate::quota::Quota;
use crate::source::START_FACTOR;
use crate::voice::Voice;

/// What one instance's store holds.
pub(crate) struct Door {
    pub(crate) voice: Voice,
    rulings: Vec<Ruling>,
    ruling_bytes: usize,
    quota: Quota,
    table: ResourceTable,
    wasi: WasiCtx,
}

impl Bounded for Door {
    fn quota(&mut self) -> &mut Quota {
        &mut self.quota
    }
}

impl WasiView for Door {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Where a component keeps what it exports.
#[derive(Clone)]
struct Exports {
    lifecycle: Option<wit::lifecycle::GuestIndices>,
    state: Option<wit::state::GuestIndices>,
    arrivals: wit::arrivals::GuestIndices,
}

/// A component, ready to be instantiated.
pub(crate) struct Linked {
    instance: InstancePre<Door>,
    exports: Exports,
}

/// The guests of one balancer process.
pub struct BalancerGuests {
    engine: Engine,
    /// The component that was linked last, by its hash.
    linked: RefCell<Option<(String, Rc<Linked>)>>,
    _ticker: Arc<Ticker>,
}

impl BalancerGuests {
    /// Sets up what instances share, and starts the ticker of epochs.
    pub fn new(engine: &Engine) -> Result<Self, GuestError> {
        let ticker = engine.ticker()?;
        Ok(BalancerGuests { engine: engine.clone(), linked: RefCell::default(), _ticker: ticker })
    }

    fn load(&self, component: &ComponentRef) -> Result<Rc<Linked>, GuestError> {
        if let Some((_, linked)) = self.linked.borrow().as_ref().filter(|(hash, _)| *hash == component.hash) {
            return Ok(Rc::clone(linked));
        }
        let compiled = cache::load(&self.engine, &component.compiled)?;
        let linked = Rc::new(link(&self.engine, &compiled)?);
        *self.linked.borrow_mut() = Some((component.hash.clone(), Rc::clone(&linked)));
        Ok(linked)
    }
}

impl bindings::socketcluster::controller::types::Host for Door {}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<Door>> {
    let mut linker = Linker::new(&engine.inner);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    bindings::socketcluster::controller::types::add_to_linker::<_, HasSelf<Door>>(&mut linker, |door| door)?;
    bindings::socketcluster::controller::log::add_to_linker::<_, HasSelf<Door>>(&mut linker, |door| door)?;
    bindings::balancer::socketcluster::controller::verdicts::add_to_linker::<_, HasSelf<Door>>(
        &mut linker,
        |door| door,
    )?;
    Ok(linker)
}

/// Links a compiled component, or says what keeps it from fitting the world.
pub(crate) fn link(engine: &Engine, component: &Component) -> Result<Linked, GuestError> {
    let unfit = |error: wasmtime::Error| {
        GuestError::Unfit(format!("it is no component of the world `balancer`: {}", chain(&error)))
    };
    let linker = linker(engine).map_err(|error| GuestError::Engine(chain(&error)))?;
    let instance = linker.instantiate_pre(component).map_err(unfit)?;
    let has =
        |name: &str| component.get_export(None, format!("socketcluster:controller/{name}@0.1.0")).is_some();
    let lifecycle = has("lifecycle").then(|| wit::lifecycle::GuestIndices::new(&instance)).transpose();
    let state = has("state").then(|| wit::state::GuestIndices::new(&instance)).transpose();
    let exports = Exports {
        lifecycle: lifecycle.map_err(unfit)?,
        state: state.map_err(unfit)?,
        arrivals: wit::arrivals::GuestIndices::new(&instance).map_err(unfit)?,
    };
    Ok(Linked { instance, exports })
}

impl BalancerControllerSource for BalancerGuests {
    type Instance = BalancerGuest;

    async fn start(&self, generation: &Generation, info: &StartInfo) -> Result<BalancerGuest, StartError> {
        let (component, config) = (&generation.component, &generation.guest);
        let linked = self.load(component).map_err(|error| StartError::Load(error.to_string()))?;
        let voice = Voice::new(generation, None);
        voice.begin("start");
        let door = Door {
            voice: voice.clone(),
            rulings: Vec::new(),
            ruling_bytes: 0,
            quota: Quota::new(config.memory_max),
            table: ResourceTable::new(),
            wasi: WasiCtxBuilder::new()
                .stdout(voice.stdout())
                .stderr(voice.stderr())
                .envs(&config.env)
                .build(),
        };
        let (mut store, meter) = confined(&self.engine, door, voice.clone());
        let instantiated = linked.instance.instantiate_async(&mut store);
        let instance = meter.run(config.cpu_per_call, START_FACTOR, instantiated).await;
        let instance = instance.map_err(|error| unmade(&mut store, config, &voice, &error))?;
        let load = |error: wasmtime::Error| StartError::Load(GuestError::Unfit(chain(&error)).to_string());
        let Exports { lifecycle, state, arrivals } = &linked.exports;
        let lifecycle = lifecycle.as_ref().map(|it| it.load(&mut store, &instance)).transpose();
        let state = state.as_ref().map(|it| it.load(&mut store, &instance)).transpose();
        let mut guest = BalancerGuest {
            lifecycle: lifecycle.map_err(load)?,
            state: state.map_err(load)?,
            arrivals: arrivals.load(&mut store, &instance).map_err(load)?,
            store,
            voice,
            config: config.clone(),
            meter,
        };
        guest.begin(info).await?;
        Ok(guest)
    }
}

/// A live instance.
pub struct BalancerGuest {
    store: Store<Door>,
    lifecycle: Option<wit::lifecycle::Guest>,
    state: Option<wit::state::Guest>,
    arrivals: wit::arrivals::Guest,
    voice: Voice,
    config: GuestConfig,
    meter: Arc<Meter>,
}

impl BalancerGuest {
    async fn begin(&mut self, info: &StartInfo) -> Result<(), StartError> {
        let (meter, most) = (Arc::clone(&self.meter), self.config.cpu_per_call);
        if let Some(lifecycle) = self.lifecycle.clone() {
            self.prepare("start");
            let info = crate::lower::start_info(info);
            match meter.run(most, START_FACTOR, lifecycle.call_on_start(&mut self.store, &info)).await {
                Ok(Ok(())) => {}
                Ok(Err(refused)) => return Err(StartError::refused(&refused)),
                Err(error) => return Err(StartError::Failed(self.ended(&error))),
            }
        }
        Ok(())
    }

    /// Makes ready for a call. What was asked for while no request was there is nobody's.
    fn prepare(&mut self, occasion: &(impl Occasion + ?Sized)) {
        let door = self.store.data_mut();
        door.quota.begin();
        door.rulings.clear();
        door.ruling_bytes = 0;
        self.store.set_epoch_deadline(1);
        self.voice.begin(occasion);
    }

    fn ended(&mut self, error: &wasmtime::Error) -> CallError {
        let refused = self.store.data().quota.was_refused();
        fault::of(error, refused, self.config.memory_max, self.voice.last_lines())
    }
}

impl BalancerController for BalancerGuest {
    async fn arrive(&mut self, arrival: &Arrival) -> Result<Vec<Ruling>, CallError> {
        self.prepare(arrival);
        let (meter, most) = (Arc::clone(&self.meter), self.config.cpu_per_call);
        let head = wit::arrivals::Head {
            method: arrival.method.clone(),
            target: arrival.target.clone(),
            headers: arrival.headers.clone(),
            address: arrival.address.clone(),
            secure: arrival.secure,
        };
        let (store, on) = (&mut self.store, &self.arrivals);
        let called = async {
            match arrival.is_upgrade {
                true => on.call_on_upgrade(store, &head).await,
                false => on.call_on_request(store, &head).await,
            }
        };
        match meter.run(most, 1, called).await {
            Ok(()) => Ok(std::mem::take(&mut self.store.data_mut().rulings)),
            Err(error) => Err(self.ended(&error)),
        }
    }

    async fn snapshot(&mut self) -> Result<Option<Snapshot>, SnapshotError> {
        let Some(state) = self.state.clone() else { return Ok(None) };
        self.prepare("snapshot");
        let (meter, most) = (Arc::clone(&self.meter), self.config.cpu_per_call);
        let (version, data) = match meter.run(most, START_FACTOR, state.call_snapshot(&mut self.store)).await
        {
            Ok(snapshot) => snapshot,
            Err(error) => return Err(SnapshotError::Failed(self.ended(&error))),
        };
        match data.len() {
            bytes if bytes > SNAPSHOT_MAX => Err(SnapshotError::TooLarge { bytes, max: SNAPSHOT_MAX }),
            _ => Ok(Some(Snapshot { version, data })),
        }
    }

    async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), StartError> {
        let Some(state) = self.state.clone() else { return Ok(()) };
        let (meter, most) = (Arc::clone(&self.meter), self.config.cpu_per_call);
        self.prepare("restore");
        let restored = state.call_restore(&mut self.store, snapshot.version, &snapshot.data);
        match meter.run(most, START_FACTOR, restored).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refused)) => Err(StartError::refused(&format!("restore: {refused}"))),
            Err(error) => Err(StartError::Failed(self.ended(&error))),
        }
    }
}
