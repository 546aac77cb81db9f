//! What an action does once it is allowed, and what its client hears when it is not.
//!
//! Source of names and shapes: what socketcluster-server 20.0.1 answers when its middleware blocks.

use std::rc::Rc;

use sc_core::controller::{Failure, Json, Line};
use sc_core::log::{NOTICE, name};
use sc_wire::packet::{CallId, Message, Packet, Version};
use sc_wire::{close, encode, packet};

use crate::auth::{Claims, Rejected};
use crate::classic::events;
use crate::exchange::Asker;
use crate::gate::{Publication, RawMessage};
use crate::handshake::{self, Offered};
use crate::seat::Seat;
use crate::socket::{Socket, State};
use crate::worker::Worker;
use crate::{dispatch, effects};

/// An action with all that it needs.
pub(crate) enum Deed {
    /// To have a message read.
    Message(RawMessage),
    /// To open, with what was offered as a token.
    Handshake { call: CallId, offered: Offered },
    /// To open under a token that verified.
    Login { call: CallId, token: Json, claims: Claims },
    /// To take on a token that verified.
    Authenticate { call: CallId, token: Json, claims: Claims },
    /// To subscribe.
    Subscribe { channel: String, data: Option<Json>, asker: Option<Asker> },
    /// To publish.
    Publish { channel: String, data: Option<Json>, call: Option<CallId> },
    /// An event for the controller.
    Event { name: Box<str>, data: Option<Json>, call: Option<CallId> },
    /// To get a publication, perhaps with other data.
    PublishOut { publication: Rc<Publication>, changed: Option<Option<Json>> },
}

impl Deed {
    pub(super) fn line(&self) -> Line {
        match self {
            Deed::Message(_) => Line::InboundRaw,
            Deed::Handshake { .. } => Line::Handshake,
            Deed::Login { .. } | Deed::Authenticate { .. } => Line::Authenticate,
            Deed::Subscribe { .. } => Line::Subscribe,
            Deed::Publish { .. } => Line::PublishIn,
            Deed::Event { call: None, .. } => Line::Transmit,
            Deed::Event { call: Some(_), .. } => Line::Invoke,
            Deed::PublishOut { .. } => Line::PublishOut,
        }
    }

    /// The channel's or the event's name.
    pub(super) fn name(&self) -> &str {
        match self {
            Deed::Message(_) | Deed::Handshake { .. } | Deed::Login { .. } | Deed::Authenticate { .. } => "",
            Deed::Subscribe { channel, .. } | Deed::Publish { channel, .. } => channel,
            Deed::Event { name, .. } => name,
            Deed::PublishOut { publication, .. } => publication.channel(),
        }
    }

