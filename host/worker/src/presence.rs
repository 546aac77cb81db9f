//! Who is on a channel: this worker tells the channel's store of its own sockets, and tells those who watch what the
//! store says of all. Kept only for the channels that the configuration names; of all others nothing is sent.
//!
//! The store forgets when it dies, so everything is said again over each new link. Who watches is told of such a gap:
//! what changed meanwhile is in the list.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use sc_core::config::PresenceConfig;
use sc_core::controller::{Change, Event, Failure, Json, Member};
use sc_core::ids::{SocketId, StoreId, Token};
use sc_wire::encode;
use sc_wire::packet::{self, CallId};
use sc_wire::store::OfEach;
use serde::Deserialize;
use serde_json::value::RawValue;
use wildmatch::WildMatch;

use crate::effects;
use crate::seat::Seat;
use crate::socket::Socket;
use crate::socket::outbox::Outgoing;
use crate::worker::Worker;

/// The event that tells a client of changes, and the request by which it asks.
pub(crate) const EVENT: &str = "#presence";

/// Who on this worker watches a channel.
#[derive(Default)]
struct Watch {
    sockets: HashSet<SocketId, RandomState>,
    /// The instance of the controller that asked last, if one did.
    controller: Option<u64>,
}

impl Watch {
    fn add(&mut self, socket: SocketId) {
        self.sockets.insert(socket);
    }

    fn remove(&mut self, socket: SocketId) {
        self.sockets.remove(&socket);
    }

    fn is_idle(&self) -> bool {
        self.sockets.is_empty() && self.controller.is_none()
    }
}

/// The channels with presence, and who watches them.
pub(crate) struct Presence {
    kept: Vec<WildMatch>,
    for_clients: Vec<WildMatch>,
    watched: RefCell<HashMap<String, Watch, RandomState>>,
}

impl Presence {
    pub(crate) fn new(config: &PresenceConfig) -> Self {
        let patterns = |patterns: &[String]| patterns.iter().map(|text| WildMatch::new(text)).collect();
        Presence {
            kept: patterns(&config.channels),
            for_clients: patterns(&config.clients),
            watched: RefCell::default(),
        }
    }

    fn is_kept(&self, channel: &str) -> bool {
        self.kept.iter().any(|pattern| pattern.matches(channel))
    }

    /// A socket is on a channel from now on.
    pub(crate) fn join(worker: &Worker, socket: &Socket, channel: &str) {
        if worker.presence.is_kept(channel) {
            worker.stores.join(channel, member(socket), false);
        }
    }

    /// A socket left a channel, by itself or because it closed.
    pub(crate) fn leave(worker: &Worker, socket: &Socket, channel: &str) {
        if worker.presence.is_kept(channel) {
            worker.stores.leave(channel, socket.id.0);
            Self::unwatch(worker, channel, |watch| watch.remove(socket.id));
        }
    }

    /// What is known of a socket's user is another.
    pub(crate) fn describe(worker: &Worker, socket: &Socket, data: Option<Json>) {
        *socket.user.borrow_mut() = data.map(Bytes::from);
        for channel in socket.channels.borrow().iter().filter(|channel| worker.presence.is_kept(channel)) {
            worker.stores.join(channel, member(socket), false);
        }
    }

    /// An instance of the controller watches a channel, or none does any more.
    pub(crate) fn watch_for_controller(worker: &Worker, channel: &str, instance: Option<u64>) {
        match instance {
            Some(_) => Self::watch(worker, channel, |watch| watch.controller = instance),
            None => Self::unwatch(worker, channel, |watch| watch.controller = None),
        }
    }

    /// What only earlier instances watched is watched no more.
    pub(crate) fn unwatch_but(worker: &Worker, instance: u64) {
        let is_old = |watch: &Watch| watch.controller.is_some_and(|watcher| watcher != instance);
        let old: Vec<String> = {
            let watched = worker.presence.watched.borrow();
            watched.iter().filter(|(_, watch)| is_old(watch)).map(|(channel, _)| channel.clone()).collect()
        };
        for channel in old {
            Self::watch_for_controller(worker, &channel, None);
        }
    }

    fn watch(worker: &Worker, channel: &str, note: impl FnOnce(&mut Watch)) {
        let mut watched = worker.presence.watched.borrow_mut();
        let is_new = !watched.contains_key(channel);
        note(watched.entry(channel.to_owned()).or_default());
        if is_new {
            worker.stores.watch_members(channel, true);
        }
    }

    fn unwatch(worker: &Worker, channel: &str, note: impl FnOnce(&mut Watch)) {
        let mut watched = worker.presence.watched.borrow_mut();
        let Some(watch) = watched.get_mut(channel) else { return };
        note(watch);
        if watch.is_idle() {
            watched.remove(channel);
            worker.stores.watch_members(channel, false);
        }
    }

