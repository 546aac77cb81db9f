//! Controllers of stores: procedures that run next to the data, all or nothing.
//!
//! ```no_run
//! use sc_sdk::store::prelude::*;
//!
//! #[store_controller]
//! fn run(store: &mut Store) {
//!     // Takes the lowest seat that is free, if any; two callers never get the same one.
//!     store.procedure("take-seat", |seats, user: String| {
//!         for seat in 0..100u32 {
//!             if !seats.has(seat)? {
//!                 seats.set(seat, user)?;
//!                 return Ok(Some(seat));
//!             }
//!         }
//!         Ok(None)
//!     });
//! }
//! # fn main() {}
//! ```
//!
//! A swap starts a fresh instance, and nothing of the old one's memory is carried over: what must stay belongs into
//! the data.
//!
//! A worker calls it with [`Tree::run`](crate::Tree::run). A component is either a worker's controller or a store's;
//! the host is told of the latter by `store.component` in `sc.toml`.

mod data;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::data::Data;
#[cfg(test)]
use crate::fake::values;
use crate::handlers::Handlers;
use crate::host::Failure;
#[cfg(not(test))]
use crate::store_bindings::socketcluster::controller::values;
use crate::{Json, Problem, payload, start};

/// All that a store's controller usually needs: `use sc_sdk::store::prelude::*;`
///
/// ```no_run
/// use sc_sdk::store::prelude::*;
///
/// #[store_controller]
/// fn run(store: &mut Store) {
///     info!("store {} of {} starts", store.id(), store.count());
/// }
/// # fn main() {}
/// ```
pub mod prelude {
    pub use std::time::Duration;

    pub use super::{Data, Store};
    pub use crate::{Json, Problem, debug, error, info, json, store_controller, trace, warn};
}

type OnRun = dyn Fn(&Data, Option<&str>) -> Result<Option<String>, Problem>;
type OnChannel = dyn Fn(Store, &str);

thread_local! {
    static PROCEDURES: RefCell<BTreeMap<String, Rc<OnRun>>> = const { RefCell::new(BTreeMap::new()) };
    static FIRST: Rc<Handlers<OnChannel>> = Rc::new(Handlers::new());
    static LAST: Rc<Handlers<OnChannel>> = Rc::new(Handlers::new());
}

/// The store that this instance runs in. A handle: copies of it are the same store.
///
/// ```no_run
/// # use sc_sdk::store::prelude::*;
/// # fn example(store: &Store) {
/// store.procedure("double", |data, _: ()| {
///     let number: i64 = data.get("number")?.unwrap_or(1);
///     data.increment("number", number)
/// });
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Store(());

impl Store {
    pub(crate) const fn handle() -> Self {
        Store(())
    }

    /// Answers the procedure of that name: with the value, or with the error. It works on the data under the path that
    /// the caller named, by itself, at once. After an error, a panic, or too much CPU time (`store.cpu_per_call`) all
    /// that it did is undone. A second procedure of the same name replaces the first. An argument that does not fit
    /// `T` is an `InvalidArgumentsError`.
    ///
    /// ```no_run
    /// # use sc_sdk::store::prelude::*;
    /// # fn example(store: &Store) {
    /// store.procedure("pay", |account, amount: i64| {
    ///     match account.increment("balance", -amount)? {
    ///         balance if balance < 0 => Err(Problem::new("NoMoneyError", "the account does not cover this")),
    ///         balance => Ok(balance),
    ///     }
    /// });
    /// # }
    /// ```
    pub fn procedure<T, R, F>(&self, name: &str, handler: F)
    where
        T: DeserializeOwned,
        R: Serialize,
        F: Fn(&Data, T) -> Result<R, Problem> + 'static,
    {
        let known_as = name.to_owned();
        let procedure = move |data: &Data, argument: Option<&str>| {
            let argument = payload::decode(argument).map_err(|error| {
                let message =
                    format!("the argument of {known_as} cannot be used: {}", payload::misfit(&error));
                Problem::new("InvalidArgumentsError", message)
            })?;
            Ok(payload::encode(&handler(data, argument)?)?)
        };
        let old =
            PROCEDURES.with_borrow_mut(|procedures| procedures.insert(name.to_owned(), Rc::new(procedure)));
        drop(old);
    }

