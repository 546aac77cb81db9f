//! The stores' data: trees of JSON values under paths, shared by all workers.

use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host::{self, Tree as WitTree};
use crate::{Answer, Json, Problem};

/// A tree of values that all workers share: [`Worker::global`](crate::Worker::global) or
/// [`Worker::tree`](crate::Worker::tree). It is changed when a method is called; the [`Answer`] tells the outcome.
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
        let token = host::get(&self.0, &path);
        Answer::to(token, None, move |value| {
            value.map(|value| serde_json::from_str(&value)).transpose().map_err(|error| {
                let message = format!("the value under {} cannot be used: {error}", path.join("/"));
                Problem::new("InvalidDataError", message)
            })
        })
    }

    /// Replaces the value under the path, which must not be empty. An expiry of the path is lifted.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.tree("users").set(["bob", "seen"], true); // happens, awaited or not
    /// # }
    /// ```
    pub fn set(&self, path: impl IntoPath, value: impl Serialize) -> Answer<()> {
        let path = path.into_path();
        if path.is_empty() {
            let message = "a value cannot be set under an empty path";
            return Answer::ready(Err(Problem::new("InvalidArgumentsError", message)));
        }
        let value = match serde_json::to_string(&value) {
            Ok(value) => value,
            Err(error) => return Answer::ready(Err(error.into())),
        };
        match host::set(&self.0, &path, &value) {
            Some(token) => Answer::to(token, Some(format!("setting {}", path.join("/"))), |_| Ok(())),
            None => Answer::ready(Ok(())),
        }
    }

    /// Removes the value under the path and answers with it; an empty path removes the whole tree.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(worker: Worker) -> Result<(), Problem> {
    /// let bob: Option<Json> = worker.tree("users").remove("bob").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn remove(&self, path: impl IntoPath) -> Answer<Option<Json>> {
        let path = path.into_path();
        match host::remove(&self.0, &path) {
            Some(token) => Answer::to(token, Some(format!("removing {}", path.join("/"))), |value| {
                Ok(value.map(|value| serde_json::from_str(&value)).transpose()?)
            }),
            None => Answer::ready(Ok(None)),
        }
    }

    /// Removes the value under the path after some time, unless it is set or expired anew before; answers whether
    /// there is a value.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(worker: Worker) -> Result<(), Problem> {
    /// let codes = worker.tree("codes");
    /// codes.set("bob", 1234).await?;
    /// codes.expire("bob", Duration::from_secs(600)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn expire(&self, path: impl IntoPath, after: Duration) -> Answer<bool> {
        let path = path.into_path();
        match host::expire(&self.0, &path, after) {
            Some(token) => Answer::to(token, Some(format!("expiring {}", path.join("/"))), |value| {
                Ok(value.is_some_and(|value| serde_json::from_str(&value).unwrap_or(false)))
            }),
            // Muted: whether there is a value can still be told.
            None => Answer::to(host::get(&self.0, &path), None, |value| Ok(value.is_some())),
        }
    }
}

/// A way through a tree: one key, or several.
///
/// ```no_run
/// # use sc_sdk::prelude::*;
/// # fn example(worker: &Worker) {
/// let tree = worker.global();
/// tree.set("visits", 1);
/// tree.set(["users", "bob"], json!({ "age": 40 }));
/// tree.set(vec!["users".to_string(), "alice".to_string()], json!({}));
/// # }
/// ```
pub trait IntoPath {
    /// The keys, from the root on.
    ///
    /// ```
    /// use sc_sdk::IntoPath;
    /// assert_eq!(["users", "bob"].into_path(), ["users", "bob"]);
    /// ```
    fn into_path(self) -> Vec<String>;
}

impl IntoPath for &str {
    fn into_path(self) -> Vec<String> {
        vec![self.to_owned()]
    }
}

impl IntoPath for String {
    fn into_path(self) -> Vec<String> {
        vec![self]
    }
}

impl IntoPath for &String {
    fn into_path(self) -> Vec<String> {
        vec![self.clone()]
    }
}

impl<K: Into<String>, const N: usize> IntoPath for [K; N] {
    fn into_path(self) -> Vec<String> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<K: AsRef<str>> IntoPath for &[K] {
    fn into_path(self) -> Vec<String> {
        self.iter().map(|key| key.as_ref().to_owned()).collect()
    }
}

impl<K: Into<String>> IntoPath for Vec<K> {
    fn into_path(self) -> Vec<String> {
        self.into_iter().map(Into::into).collect()
    }
}
