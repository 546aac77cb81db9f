//! Channels: what is published reaches all subscribers on all workers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Answer, Problem, host, payload};

type OnPublication = Rc<dyn Fn(Option<&str>)>;

thread_local! {
    static CHANNELS: RefCell<BTreeMap<String, Vec<(u64, OnPublication)>>> = const { RefCell::new(BTreeMap::new()) };
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// The channels of all workers: [`Worker::exchange`](crate::Worker::exchange).
///
/// ```no_run
/// use sc_sdk::prelude::*;
///
/// fn relay(worker: &Worker) {
///     worker.exchange().subscribe("orders", |order: Json| info!("an order: {order}"));
///     worker.set_interval(Duration::from_secs(60), |worker| worker.exchange().publish("minute", ()));
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    _here: PhantomData<*const ()>,
}

impl Exchange {
    pub(crate) const fn handle() -> Self {
        Exchange { _here: PhantomData }
    }

    /// Publishes to all subscribers of the channel on all workers.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.exchange().publish("news", json!({ "title": "hello" }));
    /// # }
    /// ```
    pub fn publish(&self, channel: &str, data: impl Serialize) {
        if let Some(data) = payload::encode_or_log(&data, "the publication on", channel) {
            host::publish(channel, data.as_deref());
        }
    }

    /// Publishes, and answers once the store has taken it.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(worker: Worker) -> Result<(), Problem> {
    /// worker.exchange().publish_and_wait("orders", json!({ "id": 7 })).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn publish_and_wait(&self, channel: &str, data: impl Serialize) -> Answer<()> {
        match payload::encode(&data) {
            Ok(data) => match host::publish_and_wait(channel, data.as_deref()) {
                Some(token) => Answer::to(token, Some(format!("the publication on {channel}")), |_| Ok(())),
                None => Answer::ready(Ok(())),
            },
            Err(error) => Answer::ready(Err(Problem::from(error))),
        }
    }

    /// Calls the handler for each publication on the channel, whoever published it, in the channel's order, until
    /// the subscription is cancelled. Data that does not fit `T` is logged and dropped.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// let names = worker.exchange().subscribe("names", |name: String| info!("{name} was published"));
    /// names.cancel();
    /// # }
    /// ```
    pub fn subscribe<T, F>(&self, channel: &str, handler: F) -> Subscription
    where
        T: DeserializeOwned,
        F: Fn(T) + 'static,
    {
        let id = NEXT.replace(NEXT.get().wrapping_add(1));
        let name = channel.to_owned();
        let handler = Rc::new(move |data: Option<&str>| match payload::decode(data) {
            Ok(data) => handler(data),
            Err(error) => crate::warn!("a publication on {name} is dropped: {error}"),
        });
        let first = CHANNELS.with_borrow_mut(|channels| {
            let handlers = channels.entry(channel.to_owned()).or_default();
            handlers.push((id, handler));
            handlers.len() == 1
        });
        if first {
            host::watch(channel);
        }
        Subscription { channel: channel.to_owned(), id }
    }

    /// Cancels all of this instance's subscriptions of the channel.
    ///
    /// ```no_run
    /// # fn example(worker: &sc_sdk::Worker) {
    /// worker.exchange().unsubscribe("news");
    /// # }
    /// ```
    pub fn unsubscribe(&self, channel: &str) {
        let handlers = CHANNELS.with_borrow_mut(|channels| channels.remove(channel));
        if handlers.is_some() {
            host::unwatch(channel);
        }
    }
}

/// A controller's subscription of a channel; it goes on when this is dropped.
///
/// ```no_run
/// # fn example(worker: &sc_sdk::Worker) {
/// let subscription = worker.exchange().subscribe("news", |_: sc_sdk::Json| {});
/// subscription.cancel();
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Subscription {
    channel: String,
    id: u64,
}

impl Subscription {
    /// Ends it.
    ///
    /// ```no_run
    /// # fn example(subscription: &sc_sdk::Subscription) {
    /// subscription.cancel();
    /// # }
    /// ```
    pub fn cancel(&self) {
        let (ended, last) = CHANNELS.with_borrow_mut(|channels| {
            let Some(handlers) = channels.get_mut(&self.channel) else { return (None, false) };
            let ended = handlers.iter().position(|(id, _)| *id == self.id).map(|at| handlers.remove(at));
            let last = ended.is_some() && handlers.is_empty();
            if last {
                channels.remove(&self.channel);
            }
            (ended, last)
        });
        drop(ended);
        if last {
            host::unwatch(&self.channel);
        }
    }
}

/// Hands a publication to its handlers.
pub(crate) fn publication(channel: &str, data: Option<&str>) {
    let handlers = CHANNELS.with_borrow(|channels| channels.get(channel).cloned()).unwrap_or_default();
    for (_, handler) in handlers {
        handler(data);
    }
}
