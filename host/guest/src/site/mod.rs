//! The site: a standard `wasi:http` component that answers requests.
//!
//! Each request has an instance of its own, which ends with it: nothing that a request does can reach another one. The
//! price is an instantiation for each, some ten microseconds, and that a component keeps nothing in its memory.
//!
//! An instance that fails before its answer begins costs its request a 500; one that fails later breaks the answer
//! off, so that the client never takes a part for the whole.

mod bodies;
mod context;
mod fit;
mod outbound;
mod places;

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, header, uri};
use http_body_util::BodyExt as _;
use sc_core::config::{GuestConfig, SiteConfig};
use sc_core::controller::{CallError, Fault, Generation, HttpCall, StartError};
use sc_core::log::{Described, FAULT, told};
use sc_core::site::{Answer, Body, Site, SiteError, SiteSource};
use tokio::sync::oneshot;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use wasmtime::Store;
use wasmtime::component::Resource;
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::p2::types::{HostIncomingRequest, HostResponseOutparam};

use self::bodies::{Intake, Progress, Streamed};
use self::context::SiteContext;
use self::outbound::Outbound;
use self::places::Places;
use crate::cache;
use crate::confined::confined;
use crate::context::Ended;
use crate::engine::{Engine, Ticker};
use crate::error::GuestError;
use crate::fault;
use crate::meter::Meter;
use crate::voice::Voice;

/// Says whether a compiled component can be this host's site, without running any of it.
pub fn check_site(engine: &Engine, compiled: &Path) -> Result<(), GuestError> {
    fit::link(engine, &cache::load(engine, compiled)?).map(drop)
}

/// Compiles a component and says what it imports and exports; an error if it can be no site.
pub fn inspect_site(bytes: &[u8]) -> Result<SiteInspection, GuestError> {
    fit::inspect(bytes)
}

pub use self::fit::{SiteInspection, is_site};

/// The sites of one worker process: one after the other, each a generation.
pub struct WasiSites {
    engine: Engine,
    config: SiteConfig,
    /// How long an instance may go on without anything coming in or going out.
    patience: Duration,
    places: Rc<Places>,
    ticker: Arc<Ticker>,
}

/// A `wasi:http` component, ready to answer.
pub struct WasiSite(Rc<Shared>);

/// What the instances share.
struct Shared {
    engine: Engine,
    /// What the log calls it.
    label: String,
    guest: GuestConfig,
    patience: Duration,
    proxy: ProxyPre<SiteContext>,
    outbound: Outbound,
    places: Rc<Places>,
    /// Instances whose answer has begun.
    answering: TaskTracker,
    _ticker: Arc<Ticker>,
}

/// One request's instance, not started yet.
struct Visit {
    store: Store<SiteContext>,
    meter: Arc<Meter>,
    request: Resource<HostIncomingRequest>,
    out: Resource<HostResponseOutparam>,
    voice: Voice,
    progress: Arc<Progress>,
    /// What the log calls the request.
    event: String,
}

/// What an instance hands over as its answer.
type Outcome = Result<Response<HyperOutgoingBody>, ErrorCode>;

impl WasiSites {
    /// Sets up what sites share; the ticker of epochs runs from now on. `patience` bounds how long an instance may
    /// give no sign of life.
    pub fn new(engine: &Engine, config: SiteConfig, patience: Duration) -> Result<Self, GuestError> {
        let (ticker, places) = (engine.ticker()?, Rc::new(Places::new(config.instances)));
        Ok(WasiSites { engine: engine.clone(), config, patience, places, ticker })
    }

    fn site(&self, generation: &Generation) -> Result<WasiSite, GuestError> {
        let (engine, component) = (&self.engine, &generation.component);
        let proxy = fit::link(engine, &cache::load(engine, &component.compiled)?)?;
        let label = generation.label().to_string();
        Ok(WasiSite(Rc::new(Shared {
            engine: engine.clone(),
            outbound: Outbound::new(&label, self.config.allow_hosts.clone())?,
            label,
            guest: generation.guest.clone(),
            patience: self.patience,
            proxy,
            places: Rc::clone(&self.places),
            answering: TaskTracker::new(),
            _ticker: Arc::clone(&self.ticker),
        })))
    }
}

impl SiteSource for WasiSites {
    fn load(&self, generation: &Generation) -> Result<Rc<dyn Site>, StartError> {
        let site = self.site(generation).map_err(|error| StartError::Load(error.to_string()))?;
        Ok(Rc::new(site))
    }
}

impl Site for WasiSite {
    fn handle(&self, request: Request<Body>, secure: bool) -> Answer<'_> {
        Box::pin(answer(&self.0, request, secure))
    }
}

