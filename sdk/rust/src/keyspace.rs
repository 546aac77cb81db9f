//! The stores' data: trees of JSON values under paths, shared by all workers.

mod change;
mod path;

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;

pub use self::path::{IntoKey, IntoPath};
use crate::host::{self, Tree as WitTree};
use crate::{Answer, Problem};

/// A tree of values that all workers share and that outlives restarts: [`Worker::global`](crate::Worker::global),
/// [`Worker::tree`](crate::Worker::tree) or a [`Session`](crate::Session). It is changed when a method is called; the
/// [`Answer`] tells the outcome.
///
/// Each method is done at once and by itself: nobody sees half of it, and [`Tree::increment`] and
/// [`Tree::compare_and_set`] never lose a race. The store refuses with an `InvalidPathError`, `InvalidTypeError`,
/// `SizeError` or `StorageError`; when it cannot be asked, with a `StoreTimeoutError`, `StoreBusyError` or
/// `StoreLostError`, of which the last leaves open whether the change was done.
///
/// ```no_run
/// use sc_sdk::prelude::*;
///
/// async fn rename(worker: Worker, user: &str, name: &str) -> Result<Option<String>, Problem> {
///     let users = worker.tree("users");
///     let old = users.get([user, "name"]).await?;
///     users.set([user, "name"], name).await?;
///     Ok(old)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Tree(Rc<WitTree>);

impl Tree {
    pub(crate) fn global() -> Self {
        Tree(Rc::new(WitTree::Global))
    }

    pub(crate) fn named(name: &str) -> Self {
        Tree(Rc::new(WitTree::Named(name.to_owned())))
    }

    pub(crate) fn session(id: &str) -> Self {
        Tree(Rc::new(WitTree::Session(id.to_owned())))
    }

    /// The value under the path; none when there is none. A value that does not fit `T` is an `InvalidDataError`.
    /// An empty path means the whole tree.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(worker: Worker) -> Result<(), Problem> {
    /// let visits: u64 = worker.global().get("visits").await?.unwrap_or(0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn get<T: DeserializeOwned + 'static>(&self, path: impl IntoPath) -> Answer<Option<T>> {
        let path = path.into_path();
        read(host::get(&self.0, &path), path)
    }

    /// Whether there is a value under the path; `null` is one.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(worker: Worker) -> Result<bool, Problem> {
    /// worker.tree("users").has("bob").await
    /// # }
    /// ```
    pub fn has(&self, path: impl IntoPath) -> Answer<bool> {
        Answer::to(host::has(&self.0, &path.into_path()), None, parsed)
    }

    /// How many entries are under the path: of a container its members, 1 of a scalar, 0 of nothing.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(worker: Worker) -> Result<u64, Problem> {
    /// worker.tree("users").count(Vec::<String>::new()).await
    /// # }
    /// ```
    pub fn count(&self, path: impl IntoPath) -> Answer<u64> {
        Answer::to(host::count(&self.0, &path.into_path()), None, parsed)
    }

    /// Part of a container: of an array the elements from index `start` to before `end`, of an object the members
    /// from key `start` to before key `end` in the order of their bytes. Without `end`, all from `start` on.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(worker: Worker) -> Result<(), Problem> {
    /// let first: Option<Vec<String>> = worker.global().get_range("todos", 0, Some(10)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_range<T: DeserializeOwned + 'static>(
        &self,
        path: impl IntoPath,
        start: impl IntoKey,
        end: Option<impl IntoKey>,
    ) -> Answer<Option<T>> {
        let path = path.into_path();
        let end = end.map(IntoKey::into_key);
        read(host::get_range(&self.0, &path, &start.into_key(), end.as_deref()), path)
    }

    /// When the value under the path expires; none when it does not.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(worker: Worker) -> Result<Option<std::time::SystemTime>, Problem> {
    /// worker.tree("codes").get_expiry("bob").await
    /// # }
    /// ```
    pub fn get_expiry(&self, path: impl IntoPath) -> Answer<Option<SystemTime>> {
        Answer::to(host::get_expiry(&self.0, &path.into_path()), None, |at| {
            let at: Option<u64> = at.map(|at| serde_json::from_str(&at)).transpose()?;
            Ok(at.and_then(|at| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(at))))
        })
    }
}

/// The answer under a token, as a value of the path.
fn read<T: DeserializeOwned + 'static>(token: u64, path: Vec<String>) -> Answer<Option<T>> {
    Answer::to(token, None, move |value| {
        value.map(|value| serde_json::from_str(&value)).transpose().map_err(|error| {
            let message = format!("the value under {} cannot be used: {error}", path.join("/"));
            Problem::new("InvalidDataError", message)
        })
    })
}

/// An answer that is always there.
fn parsed<T: DeserializeOwned + Default>(value: Option<String>) -> Result<T, Problem> {
    Ok(value.map(|value| serde_json::from_str(&value)).transpose()?.unwrap_or_default())
}
