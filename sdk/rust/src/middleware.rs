//! Middleware: user code that decides about a client's actions before they have their effect. A worker's controller may
//! have its own ([`Worker::add_middleware`]); a component of its own ([`#[middleware]`](macro@crate::middleware)) decides before
//! the controller, and can be swapped, or fail, alone.

mod action;
mod handle;

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;

use serde::Serialize;
use wildmatch::WildMatch;

pub use self::action::Action;
pub use self::handle::Middleware;
use crate::{Problem, Worker, executor, host, payload};

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

    pub use super::{Action, Line, Middleware, Verdict, allow, allow_with, block, block_silently, reject};
    pub use crate::{
        Counter, Fetch, Json, Problem, Session, Socket, State, Timer, Tree, debug, error, info, json,
        middleware, random_u32, sleep, spawn, trace, warn,
    };
}

/// A kind of action.
///
/// ```
/// use sc_sdk::middleware::Line;
/// assert_eq!(Line::PublishIn.to_string(), "publish-in");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Line {
    /// A socket is to open; its token has been looked at. `MIDDLEWARE_HANDSHAKE_SC` of SocketCluster.
    Handshake,
    /// A good token is to become the socket's, at its handshake or later. `MIDDLEWARE_AUTHENTICATE`.
    Authenticate,
    /// A client subscribes. `MIDDLEWARE_SUBSCRIBE`.
    Subscribe,
    /// A client publishes. `MIDDLEWARE_PUBLISH_IN`.
    PublishIn,
    /// An event that nobody answers.
    Transmit,
    /// An event that waits for an answer.
    Invoke,
    /// Both kinds of events: for handlers; an action is one or the other. `MIDDLEWARE_EMIT`.
    Event,
}

/// Lines under the names that SocketCluster gave them over its generations.
pub mod names {
    use super::Line;

    /// Until SocketCluster 9 the HTTP request's too; here the protocol's handshake.
    pub const MIDDLEWARE_HANDSHAKE: Line = Line::Handshake;
    /// From SocketCluster 10 on.
    pub const MIDDLEWARE_HANDSHAKE_SC: Line = Line::Handshake;
    /// From SocketCluster 5 on.
    pub const MIDDLEWARE_AUTHENTICATE: Line = Line::Authenticate;
    /// Of all generations.
    pub const MIDDLEWARE_SUBSCRIBE: Line = Line::Subscribe;
    /// Of SocketCluster 0.9.
    pub const MIDDLEWARE_EVENT: Line = Line::Event;
    /// From SocketCluster 1 on.
    pub const MIDDLEWARE_EMIT: Line = Line::Event;
    /// Until SocketCluster 1.
    pub const MIDDLEWARE_PUBLISH: Line = Line::PublishIn;
    /// From SocketCluster 1 on.
    pub const MIDDLEWARE_PUBLISH_IN: Line = Line::PublishIn;
}

impl Line {
    fn word(self) -> &'static str {
        match self {
            Line::Handshake => "handshake",
            Line::Authenticate => "authenticate",
            Line::Subscribe => "subscribe",
            Line::PublishIn => "publish-in",
            Line::Transmit => "transmit",
            Line::Invoke => "invoke",
            Line::Event => "event",
        }
    }

    fn of(word: &str) -> Option<Self> {
        use Line::{Authenticate, Handshake, Invoke, PublishIn, Subscribe, Transmit};
        [Handshake, Authenticate, Subscribe, PublishIn, Transmit, Invoke]
            .into_iter()
            .find(|line| line.word() == word)
    }

    fn takes(self, other: Line) -> bool {
        self == other || (self == Line::Event && matches!(other, Line::Transmit | Line::Invoke))
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// What becomes of an action: [`allow`], [`allow_with`], [`block`], [`reject`] and [`block_silently`] make one.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict(Outcome);

#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Allow,
    AllowWith(Option<String>),
    Block(Problem),
    Reject(Problem, u16),
    Silent,
}

/// The action goes on.
///
/// ```no_run
/// # use sc_sdk::middleware::prelude::*;
/// # fn example(chain: &Middleware) {
/// chain.on(Line::Event, async |action| {
///     info!("{} sends {}", action.socket().name(), action.event());
///     allow()
/// });
/// # }
/// ```
pub fn allow() -> Result<Verdict, Problem> {
    Ok(Verdict(Outcome::Allow))
}

