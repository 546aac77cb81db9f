//! A site: user code that answers HTTP requests by itself, for what the worker's own endpoints do not take. The worker
//! asks a [`Site`], and gets another one of a [`SiteSource`] when its code is replaced; `sc-guest` implements both
//! with `wasi:http` components.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;

use crate::controller::{Generation, StartError};

/// A body that comes piece by piece.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Why a site gives no answer. It has told the log already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SiteError {
    /// All its instances work, and too many requests wait for one: try again.
    #[error("all instances of the site are busy")]
    Busy,
    /// It took too long.
    #[error("the site did not answer in time")]
    Late,
    /// It trapped, used up what it may use, or answered with an error.
    #[error("the site failed")]
    Failed,
}

/// The head of an answer, and a body that comes while the site still works on it.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response<Body>, SiteError>> + 'a>>;

/// What answers requests.
pub trait Site {
    /// Answers a request; `secure` says whether it came over TLS. Dropping the future gives the request up.
    fn handle(&self, request: Request<Body>, secure: bool) -> Answer<'_>;
}

/// Where sites come from. They share what bounds them all: how many requests are worked on at once.
pub trait SiteSource {
    /// Maps and links a component; none of its code runs before a request comes.
    fn load(&self, generation: &Generation) -> Result<Rc<dyn Site>, StartError>;
}
