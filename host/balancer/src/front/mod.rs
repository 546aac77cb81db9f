//! Connections of a balancer with a controller: HTTP is served here, request by request. The controller decides about
//! each; what goes on is proxied, and a request for a socket ends HTTP: the connection is given to a worker.

pub(crate) mod inspect;
mod ruling;
mod stream;

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sc_core::affinity::worker_of;
use sc_core::client::Client as Sender;
use sc_core::config::Peer;
use sc_core::controller::{Arrival, HttpCall};
use sc_core::prefixed::Prefixed;
use sc_core::upgrade;

use self::inspect::{Inspector, Seen};
use self::ruling::{Outcome, rule};
use self::stream::Inspected;
use crate::client::Client;
use crate::connection::Shared;
use crate::controller::Desk;
use crate::handoff::Given;
use crate::pending::Place;
use crate::proxy::{self, Body};
use crate::refusal::Refusal;
use crate::targets::{Deal, Wish};

/// For a request's head after the first, and for an idle connection between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The least that the server takes for the bound of a head.
const HEAD_ROOM: usize = 8 * 1024;

/// One connection.
struct Connection {
    shared: Rc<Shared>,
    desk: Rc<Desk>,
    peer: Peer,
    number: u64,
    place: Rc<RefCell<Place>>,
    inspector: Rc<RefCell<Inspector>>,
    leave: RefCell<Option<Leave>>,
}

/// Has a connection end with its HTTP, also when its task is aborted.
struct Ending(Rc<RefCell<Place>>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.borrow_mut().end();
    }
}

/// Why HTTP ends here.
enum Leave {
    /// The controller closes the connection.
    Close,
    /// A request for a socket, as a worker shall see it.
    Upgrade(BytesMut, Wish),
}

/// Serves a connection to its end, or up to a request for a socket: then it comes back, to be given away. `read` is
/// what was read of it.
pub(crate) async fn serve(
    shared: &Rc<Shared>,
    desk: &Rc<Desk>,
    client: Client,
    read: Bytes,
    peer: Peer,
    number: u64,
    place: &Rc<RefCell<Place>>,
) -> Option<(Client, Given)> {
    let inspector = Rc::new(RefCell::new(Inspector::new(shared.config.head_max)));
    let io = Inspected::new(read, client, Rc::clone(&inspector));
    let behind = Rc::clone(&io.io.behind);
    let connection = Rc::new(Connection {
        shared: Rc::clone(shared),
        desk: Rc::clone(desk),
        peer,
        number,
        place: Rc::clone(place),
        inspector,
        leave: RefCell::default(),
    });
    let on = Rc::clone(&connection);
    let service = service_fn(move |request| {
        let on = Rc::clone(&on);
        async move { Ok::<_, Infallible>(respond(&on, request).await) }
    });
    let mut served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(shared.config.head_max.max(HEAD_ROOM))
        .serve_connection(TokioIo::new(io), service);
    // Dropped before what it is about, which may hold work.
    let _ending = Ending(Rc::clone(place));
    let mut draining = pin!(shared.draining.notified());
    if shared.leaving.get() {
        Pin::new(&mut served).graceful_shutdown();
    }
    let ended = poll_fn(|context| {
        if draining.as_mut().poll(context).is_ready() {
            draining.set(shared.draining.notified());
            Pin::new(&mut served).graceful_shutdown();
        }
        let polled = Pin::new(&mut served).poll(context).map(Some);
        // Answers to requests before it go out first.
        if polled.is_pending() && connection.leave.borrow().is_some() && !behind.get() {
            return Poll::Ready(None);
        }
        polled
    });
    match ended.await {
        Some(Ok(())) => None,
        Some(Err(error)) => {
            // A client's mistake or absence: its own connection is all that ends.
            tracing::debug!(request = number, %error, "an HTTP connection ended early");
            None
        }
        None => {
            let Leave::Upgrade(mut read, wish) = connection.leave.take()? else { return None };
            // Its work ends, and it is pending until a worker has it.
            let parts = served.into_parts();
            let Prefixed { prefix, stream, .. } = parts.io.into_inner().io;
            read.extend_from_slice(&parts.read_buf);
            read.extend_from_slice(&prefix);
            Some((stream, Given { read, wish }))
        }
    }
}

