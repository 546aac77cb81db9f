//! What a client's packet does: the built-in actions happen here and now, anything else becomes an event for the
//! controller. One socket's packets are handled strictly in order; sockets never wait for each other.
//!
//! Source of rules and texts: socketcluster-server 20.0.1; what only 14.7.2 does is done once a client proved to be of
//! an older generation.

use std::rc::Rc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use sc_core::controller::{Event, Failure, Interest, Json, Line};
use sc_core::limits::CHANNEL_NAME_MAX;
use sc_core::log::FAULT;
use sc_wire::packet::{Call, CallId, Message, Packet, Version};
use sc_wire::{close, encode, packet};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::backlog::Next;
use crate::exchange::{Asker, Exchange};
use crate::gate::{Behind, Deed, Gate};
use crate::socket::{Socket, State};
use crate::worker::Worker;
use crate::{classic, handshake, presence};

/// Reads one message in the words of the client's generation, and handles it.
pub(crate) fn text(worker: &Rc<Worker>, socket: &Rc<Socket>, text: &str, is_binary: bool) {
    match &socket.classic {
        Some(classic) => classic::events::message(worker, socket, classic, text),
        None if socket.backlog.borrow().is_empty() => message(worker, socket, text, is_binary),
        None => socket.backlog.borrow_mut().keep(text, is_binary),
    }
}

/// Whether a socket has to wait before more of what it says is handled.
pub(crate) fn is_held_back(worker: &Worker, socket: &Socket) -> bool {
    socket.state.get() != State::Closing
        && (worker.app.calls.is_full_for(socket) || socket.turn.borrow().is_behind() || socket.paused.get())
}

/// Handles what waited for room, as far as there is some.
pub(crate) fn go_on(worker: &Rc<Worker>, socket: &Rc<Socket>) {
    while !is_held_back(worker, socket) {
        let next = socket.backlog.borrow_mut().next();
        match next {
            None => return,
            Some(Next::Message(text, is_binary)) => message(worker, socket, &text, is_binary),
            Some(Next::Packet(text)) => {
                let one = match packet::parse(&text) {
                    Message::One(one) => one,
                    // Arrays in a batch are no batches.
                    Message::Pong(_) | Message::Batch(_) => Packet::Raw,
                };
                packet(worker, socket, one);
            }
        }
    }
}

/// Handles one WebSocket message of a modern client.
fn message(worker: &Rc<Worker>, socket: &Rc<Socket>, text: &str, is_binary: bool) {
    socket.last_heard.set(Instant::now());
    let message = if is_binary { packet::parse_binary(text) } else { packet::parse(text) };
    match message {
        Message::Pong(_) if socket.state.get() == State::Connecting => early(worker, socket),
        Message::Pong(version) => {
            if socket.version.get().is_none() {
                socket.version.set(Some(version));
            }
            check_expiry(worker, socket);
        }
        Message::One(one) => packet(worker, socket, one),
        Message::Batch(packets) => {
            for (index, one) in packets.into_iter().enumerate() {
                if index > 0 && is_held_back(worker, socket) {
                    socket.backlog.borrow_mut().keep_batch(text, index);
                    // Who had it read may not be the socket's task.
                    return socket.changed.notify_one();
                }
                packet(worker, socket, one);
            }
        }
    }
}

/// Something other than a handshake came first.
fn early(worker: &Worker, socket: &Rc<Socket>) {
    worker.close_at_fault(socket, close::MESSAGE_BEFORE_HANDSHAKE, "");
}

fn packet(worker: &Rc<Worker>, socket: &Rc<Socket>, packet: Packet<'_>) {
    match (socket.state.get(), packet) {
        (State::Closing, _) => {}
        (State::Connecting, Packet::Event { event, data, call })
            if event == "#handshake" && !socket.turn.borrow().packets.is_held() =>
        {
            handshake::handshake(worker, socket, data, &call);
        }
        (State::Connecting, _) => early(worker, socket),
        (State::Open, Packet::Event { event: name, data, call }) => {
            let mut turn = socket.turn.borrow_mut();
            if turn.packets.is_held() {
                return turn.packets.queue(Behind::new(&name, data, call));
            }
            drop(turn);
            event(worker, socket, &name, data, call);
        }
        (State::Open, Packet::Response { to, error, data }) => {
            check_expiry(worker, socket);
            response(worker, socket, to, error, data);
        }
        (State::Open, Packet::Raw) => {
            check_expiry(worker, socket);
        }
    }
}

