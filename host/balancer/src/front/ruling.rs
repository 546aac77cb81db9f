//! What the controller asked for, done to a request. The texts were checked when they were asked for; what still
//! cannot be a header or a path is left out.

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Response, StatusCode, Uri};
use sc_core::controller::{Header, Ruling};

use crate::proxy::{Body, full};

/// What becomes of the request.
pub(crate) enum Outcome {
    /// It ends here, with this.
    Answered(Response<Body>),
    /// Its connection ends here.
    Closed,
    /// It goes on.
    On {
        /// By this key, if there is one.
        key: Option<String>,
        /// Headers that are the controller's word, which the client cannot take back.
        set: Vec<HeaderName>,
    },
}

/// Changes the request as was asked for.
pub(crate) fn rule(rulings: Vec<Ruling>, parts: &mut Parts) -> Outcome {
    let (mut key, mut set) = (None, Vec::new());
    for ruling in rulings {
        match ruling {
            Ruling::Answer { status, headers, body } => {
                return Outcome::Answered(answer(status, headers, body));
            }
            Ruling::Close => return Outcome::Closed,
            Ruling::SetHeader(header) => {
                if let Some((name, value)) = parsed(header) {
                    set.push(name.clone());
                    parts.headers.insert(name, value);
                }
            }
            Ruling::RemoveHeader(name) => drop(parts.headers.remove(name)),
            Ruling::Rewrite(target) => {
                if let Ok(target) = target.parse::<PathAndQuery>() {
                    parts.uri = Uri::from(target);
                }
            }
            Ruling::RouteBy(by) => key = Some(by),
        }
    }
    Outcome::On { key, set }
}

fn parsed((name, value): Header) -> Option<(HeaderName, HeaderValue)> {
    Some((name.parse().ok()?, HeaderValue::from_bytes(&value).ok()?))
}

fn answer(status: u16, headers: Vec<Header>, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    headers.into_iter().filter_map(parsed).for_each(|(name, value)| {
        response.headers_mut().append(name, value);
    });
    response
}
