//! One client and its handlers. A handle: the socket itself lives in the host and outlives this instance. No borrow
//! is held while a handler runs, so it may add and end handlers.

mod about;
mod commands;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::handlers::Handlers;
use crate::host::{self, SocketInfo};
use crate::names::{self, Name};
use crate::{Problem, payload, spawn};

type OnEvent = dyn Fn(Socket, Option<&str>);
type OnRequest = dyn Fn(Socket, Option<&str>, u64);
type OnClose = dyn Fn(Socket, u16, &str);

/// A client's socket on this worker. Cloning it is cheap; all clones are the same socket.
///
/// ```no_run
/// use sc_sdk::prelude::*;
///
/// fn attach(worker: &Worker) {
///     worker.on_connection(|socket| {
///         info!("{} connected from {}", socket.name(), socket.address());
///         socket.on("say", |socket, text: String| socket.worker().emit_to_all("said", text));
///     });
/// }
/// ```
#[derive(Clone)]
pub struct Socket(Rc<Inner>);

struct Inner {
    info: SocketInfo,
    open: Cell<bool>,
    events: RefCell<Vec<(u32, Rc<OnEvent>)>>,
    requests: RefCell<Vec<(u32, Rc<OnRequest>)>>,
    closing: Handlers<OnClose>,
}

impl Socket {
    pub(crate) fn new(mut info: SocketInfo) -> Self {
        // Claims change; the host is asked for them.
        info.auth = None;
        Socket(Rc::new(Inner {
            info,
            open: Cell::new(true),
            events: RefCell::default(),
            requests: RefCell::default(),
            closing: Handlers::new(),
        }))
    }

