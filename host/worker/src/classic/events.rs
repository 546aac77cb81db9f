//! The event layer: what a classic client's messages do. A client is let in by the event `connect`; with its first own
//! message it is open, as others are with their handshake.

use std::iter;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use sc_core::controller::{Event, Failure, Line};
use sc_wire::classic::event::{self, Said};
use sc_wire::classic::{outbound, packet};
use sc_wire::encode;
use sc_wire::packet::{Call, CallId, string};
use serde_json::value::RawValue;

use super::Classic;
use crate::dispatch::{self, answer, check_expiry, refuse};
use crate::exchange::{Asker, Exchange};
use crate::gate::{Behind, Deed, Gate};
use crate::sessions::Sessions;
use crate::socket::outbox::Outgoing;
use crate::socket::{Socket, State};
use crate::worker::Worker;

/// Channels that one message may name where a socket's are not limited.
const CHANNELS: usize = 1_000;

/// The handshake is allowed: the client is told so.
pub(crate) fn let_in(worker: &Worker, socket: &Rc<Socket>, classic: &Classic) {
    classic.let_in.set(Some(Instant::now()));
    let connect = outbound::connect(&classic.sid, &worker.config.app, socket.next_cid());
    worker.hub.queue(socket, Outgoing::Packet(packet::message(&connect).into()));
}

/// The handshake is blocked: the client is told why, before its socket is closed.
pub(crate) fn fail(worker: &Worker, socket: &Rc<Socket>, why: &Failure) {
    let why = match why {
        Failure::Text(text) => text,
        Failure::Error { message, .. } => message,
    };
    let fail = outbound::event("\"fail\"", Some(&encode::string(why)), socket.next_cid());
    worker.hub.queue(socket, Outgoing::Packet(packet::message(&fail).into()));
}

/// Handles one message.
pub(crate) fn message(worker: &Rc<Worker>, socket: &Rc<Socket>, classic: &Classic, text: &str) {
    match event::parse(text) {
        Said::Event { event, data, call } => {
            let call = call.map_or(Call::None, Call::Id);
            let mut turn = socket.turn.borrow_mut();
            if turn.packets.is_held() {
                return turn.packets.queue(Behind::new(&event, data, call));
            }
            drop(turn);
            self::event(worker, socket, classic, &event, data, call);
        }
        Said::Answer { to, error, data } => {
            check_expiry(worker, socket);
            dispatch::response(worker, socket, to, error, data);
        }
        Said::Raw => {}
    }
}

/// How one that is blocked as a message is to be answered.
pub(crate) fn call_of(text: &str) -> Option<CallId> {
    match event::parse(text) {
        Said::Event { call, .. } => call,
        Said::Answer { .. } | Said::Raw => None,
    }
}

/// Handles one event.
pub(crate) fn event(
    worker: &Rc<Worker>,
    socket: &Rc<Socket>,
    classic: &Classic,
    event: &str,
    data: Option<&RawValue>,
    call: Call,
) {
    let call = match call {
        Call::Id(call) => Some(call),
        Call::Text(_) | Call::None => None,
    };
    let is_ready = event == "ready";
    check_expiry(worker, socket);
    match socket.state.get() {
        // It was not let in yet: clients wait for that.
        State::Connecting if classic.let_in.get().is_none() => return,
        State::Connecting => {
            if call == Some(CallId::Integer(1)) && !is_ready {
                // Clients up to 0.9.37 say `ready` first.
                classic.is_of_channels();
            }
            opened(worker, socket, classic, call.as_ref().filter(|_| is_ready));
        }
        State::Open if is_ready => answer(worker, socket, call.as_ref()),
        State::Open => {}
        State::Closing => return,
    }
    match event {
        "ready" => {}
        local if event::is_local(local) => {}
        "subscribe" => subscribe(worker, socket, classic, data, call.as_ref()),
        "unsubscribe" => unsubscribe(worker, socket, data, call.as_ref()),
        "publish" => publish(worker, socket, classic, data, call),
        reserved if reserved.starts_with('#') => {
            refuse(
                worker,
                socket,
                call.as_ref(),
                "InvalidActionError",
                "Names that begin with # are the server's",
            );
        }
        _ => dispatch::user_event(worker, socket, event, data, call),
    }
}

fn opened(worker: &Rc<Worker>, socket: &Rc<Socket>, classic: &Classic, ready: Option<&CallId>) {
    socket.state.set(State::Open);
    classic.arriving.take();
    worker.hub.opened();
    Sessions::join(worker, socket);
    answer(worker, socket, ready);
    super::watch(worker, socket.id);
    worker.app.calls.push_from(socket, Event::Open(socket.info()));
}

