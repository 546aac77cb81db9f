//! Logging in and out, and what members do.

use std::collections::BTreeSet;

use sc_sdk::prelude::*;
use serde::Deserialize;

/// The names of the sockets that are here, kept over swaps.
#[derive(Clone)]
pub struct Members(State<BTreeSet<String>>);

#[derive(Deserialize)]
struct Credentials {
    username: String,
    password: String,
}

impl Credentials {
    fn check(&self) -> Result<(), Problem> {
        match self.password.as_str() {
            "let me in" => Ok(()),
            _ => Err(Problem::new("FailedLoginError", "wrong name or password")),
        }
    }
}

impl Members {
    pub fn keep(worker: &Worker) -> Self {
        let members = Members(State::default());
        worker.keep_state_as("members", &members.0);
        let here = members.clone();
        worker.on_disconnect(move |socket, _code, _reason| {
            here.0.update(|here| here.remove(socket.name()));
        });
        // By a page, as the samples of SocketCluster 0.9 did it.
        worker.http().post("/login", async |request, _params| {
            let credentials: Credentials = request.json()?;
            credentials.check()?;
            request.session().set("isUserAuthorized", true).await?;
            Ok(Response::text("welcome"))
        });
        members
    }

    pub fn enter(&self, socket: &Socket) {
        self.0.update(|here| here.insert(socket.name().to_owned()));
    }
}

pub fn attach(socket: &Socket) {
    socket.on_request("login", async |socket, credentials: Credentials| {
        credentials.check()?;
        match socket.protocol().as_str() {
            "classic" => socket.session().set("isUserAuthorized", true).await?,
            _ => socket.set_auth_token(json!({ "username": credentials.username }), Expires::by_default()),
        }
        Ok(())
    });
    socket.on_request("logout", async |socket, _data: Json| {
        match socket.protocol().as_str() {
            "classic" => socket.session().discard("isUserAuthorized").await?,
            _ => socket.deauthenticate(),
        }
        Ok(())
    });
    socket.on_request_sync("whoami", |socket, _data: Json| {
        let worker = socket.worker();
        Ok(json!({
            "worker": worker.id(),
            "name": socket.name(),
            "session": socket.session_id(),
            "protocol": socket.protocol(),
            "auth": socket.auth_token::<Json>(),
        }))
    });
    socket.on_request_sync("echo", |_socket, data: Json| Ok(data));
    // The server publishes what a member says.
    socket.on_request("speak", async |socket, text: Json| {
        socket.worker().exchange().publish_and_wait("members", json!({ "speaker": text })).await
    });
}
