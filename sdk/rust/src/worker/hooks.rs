//! Handlers of the whole worker.

use std::rc::Rc;

use serde::de::DeserializeOwned;

use crate::handlers::Handlers;
use crate::{Session, Socket, Worker, host, payload};

type OnSocket = dyn Fn(Socket);
type OnClose = dyn Fn(Socket, u16, &str);
type OnClaims = dyn Fn(Socket, Option<&str>);
type OnChannel = dyn Fn(Socket, &str);
type OnStore = dyn Fn(u32);
type OnSession = dyn Fn(Session);

/// Handlers of the whole worker.
pub(crate) struct Hooks {
    pub(crate) connection: Handlers<OnSocket>,
    pub(crate) resume: Handlers<OnSocket>,
    pub(crate) disconnect: Handlers<OnClose>,
    pub(crate) auth_change: Handlers<OnClaims>,
    pub(crate) subscribe: Handlers<OnChannel>,
    pub(crate) unsubscribe: Handlers<OnChannel>,
    pub(crate) gap: Handlers<OnStore>,
    pub(crate) session_leave: Handlers<OnSession>,
    pub(crate) session_end: Handlers<OnSession>,
}

thread_local! {
    static HOOKS: Rc<Hooks> = Rc::new(Hooks {
        connection: Handlers::new(),
        resume: Handlers::new(),
        disconnect: Handlers::new(),
        auth_change: Handlers::new(),
        subscribe: Handlers::new(),
        unsubscribe: Handlers::new(),
        gap: Handlers::new(),
        session_leave: Handlers::new(),
        session_end: Handlers::new(),
    });
}

/// The handlers of the whole worker.
pub(crate) fn hooks() -> Rc<Hooks> {
    HOOKS.with(Rc::clone)
}

impl Worker {
    /// Calls the handler for each socket after its handshake: the place to greet it and to attach its handlers.
    ///
    /// A fresh instance (after a crash or a swap) calls it again for each socket that is still open, so that its
    /// handlers are attached again. Meanwhile the instance is **muted**: interests (`on`, `on_request`,
    /// subscriptions), timers, logs and reads pass; emits, publications, closes, tokens and writes to the stores do
    /// nothing, so that no client gets a second greeting. Writes answer at once as if they had been done, `remove`
    /// with nothing; an `invoke` never answers. A task started meanwhile stays muted for life; a timer's handler is
    /// not muted. For effects on the sockets that were taken over there is [`Worker::on_resume`].
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.on_connection(|socket| {
    ///     socket.emit("greet", "hello world");
    ///     socket.on("ping", |socket, data: Json| socket.emit("pong", data));
    /// });
    /// # }
    /// ```
    pub fn on_connection(&self, handler: impl Fn(Socket) + 'static) {
        hooks().connection.add(Rc::new(handler));
    }

    /// Calls the handler for each socket that this instance took over from one before it, after the connection
    /// handlers, and not muted.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.on_resume(|socket| socket.emit("reloaded", ()));
    /// # }
    /// ```
    pub fn on_resume(&self, handler: impl Fn(Socket) + 'static) {
        hooks().resume.add(Rc::new(handler));
    }

    /// Calls the handler for each socket that has closed, after the socket's own handlers.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.on_disconnect(|socket, code, _reason| info!("{} left with {code}", socket.name()));
    /// # }
    /// ```
    pub fn on_disconnect(&self, handler: impl Fn(Socket, u16, &str) + 'static) {
        hooks().disconnect.add(Rc::new(handler));
    }

    /// Calls the handler each time a socket's verified claims change; none means it was deauthenticated. Claims that
    /// do not fit `T` are logged and dropped.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.on_auth_change(|socket, claims: Option<Json>| match claims {
    ///     Some(claims) => info!("{} is {}", socket.name(), claims["username"]),
    ///     None => info!("{} is nobody", socket.name()),
    /// });
    /// # }
    /// ```
    pub fn on_auth_change<T, F>(&self, handler: F)
    where
        T: DeserializeOwned,
        F: Fn(Socket, Option<T>) + 'static,
    {
        host::want("auth-change");
        hooks().auth_change.add(Rc::new(move |socket: Socket, claims: Option<&str>| {
            match claims.map(|claims| payload::decode(Some(claims))).transpose() {
                Ok(claims) => handler(socket, claims),
                Err(error) => crate::warn!("a change of claims of {} is dropped: {error}", socket.name()),
            }
        }));
    }

    /// Calls the handler after a client's subscription took effect.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.on_subscribe(|socket, channel| info!("{} hears {channel}", socket.name()));
    /// # }
    /// ```
    pub fn on_subscribe(&self, handler: impl Fn(Socket, &str) + 'static) {
        host::want("subscribe");
        hooks().subscribe.add(Rc::new(handler));
    }

    /// Calls the handler after a client left a channel, was kicked out of it, or closed.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.on_unsubscribe(|socket, channel| info!("{} left {channel}", socket.name()));
    /// # }
    /// ```
    pub fn on_unsubscribe(&self, handler: impl Fn(Socket, &str) + 'static) {
        host::want("unsubscribe");
        hooks().unsubscribe.add(Rc::new(handler));
    }

    /// Calls the handler when a store has died and come back, with its number: publications may have been missed.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.on_gap(|store| warn!("store {store} was away"));
    /// # }
    /// ```
    pub fn on_gap(&self, handler: impl Fn(u32) + 'static) {
        host::want("gap");
        hooks().gap.add(Rc::new(handler));
    }

    /// Calls the handler when the last socket of a session on this worker is gone: `sessionend` in SocketCluster 0.9.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.on_session_leave(|session| debug!("{session:?} has left this worker"));
    /// # }
    /// ```
    pub fn on_session_leave(&self, handler: impl Fn(Session) + 'static) {
        host::want("session-leave");
        hooks().session_leave.add(Rc::new(handler));
    }

    /// Calls the handler once per host when a session has had no socket on any worker for the host's `session.grace`;
    /// on the worker that held its last one, if that lives. Its data live on for `session.timeout`.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.on_session_end(|session| {
    ///     spawn(async move {
    ///         if let Ok(Some(cart)) = session.get::<Vec<String>>("cart").await {
    ///             info!("somebody left {} articles", cart.len());
    ///         }
    ///     });
    /// });
    /// # }
    /// ```
    pub fn on_session_end(&self, handler: impl Fn(Session) + 'static) {
        host::want("session-end");
        hooks().session_end.add(Rc::new(handler));
    }
}