    /// Calls the handler for each event of that name that the client sends without waiting for an answer. Several
    /// handlers of one name run in the order they were added. Data that does not fit `T` is logged and dropped.
    /// Classic clients do not say whether they wait: theirs come here unless requests of that name have a handler.
    ///
    /// ```no_run
    /// use sc_sdk::prelude::*;
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize)]
    /// struct Move {
    ///     x: i32,
    ///     y: i32,
    /// }
    ///
    /// fn attach(socket: &Socket) {
    ///     socket.on("move", |socket, to: Move| socket.emit("moved", [to.x, to.y]));
    ///     socket.on("bye", |socket, ()| socket.disconnect(1000, "bye"));
    /// }
    /// ```
    pub fn on<T, F>(&self, event: &str, handler: F)
    where
        T: DeserializeOwned,
        F: Fn(Socket, T) + 'static,
    {
        let name = names::listen(event);
        let id = name.id;
        self.add_event(id, move |socket, data| match payload::decode(data) {
            Ok(data) => handler(socket, data),
            Err(error) => {
                crate::warn!(
                    "event {} of {} is dropped: {}",
                    name.text,
                    socket.name(),
                    payload::misfit(&error)
                );
            }
        });
    }

    /// Like [`Socket::on`], with a handler that may await. Its events do not wait for each other.
    ///
    /// ```no_run
    /// use sc_sdk::prelude::*;
    ///
    /// fn attach(socket: &Socket) {
    ///     socket.on_async("count", async |socket, key: String| {
    ///         match socket.worker().global().get::<u64>(&key).await {
    ///             Ok(count) => socket.emit("counted", count),
    ///             Err(problem) => warn!("{key} could not be read: {problem}"),
    ///         }
    ///     });
    /// }
    /// ```
    pub fn on_async<T, F>(&self, event: &str, handler: F)
    where
        T: DeserializeOwned + 'static,
        F: AsyncFn(Socket, T) + 'static,
    {
        let handler = Rc::new(handler);
        self.on(event, move |socket, data: T| {
            let handler = Rc::clone(&handler);
            spawn(async move { handler(socket, data).await });
        });
    }

    /// Answers the client's requests of that name: with the value, or with the error. `Ok(())` answers without
    /// data. A second handler of the same name replaces the first. Data that does not fit `T` is answered with an
    /// `InvalidArgumentsError`. If the socket closes meanwhile, the answer is dropped.
    ///
    /// ```no_run
    /// use sc_sdk::prelude::*;
    ///
    /// fn attach(socket: &Socket) {
    ///     socket.on_request("visit", async |socket, page: String| {
    ///         let pages = socket.worker().tree("pages");
    ///         let visits: u64 = pages.get(&page).await?.unwrap_or(0);
    ///         pages.set(&page, visits + 1).await?;
    ///         Ok(visits + 1)
    ///     });
    /// }
    /// ```
    pub fn on_request<T, R, F>(&self, event: &str, handler: F)
    where
        T: DeserializeOwned + 'static,
        R: Serialize + 'static,
        F: AsyncFn(Socket, T) -> Result<R, Problem> + 'static,
    {
        let handler = Rc::new(handler);
        self.add_request(event, move |name, socket, data: T, reply| {
            let (handler, name) = (Rc::clone(&handler), name.clone());
            spawn(async move { answer(&name, reply, handler(socket, data).await) });
        });
    }

    /// Like [`Socket::on_request`], with a handler that knows the answer at once.
    ///
    /// ```no_run
    /// use sc_sdk::prelude::*;
    ///
    /// fn attach(socket: &Socket) {
    ///     socket.on_request_sync("half", |_socket, number: u32| match number % 2 {
    ///         0 => Ok(number / 2),
    ///         _ => Err(Problem::new("OddError", "only even numbers have a half").with("number", number)),
    ///     });
    /// }
    /// ```
    pub fn on_request_sync<T, R, F>(&self, event: &str, handler: F)
    where
        T: DeserializeOwned,
        R: Serialize,
        F: Fn(Socket, T) -> Result<R, Problem> + 'static,
    {
        self.add_request(event, move |name, socket, data: T, reply| {
            answer(name, reply, handler(socket, data))
        });
    }

    /// Ends all handlers of that name on this socket.
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) {
    /// socket.off("ping");
    /// # }
    /// ```
    pub fn off(&self, event: &str) {
        let Some(id) = names::id_of(event) else { return };
        let events: Vec<_> = self.0.events.borrow_mut().extract_if(.., |(name, _)| *name == id).collect();
        let requests: Vec<_> = self.0.requests.borrow_mut().extract_if(.., |(name, _)| *name == id).collect();
        drop((events, requests));
    }

    /// Calls the handler when the socket has closed, with the close code and reason; the code is 1006 when the
    /// connection broke without a word.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(socket: &Socket) {
    /// socket.on_disconnect(|socket, code, reason| info!("{} left: {code} {reason}", socket.name()));
    /// # }
    /// ```
    pub fn on_disconnect(&self, handler: impl Fn(Socket, u16, &str) + 'static) {
        self.0.closing.add(Rc::new(handler));
    }

    fn add_event(&self, name: u32, handler: impl Fn(Socket, Option<&str>) + 'static) {
        self.0.events.borrow_mut().push((name, Rc::new(handler)));
    }

    fn add_request<T: DeserializeOwned>(
        &self,
        event: &str,
        handler: impl Fn(&Name, Socket, T, u64) + 'static,
    ) {
        let name = names::listen(event);
        let id = name.id;
        let handler = Rc::new(move |socket: Socket, data: Option<&str>, reply| match payload::decode(data) {
            Ok(data) => handler(&name, socket, data, reply),
            Err(error) => {
                let message =
                    format!("the data of {} cannot be used: {}", name.text, payload::misfit(&error));
                host::refuse(reply, &Problem::new("InvalidArgumentsError", message).to_failure());
            }
        });
        let mut requests = self.0.requests.borrow_mut();
        let old: Vec<_> = requests.extract_if(.., |(name, _)| *name == id).collect();
        requests.push((id, handler));
        // The old handler may hold anything, this socket included.
        drop(requests);
        drop(old);
    }

    /// Calls the handlers of an event, or the one of a request.
    pub(crate) fn message(&self, event: &str, data: Option<&str>, reply: Option<u64>) {
        let id = names::id_of(event);
        if let Some(reply) = reply {
            let requests = self.0.requests.borrow();
            let handler = requests.iter().find(|(name, _)| Some(*name) == id).map(|(_, f)| Rc::clone(f));
            drop(requests);
            if let Some(handler) = handler {
                return handler(self.clone(), data, reply);
            }
            if self.0.info.protocol != "classic" {
                return;
            }
            // Nobody answers it: the host need not keep it, nor refuse it when this instance ends.
            host::forget(reply);
        }
        let Some(id) = id else { return };
        let count = self.0.events.borrow().len();
        for index in 0..count {
            let handler = match self.0.events.borrow().get(index) {
                Some((name, handler)) if *name == id => Rc::clone(handler),
                Some(_) => continue,
                None => return,
            };
            handler(self.clone(), data);
        }
    }

    /// Marks it closed, calls its handlers for that, and lets go of all of them: they may hold the socket.
    pub(crate) fn closed(&self, code: u16, reason: &str) {
        self.0.open.set(false);
        self.0.closing.each(|handler| handler(self.clone(), code, reason));
    }

    pub(crate) fn let_go(&self) {
        let (events, requests) = (self.0.events.take(), self.0.requests.take());
        drop((events, requests, self.0.closing.take()));
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("id", &self.id()).field("name", &self.name()).finish_non_exhaustive()
    }
}

impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Socket {}

impl std::hash::Hash for Socket {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

fn answer<R: Serialize>(name: &Name, reply: u64, outcome: Result<R, Problem>) {
    let problem = match outcome.map(|value| payload::encode(&value)) {
        Ok(Ok(data)) => return host::answer(reply, data.as_deref()),
        Ok(Err(error)) => {
            crate::error!("the answer to {} does not fit into JSON: {error}", name.text);
            Problem::new("InvalidDataError", format!("the answer to {} does not fit into JSON", name.text))
        }
        Err(problem) => problem,
    };
    host::refuse(reply, &problem.to_failure());
}
