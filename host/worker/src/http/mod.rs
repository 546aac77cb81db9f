//! HTTP on handed-over connections, in this order: polling, built-in endpoints, middleware, static files, routes, the
//! site. A request that belongs to another live worker is forwarded there; one that wants an upgrade goes back to
//! where connections arrive.

mod builtin;
pub(crate) mod files;
mod forward;
pub(crate) mod requests;
pub(crate) mod routes;
mod site;

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sc_core::client::Client;
use sc_core::config::Peer;
use sc_core::controller::Line;
use sc_core::limits::HEADERS_MAX_PROXIED;
use sc_core::link::control::{Giver, Way};
use sc_core::log::FAULT;
use sc_core::prefixed::Prefixed;

use self::forward::Links;
use self::routes::Match;
use crate::arrival;
use crate::classic;
use crate::gate::{self, Gate};
use crate::sessions::Session;
use crate::site::SitePlace;
use crate::socket::serve::CLOSE_DEADLINE;
use crate::stream::ClientStream;
use crate::upgrade::Head;
use crate::worker::Worker;

/// A response's body.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// For a request's head, and for an idle connection between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the connection of a polling client looks whether its socket is gone, while the worker drains.
const POLLER_GONE: Duration = Duration::from_millis(50);
/// Largest request head.
const HEAD_MAX: usize = 64 * 1024;

/// One connection.
struct Connection {
    worker: Rc<Worker>,
    peer: Peer,
    giver: Giver,
    way: Way,
    links: Links,
    /// The head of a request that wants an upgrade: it ends HTTP here.
    upgrade: RefCell<Option<BytesMut>>,
    /// The polling socket that its last request was for.
    poller: RefCell<Option<Box<str>>>,
}

impl Connection {
    /// Waits until nothing more is to be asked over it, because the worker drains. A client between two polls is still
    /// to be told by the next one.
    async fn leaves(&self) {
        let worker = &self.worker;
        let draining = worker.draining.notified();
        if !worker.leaving.get() {
            draining.await;
        }
        let until = Instant::now() + CLOSE_DEADLINE;
        while Instant::now() < until
            && self.poller.borrow().as_deref().is_some_and(|sid| worker.pollers.has(sid))
        {
            tokio::time::sleep(POLLER_GONE).await;
        }
    }

    fn client(&self, head: &Head<'_>) -> Client {
        let trusted = &self.worker.config.http.trusted_proxies;
        match self.way {
            Way::Proxied => Client::behind(&head.headers, self.peer, trusted),
            Way::Open | Way::Settled => Client::of(&head.headers, self.peer, trusted),
        }
    }
}

/// Serves a connection to its end, or up to a request for an upgrade: that is given back as it came, with the
/// connection, so that all upgrades go one way.
pub(crate) async fn serve(
    worker: &Rc<Worker>,
    io: Prefixed<ClientStream>,
    peer: Peer,
    giver: Giver,
    way: Way,
) -> Option<(Bytes, ClientStream)> {
    let connection = Rc::new(Connection {
        worker: Rc::clone(worker),
        peer,
        giver,
        way,
        links: Links::default(),
        upgrade: RefCell::default(),
        poller: RefCell::default(),
    });
    let on = Rc::clone(&connection);
    let service = service_fn(move |request| {
        let on = Rc::clone(&on);
        async move { Ok::<_, Infallible>(respond(&on, request).await) }
    });
    let behind = Rc::clone(&io.behind);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_MAX);
    // A client's own connection has no more than hyper takes by itself, which is faster.
    if way == Way::Proxied || matches!(giver, Giver::Worker(_)) {
        builder.max_headers(HEADERS_MAX_PROXIED);
    }
    let mut served = builder.serve_connection(TokioIo::new(io), service);
    let (mut leaves, mut has_left) = (pin!(connection.leaves()), false);
    let ended = poll_fn(|context| {
        if !has_left && leaves.as_mut().poll(context).is_ready() {
            has_left = true;
            Pin::new(&mut served).graceful_shutdown();
        }
        let polled = Pin::new(&mut served).poll(context).map(Some);
        // Answers to requests before it go out first.
        if polled.is_pending() && connection.upgrade.borrow().is_some() && !behind.get() {
            return Poll::Ready(None);
        }
        polled
    });
    match ended.await {
        Some(Ok(())) => None,
        Some(Err(error)) => {
            // A client's mistake or absence: its own connection is all that ends.
            tracing::debug!(error = %error, "an HTTP connection ended early");
            None
        }
        None => {
            let mut read = connection.upgrade.take()?;
            let parts = served.into_parts();
            let Prefixed { prefix, stream, .. } = parts.io.into_inner();
            read.extend_from_slice(&parts.read_buf);
            read.extend_from_slice(&prefix);
            Some((read.freeze(), stream))
        }
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
    if connection.way != Way::Proxied && head.wants_upgrade(&worker.config.protocol.path) {
        *connection.upgrade.borrow_mut() = Some(head.bytes());
        return std::future::pending().await;
    }
    if let Some(owner) = arrival::owner(worker, connection.giver, connection.way, &head) {
        match connection.links.forward(worker, owner, connection.peer, request).await {
            forward::Outcome::Answered(response) => return response,
            forward::Outcome::NotLive(returned) => return here(connection, &head, *returned).await,
        }
    }
    here(connection, &head, request).await
}