    /// What those who decide are shown.
    pub(super) fn data(&self) -> Option<Json> {
        match self {
            Deed::Message(message) => Some(encode::string(&message.text)),
            Deed::Handshake { offered, .. } => Some(offered.describe()),
            Deed::Login { token, claims, .. } | Deed::Authenticate { token, claims, .. } => {
                Some(format!(r#"{{"signedAuthToken":{token},"authToken":{}}}"#, claims.text))
            }
            Deed::Subscribe { data, .. } | Deed::Publish { data, .. } | Deed::Event { data, .. } => {
                data.clone()
            }
            Deed::PublishOut { publication, changed: None } => publication.data(),
            Deed::PublishOut { changed: Some(data), .. } => data.clone(),
        }
    }

    /// Puts other data in the place of its own. What a token says is not to be changed.
    pub(super) fn replace(&mut self, with: Option<Json>) -> Result<(), &'static str> {
        match self {
            Deed::Message(message) => {
                let text = with.and_then(|text| serde_json::from_str(&text).ok());
                message.text = text.ok_or("A message can only be replaced by a text")?;
            }
            Deed::PublishOut { changed, .. } => *changed = Some(with),
            Deed::Handshake { .. } | Deed::Login { .. } | Deed::Authenticate { .. } => {}
            Deed::Subscribe { data, .. } | Deed::Publish { data, .. } | Deed::Event { data, .. } => {
                *data = with
            }
        }
        Ok(())
    }

    /// It is allowed.
    pub(super) fn perform(self, worker: &Rc<Worker>, socket: &Rc<Socket>) {
        match self {
            Deed::Message(RawMessage { text, is_binary }) => {
                dispatch::text(worker, socket, &text, is_binary);
            }
            Deed::Handshake { call, offered } => handshake::login(worker, socket, call, offered),
            Deed::Login { call, claims, .. } => handshake::open(worker, socket, &call, Some(Ok(claims))),
            Deed::Authenticate { call, claims, .. } => handshake::accept(worker, socket, &call, claims),
            Deed::Subscribe { channel, asker, .. } => dispatch::subscribed(worker, socket, &channel, asker),
            Deed::Publish { channel, data, call } => {
                dispatch::published(worker, socket, &channel, data.map(Into::into), call);
            }
            Deed::Event { name, data, call } => dispatch::to_controller(worker, socket, name, data, call),
            Deed::PublishOut { publication, changed } => publication.send(worker, socket, changed),
        }
    }

    /// It is blocked, by the component in that place, which is worth a notice.
    pub(super) fn refuse(
        self,
        worker: &Rc<Worker>,
        by: &Seat,
        socket: &Rc<Socket>,
        error: &Failure,
        code: Option<u16>,
    ) {
        tracing::info!(
            target: NOTICE,
            component = %by.label.borrow(),
            line = self.line().as_str(),
            name = name(self.name()),
            error = error.class(),
            socket = &*socket.name,
            address = &*socket.opening.address,
            "an action was blocked"
        );
        self.end(worker, socket, error, code);
    }

    /// It ends without being done.
    pub(super) fn end(self, worker: &Rc<Worker>, socket: &Rc<Socket>, error: &Failure, code: Option<u16>) {
        let text = effects::error_text(error);
        match self {
            Deed::Message(message) => refuse_all(worker, socket, &message, error, code),
            Deed::Handshake { call, .. } => reject(worker, socket, &call, error, code),
            Deed::Login { call, .. } => {
                handshake::open(worker, socket, &call, Some(Err(rejected(error, text))));
            }
            Deed::Authenticate { call, .. } => {
                handshake::refuse(worker, socket, &call, &rejected(error, text));
            }
            Deed::Subscribe { asker: Some(asker), .. } => asker.refuse_with(worker, socket, &text),
            Deed::Publish { call: Some(call), .. } | Deed::Event { call: Some(call), .. } => {
                worker.hub.send(socket, encode::refusal(&call, &text, None));
            }
            Deed::Subscribe { .. } | Deed::Publish { .. } | Deed::Event { .. } | Deed::PublishOut { .. } => {}
        }
    }

    /// The error of those who are not told why; none when they are told nothing at all.
    pub(super) fn silence(&self, socket: &Socket) -> Option<Failure> {
        let is_old = socket.version.get() == Some(Version::One);
        let kind = match (self.line(), is_old) {
            (Line::Upgrade | Line::Request | Line::InboundRaw | Line::PublishOut, _) => return None,
            (Line::Handshake, _) => "handshakeSC",
            (Line::Authenticate, _) => "authenticate",
            (Line::Subscribe, _) => "subscribe",
            (Line::PublishIn, _) => "publishIn",
            (Line::Transmit | Line::Invoke, true) => "emit",
            (Line::Transmit, false) => "transmit",
            (Line::Invoke, false) => "invoke",
        };
        let stream = if self.line() == Line::Handshake { "handshake" } else { "inbound" };
        let (message, kind) = match is_old {
            true => (format!("Action was silently blocked by {kind} middleware"), kind),
            false => (format!("The {kind} AGAction was blocked by {stream} middleware"), stream),
        };
        Some(Failure::Error {
            name: Some("SilentMiddlewareBlockedError".into()),
            message: message.into(),
            extra: Some(format!(r#"{{"type":"{kind}"}}"#)),
        })
    }
}

/// A message is blocked: who waits for an answer to a packet of it gets the error. One that should have been the
/// handshake ends its socket as a blocked handshake does.
fn refuse_all(
    worker: &Rc<Worker>,
    socket: &Rc<Socket>,
    RawMessage { text, is_binary }: &RawMessage,
    error: &Failure,
    code: Option<u16>,
) {
    let error_text = effects::error_text(error);
    if socket.classic.is_some() {
        if let Some(call) = events::call_of(text) {
            worker.hub.send(socket, encode::refusal(&call, &error_text, None));
        }
        return;
    }
    let packets = match if *is_binary { packet::parse_binary(text) } else { packet::parse(text) } {
        Message::Pong(_) => return,
        Message::One(packet) => vec![packet],
        Message::Batch(packets) => packets,
    };
    for packet in packets {
        let Packet::Event { call, .. } = packet else { continue };
        let Some(call) = dispatch::usable(socket, call) else { continue };
        match socket.state.get() {
            State::Connecting => return reject(worker, socket, &call, error, code),
            State::Open => worker.hub.send(socket, encode::refusal(&call, &error_text, None)),
            State::Closing => return,
        }
    }
}

/// A token that was good, but not for this.
fn rejected(error: &Failure, text: String) -> Rejected {
    let extra = match error {
        Failure::Error { extra: Some(extra), .. } => serde_json::from_str(extra).unwrap_or_default(),
        _ => serde_json::Map::new(),
    };
    Rejected { error: text, is_bad: extra.get("isBadToken").is_some_and(|bad| bad == true) }
}

/// Answers a handshake with an error and closes. Clients of version 2 look for the code in the error, those of version
/// 1 beside it.
fn reject(worker: &Rc<Worker>, socket: &Rc<Socket>, call: &CallId, error: &Failure, code: Option<u16>) {
    let code = code.unwrap_or(close::HANDSHAKE_REJECTED);
    if socket.classic.is_some() {
        events::fail(worker, socket, error);
        return worker.close_socket(socket, code, "");
    }
    let member = format!(r#""statusCode":{code}"#);
    let text = match error {
        Failure::Text(_) => effects::error_text(error),
        Failure::Error { name, message, extra } => {
            let extra = extra.as_deref().map(effects::members).filter(|extra| !extra.is_empty());
            let members = extra.map_or(member.clone(), |extra| format!("{extra},{member}"));
            encode::error(name.as_deref(), message, &members)
        }
    };
    worker.hub.send(socket, encode::refusal(call, &text, Some(&format!(r#"{{"code":{code}}}"#))));
    worker.close_socket(socket, code, "");
}
