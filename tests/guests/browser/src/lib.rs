//! What sessions, the stores' data and HTTP routes need of a server in tests: each of their operations by request of a
//! socket and by `POST /do`, and some routes.

mod data;
mod guards;
mod presence;
mod pump;
mod routes;
mod sessions;

use sc_sdk::prelude::*;

#[controller]
fn run(worker: &mut Worker) {
    routes::attach(worker);
    sessions::watch(worker);
    guards::attach(worker);
    worker.on_connection(|socket| {
        socket.on_request("do", async |socket, what: data::Operation| {
            what.run(&socket.session(), &socket.worker()).await
        });
        sessions::attach(&socket);
        presence::attach(&socket);
        pump::attach(&socket);
    });
}