async fn respond(on: &Rc<Connection>, request: Request<Incoming>) -> Response<Body> {
    let Seen { refusal, is_last } = on.inspector.borrow_mut().take();
    if let Some(refusal) = refusal {
        refusal.note(on.number, on.peer.address);
        return refusal.response(true);
    }
    let Some(work) = Place::work(&on.place, on.shared.config.pending_max) else {
        Refusal::Busy.note(on.number, on.peer.address);
        return Refusal::Busy.response(true);
    };
    let mut response = match decided(on, request).await {
        Ok(response) => response,
        Err(refusal) => {
            refusal.note(on.number, on.peer.address);
            refusal.response(false)
        }
    };
    if is_last {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response.map(|body| proxy::held(body, work))
}

async fn decided(on: &Rc<Connection>, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    if request.method() == Method::CONNECT {
        return Err(Refusal::Method);
    }
    let (mut parts, body) = request.into_parts();
    let wants_socket = wants_socket(&on.shared, &parts);
    let arrival = arrival(on, &parts, wants_socket);
    let rulings = on.desk.ask(arrival).await.ok_or(Refusal::Undecided)?;
    let outcome = rule(rulings, &mut parts);
    note_block(on, &outcome, &parts);
    let (key, set) = match outcome {
        Outcome::Answered(mut response) => {
            // What follows a request for a socket may be no HTTP.
            if wants_socket {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            return Ok(response);
        }
        Outcome::Closed => return leave(on, Leave::Close).await,
        Outcome::On { key, set } => (key, set),
    };
    let wish = |deal| Wish { key, worker: session_worker(&on.shared, &parts), deal };
    // Another path may make another request of it, and a worker judges by what it is given.
    if self::wants_socket(&on.shared, &parts) {
        let wish = wish(Deal::Socket);
        return leave(on, Leave::Upgrade(head_bytes(&parts), wish)).await;
    }
    let wish = wish(Deal::Request);
    proxy::forward(&on.shared, Request::from_parts(parts, body), &set, &wish, on.peer, on.number).await
}

/// Gives notice of a request that the controller closed, or answered with an error.
fn note_block(on: &Connection, outcome: &Outcome, parts: &Parts) {
    let status = match outcome {
        Outcome::Answered(response) => Some(response.status().as_u16()),
        Outcome::Closed => None,
        Outcome::On { .. } => return,
    };
    if status.is_none_or(|status| status >= 400) {
        on.desk.note_block(&HttpCall(parts.method.as_str(), parts.uri.path()), status, on.peer.address);
    }
}

/// Ends HTTP: whoever polls the connection takes it away.
async fn leave<T>(on: &Connection, why: Leave) -> T {
    *on.leave.borrow_mut() = Some(why);
    std::future::pending().await
}

fn target(parts: &Parts) -> &str {
    parts.uri.path_and_query().map_or("/", |target| target.as_str())
}

fn headers(parts: &Parts) -> Vec<(&str, &[u8])> {
    parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

fn wants_socket(shared: &Shared, parts: &Parts) -> bool {
    upgrade::is_wanted(parts.uri.path(), &shared.config.socket_path, headers(parts).into_iter())
}

fn arrival(on: &Connection, parts: &Parts, is_upgrade: bool) -> Arrival {
    let all = headers(parts);
    let client = Sender::of(&all, on.peer, &on.shared.config.trusted_proxies);
    Arrival {
        method: parts.method.as_str().to_owned(),
        target: target(parts).to_owned(),
        headers: all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        address: client.address.to_string(),
        secure: client.secure,
        is_upgrade,
    }
}

/// The worker of the request's session.
fn session_worker(shared: &Shared, parts: &Parts) -> Option<sc_core::ids::WorkerId> {
    let ids = shared.config.smart_balancing.then_some(&shared.config.session_ids)?;
    let cookies = parts.headers.get_all(header::COOKIE).into_iter().map(HeaderValue::as_bytes);
    worker_of(ids, parts.uri.query(), cookies)
}

/// The head as it may have been sent.
fn head_bytes(parts: &Parts) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(1024);
    let mut line = |pieces: &[&[u8]]| {
        pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
        bytes.extend_from_slice(b"\r\n");
    };
    line(&[parts.method.as_str().as_bytes(), b" ", target(parts).as_bytes(), b" HTTP/1.1"]);
    headers(parts).into_iter().for_each(|(name, value)| line(&[name.as_bytes(), b": ", value]));
    line(&[]);
    bytes
}
