//! What a session does to its sockets, and when it is over: told to all on the channel `sessions`.

use sc_sdk::prelude::*;

pub fn watch(worker: &Worker) {
    let (id, exchange) = (worker.id(), worker.exchange());
    worker.on_session_leave(move |session| {
        exchange.publish("sessions", json!({ "what": "leave", "session": session.id(), "worker": id }));
    });
    worker.on_session_end(move |session| {
        spawn(async move {
            let data: Option<Json> = session.get(Vec::<String>::new()).await.unwrap_or_default();
            let told = json!({ "what": "end", "session": session.id(), "worker": id, "data": data });
            exchange.publish("sessions", told);
        });
    });
}

pub fn attach(socket: &Socket) {
    let id = socket.worker().id();
    socket.on_request_sync("who", move |socket, _data: Json| {
        Ok(json!({ "session": socket.session().id(), "worker": id, "socket": socket.name() }))
    });
    socket.on_request_sync("whoami", move |socket, _data: Json| {
        Ok(json!({ "name": socket.name(), "worker": id }))
    });
    socket.on_request("emit", async |socket, data: Json| socket.session().emit_and_count("told", data).await);
    socket.on("transmit", |socket, data: Json| socket.session().transmit("told", data));
    socket.on("emitLocal", |socket, data: Json| socket.session().emit_local("told", data));
    socket.on_request_sync("sockets", |socket, _data: Json| Ok(socket.session().sockets().len()));
    socket.on("end", |socket, _data: Json| socket.session().disconnect(4501, "logged out"));
    socket.on_request("login", async |socket, name: String| socket.session().set_auth(name).await);
    socket.on_request("auth", async |socket, _data: Json| {
        Ok(socket.session().get_auth::<Json>().await?.unwrap_or("nobody".into()))
    });
    socket.on_request("logout", async |socket, _data: Json| socket.session().clear_auth().await);
}
