//! Requests of classic clients: the first of a socket that polls, its polls, and what its client says. An answer may
//! be a payload or, for clients that can only load scripts, one of these.
//!
//! Source of answers and headers: SocketCluster 0.9.90 with engine.io 1.3.1.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use sc_core::client::Client;
use sc_core::controller::Line;
use sc_core::link::control::Way;
use sc_wire::classic::{jsonp, payload};
use sc_wire::close;

use super::poll::{Overlap, Post};
use super::{Classic, Query, keep, poll};
use crate::addresses::Full;
use crate::arrival;
use crate::gate::Gate;
use crate::handshake;
use crate::http::{Body, full};
use crate::sessions::Session;
use crate::socket::Socket;
use crate::upgrade::{self, Head, Refusal};
use crate::worker::Worker;

/// Messages of the largest size that one request may bring as bytes.
const MESSAGES: usize = 4;
/// Bytes of a text's body for one of the message: texts are encoded twice. One message of the largest size fits as a
/// form, too, whatever its characters: of these, forms make six bytes at most.
const TEXT: usize = 2;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    UnknownTransport,
    UnknownSocket,
    BadMethod,
    BadRequest,
    /// By its origin, or by a component.
    NotAdmitted,
}

impl From<Overlap> for Fault {
    fn from(Overlap: Overlap) -> Self {
        Fault::BadRequest
    }
}

impl Fault {
    /// The answer's body, in JSON.
    pub(crate) fn body(self) -> &'static str {
        match self {
            Fault::UnknownTransport => r#"{"code":0,"message":"Transport unknown"}"#,
            Fault::UnknownSocket => r#"{"code":1,"message":"Session ID unknown"}"#,
            Fault::BadMethod => r#"{"code":2,"message":"Bad handshake method"}"#,
            Fault::BadRequest => r#"{"code":3,"message":"Bad request"}"#,
            Fault::NotAdmitted => r#"{"code":null}"#,
        }
    }

    /// The answer to a request for an upgrade.
    pub(crate) fn refusal(self) -> Refusal {
        Refusal::new(400, self.body()).with("Content-Type", "application/json").quiet()
    }
}

/// Answers a request of a classic client.
pub(crate) async fn respond(
    worker: &Rc<Worker>,
    head: &Head<'_>,
    client: Client,
    query: Query<'_>,
    request: Request<Incoming>,
) -> Response<Body> {
    let answered = answer(worker, head, client, query, request).await;
    let mut response =
        answered.unwrap_or_else(|fault| plain(StatusCode::BAD_REQUEST, "application/json", fault.body()));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if query.callback.is_none() {
        allow_origin(head, headers);
    }
    response
}

/// A page of any site may read the answer: whoever has the socket's id has it from here.
fn allow_origin(head: &Head<'_>, headers: &mut http::HeaderMap) {
    let origin = head.header("origin").and_then(|origin| HeaderValue::from_bytes(origin).ok());
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    } else {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    let agent = head.header("user-agent").map(String::from_utf8_lossy).unwrap_or_default();
    if agent.contains(";MSIE") || agent.contains("Trident/") {
        headers.insert(HeaderName::from_static("x-xss-protection"), HeaderValue::from_static("0"));
    }
}

async fn answer(
    worker: &Rc<Worker>,
    head: &Head<'_>,
    client: Client,
    query: Query<'_>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Fault> {
    let polls = match query.transport {
        Some("polling") if worker.config.classic.transports.polling => true,
        Some("websocket") if worker.config.classic.transports.websocket => false,
        _ => return Err(Fault::UnknownTransport),
    };
    let Some(sid) = query.sid else {
        return match (head.method, polls) {
            ("GET", true) => open(worker, head, client, query).await,
            ("GET", false) => Err(Fault::BadRequest),
            _ => Err(Fault::BadMethod),
        };
    };
    let socket = worker.pollers.get(sid).ok_or(Fault::UnknownSocket)?;
    let classic = socket.classic.as_deref().ok_or(Fault::UnknownSocket)?;
    if !polls || socket.connection().is_some() {
        return Err(Fault::BadRequest);
    }
    match head.method {
        "GET" => {
            let packets = poll::poll(worker, &socket, classic).await?;
            Ok(payload(worker, classic, query, &packets))
        }
        "POST" => post(worker, &socket, classic, query, request).await,
        "OPTIONS" => {
            let mut response = plain(StatusCode::OK, "text/html", "");
            let allowed = HeaderValue::from_static("Content-Type");
            response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
            Ok(response)
        }
        _ => Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, "text/html", "")),
    }
}

