//! A chat: rooms, names, who is there, and what was said. Rooms are channels; what clients ask for passes the
//! middleware below before anybody hears of it. Nothing is kept in memory: all that lasts lies in the stores, so this
//! code can be replaced, or crash, in the middle of a conversation.

mod login; // names, their tokens, and all tabs of one browser
mod rooms; // rooms, who may enter them, and their history

use sc_sdk::middleware::{Line, allow, allow_with};
use sc_sdk::prelude::*;

#[controller]
fn run(worker: &mut Worker) -> Result<(), Problem> {
    let worker = *worker;
    rooms::check_config(worker)?;
    login::follow_logouts(worker);

    // Who logged out has a token that is still signed, and worth nothing.
    worker.add_middleware(Line::Authenticate, async move |action| {
        login::verify(worker, action.data()?).await?;
        allow()
    });
    // Who is not logged in can do nothing else.
    worker.add_middleware(Line::Event, async move |action| {
        match action.event() {
            "login" => limit(worker, "login", &action.address(), 20).await?,
            "logout" => {}
            _ => drop(login::user(&action.socket()).await?),
        }
        allow()
    });
    worker.add_middleware(Line::Subscribe, async move |action| {
        let user = login::user(&action.socket()).await?;
        rooms::may_hear(worker, &user, action.channel()).await?;
        allow()
    });
    // A client says what. Who and when is for the server to say, whatever the client claims.
    worker.add_middleware(Line::PublishIn, async move |action| {
        let user = login::user(&action.socket()).await?;
        let room = rooms::may_speak(worker, &user, action.channel()).await?;
        limit(worker, "message", &user.name, 10).await?;
        allow_with(rooms::record(worker, &user, &room, action.data()?).await?)
    });

    worker.on_connection(|socket| {
        login::introduce(&socket, socket.auth_token());
        socket.on_request("login", login::log_in);
        socket.on_request("logout", login::log_out);
        socket.on_request("rooms", rooms::list);
        socket.on_request("history", rooms::history);
        socket.on_request("join", rooms::join);
        socket.on_request("create", rooms::create);
        socket.on_request("typing", rooms::typing);
    });
    worker.on_auth_change(|socket, user| login::introduce(&socket, user));
    // A store was away: what it should have passed on meanwhile is in the history.
    worker.on_gap(move |_| worker.emit_to_all("gap", ()));
    Ok(())
}

/// Lets somebody do something so often in ten seconds, in all tabs and on all workers together.
async fn limit(worker: Worker, what: &str, who: &str, most: i64) -> Result<(), Problem> {
    let (counts, key) = (worker.tree("limits"), format!("{what} of {who} in {}", now() / 10_000));
    // Both go out in one call, so no count stays behind.
    let (count, _expiry) = (counts.increment(&key, 1), counts.expire(&key, Duration::from_secs(20)));
    match count.await? <= most {
        true => Ok(()),
        false => Err(Problem::new("TooFastError", "That was too fast. Wait a few seconds.")),
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() * 1_000 + u64::from(since.subsec_millis()))
}
