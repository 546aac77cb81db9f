//! Controllers of balancers: user code that decides about a request when its head has come, before a worker is chosen
//! for it.
//!
//! ```no_run
//! use std::time::Instant;
//!
//! use sc_sdk::balancer::prelude::*;
//!
//! // At most 100 requests a second, and the sockets of one room on one worker.
//! #[balancer]
//! fn run(balancer: &mut Balancer) {
//!     let window = State::new((Instant::now(), 0u32));
//!     balancer.on_request(move |_request| {
//!         let count = window.update(|(since, count)| {
//!             if since.elapsed() >= Duration::from_secs(1) {
//!                 (*since, *count) = (Instant::now(), 0);
//!             }
//!             *count += 1;
//!             *count
//!         });
//!         match count {
//!             0..=100 => allow(),
//!             _ => answer(Response::text("slow down\n").with_status(429).with_header("retry-after", "1")),
//!         }
//!     });
//!     balancer.on_upgrade(|request| {
//!         if let Some(room) = request.query_of("room") {
//!             request.route_by(&room);
//!         }
//!         allow()
//!     });
//! }
//! # fn main() {}
//! ```
//!
//! There is one instance in each balancer process, so what it counts is its process's share. `sc.toml` names the
//! component as `component` in the section `[balancer]`.
//!
//! A handler answers at once: nothing can be awaited here, and a request whose call fails, or that waits a second for
//! its call, is decided by `balancer.on_failure`.

mod arrival;

use std::cell::RefCell;
use std::rc::Rc;

use serde::de::DeserializeOwned;

pub use self::arrival::Arrival;
use crate::{Cause, Keep, Problem, Response, payload, start, state};

/// All that a balancer's controller usually needs: `use sc_sdk::balancer::prelude::*;`
///
/// ```no_run
/// use sc_sdk::balancer::prelude::*;
///
/// #[balancer]
/// fn run(balancer: &mut Balancer) {
///     balancer.on_request(|request| {
///         request.set_header("x-balancer", "yes");
///         allow()
///     });
/// }
/// # fn main() {}
/// ```
pub mod prelude {
    pub use std::time::Duration;

    pub use super::{Arrival, Balancer, Line, Verdict, allow, answer, close};
    pub use crate::{
        Counter, Json, Problem, Response, State, balancer, debug, error, info, json, random_u32, trace, warn,
    };
}

/// A kind of request.
///
/// ```
/// use sc_sdk::balancer::{Line, names};
/// assert_eq!(names::MIDDLEWARE_UPGRADE, Line::Upgrade);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Line {
    /// One that asks for no socket.
    Request,
    /// One that asks for a socket.
    Upgrade,
}

/// Lines under the names that SocketCluster gave them.
pub mod names {
    use super::Line;

    /// `balancer.MIDDLEWARE_REQUEST`.
    pub const MIDDLEWARE_REQUEST: Line = Line::Request;
    /// `balancer.MIDDLEWARE_UPGRADE`.
    pub const MIDDLEWARE_UPGRADE: Line = Line::Upgrade;
}

/// What a handler says of a request.
///
/// ```
/// use sc_sdk::balancer::{Verdict, allow};
/// assert_eq!(allow(), Verdict::Allow);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// It goes on, to the next handler and then to a worker.
    Allow,
    /// It ends here with this answer.
    Answer(Response),
    /// Its connection ends here without an answer.
    Close,
}

/// The request goes on: to the next handler of its line, then to a worker.
///
/// ```
/// assert_eq!(sc_sdk::balancer::allow(), sc_sdk::balancer::Verdict::Allow);
/// ```
pub fn allow() -> Verdict {
    Verdict::Allow
}

/// The request ends here with this answer. A request for a socket is answered too, and its connection then closed.
///
/// ```
/// use sc_sdk::Response;
/// use sc_sdk::balancer::answer;
///
/// let busy = answer(Response::text("come back later\n").with_status(503));
/// ```
pub fn answer(response: Response) -> Verdict {
    Verdict::Answer(response)
}

