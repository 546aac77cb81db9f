//! HTTP over handed-over connections: the engine path, built-in endpoints, static files. A request that belongs to
//! another live worker is forwarded there.

mod builtin;
mod files;
mod forward;

use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sc_core::config::Peer;
use sc_core::link::control::Giver;

use self::forward::Links;
use crate::arrival;
use crate::stream::Prefixed;
use crate::upgrade::{self, Head, Refusal};
use crate::worker::Worker;

/// A response's body.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// For a request's head, and for an idle connection between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest request head.
const HEAD_MAX: usize = 64 * 1024;

/// One connection.
struct Connection {
    worker: Rc<Worker>,
    peer: Peer,
    giver: Giver,
    links: Links,
}

/// Serves a connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, io: Prefixed, peer: Peer, giver: Giver) {
    let connection = Rc::new(Connection { worker: Rc::clone(&worker), peer, giver, links: Links::default() });
    let service = service_fn(move |request| {
        let connection = Rc::clone(&connection);
        async move { Ok::<_, std::convert::Infallible>(respond(&connection, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = worker.draining.notified() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        // A client's mistake or absence: its own connection is all that ends.
        tracing::debug!(error = %error, "an HTTP connection ended early");
    }
}

async fn respond(connection: &Rc<Connection>, request: Request<Incoming>) -> Response<Body> {
    let worker = &connection.worker;
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let method = request.method().clone();
    let headers = request.headers().clone();
    let head = Head {
        method: method.as_str(),
        target: &target,
        headers: headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect(),
    };
    if head.wants_upgrade() {
        return upgrade(connection, &head, request);
    }
    if let Some(owner) = arrival::owner(worker, connection.giver, &head) {
        match connection.links.forward(worker, owner, connection.peer, request).await {
            forward::Outcome::Answered(response) => return response,
            forward::Outcome::NotLive(returned) => return here(worker, &head, *returned).await,
        }
    }
    here(worker, &head, request).await
}

/// The endpoints of this worker, in order.
async fn here(worker: &Worker, head: &Head<'_>, request: Request<Incoming>) -> Response<Body> {
    if head.path() == worker.config.protocol.path {
        let mut response = text(
            StatusCode::UPGRADE_REQUIRED,
            "This is a WebSocket endpoint: connect to it with a SocketCluster client.\n",
        );
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        return response;
    }
    if let Some(response) = builtin::respond(worker, head) {
        return response;
    }
    match &worker.config.public {
        Some(folder) => files::respond(folder, request).await,
        None => text(StatusCode::NOT_FOUND, "There is nothing here.\n"),
    }
}

/// Answers an upgrade on a connection that hyper already serves.
fn upgrade(connection: &Rc<Connection>, head: &Head<'_>, mut request: Request<Incoming>) -> Response<Body> {
    let worker = &connection.worker;
    let checked = upgrade::check(head, &worker.config.protocol)
        .and_then(|accepted| arrival::room(worker).map(|()| accepted));
    let accepted = match checked {
        Ok(accepted) => accepted,
        Err(refusal) => return refused(&refusal),
    };
    let opening = head.opening(&connection.peer, &worker.config.keep_headers);
    let upgraded = hyper::upgrade::on(&mut request);
    let on = Rc::clone(worker);
    worker.tasks.spawn_local(async move {
        let Ok(upgraded) = upgraded.await else { return };
        // What hyper served is always this type: the worker gave it.
        let Ok(parts) = upgraded.downcast::<TokioIo<Prefixed>>() else { return };
        let Prefixed { prefix, stream } = parts.io.into_inner();
        let mut early = Vec::with_capacity(parts.read_buf.len() + prefix.len());
        early.extend_from_slice(&parts.read_buf);
        early.extend_from_slice(&prefix);
        arrival::open(on, stream, opening, early.into());
    });
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(key) = HeaderValue::from_str(&accepted.accept_key) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    }
    if let Some(Ok(subprotocol)) = accepted.subprotocol.as_deref().map(HeaderValue::from_str) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    response
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = text(status, refusal.body.clone());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if let Some((name, value)) = refusal.header {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A short answer.
pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Refuses a method, naming those that would do.
pub(crate) fn method_not_allowed() -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are answered here.\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// Whether the method only reads.
pub(crate) fn reads(method: &str) -> bool {
    method == Method::GET || method == Method::HEAD
}

pub(crate) fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never| match never {}).boxed_unsync()
}

fn empty() -> Body {
    full(Bytes::new())
}
