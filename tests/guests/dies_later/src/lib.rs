//! Starts well at boot, and never again after a crash: on-start then answers with an error, or with
//! `config = { how = "panic" }` it traps. `trap` brings the crash about. With `config = { cause = "reload" }` it is
//! the instance of a reload that does not start.

use sc_sdk::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    how: String,
    #[serde(default)]
    cause: String,
}

#[controller]
fn run(worker: &mut Worker) -> Result<(), Problem> {
    let config: Config = worker.config()?;
    let fatal = if config.cause == "reload" { Cause::Reload } else { Cause::Crash };
    if worker.cause() == fatal {
        if config.how == "panic" {
            panic!("this controller panics in on-start after a crash");
        }
        return Err(Problem::unnamed("this controller does not start after a crash"));
    }
    worker.on_connection(|socket| {
        socket.emit("greet", "hello world");
        socket.on_request_sync("echo", |_socket, data: Json| Ok(data));
        socket.on_request_sync("trap", |_socket, _data: Json| -> Result<(), Problem> { panic!("told to") });
    });
    Ok(())
}