/// The connection ends here, and its client is not told why.
///
/// ```
/// assert_eq!(sc_sdk::balancer::close(), sc_sdk::balancer::Verdict::Close);
/// ```
pub fn close() -> Verdict {
    Verdict::Close
}

type OnArrival = dyn Fn(&Arrival) -> Verdict;

thread_local! {
    static HANDLERS: RefCell<Vec<(Line, Rc<OnArrival>)>> = const { RefCell::new(Vec::new()) };
}

/// The balancer that this instance runs in. A handle: copies of it are the same balancer.
///
/// ```no_run
/// # use sc_sdk::balancer::prelude::*;
/// # fn example(balancer: &Balancer) {
/// info!("balancer {} of {} starts", balancer.id(), balancer.count());
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Balancer(());

impl Balancer {
    pub(crate) const fn handle() -> Self {
        Balancer(())
    }

    /// Has a handler decide about requests of a line. Several decide in the order they were added; the first that does
    /// not allow ends it.
    ///
    /// ```no_run
    /// # use sc_sdk::balancer::prelude::*;
    /// use sc_sdk::balancer::names::MIDDLEWARE_REQUEST;
    /// # fn example(balancer: &Balancer) {
    /// balancer.add_middleware(MIDDLEWARE_REQUEST, |request| {
    ///     debug!("{} {}", request.method(), request.target());
    ///     allow()
    /// });
    /// # }
    /// ```
    pub fn add_middleware(&self, line: Line, handler: impl Fn(&Arrival) -> Verdict + 'static) {
        HANDLERS.with_borrow_mut(|handlers| handlers.push((line, Rc::new(handler))));
    }

    /// Has a handler decide about requests that ask for no socket: all of a connection, not only the first.
    ///
    /// ```no_run
    /// # use sc_sdk::balancer::prelude::*;
    /// # fn example(balancer: &Balancer) {
    /// balancer.on_request(|request| match request.path().strip_prefix("/old/") {
    ///     Some(rest) => answer(Response::redirect(format!("/new/{rest}"))),
    ///     None => allow(),
    /// });
    /// # }
    /// ```
    pub fn on_request(&self, handler: impl Fn(&Arrival) -> Verdict + 'static) {
        self.add_middleware(Line::Request, handler);
    }

    /// Has a handler decide about requests that ask for a socket.
    ///
    /// ```no_run
    /// # use sc_sdk::balancer::prelude::*;
    /// # fn example(balancer: &Balancer) {
    /// balancer.on_upgrade(|request| match request.address().as_str() {
    ///     "192.0.2.7" => close(),
    ///     _ => allow(),
    /// });
    /// # }
    /// ```
    pub fn on_upgrade(&self, handler: impl Fn(&Arrival) -> Verdict + 'static) {
        self.add_middleware(Line::Upgrade, handler);
    }

    /// Keeps a piece of state over a swap; see [`Worker::keep_state_as`](crate::Worker::keep_state_as).
    ///
    /// ```no_run
    /// # use sc_sdk::balancer::prelude::*;
    /// # fn example(balancer: &Balancer) {
    /// let refused = Counter::new();
    /// balancer.keep_state("refused", &refused);
    /// # }
    /// ```
    pub fn keep_state(&self, name: &str, piece: &impl Keep) {
        state::keep(Some(name), piece);
    }

