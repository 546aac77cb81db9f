//! What goes out.

use cookie::Cookie;
use serde::Serialize;

use crate::{Problem, host, json};

/// An answer. The host adds length, date and, for a client without one, the session's cookie.
///
/// ```no_run
/// use sc_sdk::prelude::*;
///
/// fn page(name: &str) -> Response {
///     Response::html(format!("<h1>{name}</h1>")).with_header("cache-control", "no-store")
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Response {
    fn of(kind: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), kind.as_bytes().to_vec())];
        Response { status: 200, headers, body: body.into() }
    }

    /// 200 with plain text.
    ///
    /// ```
    /// assert_eq!(sc_sdk::Response::text("fine").status(), 200);
    /// ```
    pub fn text(text: impl Into<String>) -> Self {
        Self::of("text/plain; charset=utf-8", text.into())
    }

    /// 200 with a page.
    ///
    /// ```
    /// let page = sc_sdk::Response::html("<h1>hello</h1>");
    /// ```
    pub fn html(text: impl Into<String>) -> Self {
        Self::of("text/html; charset=utf-8", text.into())
    }

    /// 200 with JSON; 500 for what cannot be JSON.
    ///
    /// ```
    /// # use sc_sdk::{Response, json};
    /// assert_eq!(Response::json(json!({ "a": 1 })).body(), br#"{"a":1}"#);
    /// ```
    pub fn json(value: impl Serialize) -> Self {
        match serde_json::to_vec(&value) {
            Ok(text) => Self::of("application/json", text),
            Err(error) => Self::problem(&error.into()),
        }
    }

    /// 200 with bytes.
    ///
    /// ```
    /// let picture = sc_sdk::Response::bytes([0x89, 0x50]).with_header("content-type", "image/png");
    /// ```
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::of("application/octet-stream", bytes)
    }

    /// 204 without a body.
    ///
    /// ```
    /// assert_eq!(sc_sdk::Response::empty().status(), 204);
    /// ```
    pub fn empty() -> Self {
        Response { status: 204, headers: Vec::new(), body: Vec::new() }
    }

    /// 303: the browser gets that page next, also after a `POST`.
    ///
    /// ```
    /// assert_eq!(sc_sdk::Response::redirect("/").status(), 303);
    /// ```
    pub fn redirect(to: impl Into<String>) -> Self {
        Self::empty().with_status(303).with_header("location", to)
    }

    /// An error as the answer: an object with its name, message and members, with the status of its member `status`
    /// (400 to 599), or 500.
    ///
    /// ```
    /// # use sc_sdk::{Problem, Response};
    /// let problem = Problem::new("NotFoundError", "there is no such user").with("status", 404);
    /// assert_eq!(Response::problem(&problem).status(), 404);
    /// ```
    pub fn problem(problem: &Problem) -> Self {
        let status = problem.status().unwrap_or(500);
        let mut body = json!({ "message": problem.message() });
        if let (Some(name), Some(members)) = (problem.name(), body.as_object_mut()) {
            members.insert("name".to_owned(), name.into());
        }
        Self::json(body).with_status(status)
    }

    /// Changes the status, from 200 to 599; another one becomes 500.
    ///
    /// ```
    /// assert_eq!(sc_sdk::Response::text("gone").with_status(410).status(), 410);
    /// ```
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = if (200..=599).contains(&status) { status } else { 500 };
        self
    }

    /// Sets a header, in the stead of others of its name. What cannot be a header is logged and left out.
    ///
    /// ```
    /// let response = sc_sdk::Response::text("fine").with_header("cache-control", "no-store");
    /// ```
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        let name = name.to_ascii_lowercase();
        self.headers.retain(|(known, _)| *known != name);
        self.and_header(name, value.into())
    }

    fn and_header(mut self, name: String, value: String) -> Self {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let is_sound = !name.is_empty() && name.chars().all(is_token);
        if is_sound && value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f)) {
            self.headers.push((name, value.into_bytes()));
        } else {
            crate::error!("{name:?} with {value:?} is no header and is left out of the answer");
        }
        self
    }

    /// Adds a cookie; its value is encoded.
    ///
    /// ```
    /// use sc_sdk::{Cookie, Response};
    /// let theme = Cookie::build(("theme", "dark")).path("/").http_only(true);
    /// let response = Response::redirect("/").with_cookie(theme);
    /// ```
    #[must_use]
    pub fn with_cookie<'c>(self, cookie: impl Into<Cookie<'c>>) -> Self {
        let cookie = cookie.into().encoded().to_string();
        self.and_header("set-cookie".to_owned(), cookie)
    }

    /// The status.
    ///
    /// ```
    /// assert_eq!(sc_sdk::Response::text("").status(), 200);
    /// ```
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The body.
    ///
    /// ```
    /// assert_eq!(sc_sdk::Response::text("fine").body(), b"fine");
    /// ```
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    pub(crate) fn headers(&self) -> &[(String, Vec<u8>)] {
        &self.headers
    }

    pub(crate) fn send(&self, request: u64) {
        host::respond(request, self.status, &self.headers, &self.body);
    }

    pub(crate) fn decide(&self, action: u64) {
        host::answer_action(action, self.status, &self.headers, &self.body);
    }
}
