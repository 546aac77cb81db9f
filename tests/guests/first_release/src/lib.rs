//! Uses every function and exports every interface of the first release of the WIT package, from its frozen copy.
//! It has to run on every later host of 0.1: never change it, and never build it against anything newer.

wit_bindgen::generate!({
    path: "../../../wit/released/0.1.0",
    world: "worker",
});

use std::cell::Cell;

use exports::socketcluster::controller::{
    auth_changes, client_answers, connections, gaps, keyspace_answers, lifecycle, messages, publications,
    publish_answers, state, subscriptions, timer_events,
};
use socketcluster::controller::keyspace::Tree;
use socketcluster::controller::log::Level;
use socketcluster::controller::types::{Failure, Problem, SocketInfo, StartInfo};
use socketcluster::controller::{auth_keys, exchange, keyspace, log, setup, sockets, timers};

struct Guest;

export!(Guest);

thread_local! {
    /// How many events of each kind came, to be told by `told`.
    static TOLD: [Cell<u32>; 12] = const { [const { Cell::new(0) }; 12] };
}

fn note(kind: usize) {
    TOLD.with(|told| told[kind].set(told[kind].get() + 1));
}

impl lifecycle::Guest for Guest {
    fn on_start(info: StartInfo) -> Result<(), String> {
        for event in ["echo", "everything", "told", "fail"] {
            setup::listen(event);
        }
        for kind in ["auth-change", "subscribe", "unsubscribe", "gap"] {
            setup::want(kind);
        }
        for level in [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace] {
            if matches!(level, Level::Debug | Level::Trace) {
                log::write(level, "the first release of the WIT package starts");
            }
        }
        let StartInfo { worker, workers, app, config, cause } = info;
        log::write(Level::Info, &format!("worker {worker} of {workers} of {app}, {config}, {cause}"));
        Ok(())
    }
}

impl state::Guest for Guest {
    fn snapshot() -> (u32, Vec<u8>) {
        (1, Vec::new())
    }

    fn restore(_version: u32, _data: Vec<u8>) -> Result<(), String> {
        Ok(())
    }
}

impl connections::Guest for Guest {
    fn on_open(socket: SocketInfo) {
        note(0);
        sockets::emit(socket.id, "greet", Some("\"hello world\""));
    }

    fn on_resume(_socket: SocketInfo) {
        note(1);
    }

    fn on_close(_socket: u64, _code: u16, _reason: String) {
        note(2);
    }
}

impl messages::Guest for Guest {
    fn on_message(socket: u64, event: String, data: Option<String>, reply: Option<u64>) {
        note(3);
        let Some(reply) = reply else { return };
        match event.as_str() {
            "echo" => sockets::answer(reply, data.as_deref()),
            "told" => {
                let told = TOLD.with(|told| told.each_ref().map(Cell::get));
                sockets::answer(reply, Some(&format!("{told:?}")));
            }
            "fail" => {
                let extra = Some("{\"code\":42}".into());
                let problem = Problem { name: Some("CustomError".into()), message: "told to".into(), extra };
                sockets::refuse(reply, &Failure::Error(problem));
            }
            _ => {
                everything(socket);
                sockets::answer(reply, None);
            }
        }
    }
}

/// Each command and query that `on_start` and the others do not use.
fn everything(socket: u64) {
    sockets::emit_many(&[socket], "many", None);
    sockets::emit_to_all("all", None);
    sockets::ask(socket, "question", None, 1_000);
    sockets::refuse(0, &Failure::Text("nobody hears this".into()));
    sockets::close(0, 4000, "nobody");
    sockets::kick_out(socket, "channel", "out");
    sockets::set_auth(socket, "{\"username\":\"bob\"}", Some(60));
    sockets::clear_auth(socket);
    let info = sockets::info(socket).map(|info| info.name);
    let header = sockets::header(socket, "origin").map(|header| header.len());
    log::write(Level::Info, &format!("{info:?} {header:?}"));
    exchange::watch("watched");
    exchange::publish("watched", Some("1"));
    exchange::publish_and_wait("watched", Some("2"));
    exchange::unwatch("never watched");
    let path = ["first".to_owned(), "release".to_owned()];
    for tree in [Tree::Global, Tree::Named("first".into()), Tree::Session("nobody".into())] {
        keyspace::set(&tree, &path, "1");
        keyspace::get(&tree, &path);
        keyspace::expire(&tree, &path, 60_000);
        keyspace::remove(&tree, &path);
    }
    timers::after(1);
    let every = timers::every(1_000);
    timers::cancel(every);
    // The same key as before: the tests' tokens stay good.
    auth_keys::rotate("testkey");
}

impl auth_changes::Guest for Guest {
    fn on_auth_change(_socket: u64, _auth: Option<String>) {
        note(4);
    }
}

impl publications::Guest for Guest {
    fn on_publication(_channel: String, _data: Option<String>) {
        note(5);
    }
}

impl subscriptions::Guest for Guest {
    fn on_subscribe(_socket: u64, _channel: String) {
        note(6);
    }

    fn on_unsubscribe(_socket: u64, _channel: String) {
        note(7);
    }
}

impl timer_events::Guest for Guest {
    fn on_timer(_timer: u64) {
        note(8);
    }
}

impl client_answers::Guest for Guest {
    fn on_client_answer(_to: u64, _outcome: Result<Option<String>, Failure>) {
        note(9);
    }
}

impl keyspace_answers::Guest for Guest {
    fn on_value(_to: u64, _outcome: Result<Option<String>, Failure>) {
        note(10);
    }
}

impl publish_answers::Guest for Guest {
    fn on_published(_to: u64, _outcome: Result<(), Failure>) {
        note(11);
    }
}

impl gaps::Guest for Guest {
    fn on_gap(_store: u32) {}
}
