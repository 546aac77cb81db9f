//! The worker that this controller decides for.

mod hooks;

use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{
    Auth, Cause, Exchange, Http, Keep, Problem, Socket, Timer, Tree, host, payload, sockets, start, state,
};
pub(crate) use hooks::hooks;

/// The worker that this instance runs in. A handle: copies of it are the same worker.
///
/// ```no_run
/// use sc_sdk::prelude::*;
///
/// #[controller]
/// fn run(worker: &mut Worker) {
///     info!("worker {} of {} of {}", worker.id(), worker.count(), worker.app());
///     let worker = *worker;
///     worker.on_connection(move |socket| {
///         socket.on_async("count", async move |socket, ()| {
///             let visits: Option<u64> = worker.global().get("visits").await.unwrap_or_default();
///             socket.emit("visits", visits);
///         });
///     });
/// }
/// # fn main() {}
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Worker {
    _here: PhantomData<*const ()>,
}

impl Worker {
    pub(crate) const fn handle() -> Self {
        Worker { _here: PhantomData }
    }

    /// Sends one event to every open socket of this worker; it is encoded once.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.emit_to_all("rand", random_u32() % 100);
    /// # }
    /// ```
    pub fn emit_to_all(&self, event: &str, data: impl Serialize) {
        if let Some(data) = payload::encode_or_log(&data, "event", event) {
            host::emit_to_all(event, data.as_deref());
        }
    }