/// Handles an event of an open socket.
pub(crate) fn event(
    worker: &Rc<Worker>,
    socket: &Rc<Socket>,
    event: &str,
    data: Option<&RawValue>,
    call: Call,
) {
    if let Some(classic) = &socket.classic {
        return classic::events::event(worker, socket, classic, event, data, call);
    }
    match event {
        "#handshake" => handshake::handshake(worker, socket, data, &call),
        _ => action(worker, socket, event, data, usable(socket, call)),
    }
}

/// The id a response is owed under. Texts count only from clients of protocol 1.
pub(crate) fn usable(socket: &Socket, call: Call) -> Option<CallId> {
    match call {
        Call::Id(id) => Some(id),
        Call::Text(id) if socket.version.get() == Some(Version::One) => Some(id),
        Call::Text(_) | Call::None => None,
    }
}

fn action(
    worker: &Rc<Worker>,
    socket: &Rc<Socket>,
    event: &str,
    data: Option<&RawValue>,
    call: Option<CallId>,
) {
    match event {
        "#authenticate" => return handshake::authenticate(worker, socket, data, call.as_ref()),
        "#removeAuthToken" => return worker.set_claims(socket, None),
        _ => {}
    }
    let expired = check_expiry(worker, socket);
    match event {
        "#subscribe" => subscribe(worker, socket, data, call, expired),
        "#unsubscribe" => unsubscribe(worker, socket, data, call.as_ref()),
        "#publish" => publish(worker, socket, data, call),
        presence::EVENT => presence::request(worker, socket, data, call),
        // Only libraries of protocol 1 send it; for the others it is a name like any other.
        "#disconnect" if socket.version.get() != Some(Version::Two) => disconnect(worker, socket, data),
        _ => user_event(worker, socket, event, data, call),
    }
}

/// Deauthenticates a socket whose token expired, and says when that was.
pub(crate) fn check_expiry(worker: &Worker, socket: &Rc<Socket>) -> Option<f64> {
    let expiry = {
        let auth = socket.auth.borrow();
        let claims = auth.as_ref()?;
        // The clock is read only for tokens that end.
        claims.expiry.filter(|_| claims.expired(SystemTime::now()))?
    };
    worker.deauthenticate(socket);
    Some(expiry)
}

pub(crate) fn answer(worker: &Worker, socket: &Rc<Socket>, call: Option<&CallId>) {
    if let Some(call) = call {
        worker.hub.send(socket, encode::response(call, None));
    }
}

pub(crate) fn refuse(worker: &Worker, socket: &Rc<Socket>, call: Option<&CallId>, name: &str, message: &str) {
    if let Some(call) = call {
        worker.hub.send(socket, encode::refusal(call, &encode::error(Some(name), message, ""), None));
    }
}

#[derive(Deserialize)]
struct Subscription<'a> {
    #[serde(borrow)]
    channel: &'a RawValue,
    #[serde(borrow, default, rename = "waitForAuth")]
    wait_for_auth: Option<&'a RawValue>,
    #[serde(borrow, default)]
    batch: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

fn is_true(option: Option<&RawValue>) -> bool {
    option.is_some_and(|option| option.get() == "true")
}

