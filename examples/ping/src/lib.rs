//! The smallest app that shows something: a greeting, a number for everyone each second, and pings that are counted.

use sc_sdk::prelude::*;

#[controller]
fn run(worker: &mut Worker) {
    let pings = Counter::new();
    // The count goes on when new code replaces this.
    worker.keep_state(&pings);

    worker.on_connection(move |socket| {
        socket.emit("greet", "hello world");

        let pings = pings.clone();
        socket.on("ping", move |socket, _data: Json| socket.emit("pong", json!({ "count": pings.next() })));
    });

    // One command, however many clients there are.
    worker.set_interval(Duration::from_secs(1), |worker| worker.emit_to_all("rand", random_u32() % 100));
}
