//! The controller of myapp. The host owns the sockets; this decides what happens on them. Each event is one call, and
//! what it asks for takes effect when the call returns: should it fail, nothing of it has happened.

mod chat;

use chat::Message;
use sc_sdk::prelude::*;

#[controller]
fn run(worker: &mut Worker) {
    let pings = Counter::new();
    // The count goes on when new code replaces this.
    worker.keep_state(&pings);

    worker.on_connection(move |socket| {
        socket.emit("greet", "hello world");

        let pings = pings.clone();
        socket.on("ping", move |socket, _data: Json| {
            socket.emit("pong", json!({ "count": pings.next() }));
        });

        // A request is answered: with what this returns, or with the error.
        socket.on_request("say", async |socket, message: Message| {
            let exchange = socket.worker().exchange();
            exchange.publish(chat::CHANNEL, message.checked()?);
            Ok(())
        });
    });

    // One command, however many clients there are.
    worker.set_interval(Duration::from_secs(1), |worker| {
        worker.emit_to_all("rand", random_u32() % 100);
    });
}
