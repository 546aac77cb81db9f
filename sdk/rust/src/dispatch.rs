//! Events of the host to handlers. Each function is one call: the handlers run, then every task that became ready.
//! Sockets and tokens that this instance does not know are nobody's, never an error.

use crate::answer::{self, Outcome};
use crate::host::{Failure, HttpRequest, SocketInfo, StartInfo, WitMember, WitResponse};
use crate::middleware::Middleware;
use crate::worker::hooks;
use crate::{
    Request, Session, Socket, Worker, exchange, executor, http, middleware, mute, presence, sockets, start,
    timers,
};

fn call<R>(work: impl FnOnce() -> R) -> R {
    let result = work();
    executor::run();
    result
}

pub(crate) fn on_start(
    info: StartInfo,
    run: impl FnOnce(&mut Worker) -> Result<(), String>,
) -> Result<(), String> {
    start::set(info);
    call(|| run(&mut Worker::handle()))
}

pub(crate) fn on_middleware_start(
    info: StartInfo,
    run: impl FnOnce(&mut Middleware) -> Result<(), String>,
) -> Result<(), String> {
    start::set(info);
    call(|| run(&mut Middleware::handle()))
}

pub(crate) fn on_open(info: SocketInfo) {
    let socket = Socket::new(info);
    if sockets::add(&socket) {
        call(|| hooks().connection.each(|handler| handler(socket.clone())));
    }
}

pub(crate) fn on_resume(info: SocketInfo) {
    let socket = Socket::new(info);
    if sockets::add(&socket) {
        call(|| {
            mute::run(Some(socket.id()), || hooks().connection.each(|handler| handler(socket.clone())));
            hooks().resume.each(|handler| handler(socket.clone()));
        });
    }
}

pub(crate) fn on_close(socket: u64, code: u16, reason: &str) {
    let Some(socket) = sockets::remove(socket) else { return };
    executor::end_muted_for(socket.id());
    call(|| {
        socket.closed(code, reason);
        hooks().disconnect.each(|handler| handler(socket.clone(), code, reason));
        socket.let_go();
    });
}

pub(crate) fn on_message(socket: u64, event: &str, data: Option<&str>, reply: Option<u64>) {
    if let Some(socket) = sockets::get(socket) {
        call(|| socket.message(event, data, reply));
    }
}

pub(crate) fn on_action(id: u64, line: &str, socket: u64, name: String, data: Option<String>) {
    call(|| middleware::arrived(id, line, socket, name, data));
}

pub(crate) fn on_request_action(id: u64, line: &str, name: String, request: HttpRequest) {
    call(|| middleware::request_arrived(id, line, name, Request::of_head(request)));
}

pub(crate) fn on_socket_end(socket: u64) {
    call(|| middleware::ended(socket));
}

pub(crate) fn on_auth_change(socket: u64, auth: Option<&str>) {
    if let Some(socket) = sockets::get(socket) {
        call(|| hooks().auth_change.each(|handler| handler(socket.clone(), auth)));
    }
}

pub(crate) fn on_publication(channel: &str, data: Option<&str>) {
    call(|| exchange::publication(channel, data));
}

pub(crate) fn on_subscribe(socket: u64, channel: &str) {
    if let Some(socket) = sockets::get(socket) {
        call(|| hooks().subscribe.each(|handler| handler(socket.clone(), channel)));
    }
}

pub(crate) fn on_unsubscribe(socket: u64, channel: &str) {
    if let Some(socket) = sockets::get(socket) {
        call(|| hooks().unsubscribe.each(|handler| handler(socket.clone(), channel)));
    }
}

pub(crate) fn on_timer(timer: u64) {
    call(|| timers::turn(timer));
}

pub(crate) fn on_answer(token: u64, outcome: Outcome) {
    call(|| answer::arrive(token, outcome));
}

pub(crate) fn on_published(token: u64, outcome: Result<(), Failure>) {
    on_answer(token, outcome.map(|()| None));
}

pub(crate) fn on_gap(store: u32) {
    call(|| hooks().gap.each(|handler| handler(store)));
}

pub(crate) fn on_session_leave(session: &str) {
    call(|| hooks().session_leave.each(|handler| handler(Session::new(session, None))));
}

pub(crate) fn on_session_end(session: &str) {
    call(|| hooks().session_end.each(|handler| handler(Session::new(session, None))));
}

pub(crate) fn on_request(id: u64, request: HttpRequest) {
    call(|| http::request(id, request));
}

pub(crate) fn on_presence(channel: &str, change: &str, member: WitMember) {
    call(|| presence::changed(channel, change, member));
}

pub(crate) fn on_fetched(token: u64, outcome: Result<WitResponse, Failure>) {
    call(|| http::arrive(token, outcome));
}
