//! What an operator, or a backend in another language, asks of this worker through the master.

use std::rc::Rc;

use bytes::Bytes;
use sc_core::link::control::{ApiCall, FromChild, Whom};
use sc_core::session_id::SessionIds;
use sc_wire::encode;

use crate::effects;
use crate::exchange::Exchange;
use crate::sessions::Sessions;
use crate::socket::Socket;
use crate::worker::Worker;

/// Does it, and tells the master what came of it.
pub(crate) fn serve(worker: &Rc<Worker>, number: u64, call: ApiCall) {
    let reached = match call {
        ApiCall::Publish { channel, data } => {
            let taken = worker.stores.publish_and_wait(&channel, data.map(Bytes::from));
            return answer(worker, number, async {
                taken.await.map(|()| 0).map_err(|error| error.to_string())
            });
        }
        ApiCall::Emit { to, event, data } => {
            let packet = encode::event(&event, data.as_deref());
            each(worker, &to, |socket| worker.hub.send(socket, packet.clone()))
        }
        ApiCall::Disconnect { who, code, reason } => {
            each(worker, &who, |socket| effects::disconnect(worker, socket, code, &reason))
        }
        ApiCall::Kick { who, channel, message } => {
            let message = (!message.is_empty()).then_some(&*message);
            let packet = encode::kick_out(&channel, message);
            let mut kicked = 0;
            each(worker, &who, |socket| {
                if socket.channels.borrow().contains(&*channel) {
                    worker.hub.send(socket, packet.clone());
                    Exchange::unsubscribe(worker, socket, &channel);
                    kicked += 1;
                }
            });
            kicked
        }
    };
    answer(worker, number, std::future::ready(Ok(reached)));
}

/// Tells the master what came of it, however busy the way there is: what has no answer counts against this worker.
fn answer(worker: &Rc<Worker>, number: u64, outcome: impl Future<Output = Result<u32, String>> + 'static) {
    let this = Rc::clone(worker);
    worker.tasks.spawn_local(async move {
        let outcome = outcome.await;
        this.answer_master(FromChild::Answered(number, outcome)).await;
    });
}

/// Does something to each of the sockets that are here; gives their number.
fn each(worker: &Rc<Worker>, who: &Whom, mut work: impl FnMut(&Rc<Socket>)) -> u32 {
    let sockets = match who {
        Whom::Session(session) => Sessions::open(worker, session),
        Whom::Socket(name) => {
            // A classic client's own id has more than its name.
            let is_own = worker.config.sessions.ids.knows(name);
            let name = if is_own { SessionIds::public_part(name) } else { name };
            worker.hub.named(name).filter(|socket| socket.is_open()).into_iter().collect()
        }
    };
    sockets.iter().for_each(&mut work);
    u32::try_from(sockets.len()).unwrap_or(u32::MAX)
}
