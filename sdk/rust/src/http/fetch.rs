//! Requests to other servers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::answer;
use crate::host::{self, Failure, WitResponse};
use crate::{Answer, Problem};

thread_local! {
    /// Answers that came, until their question takes them.
    static CAME: RefCell<BTreeMap<u64, WitResponse>> = const { RefCell::new(BTreeMap::new()) };
}

/// A request to another server, which `worker.allow_hosts` of `sc.toml` has to name. Redirects are not followed.
///
/// ```no_run
/// use sc_sdk::prelude::*;
///
/// async fn weather(town: &str) -> Result<Json, Problem> {
///     let answer = Fetch::get("https://api.example.com/weather").query(&[("town", town)]).send().await?;
///     answer.json()
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use = "it is sent by `send`"]
pub struct Fetch {
    method: String,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Result<Vec<u8>, Problem>,
    timeout: Option<Duration>,
}

impl Fetch {
    /// A request of any method.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// let request = Fetch::new("DELETE", "https://api.example.com/users/7");
    /// ```
    pub fn new(method: &str, url: impl Into<String>) -> Self {
        Fetch {
            method: method.to_owned(),
            url: url.into(),
            headers: Vec::new(),
            body: Ok(Vec::new()),
            timeout: None,
        }
    }

    /// A `GET`.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// let request = Fetch::get("https://api.example.com/users");
    /// ```
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A `POST`.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// let request = Fetch::post("https://api.example.com/users").json(json!({ "name": "bob" }));
    /// ```
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// Adds parameters to the query.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// let request = Fetch::get("https://api.example.com/users").query(&[("page", "2")]);
    /// ```
    pub fn query(mut self, parameters: &impl Serialize) -> Self {
        match serde_urlencoded::to_string(parameters) {
            Ok(query) => {
                self.url.push(if self.url.contains('?') { '&' } else { '?' });
                self.url.push_str(&query);
            }
            Err(error) => self.body = Err(Problem::new("InvalidArgumentsError", error.to_string())),
        }
        self
    }

    /// Adds a header. Host, length and connection are the host's.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// let request = Fetch::get("https://api.example.com/me").header("authorization", "Bearer abc");
    /// ```
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into().into_bytes()));
        self
    }

    /// Sets the body.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// let request = Fetch::post("https://api.example.com/log").body("a line");
    /// ```
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = self.body.map(|_| body.into());
        self
    }

    /// Sets a JSON body, and its content type.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// let request = Fetch::post("https://api.example.com/users").json(json!({ "name": "bob" }));
    /// ```
    pub fn json(mut self, value: impl Serialize) -> Self {
        self.body = self.body.and_then(|_| Ok(serde_json::to_vec(&value)?));
        self.header("content-type", "application/json")
    }

    /// For the whole exchange; at most, and by default, the host's `worker.fetch_timeout`.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// let request = Fetch::get("https://api.example.com/slow").timeout(Duration::from_secs(2));
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends it; awaited or not. A status of 400 or more is an answer like others. Problems are a `NotAllowedError`,
    /// `InvalidArgumentsError`, `ConnectionError`, `TimeoutError` or `TooLargeError`. A muted instance sends nothing
    /// and gets no answer.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example() -> Result<u16, Problem> {
    /// Ok(Fetch::get("https://api.example.com/").send().await?.status())
    /// # }
    /// ```
    pub fn send(self) -> Answer<Fetched> {
        let body = match self.body {
            Ok(body) => body,
            Err(problem) => return Answer::ready(Err(problem)),
        };
        match host::fetch(&self.method, &self.url, &self.headers, &body, self.timeout) {
            Some(token) => Answer::to(token, Some(format!("the request to {}", self.url)), move |_| {
                let came = CAME.with_borrow_mut(|came| came.remove(&token));
                came.map(Fetched).ok_or_else(|| Problem::unnamed("no answer came"))
            }),
            None => Answer::never(),
        }
    }
}

/// What another server answered.
///
/// ```no_run
/// # use sc_sdk::prelude::*;
/// # async fn example() -> Result<Json, Problem> {
/// let answer = Fetch::get("https://api.example.com/").send().await?;
/// if answer.status() != 200 {
///     warn!("{}: {}", answer.status(), answer.text());
/// }
/// answer.json()
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Fetched(WitResponse);

impl Fetched {
    /// The status.
    ///
    /// ```no_run
    /// # fn example(answer: &sc_sdk::Fetched) -> bool { answer.status() == 200 }
    /// ```
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// A header's value, if it is text; of several of one name the first.
    ///
    /// ```no_run
    /// # fn example(answer: &sc_sdk::Fetched) -> Option<&str> { answer.header("content-type") }
    /// ```
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.0.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// The body.
    ///
    /// ```no_run
    /// # fn example(answer: &sc_sdk::Fetched) -> usize { answer.body().len() }
    /// ```
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    /// The body as text; what is no UTF-8 is replaced.
    ///
    /// ```no_run
    /// # fn example(answer: &sc_sdk::Fetched) -> String { answer.text() }
    /// ```
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// An `InvalidDataError` when it does not fit `T`.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(answer: &sc_sdk::Fetched) -> Result<Json, Problem> { answer.json() }
    /// ```
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.0.body)
            .map_err(|error| Problem::new("InvalidDataError", format!("the answer cannot be used: {error}")))
    }
}

/// Takes an answer in.
pub(crate) fn arrive(token: u64, outcome: Result<WitResponse, Failure>) {
    let outcome = outcome.map(|response| {
        CAME.with_borrow_mut(|came| came.insert(token, response));
        None
    });
    answer::arrive(token, outcome);
    // Nobody waited for it.
    if !answer::is_there(token) {
        CAME.with_borrow_mut(|came| came.remove(&token));
    }
}