fn subscribe(
    worker: &Rc<Worker>,
    socket: &Rc<Socket>,
    data: Option<&RawValue>,
    call: Option<CallId>,
    expired: Option<f64>,
) {
    let one = socket.version.get() == Some(Version::One);
    let options = data.and_then(|data| serde_json::from_str::<Subscription<'_>>(data.get()).ok());
    let channel = match (&options, data) {
        (Some(options), _) => packet::string(options.channel),
        (None, Some(data)) if one => packet::string(data),
        _ => None,
    };
    let Some(channel) = channel else {
        let message = "Subscribe channel name was malformatted";
        return refuse(worker, socket, call.as_ref(), "InvalidActionError", message);
    };
    let waits = options.as_ref().is_some_and(|options| is_true(options.wait_for_auth));
    if let (true, true, Some(expiry), Some(call)) = (one, waits, expired, &call) {
        let members = format!(r#""expiry":{expiry}"#);
        let error =
            encode::error(Some("AuthTokenExpiredError"), "The socket auth token has expired", &members);
        return worker.hub.send(socket, encode::refusal(call, &error, None));
    }
    if call.is_none() && !one {
        return;
    }
    let in_batch = options.as_ref().is_some_and(|options| is_true(options.batch));
    let asker = call.map(|call| Asker { call, in_batch });
    if let Some(limit) = worker.config.client.channel_limit
        && socket.channels.borrow().len() >= limit
    {
        let message = format!(
            "Failed to subscribe socket to the {channel} channel - InvalidActionError: Socket {} tried to exceed \
             the channel subscription limit of {limit}",
            socket.name
        );
        if let Some(asker) = asker {
            asker.refuse(worker, socket, &message);
        }
        return;
    }
    if Gate::covers(worker, Line::Subscribe, &channel) {
        let data = options.and_then(|options| options.data).map(|data| data.get().to_owned());
        return Gate::pass(worker, socket, Deed::Subscribe { channel: channel.into_owned(), data, asker });
    }
    subscribed(worker, socket, &channel, asker);
}

/// What to say of a channel's name that is longer than any may be.
pub(crate) fn too_long(channel: &str) -> Option<String> {
    (channel.len() > CHANNEL_NAME_MAX)
        .then(|| format!("The channel name is longer than {CHANNEL_NAME_MAX} bytes: give it a shorter one"))
}

/// Adds a subscription.
pub(crate) fn subscribed(worker: &Rc<Worker>, socket: &Rc<Socket>, channel: &str, asker: Option<Asker>) {
    if let Some(message) = too_long(channel) {
        if let Some(asker) = asker {
            asker.refuse_with(worker, socket, &encode::error(Some("InvalidActionError"), &message, ""));
        }
        return;
    }
    Exchange::subscribe(worker, socket, channel, asker);
    worker.tell_if_wanted(Interest::Subscribe, socket, || Event::Subscribe {
        socket: socket.id,
        channel: channel.into(),
    });
}

fn unsubscribe(worker: &Worker, socket: &Rc<Socket>, data: Option<&RawValue>, call: Option<&CallId>) {
    let Some(channel) = data.and_then(packet::string) else {
        return refuse(
            worker,
            socket,
            call,
            "InvalidActionError",
            "Unsubscribe channel name was malformatted",
        );
    };
    if Exchange::unsubscribe(worker, socket, &channel) {
        return answer(worker, socket, call);
    }
    let message = format!(
        "Failed to unsubscribe socket from the {channel} channel - InvalidActionError: Socket {} tried to \
         unsubscribe from a channel which it is not subscribed to",
        socket.name
    );
    refuse(worker, socket, call, "BrokerError", &message);
}

#[derive(Deserialize)]
struct Publication<'a> {
    #[serde(borrow)]
    channel: &'a RawValue,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
}

/// Keeps a `null` apart from an absent member.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

fn publish(worker: &Rc<Worker>, socket: &Rc<Socket>, data: Option<&RawValue>, call: Option<CallId>) {
    if !worker.config.protocol.allow_client_publish {
        return refuse(
            worker,
            socket,
            call.as_ref(),
            "InvalidActionError",
            "Client publish feature is disabled",
        );
    }
    let publication = data.and_then(|data| serde_json::from_str::<Publication<'_>>(data.get()).ok());
    let channel = publication.as_ref().and_then(|publication| packet::string(publication.channel));
    let (Some(publication), Some(channel)) = (&publication, channel) else {
        return refuse(
            worker,
            socket,
            call.as_ref(),
            "InvalidActionError",
            "Publish channel name was malformatted",
        );
    };
    if Gate::covers(worker, Line::PublishIn, &channel) {
        let data = publication.data.map(|data| data.get().to_owned());
        return Gate::pass(worker, socket, Deed::Publish { channel: channel.into_owned(), data, call });
    }
    let data = publication.data.map(|data| Bytes::copy_from_slice(data.get().as_bytes()));
    published(worker, socket, &channel, data, call);
}

/// Publishes for a client.
pub(crate) fn published(
    worker: &Rc<Worker>,
    socket: &Rc<Socket>,
    channel: &str,
    data: Option<Bytes>,
    call: Option<CallId>,
) {
    if let Some(message) = too_long(channel) {
        return refuse(worker, socket, call.as_ref(), "InvalidActionError", &message);
    }
    socket.paused.set(worker.stores.are_behind());
    let Some(call) = call else {
        if let Err(error) = worker.stores.publish(channel, data) {
            tracing::warn!(target: FAULT, %error, "a publication is lost");
        }
        return;
    };
    let taken = worker.stores.publish_and_wait(channel, data);
    let (worker, socket) = (Rc::clone(worker), Rc::clone(socket));
    let on = Rc::clone(&worker);
    on.tasks.spawn_local(async move {
        match taken.await {
            Ok(()) => answer(&worker, &socket, Some(&call)),
            Err(error) => refuse(&worker, &socket, Some(&call), "BrokerError", &error.to_string()),
        }
    });
}

#[derive(Deserialize)]
struct Disconnect {
    #[serde(default)]
    code: Option<u16>,
}

fn disconnect(worker: &Worker, socket: &Rc<Socket>, data: Option<&RawValue>) {
    socket.version.set(Some(Version::One));
    let code = data
        .and_then(|data| serde_json::from_str::<Disconnect>(data.get()).ok())
        .and_then(|data| data.code)
        .filter(|&code| close::is_sendable(code))
        .unwrap_or(close::NO_STATUS);
    socket.leaves();
    worker.close_socket(socket, code, "");
}

pub(crate) fn user_event(
    worker: &Rc<Worker>,
    socket: &Rc<Socket>,
    event: &str,
    data: Option<&RawValue>,
    call: Option<CallId>,
) {
    let line = if call.is_some() { Line::Invoke } else { Line::Transmit };
    let data_text = || data.map(|data| data.get().into());
    let may_want_none = socket.classic.is_some() && Gate::covers(worker, Line::Transmit, event);
    if may_want_none || Gate::covers(worker, line, event) {
        return Gate::pass(worker, socket, Deed::Event { name: event.into(), data: data_text(), call });
    }
    // With nothing of this socket queued, its interests are settled and what nobody hears ends here, unanswered.
    if socket.queued.get() == 0
        && worker.app.interests.instance() != 0
        && socket.known_by.get() == worker.app.interests.instance()
        && !worker.app.interests.hears(event)
    {
        return;
    }
    to_controller(worker, socket, event.into(), data_text(), call);
}

/// Queues a client's event for the controller.
pub(crate) fn to_controller(
    worker: &Worker,
    socket: &Rc<Socket>,
    event: Box<str>,
    data: Option<Json>,
    call: Option<CallId>,
) {
    let reply = call.map(|call| worker.app.calls.expect_reply(socket, call));
    worker.app.calls.push_from(socket, Event::Message { socket: socket.id, event, data, reply });
}

pub(crate) fn response(
    worker: &Worker,
    socket: &Rc<Socket>,
    to: i64,
    error: Option<&RawValue>,
    data: Option<&RawValue>,
) {
    let Some(ask) = socket.asks.borrow_mut().remove(&to) else { return };
    if let Some(timer) = &ask.timer {
        worker.timers.remove(timer);
    }
    let outcome = match error.and_then(failure) {
        Some(failure) => Err(failure),
        None => Ok(data.map(|data| data.get().into())),
    };
    ask.seat.calls.push_answer(Event::ClientAnswer { to: ask.token, outcome });
}

#[derive(Deserialize)]
struct ClientError {
    #[serde(default)]
    name: Option<serde_json::Value>,
    #[serde(default)]
    message: Option<serde_json::Value>,
    #[serde(flatten)]
    extra: serde_json::Map<String, serde_json::Value>,
}

/// A client's error. Falsy values that are no objects count as success, as the clients' own rule has it.
fn failure(error: &RawValue) -> Option<Failure> {
    match error.get() {
        "null" | "false" | "0" | "\"\"" => None,
        text => Some(match serde_json::from_str::<ClientError>(text) {
            Ok(error) => {
                let extra =
                    (!error.extra.is_empty()).then(|| serde_json::Value::Object(error.extra).to_string());
                Failure::Error {
                    name: error.name.and_then(|name| name.as_str().map(Into::into)),
                    message: error
                        .message
                        .and_then(|message| message.as_str().map(Into::into))
                        .unwrap_or_else(|| "Invalid error message format".into()),
                    extra,
                }
            }
            Err(_) => match packet::string(error) {
                Some(message) => Failure::Text(message.into()),
                None => Failure::Text(text.into()),
            },
        }),
    }
}
