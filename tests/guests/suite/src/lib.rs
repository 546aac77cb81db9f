//! What the scenarios of real clients and the transcripts of frames need of a server. It sends nothing by itself,
//! unless `config = { greet = true }` asks for a `greet` at each connection and a `resumed` at each resumption.

mod account;
mod calls;
mod data;
mod seen;

use sc_sdk::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    greet: bool,
}

#[controller]
fn run(worker: &mut Worker) -> Result<(), Problem> {
    let config: Config = worker.config()?;
    let seen = seen::Seen::keep(worker);

    if config.greet {
        worker.on_resume(|socket| socket.emit("resumed", socket.name()));
    }
    worker.on_connection(move |socket| {
        if config.greet {
            socket.emit("greet", "hello world");
        }
        account::attach(&socket);
        calls::attach(&socket);
        data::attach(&socket);
        seen.attach(&socket);
    });
    Ok(())
}