    /// The controller's `balancer.config` of `sc.toml`.
    ///
    /// # Errors
    /// A `ConfigError` when it does not fit `T`.
    ///
    /// ```no_run
    /// # use sc_sdk::balancer::prelude::*;
    /// # fn example(balancer: &Balancer) -> Result<Json, Problem> { balancer.config() }
    /// ```
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let config = start::with(|info| info.config.clone()).unwrap_or_else(|| "{}".to_owned());
        serde_json::from_str(&config).map_err(|error| {
            let error = payload::misfit(&error);
            Problem::new("ConfigError", format!("`balancer.config` in sc.toml does not fit: {error}"))
        })
    }

    /// This balancer's number, from 0.
    ///
    /// ```no_run
    /// # fn example(balancer: &sc_sdk::balancer::Balancer) -> u32 { balancer.id() }
    /// ```
    pub fn id(&self) -> u32 {
        start::with(|info| info.worker).unwrap_or_default()
    }

    /// How many balancers the host runs: a limit for the host is this many times one for an instance.
    ///
    /// ```no_run
    /// # fn example(balancer: &sc_sdk::balancer::Balancer) -> u32 { balancer.count() }
    /// ```
    pub fn count(&self) -> u32 {
        start::with(|info| info.workers).unwrap_or_default()
    }

    /// Why this instance starts.
    ///
    /// ```no_run
    /// # use sc_sdk::Cause;
    /// # fn example(balancer: &sc_sdk::balancer::Balancer) -> bool { balancer.cause() == Cause::Crash }
    /// ```
    pub fn cause(&self) -> Cause {
        start::with(|info| Cause::from(info.cause.as_str())).unwrap_or(Cause::Boot)
    }
}

/// A request came: the handlers of its line decide, and the host is told.
pub(crate) fn arrive(head: sc_sdk_balancer::Head, is_upgrade: bool) {
    let line = if is_upgrade { Line::Upgrade } else { Line::Request };
    let handlers: Vec<_> = HANDLERS.with_borrow(|handlers| {
        let of_line = handlers.iter().filter(|(of, _)| *of == line);
        of_line.map(|(_, handler)| Rc::clone(handler)).collect()
    });
    let arrival = Arrival::new(head);
    for handler in handlers {
        match handler(&arrival) {
            Verdict::Allow => {}
            Verdict::Answer(response) => {
                return arrival::host::answer(response.status(), response.headers(), response.body());
            }
            Verdict::Close => return arrival::host::close(),
        }
    }
    arrival.go_on();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::told;

    fn head(target: &str, headers: &[(&str, &str)]) -> sc_sdk_balancer::Head {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
        sc_sdk_balancer::Head {
            method: "GET".to_owned(),
            target: target.to_owned(),
            headers: headers.collect(),
            address: "1.1.1.1".to_owned(),
            secure: false,
        }
    }

    #[test]
    fn handlers_decide_in_their_order_and_see_what_those_before_changed() {
        let balancer = Balancer::handle();
        balancer.on_request(|request| {
            request.set_header("X-One", request.header("a").unwrap_or_default());
            request.remove_header("a");
            request.rewrite("/two?b=c%20d");
            allow()
        });
        balancer.add_middleware(names::MIDDLEWARE_REQUEST, |request| {
            assert_eq!((request.path(), request.query_of("b").as_deref()), ("/two".into(), Some("c d")));
            assert_eq!((request.header("x-one").as_deref(), request.header("a")), (Some("1"), None));
            match request.header("stop").as_deref() {
                Some("close") => close(),
                Some(_) => answer(Response::text("no").with_status(403)),
                None => allow(),
            }
        });
        balancer.on_upgrade(|request| {
            request.route_by("room");
            allow()
        });
        arrive(head("/one", &[("a", "1")]), false);
        assert_eq!(told(), ["set-header x-one 1", "remove-header a", "rewrite /two?b=c%20d"]);
        arrive(head("/one", &[("a", "1"), ("stop", "close")]), false);
        assert_eq!(told(), ["close"], "what was changed before goes nowhere");
        arrive(head("/one", &[("a", "1"), ("stop", "answer")]), false);
        assert_eq!(told(), ["answer 403 no"]);
        arrive(head("/socketcluster/", &[]), true);
        assert_eq!(told(), ["route-by room"]);
    }
}
