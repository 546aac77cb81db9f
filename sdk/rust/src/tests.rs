//! The semantics that controllers rely on, against a host that writes down what it is told.

use crate::bindings::exports::socketcluster::controller::{
    actions, auth_changes, client_answers, connections, keyspace_answers, lifecycle, messages, publications,
    publish_answers, state, timer_events,
};
use crate::fake::{CLAIMS, told};
use crate::host::{Failure, SocketInfo, StartInfo, WitProblem};
use crate::middleware::{Line, allow, allow_with, block, block_silently, reject};
use crate::prelude::*;
use crate::{executor, export};

pub(crate) fn socket_info(id: u64) -> SocketInfo {
    SocketInfo {
        id,
        name: format!("name{id}"),
        session: "session".into(),
        address: "127.0.0.1".into(),
        secure: false,
        protocol: "modern".into(),
        path: "/socketcluster/".into(),
        query: "a=b".into(),
        auth: None,
    }
}

fn start_info(cause: &str) -> StartInfo {
    StartInfo {
        worker: 1,
        workers: 2,
        app: "app".into(),
        config: r#"{"limit":5}"#.into(),
        cause: cause.into(),
    }
}

/// A component whose function is `$run`.
macro_rules! component {
    ($name:ident, $run:expr) => {
        struct $name;
        impl export::Entry for $name {
            fn run(worker: &mut Worker) -> Result<(), String> {
                let run: fn(&mut Worker) = $run;
                run(worker);
                Ok(())
            }
        }
        <$name as lifecycle::Guest>::on_start(start_info("boot")).unwrap();
    };
}

fn open<E: export::Entry>(id: u64) {
    <E as connections::Guest>::on_open(socket_info(id));
}

fn message<E: export::Entry>(socket: u64, event: &str, data: &str, reply: Option<u64>) {
    let data = (!data.is_empty()).then(|| data.to_owned());
    <E as messages::Guest>::on_message(socket, event.into(), data, reply);
}

mod events;
mod life;
mod requests;
mod verdicts;
