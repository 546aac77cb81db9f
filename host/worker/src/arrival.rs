//! A connection that was handed over: a socket's upgrade is answered right here, anything else is served by hyper.

use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use sc_core::affinity;
use sc_core::config::Peer;
use sc_core::ids::WorkerId;
use sc_core::link::control::{Giver, Handoff, HandoffReceiver, HandoffSender};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::http;
use crate::socket::serve::serve;
use crate::socket::{Opening, Socket};
use crate::stream::{ClientStream, Prefixed};
use crate::timers::Due;
use crate::upgrade::{self, Head, Refusal};
use crate::worker::Worker;

/// How long a refused client may take to read why.
const LINGER: Duration = Duration::from_secs(2);

/// Takes connections from a link until its other end is gone.
pub(crate) async fn receive(worker: Rc<Worker>, giver: Giver, link: HandoffReceiver) {
    loop {
        match link.recv().await {
            Ok(Some((handoff, mut descriptors))) => match descriptors.pop() {
                Some(descriptor) => {
                    worker.connections.spawn_local(arrive(Rc::clone(&worker), giver, handoff, descriptor));
                }
                None => tracing::error!(?giver, "a connection came without its descriptor"),
            },
            Ok(None) => return,
            Err(error) => {
                tracing::error!(?giver, error = %error, "a handoff link failed");
                return;
            }
        }
    }
}

async fn arrive(worker: Rc<Worker>, giver: Giver, handoff: Handoff, descriptor: OwnedFd) {
    let Handoff { peer, request, read } = handoff;
    tracing::trace!(request, address = %peer.address, "a connection arrived");
    let Some(head) = Head::parse(&read).filter(Head::wants_upgrade) else {
        return match ClientStream::new(descriptor) {
            Ok(stream) => http::serve(worker, Prefixed { prefix: read, stream }, peer, giver).await,
            Err(error) => tracing::warn!(request, error = %error, "a connection could not be taken over"),
        };
    };
    if let Some(owner) = owner_elsewhere(&worker, giver, &head) {
        let handoff = Handoff { peer, request, read: read.clone() };
        if owner.send(&handoff, &[descriptor.as_fd()]).await.is_ok() {
            return;
        }
    }
    match upgrade::check(&head, &worker.config.protocol).and_then(|accepted| room(&worker).map(|()| accepted))
    {
        Ok(accepted) => {
            let opening = head.opening(&peer, &worker.config.keep_headers);
            let early = read.slice(Head::length(&read)..);
            // The answer is written before the runtime knows the descriptor: a new registration cannot write until
            // its first turn of the loop. A fresh connection's buffer always takes it whole.
            let answer = accepted.response();
            if rustix::io::write(&descriptor, answer.as_bytes()) != Ok(answer.len()) {
                return;
            }
            match ClientStream::new(descriptor) {
                Ok(stream) => open(worker, stream, opening, early),
                Err(error) => tracing::warn!(request, error = %error, "a connection could not be taken over"),
            }
        }
        Err(refusal) => refuse(descriptor, &refusal).await,
    }
}

/// The link to the live worker that the request's session names, unless that is this one.
pub(crate) fn owner_elsewhere(worker: &Worker, giver: Giver, head: &Head<'_>) -> Option<Rc<HandoffSender>> {
    let owner = owner(worker, giver, head)?;
    worker.peers.borrow().get(&owner).cloned()
}

/// The other worker that the request's session names. What another worker sent here stays here.
pub(crate) fn owner(worker: &Worker, giver: Giver, head: &Head<'_>) -> Option<WorkerId> {
    if matches!(giver, Giver::Worker(_)) {
        return None;
    }
    let query = Some(head.query()).filter(|query| !query.is_empty());
    affinity::worker_of(query, head.cookies()).filter(|&owner| owner != worker.id)
}

/// Refuses a socket above the worker's limit.
pub(crate) fn room(worker: &Worker) -> Result<(), Refusal> {
    if worker.hub.has_room() {
        return Ok(());
    }
    let body = "This worker holds as many sockets as it may; try again later".to_owned();
    Err(Refusal { status: 503, body, header: Some(("Retry-After", "1")) })
}

/// Opens a socket on a connection whose upgrade was answered.
pub(crate) fn open(worker: Rc<Worker>, stream: ClientStream, opening: Opening, early: Bytes) {
    let (id, counter) = worker.hub.next_id();
    #[expect(clippy::cast_possible_truncation, reason = "names take the counter's low three bytes")]
    let names = (sc_core::ids::socket_name(counter as u32), sc_core::ids::socket_name(counter as u32));
    let (Ok(name), Ok(session)) = names else {
        tracing::error!("the system gives no random numbers; a connection is closed");
        return;
    };
    let socket = Rc::new(Socket::new(id, name, session, opening, stream, &worker.config.client));
    worker.hub.insert(Rc::clone(&socket));
    worker.timers.insert(Due::Handshake(id), worker.config.protocol.handshake_timeout);
    // A task of its own: one future holds either hyper's state or the socket's, never both.
    tokio::task::spawn_local(serve(worker, socket, early));
}

async fn refuse(descriptor: OwnedFd, refusal: &Refusal) {
    let Ok(mut stream) = ClientStream::new(descriptor) else { return };
    let answer = refusal.response();
    let lingering = async {
        stream.write_all(answer.as_bytes()).await?;
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
    Handoff { peer, request: 0, read: Bytes::new() }
}
