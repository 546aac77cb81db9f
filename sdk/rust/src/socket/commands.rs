//! What can be done to a socket. What the host would fail the call for is stopped here and logged.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Socket;
use crate::{Answer, Expires, Problem, host, payload};

/// Longest reason of a close frame in bytes.
const REASON_MAX: usize = 123;

impl Socket {
    /// Sends the client an event.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(socket: &Socket) {
    /// socket.emit("greet", "hello world");
    /// socket.emit("pong", json!({ "count": 3 }));
    /// socket.emit("tick", ()); // no data
    /// # }
    /// ```
    pub fn emit(&self, event: &str, data: impl Serialize) {
        if let Some(data) = payload::encode_or_log(&data, "event", event) {
            host::emit(self.id(), event, data.as_deref());
        }
    }

    /// Asks the client and gives its answer, as an error the client's own, a `TimeoutError` after the host's
    /// `ack_timeout`, a `BadConnectionError` when the socket closes, or an `InvalidDataError` when the answer does
    /// not fit `T`.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(socket: &Socket) -> Result<(), Problem> {
    /// let version: String = socket.invoke("version", ()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn invoke<T: DeserializeOwned + 'static>(&self, event: &str, data: impl Serialize) -> Answer<T> {
        self.ask(event, &data, None)
    }

    /// Like [`Socket::invoke`], waiting that long at most.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(socket: &Socket) -> Result<(), Problem> {
    /// let ready: bool = socket.invoke_within(Duration::from_secs(2), "ready", ()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn invoke_within<T: DeserializeOwned + 'static>(
        &self,
        time: Duration,
        event: &str,
        data: impl Serialize,
    ) -> Answer<T> {
        self.ask(event, &data, Some(time))
    }

    fn ask<T, D>(&self, event: &str, data: &D, timeout: Option<Duration>) -> Answer<T>
    where
        T: DeserializeOwned + 'static,
        D: Serialize,
    {
        let data = match payload::encode(data) {
            Ok(data) => data,
            Err(error) => return Answer::ready(Err(error.into())),
        };
        let Some(token) = host::ask(self.id(), event, data.as_deref(), timeout) else {
            return Answer::never();
        };
        let event = event.to_owned();
        Answer::to(token, None, move |data| {
            payload::decode(data.as_deref()).map_err(|error| {
                let message =
                    format!("the client's answer to {event} cannot be used: {}", payload::misfit(&error));
                Problem::new("InvalidDataError", message)
            })
        })
    }

    /// Signs the claims, a struct or an object, and hands the client its token: the client is authenticated from
    /// then on, also after it has reconnected, until the token expires. Issued before a request is answered, it
    /// arrives before the answer.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(socket: &Socket) {
    /// socket.set_auth_token(json!({ "username": "bob" }), Expires::in_hours(24));
    /// # }
    /// ```
    pub fn set_auth_token(&self, claims: impl Serialize, expires: Expires) {
        match payload::encode(&claims) {
            Ok(Some(claims)) if claims.starts_with('{') => {
                host::set_auth(self.id(), &claims, expires.seconds());
            }
            Ok(_) => crate::error!("{} got no token: claims have to be a JSON object", self.name()),
            Err(error) => {
                crate::error!("{} got no token: its claims do not fit into JSON: {error}", self.name())
            }
        }
    }

    /// Takes the client's token away.
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) {
    /// socket.deauthenticate();
    /// # }
    /// ```
    pub fn deauthenticate(&self) {
        host::clear_auth(self.id());
    }

    /// Ends the client's subscription of a channel and tells it why.
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) {
    /// socket.kick_out("vip", "your subscription has ended");
    /// # }
    /// ```
    pub fn kick_out(&self, channel: &str, message: &str) {
        host::kick_out(self.id(), channel, message);
    }

    /// Closes the socket. The code is 1000 or from 3000 to 4999 (another is logged, and 1000 sent in its place); the
    /// reason is cut at 123 bytes. Clients do not reconnect by themselves after 1000 and from 4500 on.
    ///
    /// ```no_run
    /// # fn example(socket: &sc_sdk::Socket) {
    /// socket.disconnect(4500, "banned");
    /// # }
    /// ```
    pub fn disconnect(&self, code: u16, reason: &str) {
        let allowed = code == 1000 || (3000..5000).contains(&code);
        if !allowed {
            crate::error!("{code} is no close code for a controller: 1000 or 3000 to 4999 is; 1000 is sent");
        }
        let reason = reason.get(..reason.floor_char_boundary(REASON_MAX)).unwrap_or_default();
        host::close(self.id(), if allowed { code } else { 1000 }, reason);
    }
}
