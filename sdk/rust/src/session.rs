//! Sessions: what all sockets and requests of one browser share.

use std::fmt;
use std::ops::Deref;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Answer, Json, Socket, Tree, host, payload, sockets};

/// Where the session's own login lies among its data, as in SocketCluster 0.9.
const AUTH: &str = "__auth";

/// All sockets of one browser, on all workers, and its HTTP requests: told apart by a cookie that the host gives and
/// checks. A client without cookies has a session of its own.
///
/// A session is also a [`Tree`]: its data live while it has sockets and, after its last one, for the host's
/// `session.timeout`.
///
/// ```no_run
/// use sc_sdk::prelude::*;
///
/// #[controller]
/// fn run(worker: &mut Worker) {
///     worker.on_connection(|socket| {
///         socket.on_request("buy", async |socket, article: String| {
///             let session = socket.session();
///             session.add("cart", &article).await?;
///             session.emit("cart", session.get::<Vec<String>>("cart").await?); // all tabs
///             Ok(())
///         });
///     });
///     worker.on_session_end(|session| info!("one browser less: {session:?}"));
/// }
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct Session {
    id: String,
    /// The socket that this handle came from.
    socket: Option<u64>,
    data: Tree,
}

impl Session {
    pub(crate) fn new(id: &str, socket: Option<u64>) -> Self {
        Session { id: id.to_owned(), socket, data: Tree::session(id) }
    }

    /// Its id: a secret of the browser. Who knows it is that browser, so do not log it or show it to others.
    ///
    /// ```no_run
    /// # fn example(one: &sc_sdk::Socket, other: &sc_sdk::Socket) -> bool {
    /// one.session().id() == other.session().id()
    /// # }
    /// ```
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Sends an event to all its sockets on all workers.
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) {
    /// socket.session().emit("theme", "dark");
    /// # }
    /// ```
    pub fn emit(&self, event: &str, data: impl Serialize) {
        self.send(event, data, None);
    }

    /// Sends an event to all its sockets on all workers but the one that this session was taken from.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(socket: &Socket) {
    /// socket.on("typing", |socket, text: String| socket.session().transmit("typing", text)); // its other tabs
    /// # }
    /// ```
    pub fn transmit(&self, event: &str, data: impl Serialize) {
        self.send(event, data, self.socket);
    }

    fn send(&self, event: &str, data: impl Serialize, but: Option<u64>) {
        if let Some(data) = payload::encode_or_log(&data, "event", event) {
            host::emit_in_session(&self.id, event, data.as_deref(), but);
        }
    }

    /// [`Session::emit`] that answers with the number of sockets that the session has.
    ///
    /// ```no_run
    /// # async fn example(socket: sc_sdk::Socket) -> Result<(), sc_sdk::Problem> {
    /// let tabs = socket.session().emit_and_count("hello", ()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn emit_and_count(&self, event: &str, data: impl Serialize) -> Answer<u64> {
        let Some(data) = payload::encode_or_log(&data, "event", event) else { return Answer::ready(Ok(0)) };
        match host::emit_in_session_and_count(&self.id, event, data.as_deref(), None) {
            Some(token) => Answer::to(token, Some(format!("emitting {event}")), |count| {
                Ok(count.map(|count| serde_json::from_str(&count)).transpose()?.unwrap_or(0))
            }),
            None => Answer::ready(Ok(0)),
        }
    }

    /// Sends an event to its sockets on this worker only: what `emit` was in SocketCluster 0.9.
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) {
    /// socket.session().emit_local("here", ());
    /// # }
    /// ```
    pub fn emit_local(&self, event: &str, data: impl Serialize) {
        if let Some(data) = payload::encode_or_log(&data, "event", event) {
            host::emit_in_session_here(&self.id, event, data.as_deref(), None);
        }
    }

    /// Its sockets on this worker that this instance knows.
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) -> usize {
    /// socket.session().sockets().len()
    /// # }
    /// ```
    pub fn sockets(&self) -> Vec<Socket> {
        host::session_sockets(&self.id).into_iter().filter_map(sockets::get).collect()
    }

    /// Closes all its sockets on all workers; see [`Socket::disconnect`].
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) {
    /// socket.session().disconnect(4500, "logged out");
    /// # }
    /// ```
    pub fn disconnect(&self, code: u16, reason: &str) {
        host::disconnect_session(&self.id, code, reason);
    }

    /// Keeps who is logged in among its data, for all its sockets and requests.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(request: Request) -> Result<(), Problem> {
    /// request.session().set_auth(json!({ "username": "bob" })).await
    /// # }
    /// ```
    pub fn set_auth(&self, auth: impl Serialize) -> Answer<()> {
        self.set(AUTH, auth)
    }

    /// Who is logged in.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(request: Request) -> Result<bool, Problem> {
    /// Ok(request.session().get_auth::<Json>().await?.is_some())
    /// # }
    /// ```
    pub fn get_auth<T: DeserializeOwned + 'static>(&self) -> Answer<Option<T>> {
        self.get(AUTH)
    }

    /// Nobody is logged in any more; answers who was.
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) {
    /// socket.session().clear_auth();
    /// # }
    /// ```
    pub fn clear_auth(&self) -> Answer<Option<Json>> {
        self.remove(AUTH)
    }
}

impl Deref for Session {
    type Target = Tree;

    fn deref(&self) -> &Tree {
        &self.data
    }
}

impl PartialEq for Session {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// Tells sessions apart in logs without telling their secrets.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.id.len().saturating_sub(40);
        let shown = self.id.get(start..start + 6).unwrap_or_default();
        write!(f, "Session({shown}..)")
    }
}