    /// Calls the handler when a channel has its first subscriber on any worker.
    ///
    /// ```no_run
    /// # use sc_sdk::store::prelude::*;
    /// # fn example(store: &Store) {
    /// store.on_first_subscriber(|store, channel| store.publish(channel, "welcome"));
    /// # }
    /// ```
    pub fn on_first_subscriber(&self, handler: impl Fn(Store, &str) + 'static) {
        FIRST.with(Rc::clone).add(Rc::new(handler));
    }

    /// Calls the handler when a channel has lost its last subscriber.
    ///
    /// ```no_run
    /// # use sc_sdk::store::prelude::*;
    /// # fn example(store: &Store) {
    /// store.on_last_subscriber(|_store, channel| info!("nobody listens to {channel}"));
    /// # }
    /// ```
    pub fn on_last_subscriber(&self, handler: impl Fn(Store, &str) + 'static) {
        LAST.with(Rc::clone).add(Rc::new(handler));
    }

    /// Publishes to all subscribers of a channel on all workers, once the running call has ended well.
    ///
    /// ```no_run
    /// # use sc_sdk::store::prelude::*;
    /// # fn example(store: &Store) {
    /// store.publish("news", json!({ "title": "hello" }));
    /// # }
    /// ```
    pub fn publish(&self, channel: &str, data: impl Serialize) {
        if let Some(data) = payload::encode_or_log(&data, "the publication on", channel) {
            values::publish(channel, data.as_deref());
        }
    }

    /// This store's number, from 0.
    ///
    /// ```no_run
    /// # fn example(store: &sc_sdk::store::Store) -> u32 { store.id() }
    /// ```
    pub fn id(&self) -> u32 {
        start::with(|info| info.worker).unwrap_or_default()
    }

    /// How many stores the host runs.
    ///
    /// ```no_run
    /// # fn example(store: &sc_sdk::store::Store) -> u32 { store.count() }
    /// ```
    pub fn count(&self) -> u32 {
        start::with(|info| info.workers).unwrap_or_default()
    }

    /// The controller's `store.config` of `sc.toml`.
    ///
    /// # Errors
    /// A `ConfigError` when it does not fit `T`.
    ///
    /// ```no_run
    /// # use sc_sdk::store::prelude::*;
    /// # fn example(store: &Store) -> Result<Json, Problem> { store.config() }
    /// ```
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let config = start::with(|info| info.config.clone()).unwrap_or_else(|| "{}".to_owned());
        serde_json::from_str(&config).map_err(|error| {
            let error = payload::misfit(&error);
            Problem::new("ConfigError", format!("`store.config` in sc.toml does not fit: {error}"))
        })
    }
}

/// Runs a procedure.
pub(crate) fn run(name: &str, argument: Option<&str>) -> Result<Option<String>, Failure> {
    let procedure = PROCEDURES.with_borrow(|procedures| procedures.get(name).cloned());
    let outcome = match procedure {
        Some(procedure) => procedure(&Data::handle(), argument),
        None => Err(Problem::new("UnknownProcedureError", format!("there is no procedure {name}"))),
    };
    outcome.map_err(|problem| problem.to_failure())
}

/// A channel has its first subscriber, or has lost its last.
pub(crate) fn channel(name: &str, is_subscribed: bool) {
    let handlers = if is_subscribed { FIRST.with(Rc::clone) } else { LAST.with(Rc::clone) };
    handlers.each(|handler| handler(Store::handle(), name));
}

/// The function under `#[store_controller]`.
pub trait StoreEntry {
    /// Sets the controller up; an error refuses to start.
    ///
    /// # Errors
    /// The user's own.
    fn run(store: &mut Store) -> Result<(), String>;
}

/// A value whatever it is.
pub(crate) fn any(text: Option<String>) -> Result<Option<Json>, Problem> {
    Ok(text.map(|text| serde_json::from_str(&text)).transpose()?)
}
