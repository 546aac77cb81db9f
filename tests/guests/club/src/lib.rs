//! A club: who has logged in may enter, listen and speak. Clients of SocketCluster 0.9 and 1 log their session in, as
//! their samples did; later ones get a token. `config = { tick = 100 }` has the first worker publish numbers on
//! `feed`, so many milliseconds apart, that go on over a swap.

mod door;
mod members;
mod moderator;
mod till;

use sc_sdk::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Config {
    /// Milliseconds; none for no ticks.
    #[serde(default)]
    tick: Option<u64>,
}

#[controller]
fn run(worker: &mut Worker) -> Result<(), Problem> {
    let config: Config = worker.config()?;
    door::attach(worker);
    moderator::attach(worker);
    let members = members::Members::keep(worker);
    till::attach(worker);

    let ticks = Counter::new();
    worker.keep_state_as("ticks", &ticks);
    if let Some(tick) = config.tick.filter(|_| worker.id() == 0) {
        worker.set_interval(Duration::from_millis(tick), move |worker| {
            worker.exchange().publish("feed", ticks.next());
        });
    }
    worker.on_connection(move |socket| {
        members.enter(&socket);
        members::attach(&socket);
        moderator::serve(&socket);
        till::serve(&socket);
    });
    Ok(())
}
