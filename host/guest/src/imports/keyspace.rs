//! `keyspace`: the stores' data.

use bytes::Bytes;
use sc_core::controller::{Command, KeyOp, Tree};
use sc_core::ids::Token;

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
        let (bytes, tree) = (bytes + weight(&path), tree(of));
        let token = self.token()?;
        self.push(Command::Key { token, tree, path, op }, bytes)?;
        Ok(token.0)
    }
}

impl wit::Host for Context {
    fn get(&mut self, of: wit::Tree, path: Vec<String>) -> wasmtime::Result<u64> {
        self.push_key(of, path, KeyOp::Get, 0)
    }

    fn has(&mut self, of: wit::Tree, path: Vec<String>) -> wasmtime::Result<u64> {
        self.push_key(of, path, KeyOp::Has, 0)
    }

    fn count(&mut self, of: wit::Tree, path: Vec<String>) -> wasmtime::Result<u64> {
        self.push_key(of, path, KeyOp::Count, 0)
    }

    fn get_range(
        &mut self,
        of: wit::Tree,
        path: Vec<String>,
        start: String,
        end: Option<String>,
    ) -> wasmtime::Result<u64> {
        let bytes = start.len() + end.as_ref().map_or(0, String::len);
        self.push_key(of, path, KeyOp::GetRange { from: start, to: end }, bytes)
    }

    fn get_expiry(&mut self, of: wit::Tree, path: Vec<String>) -> wasmtime::Result<u64> {
        self.push_key(of, path, KeyOp::GetExpiry, 0)
    }

    fn set(&mut self, of: wit::Tree, path: Vec<String>, value: String) -> wasmtime::Result<u64> {
        let (value, bytes) = taken("keyspace.set", &path, value)?;
        self.push_key(of, path, KeyOp::Set { value }, bytes)
    }

    fn add(
        &mut self,
        of: wit::Tree,
        path: Vec<String>,
        value: String,
        get_value: bool,
    ) -> wasmtime::Result<u64> {
        let (value, bytes) = taken("keyspace.add", &path, value)?;
        self.push_key(of, path, KeyOp::Add { value, get_value }, bytes)
    }

    fn concat(
        &mut self,
        of: wit::Tree,
        path: Vec<String>,
        value: String,
        get_value: bool,
    ) -> wasmtime::Result<u64> {
        let (value, bytes) = taken("keyspace.concat", &path, value)?;
        self.push_key(of, path, KeyOp::Concat { value, get_value }, bytes)
    }

    fn increment(&mut self, of: wit::Tree, path: Vec<String>, by: i64) -> wasmtime::Result<u64> {
        not_empty("keyspace.increment", &path)?;
        self.push_key(of, path, KeyOp::Increment { by }, 0)
    }

    fn compare_and_set(
        &mut self,
        of: wit::Tree,
        path: Vec<String>,
        expected: Option<String>,
        value: Option<String>,
    ) -> wasmtime::Result<u64> {
        const NAME: &str = "keyspace.compare-and-set";
        not_empty(NAME, &path)?;
        expected.iter().chain(&value).try_for_each(|text| json(NAME, text))?;
        let bytes = expected.as_ref().map_or(0, String::len) + value.as_ref().map_or(0, String::len);
        let (expected, value) = (expected.map(Into::into), value.map(Into::into));
        self.push_key(of, path, KeyOp::CompareAndSet { expected, value }, bytes)
    }

    fn remove(&mut self, of: wit::Tree, path: Vec<String>) -> wasmtime::Result<u64> {
        self.push_key(of, path, KeyOp::Remove { get_value: true }, 0)
    }

    fn discard(&mut self, of: wit::Tree, path: Vec<String>) -> wasmtime::Result<u64> {
        self.push_key(of, path, KeyOp::Remove { get_value: false }, 0)
    }

    fn remove_range(
        &mut self,
        of: wit::Tree,
        path: Vec<String>,
        start: String,
        end: Option<String>,
        get_value: bool,
    ) -> wasmtime::Result<u64> {
        let bytes = start.len() + end.as_ref().map_or(0, String::len);
        self.push_key(of, path, KeyOp::RemoveRange { from: start, to: end, get_value }, bytes)
    }

    fn pop(&mut self, of: wit::Tree, path: Vec<String>, get_value: bool) -> wasmtime::Result<u64> {
        self.push_key(of, path, KeyOp::Pop { get_value }, 0)
    }

    fn expire(&mut self, of: wit::Tree, path: Vec<String>, after_ms: u64) -> wasmtime::Result<u64> {
        self.push_key(of, path, KeyOp::Expire { after_ms }, 0)
    }

    fn unexpire(&mut self, of: wit::Tree, path: Vec<String>) -> wasmtime::Result<u64> {
        self.push_key(of, path, KeyOp::Unexpire, 0)
    }

    fn run(
        &mut self,
        of: wit::Tree,
        path: Vec<String>,
        procedure: String,
        argument: Option<String>,
    ) -> wasmtime::Result<u64> {
        let token = self.token()?;
        self.push_run(of, path, procedure, argument, Some(token))?;
        Ok(token.0)
    }

    fn run_at_end(
        &mut self,
        of: wit::Tree,
        path: Vec<String>,
        procedure: String,
        argument: Option<String>,
    ) -> wasmtime::Result<()> {
        self.push_run(of, path, procedure, argument, None)
    }
}

impl Context {
    fn push_run(
        &mut self,
        of: wit::Tree,
        path: Vec<String>,
        procedure: String,
        argument: Option<String>,
        token: Option<Token>,
    ) -> wasmtime::Result<()> {
        if let Some(argument) = &argument {
            json("keyspace.run", argument)?;
        }
        let tree = tree(of);
        if path.is_empty() && tree == Tree::Global {
            let message = "keyspace.run: the whole global tree is spread over all stores: name a path";
            return Err(Ended::argument(message).into());
        }
        let bytes = weight(&path) + procedure.len() + argument.as_ref().map_or(0, String::len);
        Ok(self.push(Command::Run { token, tree, path, procedure, argument }, bytes)?)
    }
}

fn tree(of: wit::Tree) -> Tree {
    match of {
        wit::Tree::Session(id) => Tree::Session(id),
        wit::Tree::Global => Tree::Global,
        wit::Tree::Named(name) => Tree::Named(name),
    }
}

/// What a path holds; an element costs memory even when it is empty.
fn weight(path: &[String]) -> usize {
    path.iter().map(|name| name.len() + size_of::<String>()).sum()
}

/// A value for a path, checked, and its size.
fn taken(function: &str, path: &[String], value: String) -> Result<(Bytes, usize), Ended> {
    json(function, &value)?;
    not_empty(function, path)?;
    let bytes = value.len();
    Ok((value.into(), bytes))
}

fn not_empty(function: &str, path: &[String]) -> Result<(), Ended> {
    match path {
        [] => Err(Ended::argument(format!("{function}: the path must not be empty"))),
        _ => Ok(()),
    }
}
