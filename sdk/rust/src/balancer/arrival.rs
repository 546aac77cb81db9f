//! A request whose head has come, and what becomes of it.

use std::cell::RefCell;
use std::fmt::Display;

use cookie::Cookie;
use sc_sdk_balancer::Head;

#[cfg(test)]
pub(super) use crate::fake::verdicts as host;
#[cfg(not(test))]
pub(super) use sc_sdk_balancer::verdicts as host;

/// A request. What a handler changes of it, later handlers and the worker see; a request that ends here was not
/// changed.
///
/// ```no_run
/// # use sc_sdk::balancer::prelude::*;
/// # fn example(balancer: &Balancer) {
/// balancer.on_request(|request| {
///     if request.header("x-api-key").is_none() {
///         return answer(Response::text("no key\n").with_status(401));
///     }
///     request.rewrite(&format!("/v1{}", request.target()));
///     allow()
/// });
/// # }
/// ```
#[derive(Debug)]
pub struct Arrival {
    head: RefCell<Head>,
    changes: RefCell<Vec<Change>>,
}

#[derive(Debug)]
enum Change {
    Set(String, Vec<u8>),
    Remove(String),
    Rewrite(String),
    RouteBy(String),
}

impl Arrival {
    pub(super) fn new(head: Head) -> Self {
        Arrival { head: head.into(), changes: RefCell::default() }
    }

    /// Tells the host what was changed.
    pub(super) fn go_on(self) {
        for change in self.changes.into_inner() {
            match change {
                Change::Set(name, value) => host::set_header(&name, &value),
                Change::Remove(name) => host::remove_header(&name),
                Change::Rewrite(target) => host::rewrite(&target),
                Change::RouteBy(key) => host::route_by(&key),
            }
        }
    }

    fn change(&self, change: Change) {
        self.changes.borrow_mut().push(change);
    }

    /// `"GET"` and its like.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::balancer::Arrival) -> bool { request.method() == "POST" }
    /// ```
    pub fn method(&self) -> String {
        self.head.borrow().method.clone()
    }

    /// Path and query.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::balancer::Arrival) -> bool { request.target() == "/a?b=c" }
    /// ```
    pub fn target(&self) -> String {
        self.head.borrow().target.clone()
    }

    /// The path, as it came.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::balancer::Arrival) -> bool { request.path() == "/a" }
    /// ```
    pub fn path(&self) -> String {
        let target = self.target();
        target.split_once('?').map_or(target.clone(), |(path, _)| path.to_owned())
    }

    /// The query, without `?`; empty if there is none.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::balancer::Arrival) -> bool { request.query_string() == "b=c" }
    /// ```
    pub fn query_string(&self) -> String {
        self.target().split_once('?').map_or_else(String::new, |(_, query)| query.to_owned())
    }

    /// A parameter of the query, decoded; the first of that name.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::balancer::Arrival) -> Option<String> { request.query_of("room") }
    /// ```
    pub fn query_of(&self, name: &str) -> Option<String> {
        let query = self.query_string();
        let all: Vec<(String, String)> = serde_urlencoded::from_str(&query).ok()?;
        all.into_iter().find(|(of, _)| of == name).map(|(_, value)| value)
    }

    /// A header that is text; the first of that name, in any case.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::balancer::Arrival) -> Option<String> { request.header("user-agent") }
    /// ```
    pub fn header(&self, name: &str) -> Option<String> {
        let head = self.head.borrow();
        let (_, value) = head.headers.iter().find(|(of, _)| of.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok().map(str::to_owned)
    }

    /// All headers: names in lower case, values as they came.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::balancer::Arrival) -> usize { request.headers().len() }
    /// ```
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        self.head.borrow().headers.clone()
    }

    /// A cookie's value, decoded.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::balancer::Arrival) -> Option<String> { request.cookie("theme") }
    /// ```
    pub fn cookie(&self, name: &str) -> Option<String> {
        let head = self.head.borrow();
        let lines = head.headers.iter().filter(|(of, _)| of == "cookie");
        let texts = lines.filter_map(|(_, value)| std::str::from_utf8(value).ok());
        let mut all = texts.flat_map(|text| Cookie::split_parse_encoded(text).flatten());
        all.find(|cookie| cookie.name() == name).map(|cookie| cookie.value().to_owned())
    }

    /// The client's IP address, by the word of the proxies that `http.trusted_proxies` names.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::balancer::Arrival) -> bool { request.address() == "::1" }
    /// ```
    pub fn address(&self) -> String {
        self.head.borrow().address.clone()
    }

    /// Whether the client came over TLS.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::balancer::Arrival) -> bool { request.is_secure() }
    /// ```
    pub fn is_secure(&self) -> bool {
        self.head.borrow().secure
    }

    /// Puts a header in place of all of that name. Headers that say how the request travels are the host's, as are
    /// `X-Forwarded-For` and `-Proto`: to set one of those fails the call.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::balancer::Arrival) { request.set_header("x-tier", "gold"); }
    /// ```
    pub fn set_header(&self, name: &str, value: impl Into<Vec<u8>>) {
        let (name, value) = (name.to_ascii_lowercase(), value.into());
        let mut head = self.head.borrow_mut();
        head.headers.retain(|(of, _)| *of != name);
        head.headers.push((name.clone(), value.clone()));
        self.change(Change::Set(name, value));
    }

    /// Takes all headers of that name away; see [`Arrival::set_header`].
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::balancer::Arrival) { request.remove_header("x-debug"); }
    /// ```
    pub fn remove_header(&self, name: &str) {
        let name = name.to_ascii_lowercase();
        self.head.borrow_mut().headers.retain(|(of, _)| *of != name);
        self.change(Change::Remove(name));
    }

    /// Another path and query for the worker. What is none fails the call: it begins with `/`, is encoded, and has no
    /// `#`.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::balancer::Arrival) { request.rewrite("/index.html?from=old"); }
    /// ```
    pub fn rewrite(&self, target: &str) {
        target.clone_into(&mut self.head.borrow_mut().target);
        self.change(Change::Rewrite(target.to_owned()));
    }

    /// Sends all requests of one key to one worker, as long as it lives, from every balancer. It comes before the
    /// request's session.
    ///
    /// ```no_run
    /// # fn example(request: &sc_sdk::balancer::Arrival) { request.route_by(&request.address()); }
    /// ```
    pub fn route_by(&self, key: impl Display) {
        self.change(Change::RouteBy(key.to_string()));
    }
}
