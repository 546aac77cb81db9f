//! A middleware that decides by the words it sees, and asks a session first.

use sc_sdk::middleware::names::{
    HANDSHAKE_WS, MIDDLEWARE_EMIT, MIDDLEWARE_HANDSHAKE_SC, MIDDLEWARE_PUBLISH_IN, MIDDLEWARE_SUBSCRIBE,
    PUBLISH_OUT,
};
use sc_sdk::middleware::prelude::*;

#[middleware]
fn run(chain: &mut Middleware) {
    chain.on(MIDDLEWARE_HANDSHAKE_SC, async |action| match action.socket().query() {
        query if query.contains("lazy") => {
            block("TooLazyHandshakeError", "AG handshake failed because the server was too lazy")
        }
        query if query.contains("badkey") => reject(
            4501,
            Problem::new(
                "InvalidAuthQueryHandshakeError",
                "AG handshake failed because of invalid query auth parameters",
            ),
        ),
        query if query.contains("delay=") => {
            sleep(Duration::from_millis(1_500)).await;
            allow()
        }
        // As in the first SocketCluster: who is not in its session is not let in.
        query if query.contains("members") => match action.session().get::<bool>("isUserAuthorized").await? {
            Some(true) => allow(),
            _ => {
                block("NotAuthorizedError", format!("Session {} was not authorized", action.socket().name()))
            }
        },
        _ => allow(),
    });
    chain.on(HANDSHAKE_WS, async |action| match action.request().map_or("", Request::query_string) {
        query if query.contains("unwelcome") => block("UnwelcomeError", "not over HTTP either"),
        query if query.contains("delayMe") => {
            sleep(Duration::from_millis(1_500)).await;
            allow()
        }
        _ => allow(),
    });
    chain.on_matching(PUBLISH_OUT, "private.*", async |action| {
        let to: String = action.data()?;
        match to == action.socket().name() {
            true => allow(),
            false => block("NotForYouError", "somebody else's"),
        }
    });
    chain.on(Line::Authenticate, async |action| {
        let claims: Json = action.data()?;
        match claims["authToken"]["username"] == "banned" {
            true => Err(Problem::new("BannedError", "this user is banned").with("isBadToken", true)),
            false => allow(),
        }
    });
    chain.on_matching(MIDDLEWARE_EMIT, "blocked*", async |action| match action.event() {
        "blocked silently" => block_silently(),
        "blocked by text" => Err(Problem::text("no")),
        _ => block("BlockedInvokeError", "This is blocked"),
    });
    chain.on_matching(Line::Invoke, "trap", async |_action| asked_to());
    chain.on_matching(Line::Invoke, "echo", async |action| match action.data::<Json>()?.as_i64() {
        Some(number) => allow_with(number + 1),
        None => allow(),
    });
    chain.on_matching(MIDDLEWARE_SUBSCRIBE, "secret", async |_action| {
        block("SubscribeBlockedError", "not this one")
    });
    chain.on_matching(MIDDLEWARE_SUBSCRIBE, "slow", async |_action| {
        sleep(Duration::from_millis(100)).await;
        allow()
    });
    chain.on_matching(MIDDLEWARE_PUBLISH_IN, "held", async |_action| {
        sleep(Duration::from_millis(50)).await;
        block("BlockedError", "Publish blocked")
    });
    chain.on_matching(MIDDLEWARE_PUBLISH_IN, "written*", async |action| {
        allow_with(format!("{} by middleware", action.data::<String>()?))
    });
}

/// A function of its own, to be found in backtraces.
#[inline(never)]
fn asked_to() -> Result<Verdict, Problem> {
    panic!("asked to")
}
