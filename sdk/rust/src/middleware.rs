//! Middleware: user code that decides about a client's actions before they have their effect. A worker's controller
//! may have its own ([`Worker::add_middleware`]); a component of its own ([`#[middleware]`](macro@crate::middleware))
//! decides before the controller, and can be swapped, or fail, alone.

mod action;
mod chain;
mod handle;
mod line;
mod verdict;

use std::cell::RefCell;
use std::rc::Rc;

pub use self::action::Action;
use self::chain::{Turn, add};
pub use self::handle::Middleware;
pub use self::line::{Line, names};
pub use self::verdict::{Verdict, allow, allow_with, block, block_silently, reject, respond};
use crate::{Problem, Request, Worker, host};

/// All that a middleware usually needs: `use sc_sdk::middleware::prelude::*;`
///
/// ```no_run
/// use sc_sdk::middleware::prelude::*;
///
/// #[middleware]
/// fn run(chain: &mut Middleware) {
///     chain.on(Line::Subscribe, async |action| match action.channel() {
///         "secret" => block("NotAllowedError", "nobody hears that channel"),
///         _ => allow(),
///     });
/// }
/// # fn main() {}
/// ```
pub mod prelude {
    pub use std::time::Duration;

    pub use super::{
        Action, Line, Middleware, Verdict, allow, allow_with, block, block_silently, reject, respond,
    };
    pub use crate::{
        Counter, Fetch, Json, Problem, Request, Response, Session, Socket, State, Timer, Tree, debug, error,
        info, json, middleware, random_u32, sleep, spawn, trace, warn,
    };
}

/// An action of a socket arrived.
pub(crate) fn arrived(id: u64, line: &str, socket: u64, name: String, data: Option<String>) {
    match Line::of(line) {
        Some(line) => Turn::begin(id, Action::new(line, socket, name, data)),
        None => chain::not_ready(id),
    }
}

/// A request arrived.
pub(crate) fn request_arrived(id: u64, line: &str, name: String, request: Request) {
    match Line::of(line) {
        Some(line) => Turn::begin(id, Action::of_request(line, name, request)),
        None => chain::not_ready(id),
    }
}

type End = Rc<dyn Fn(u64)>;

thread_local! {
    static ENDS: RefCell<Vec<End>> = const { RefCell::new(Vec::new()) };
}

fn on_end(handler: impl Fn(u64) + 'static) {
    host::hear_ends();
    ENDS.with_borrow_mut(|ends| ends.push(Rc::new(handler)));
}

/// A socket that was decided about is over.
pub(crate) fn ended(socket: u64) {
    let handlers = ENDS.with_borrow(Clone::clone);
    handlers.iter().for_each(|handler| handler(socket));
}

impl Worker {
    /// Has a handler decide about the actions of clients on a line, before they have their effect. Several handlers of
    /// a line decide in the order they were added. It may await: the actions of one client wait for each other,
    /// clients do not. A verdict that takes longer than 10 s is a block.
    ///
    /// ```no_run
    /// use sc_sdk::middleware::{Line, allow, block};
    /// use sc_sdk::prelude::*;
    ///
    /// #[controller]
    /// fn run(worker: &mut Worker) {
    ///     worker.add_middleware(Line::PublishIn, async |action| match action.socket().is_authenticated() {
    ///         true => allow(),
    ///         false => block("NotAuthenticatedError", "only users publish here"),
    ///     });
    /// }
    /// # fn main() {}
    /// ```
    pub fn add_middleware(
        &self,
        line: Line,
        handler: impl AsyncFn(Action) -> Result<Verdict, Problem> + 'static,
    ) {
        add(line, "*", handler);
    }

    /// The same for actions whose event or channel has a name like the pattern: `*` stands for any text, `?` for one
    /// character. What no pattern names never leaves the host.
    ///
    /// ```no_run
    /// # use sc_sdk::middleware::{Line, block};
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.add_middleware_for(Line::PublishIn, "news.*", async |_action| {
    ///     block("NotAllowedError", "news come from the server")
    /// });
    /// # }
    /// ```
    pub fn add_middleware_for(
        &self,
        line: Line,
        pattern: &str,
        handler: impl AsyncFn(Action) -> Result<Verdict, Problem> + 'static,
    ) {
        add(line, pattern, handler);
    }
}
