//! Tokens: signing, verifying, and how long they live.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Problem, host};

/// When a token given out by [`Socket::set_auth_token`](crate::Socket::set_auth_token) expires. An `exp` among the
/// claims (in seconds since 1970) beats it.
///
/// ```
/// use sc_sdk::Expires;
/// use std::time::Duration;
///
/// assert_eq!(Expires::in_days(1), Expires::in_hours(24));
/// assert_eq!(Expires::after(Duration::from_secs(60)), Expires::in_minutes(1));
/// assert_ne!(Expires::by_default(), Expires::in_days(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Expires(Option<u32>);

impl Expires {
    /// After the host's `auth.default_expiry`, 24 hours unless configured.
    ///
    /// ```
    /// let expires = sc_sdk::Expires::by_default();
    /// ```
    pub const fn by_default() -> Self {
        Expires(None)
    }

    /// After so many seconds.
    ///
    /// ```
    /// let expires = sc_sdk::Expires::in_seconds(30);
    /// ```
    pub const fn in_seconds(seconds: u32) -> Self {
        Expires(Some(seconds))
    }

    /// After so many minutes.
    ///
    /// ```
    /// let expires = sc_sdk::Expires::in_minutes(10);
    /// ```
    pub const fn in_minutes(minutes: u32) -> Self {
        Self::in_seconds(minutes.saturating_mul(60))
    }

    /// After so many hours.
    ///
    /// ```
    /// let expires = sc_sdk::Expires::in_hours(24);
    /// ```
    pub const fn in_hours(hours: u32) -> Self {
        Self::in_seconds(hours.saturating_mul(60 * 60))
    }

    /// After so many days.
    ///
    /// ```
    /// let expires = sc_sdk::Expires::in_days(10);
    /// ```
    pub const fn in_days(days: u32) -> Self {
        Self::in_seconds(days.saturating_mul(24 * 60 * 60))
    }

    /// After some time, in whole seconds.
    ///
    /// ```
    /// let expires = sc_sdk::Expires::after(std::time::Duration::from_secs(90));
    /// ```
    pub fn after(time: Duration) -> Self {
        Self::in_seconds(u32::try_from(time.as_secs()).unwrap_or(u32::MAX))
    }

    pub(crate) fn seconds(self) -> Option<u32> {
        self.0
    }
}

/// Tokens for clients that log in by HTTP: [`Worker::auth`](crate::Worker::auth).
///
/// ```no_run
/// use sc_sdk::prelude::*;
///
/// fn attach(worker: &Worker) {
///     let auth = worker.auth();
///     worker.http().post("/login", async move |_request, _params| {
///         let token = auth.sign(json!({ "username": "bob" }), Expires::in_hours(8))?;
///         Ok(Response::json(json!({ "token": token })))
///     });
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Auth(());

impl Auth {
    pub(crate) const fn handle() -> Self {
        Auth(())
    }

    /// A signed token with these claims, an object, as [`Socket::set_auth_token`](crate::Socket::set_auth_token)
    /// makes.
    ///
    /// # Errors
    /// When the claims are no object, or hold an `exp` that is no number.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) -> Result<String, Problem> {
    /// worker.auth().sign(json!({ "username": "bob" }), Expires::by_default())
    /// # }
    /// ```
    pub fn sign(&self, claims: impl Serialize, expires: Expires) -> Result<String, Problem> {
        let claims = serde_json::to_value(&claims)?;
        if !claims.is_object() {
            return Err(Problem::new("InvalidArgumentsError", "claims are an object"));
        }
        host::sign(&claims.to_string(), expires.seconds()).map_err(Problem::from_wit)
    }

    /// The claims of a token that was signed here and is good now.
    ///
    /// # Errors
    /// An `AuthTokenExpiredError`, `AuthTokenNotBeforeError`, `AuthTokenInvalidError` or `AuthTokenError`; an
    /// `InvalidDataError` when the claims do not fit `T`.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker, request: &Request) -> Result<Json, Problem> {
    /// let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    /// worker.auth().verify(token.unwrap_or_default())
    /// # }
    /// ```
    pub fn verify<T: DeserializeOwned>(&self, token: &str) -> Result<T, Problem> {
        let claims = host::verify(token).map_err(Problem::from_wit)?;
        serde_json::from_str(&claims)
            .map_err(|error| Problem::new("InvalidDataError", format!("the claims cannot be used: {error}")))
    }
}
