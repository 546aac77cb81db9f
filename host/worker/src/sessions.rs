//! Sessions on this worker: which of its sockets belong to which, how a request tells its session, and what happens to
//! all sockets of one. The store that a session falls to knows the other workers.
//!
//! A request names its session by the cookie `n/<app>/ssid`. What this host did not make is nobody's session and is
//! replaced; so is the cookie of a page on another site, unless `origins` names that site.
//!
//! Source of the cookie: SocketCluster 0.9.90.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use foldhash::fast::RandomState;
use sc_core::controller::{Event, Interest, SessionMessage};
use sc_core::ids::SocketId;
use sc_core::log::FAULT;
use sc_wire::encode;

use crate::effects;
use crate::http;
use crate::socket::Socket;
use crate::socket::outbox::Outgoing;
use crate::upgrade::{self, Head};
use crate::worker::Worker;

/// A request's session.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Session {
    pub(crate) id: String,
    /// The client does not know it yet.
    pub(crate) is_new: bool,
    /// It came over TLS.
    secure: bool,
}

/// The worker's sockets by session.
#[derive(Default)]
pub(crate) struct Sessions {
    sockets: RefCell<HashMap<Box<str>, Vec<SocketId>, RandomState>>,
    minted: Cell<u32>,
}

impl Session {
    /// The session that a request's cookie names, or a new one. What a page of another site sends comes without the
    /// cookie, even from a browser that has one: it must not get another in its place.
    pub(crate) fn of(worker: &Worker, head: &Head<'_>, secure: bool) -> io::Result<Self> {
        let name = cookie_name(&worker.config.app);
        let ids = &worker.config.sessions.ids;
        let known = head.cookies().flat_map(|cookies| named(cookies, &name)).find(|id| ids.knows(id));
        match known {
            Some(id) => Ok(Session { id: id.to_owned(), is_new: false, secure }),
            None => Self::new(worker, secure).map(|session| Session {
                is_new: http::reads(head.method)
                    || !upgrade::is_foreign(head, &worker.config.protocol.origins),
                ..session
            }),
        }
    }

    /// The session of a plain request. Where requests begin none, one that has none gets one for itself alone.
    pub(crate) fn of_request(worker: &Worker, head: &Head<'_>, secure: bool) -> io::Result<Self> {
        let session = Self::of(worker, head, secure)?;
        Ok(Session { is_new: session.is_new && worker.config.sessions.http, ..session })
    }

    /// The session of a socket's upgrade. A page of another site has no business with this site's cookie.
    pub(crate) fn of_upgrade(worker: &Worker, head: &Head<'_>, secure: bool) -> io::Result<Self> {
        match upgrade::is_foreign(head, &worker.config.protocol.origins) {
            // Nor is the browser given a new one, which would end the session it has here.
            true => Ok(Session { is_new: false, ..Self::new(worker, secure)? }),
            false => Self::of(worker, head, secure),
        }
    }

    fn new(worker: &Worker, secure: bool) -> io::Result<Self> {
        let minted = worker.sessions.minted.get().wrapping_add(1);
        worker.sessions.minted.set(minted);
        let id = worker.config.sessions.ids.mint(worker.id, minted, secure)?;
        Ok(Session { id, is_new: true, secure })
    }

    /// The `Set-Cookie` that lets a new session last as long as the browser runs. Scripts may read it: the classic
    /// client does.
    pub(crate) fn set_cookie(&self, app: &str) -> Option<String> {
        let secure = if self.secure { "; Secure" } else { "" };
        self.is_new.then(|| format!("{}={}; Path=/; SameSite=Lax{secure}", cookie_name(app), self.id))
    }
}

fn cookie_name(app: &str) -> String {
    format!("n/{app}/ssid")
}

/// The values of the cookies of that name in a `Cookie` header, those that are text. A path of the site may have set
/// one of its own, and other cookies may be anything.
fn named<'a>(cookies: &'a [u8], name: &str) -> impl Iterator<Item = &'a str> {
    cookies.split(|byte| *byte == b';').filter_map(move |pair| {
        let (known, id) = std::str::from_utf8(pair).ok()?.trim().split_once('=')?;
        (known == name).then_some(id)
    })
}

