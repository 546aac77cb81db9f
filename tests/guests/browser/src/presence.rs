//! Who is on a channel, as the controller sees it.

use sc_sdk::prelude::*;

pub fn attach(socket: &Socket) {
    socket.on_request("members", async |socket, channel: String| {
        let members = socket.worker().exchange().presence(&channel).await?;
        let shown = members.iter().map(|member| {
            json!({
                "id": member.id(),
                "session": member.session().id(),
                "socket": member.socket_id(),
                "data": member.data::<Json>(),
            })
        });
        Ok(shown.collect::<Vec<_>>())
    });
    socket.on_request("countMembers", async |socket, channel: String| {
        socket.worker().exchange().presence_count(&channel).await
    });
    socket.on_request_sync("describe", |socket, data: Json| {
        socket.describe(Some(data));
        Ok(())
    });
    // Changes that this worker hears, told to the asking client.
    socket.on_request_sync("watchMembers", |socket, channel: String| {
        let listener = socket.clone();
        socket.worker().exchange().on_presence(&channel, move |change, member| {
            let what = format!("{change:?}").to_lowercase();
            listener
                .emit("changed", json!({ "what": what, "id": member.id(), "data": member.data::<Json>() }));
        });
        Ok(())
    });
}
