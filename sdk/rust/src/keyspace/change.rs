//! What changes a tree. While the instance is muted nothing is changed, and what can be answered is answered from the
//! data as they are.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{IntoKey, IntoPath, Tree, WitTree, parsed};
use crate::{Answer, Json, Problem, host, payload};

impl Tree {
    /// Replaces the value under the path, which must not be empty. An expiry of the path is lifted.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.tree("users").set(["bob", "seen"], true); // happens, awaited or not
    /// # }
    /// ```
    pub fn set(&self, path: impl IntoPath, value: impl Serialize) -> Answer<()> {
        self.put("setting", &path.into_path(), &value, host::set)
    }

    /// Appends one value: to an array, or under an object's next index. Makes an array of a scalar, or where there is
    /// nothing.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.global().add("todos", json!({ "text": "buy milk" }));
    /// # }
    /// ```
    pub fn add(&self, path: impl IntoPath, value: impl Serialize) -> Answer<()> {
        self.put("adding to", &path.into_path(), &value, host::add)
    }

    /// Appends an array's elements, merges an object's members, or appends a scalar.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.tree("users").concat("bob", json!({ "age": 40, "seen": true }));
    /// # }
    /// ```
    pub fn concat(&self, path: impl IntoPath, value: impl Serialize) -> Answer<()> {
        self.put("adding to", &path.into_path(), &value, host::concat)
    }

    /// Adds to the integer under the path, 0 where there is none, and answers with the sum.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(worker: Worker) -> Result<i64, Problem> {
    /// worker.global().increment("visits", 1).await
    /// # }
    /// ```
    pub fn increment(&self, path: impl IntoPath, by: i64) -> Answer<i64> {
        let path = path.into_path();
        if path.is_empty() {
            return empty_path();
        }
        match host::increment(&self.0, &path, by) {
            Some(token) => Answer::to(token, name("incrementing", &path), parsed),
            None => Answer::to(host::get(&self.0, &path), None, parsed),
        }
    }

    /// Replaces the value under the path if it equals the expected one, and answers whether it did. `None` is no
    /// value: expected, there must be none; put, it removes.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(worker: Worker, user: &str) -> Result<bool, Problem> {
    /// worker.tree("names").compare_and_set(user, None::<()>, Some(true)).await // taken, or too late
    /// # }
    /// ```
    pub fn compare_and_set(
        &self,
        path: impl IntoPath,
        expected: Option<impl Serialize>,
        value: Option<impl Serialize>,
    ) -> Answer<bool> {
        let path = path.into_path();
        if path.is_empty() {
            return empty_path();
        }
        let expected = expected.map(|value| serde_json::to_string(&value)).transpose();
        let value = value.map(|value| serde_json::to_string(&value)).transpose();
        let (expected, value) = match (expected, value) {
            (Ok(expected), Ok(value)) => (expected, value),
            (Err(error), _) | (_, Err(error)) => return Answer::ready(Err(error.into())),
        };
        match host::compare_and_set(&self.0, &path, expected.as_deref(), value.as_deref()) {
            Some(token) => Answer::to(token, name("comparing and setting", &path), parsed),
            None => Answer::ready(Ok(false)),
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
        taken(host::remove(&self.0, &path), name("removing", &path))
    }

    /// [`Tree::remove`] without the value, for large ones.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.tree("users").discard("bob");
    /// # }
    /// ```
    pub fn discard(&self, path: impl IntoPath) -> Answer<()> {
        let path = path.into_path();
        match host::discard(&self.0, &path) {
            Some(token) => Answer::to(token, name("removing", &path), |_| Ok(())),
            None => Answer::ready(Ok(())),
        }
    }

    /// Removes part of a container and answers with it; see [`Tree::get_range`].
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.global().remove_range("todos", 10, None::<u32>); // keeps ten
    /// # }
    /// ```
    pub fn remove_range(
        &self,
        path: impl IntoPath,
        start: impl IntoKey,
        end: Option<impl IntoKey>,
    ) -> Answer<Option<Json>> {
        let path = path.into_path();
        let end = end.map(IntoKey::into_key);
        let token = host::remove_range(&self.0, &path, &start.into_key(), end.as_deref());
        taken(token, name("removing from", &path))
    }

    /// Removes an array's last element, or an object's member with the highest index, and answers with it.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(worker: Worker) -> Result<Option<Json>, Problem> {
    /// worker.global().pop("todos").await
    /// # }
    /// ```
    pub fn pop(&self, path: impl IntoPath) -> Answer<Option<Json>> {
        let path = path.into_path();
        taken(host::pop(&self.0, &path), name("popping", &path))
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
            Some(token) => Answer::to(token, name("expiring", &path), parsed),
            None => Answer::to(host::has(&self.0, &path), None, parsed),
        }
    }

