//! The data of the running procedure. Everything happens at once, in the store's own memory.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::any;
#[cfg(test)]
use crate::fake::values;
use crate::host::WitProblem;
#[cfg(not(test))]
use crate::store_bindings::socketcluster::controller::values;
use crate::{IntoKey, IntoPath, Json, Problem};

/// The data under the path that the procedure's caller named; paths start from there. What the methods do is what
/// those of [`Tree`](crate::Tree) do, but the answer is there at once. Errors are `InvalidPathError`,
/// `InvalidTypeError` and, for values that do not fit their type, `InvalidDataError`.
///
/// ```no_run
/// # use sc_sdk::store::prelude::*;
/// # fn example(store: &Store) {
/// store.procedure("visit", |data, page: String| data.increment(["pages", &page], 1));
/// # }
/// ```
#[derive(Debug)]
pub struct Data(());

impl Data {
    pub(crate) const fn handle() -> Self {
        Data(())
    }

    /// See [`Tree::get`](crate::Tree::get).
    ///
    /// # Errors
    /// See [`Data`].
    ///
    /// ```no_run
    /// # use sc_sdk::store::prelude::*;
    /// # fn example(data: &Data) -> Result<u64, Problem> { Ok(data.get("visits")?.unwrap_or(0)) }
    /// ```
    pub fn get<T: DeserializeOwned>(&self, path: impl IntoPath) -> Result<Option<T>, Problem> {
        let path = path.into_path();
        let value = values::get(&path).map_err(Problem::from_wit)?;
        value.map(|value| serde_json::from_str(&value)).transpose().map_err(|error| {
            let message = format!("the value under {} cannot be used: {error}", path.join("/"));
            Problem::new("InvalidDataError", message)
        })
    }

    /// See [`Tree::has`](crate::Tree::has).
    ///
    /// # Errors
    /// See [`Data`].
    ///
    /// ```no_run
    /// # use sc_sdk::store::prelude::*;
    /// # fn example(data: &Data) -> Result<bool, Problem> { data.has("bob") }
    /// ```
    pub fn has(&self, path: impl IntoPath) -> Result<bool, Problem> {
        values::has(&path.into_path()).map_err(Problem::from_wit)
    }

    /// See [`Tree::count`](crate::Tree::count).
    ///
    /// # Errors
    /// See [`Data`].
    ///
    /// ```no_run
    /// # use sc_sdk::store::prelude::*;
    /// # fn example(data: &Data) -> Result<u64, Problem> { data.count("users") }
    /// ```
    pub fn count(&self, path: impl IntoPath) -> Result<u64, Problem> {
        values::count(&path.into_path()).map_err(Problem::from_wit)
    }

    /// See [`Tree::get_range`](crate::Tree::get_range).
    ///
    /// # Errors
    /// See [`Data`].
    ///
    /// ```no_run
    /// # use sc_sdk::store::prelude::*;
    /// # fn example(data: &Data) -> Result<Vec<Json>, Problem> { data.get_range("list", 0, Some(10)) }
    /// ```
    pub fn get_range<T: DeserializeOwned>(
        &self,
        path: impl IntoPath,
        start: impl IntoKey,
        end: Option<impl IntoKey>,
    ) -> Result<T, Problem> {
        let end = end.map(IntoKey::into_key);
        let part = values::get_range(&path.into_path(), &start.into_key(), end.as_deref());
        Ok(serde_json::from_str(&part.map_err(Problem::from_wit)?)?)
    }

    /// See [`Tree::set`](crate::Tree::set).
    ///
    /// # Errors
    /// See [`Data`].
    ///
    /// ```no_run
    /// # use sc_sdk::store::prelude::*;
    /// # fn example(data: &Data) -> Result<(), Problem> { data.set(["bob", "seen"], true) }
    /// ```
    pub fn set(&self, path: impl IntoPath, value: impl Serialize) -> Result<(), Problem> {
        values::set(&path.into_path(), &serde_json::to_string(&value)?).map_err(Problem::from_wit)
    }