impl Sessions {
    /// A socket opened.
    pub(crate) fn join(worker: &Worker, socket: &Socket) {
        let mut sessions = worker.sessions.sockets.borrow_mut();
        let sockets = sessions.entry(socket.session.clone()).or_default();
        sockets.push(socket.id);
        worker.stores.hold_session(&socket.session, u32::try_from(sockets.len()).unwrap_or(u32::MAX));
    }

    /// An open socket is over.
    pub(crate) fn leave(worker: &Worker, socket: &Socket) {
        let left = {
            let mut sessions = worker.sessions.sockets.borrow_mut();
            let Some(sockets) = sessions.get_mut(&socket.session) else { return };
            sockets.retain(|id| *id != socket.id);
            let left = sockets.len();
            if left == 0 {
                sessions.remove(&socket.session);
            }
            left
        };
        worker.stores.hold_session(&socket.session, u32::try_from(left).unwrap_or(u32::MAX));
        if left == 0 && worker.app.interests.wants(Interest::SessionLeave) {
            worker.app.calls.push_owed(Event::SessionLeave { session: socket.session.to_string() });
        }
    }

    /// The session's open sockets.
    pub(crate) fn sockets(&self, session: &str) -> Vec<SocketId> {
        self.sockets.borrow().get(session).cloned().unwrap_or_default()
    }

    /// All workers were told something; this is this one's part.
    pub(crate) fn receive(worker: &Worker, session: &str, message: SessionMessage) {
        match message {
            SessionMessage::Emit { event, data, but } => match data.as_deref().map(std::str::from_utf8) {
                Some(Err(_)) => {
                    tracing::error!(target: FAULT, "a store passed on an event of a session that is not text")
                }
                None => Self::emit(worker, session, &event, None, but.map(SocketId)),
                Some(Ok(data)) => Self::emit(worker, session, &event, Some(data), but.map(SocketId)),
            },
            SessionMessage::Close { code, reason } => {
                for socket in Self::open(worker, session) {
                    effects::disconnect(worker, &socket, code, &reason);
                }
            }
        }
    }

    /// Sends an event to the session's sockets here, but one.
    pub(crate) fn emit(
        worker: &Worker,
        session: &str,
        event: &str,
        data: Option<&str>,
        but: Option<SocketId>,
    ) {
        let text = Socket::text(encode::event(event, data));
        for socket in Self::open(worker, session).into_iter().filter(|socket| Some(socket.id) != but) {
            worker.hub.queue(&socket, Outgoing::Text(text.clone()));
        }
    }

    /// The same, themselves.
    pub(crate) fn open(worker: &Worker, session: &str) -> Vec<Rc<Socket>> {
        let sockets = worker.sessions.sockets(session);
        sockets.into_iter().filter_map(|id| worker.hub.open_socket(id)).collect()
    }

    /// A session has no socket anywhere; this worker is the one that is told.
    pub(crate) fn ended(worker: &Worker, session: String) {
        if worker.app.interests.wants(Interest::SessionEnd) {
            worker.app.calls.push_owed(Event::SessionEnd { session });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let name = cookie_name("my.app");
        let found = |cookies: &'static [u8]| named(cookies, &name).collect::<Vec<_>>();
        assert_eq!(found(b"a=b; n/my.app/ssid=x_y; c=d"), ["x_y"]);
        assert_eq!(found(b"n/my.app/ssid=x;n/my.app/ssid=y"), ["x", "y"]);
        assert_eq!(found(b"a=\xff; n/my.app/ssid=\xff; n/my.app/ssid=x"), ["x"]);
        for nothing in ["", "n/my.app/ssid", "xn/my.app/ssid=x", "n/myxapp/ssid=x", "n/other/ssid=x"] {
            assert!(found(nothing.as_bytes()).is_empty(), "{nothing}");
        }
    }

    #[test]
    fn only_a_new_session_is_given_to_the_client() {
        let session = |is_new, secure| Session { id: "x".to_owned(), is_new, secure };
        assert_eq!(session(true, false).set_cookie("a").as_deref(), Some("n/a/ssid=x; Path=/; SameSite=Lax"));
        assert_eq!(
            session(true, true).set_cookie("a").as_deref(),
            Some("n/a/ssid=x; Path=/; SameSite=Lax; Secure")
        );
        assert_eq!(session(false, true).set_cookie("a"), None);
    }
}
