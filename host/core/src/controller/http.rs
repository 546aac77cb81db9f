//! HTTP as user code sees it: whole requests in, whole answers out.

use std::time::Duration;

use crate::ids::Token;

/// A header's name and value. The value need not be text.
pub type Header = (String, Vec<u8>);

/// A request that a route of the instance took.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRequest {
    /// Names the answer.
    pub token: Token,
    /// The method.
    pub method: String,
    /// The pattern that took it.
    pub route: String,
    /// The path, as it came.
    pub path: String,
    /// The query, without `?`.
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<Header>,
    /// The whole body.
    pub body: Vec<u8>,
    /// The client's IP address.
    pub address: String,
    /// Whether the client came over TLS.
    pub secure: bool,
    /// The session's id.
    pub session: String,
    /// Values of the pattern's parameters.
    pub params: Vec<(String, String)>,
}

/// A request of an instance's own.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpFetch {
    /// The method.
    pub method: String,
    /// Where to, with scheme and host.
    pub url: String,
    /// Checked to be headers; none that the host sets itself.
    pub headers: Vec<Header>,
    /// The whole body.
    pub body: Vec<u8>,
    /// For the whole exchange; none for the host's default, which is also the longest.
    pub timeout: Option<Duration>,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpResponse {
    /// From 200 to 599; of an answer to an instance's own request, what came.
    pub status: u16,
    /// Checked to be headers; none that the host sets itself.
    pub headers: Vec<Header>,
    /// The whole body.
    pub body: Vec<u8>,
}
