//! What the sample app of SocketCluster 0.9 did: pings are counted and published, and each session is told a number
//! each second.

use sc_sdk::prelude::*;

#[controller]
fn run(worker: &mut Worker) {
    let pings = Counter::new();
    worker.keep_state(&pings);
    let sockets: State<Vec<Socket>> = State::default();

    let connected = sockets.clone();
    let exchange = worker.exchange();
    worker.on_connection(move |socket| {
        connected.update(|sockets| sockets.push(socket.clone()));
        let (pings, exchange) = (pings.clone(), exchange.clone());
        socket.on("ping", move |_socket, _data: Json| exchange.publish("pong", pings.next()));
    });
    let closed = sockets.clone();
    worker.on_disconnect(move |socket, _code, _reason| {
        closed.update(|sockets| sockets.retain(|other| *other != socket));
    });
    worker.set_interval(Duration::from_secs(1), move |_worker| {
        sockets.with(|sockets| {
            for socket in sockets {
                socket.session().emit("rand", json!({ "rand": random_u32() % 100 }));
            }
        });
    });
}
