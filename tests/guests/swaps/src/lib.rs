//! A controller that is replaced again and again. It counts calls over all its generations, each of which answers with
//! its `release`. With `how` it is one that must not stay.

use std::collections::BTreeSet;

use sc_sdk::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Deserialize)]
struct Config {
    #[serde(default)]
    release: u64,
    /// `error in start`, `endless error in start`, `panic in start`, `panic in a call`, `panic in resume`,
    /// `other state` or `large state`.
    #[serde(default)]
    how: String,
}

#[derive(Serialize)]
struct Answer {
    worker: u32,
    release: u64,
    count: u64,
}

#[controller]
fn run(worker: &mut Worker) -> Result<(), Problem> {
    let Config { release, how } = worker.config()?;
    match how.as_str() {
        "error in start" => return Err(Problem::unnamed("this release never starts")),
        "endless error in start" => return Err(Problem::unnamed("never ".repeat(100_000))),
        "panic in start" => panic!("this release panics in on-start"),
        _ => {}
    }
    let count = Counter::new();
    match how.as_str() {
        "other state" => worker.keep_state_as("count", &State::new(Vec::<String>::new())),
        "large state" => worker.keep_state_as("large", &State::new("x".repeat(17 << 20))),
        "panic in resume" => worker.on_resume(|_socket| panic!("this release panics in on-resume")),
        _ => {}
    }
    if how != "other state" {
        worker.keep_state_as("count", &count);
    }
    let heard = Counter::new();
    worker.keep_state_as("heard", &heard);
    let hears = heard.clone();
    worker.exchange().subscribe("news", move |_data: Json| drop(hears.next()));
    let here = State::new(BTreeSet::new());
    worker.keep_state_as("here", &here);
    let left = here.clone();
    worker.on_disconnect(move |socket, _code, _reason| {
        left.update(|here: &mut BTreeSet<String>| here.remove(socket.name()));
    });
    let ticks = Counter::new();
    let counted = ticks.clone();
    worker.set_interval(Duration::from_millis(20), move |_worker| drop(counted.next()));

    worker.on_connection(move |socket| {
        socket.emit("greet", release);
        let (how, counts) = (how.clone(), count.clone());
        socket.on_request_sync("count", move |socket, _data: Json| {
            if how == "panic in a call" {
                socket.emit("trace", "this must not arrive");
                panic!("this release panics in a call");
            }
            Ok(Answer { worker: socket.worker().id(), release, count: counts.next() })
        });
        here.update(|here| here.insert(socket.name().to_owned()));
        let here = here.clone();
        socket.on_request_sync("here", move |socket, _data: Json| {
            Ok(json!({ "release": release, "here": here.get(), "you": socket.name() }))
        });
        let heard = heard.clone();
        socket.on_request_sync("heard", move |_socket, _data: Json| Ok(heard.get()));
        let ticks = ticks.clone();
        socket.on_request_sync("ticks", move |_socket, _data: Json| Ok(ticks.get()));
        // Parked in its instance meanwhile.
        socket.on_request("park", async move |socket, ms: u64| {
            sleep(Duration::from_millis(ms)).await;
            socket.session().get::<Json>("nothing").await?;
            Ok(Answer { worker: socket.worker().id(), release, count: 0 })
        });
        socket.on_request("park and panic", async |_socket, ms: u64| -> Result<(), Problem> {
            sleep(Duration::from_millis(ms)).await;
            panic!("it panics long after it was called");
        });
    });
    Ok(())
}
