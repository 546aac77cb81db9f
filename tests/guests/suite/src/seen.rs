//! What this worker saw, by request: `seen` with a name gives the last things seen under it. Events and watched
//! channels are noted under their own names; `closes`, `authChanges`, `subscribes` and `unsubscribes` are what they
//! say.

use std::collections::BTreeMap;

use sc_sdk::prelude::*;
use serde::Deserialize;

/// Things kept of each name.
const MOST: usize = 1_000;

#[derive(Clone)]
pub struct Seen(State<BTreeMap<String, Vec<Json>>>);

#[derive(Deserialize)]
struct Publication {
    channel: String,
    #[serde(default)]
    data: Json,
}

impl Seen {
    /// Notes from now on, over swaps too.
    pub fn keep(worker: &Worker) -> Self {
        let seen = Seen(State::default());
        worker.keep_state_as("seen", &seen.0);

        let noting = seen.clone();
        worker.on_disconnect(move |socket, code, reason| {
            noting.note("closes", json!({ "name": socket.name(), "code": code, "reason": reason }));
        });
        let noting = seen.clone();
        worker.on_auth_change(move |socket, auth: Option<Json>| {
            noting.note("authChanges", json!({ "name": socket.name(), "auth": auth }));
        });
        let noting = seen.clone();
        worker.on_subscribe(move |socket, channel| {
            noting.note("subscribes", json!({ "name": socket.name(), "channel": channel }));
        });
        let noting = seen.clone();
        worker.on_unsubscribe(move |socket, channel| {
            noting.note("unsubscribes", json!({ "name": socket.name(), "channel": channel }));
        });
        let noting = seen.clone();
        worker.on_gap(move |store| noting.note("gaps", store.into()));
        seen
    }

    pub fn attach(&self, socket: &Socket) {
        for event in ["foo", "customRemoteEvent"] {
            let noting = self.clone();
            socket.on(event, move |_socket, data: Json| noting.note(event, data));
        }
        let looking = self.clone();
        socket.on_request_sync("seen", move |_socket, name: String| {
            Ok(looking.0.with(|seen| seen.get(&name).cloned().unwrap_or_default()))
        });
        let looking = self.clone();
        socket.on_request_sync("gaps", move |_socket, _data: Json| {
            Ok(looking.0.with(|seen| seen.get("gaps").map_or(0, Vec::len)))
        });

        // The controller hears the channel; the asking client gets each publication as `watched`.
        let noting = self.clone();
        socket.on_request_sync("watch", move |socket, channel: String| {
            let noting = noting.clone();
            let (name, listener) = (channel.clone(), socket.clone());
            let watch = socket.worker().exchange().subscribe(&channel, move |data: Json| {
                noting.note(&name, data.clone());
                listener.emit("watched", json!({ "channel": name, "data": data }));
            });
            socket.on_disconnect(move |_socket, _code, _reason| watch.cancel());
            Ok(())
        });
        socket.on_request_sync("unwatch", |socket, channel: String| {
            socket.worker().exchange().unsubscribe(&channel);
            Ok(())
        });
        socket.on_request_sync("publishFromServer", |socket, publication: Publication| {
            socket.worker().exchange().publish(&publication.channel, publication.data);
            Ok(())
        });
        socket.on_request("publishAndWait", async |socket, publication: Publication| {
            socket.worker().exchange().publish_and_wait(&publication.channel, publication.data).await
        });
    }

    fn note(&self, name: &str, what: Json) {
        self.0.update(|seen| {
            let list = seen.entry(name.to_owned()).or_default();
            if list.len() >= MOST {
                list.remove(0);
            }
            list.push(what);
        });
    }
}
