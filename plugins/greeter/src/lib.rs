//! Greets each client once, with a text of the configuration.

use sc_sdk::prelude::*;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    event: String,
    text: String,
}

impl Default for Config {
    fn default() -> Self {
        Config { event: "greet".into(), text: "hello world".into() }
    }
}

impl Config {
    fn greeting(&self, name: &str, worker: u32) -> String {
        self.text.replace("{worker}", &worker.to_string()).replace("{name}", name)
    }
}

#[controller]
fn run(worker: &mut Worker) -> Result<(), Problem> {
    let config: Config = worker.config()?;
    worker.on_connection(move |socket| {
        socket.emit(&config.event, config.greeting(socket.name(), socket.worker().id()));
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_client_and_worker() {
        let config = Config { text: "{name} on {worker}, {name}".into(), ..Config::default() };
        assert_eq!(config.greeting("abc", 3), "abc on 3, abc");
    }

    #[test]
    fn what_is_not_configured_has_a_default() {
        let config = Config::default();
        assert_eq!((config.event.as_str(), config.greeting("abc", 0).as_str()), ("greet", "hello world"));
    }
}
