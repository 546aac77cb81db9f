//! What a call asked for, done after it returned. A command that names a socket or a token which is gone is dropped:
//! that is a race a controller cannot avoid, not an error.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sc_core::controller::{Command, Event, Failure, Json};
use sc_core::ids::{SocketId, Token};
use sc_core::limits::{ASKS_PER_SOCKET, CHANNEL_NAME_MAX};
use sc_core::log::FAULT;
use sc_store::client::CallError;
use sc_wire::packet::Version;
use sc_wire::{close, encode};

use crate::calls::Calls;
use crate::dispatch;
use crate::exchange::Exchange;
use crate::fetch::Fetch;
use crate::gate::Gate;
use crate::guest_timers::GuestTimers;
use crate::presence::Presence;
use crate::rotation::Rotation;
use crate::seat::Seat;
use crate::sessions::Sessions;
use crate::socket::outbox::Outgoing;
use crate::socket::{Ask, Socket};
use crate::timers::Due;
use crate::worker::Worker;

/// Does what one call of an instance asked for, in order. Of several keys of tokens the last counts: nobody can have seen
/// the others.
pub(crate) fn apply(worker: &Rc<Worker>, seat: &Rc<Seat>, instance: u64, commands: Vec<Command>) {
    let is_key = |command: &Command| matches!(command, Command::RotateAuthKey(_));
    let mut earlier_keys = commands.iter().filter(|command| is_key(command)).count().saturating_sub(1);
    for command in commands {
        if earlier_keys > 0 && is_key(&command) {
            earlier_keys -= 1;
            continue;
        }
        perform(worker, seat, instance, command);
    }
}

/// Does something with a socket that is open still.
fn on_socket(worker: &Worker, who: SocketId, act: impl FnOnce(&Rc<Socket>)) {
    if let Some(socket) = worker.hub.open_socket(who) {
        act(&socket);
    }
}

fn perform(worker: &Rc<Worker>, seat: &Rc<Seat>, instance: u64, command: Command) {
    match command {
        Command::Listen(event) => seat.interests.listen(event),
        Command::Want(kind) => seat.interests.want(kind),
        Command::Guard { line, pattern } => seat.guards.add(line, pattern),
        Command::HearEnds => seat.guards.hear_ends(),
        Command::Decide { action, verdict } => Gate::settle(worker, seat, action, verdict),
        Command::Emit { to, event, data } => {
            on_socket(worker, to, |socket| worker.hub.send(socket, encode::event(&event, data.as_deref())));
        }
        Command::EmitMany { to, event, data } => {
            let text = Socket::text(encode::event(&event, data.as_deref()));
            for socket in to.into_iter().filter_map(|id| worker.hub.open_socket(id)) {
                worker.hub.queue(&socket, Outgoing::Text(text.clone()));
            }
        }
        Command::EmitToAll { event, data } => {
            worker.hub.send_to_all(&Socket::text(encode::event(&event, data.as_deref())));
        }
        Command::Ask { token, to, event, data, timeout } => {
            ask(worker, seat, token, to, event, data.as_deref(), timeout)
        }
        Command::Answer { reply, data } => {
            answer(worker, reply, |call| encode::response(call, data.as_deref()))
        }
        Command::Refuse { reply, error } => {
            answer(worker, reply, |call| encode::refusal(call, &error_text(&error), None));
        }
        Command::Forget { reply } => {
            if let Some(waiting) = worker.app.calls.take_reply(reply) {
                on_socket(worker, waiting.socket, |socket| Calls::settled(socket, reply));
            }
        }
        Command::Close { who, code, reason } => {
            on_socket(worker, who, |socket| disconnect(worker, socket, code, &reason));
        }
        Command::KickOut { who, channel, message } => {
            on_socket(worker, who, |socket| {
                let message = (!message.is_empty()).then_some(&*message);
                worker.hub.send(socket, encode::kick_out(&channel, message));
                Exchange::unsubscribe(worker, socket, &channel);
            });
        }
        Command::SetAuth { who, claims, expires_in } => set_auth(worker, who, &claims, expires_in),
        Command::ClearAuth { who } => on_socket(worker, who, |socket| worker.deauthenticate(socket)),
        Command::Route { method, pattern } => worker.routes.add(&method, &pattern),
        Command::Respond { request, response } => worker.requests.answer(request, response),
        Command::Fetch { token, request } => Fetch::start(worker, seat, token, request),
        Command::TellSession { session, message, token: None } => {
            if let Err(error) = worker.stores.tell_session(&session, message) {
                tracing::warn!(target: FAULT, %error, "an event of a session is lost");
            }
        }
        Command::TellSession { session, message, token: Some(token) } => {
            value_later(worker, seat, token, worker.stores.tell_session_and_count(&session, message));
        }
        Command::EmitInSession { session, event, data, but } => {
            Sessions::emit(worker, &session, &event, data.as_deref(), but);
        }
        Command::Members { token, channel, who } => Presence::ask(worker, seat, token, &channel, who),
        Command::Describe { who, data } => {
            on_socket(worker, who, |socket| Presence::describe(worker, socket, data));
        }
        Command::Publish { channel, data, token } => {
            publish(worker, seat, &channel, data.map(to_bytes), token)
        }
        Command::Watch(_) | Command::WatchMembers { .. } if !Rc::ptr_eq(seat, &worker.app) => {
            let component = seat.label.borrow();
            tracing::warn!(target: FAULT, %component, "a middleware hears no channels: its watch is ignored");
        }
        Command::Watch(channel) | Command::WatchMembers { channel, .. }
            if dispatch::too_long(&channel).is_some() =>
        {
            let (component, limit) = (seat.label.borrow(), CHANNEL_NAME_MAX);
            tracing::warn!(target: FAULT, %component, limit, "a channel's name is too long: its watch is ignored");
        }
        Command::WatchMembers { channel, on } => {
            Presence::watch_for_controller(worker, &channel, on.then_some(instance));
        }
        Command::Watch(channel) => Exchange::watch(worker, &channel, instance),
        Command::Unwatch(channel) => Exchange::unwatch(worker, &channel),
        // The request goes out now, so that operations keep their order; only its answer is waited for.
        Command::Key { token, tree, path, op } => {
            value_later(worker, seat, token, worker.stores.key(&tree, path, op))
        }
        Command::Run { token: Some(token), tree, path, procedure, argument } => {
            let argument = argument.map(to_bytes);
            value_later(worker, seat, token, worker.stores.run(&tree, path, procedure, argument));
        }
        Command::Run { token: None, tree, path, procedure, argument } => {
            let argument = argument.map(to_bytes);
            if let Err(error) = worker.stores.run_at_end(&tree, path, procedure, argument) {
                tracing::warn!(target: FAULT, %error, "a procedure for this worker's end is lost");
            }
        }
        Command::Timer { token, period, repeat } => {
            GuestTimers::start(worker, seat, instance, token, period, repeat);
        }
        Command::Cancel(token) => seat.timers.cancel(worker, token),
        Command::RotateAuthKey(key) => Rotation::choose(worker, key),
    }
}

