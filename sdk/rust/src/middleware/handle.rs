//! What a middleware's function is given.

use std::marker::PhantomData;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::chain::add;
use super::{Action, Line, Verdict, on_end};
use crate::{Auth, Exchange, Keep, Problem, Timer, Tree, Worker, state};

/// A middleware of this worker. A handle: copies of it are the same middleware.
///
/// ```no_run
/// use sc_sdk::middleware::prelude::*;
///
/// #[derive(serde::Deserialize)]
/// struct Config {
///     channel: String,
/// }
///
/// #[middleware]
/// fn run(chain: &mut Middleware) -> Result<(), Problem> {
///     let config: Config = chain.config()?;
///     chain.on_matching(Line::Subscribe, &config.channel, async |action| {
///         match action.socket().is_authenticated() {
///             true => allow(),
///             false => block("NotAuthenticatedError", "log in first"),
///         }
///     });
///     Ok(())
/// }
/// # fn main() {}
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Middleware {
    _here: PhantomData<*const ()>,
}

impl Middleware {
    pub(crate) const fn handle() -> Self {
        Middleware { _here: PhantomData }
    }

    const fn worker() -> Worker {
        Worker::handle()
    }

    /// Has a handler decide about the actions of clients on a line, before the worker's controller hears of them.
    /// Several handlers of a line decide in the order they were added. It may await: the actions of one client wait
    /// for each other, clients do not. What takes longer than 10 s, or fails, is blocked, unless the middleware's
    /// `on_failure` in `sc.toml` is `"open"`.
    ///
    /// ```no_run
    /// # use sc_sdk::middleware::prelude::*;
    /// # fn example(chain: &Middleware) {
    /// chain.on(Line::PublishIn, async |_action| block("ReadOnlyError", "nobody publishes here"));
    /// # }
    /// ```
    pub fn on(&self, line: Line, handler: impl AsyncFn(Action) -> Result<Verdict, Problem> + 'static) {
        add(line, "*", handler);
    }

    /// The same for actions whose event or channel has a name like the pattern: `*` stands for any text, `?` for one
    /// character. What no pattern names never leaves the host.
    ///
    /// ```no_run
    /// # use sc_sdk::middleware::prelude::*;
    /// # fn example(chain: &Middleware) {
    /// chain.on_matching(Line::Event, "admin.*", async |_action| block_silently());
    /// # }
    /// ```
    pub fn on_matching(
        &self,
        line: Line,
        pattern: &str,
        handler: impl AsyncFn(Action) -> Result<Verdict, Problem> + 'static,
    ) {
        add(line, pattern, handler);
    }

    /// Calls the handler with the id of each socket that is over, if an action of it was decided about here, whether
    /// it ever opened or not. What was kept under its id can go.
    ///
    /// ```no_run
    /// # use sc_sdk::middleware::prelude::*;
    /// # use std::{cell::RefCell, collections::HashMap, rc::Rc};
    /// # fn example(chain: &Middleware) {
    /// let counts: Rc<RefCell<HashMap<u64, u32>>> = Rc::default();
    /// let counted = Rc::clone(&counts);
    /// chain.on(Line::Event, async move |action| {
    ///     *counted.borrow_mut().entry(action.socket().id()).or_default() += 1;
    ///     allow()
    /// });
    /// chain.on_close(move |socket| drop(counts.borrow_mut().remove(&socket)));
    /// # }
    /// ```
    pub fn on_close(&self, handler: impl Fn(u64) + 'static) {
        on_end(handler);
    }

    /// The `config` table of this `[[middleware]]` in `sc.toml`.
    ///
    /// # Errors
    /// A `ConfigError` when it does not fit `T`.
    ///
    /// ```no_run
    /// # use sc_sdk::middleware::prelude::*;
    /// # fn example(chain: &Middleware) -> Result<(), Problem> {
    /// let limits: std::collections::BTreeMap<String, u32> = chain.config()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        Self::worker().config()
    }

    /// Tokens.
    ///
    /// ```no_run
    /// # use sc_sdk::middleware::prelude::*;
    /// # fn example(chain: &Middleware, token: &str) -> Result<Json, Problem> {
    /// chain.auth().verify(token)
    /// # }
    /// ```
    pub fn auth(&self) -> Auth {
        Self::worker().auth()
    }

    /// The channels. A middleware publishes on them and hears none.
    ///
    /// ```no_run
    /// # use sc_sdk::middleware::prelude::*;
    /// # fn example(chain: &Middleware) {
    /// chain.exchange().publish("alarms", "somebody knocks");
    /// # }
    /// ```
    pub fn exchange(&self) -> Exchange {
        Self::worker().exchange()
    }

    /// The tree of values that everything shares.
    ///
    /// ```no_run
    /// # use sc_sdk::middleware::prelude::*;
    /// # async fn example(chain: Middleware) -> Result<Option<bool>, Problem> {
    /// chain.global().get("closed").await
    /// # }
    /// ```
    pub fn global(&self) -> Tree {
        Self::worker().global()
    }

    /// A tree of values with a name of its own.
    ///
    /// ```no_run
    /// # use sc_sdk::middleware::prelude::*;
    /// # async fn example(chain: Middleware, address: &str) -> Result<Option<Json>, Problem> {
    /// chain.tree("banned").get(address).await
    /// # }
    /// ```
    pub fn tree(&self, name: &str) -> Tree {
        Self::worker().tree(name)
    }

    /// Calls the handler again and again; see [`Worker::set_interval`].
    ///
    /// ```no_run
    /// # use sc_sdk::middleware::prelude::*;
    /// # fn example(chain: &Middleware) {
    /// chain.set_interval(Duration::from_secs(60), |_chain| debug!("a minute"));
    /// # }
    /// ```
    pub fn set_interval(&self, time: Duration, handler: impl Fn(Middleware) + 'static) -> Timer {
        Timer::every(time, move |_| handler(Middleware::handle()))
    }

    /// Keeps a piece of state over a swap; see [`Worker::keep_state_as`].
    ///
    /// ```no_run
    /// # use sc_sdk::middleware::prelude::*;
    /// # fn example(chain: &Middleware) {
    /// let blocked = Counter::new();
    /// chain.keep_state("blocked", &blocked);
    /// # }
    /// ```
    pub fn keep_state(&self, name: &str, piece: &impl Keep) {
        state::keep(Some(name), piece);
    }
}