async fn answer(
    shared: &Rc<Shared>,
    request: Request<Body>,
    secure: bool,
) -> Result<Response<Body>, SiteError> {
    let place = shared.places.take(shared.patience).await?;
    let progress = Arc::new(Progress::new(shared.patience));
    let (head, answered) = oneshot::channel();
    let visit = match shared.visit(request, secure, Arc::clone(&progress), head) {
        Ok(visit) => visit,
        Err(error) => {
            tracing::error!(
                target: FAULT,
                component = shared.label,
                %error,
                "a request cannot be given to the site"
            );
            return Err(SiteError::Failed);
        }
    };
    let event = visit.event.clone();
    let working = Rc::clone(shared);
    let task = shared.answering.spawn_local(async move {
        working.run(visit).await;
        drop(place);
    });
    // A client that goes away before its answer begins ends the instance.
    let task = AbortOnDropHandle::new(task);
    let refused = |what: &str, error: String| {
        match progress.is_left() {
            true => tracing::debug!(component = shared.label, event, error, "{what}"),
            false => tracing::error!(target: FAULT, component = shared.label, event, cause = error, "{what}"),
        }
        Err(SiteError::Failed)
    };
    match answered.await {
        Ok(Ok(response)) if response.status().as_u16() < 200 => {
            refused("the site answered with a status that is none", response.status().to_string())
        }
        Ok(Ok(response)) => {
            task.detach();
            Ok(response.map(|body| Streamed::new(body, Arc::clone(&progress)).boxed_unsync()))
        }
        Ok(Err(code)) => {
            // There is no body to wait for.
            progress.end();
            task.detach();
            refused("the site answered with an error", told(&code.to_string()))
        }
        Err(_) if progress.is_late() => Err(SiteError::Late),
        Err(_) => Err(SiteError::Failed),
    }
}

impl Shared {
    fn visit(
        &self,
        request: Request<Body>,
        secure: bool,
        progress: Arc<Progress>,
        head: oneshot::Sender<Outcome>,
    ) -> wasmtime::Result<Visit> {
        let event = Described(&HttpCall(request.method().as_str(), request.uri().path())).to_string();
        let voice = Voice::of(self.label.clone(), None);
        voice.begin(&*event);
        let context = SiteContext::new(&voice, self.guest.memory_max, self.outbound.of_instance());
        let (mut store, meter) = confined(&self.engine, context, voice.clone());
        let mut http = store.data_mut().http();
        let scheme = if secure { Scheme::Https } else { Scheme::Http };
        let incoming = with_authority(request).map(|body| Intake::new(body, Arc::clone(&progress)));
        let request = http.new_incoming_request(scheme, incoming)?;
        let begun = Arc::clone(&progress);
        let out = http.new_response_outparam_from_callback(move |outcome| {
            begun.begin();
            // Whoever asked may be gone.
            let _ = head.send(outcome);
        })?;
        Ok(Visit { store, meter, request, out, voice, progress, event })
    }

    /// Runs an instance to its end. Its answer has gone out meanwhile, or never will.
    async fn run(&self, visit: Visit) {
        let Visit { mut store, meter, request, out, voice, progress, event } = visit;
        let call = async {
            let proxy = self.proxy.instantiate_async(&mut store).await?;
            proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await
        };
        let outcome = tokio::select! {
            outcome = meter.run_patiently(self.guest.cpu_per_call, Duration::MAX, call) => outcome,
            () = progress.stalled() => Err(self.late(&progress)),
        };
        // An instance that returned cannot go on with its answer, but what it has sent may still be on its way. Its
        // store stays until then: without it a body that was never finished would look as if it were.
        let outcome = match outcome {
            Ok(()) if progress.has_begun() => tokio::select! {
                biased;
                whole = progress.finished() => match whole {
                    true => return,
                    false => Err(unfinished()),
                },
                () = progress.stalled() => Err(self.late(&progress)),
            },
            outcome => outcome,
        };
        let error = match outcome {
            Ok(()) => CallError::new(Fault::Argument, "it returned without an answer"),
            Err(error) => {
                let refused = store.data().quota.was_refused();
                fault::of(&error, refused, self.guest.memory_max, voice.last_lines())
            }
        };
        // Said before the store goes: with it goes the body's other end, which then looks finished.
        progress.fail();
        let (component, answered) = (&*self.label, progress.has_begun());
        if progress.is_left() {
            tracing::debug!(component, event, answered, %error, "the site failed on a request whose client left");
        } else if progress.is_late() {
            sc_core::fault!(warn, error, { component, event, answered, }, "the site is slow on a request");
        } else {
            sc_core::fault!(error, error, { component, event, answered, }, "the site failed on a request");
        }
    }

    fn late(&self, progress: &Progress) -> wasmtime::Error {
        let seconds = self.patience.as_secs_f32();
        let message = match progress.has_begun() {
            false => format!("it did not answer within {seconds} s (http.answer_timeout)"),
            true => format!("its answer did not go on for {seconds} s (http.answer_timeout)"),
        };
        Ended { fault: Fault::Timeout, message }.into()
    }
}

fn unfinished() -> wasmtime::Error {
    let message = "it returned without finishing its answer's body (outgoing-body.finish)".to_owned();
    Ended { fault: Fault::Argument, message }.into()
}

/// The request under an authority, which `wasi:http` cannot be without: HTTP/1.0 may name none.
fn with_authority(mut request: Request<Body>) -> Request<Body> {
    let is_named = |text: Option<&HeaderValue>| {
        text.and_then(|text| text.to_str().ok()).is_some_and(|text| text.parse::<uri::Authority>().is_ok())
    };
    if request.uri().authority().is_none() && !is_named(request.headers().get(header::HOST)) {
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("localhost"));
    }
    request
}