    /// Sends one event to several sockets; it is encoded once.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker, team: &[Socket]) {
    /// worker.emit_to(team, "goal", json!({ "score": 1 }));
    /// # }
    /// ```
    pub fn emit_to<'a>(
        &self,
        sockets: impl IntoIterator<Item = &'a Socket>,
        event: &str,
        data: impl Serialize,
    ) {
        let ids: Vec<u64> = sockets.into_iter().map(Socket::id).collect();
        if let Some(data) = payload::encode_or_log(&data, "event", event) {
            host::emit_many(&ids, event, data.as_deref());
        }
    }

    /// The open sockets of this worker that this instance knows. Right after a crash or a swap these are few: the
    /// host tells of the others bit by bit.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// let users: Vec<Socket> = worker.sockets().into_iter().filter(Socket::is_authenticated).collect();
    /// worker.emit_to(&users, "users", users.len());
    /// # }
    /// ```
    pub fn sockets(&self) -> Vec<Socket> {
        sockets::all()
    }

    /// The open socket with that [id](Socket::id).
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker, winner: u64) {
    /// if let Some(socket) = worker.socket(winner) {
    ///     socket.emit("won", ());
    /// }
    /// # }
    /// ```
    pub fn socket(&self, id: u64) -> Option<Socket> {
        sockets::get(id)
    }

    /// The channels.
    ///
    /// ```no_run
    /// # fn example(worker: &sc_sdk::Worker) {
    /// worker.exchange().publish("news", "hello");
    /// # }
    /// ```
    pub fn exchange(&self) -> Exchange {
        Exchange::handle()
    }

    /// The HTTP requests that this controller answers.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.http().get("/hello", async |_request, _params| Ok(Response::text("hello world")));
    /// # }
    /// ```
    pub fn http(&self) -> Http {
        Http::handle()
    }

    /// Tokens, for clients that log in by HTTP.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) -> Result<String, Problem> {
    /// worker.auth().sign(json!({ "username": "bob" }), Expires::in_hours(8))
    /// # }
    /// ```
    pub fn auth(&self) -> Auth {
        Auth::handle()
    }

    /// The tree of values that everything shares.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(worker: Worker) -> Result<Option<u64>, Problem> {
    /// worker.global().get("visits").await
    /// # }
    /// ```
    pub fn global(&self) -> Tree {
        Tree::global()
    }

    /// A tree of values with a name of its own.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(worker: Worker) -> Result<Option<Json>, Problem> {
    /// worker.tree("users").get("bob").await
    /// # }
    /// ```
    pub fn tree(&self, name: &str) -> Tree {
        Tree::named(name)
    }

    /// Calls the handler every `time` (at least 1 ms) until the timer is cancelled or the instance ends. Missed ticks
    /// are merged into one.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.set_interval(Duration::from_secs(1), |worker| worker.emit_to_all("tick", ()));
    /// # }
    /// ```
    pub fn set_interval(&self, time: Duration, handler: impl Fn(Worker) + 'static) -> Timer {
        Timer::every(time, handler)
    }

    /// Calls the handler once, after so much time (at least a millisecond, at most 49 days), unless the instance ends
    /// before.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.set_timeout(Duration::from_secs(60), |worker| worker.emit_to_all("minute", ()));
    /// # }
    /// ```
    pub fn set_timeout(&self, time: Duration, handler: impl FnOnce(Worker) + 'static) -> Timer {
        Timer::once(time, handler)
    }

    /// Replaces the key that signs and verifies tokens, on all workers. Tokens signed with the old one are bad at
    /// their next use. An empty key is logged and ignored. The call fails unless the configuration allows it:
    /// `rotation = true` in `[auth]`. Where the host made its key itself, the new one outlives it.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker, key: &str) {
    /// worker.set_auth_key(key);
    /// # }
    /// ```
    pub fn set_auth_key(&self, key: &str) {
        if key.is_empty() {
            crate::error!("the key that signs tokens was not replaced: an empty key protects nothing");
        } else {
            host::rotate_auth_key(key);
        }
    }

    /// Keeps a [`Counter`](crate::Counter), a [`State`](crate::State) or another [`Keep`] over a swap: the new
    /// instance's starts with what the old one's was. Kept under its place among the pieces kept this way, so a
    /// controller that keeps several should name them: [`Worker::keep_state_as`]. A crash starts afresh.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// let pings = Counter::new();
    /// worker.keep_state(&pings);
    /// # }
    /// ```
    pub fn keep_state(&self, piece: &impl Keep) {
        state::keep(None, piece);
    }

    /// Keeps a piece of state over a swap under a name. State without a piece here is passed on to the next swap; a
    /// piece without state starts afresh; a piece whose type does not fit its state refuses the swap.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// let (pings, rooms) = (Counter::new(), State::new(vec!["lobby".to_string()]));
    /// worker.keep_state_as("pings", &pings);
    /// worker.keep_state_as("rooms", &rooms);
    /// # }
    /// ```
    pub fn keep_state_as(&self, name: &str, piece: &impl Keep) {
        state::keep(Some(name), piece);
    }

    /// The controller's `config` table of `sc.toml`.
    ///
    /// # Errors
    /// A `ConfigError` when it does not fit `T`.
    ///
    /// ```no_run
    /// use sc_sdk::prelude::*;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Config {
    ///     greeting: String,
    /// }
    ///
    /// #[controller]
    /// fn run(worker: &mut Worker) -> Result<(), Problem> {
    ///     let config: Config = worker.config()?;
    ///     worker.on_connection(move |socket| socket.emit("greet", &config.greeting));
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let config = start::with(|info| info.config.clone()).unwrap_or_else(|| "{}".to_owned());
        let mut reader = serde_json::Deserializer::from_str(&config);
        serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            // Where it is helps only below the top, whose keys the error itself names.
            let place = Some(error.path().to_string()).filter(|path| path != ".");
            let place = place.map(|path| format!("`{path}`: ")).unwrap_or_default();
            let message = format!(
                "the controller's `config` in sc.toml does not fit: {place}{}",
                payload::misfit(error.inner())
            );
            Problem::new("ConfigError", message)
        })
    }

    /// This worker's number, from 0.
    ///
    /// ```no_run
    /// # fn example(worker: &sc_sdk::Worker) -> bool {
    /// worker.id() == 0 // the one worker that does what only one should
    /// # }
    /// ```
    pub fn id(&self) -> u32 {
        start::with(|info| info.worker).unwrap_or_default()
    }

    /// How many workers the host runs.
    ///
    /// ```no_run
    /// # fn example(worker: &sc_sdk::Worker) -> bool {
    /// worker.count() > 1
    /// # }
    /// ```
    pub fn count(&self) -> u32 {
        start::with(|info| info.workers).unwrap_or(1)
    }

    /// The application's name.
    ///
    /// ```no_run
    /// # fn example(worker: &sc_sdk::Worker) {
    /// sc_sdk::info!("this is {}", worker.app());
    /// # }
    /// ```
    pub fn app(&self) -> String {
        start::with(|info| info.app.clone()).unwrap_or_default()
    }

    /// Why this instance started.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// if worker.cause() != Cause::Boot {
    ///     info!("sockets may live already");
    /// }
    /// # }
    /// ```
    pub fn cause(&self) -> Cause {
        start::with(|info| Cause::from(info.cause.as_str())).unwrap_or(Cause::Boot)
    }
}