    /// See [`Tree::add`](crate::Tree::add).
    ///
    /// # Errors
    /// See [`Data`].
    ///
    /// ```no_run
    /// # use sc_sdk::store::prelude::*;
    /// # fn example(data: &Data) -> Result<(), Problem> { data.add("list", 7) }
    /// ```
    pub fn add(&self, path: impl IntoPath, value: impl Serialize) -> Result<(), Problem> {
        values::add(&path.into_path(), &serde_json::to_string(&value)?).map_err(Problem::from_wit)
    }

    /// See [`Tree::concat`](crate::Tree::concat).
    ///
    /// # Errors
    /// See [`Data`].
    ///
    /// ```no_run
    /// # use sc_sdk::store::prelude::*;
    /// # fn example(data: &Data) -> Result<(), Problem> { data.concat("list", [7, 8]) }
    /// ```
    pub fn concat(&self, path: impl IntoPath, value: impl Serialize) -> Result<(), Problem> {
        values::concat(&path.into_path(), &serde_json::to_string(&value)?).map_err(Problem::from_wit)
    }

    /// See [`Tree::increment`](crate::Tree::increment).
    ///
    /// # Errors
    /// See [`Data`].
    ///
    /// ```no_run
    /// # use sc_sdk::store::prelude::*;
    /// # fn example(data: &Data) -> Result<i64, Problem> { data.increment("visits", 1) }
    /// ```
    pub fn increment(&self, path: impl IntoPath, by: i64) -> Result<i64, Problem> {
        values::increment(&path.into_path(), by).map_err(Problem::from_wit)
    }

    /// See [`Tree::remove`](crate::Tree::remove).
    ///
    /// # Errors
    /// See [`Data`].
    ///
    /// ```no_run
    /// # use sc_sdk::store::prelude::*;
    /// # fn example(data: &Data) -> Result<Option<Json>, Problem> { data.remove("bob") }
    /// ```
    pub fn remove(&self, path: impl IntoPath) -> Result<Option<Json>, Problem> {
        taken(values::remove(&path.into_path()))
    }

    /// See [`Tree::remove_range`](crate::Tree::remove_range).
    ///
    /// # Errors
    /// See [`Data`].
    ///
    /// ```no_run
    /// # use sc_sdk::store::prelude::*;
    /// # fn example(data: &Data) -> Result<Option<Json>, Problem> { data.remove_range("list", 10, None::<u32>) }
    /// ```
    pub fn remove_range(
        &self,
        path: impl IntoPath,
        start: impl IntoKey,
        end: Option<impl IntoKey>,
    ) -> Result<Option<Json>, Problem> {
        let end = end.map(IntoKey::into_key);
        taken(values::remove_range(&path.into_path(), &start.into_key(), end.as_deref()))
    }

    /// See [`Tree::pop`](crate::Tree::pop).
    ///
    /// # Errors
    /// See [`Data`].
    ///
    /// ```no_run
    /// # use sc_sdk::store::prelude::*;
    /// # fn example(data: &Data) -> Result<Option<Json>, Problem> { data.pop("list") }
    /// ```
    pub fn pop(&self, path: impl IntoPath) -> Result<Option<Json>, Problem> {
        taken(values::pop(&path.into_path()))
    }

    /// See [`Tree::expire`](crate::Tree::expire).
    ///
    /// # Errors
    /// See [`Data`].
    ///
    /// ```no_run
    /// # use sc_sdk::store::prelude::*;
    /// # fn example(data: &Data) -> Result<bool, Problem> { data.expire("code", Duration::from_secs(600)) }
    /// ```
    pub fn expire(&self, path: impl IntoPath, after: Duration) -> Result<bool, Problem> {
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        values::expire(&path.into_path(), after_ms).map_err(Problem::from_wit)
    }

    /// See [`Tree::unexpire`](crate::Tree::unexpire).
    ///
    /// # Errors
    /// See [`Data`].
    ///
    /// ```no_run
    /// # use sc_sdk::store::prelude::*;
    /// # fn example(data: &Data) -> Result<bool, Problem> { data.unexpire("code") }
    /// ```
    pub fn unexpire(&self, path: impl IntoPath) -> Result<bool, Problem> {
        values::unexpire(&path.into_path()).map_err(Problem::from_wit)
    }
}

fn taken(removed: Result<Option<String>, WitProblem>) -> Result<Option<Json>, Problem> {
    removed.map_err(Problem::from_wit).and_then(any)
}
