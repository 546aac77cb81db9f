//! Who is on a channel: the sockets that subscribe to it, on all workers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::handlers::Handlers;
use crate::{Answer, Exchange, Json, Problem, Session, Socket, host, payload};

type OnChange = dyn Fn(Change, Member);

thread_local! {
    static WATCHED: RefCell<BTreeMap<String, Rc<Handlers<OnChange>>>> = const { RefCell::new(BTreeMap::new()) };
}

/// A socket on a channel, of any worker.
///
/// ```no_run
/// # use sc_sdk::prelude::*;
/// # async fn example(worker: Worker) -> Result<Vec<String>, Problem> {
/// let members = worker.exchange().presence("room.1").await?;
/// Ok(members.iter().map(|member| member.id().to_owned()).collect())
/// # }
/// ```
#[derive(Clone, Debug, Deserialize)]
pub struct Member {
    id: String,
    socket: u64,
    session: String,
    #[serde(default)]
    data: Option<Json>,
}

/// What happened to a [`Member`].
///
/// ```
/// use sc_sdk::Change;
/// assert_ne!(Change::Join, Change::Leave);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// It subscribed.
    Join,
    /// It was described anew.
    Update,
    /// It left the channel, closed, or died with its worker.
    Leave,
}

impl Member {
    /// The id that clients see.
    ///
    /// ```no_run
    /// # fn example(member: &sc_sdk::Member) { sc_sdk::info!("{} is here", member.id()); }
    /// ```
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The socket's number, as [`Socket::id`] gives it on its own worker.
    ///
    /// ```no_run
    /// # fn example(member: &sc_sdk::Member) -> u64 { member.socket_id() }
    /// ```
    pub fn socket_id(&self) -> u64 {
        self.socket
    }

    /// Its session.
    ///
    /// ```no_run
    /// # fn example(member: &sc_sdk::Member) { member.session().emit("found", ()); }
    /// ```
    pub fn session(&self) -> Session {
        Session::new(&self.session, Some(self.socket))
    }

    /// What [`Socket::describe`] said of its user; none for nothing, or for what does not fit `T`.
    ///
    /// ```no_run
    /// # fn example(member: &sc_sdk::Member) -> Option<String> { member.data() }
    /// ```
    pub fn data<T: DeserializeOwned>(&self) -> Option<T> {
        self.data.as_ref().and_then(|data| T::deserialize(data).ok())
    }
}

impl Exchange {
    /// Who is on a channel. A `PresenceError` unless the host's `presence.channels` names it.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(worker: Worker) -> Result<usize, Problem> {
    /// Ok(worker.exchange().presence("room.1").await?.len())
    /// # }
    /// ```
    pub fn presence(&self, channel: &str) -> Answer<Vec<Member>> {
        #[derive(Deserialize)]
        struct List {
            members: Vec<Member>,
        }
        Answer::to(host::members(channel), None, |list| {
            let list: List = serde_json::from_str(&list.unwrap_or_default())?;
            Ok(list.members)
        })
    }

    /// How many sockets are on a channel; see [`Exchange::presence`].
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(worker: Worker) -> Result<u64, Problem> {
    /// worker.exchange().presence_count("room.1").await
    /// # }
    /// ```
    pub fn presence_count(&self, channel: &str) -> Answer<u64> {
        #[derive(Deserialize)]
        struct Count {
            count: u64,
        }
        Answer::to(host::count_members(channel), None, |count| {
            let count: Count = serde_json::from_str(&count.unwrap_or_default())?;
            Ok(count.count)
        })
    }

    /// Calls the handler when somebody on any worker joins a channel, is described anew, or leaves, from now on; also
    /// for who dies with a worker. Of a channel whose members are not kept nothing is heard.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.exchange().on_presence("room.1", |change, member| info!("{change:?} of {}", member.id()));
    /// # }
    /// ```
    pub fn on_presence(&self, channel: &str, handler: impl Fn(Change, Member) + 'static) {
        let (handlers, is_new) = WATCHED.with_borrow_mut(|watched| {
            let is_new = !watched.contains_key(channel);
            let handlers = watched.entry(channel.to_owned()).or_insert_with(|| Rc::new(Handlers::new()));
            (Rc::clone(handlers), is_new)
        });
        handlers.add(Rc::new(handler));
        if is_new {
            host::watch_members(channel);
        }
    }
}

impl Socket {
    /// Sets what other members of its channels see of this user; `None::<()>` clears it. It lasts until the socket
    /// closes. Which channels' members clients may ask for is up to the host's `presence.clients`.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(socket: &Socket) {
    /// socket.describe(Some(json!({ "name": "Ann" })));
    /// # }
    /// ```
    pub fn describe(&self, data: Option<impl Serialize>) {
        let data = match data.map(|data| serde_json::to_string(&data)).transpose() {
            Ok(data) => data,
            Err(error) => return crate::error!("what is said of {} cannot be used: {error}", self.name()),
        };
        host::describe(self.id(), data.as_deref());
    }
}

/// A change of a watched channel.
pub(crate) fn changed(channel: &str, change: &str, member: host::WitMember) {
    let change = match change {
        "join" => Change::Join,
        "update" => Change::Update,
        "leave" => Change::Leave,
        _ => return,
    };
    let handlers = WATCHED.with_borrow(|watched| watched.get(channel).cloned());
    let Some(handlers) = handlers else { return };
    let data = match payload::decode::<Option<Json>>(member.data.as_deref()) {
        Ok(data) => data,
        Err(error) => {
            let problem = Problem::from(error);
            return crate::warn!("a member of {channel} cannot be understood: {problem}");
        }
    };
    let member = Member { id: member.id, socket: member.socket, session: member.session, data };
    handlers.each(|handler| handler(change, member.clone()));
}
