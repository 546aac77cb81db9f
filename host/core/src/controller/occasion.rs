//! How the log names what user code was called for: a kind, and the name of what it is about. The names are those of
//! the WIT package as far as it has one.

use super::{Arrival, Event};
use crate::ids::SocketId;
use crate::log::{Occasion, name};

/// What a store's controller is called for.
#[derive(Clone, Copy, Debug)]
pub enum StoreCall<'a> {
    /// A procedure of that name.
    Procedure(&'a str),
    /// A channel's first subscriber, or the end of its last.
    Channel(&'a str, bool),
}

/// A request of that method for that path; a query is left out.
#[derive(Clone, Copy, Debug)]
pub struct HttpCall<'a>(pub &'a str, pub &'a str);

impl Occasion for StoreCall<'_> {
    fn describe(&self, to: &mut String) {
        match self {
            StoreCall::Procedure(procedure) => say(to, &["procedure", procedure]),
            StoreCall::Channel(channel, true) => say(to, &["first-subscriber", channel]),
            StoreCall::Channel(channel, false) => say(to, &["last-subscriber", channel]),
        }
    }
}

impl Occasion for HttpCall<'_> {
    fn describe(&self, to: &mut String) {
        let HttpCall(method, target) = self;
        let path = target.split_once('?').map_or(*target, |(path, _)| path);
        say(to, &["http", method, path]);
    }
}

impl Occasion for Arrival {
    fn describe(&self, to: &mut String) {
        HttpCall(&self.method, &self.target).describe(to);
    }
}

impl Occasion for Event {
    fn describe(&self, to: &mut String) {
        match self {
            Event::Open(_) => say(to, &["open"]),
            Event::Resume(_) => say(to, &["resume"]),
            Event::Close { .. } => say(to, &["close"]),
            Event::Message { event, reply: None, .. } => say(to, &["message", event]),
            Event::Message { event, reply: Some(_), .. } => say(to, &["request", event]),
            Event::Action { line, name, .. } if name.is_empty() => say(to, &["action", line.as_str()]),
            Event::Action { line, name, .. } | Event::RequestAction { line, name, .. } => {
                say(to, &["action", line.as_str(), name]);
            }
            Event::SocketEnd { .. } => say(to, &["socket-end"]),
            Event::AuthChange { .. } => say(to, &["auth-change"]),
            Event::Publication { channel, .. } => say(to, &["publication", channel]),
            Event::Subscribe { channel, .. } => say(to, &["subscribe", channel]),
            Event::Unsubscribe { channel, .. } => say(to, &["unsubscribe", channel]),
            Event::Timer { .. } => say(to, &["timer"]),
            Event::ClientAnswer { .. } => say(to, &["client-answer"]),
            Event::Value { .. } => say(to, &["value"]),
            Event::Fetched { .. } => say(to, &["fetched"]),
            Event::Published { .. } => say(to, &["published"]),
            Event::Request(request) => HttpCall(&request.method, &request.path).describe(to),
            Event::SessionLeave { .. } => say(to, &["session-leave"]),
            Event::SessionEnd { .. } => say(to, &["session-end"]),
            Event::Member { channel, change, .. } => say(to, &["presence", change.as_str(), channel]),
            Event::Gap { .. } => say(to, &["gap"]),
        }
    }

    fn socket(&self) -> Option<SocketId> {
        match self {
            Event::Open(info) | Event::Resume(info) => Some(info.id),
            Event::Close { socket, .. }
            | Event::Message { socket, .. }
            | Event::Action { socket, .. }
            | Event::SocketEnd { socket }
            | Event::AuthChange { socket, .. }
            | Event::Subscribe { socket, .. }
            | Event::Unsubscribe { socket, .. } => Some(*socket),
            _ => None,
        }
    }
}

/// Appends words. This is done at each call, so it neither formats nor, once the text has its room, allocates.
fn say(to: &mut String, words: &[&str]) {
    for (number, word) in words.iter().enumerate() {
        if number > 0 {
            to.push(' ');
        }
        to.push_str(name(word));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::Line;
    use crate::ids::Token;
    use crate::log::Described;

    #[test]
    fn events_are_named_without_what_they_carry() {
        let socket = SocketId::new(crate::ids::WorkerId(0), 7);
        let message = |reply| Event::Message {
            socket,
            event: "ping".into(),
            data: Some("\"secret\"".to_owned()),
            reply,
        };
        let action = |line, name: &str| Event::Action {
            action: Token(1),
            line,
            socket,
            name: name.into(),
            data: Some("\"secret\"".to_owned()),
        };
        for (event, expected) in [
            (message(None), "message ping"),
            (message(Some(Token(1))), "request ping"),
            (action(Line::PublishIn, "news"), "action publish-in news"),
            (action(Line::Handshake, ""), "action handshake"),
            (Event::Timer { token: Token(1), last: true }, "timer"),
        ] {
            assert_eq!(Described(&event).to_string(), expected);
            assert_eq!(event.socket(), (expected != "timer").then_some(socket));
        }
        assert_eq!(Described(&HttpCall("GET", "/reset?token=secret")).to_string(), "http GET /reset");
        assert_eq!(Described(&StoreCall::Procedure("transfer")).to_string(), "procedure transfer");
    }

    #[test]
    fn long_names_are_cut() {
        let name = "ü".repeat(1_000);
        assert_eq!(Described(&StoreCall::Procedure(&name)).to_string().len(), "procedure ".len() + 128);
    }
}
