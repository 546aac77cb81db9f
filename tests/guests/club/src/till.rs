//! What members order: operations on the stores' data by socket and by HTTP. All of it expires within seconds, or with
//! its session.

use sc_sdk::prelude::*;

const KEPT: Duration = Duration::from_secs(2);

pub fn attach(worker: &Worker) {
    worker.http().get("/visit", async |request, _params| {
        let visits: i64 = request.session().increment("visits", 1).await?;
        Ok(Response::json(visits))
    });
    let orders = worker.tree("orders");
    worker.on_session_end(move |session| {
        let orders = orders.clone();
        spawn(async move {
            let ordered = session.count("ordered").await.unwrap_or(0);
            let place = ["closed", session.id()];
            if orders.set(place, ordered).await.is_ok() {
                // What is in a container that lives on expires by itself.
                let _ = orders.expire(place, KEPT).await;
                let _ = orders.expire("closed", KEPT).await;
            }
        });
    });
}

pub fn serve(socket: &Socket) {
    // Gives what the session has ordered so far.
    socket.on_request("order", async |socket, what: Json| {
        let (session, orders) = (socket.session(), socket.worker().tree("orders"));
        session.add("ordered", &what).await?;
        let number = orders.increment("last", 1).await?.to_string();
        let place = ["open", &number];
        orders.set(place, json!({ "what": what, "by": socket.name() })).await?;
        for kept in [&["last"][..], &place, &["open"]] {
            orders.expire(kept, KEPT).await?;
        }
        let order: Option<Json> = orders.get(place).await?;
        if order.is_none_or(|order| order["what"] != what) {
            return Err(Problem::new("LostOrderError", "the order is not what was ordered"));
        }
        orders.remove(place).await?;
        session.get::<Json>("ordered").await
    });
}
