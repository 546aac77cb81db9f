//! The controller's own middleware: it has the last word.

use sc_sdk::middleware::{Line, allow, allow_with, block};
use sc_sdk::prelude::*;

pub fn attach(worker: &Worker) {
    worker.add_middleware_for(Line::Subscribe, "vip.*", async |action| {
        match action.session().get::<bool>("isUserAuthorized").await? {
            Some(true) => allow(),
            _ => block("NotAuthorizedError", "vip channels need a login"),
        }
    });
    // Two of one line: the second sees what the first made of it.
    worker.add_middleware_for(Line::PublishIn, "vip.*", async |action| {
        allow_with(json!({ "from": action.socket().name(), "text": action.data::<Json>()? }))
    });
    worker.add_middleware_for(Line::PublishIn, "vip.*", async |action| match action.data::<Json>()?["text"]
        .is_string()
    {
        true => allow(),
        false => Err(Problem::new("NoTextError", "only text").with("channel", action.channel())),
    });
}