/// The endpoints of this worker, in order.
async fn here(connection: &Connection, head: &Head<'_>, request: Request<Incoming>) -> Response<Body> {
    let worker = &connection.worker;
    let query = classic::Query::of(worker, head);
    *connection.poller.borrow_mut() = query.and_then(|query| query.sid()).map(Into::into);
    if let Some(query) = query {
        return classic::http::respond(worker, head, connection.client(head), query, request).await;
    }
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
    let client = connection.client(head);
    if !Gate::has(worker, Line::Request) {
        return answer(worker, head, client, None, request).await;
    }
    let Some(name) = gate::name_of(head.path()) else {
        return text(
            StatusCode::BAD_REQUEST,
            "The path leads through `.` or `..`: send the one it leads to.\n",
        );
    };
    if !Gate::covers(worker, Line::Request, &name) {
        return answer(worker, head, client, None, request).await;
    }
    // Who decides may look into the session, so that it has to be the one that the client then gets.
    let session = match Session::of_request(worker, head, client.secure) {
        Ok(session) => session,
        Err(error) => return no_session(&error),
    };
    match Gate::admit(worker, Line::Request, &name, head, client, &session).await {
        Ok(()) => answer(worker, head, client, Some(session), request).await,
        Err(refused) => {
            let mut response = requests::build(refused);
            remember(worker, &session, &mut response);
            response
        }
    }
}

/// What is not the host's own.
async fn answer(
    worker: &Rc<Worker>,
    head: &Head<'_>,
    client: Client,
    session: Option<Session>,
    request: Request<Incoming>,
) -> Response<Body> {
    let session = || session.clone().map_or_else(|| Session::of_request(worker, head, client.secure), Ok);
    if let Some(files) = worker.files.as_ref().filter(|_| reads(head.method))
        && let Some(mut file) = files.respond(&request).await
    {
        // A page begins a session; its pictures and scripts stay the same for everybody.
        if file.is_page
            && let Ok(session) = session()
        {
            remember(worker, &session, &mut file.response);
        }
        return file.response;
    }
    match worker.routes.find(head.method, head.path()) {
        Match::Taken(taken) => match session() {
            Ok(session) => {
                let mut response = requests::ask(worker, head, client, &session, taken, request).await;
                remember(worker, &session, &mut response);
                response
            }
            Err(error) => no_session(&error),
        },
        Match::OtherMethods(allowed) => other_methods(head.method, &allowed),
        Match::Unknown => elsewhere(worker, head, client, session, request).await,
    }
}

/// What neither this host nor the controller takes: the site, if there is one.
async fn elsewhere(
    worker: &Worker,
    head: &Head<'_>,
    client: Client,
    session: impl FnOnce() -> io::Result<Session>,
    request: Request<Incoming>,
) -> Response<Body> {
    if let Some(files) = &worker.files
        && files.has(head.target).await
    {
        return other_methods(head.method, &["GET", "HEAD", "OPTIONS"]);
    }
    let Some(site) = worker.site.as_ref().map(SitePlace::present) else {
        return text(StatusCode::NOT_FOUND, "There is nothing here.\n");
    };
    match session() {
        Ok(session) => {
            let mut response = site::ask(worker, &*site, client, request).await;
            remember(worker, &session, &mut response);
            response
        }
        Err(error) => no_session(&error),
    }
}

fn no_session(error: &io::Error) -> Response<Body> {
    tracing::error!(target: FAULT, %error, "no session can be made");
    text(StatusCode::INTERNAL_SERVER_ERROR, "The server has no random numbers.\n")
}

/// Gives the client the cookie of a new session, ahead of the controller's cookies. No cache may give it to others: an
/// answer that is meant for all carries none, and any other is marked as this client's own.
fn remember(worker: &Worker, session: &Session, response: &mut Response<Body>) {
    let Some(cookie) = session.set_cookie(&worker.config.app) else { return };
    let Ok(cookie) = HeaderValue::try_from(cookie) else { return };
    let headers = response.headers_mut();
    let rules: Vec<_> = headers.get_all(header::CACHE_CONTROL).iter().map(HeaderValue::as_bytes).collect();
    let rules = String::from_utf8_lossy(&rules.join(&b',')).to_ascii_lowercase();
    let has = |rule: &str| rules.split([',', '=']).any(|word| word.trim() == rule);
    if has("public") || has("s-maxage") {
        return;
    }
    if !has("private") && !has("no-store") {
        let own = if rules.is_empty() { "private, no-cache" } else { "private" };
        headers.append(header::CACHE_CONTROL, HeaderValue::from_static(own));
    }
    let others: Vec<_> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
    headers.insert(header::SET_COOKIE, cookie);
    for other in others {
        headers.append(header::SET_COOKIE, other);
    }
}

/// Answers a method that a path does not have: `OPTIONS` asks just for those it has.
fn other_methods(method: &str, allowed: &[impl AsRef<str>]) -> Response<Body> {
    let allowed: Vec<_> = allowed.iter().map(AsRef::as_ref).collect();
    let allowed = allowed.join(", ");
    let mut response = match method {
        "OPTIONS" => text(StatusCode::NO_CONTENT, ""),
        _ => text(StatusCode::METHOD_NOT_ALLOWED, format!("Answered here: {allowed}.\n")),
    };
    if let Ok(allowed) = HeaderValue::try_from(allowed) {
        response.headers_mut().insert(header::ALLOW, allowed);
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
