//! Issues exactly the text that a client sends, on bare bindings: what is not one JSON value (or, where one is asked
//! for, one object) has to fail the call, and must never reach a frame.

wit_bindgen::generate!({
    inline: "
        package tests:raw-json;

        world guest {
            include socketcluster:controller/commands@0.1.0;
            export socketcluster:controller/lifecycle@0.1.0;
            export socketcluster:controller/messages@0.1.0;
        }
    ",
    path: "../../../wit",
    generate_all,
});

use exports::socketcluster::controller::{lifecycle, messages};
use serde_json::Value;
use socketcluster::controller::keyspace::Tree;
use socketcluster::controller::types::{Failure, Problem, StartInfo};
use socketcluster::controller::{auth_keys, exchange, keyspace, setup, sockets};

struct Guest;

export!(Guest);

const EVENTS: [&str; 14] = [
    "echo",
    "emit",
    "emitMany",
    "ask",
    "answer",
    "publish",
    "publishAndWait",
    "extra",
    "claims",
    "set",
    "close",
    "reason",
    "want",
    "key",
];

impl lifecycle::Guest for Guest {
    fn on_start(_info: StartInfo) -> Result<(), String> {
        EVENTS.into_iter().for_each(setup::listen);
        Ok(())
    }
}

impl messages::Guest for Guest {
    fn on_message(socket: u64, event: String, data: Option<String>, reply: Option<u64>) {
        let Some(reply) = reply else { return };
        let data = data.unwrap_or_else(|| "null".into());
        if event == "echo" {
            return sockets::answer(reply, Some(&data));
        }
        // The client's own text, as it is.
        let data: Value = serde_json::from_str(&data).unwrap_or_default();
        let raw = data.as_str().unwrap_or_default();
        let number = u16::try_from(data.as_u64().unwrap_or_default()).unwrap_or_default();
        match event.as_str() {
            "emit" => sockets::emit_to_all("raw", Some(raw)),
            "emitMany" => sockets::emit_many(&[socket], "raw", Some(raw)),
            "ask" => drop(sockets::ask(socket, "raw", Some(raw), 1)),
            "answer" => return sockets::answer(reply, Some(raw)),
            "publish" => exchange::publish("raw", Some(raw)),
            "publishAndWait" => drop(exchange::publish_and_wait("raw", Some(raw))),
            "extra" => {
                let problem = Problem { name: None, message: "raw".into(), extra: Some(raw.into()) };
                return sockets::refuse(reply, &Failure::Error(problem));
            }
            "claims" => sockets::set_auth(socket, raw, None),
            "set" => drop(keyspace::set(&Tree::Global, &["raw".into()], raw)),
            "close" => sockets::close(socket, number, ""),
            "reason" => sockets::close(socket, 4000, raw),
            "want" => setup::want(raw),
            "key" => auth_keys::rotate(raw),
            _ => {}
        }
        sockets::answer(reply, None);
    }
}