/// Sends a client the answer to a call it made.
pub(crate) fn answer(worker: &Worker, reply: Token, text: impl FnOnce(&sc_wire::packet::CallId) -> String) {
    let Some(waiting) = worker.app.calls.take_reply(reply) else { return };
    if let Some(socket) = worker.hub.open_socket(waiting.socket) {
        Calls::settled(&socket, reply);
        worker.hub.send(&socket, text(&waiting.call));
    }
}

/// The JSON text of an error as clients see it.
pub(crate) fn error_text(error: &Failure) -> String {
    match error {
        // An empty text would count as success.
        Failure::Text(text) if text.is_empty() => encode::error(None, "", ""),
        Failure::Text(text) => encode::string(text),
        Failure::Error { name, message, extra } => {
            encode::error(name.as_deref(), message, extra.as_deref().map_or("", members))
        }
    }
}

/// The members of a text that was checked to be an object: what its braces hold.
pub(crate) fn members(object: &str) -> &str {
    let members = object.trim().strip_prefix('{').and_then(|members| members.strip_suffix('}'));
    members.unwrap_or_default().trim()
}

/// Closes a socket for the controller. Clients of protocol 1 take code and reason from a packet ahead of the frame.
pub(crate) fn disconnect(worker: &Worker, socket: &Rc<Socket>, code: u16, reason: &str) {
    if socket.version.get() == Some(Version::One) {
        let data = if reason.is_empty() {
            format!(r#"{{"code":{code}}}"#)
        } else {
            format!(r#"{{"code":{code},"data":{}}}"#, encode::string(reason))
        };
        worker.hub.send(socket, encode::event("#disconnect", Some(&data)));
        worker.close_socket(socket, code, "");
    } else {
        worker.close_socket(socket, code, reason);
    }
}

fn set_auth(worker: &Worker, who: SocketId, claims: &str, expires_in: Option<Duration>) {
    let Some(socket) = worker.hub.open_socket(who) else { return };
    match worker.tokens.sign(claims, expires_in, SystemTime::now()) {
        Ok((token, claims)) => {
            worker.set_claims(&socket, Some(claims));
            let data = format!(r#"{{"token":"{token}"}}"#);
            worker.hub.send(&socket, encode::event("#setAuthToken", Some(&data)));
        }
        Err(error) => {
            tracing::error!(
                target: FAULT,
                socket = &*socket.name,
                error,
                "a token could not be signed; its socket is closed"
            );
            worker.close_socket(&socket, close::SIGNING_FAILED, "");
        }
    }
}

fn ask(
    worker: &Worker,
    seat: &Rc<Seat>,
    token: Token,
    to: SocketId,
    event: Box<str>,
    data: Option<&str>,
    timeout: Option<Duration>,
) {
    let fail = |name: &str, message: String| {
        seat.calls
            .push_answer(Event::ClientAnswer { to: token, outcome: Err(Failure::named(name, message)) });
    };
    let Some(socket) = worker.hub.open_socket(to) else {
        return fail("BadConnectionError", format!("Event {event} was aborted due to a bad connection"));
    };
    if socket.asks.borrow().len() >= ASKS_PER_SOCKET {
        let message =
            format!("Event {event} was not sent: {ASKS_PER_SOCKET} questions to this client wait already");
        return fail("ResourceLimitError", message);
    }
    let cid = socket.next_cid();
    worker.hub.send(&socket, encode::call(&event, cid, data));
    let timeout = timeout.unwrap_or(worker.config.protocol.ack_timeout);
    let timer = Some(worker.timers.insert(Due::Ask(to, cid), timeout));
    socket.asks.borrow_mut().insert(cid, Ask { seat: Rc::clone(seat), token, event, timer });
}

fn publish(worker: &Rc<Worker>, seat: &Rc<Seat>, channel: &str, data: Option<Bytes>, token: Option<Token>) {
    let component = seat.label.borrow();
    if let Some(error) = dispatch::too_long(channel) {
        match token {
            None => tracing::warn!(target: FAULT, %component, error, "a publication of user code is lost"),
            Some(to) => {
                let outcome = Err(Failure::named("InvalidArgumentsError", error));
                seat.calls.push_answer(Event::Published { to, outcome });
            }
        }
        return;
    }
    let Some(token) = token else {
        if let Err(error) = worker.stores.publish(channel, data) {
            tracing::warn!(target: FAULT, %component, %error, "a publication of user code is lost");
        }
        return;
    };
    let taken = worker.stores.publish_and_wait(channel, data);
    let seat = Rc::clone(seat);
    worker.answers.spawn_local(async move {
        let outcome = taken.await.map_err(|error| store_failure(&error));
        seat.calls.push_answer(Event::Published { to: token, outcome });
    });
}

pub(crate) fn value_later(
    worker: &Worker,
    seat: &Rc<Seat>,
    token: Token,
    value: impl Future<Output = Result<Option<Bytes>, CallError>> + 'static,
) {
    let seat = Rc::clone(seat);
    worker.answers.spawn_local(async move {
        let outcome = match value.await {
            Ok(None) => Ok(None),
            Ok(Some(value)) => match std::str::from_utf8(&value) {
                Ok(text) => Ok(Some(text.into())),
                Err(_) => Err(Failure::named("StorageError", "the store's value is not text")),
            },
            Err(error) => Err(store_failure(&error)),
        };
        seat.calls.push_answer(Event::Value { to: token, outcome });
    });
}

fn store_failure(error: &CallError) -> Failure {
    if let CallError::Problem { name, message, extra } = error {
        let (name, message) = (name.as_deref().map(Into::into), message.as_str().into());
        return Failure::Error { name, message, extra: extra.clone() };
    }
    Failure::named(error.name(), error.to_string())
}

fn to_bytes(json: Json) -> Bytes {
    Bytes::from(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_the_shapes_that_clients_know() {
        let extra =
            |extra: &str| Failure::Error { name: None, message: "m".into(), extra: Some(extra.into()) };
        for (error, text) in [
            (Failure::Text("no".into()), r#""no""#),
            (Failure::Text("".into()), r#"{"message":""}"#),
            (Failure::named("N", "m"), r#"{"message":"m","name":"N"}"#),
            (extra(r#" {"code":42} "#), r#"{"message":"m","code":42}"#),
            (extra("{ }"), r#"{"message":"m"}"#),
        ] {
            assert_eq!(error_text(&error), text);
        }
    }
}
