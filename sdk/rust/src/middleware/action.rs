//! An action that waits for its verdict.

use std::cell::OnceCell;
use std::rc::Rc;

use serde::de::DeserializeOwned;

use super::Line;
use crate::host::{self, SocketInfo};
use crate::{Problem, Request, Session, Socket, payload, sockets};

/// What a client wants to do. Cloning it is cheap.
///
/// ```no_run
/// # use sc_sdk::middleware::prelude::*;
/// # fn example(chain: &Middleware) {
/// chain.on(Line::Event, async |action| {
///     debug!("{} from {}: {}", action.event(), action.socket().address(), action.data::<Json>()?);
///     allow()
/// });
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Action {
    about: Rc<About>,
    /// What a handler put in the place of its own data.
    changed: Option<Rc<Option<String>>>,
}

#[derive(Debug)]
struct About {
    line: Line,
    id: u64,
    name: String,
    data: Option<String>,
    socket: OnceCell<Socket>,
    request: Option<Request>,
}

impl Action {
    pub(super) fn new(line: Line, id: u64, name: String, data: Option<String>) -> Self {
        let about = Rc::new(About { line, id, name, data, socket: OnceCell::new(), request: None });
        Action { about, changed: None }
    }

    pub(super) fn of_request(line: Line, name: String, request: Request) -> Self {
        let about = About { line, id: 0, name, data: None, socket: OnceCell::new(), request: Some(request) };
        Action { about: Rc::new(about), changed: None }
    }

    pub(super) fn name(&self) -> &str {
        &self.about.name
    }

    pub(super) fn with(mut self, data: Option<String>) -> Self {
        self.changed = Some(Rc::new(data));
        self
    }

    pub(super) fn text(&self) -> Option<&str> {
        self.changed.as_deref().unwrap_or(&self.about.data).as_deref()
    }

    /// Its line: of an event [`Line::Transmit`] or [`Line::Invoke`].
    ///
    /// ```no_run
    /// # use sc_sdk::middleware::prelude::*;
    /// # fn example(action: &Action) -> bool {
    /// action.line() == Line::Invoke
    /// # }
    /// ```
    pub fn line(&self) -> Line {
        self.about.line
    }

    /// The client's socket. At its handshake it is not open: nothing can be sent to it yet. Of a client that is gone,
    /// no more is known than its id; of a request, which has no socket, not even that.
    ///
    /// ```no_run
    /// # use sc_sdk::middleware::prelude::*;
    /// # fn example(action: &Action) {
    /// info!("from {}", action.socket().address());
    /// # }
    /// ```
    pub fn socket(&self) -> Socket {
        let id = self.about.id;
        let find = || sockets::get(id).or_else(|| host::info(id).map(Socket::new));
        self.about.socket.get_or_init(|| find().unwrap_or_else(|| Socket::new(gone(id)))).clone()
    }

    /// The id of the client's socket, 0 of a request. Cheaper than [`Action::socket`], which asks the host for the
    /// rest.
    ///
    /// ```no_run
    /// # use sc_sdk::middleware::prelude::*;
    /// # fn example(action: &Action) {
    /// debug!("socket {} acts", action.socket_id());
    /// # }
    /// ```
    pub fn socket_id(&self) -> u64 {
        self.about.id
    }

    /// The request, on [`Line::Upgrade`] and [`Line::Request`]: its head, as its body has not been read. None on other
    /// lines.
    ///
    /// ```no_run
    /// # use sc_sdk::middleware::prelude::*;
    /// # fn example(chain: &Middleware) {
    /// chain.on(Line::Upgrade, async |action| match action.request().and_then(|request| request.header("x-key")) {
    ///     Some("secret") => allow(),
    ///     _ => block("KeyError", "this needs a key"),
    /// });
    /// # }
    /// ```
    pub fn request(&self) -> Option<&Request> {
        self.about.request.as_ref()
    }

    /// The client's IP address; behind a trusted proxy, that of its client.
    ///
    /// ```no_run
    /// # use sc_sdk::middleware::prelude::*;
    /// # fn example(action: &Action) -> bool {
    /// action.address() == "127.0.0.1"
    /// # }
    /// ```
    pub fn address(&self) -> String {
        match &self.about.request {
            Some(request) => request.address().to_owned(),
            None => self.socket().address().to_owned(),
        }
    }

    /// The client's session. That of a request which came without is a new one, which the client will have if it is
    /// answered by anything but a file that is no page.
    ///
    /// ```no_run
    /// # use sc_sdk::middleware::prelude::*;
    /// # async fn example(action: Action) -> Result<Verdict, Problem> {
    /// let strikes: Option<u32> = action.session().get("strikes").await?;
    /// if strikes >= Some(3) { block("TooManyStrikesError", "come back later") } else { allow() }
    /// # }
    /// ```
    pub fn session(&self) -> Session {
        match &self.about.request {
            Some(request) => request.session(),
            None => self.socket().session(),
        }
    }

    /// The name of its channel, on the lines of subscriptions and publications; else empty.
    ///
    /// ```no_run
    /// # use sc_sdk::middleware::prelude::*;
    /// # fn example(action: &Action) -> bool {
    /// action.channel().starts_with("vip.")
    /// # }
    /// ```
    pub fn channel(&self) -> &str {
        match self.about.line {
            Line::Subscribe | Line::PublishIn | Line::PublishOut => &self.about.name,
            _ => "",
        }
    }

    /// The name of its event, on the lines of events; else empty.
    ///
    /// ```no_run
    /// # use sc_sdk::middleware::prelude::*;
    /// # fn example(action: &Action) -> bool {
    /// action.event() == "login"
    /// # }
    /// ```
    pub fn event(&self) -> &str {
        match self.about.line {
            Line::Transmit | Line::Invoke => &self.about.name,
            _ => "",
        }
    }

    /// Its data: of an event or a publication, or what a subscription's options hold as `data`. Of a message its text,
    /// a `String`, whatever is in it. Of a handshake an object with `signedAuthToken`, `authToken`, `authTokenError`
    /// and `authState`; of a token one with `signedAuthToken` and `authToken`.
    ///
    /// # Errors
    /// An `InvalidArgumentsError` when they do not fit `T`.
    ///
    /// ```no_run
    /// # use sc_sdk::middleware::prelude::*;
    /// # fn example(action: &Action) -> Result<Verdict, Problem> {
    /// let text: String = action.data()?;
    /// if text.len() > 1_000 { block("TooLongError", "at most 1000 bytes") } else { allow() }
    /// # }
    /// ```
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        payload::decode(self.text()).map_err(|error| {
            let (name, error) = (&self.about.name, payload::misfit(&error));
            Problem::new("InvalidArgumentsError", format!("the data of {name} cannot be used: {error}"))
        })
    }
}

fn gone(id: u64) -> SocketInfo {
    SocketInfo {
        id,
        name: String::new(),
        session: String::new(),
        address: String::new(),
        secure: false,
        protocol: String::new(),
        path: String::new(),
        query: String::new(),
        auth: None,
    }
}
