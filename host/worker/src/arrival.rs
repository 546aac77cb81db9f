//! A connection that was handed over: a socket's upgrade is answered right here, anything else is served by hyper.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use sc_core::affinity;
use sc_core::causes::causes;
use sc_core::client::Client;
use sc_core::config::Peer;
use sc_core::controller::Line;
use sc_core::ids::WorkerId;
use sc_core::link::control::{Giver, Handoff, HandoffReceiver, HandoffSender, Way};
use sc_core::prefixed::Prefixed;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::addresses::{Full, Place, TurnedAway};
use crate::classic::{self, Query, probe};
use crate::gate::Gate;
use crate::handshake;
use crate::http;
use crate::sessions::Session;
use crate::socket::Socket;
use crate::socket::connection::Connection;
use crate::socket::serve::serve;
use crate::stream::ClientStream;
use crate::timers::Due;
use crate::upgrade::{self, Acceptance, Head, Refusal};
use crate::worker::Worker;

/// What a socket begins with. A classic client is told that its address has no place for it once it has a socket.
struct Admitted {
    accepted: Acceptance,
    place: Result<Option<Place>, TurnedAway>,
}

/// How long a refused client may take to read why.
const LINGER: Duration = Duration::from_secs(2);

/// Takes connections from a link until its other end is gone.
pub(crate) async fn receive(worker: Rc<Worker>, giver: Giver, link: HandoffReceiver) {
    loop {
        match link.recv().await {
            Ok(Some((handoff, mut descriptors))) => {
                if let Some(descriptor) = descriptors.pop() {
                    let tasks = match handoff.way {
                        Way::Proxied => &worker.links,
                        Way::Open | Way::Settled => &worker.connections,
                    };
                    tasks.spawn_local(arrive(Rc::clone(&worker), giver, handoff, descriptor));
                }
            }
            Ok(None) => return,
            Err(error) => {
                tracing::error!(?giver, error = causes(&error), "a handoff link failed");
                return;
            }
        }
    }
}

/// Serves a connection until it is a socket, is another worker's, or has ended.
async fn arrive(worker: Rc<Worker>, giver: Giver, mut handoff: Handoff, mut descriptor: OwnedFd) {
    let (peer, request, way) = (handoff.peer, handoff.request, handoff.way);
    tracing::trace!(request, address = %peer.address, "a connection arrived");
    let gone = |error| tracing::debug!(request, %error, "a connection could not be taken over");
    loop {
        let sockets = &worker.config.protocol.path;
        let head = Head::parse(&handoff.read).filter(|(head, _)| head.wants_upgrade(sockets));
        if let Some((head, length)) = head {
            if let Some(owner) = owner_elsewhere(&worker, giver, way, &head)
                && owner.send(&handoff, &[descriptor.as_fd()]).await.is_ok()
            {
                return;
            }
            let early = handoff.read.slice(length..);
            return upgrade(&worker, &head, peer, early, descriptor).await.unwrap_or_else(gone);
        }
        // Any other request, and those behind it.
        if let Err(refusal) = room(&worker, way)
            && !(worker.leaving.get() && is_for_poller(&worker, &handoff.read))
        {
            return refuse(descriptor, &refusal, peer.address).await;
        }
        let stream = match ClientStream::new(descriptor) {
            Ok(stream) => stream,
            Err(error) => return gone(error),
        };
        let io = Prefixed::new(handoff.read, stream);
        let Some((read, stream)) = http::serve(&worker, io, peer, giver, way).await else { return };
        handoff.read = read;
        descriptor = match stream.into_descriptor() {
            Ok(descriptor) => descriptor,
            Err(error) => return gone(error),
        };
    }
}

/// Answers a request for a socket, or for a connection that a polling one is to have. `early` came behind its head.
async fn upgrade(
    worker: &Rc<Worker>,
    head: &Head<'_>,
    peer: Peer,
    early: Bytes,
    descriptor: OwnedFd,
) -> io::Result<()> {
    let query = Query::of(worker, head);
    let client = Client::of(&head.headers, peer, &worker.config.http.trusted_proxies);
    match query.as_ref().map_or(Ok(None), |query| probe::socket(worker, query)) {
        Ok(None) => {}
        Ok(Some(socket)) => {
            let accepted = upgrade::check(head, &worker.config.protocol, true);
            match accepted.and_then(|accepted| room(worker, Way::Open).map(|()| accepted)) {
                Ok(accepted) => {
                    let connection = connect(worker, &accepted, None, descriptor, true)?;
                    probe::serve(worker, &socket, connection, early).await;
                }
                Err(refusal) => refuse(descriptor, &refusal, client.address).await,
            }
            return Ok(());
        }
        Err(fault) => {
            refuse(descriptor, &fault.refusal(), client.address).await;
            return Ok(());
        }
    }
    let session = Session::of_upgrade(worker, head, client.secure)?;
    let _arriving = worker.hub.arriving();
    match admit(worker, head, client, &session, query.is_some()).await {
        Ok(admitted) => accept(worker, admitted, descriptor, session, client, head, query, early)?,
        Err(refusal) => refuse(descriptor, &refusal, client.address).await,
    }
    Ok(())
}

