//! What all rooms of a worker share, and a socket's way through life: opened, retired, gone.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use sc_core::config::WorkerConfig;
use sc_core::controller::{Event, Failure, HostAccess, Interest, Json, SocketInfo, WorkerView};
use sc_core::ids::{SocketId, WorkerId};
use sc_core::link::control::{FromChild, HandoffSender, Phase};
use sc_core::log::{FAULT, NOTICE};
use sc_store::client::Stores;
use sc_wire::packet::Version;
use sc_wire::{close, encode};
use tokio::sync::{Notify, mpsc};
use tokio_util::task::TaskTracker;

use crate::addresses::Addresses;
use crate::auth::{Claims, Tokens};
use crate::classic::Pollers;
use crate::exchange::Exchange;
use crate::fetch::Fetch;
use crate::gate::Gate;
use crate::http::files::Files;
use crate::http::requests::Requests;
use crate::http::routes::Routes;
use crate::hub::Hub;
use crate::presence::Presence;
use crate::role::WorkerStart;
use crate::rotation::Rotation;
use crate::seat::Seat;
use crate::sessions::Sessions;
use crate::site::SitePlace;
use crate::socket::serve::CLOSE_DEADLINE;
use crate::socket::{Socket, State};
use crate::timers::{Due, Timers};

/// The worker's shared state. One thread, so cells; no borrow lasts over an await.
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) config: WorkerConfig,
    pub(crate) hub: Hub,
    pub(crate) exchange: Exchange,
    pub(crate) sessions: Sessions,
    pub(crate) addresses: Rc<Addresses>,
    pub(crate) pollers: Pollers,
    pub(crate) presence: Presence,
    pub(crate) requests: Requests,
    pub(crate) fetch: Fetch,
    pub(crate) files: Option<Files>,
    pub(crate) routes: Routes,
    pub(crate) site: Option<SitePlace>,
    pub(crate) stores: Stores,
    /// The controller's place.
    pub(crate) app: Rc<Seat>,
    /// All places in the order in which they decide about actions; the controller's is the last.
    pub(crate) seats: Box<[Rc<Seat>]>,
    pub(crate) gate: Gate,
    pub(crate) timers: Timers,
    pub(crate) tokens: Tokens,
    pub(crate) rotation: Rotation,
    pub(crate) phase: Cell<Phase>,
    /// Links that give connections to other workers.
    pub(crate) peers: RefCell<HashMap<WorkerId, Rc<HandoffSender>>>,
    /// Short tasks that end by themselves within a deadline.
    pub(crate) tasks: Tasks,
    /// Connections that are not sockets.
    pub(crate) connections: Tasks,
    /// Balancers' links for requests of many clients.
    pub(crate) links: Tasks,
    /// What waits for a store's answer to the controller.
    pub(crate) answers: Tasks,
    pub(crate) guest_failures: Cell<u32>,
    /// It drains: it opens nothing more.
    pub(crate) leaving: Cell<bool>,
    pub(crate) draining: Notify,
    to_master: mpsc::Sender<FromChild>,
}

/// The owner of tasks that nobody awaits one by one; they end with the worker's runtime at the latest.
#[derive(Default)]
pub(crate) struct Tasks(TaskTracker);