/// Opens a socket that polls.
async fn open(
    worker: &Rc<Worker>,
    head: &Head<'_>,
    client: Client,
    query: Query<'_>,
) -> Result<Response<Body>, Fault> {
    let config = &worker.config;
    let origin = head.origin().or_else(|| head.referer()).unwrap_or("*");
    if !upgrade::origin_allowed(origin, &config.protocol.origins) {
        Refusal::new(403, &format!("Invalid origin: {origin}")).note(client.address);
        return Err(Fault::NotAdmitted);
    }
    let later = |status, why: String, seconds| {
        let mut response = plain(status, "text/html", why);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        Ok(response)
    };
    let full = || later(StatusCode::SERVICE_UNAVAILABLE, "Try again later".to_owned(), "1");
    let has_room = || {
        let room = arrival::room(worker, Way::Open);
        room.inspect_err(|refusal| refusal.note(client.address)).is_ok()
    };
    if !has_room() {
        return full();
    }
    let Ok(session) = Session::of_upgrade(worker, head, client.secure) else { return full() };
    let too_many = |full: Full| later(StatusCode::TOO_MANY_REQUESTS, full.reason(), "10");
    let arriving = match worker.addresses.arrive(client.address) {
        Ok(place) => place,
        Err(full) => return too_many(full),
    };
    let path = &config.protocol.path;
    let _arriving = worker.hub.arriving();
    let place = match worker.addresses.enter(client.address).await {
        Ok(place) => Ok(place),
        Err(full) => match worker.addresses.turn_away(full) {
            Ok(turned_away) => Err(turned_away),
            Err(full) => return too_many(full),
        },
    };
    if place.is_ok() && Gate::covers(worker, Line::Upgrade, path) {
        let admitted = Gate::admit(worker, Line::Upgrade, path, head, client, &session).await;
        admitted.map_err(|_| Fault::NotAdmitted)?;
    }
    // Others may have come meanwhile, or the host may have begun to shut down.
    if !has_room() {
        return full();
    }
    let cookie = session.set_cookie(&config.app);
    let opening = head.opening(client, &config.keep_headers);
    let Ok((socket, first)) = super::open(worker, session, opening, None, &query, head) else {
        return full();
    };
    let classic = socket.classic.as_deref().ok_or(Fault::UnknownSocket)?;
    worker.pollers.insert(&classic.sid, &socket);
    tokio::task::spawn_local(keep(Rc::clone(worker), Rc::clone(&socket)));
    let mut response = payload(worker, classic, query, &[first]);
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok()) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    match place {
        Ok(place) => {
            socket.place.set(place);
            classic.arriving.set(Some(arriving));
            handshake::classic(worker, &socket);
        }
        Err(turned_away) => handshake::turn_away(worker, &socket, turned_away),
    }
    Ok(response)
}

/// Takes what a client says.
async fn post(
    worker: &Rc<Worker>,
    socket: &Rc<Socket>,
    classic: &Classic,
    query: Query<'_>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Fault> {
    let place = Post::begin(worker, socket, classic)?;
    let is_binary = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/octet-stream"));
    let is_bytes = is_binary && query.callback.is_none();
    let most = worker.config.client.max_payload.saturating_mul(MESSAGES);
    let most = if is_bytes { most } else { most.saturating_mul(TEXT) };
    let body = match read(request, most, worker.config.http.body_timeout).await {
        Ok(body) => body,
        Err((status, code)) => {
            match close::rule(code) {
                // It upgraded meanwhile, and is not ended by what is left of its polling.
                _ if socket.connection().is_some() => {}
                Some(_) => worker.close_at_fault(socket, code, "transport error"),
                None => worker.close_socket(socket, code, "transport error"),
            }
            place.drop_body();
            return Ok(plain(status, "text/html", ""));
        }
    };
    if query.callback.is_some() {
        let text = jsonp::form(&body).unwrap_or_default();
        place.handle(worker, payload::texts(&text)).await?;
    } else if is_binary {
        place.handle(worker, payload::binaries(&body)).await?;
    } else {
        // What is no text is no payload.
        let text = std::str::from_utf8(&body).unwrap_or("?");
        place.handle(worker, payload::texts(text)).await?;
    }
    let mut response = plain(StatusCode::OK, "text/html", "ok");
    remember(worker, classic, &mut response);
    Ok(response)
}

/// A whole body; else what the client is answered, and the code that its socket closes with.
async fn read(
    request: Request<Incoming>,
    most: usize,
    timeout: Duration,
) -> Result<Bytes, (StatusCode, u16)> {
    let body = Limited::new(request.into_body(), most).collect();
    match tokio::time::timeout(timeout, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err((StatusCode::PAYLOAD_TOO_LARGE, close::TOO_BIG))
        }
        Ok(Err(_)) => Err((StatusCode::BAD_REQUEST, close::ABNORMAL)),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, close::ABNORMAL)),
    }
}

fn payload(worker: &Worker, classic: &Classic, query: Query<'_>, packets: &[String]) -> Response<Body> {
    let framing = classic.polling.framing;
    let mut response = match query.callback {
        Some(callback) => {
            let script = jsonp::answer(&jsonp::index(callback), packets);
            plain(StatusCode::OK, "text/javascript; charset=UTF-8", script)
        }
        None => plain(StatusCode::OK, framing.content_type(), framing.write(packets)),
    };
    remember(worker, classic, &mut response);
    response
}

/// The cookie with the socket's id, which nobody reads back.
fn remember(worker: &Worker, classic: &Classic, response: &mut Response<Body>) {
    let cookie = format!("n/{}/io={}", worker.config.app, classic.sid);
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

fn plain(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
