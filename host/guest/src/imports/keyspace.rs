//! `keyspace`: the stores' data.

use std::time::Duration;

use sc_core::controller::{Command, KeyOp, Tree};

use crate::bindings::socketcluster::controller::keyspace as wit;
use crate::context::{Context, Ended, json};

impl Context {
    fn push_key(
        &mut self,
        of: wit::Tree,
        path: Vec<String>,
        op: KeyOp,
        bytes: usize,
    ) -> wasmtime::Result<u64> {
        // An element costs memory even when it is empty.
        let bytes = bytes + path.iter().map(|name| name.len() + size_of::<Box<str>>()).sum::<usize>();
        let tree = match of {
            wit::Tree::Session(id) => Tree::Session(id.into()),
            wit::Tree::Global => Tree::Global,
            wit::Tree::Named(name) => Tree::Named(name.into()),
        };
        let path = path.into_iter().map(Into::into).collect();
        let token = self.token()?;
        self.push(Command::Key { token, tree, path, op }, bytes)?;
        Ok(token.0)
    }
}

impl wit::Host for Context {
    fn get(&mut self, of: wit::Tree, path: Vec<String>) -> wasmtime::Result<u64> {
        self.push_key(of, path, KeyOp::Get, 0)
    }

    fn set(&mut self, of: wit::Tree, path: Vec<String>, value: String) -> wasmtime::Result<u64> {
        json("keyspace.set", &value)?;
        if path.is_empty() {
            return Err(Ended::argument("keyspace.set: the path must not be empty").into());
        }
        let bytes = value.len();
        self.push_key(of, path, KeyOp::Set(value), bytes)
    }

    fn remove(&mut self, of: wit::Tree, path: Vec<String>) -> wasmtime::Result<u64> {
        self.push_key(of, path, KeyOp::Remove, 0)
    }

    fn expire(&mut self, of: wit::Tree, path: Vec<String>, after_ms: u64) -> wasmtime::Result<u64> {
        self.push_key(of, path, KeyOp::Expire(Duration::from_millis(after_ms)), 0)
    }
}