async fn admit(
    worker: &Rc<Worker>,
    head: &Head<'_>,
    client: Client,
    session: &Session,
    is_classic: bool,
) -> Result<Admitted, Refusal> {
    let config = &worker.config.protocol;
    let accepted = upgrade::check(head, config, is_classic)?;
    room(worker, Way::Open)?;
    let place = match worker.addresses.enter(client.address).await {
        Ok(place) => Ok(place),
        Err(full) if is_classic => Err(worker.addresses.turn_away(full).map_err(Full::refusal)?),
        Err(full) => return Err(full.refusal()),
    };
    room(worker, Way::Open)?;
    if place.is_err() {
        return Ok(Admitted { accepted, place });
    }
    // What a classic client has behind the path is no name that anybody would guard.
    let path = if is_classic { &config.path } else { head.path() };
    if Gate::covers(worker, Line::Upgrade, path) {
        Gate::admit(worker, Line::Upgrade, path, head, client, session).await.map_err(Refusal::of)?;
        // The host may have begun to shut down meanwhile.
        room(worker, Way::Open)?;
    }
    Ok(Admitted { accepted, place })
}

/// The link to the live worker that the request's session names, unless that is this one.
fn owner_elsewhere(worker: &Worker, giver: Giver, way: Way, head: &Head<'_>) -> Option<Rc<HandoffSender>> {
    let owner = owner(worker, giver, way, head)?;
    worker.peers.borrow().get(&owner).cloned()
}

/// The other worker that the request's socket is on, or that its session names. What another worker sent here stays
/// here. What a balancer has settled stays as well, but for requests of a socket: it is nowhere else.
pub(crate) fn owner(worker: &Worker, giver: Giver, way: Way, head: &Head<'_>) -> Option<WorkerId> {
    let sessions = &worker.config.sessions;
    if matches!(giver, Giver::Worker(_)) {
        return None;
    }
    if let Some(sid) = Query::of(worker, head).and_then(|query| query.sid()) {
        return sessions.ids.worker(sid).filter(|&owner| owner != worker.id);
    }
    if way != Way::Open || !sessions.affinity {
        return None;
    }
    let query = Some(head.query()).filter(|query| !query.is_empty());
    affinity::worker_of(&sessions.ids, query, head.cookies()).filter(|&owner| owner != worker.id)
}

/// Whether the first request is one of a polling socket that is still to be told of its end.
fn is_for_poller(worker: &Worker, read: &[u8]) -> bool {
    let Some((head, _)) = Head::parse(read) else { return false };
    Query::of(worker, &head).and_then(|query| query.sid()).is_some_and(|sid| worker.pollers.has(sid))
}

/// Refuses a connection above the worker's limit, and any while it drains. A balancer's link is nobody's connection.
pub(crate) fn room(worker: &Worker, way: Way) -> Result<(), Refusal> {
    let refuse = |body| Refusal::new(503, body).with("Retry-After", "1");
    match worker.leaving.get() {
        true => Err(refuse("The host is shutting down; try again later").quiet()),
        false if way == Way::Proxied || worker.has_room() => Ok(()),
        false => Err(refuse("This worker holds as many connections as it may; try again later")),
    }
}

/// Answers an upgrade and opens its socket.
#[expect(clippy::too_many_arguments, reason = "all that is known of the request, which ends here")]
fn accept(
    worker: &Rc<Worker>,
    Admitted { accepted, place }: Admitted,
    descriptor: OwnedFd,
    session: Session,
    client: Client,
    head: &Head<'_>,
    query: Option<Query<'_>>,
    early: Bytes,
) -> io::Result<()> {
    let opening = head.opening(client, &worker.config.keep_headers);
    let connection = connect(worker, &accepted, Some(&session), descriptor, query.is_some())?;
    let socket = match query {
        Some(query) => classic::open(worker, session, opening, Some(connection), &query, head)?.0,
        None => {
            let (id, counter) = worker.hub.next_id();
            #[expect(clippy::cast_possible_truncation, reason = "names take the counter's low three bytes")]
            let name = sc_core::ids::socket_name(counter as u32)
                .map_err(|error| io::Error::other(error.to_string()))?;
            let socket = Rc::new(Socket::new(id, name, session.id, opening, Some(connection), None));
            worker.hub.insert(Rc::clone(&socket));
            worker.timers.insert(Due::Handshake(id), worker.config.protocol.handshake_timeout);
            socket
        }
    };
    // A task of its own: one future holds either hyper's state or the socket's, never both.
    tokio::task::spawn_local(serve(Rc::clone(worker), Rc::clone(&socket), early));
    match place {
        Ok(place) => socket.place.set(place),
        Err(turned_away) => {
            handshake::turn_away(worker, &socket, turned_away);
            return Ok(());
        }
    }
    if socket.classic.is_some() {
        handshake::classic(worker, &socket);
    }
    Ok(())
}

/// Answers an upgrade, with the cookie of a new session.
fn connect(
    worker: &Worker,
    accepted: &Acceptance,
    session: Option<&Session>,
    descriptor: OwnedFd,
    is_classic: bool,
) -> io::Result<Connection> {
    // The answer is written before the runtime knows the descriptor: a new registration cannot write until its first
    // turn of the loop. A client that waits for the answer has room for it.
    let cookie = session.and_then(|session| session.set_cookie(&worker.config.app));
    let answer = accepted.response(cookie.as_deref());
    if rustix::io::write(&descriptor, answer.as_bytes())? != answer.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(Connection::new(ClientStream::new(descriptor)?, &worker.config.client, is_classic))
}

async fn refuse(descriptor: OwnedFd, refusal: &Refusal, address: IpAddr) {
    refusal.note(address);
    let Ok(mut stream) = ClientStream::new(descriptor) else { return };
    let answer = refusal.response();
    let lingering = async {
        stream.write_all(&answer).await?;
        stream.shutdown().await?;
        // What still arrives is read, or the kernel would reset the connection and the answer might be lost.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    // A client that is gone, or does not read, needs no answer.
    let _ = tokio::time::timeout(LINGER, lingering).await;
}

/// The peer as the next worker sees it.
pub(crate) fn forwarded(peer: Peer) -> Handoff {
    Handoff { peer, request: 0, read: Bytes::new(), way: Way::Open }
}
