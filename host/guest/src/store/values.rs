//! `values`: the data of the running procedure, changed at once.

use bytes::Bytes;
use sc_core::controller::{KeyError, KeyOp};

use super::Desk;
use crate::bindings::socketcluster::controller::types::{Host as Types, Problem};
use crate::bindings::store::socketcluster::controller::values::Host;
use crate::context::json;

type Answer<T> = wasmtime::Result<Result<T, Problem>>;

impl Desk {
    fn act(&self, path: Vec<String>, action: KeyOp) -> Result<Option<Bytes>, Problem> {
        self.data().act(path, action).map_err(|KeyError { kind, message }| Problem {
            name: Some(kind.name().to_owned()),
            message,
            extra: None,
        })
    }

    fn put(
        &self,
        function: &str,
        path: Vec<String>,
        value: String,
        action: impl FnOnce(Bytes) -> KeyOp,
    ) -> Answer<()> {
        json(function, &value)?;
        Ok(self.act(path, action(value.into())).map(drop))
    }
}

fn text(value: impl AsRef<[u8]>) -> String {
    String::from_utf8_lossy(value.as_ref()).into_owned()
}

fn parsed<T: serde::de::DeserializeOwned + Default>(value: Option<Bytes>) -> T {
    value.and_then(|value| serde_json::from_slice(&value).ok()).unwrap_or_default()
}

impl Types for Desk {}

impl Host for Desk {
    fn get(&mut self, path: Vec<String>) -> Answer<Option<String>> {
        Ok(self.act(path, KeyOp::Get).map(|value| value.map(text)))
    }

    fn has(&mut self, path: Vec<String>) -> Answer<bool> {
        Ok(self.act(path, KeyOp::Has).map(parsed))
    }

    fn count(&mut self, path: Vec<String>) -> Answer<u64> {
        Ok(self.act(path, KeyOp::Count).map(parsed))
    }

    fn get_range(&mut self, path: Vec<String>, start: String, end: Option<String>) -> Answer<String> {
        let part = self.act(path, KeyOp::GetRange { from: start, to: end });
        Ok(part.map(|part| part.map_or_else(|| "{}".to_owned(), text)))
    }

    fn get_expiry(&mut self, path: Vec<String>) -> Answer<Option<u64>> {
        Ok(self.act(path, KeyOp::GetExpiry).map(parsed))
    }

    fn set(&mut self, path: Vec<String>, value: String) -> Answer<()> {
        self.put("values.set", path, value, |value| KeyOp::Set { value })
    }

    fn add(&mut self, path: Vec<String>, value: String) -> Answer<()> {
        self.put("values.add", path, value, |value| KeyOp::Add { value, get_value: false })
    }

    fn concat(&mut self, path: Vec<String>, value: String) -> Answer<()> {
        self.put("values.concat", path, value, |value| KeyOp::Concat { value, get_value: false })
    }

    fn increment(&mut self, path: Vec<String>, by: i64) -> Answer<i64> {
        Ok(self.act(path, KeyOp::Increment { by }).map(parsed))
    }

    fn remove(&mut self, path: Vec<String>) -> Answer<Option<String>> {
        Ok(self.act(path, KeyOp::Remove { get_value: true }).map(|value| value.map(text)))
    }

    fn remove_range(
        &mut self,
        path: Vec<String>,
        start: String,
        end: Option<String>,
    ) -> Answer<Option<String>> {
        let removed = self.act(path, KeyOp::RemoveRange { from: start, to: end, get_value: true });
        Ok(removed.map(|value| value.map(text)))
    }

    fn pop(&mut self, path: Vec<String>) -> Answer<Option<String>> {
        Ok(self.act(path, KeyOp::Pop { get_value: true }).map(|value| value.map(text)))
    }

    fn expire(&mut self, path: Vec<String>, after_ms: u64) -> Answer<bool> {
        Ok(self.act(path, KeyOp::Expire { after_ms }).map(parsed))
    }

    fn unexpire(&mut self, path: Vec<String>) -> Answer<bool> {
        Ok(self.act(path, KeyOp::Unexpire).map(parsed))
    }

    fn publish(&mut self, channel: String, data: Option<String>) -> wasmtime::Result<()> {
        if let Some(data) = &data {
            json("values.publish", data)?;
        }
        self.data().publish(channel, data);
        Ok(())
    }
}
