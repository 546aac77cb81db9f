//! Never starts: on-start answers with an error, or with `config = { how = "panic" }` it traps.

use sc_sdk::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    how: String,
}

#[controller]
fn run(worker: &mut Worker) -> Result<(), Problem> {
    let config: Config = worker.config()?;
    match config.how.as_str() {
        "panic" => panic!("this controller panics in on-start"),
        _ => Err(Problem::unnamed("this controller never starts")),
    }
}
