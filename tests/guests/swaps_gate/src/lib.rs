//! A middleware that is replaced again and again: it counts the pings that it lets through over all its generations.
//! With `how` it is one that must not stay.

use sc_sdk::middleware::prelude::*;
use serde::Deserialize;

#[derive(Clone, Deserialize)]
struct Config {
    /// `error in start`, `panic in a call`, `late`, which waits for something before it guards, or `deaf`, which lets
    /// nothing through.
    #[serde(default)]
    how: String,
}

#[middleware]
fn run(chain: &mut Middleware) -> Result<(), Problem> {
    let Config { how } = chain.config()?;
    if how == "error in start" {
        return Err(Problem::unnamed("this release never starts"));
    }
    let seen = Counter::new();
    chain.keep_state("seen", &seen);
    let (chain, is_late) = (*chain, how == "late");
    let decide = async move |_action: Action| match how.as_str() {
        "panic in a call" => panic!("this release panics in a call"),
        "deaf" => block("DeafError", format!("{} were heard", seen.get())),
        _ => {
            seen.next();
            allow()
        }
    };
    if is_late {
        spawn(async move {
            sleep(Duration::from_millis(500)).await;
            chain.on_matching(Line::Invoke, "count", decide);
        });
    } else {
        chain.on_matching(Line::Invoke, "count", decide);
    }
    Ok(())
}