/// The action goes on with other data. What a token says cannot be changed.
///
/// ```no_run
/// # use sc_sdk::middleware::prelude::*;
/// # fn example(chain: &Middleware) {
/// chain.on(Line::PublishIn, async |action| {
///     let text: String = action.data()?;
///     allow_with(json!({ "from": action.socket().name(), "text": text }))
/// });
/// # }
/// ```
pub fn allow_with(data: impl Serialize) -> Result<Verdict, Problem> {
    match payload::encode(&data) {
        Ok(data) => Ok(Verdict(Outcome::AllowWith(data))),
        Err(error) => {
            Err(Problem::new("InvalidDataError", format!("the new data do not fit into JSON: {error}")))
        }
    }
}

/// The action ends here, and its client gets an error with that name and message. `Err` of a [`Problem`] does the same.
///
/// ```no_run
/// # use sc_sdk::middleware::prelude::*;
/// # fn example(chain: &Middleware) {
/// chain.on_matching(Line::Subscribe, "vip.*", async |action| {
///     match action.session().get::<bool>("isUserAuthorized").await? {
///         Some(true) => allow(),
///         _ => block("NotAuthorizedError", "vip channels need a login"),
///     }
/// });
/// # }
/// ```
pub fn block(name: &str, message: impl Into<String>) -> Result<Verdict, Problem> {
    Ok(Verdict(Outcome::Block(Problem::new(name, message))))
}

/// Blocks a handshake and closes its socket with that code: 1000 or from 3000 to 4999. Clients do not come back by
/// themselves after 4500 and above. On other lines the code means nothing.
///
/// ```no_run
/// # use sc_sdk::middleware::prelude::*;
/// # fn example(chain: &Middleware) {
/// chain.on(Line::Handshake, async |action| match action.socket().query() {
///     "key=secret" => allow(),
///     _ => reject(4501, Problem::new("KeyError", "this needs a key")),
/// });
/// # }
/// ```
pub fn reject(code: u16, problem: Problem) -> Result<Verdict, Problem> {
    Ok(Verdict(Outcome::Reject(problem, code)))
}

/// The action ends here, and its client is not told why.
///
/// ```no_run
/// # use sc_sdk::middleware::prelude::*;
/// # fn example(chain: &Middleware) {
/// chain.on(Line::PublishIn, async |_action| block_silently());
/// # }
/// ```
pub fn block_silently() -> Result<Verdict, Problem> {
    Ok(Verdict(Outcome::Silent))
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

/// An action arrived: the handlers decide one after the other, each on what the one before it let through.
pub(crate) fn arrived(id: u64, line: &str, socket: u64, name: String, data: Option<String>) {
    let not_ready = || Problem::new("MiddlewareError", "The middleware is not ready yet").to_failure();
    let Some(line) = Line::of(line) else { return host::block(id, &not_ready()) };
    let handlers: Vec<_> = HANDLERS.with_borrow(|handlers| {
        let takes = |handler: &&Rc<Handler>| handler.line.takes(line) && handler.like.matches(&name);
        handlers.iter().filter(takes).cloned().collect()
    });
    // The host asks only where a handler was added: by an instance before this one, which has not added its own yet.
    if handlers.is_empty() {
        return host::block(id, &not_ready());
    }
    let mut action = Action::new(line, socket, name, data);
    executor::begin(async move {
        let mut changed = false;
        for handler in handlers {
            match (handler.decide)(action.clone()).await.map(|verdict| verdict.0) {
                Ok(Outcome::Allow) => {}
                Ok(Outcome::AllowWith(data)) => {
                    action = action.with(data);
                    changed = true;
                }
                Ok(Outcome::Block(problem)) | Err(problem) => return host::block(id, &problem.to_failure()),
                Ok(Outcome::Reject(problem, code)) => return host::reject(id, &problem.to_failure(), code),
                Ok(Outcome::Silent) => return host::block_silently(id),
            }
        }
        match changed {
            true => host::allow_with(id, action.text()),
            false => host::allow(id),
        }
    });
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
