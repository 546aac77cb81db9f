//! Middleware: user code that decides about a client's actions before they have their effect. A worker's controller may
//! have its own ([`Worker::add_middleware`]); a component of its own ([`#[middleware]`](macro@crate::middleware)) decides before
//! the controller, and can be swapped, or fail, alone.

mod action;
mod handle;
mod line;
mod verdict;

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;

use wildmatch::WildMatch;

pub use self::action::Action;
pub use self::handle::Middleware;
pub use self::line::{Line, names};
use self::verdict::Outcome;
pub use self::verdict::{Verdict, allow, allow_with, block, block_silently, reject, respond};
use crate::{Problem, Request, Response, Worker, executor, host};

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

type Decision = Pin<Box<dyn Future<Output = Result<Verdict, Problem>>>>;

struct Handler {
    line: Line,
    like: WildMatch,
    decide: Rc<dyn Fn(Action) -> Decision>,
}

thread_local! {
    static HANDLERS: RefCell<Vec<Rc<Handler>>> = const { RefCell::new(Vec::new()) };
}

fn add(line: Line, pattern: &str, handler: impl AsyncFn(Action) -> Result<Verdict, Problem> + 'static) {
    let handler = Rc::new(handler);
    let decide = Rc::new(move |action| -> Decision {
        let handler = Rc::clone(&handler);
        Box::pin(async move { handler(action).await })
    });
    let lines: &[Line] = if line == Line::Event { &[Line::Transmit, Line::Invoke] } else { &[line] };
    for line in lines {
        host::guard(line.word(), pattern);
    }
    HANDLERS.with_borrow_mut(|handlers| {
        handlers.push(Rc::new(Handler { line, like: WildMatch::new(pattern), decide }));
    });
}

/// An action of a socket arrived.
pub(crate) fn arrived(id: u64, line: &str, socket: u64, name: String, data: Option<String>) {
    match Line::of(line) {
        Some(line) => decide(id, Action::new(line, socket, name, data)),
        None => host::block(id, &not_ready()),
    }
}

/// A request arrived.
pub(crate) fn request_arrived(id: u64, line: &str, name: String, request: Request) {
    match Line::of(line) {
        Some(line) => decide(id, Action::of_request(line, name, request)),
        None => host::block(id, &not_ready()),
    }
}

fn not_ready() -> host::Failure {
    Problem::new("MiddlewareError", "The middleware is not ready yet").to_failure()
}

/// The handlers decide one after the other, each on what the one before it let through.
fn decide(id: u64, mut action: Action) {
    let (line, name) = (action.line(), action.name());
    let handlers: Vec<_> = HANDLERS.with_borrow(|handlers| {
        let takes = |handler: &&Rc<Handler>| handler.line.takes(line) && handler.like.matches(name);
        handlers.iter().filter(takes).cloned().collect()
    });
    // The host asks only where a handler was added: by an instance before this one, which has not added its own yet.
    if handlers.is_empty() {
        return host::block(id, &not_ready());
    }
    executor::begin(async move {
        let mut changed = false;
        for handler in handlers {
            match (handler.decide)(action.clone()).await.map(|verdict| verdict.0) {
                Ok(Outcome::Allow) => {}
                Ok(Outcome::AllowWith(data)) => {
                    action = action.with(data);
                    changed = true;
                }
                Ok(Outcome::Block(problem)) | Err(problem) => return block_action(id, line, &problem),
                Ok(Outcome::Reject(problem, _)) if line.is_http() => return block_action(id, line, &problem),
                Ok(Outcome::Reject(problem, code)) => return host::reject(id, &problem.to_failure(), code),
                Ok(Outcome::Silent) => return host::block_silently(id),
                Ok(Outcome::Answer(answer)) => return answer.decide(id),
            }
        }
        match changed {
            true => host::allow_with(id, action.text()),
            false => host::allow(id),
        }
    });
}

fn block_action(id: u64, line: Line, problem: &Problem) {
    match problem.status().filter(|_| line.is_http()) {
        Some(status) => Response::text(problem.message()).with_status(status).decide(id),
        None => host::block(id, &problem.to_failure()),
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
    /// a line decide in the order they were added. It may await: the actions of one client wait for each other, clients
    /// do not. A verdict that takes longer than 10 s is a block.
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
