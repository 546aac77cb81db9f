//! `[classic]`: clients of the classic generation.

use std::time::Duration;

use sc_core::config::{ClassicConfig, ClassicEvents, Transports};

use super::keys;
use super::problem::Problem;
use super::raw::Layers;

/// The options, but for their ranges.
pub(super) fn resolve(layers: &mut Layers) -> ClassicConfig {
    let events =
        [("auto", ClassicEvents::Auto), ("0.9", ClassicEvents::Events), ("1.0", ClassicEvents::Channels)];
    let mut duration = |key, default| layers.duration(key).unwrap_or(Duration::from_secs(default));
    let [ping_interval, ping_timeout, upgrade_timeout] = [
        duration("classic.ping_interval", 25),
        duration("classic.ping_timeout", 60),
        duration("classic.upgrade_timeout", 10),
    ];
    ClassicConfig {
        enabled: layers.flag("classic.enabled").unwrap_or(true),
        transports: transports(layers),
        ping_interval,
        ping_timeout,
        upgrade_timeout,
        events: layers.choice("classic.events", &events).unwrap_or(ClassicEvents::Auto),
    }
}

/// How classic clients may come.
fn transports(layers: &mut Layers) -> Transports {
    const KEY: &str = "classic.transports";
    let Some(words) = layers.words(KEY) else { return Transports { polling: true, websocket: true } };
    let mut transports = Transports { polling: false, websocket: false };
    for word in &words {
        match word.as_str() {
            "polling" => transports.polling = true,
            "websocket" => transports.websocket = true,
            other => {
                let message = format!("`{KEY}` holds \"{}\"", other.escape_debug());
                let near = keys::nearest(other, ["polling", "websocket"]);
                let near = near.map(|near| format!("did you mean \"{near}\"? ")).unwrap_or_default();
                let problem = Problem::new(&message, "no transport", layers.origin(KEY));
                layers.problems.push(problem.help(format!("{near}there are \"polling\" and \"websocket\"")));
            }
        }
    }
    if words.is_empty() {
        let message = format!("`{KEY}` is empty: no classic client could connect");
        let problem = Problem::new(&message, "empty", layers.origin(KEY));
        layers.problems.push(problem.help("to serve none of them: enabled = false"));
    }
    transports
}