    /// A store has a link: all that concerns its channels is said again.
    pub(crate) fn attached(worker: &Worker, store: StoreId) {
        let presence = &worker.presence;
        let concerns =
            |channel: &str| presence.is_kept(channel) && worker.stores.of_channel(channel) == store;
        for socket in worker.hub.all().into_iter().filter(|socket| socket.is_open()) {
            for channel in socket.channels.borrow().iter().filter(|channel| concerns(channel)) {
                worker.stores.join(channel, member(&socket), true);
            }
        }
        worker.stores.all_again(store);
        for (channel, watch) in presence.watched.borrow().iter().filter(|(channel, _)| concerns(channel)) {
            worker.stores.watch_members(channel, true);
            tell(worker, watch, &format!(r#"{{"channel":{},"event":"gap"}}"#, encode::string(channel)));
        }
    }

    /// A store tells of a change.
    pub(crate) fn changed(worker: &Worker, channel: String, change: Change, member: Member) {
        let watched = worker.presence.watched.borrow();
        let Some(watch) = watched.get(&channel) else { return };
        if !watch.sockets.is_empty() {
            let data = member.data.as_deref().and_then(|data| std::str::from_utf8(data).ok());
            let data = data.map(|data| format!(r#","data":{data}"#)).unwrap_or_default();
            let (name, id) = (encode::string(&channel), encode::string(&member.name));
            let event = change.as_str();
            tell(
                worker,
                watch,
                &format!(r#"{{"channel":{name},"event":"{event}","member":{{"id":{id}{data}}}}}"#),
            );
        }
        if watch.controller.is_some() {
            worker.app.calls.push_if_room(Event::Member { channel: channel.into(), change, member });
        }
    }

    /// The controller asks who is on a channel, or only how many.
    pub(crate) fn ask(worker: &Rc<Worker>, seat: &Rc<Seat>, token: Token, channel: &str, who: bool) {
        if !worker.presence.is_kept(channel) {
            let message = format!("who is on {channel} is not kept: name it in presence.channels of sc.toml");
            let outcome = Err(Failure::named("PresenceError", message));
            return seat.calls.push_answer(Event::Value { to: token, outcome });
        }
        let of_each = if who { OfEach::All } else { OfEach::Nothing };
        effects::value_later(worker, seat, token, worker.stores.members(channel, of_each));
    }
}

fn member(socket: &Socket) -> Member {
    Member {
        socket: socket.id.0,
        name: socket.name.to_string(),
        session: socket.session.to_string(),
        data: socket.user.borrow().clone(),
    }
}

fn tell(worker: &Worker, watch: &Watch, data: &str) {
    if watch.sockets.is_empty() {
        return;
    }
    let text = Socket::text(encode::event(EVENT, Some(data)));
    for socket in watch.sockets.iter().filter_map(|id| worker.hub.open_socket(*id)) {
        worker.hub.queue(&socket, Outgoing::Text(text.clone()));
    }
}

#[derive(Deserialize)]
struct Question<'a> {
    #[serde(borrow)]
    channel: &'a RawValue,
    /// Also to hear of changes, from now on, or no more.
    #[serde(default)]
    watch: Option<bool>,
}

/// A client asks who is on a channel that it is on itself, if it may know. With `watch` it hears of changes until it
/// leaves the channel; the list and the changes may overlap.
pub(crate) fn request(
    worker: &Rc<Worker>,
    socket: &Rc<Socket>,
    data: Option<&RawValue>,
    call: Option<CallId>,
) {
    let Some(call) = call else { return };
    let refuse = |name: &str, message: &str| {
        let error = encode::error(Some(name), message, "");
        worker.hub.send(socket, encode::refusal(&call, &error, None));
    };
    let question = data.and_then(|data| serde_json::from_str::<Question<'_>>(data.get()).ok());
    let channel = question.as_ref().and_then(|question| packet::string(question.channel));
    let (Some(question), Some(channel)) = (&question, channel) else {
        return refuse("InvalidActionError", "Presence channel name was malformatted");
    };
    let presence = &worker.presence;
    let may_ask = presence.is_kept(&channel)
        && presence.for_clients.iter().any(|pattern| pattern.matches(&channel))
        && socket.channels.borrow().contains(&*channel);
    if !may_ask {
        return refuse(
            "NotAllowedError",
            &format!("Who is on the channel {channel} is not told to this socket"),
        );
    }
    match question.watch {
        Some(true) => Presence::watch(worker, &channel, |watch| watch.add(socket.id)),
        Some(false) => {
            Presence::unwatch(worker, &channel, |watch| watch.remove(socket.id));
        }
        None => {}
    }
    let members = worker.stores.members(&channel, OfEach::Public);
    let (on, socket) = (Rc::clone(worker), Rc::clone(socket));
    worker.tasks.spawn_local(async move {
        let packet = match members.await {
            Ok(list) => {
                let list = list.as_deref().and_then(|list| std::str::from_utf8(list).ok());
                encode::response(&call, list)
            }
            Err(error) => {
                encode::refusal(&call, &encode::error(Some(error.name()), &error.to_string(), ""), None)
            }
        };
        on.hub.send(&socket, packet);
    });
}
