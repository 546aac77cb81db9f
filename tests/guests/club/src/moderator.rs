//! One client has another one thrown out, whichever worker that is on: the workers tell each other by a channel.

use sc_sdk::prelude::*;
use serde::{Deserialize, Serialize};

const ORDERS: &str = "moderation";

#[derive(Deserialize, Serialize)]
struct Order {
    /// The socket's name.
    name: String,
    /// None: out of the club.
    #[serde(default)]
    channel: Option<String>,
    message: String,
}

pub fn attach(worker: &Worker) {
    let here = worker.clone();
    worker.exchange().subscribe(ORDERS, move |order: Order| {
        let Some(socket) = here.sockets().into_iter().find(|socket| socket.name() == order.name) else {
            return;
        };
        match &order.channel {
            Some(channel) => socket.kick_out(channel, &order.message),
            None => socket.disconnect(4403, &order.message),
        }
    });
}

pub fn serve(socket: &Socket) {
    socket.on_request("throwOut", async |socket, order: Order| {
        socket.worker().exchange().publish_and_wait(ORDERS, order).await
    });
}
