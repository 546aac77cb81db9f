//! Who is let in, and to what: each line that a client can be stopped at, by token or by session.

use sc_sdk::middleware::names::{
    MIDDLEWARE_EMIT, MIDDLEWARE_HANDSHAKE, MIDDLEWARE_PUBLISH, MIDDLEWARE_SUBSCRIBE,
};
use sc_sdk::middleware::{Action, allow, block};
use sc_sdk::prelude::*;

pub fn attach(worker: &Worker) {
    worker.add_middleware(MIDDLEWARE_HANDSHAKE, async |action| {
        let is_private = action.socket().query().contains("private");
        if !is_private || is_member(&action).await? {
            return allow();
        }
        block("NotAuthorizedError", "the private entrance is for members")
    });
    worker.add_middleware_for(MIDDLEWARE_SUBSCRIBE, "members", async |action| {
        if is_member(&action).await? { allow() } else { block("NotAuthorizedError", "log in to listen") }
    });
    worker.add_middleware_for(MIDDLEWARE_PUBLISH, "members", async |action| {
        if is_member(&action).await? { allow() } else { block("NotAuthorizedError", "log in to publish") }
    });
    worker.add_middleware_for(MIDDLEWARE_EMIT, "speak", async |action| {
        if is_member(&action).await? { allow() } else { block("NotAuthorizedError", "log in to speak") }
    });
}

async fn is_member(action: &Action) -> Result<bool, Problem> {
    let socket = action.socket();
    match socket.protocol().as_str() {
        "classic" => Ok(action.session().get("isUserAuthorized").await?.unwrap_or(false)),
        _ => Ok(socket.is_authenticated()),
    }
}
