//! What came in.

use std::ops::Index;

use cookie::Cookie;
use serde::de::DeserializeOwned;

use crate::host::HttpRequest;
use crate::{Problem, Session, Worker};

/// Values of a pattern's parameters, decoded. Indexing by a name that the pattern does not have gives an empty text.
///
/// ```no_run
/// # use sc_sdk::prelude::*;
/// # fn example(worker: &Worker) {
/// worker.http().get("/users/:id", async |_request, params| Ok(Response::text(&params["id"])));
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// A parameter's value.
    ///
    /// ```no_run
    /// # fn example(params: &sc_sdk::Params) -> Option<u64> {
    /// params.get("id")?.parse().ok()
    /// # }
    /// ```
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Index<&str> for Params {
    type Output = String;

    fn index(&self, name: &str) -> &String {
        static NOTHING: String = String::new();
        self.0.iter().find(|(known, _)| known == name).map_or(&NOTHING, |(_, value)| value)
    }
}

/// A request, with its whole body.
///
/// ```no_run
/// # use sc_sdk::prelude::*;
/// async fn whoami(request: Request, _params: Params) -> Result<Response, Problem> {
///     let user: Option<Json> = request.session().get_auth().await?;
///     Ok(Response::json(json!({ "user": user, "address": request.address() })))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Request(HttpRequest);

impl Request {
    pub(crate) fn new(mut request: HttpRequest) -> (Self, Params) {
        let params = Params(std::mem::take(&mut request.params));
        (Request(request), params)
    }

    /// A request whose body was not read and which no route took.
    pub(crate) fn of_head(request: HttpRequest) -> Self {
        Request(request)
    }

    /// The method, such as `GET`.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::Request) -> bool { request.method() == "POST" }
    /// ```
    pub fn method(&self) -> &str {
        &self.0.method
    }

    /// The path as it came, percent-encoded.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::Request) { sc_sdk::info!("{}", request.path()); }
    /// ```
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The query as it came, without `?`.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::Request) -> bool { request.query_string() == "debug" }
    /// ```
    pub fn query_string(&self) -> &str {
        &self.0.query
    }

    /// The query's parameters.
    ///
    /// # Errors
    /// An `InvalidDataError` with the status 400 when they do not fit `T`.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// #[derive(serde::Deserialize)]
    /// struct Page { from: u32 }
    /// # fn example(request: &Request) -> Result<(), Problem> {
    /// let Page { from } = request.query()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn query<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_urlencoded::from_str(&self.0.query).map_err(|error| misfit("query", &error))
    }

    /// A header's value, if it is text. Names are found in any case; of several of one name it is the first.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::Request) -> Option<&str> { request.header("User-Agent") }
    /// ```
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.0.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// All headers in the order they came, their names in lower case.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::Request) -> usize { request.headers().count() }
    /// ```
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// A cookie's value, decoded.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::Request) -> Option<String> { request.cookie("theme") }
    /// ```
    pub fn cookie(&self, name: &str) -> Option<String> {
        let cookies = self.0.headers.iter().filter(|(known, _)| known == "cookie");
        let texts = cookies.filter_map(|(_, value)| std::str::from_utf8(value).ok());
        let mut cookies = texts.flat_map(Cookie::split_parse_encoded).filter_map(Result::ok);
        cookies.find(|cookie| cookie.name() == name).map(|cookie| cookie.value().to_owned())
    }

    /// The body.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::Request) -> usize { request.body().len() }
    /// ```
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    /// The body as text.
    ///
    /// # Errors
    /// An `InvalidDataError` with the status 400 when it is not UTF-8.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(request: &Request) -> Result<String, Problem> { Ok(request.text()?.to_uppercase()) }
    /// ```
    pub fn text(&self) -> Result<&str, Problem> {
        std::str::from_utf8(&self.0.body).map_err(|error| misfit("body", &error))
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// An `InvalidDataError` with the status 400 when it does not fit `T`.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(request: &Request) -> Result<Json, Problem> { request.json() }
    /// ```
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.0.body).map_err(|error| misfit("body", &error))
    }

    /// The body as a form sends it.
    ///
    /// # Errors
    /// An `InvalidDataError` with the status 400 when it does not fit `T`.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// #[derive(serde::Deserialize)]
    /// struct Login { username: String, password: String }
    /// # fn example(request: &Request) -> Result<Login, Problem> { request.form() }
    /// ```
    pub fn form<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_urlencoded::from_bytes(&self.0.body).map_err(|error| misfit("form", &error))
    }

    /// The client's IP address; behind a trusted proxy, that of its client.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::Request) { sc_sdk::info!("{}", request.address()); }
    /// ```
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// Whether the client came over TLS.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::Request) -> bool { request.is_secure() }
    /// ```
    pub fn is_secure(&self) -> bool {
        self.0.secure
    }

    /// The browser's session, a new one if it came without.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(request: &Request) -> Result<i64, Problem> {
    /// request.session().increment("visits", 1).await
    /// # }
    /// ```
    pub fn session(&self) -> Session {
        Session::new(&self.0.session, None)
    }

    /// The worker that answers it, with the trees and channels.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::Request) { request.worker().exchange().publish("news", "a request"); }
    /// ```
    pub fn worker(&self) -> Worker {
        Worker::handle()
    }
}

fn misfit(what: &str, error: &impl std::fmt::Display) -> Problem {
    Problem::new("InvalidDataError", format!("the {what} cannot be used: {error}")).with("status", 400)
}