impl Tasks {
    pub(crate) fn spawn_local(&self, task: impl Future<Output = ()> + 'static) {
        self.0.spawn_local(task);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Waits until all ended.
    pub(crate) async fn until_done(&self) {
        self.0.close();
        self.0.wait().await;
    }
}

impl Worker {
    /// A worker without anything to do. The middleware's places come first, the controller's last.
    pub(crate) fn new(
        start: &WorkerStart,
        stores: Stores,
        site: Option<SitePlace>,
        middleware: Vec<Rc<Seat>>,
        app: Rc<Seat>,
        to_master: mpsc::Sender<FromChild>,
    ) -> Self {
        let WorkerStart { id, config, phase, .. } = start.clone();
        // A restarted worker must not reuse ids: the clock's seconds are the counter's upper part.
        let seconds = crate::auth::since_epoch(SystemTime::now()).as_secs();
        Worker {
            id,
            hub: Hub::new(id, config.client.clone(), seconds << 18),
            exchange: Exchange::default(),
            sessions: Sessions::default(),
            addresses: Addresses::new(config.client.address_limit, stores.clone()),
            pollers: Pollers::default(),
            presence: Presence::new(&config.presence),
            requests: Requests::default(),
            fetch: Fetch::new(&config.fetch),
            files: config.public.as_deref().map(Files::new),
            routes: Routes::default(),
            site,
            stores,
            seats: middleware.into_iter().chain([Rc::clone(&app)]).collect(),
            app,
            gate: Gate::default(),
            timers: Timers::default(),
            tokens: Tokens::new(&config.auth),
            rotation: Rotation::default(),
            phase: Cell::new(phase),
            peers: RefCell::default(),
            tasks: Tasks::default(),
            connections: Tasks::default(),
            links: Tasks::default(),
            answers: Tasks::default(),
            guest_failures: Cell::new(0),
            leaving: Cell::new(false),
            draining: Notify::new(),
            to_master,
            config,
        }
    }

    /// What instances of the controller share with this worker.
    pub(crate) fn access(self: &Rc<Self>) -> HostAccess {
        HostAccess { view: Rc::clone(self) as Rc<dyn WorkerView>, tokens: self.app.calls.tokens.clone() }
    }

    /// Whether connections, sockets and others, are within their limit. The one that asks counts already.
    pub(crate) fn has_room(&self) -> bool {
        let most = self.config.client.max_sockets;
        most.is_none_or(|most| self.hub.count() + self.connections.len() <= most)
    }

    /// Queues a message for the master. A full queue means that it is stuck, and what it would hear is stale.
    pub(crate) fn tell_master(&self, message: FromChild) {
        if self.to_master.try_send(message).is_err() {
            tracing::warn!(target: FAULT, "the master does not listen; a message for it is lost");
        }
    }

    /// Tells the master what it waits for, of which it keeps count, or what it must not miss.
    pub(crate) async fn answer_master(&self, message: FromChild) {
        // A master that is gone waits for nothing.
        let _ = self.to_master.send(message).await;
    }

    /// Queues an event of a socket if the controller asked for its kind.
    pub(crate) fn tell_if_wanted(
        &self,
        interest: Interest,
        socket: &Rc<Socket>,
        event: impl FnOnce() -> Event,
    ) {
        if self.app.interests.wants(interest) {
            self.app.calls.push_from(socket, event());
        }
    }

    /// Replaces a socket's claims and tells the controller of a change.
    pub(crate) fn set_claims(&self, socket: &Rc<Socket>, claims: Option<Claims>) {
        let before = socket.auth.replace(claims.clone());
        if before != claims {
            self.tell_if_wanted(Interest::AuthChange, socket, || Event::AuthChange {
                socket: socket.id,
                auth: claims.map(|claims| claims.text),
            });
        }
    }

    /// Takes a client's token away.
    pub(crate) fn deauthenticate(&self, socket: &Rc<Socket>) {
        self.set_claims(socket, None);
        self.remove_token(socket);
    }

    /// Tells the client to forget its token. Clients of protocol 1 expect an explicit `null`.
    pub(crate) fn remove_token(&self, socket: &Rc<Socket>) {
        let data = (socket.version.get() == Some(Version::One)).then_some("null");
        self.hub.send(socket, encode::event("#removeAuthToken", data));
    }

    /// Closes a socket from this side, after what waits to be sent.
    pub(crate) fn close_socket(&self, socket: &Rc<Socket>, code: u16, reason: &str) {
        self.close_from_here(socket, code, reason, false);
    }

    /// Closes a socket from this side, and forgets what waits to be sent.
    pub(crate) fn abort_socket(&self, socket: &Rc<Socket>, code: u16, reason: &str) {
        self.close_from_here(socket, code, reason, true);
    }

    fn close_from_here(&self, socket: &Rc<Socket>, code: u16, reason: &str, at_once: bool) {
        if socket.state.get() == State::Closing {
            return;
        }
        socket.queue_close(code, reason, at_once);
        self.end_socket(socket, code, reason);
    }

