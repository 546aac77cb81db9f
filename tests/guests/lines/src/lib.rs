//! A middleware on the lines around events: requests, raw messages, publications that go out, and the end of sockets.

use sc_sdk::middleware::names::{HANDSHAKE_WS, MESSAGE, MIDDLEWARE_PUBLISH_OUT};
use sc_sdk::middleware::prelude::*;

#[middleware]
fn run(chain: &mut Middleware) {
    chain.on(HANDSHAKE_WS, async |action| match action.request().map(Request::query_string) {
        Some("turn=away") => block("AwayError", "not today"),
        Some("turn=later") => Err(Problem::new("LaterError", "come back later").with("status", 429)),
        Some("turn=slow") => {
            sleep(Duration::from_millis(1_500)).await;
            allow()
        }
        _ => allow(),
    });
    chain.on_matching(Line::Request, "/hello/stranger", async |action| {
        match action.session().get::<bool>("isUserAuthorized").await? {
            Some(true) => allow(),
            _ => respond(Response::redirect("/login")),
        }
    });
    chain.on_matching(Line::Request, "/hello/nobody", async |_action| {
        Err(Problem::new("GoneError", "nobody is here").with("status", 410))
    });
    chain.on_matching(Line::Request, "/hello/trap", async |_action| panic!("asked to"));
    chain.on(MESSAGE, async |action| match action.data::<String>()? {
        text if text.contains("vanish") => block_silently(),
        text if text.contains("refuse") => block("RawError", "not in this house"),
        text if text.contains("colour") => allow_with(text.replace("colour", "color")),
        _ => allow(),
    });
    // Each hears what is for all or for itself, and is told for whom it was.
    chain.on_matching(MIDDLEWARE_PUBLISH_OUT, "out.*", async |action| {
        let data: Json = action.data()?;
        let me = action.socket();
        match data["to"].as_str() {
            Some(to) if to != me.name() => block("NotForYouError", "somebody else's"),
            _ => allow_with(json!({ "for": me.name(), "text": data["text"] })),
        }
    });
    let exchange = chain.exchange();
    chain.on_close(move |socket| exchange.publish("ends", socket));
}
