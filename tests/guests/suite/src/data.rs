//! The stores' data by request, in the tree `suite`.

use sc_sdk::{Tree, prelude::*};
use serde::Deserialize;

#[derive(Deserialize)]
struct Place {
    path: Vec<String>,
}

#[derive(Deserialize)]
struct Setting {
    path: Vec<String>,
    value: Json,
}

#[derive(Deserialize)]
struct Expiry {
    path: Vec<String>,
    ms: u64,
}

pub fn attach(socket: &Socket) {
    socket.on_request("kvGet", async |socket, at: Place| tree(&socket).get::<Json>(at.path).await);
    socket.on_request("kvSet", async |socket, at: Setting| tree(&socket).set(at.path, at.value).await);
    socket.on_request("kvRemove", async |socket, at: Place| tree(&socket).remove(at.path).await);
    socket.on_request_sync("lastWish", |socket, text: String| {
        wish(socket, text);
        Ok(())
    });
    socket.on_request("kvExpire", async |socket, at: Expiry| {
        tree(&socket).expire(at.path, Duration::from_millis(at.ms)).await
    });
}

/// Has the socket's end bring two calls of the store, one after the other.
fn wish(socket: Socket, wish: String) {
    socket.on_disconnect(move |socket, _, _| {
        let wish = wish.clone();
        spawn(async move {
            let kept = tree(&socket).set("wish", &wish).await.is_ok();
            if kept && tree(&socket).get::<String>("wish").await.is_ok() {
                info!("the last wish of {wish} is kept");
            }
        });
    });
}

fn tree(socket: &Socket) -> Tree {
    socket.worker().tree("suite")
}