    /// Closes a socket whose client broke a rule, which is worth a notice.
    pub(crate) fn close_at_fault(&self, socket: &Rc<Socket>, code: u16, reason: &str) {
        if socket.state.get() != State::Closing {
            tracing::info!(
                target: NOTICE,
                socket = &*socket.name,
                address = &*socket.opening.address,
                code,
                rule = close::rule(code),
                "a client broke a rule and is closed"
            );
        }
        self.close_socket(socket, code, reason);
    }

    /// A socket is over, by whichever side: it leaves its channels, and those who wait for it are told.
    pub(crate) fn end_socket(&self, socket: &Rc<Socket>, code: u16, reason: &str) {
        let was = socket.state.replace(State::Closing);
        if was == State::Closing {
            return;
        }
        socket.place.take();
        socket.backlog.take();
        self.hub.flush.alone(socket);
        self.timers.insert(Due::Closed(socket.id), CLOSE_DEADLINE);
        for channel in self.hub.retire(socket, was == State::Open) {
            Presence::leave(self, socket, &channel);
            self.exchange.release(self, &channel);
            self.tell_if_wanted(Interest::Unsubscribe, socket, || Event::Unsubscribe {
                socket: socket.id,
                channel: (&*channel).into(),
            });
        }
        self.app.calls.forget_replies(socket);
        Gate::forget(self, socket);
        let asks = std::mem::take(&mut *socket.asks.borrow_mut());
        for ask in asks.into_values() {
            if let Some(timer) = &ask.timer {
                self.timers.remove(timer);
            }
            let message = format!("Event {} was aborted due to a bad connection", ask.event);
            let outcome = Err(Failure::named("BadConnectionError", message));
            ask.seat.calls.push_answer(Event::ClientAnswer { to: ask.token, outcome });
        }
        if was == State::Open {
            Sessions::leave(self, socket);
            self.app.calls.push_from(socket, Event::Close { socket: socket.id, code, reason: reason.into() });
        }
    }

    /// Writes what was queued, for ever, and closes who reads too slowly.
    pub(crate) async fn keep_flushing(&self) {
        loop {
            for socket in self.hub.flush.write().await {
                if socket.state.get() != State::Closing {
                    tracing::info!(
                        target: NOTICE,
                        socket = &*socket.name,
                        address = &*socket.opening.address,
                        code = close::TRY_AGAIN_LATER,
                        "a client reads too slowly and is closed"
                    );
                    self.abort_socket(&socket, close::TRY_AGAIN_LATER, "Too slow");
                }
            }
        }
    }
}

impl WorkerView for Worker {
    fn socket(&self, id: SocketId) -> Option<SocketInfo> {
        let socket = self.hub.get(id).filter(|socket| socket.state.get() != State::Closing);
        socket.map(|socket| socket.info())
    }

    fn socket_name(&self, id: SocketId) -> Option<Box<str>> {
        self.hub.get(id).map(|socket| socket.name.clone())
    }

    fn session_sockets(&self, session: &str) -> Vec<SocketId> {
        self.sessions.sockets(session)
    }

    fn sign(&self, claims: &str, expires_in: Option<Duration>) -> Result<String, Failure> {
        let signed = self.tokens.sign(claims, expires_in, SystemTime::now());
        signed.map(|(token, _)| token).map_err(|error| Failure::named("InvalidArgumentsError", error))
    }

    fn verify(&self, token: &str) -> Result<Json, Failure> {
        let verified = self.tokens.verify_text(token, SystemTime::now());
        verified.map(|claims| claims.text).map_err(|rejected| rejected.failure())
    }

    fn may_rotate(&self) -> bool {
        self.config.auth.rotation
    }

    fn header(&self, id: SocketId, name: &str) -> Option<Vec<u8>> {
        let socket = self.hub.get(id).filter(|socket| socket.state.get() != State::Closing)?;
        let header = socket.opening.headers.iter().find(|(kept, _)| kept.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.to_vec())
    }

    fn subscriptions(&self, id: SocketId) -> Vec<String> {
        let Some(socket) = self.hub.open_socket(id) else { return Vec::new() };
        let mut channels: Vec<_> = socket.channels.borrow().iter().map(ToString::to_string).collect();
        channels.sort_unstable();
        channels
    }
}
