//! The handshake, and what a client says of its token. The answer goes out before anything else does, and pings
//! start after it: a pong before the handshake would close the socket.
//!
//! Source: the handshake of socketcluster-server 20.0.1, and of 14.7.2 for older clients.

use std::rc::Rc;
use std::time::{Instant, SystemTime};

use sc_core::controller::{Event, Failure, Json, Line};
use sc_wire::packet::{Call, CallId, Version};
use sc_wire::{close, encode};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::addresses::TurnedAway;
use crate::auth::{Claims, Rejected};
use crate::classic::events;
use crate::gate::{Deed, Gate};
use crate::sessions::Sessions;
use crate::socket::{Socket, State};
use crate::timers::Due;
use crate::worker::Worker;

#[derive(Deserialize)]
struct Handshake<'a> {
    #[serde(borrow, default, rename = "authToken")]
    auth_token: Option<&'a RawValue>,
}

/// Answers `#handshake`. A second one is answered as things stand, and changes nothing.
pub(crate) fn handshake(worker: &Rc<Worker>, socket: &Rc<Socket>, data: Option<&RawValue>, call: &Call) {
    let Call::Id(call) = call else {
        return worker.close_at_fault(socket, close::HANDSHAKE_REJECTED, "");
    };
    if socket.is_open() {
        return worker.hub.send(socket, encode::response(call, Some(&status(worker, socket, None))));
    }
    let token = data
        .and_then(|data| serde_json::from_str::<Handshake<'_>>(data.get()).ok())
        .and_then(|data| data.auth_token)
        .filter(|token| !matches!(token.get(), "null" | "\"\""));
    let offered = Offered {
        token: token.map(|token| token.get().to_owned()),
        outcome: token.map(|token| worker.tokens.verify(Some(token), SystemTime::now())),
    };
    let call = call.clone();
    if Gate::covers(worker, Line::Handshake, "") {
        return Gate::pass(worker, socket, Deed::Handshake { call, offered });
    }
    login(worker, socket, call, offered);
}

/// Lets a client of the classic generation in, which offers no token.
pub(crate) fn classic(worker: &Rc<Worker>, socket: &Rc<Socket>) {
    let (call, offered) = (CallId::Integer(0), Offered { token: None, outcome: None });
    if Gate::covers(worker, Line::Handshake, "") {
        return Gate::pass(worker, socket, Deed::Handshake { call, offered });
    }
    login(worker, socket, call, offered);
}

/// Tells a classic client that its address has no place for it, in the words of the original, and closes its socket.
pub(crate) fn turn_away(worker: &Worker, socket: &Rc<Socket>, TurnedAway { full, place }: TurnedAway) {
    let why = format!("Failed to bind socket to io cluster - {}", full.reason());
    events::fail(worker, socket, &Failure::Text(why.into()));
    // The WebSocket codec of these clients takes a later code than 1011 for a broken frame.
    worker.close_socket(socket, close::NORMAL, "");
    // A socket that closes has given its place back. This one is held until the socket is gone, for until then it is
    // one of the worker's.
    socket.place.set(Some(place));
}

/// What a client offered as its token, and what that is worth.
pub(crate) struct Offered {
    token: Option<Json>,
    outcome: Option<Result<Claims, Rejected>>,
}

impl Offered {
    /// For those who decide.
    pub(crate) fn describe(&self) -> Json {
        let null = || "null".to_owned();
        let (claims, error, state) = match &self.outcome {
            None => (null(), null(), "unauthenticated"),
            Some(Ok(claims)) => (claims.text.clone(), null(), "authenticated"),
            Some(Err(rejected)) => (null(), rejected.error.clone(), "unauthenticated"),
        };
        let token = self.token.as_deref().unwrap_or("null");
        format!(
            r#"{{"signedAuthToken":{token},"authToken":{claims},"authTokenError":{error},"authState":"{state}"}}"#
        )
    }
}

/// The handshake is allowed: the token it came with is next.
pub(crate) fn login(worker: &Rc<Worker>, socket: &Rc<Socket>, call: CallId, offered: Offered) {
    match offered {
        Offered { token: Some(token), outcome: Some(Ok(claims)) }
            if Gate::covers(worker, Line::Authenticate, "") =>
        {
            Gate::pass(worker, socket, Deed::Login { call, token, claims });
        }
        Offered { outcome, .. } => open(worker, socket, &call, outcome),
    }
}

/// Opens a socket.
pub(crate) fn open(
    worker: &Rc<Worker>,
    socket: &Rc<Socket>,
    call: &CallId,
    outcome: Option<Result<Claims, Rejected>>,
) {
    if let Some(classic) = &socket.classic {
        return events::let_in(worker, socket, classic);
    }
    let rejected = match outcome {
        None => None,
        Some(Ok(claims)) => {
            *socket.auth.borrow_mut() = Some(claims);
            None
        }
        Some(Err(rejected)) => Some(rejected),
    };
    socket.state.set(State::Open);
    worker.hub.opened();
    Sessions::join(worker, socket);
    let error = rejected.as_ref().map(|rejected| rejected.error.as_str());
    worker.hub.send(socket, encode::response(call, Some(&status(worker, socket, error))));
    if rejected.is_some_and(|rejected| rejected.is_bad) {
        worker.remove_token(socket);
    }
    let protocol = &worker.config.protocol;
    if let Some(batching) = protocol.batching {
        socket.batching.set(Some(Instant::now() + batching.duration));
        worker.timers.insert(Due::Batch(socket.id), batching.interval.min(batching.duration));
    }
    if !protocol.ping_timeout_disabled {
        worker.timers.insert(Due::Ping(socket.id), protocol.ping_interval);
        worker.timers.insert(Due::Pong(socket.id), protocol.ping_timeout);
    }
    worker.app.calls.push_from(socket, Event::Open(socket.info()));
}

fn status(worker: &Worker, socket: &Socket, auth_error: Option<&str>) -> String {
    let auth_error = auth_error.map(|error| format!(r#""authError":{error},"#)).unwrap_or_default();
    format!(
        r#"{{"id":"{}","pingTimeout":{},{auth_error}"isAuthenticated":{}}}"#,
        socket.name,
        worker.config.protocol.ping_timeout.as_millis(),
        socket.auth.borrow().is_some()
    )
}

/// Answers `#authenticate`. Whatever is wrong with the token, the socket is unauthenticated afterwards.
pub(crate) fn authenticate(
    worker: &Rc<Worker>,
    socket: &Rc<Socket>,
    data: Option<&RawValue>,
    call: Option<&CallId>,
) {
    let Some(call) = call else {
        return worker.close_at_fault(socket, close::HANDSHAKE_REJECTED, "");
    };
    match worker.tokens.verify(data, SystemTime::now()) {
        Ok(claims) if Gate::covers(worker, Line::Authenticate, "") => {
            let token = data.map_or("null", RawValue::get).to_owned();
            Gate::pass(worker, socket, Deed::Authenticate { call: call.clone(), token, claims });
        }
        Ok(claims) => accept(worker, socket, call, claims),
        Err(rejected) => refuse(worker, socket, call, &rejected),
    }
}

/// Answers `#authenticate`: the token is the socket's now.
pub(crate) fn accept(worker: &Worker, socket: &Rc<Socket>, call: &CallId, claims: Claims) {
    worker.set_claims(socket, Some(claims));
    let status = r#"{"isAuthenticated":true,"authError":null}"#;
    worker.hub.send(socket, encode::response(call, Some(status)));
}

/// Answers `#authenticate`: the token is of no use.
pub(crate) fn refuse(worker: &Worker, socket: &Rc<Socket>, call: &CallId, rejected: &Rejected) {
    worker.set_claims(socket, None);
    let status = format!(r#"{{"isAuthenticated":false,"authError":{}}}"#, rejected.error);
    if rejected.is_bad {
        // Clients of protocol 1 know both parts; the others look at the error alone.
        let data = (socket.version.get() == Some(Version::One)).then_some(status.as_str());
        worker.hub.send(socket, encode::refusal(call, &rejected.error, data));
        worker.remove_token(socket);
    } else {
        worker.hub.send(socket, encode::response(call, Some(&status)));
    }
}
