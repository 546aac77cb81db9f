//! What is known of a socket. What never changes is kept here, so that it can be told of a closed socket too; the rest
//! the host is asked for.

use serde::de::DeserializeOwned;

use super::Socket;
use crate::{Session, Worker, host, payload};

impl Socket {
    /// The host's number for it; below 2^53, never reused while the host lives, the same after a swap.
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) -> u64 {
    /// socket.id()
    /// # }
    /// ```
    pub fn id(&self) -> u64 {
        self.0.info.id
    }

    /// The id that the client itself sees: 20 characters.
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) {
    /// socket.emit("you", socket.name());
    /// # }
    /// ```
    pub fn name(&self) -> &str {
        &self.0.info.name
    }

    /// The client's session. A secret of the client: do not show it to others.
    ///
    /// ```no_run
    /// # fn example(one: &sc_sdk::Socket, other: &sc_sdk::Socket) -> bool {
    /// one.session_id() == other.session_id()
    /// # }
    /// ```
    pub fn session_id(&self) -> &str {
        &self.0.info.session
    }

    /// The client's session: what all its tabs share.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(socket: Socket) -> Result<i64, Problem> {
    /// socket.session().increment("clicks", 1).await
    /// # }
    /// ```
    pub fn session(&self) -> Session {
        Session::new(&self.0.info.session, Some(self.0.info.id))
    }

    /// The client's IP address, without port.
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) {
    /// sc_sdk::info!("a client at {}", socket.address());
    /// # }
    /// ```
    pub fn address(&self) -> &str {
        &self.0.info.address
    }

    /// Whether the client came over TLS.
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) {
    /// if !socket.is_secure() {
    ///     socket.disconnect(4500, "use wss");
    /// }
    /// # }
    /// ```
    pub fn is_secure(&self) -> bool {
        self.0.info.secure
    }

    /// `"modern-1"` or `"modern-2"`; `"modern"` until the client's first answer to a ping tells which. `"classic"` for
    /// clients of SocketCluster 0.9 and 1.
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) -> bool {
    /// socket.protocol() == "modern-2"
    /// # }
    /// ```
    pub fn protocol(&self) -> String {
        host::info(self.id()).map_or_else(|| self.0.info.protocol.clone(), |info| info.protocol)
    }

    /// Path of the request that opened the socket.
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) -> bool {
    /// socket.path() == "/socketcluster/"
    /// # }
    /// ```
    pub fn path(&self) -> &str {
        &self.0.info.path
    }

    /// Query of the request that opened the socket, as it was sent, without `?`.
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) -> bool {
    /// socket.query().split('&').any(|pair| pair == "room=lobby")
    /// # }
    /// ```
    pub fn query(&self) -> &str {
        &self.0.info.query
    }

    /// A header of the request that opened the socket, if `worker.keep_headers` in `sc.toml` names it; none once the
    /// socket has closed. What is not UTF-8 is replaced.
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) -> Option<String> {
    /// socket.header("user-agent")
    /// # }
    /// ```
    pub fn header(&self, name: &str) -> Option<String> {
        host::header(self.id(), name).map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    /// Whether the socket has not closed yet. Commands to a closed socket do nothing.
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) -> bool {
    /// socket.is_open()
    /// # }
    /// ```
    pub fn is_open(&self) -> bool {
        self.0.open.get()
    }

    /// The claims of the client's verified token, as they were when the running call began; none while it is
    /// unauthenticated. Claims that do not fit `T` are logged and count as none.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// #[derive(serde::Deserialize)]
    /// struct Claims {
    ///     username: String,
    /// }
    ///
    /// fn user(socket: &Socket) -> Option<String> {
    ///     Some(socket.auth_token::<Claims>()?.username)
    /// }
    /// ```
    pub fn auth_token<T: DeserializeOwned>(&self) -> Option<T> {
        let claims = host::info(self.id())?.auth?;
        payload::decode(Some(&claims))
            .inspect_err(|error| {
                crate::warn!("the claims of {} cannot be used: {}", self.name(), payload::misfit(error))
            })
            .ok()
    }

    /// Whether the client had a verified token when the running call began.
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) -> bool {
    /// socket.is_authenticated()
    /// # }
    /// ```
    pub fn is_authenticated(&self) -> bool {
        host::info(self.id()).is_some_and(|info| info.auth.is_some())
    }

    /// The channels that it is on, in the order of their names' bytes; none once it has closed.
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) {
    /// for channel in socket.subscriptions() {
    ///     socket.kick_out(&channel, "you logged out");
    /// }
    /// # }
    /// ```
    pub fn subscriptions(&self) -> Vec<String> {
        host::subscriptions(self.id())
    }

    /// Whether it is on that channel.
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) {
    /// if socket.is_subscribed("room.1") {
    ///     socket.worker().exchange().publish("room.1", "somebody types");
    /// }
    /// # }
    /// ```
    pub fn is_subscribed(&self, channel: &str) -> bool {
        self.subscriptions().iter().any(|subscription| subscription == channel)
    }

    /// The worker it belongs to.
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) {
    /// socket.worker().exchange().publish("arrivals", socket.name());
    /// # }
    /// ```
    pub fn worker(&self) -> Worker {
        Worker::handle()
    }
}