    /// Lifts the expiry of the path; answers whether there was one.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(worker: Worker) -> Result<bool, Problem> {
    /// worker.tree("codes").unexpire("bob").await
    /// # }
    /// ```
    pub fn unexpire(&self, path: impl IntoPath) -> Answer<bool> {
        let path = path.into_path();
        match host::unexpire(&self.0, &path) {
            Some(token) => Answer::to(token, name("keeping", &path), parsed),
            None => Answer::to(host::get_expiry(&self.0, &path), None, |at| Ok(at.is_some())),
        }
    }

    /// Runs a procedure of the stores' controller on the data under the path: next to them, by itself, all or nothing.
    /// An error is the procedure's own, or a `ProcedureError` when it failed or there is none.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # async fn example(worker: Worker) -> Result<Option<u32>, Problem> {
    /// worker.tree("hall").run("seats", "take-seat", "bob").await
    /// # }
    /// ```
    pub fn run<R: DeserializeOwned + 'static>(
        &self,
        path: impl IntoPath,
        procedure: &str,
        argument: impl Serialize,
    ) -> Answer<R> {
        let argument = match payload::encode(&argument) {
            Ok(argument) => argument,
            Err(error) => return Answer::ready(Err(error.into())),
        };
        match host::run(&self.0, &path.into_path(), procedure, argument.as_deref()) {
            Some(token) => Answer::to(token, Some(format!("running {procedure}")), |value| {
                Ok(serde_json::from_str(value.as_deref().unwrap_or("null"))?)
            }),
            None => Answer::never(),
        }
    }

    /// Runs a procedure when this worker's process is gone, however it went: what a death query was. At most 1,000
    /// wait.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.tree("workers").run_at_end("alive", "forget", worker.id());
    /// # }
    /// ```
    pub fn run_at_end(&self, path: impl IntoPath, procedure: &str, argument: impl Serialize) {
        if let Some(argument) = payload::encode_or_log(&argument, "the argument of", procedure) {
            host::run_at_end(&self.0, &path.into_path(), procedure, argument.as_deref());
        }
    }

    /// A change that carries a value and answers with nothing.
    fn put(
        &self,
        doing: &str,
        path: &[String],
        value: &impl Serialize,
        ask: fn(&WitTree, &[String], &str) -> Option<u64>,
    ) -> Answer<()> {
        if path.is_empty() {
            return empty_path();
        }
        let value = match serde_json::to_string(value) {
            Ok(value) => value,
            Err(error) => return Answer::ready(Err(error.into())),
        };
        match ask(&self.0, path, &value) {
            Some(token) => Answer::to(token, name(doing, path), |_| Ok(())),
            None => Answer::ready(Ok(())),
        }
    }
}

/// What a change is called when it fails and nobody listens.
fn name(doing: &str, path: &[String]) -> Option<String> {
    Some(format!("{doing} {}", path.join("/")))
}

fn empty_path<T>() -> Answer<T> {
    Answer::ready(Err(Problem::new("InvalidPathError", "this needs a path of at least one key")))
}

/// What was removed; nothing is while muted.
fn taken(token: Option<u64>, log_as: Option<String>) -> Answer<Option<Json>> {
    match token {
        Some(token) => Answer::to(token, log_as, |value| {
            Ok(value.map(|value| serde_json::from_str(&value)).transpose()?)
        }),
        None => Answer::ready(Ok(None)),
    }
}