fn subscribe(
    worker: &Rc<Worker>,
    socket: &Rc<Socket>,
    classic: &Classic,
    data: Option<&RawValue>,
    call: Option<&CallId>,
) {
    let most = worker.config.client.channel_limit.unwrap_or(CHANNELS).max(1);
    let channels = match event::channels(data) {
        None => {
            return refuse(worker, socket, call, "Error", "Subscribe channel name was malformatted");
        }
        Some(channels) if channels.len() > most => {
            let message = format!("One message may name {most} channels");
            return refuse(worker, socket, call, "Error", &message);
        }
        Some(channels) => channels,
    };
    if channels.is_empty() {
        return answer(worker, socket, call);
    }
    if let (2.., Some(CallId::Integer(id))) = (channels.len(), call)
        && !classic.several.begin(*id, channels.len())
    {
        let message = "Too many subscriptions wait for their answers";
        return refuse(worker, socket, call, "Error", message);
    }
    let mut channels = channels.into_iter();
    while let Some(channel) = channels.next() {
        let mut turn = socket.turn.borrow_mut();
        if turn.packets.is_held() {
            // The one before it waits for a verdict. What came after this message goes on waiting behind all of it.
            for channel in iter::once(channel).chain(channels).rev() {
                let call = call.cloned().map_or(Call::None, Call::Id);
                turn.packets.queue_first(Behind::new("subscribe", Some(channel), call));
            }
            return;
        }
        drop(turn);
        if let Some(channel) = string(channel) {
            subscribe_to(worker, socket, &channel, call.cloned());
        }
    }
}

fn subscribe_to(worker: &Rc<Worker>, socket: &Rc<Socket>, channel: &str, call: Option<CallId>) {
    if channel.is_empty() || event::is_local(channel) {
        let message = format!("A channel cannot be called '{channel}'");
        return refuse(worker, socket, call.as_ref(), "Error", &message);
    }
    if let Some(limit) = worker.config.client.channel_limit
        && socket.channels.borrow().len() >= limit
    {
        let message =
            format!("Socket {} tried to exceed the channel subscription limit of {limit}", socket.name);
        return refuse(worker, socket, call.as_ref(), "Error", &message);
    }
    let asker = call.map(|call| Asker { call, in_batch: false });
    if Gate::covers(worker, Line::Subscribe, channel) {
        return Gate::pass(
            worker,
            socket,
            Deed::Subscribe { channel: channel.to_owned(), data: None, asker },
        );
    }
    dispatch::subscribed(worker, socket, channel, asker);
}

/// Without channels it is all of them; one that there was no subscription to is no mistake.
fn unsubscribe(worker: &Worker, socket: &Rc<Socket>, data: Option<&RawValue>, call: Option<&CallId>) {
    let named: Vec<Box<str>> = match data.filter(|data| data.get() != "null") {
        None => socket.channels.borrow().iter().map(|channel| (**channel).into()).collect(),
        Some(_) => match event::channels(data) {
            Some(channels) => channels.into_iter().filter_map(string).map(Into::into).collect(),
            None => {
                return refuse(worker, socket, call, "Error", "Unsubscribe channel name was malformatted");
            }
        },
    };
    for channel in named {
        Exchange::unsubscribe(worker, socket, &channel);
    }
    answer(worker, socket, call);
}

fn publish(
    worker: &Rc<Worker>,
    socket: &Rc<Socket>,
    classic: &Classic,
    data: Option<&RawValue>,
    call: Option<CallId>,
) {
    if !worker.config.protocol.allow_client_publish {
        return refuse(worker, socket, call.as_ref(), "Error", "Client publish feature is disabled");
    }
    let Some(publication) = event::publication(data) else {
        return refuse(worker, socket, call.as_ref(), "Error", "Publish channel name was malformatted");
    };
    if publication.channel.is_some() {
        // Clients from 1.0.6 on call it so.
        classic.is_of_channels();
    }
    let channel = publication.channel.or(publication.event).and_then(string);
    let Some(channel) = channel.filter(|channel| !channel.is_empty() && !event::is_local(channel)) else {
        return refuse(worker, socket, call.as_ref(), "Error", "Publish channel name was malformatted");
    };
    if Gate::covers(worker, Line::PublishIn, &channel) {
        let data = publication.data.map(|data| data.get().to_owned());
        return Gate::pass(worker, socket, Deed::Publish { channel: channel.into_owned(), data, call });
    }
    let data = publication.data.map(|data| Bytes::copy_from_slice(data.get().as_bytes()));
    dispatch::published(worker, socket, &channel, data, call);
}
