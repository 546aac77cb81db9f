//! A store's controller that is replaced again and again. Each generation answers with its `release`. With `how` it is
//! one that must not stay.

use std::time::Instant;

use sc_sdk::store::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    release: u64,
    /// `error in start`, `panic in start`, `loop in start`, or `error on store 1`.
    #[serde(default)]
    how: String,
}

#[store_controller]
fn run(store: &mut Store) -> Result<(), Problem> {
    let Config { release, how } = store.config()?;
    match how.as_str() {
        "error in start" => return Err(Problem::unnamed("this release never starts")),
        "error on store 1" if store.id() == 1 => return Err(Problem::unnamed("not on store 1")),
        "panic in start" => panic!("this release panics in on-start"),
        "loop in start" => loop {
            std::hint::black_box(());
        },
        _ => {}
    }
    store.procedure("count", move |data, key: String| {
        let count = data.increment(&key, 1)?;
        Ok(json!({ "release": release, "count": count }))
    });
    // Works so many milliseconds.
    store.procedure("work", move |data, ms: u64| {
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(ms) {
            std::hint::black_box(());
        }
        data.set("worked", release)?;
        Ok(json!({ "release": release }))
    });
    for (turn, is_first) in [("first", true), ("last", false)] {
        let tell = move |store: Store, channel: &str| {
            if let Some(topic) = channel.strip_prefix("topic.") {
                store.publish("turns", json!([topic, turn]));
            }
        };
        match is_first {
            true => store.on_first_subscriber(tell),
            false => store.on_last_subscriber(tell),
        }
    }
    Ok(())
}
