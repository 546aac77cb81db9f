//! Typed access to the layers: each getter understands one kind of value, in the file's types or as a variable's or
//! flag's text, and turns anything else into a problem that says where, what was found and what is expected.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Number};

use super::problem::{Origin, Problem};
use super::raw::{Layers, Node, Value};
use super::units;

/// One table of an array of tables: its keys and values, and where it is.
pub(crate) type Entry = (Vec<(String, Value)>, Origin);

impl Layers {
    /// Notes a value of the wrong kind.
    fn wrong(&mut self, key: &str, value: &Value, expected: &str) {
        let message = format!("`{key}` must be {expected}, not {}", value.node.shown());
        self.problems.push(Problem::new(&message, format!("expected {expected}"), Some(&value.origin)));
    }

    fn typed<T>(&mut self, key: &str, expected: &str, read: impl Fn(&Node) -> Option<T>) -> Option<T> {
        let value = self.get(key)?.clone();
        let read = read(&value.node);
        if read.is_none() {
            self.wrong(key, &value, expected);
        }
        read
    }

    /// A string.
    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        self.typed(key, "a string", |node| match node {
            Node::Text(text) | Node::Word(text) => Some(text.clone()),
            _ => None,
        })
    }

    /// A whole number from 0 up.
    pub(crate) fn number(&mut self, key: &str) -> Option<u64> {
        self.typed(key, "a whole number from 0 up", |node| match node {
            Node::Integer(number) => u64::try_from(*number).ok(),
            Node::Word(text) => text.trim().parse().ok(),
            _ => None,
        })
    }

    /// True or false.
    pub(crate) fn flag(&mut self, key: &str) -> Option<bool> {
        self.typed(key, "true or false", |node| match node {
            Node::Bool(flag) => Some(*flag),
            Node::Word(text) => match text.trim() {
                "true" | "1" | "yes" => Some(true),
                "false" | "0" | "no" => Some(false),
                _ => None,
            },
            _ => None,
        })
    }

    /// A duration.
    pub(crate) fn duration(&mut self, key: &str) -> Option<Duration> {
        self.typed(key, units::DURATION, |node| match node {
            Node::Integer(ms) => u64::try_from(*ms).ok().map(Duration::from_millis),
            Node::Text(text) | Node::Word(text) => units::duration(text),
            _ => None,
        })
    }

    /// The number of a duration that was given without a unit.
    pub(crate) fn bare(&self, key: &str) -> Option<u64> {
        match &self.get(key)?.node {
            Node::Integer(number) => u64::try_from(*number).ok(),
            Node::Text(text) | Node::Word(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A number of bytes.
    pub(crate) fn size(&mut self, key: &str) -> Option<usize> {
        let bytes = self.typed(key, units::SIZE, |node| match node {
            Node::Integer(bytes) => u64::try_from(*bytes).ok(),
            Node::Text(text) | Node::Word(text) => units::size(text),
            _ => None,
        });
        bytes.and_then(|bytes| usize::try_from(bytes).ok())
    }

    /// One word of a few.
    pub(crate) fn choice<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let near = super::keys::nearest(&text, words.iter().map(|(word, _)| *word));
            let help = near.map(|near| format!("did you mean \"{near}\"?"));
            let message = format!("`{key}` cannot be \"{}\"", text.escape_debug());
            let problem =
                Problem::new(&message, format!("expected {}", names.join(" or ")), self.origin(key));
            let help = help.or_else(|| Some(format!("it is one of {}", names.join(", "))));
            self.problems.push(problem.maybe_help(help));
        }
        found
    }

    /// Strings: an array of them, or one string split at commas and white space.
    pub(crate) fn words(&mut self, key: &str) -> Option<Vec<String>> {
        let split = |text: &str| {
            let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        self.typed(key, "a string or an array of strings", |node| match node {
            Node::Text(text) | Node::Word(text) => Some(split(text)),
            Node::Array(items) => items
                .iter()
                .map(|item| match &item.node {
                    Node::Text(text) => Some(text.clone()),
                    _ => None,
                })
                .collect(),
            _ => None,
        })
    }

    /// A path. The file's are relative to `folder`, those of variables and flags to the current folder.
    pub(crate) fn path(&mut self, key: &str, folder: &Path) -> Option<PathBuf> {
        let text = self.text(key)?;
        match self.origin(key) {
            Some(Origin::File(..)) => Some(folder.join(text)),
            _ => Some(PathBuf::from(text)),
        }
    }

    /// A table as the text of a JSON object.
    pub(crate) fn json(&mut self, key: &str) -> Option<String> {
        let object = self.typed(key, "a table without infinite numbers", |node| match node {
            Node::Table(_) => json(node),
            _ => None,
        });
        object.map(|object| object.to_string())
    }

    /// Every key that was given, with its value. A middleware's keys carry its place.
    pub(crate) fn given(&self) -> BTreeMap<String, serde_json::Value> {
        let own = self.given_here().map(|(key, value)| (key.to_owned(), value));
        let of_middleware = self.middleware.iter().enumerate().flat_map(|(index, entry)| {
            let place = format!("middleware[{index}].");
            entry.given_here().map(move |(key, value)| (key.replacen("middleware.", &place, 1), value))
        });
        own.chain(of_middleware).collect()
    }

    fn given_here(&self) -> impl Iterator<Item = (&'static str, serde_json::Value)> {
        // What is secret is not kept.
        let all = self.all().filter(|(key, _)| *key != "tls.passphrase");
        all.map(|(key, value)| (key, json(&value.node).unwrap_or_default()))
    }

    /// A table of strings.
    pub(crate) fn strings(&mut self, key: &str) -> Option<Vec<(String, String)>> {
        self.typed(key, "a table of strings", |node| match node {
            Node::Table(entries) => entries
                .iter()
                .map(|(name, value)| match &value.node {
                    Node::Text(text) => Some((name.clone(), text.clone())),
                    _ => None,
                })
                .collect(),
            _ => None,
        })
    }

    /// An array of tables.
    pub(crate) fn tables(&mut self, key: &str) -> Option<Vec<Entry>> {
        let expected = format!("tables, each headed [[{key}]]");
        self.typed(key, &expected, |node| match node {
            Node::Array(items) => items
                .iter()
                .map(|item| match &item.node {
                    Node::Table(entries) => Some((entries.clone(), item.origin.clone())),
                    _ => None,
                })
                .collect(),
            _ => None,
        })
    }
}

fn json(node: &Node) -> Option<serde_json::Value> {
    Some(match node {
        Node::Word(text) | Node::Text(text) => serde_json::Value::String(text.clone()),
        Node::Integer(number) => serde_json::Value::from(*number),
        Node::Float(number) => serde_json::Value::Number(Number::from_f64(*number)?),
        Node::Bool(flag) => serde_json::Value::Bool(*flag),
        Node::Array(items) => items.iter().map(|item| json(&item.node)).collect::<Option<_>>()?,
        Node::Table(entries) => {
            let object: Option<Map<_, _>> =
                entries.iter().map(|(name, value)| Some((name.clone(), json(&value.node)?))).collect();
            serde_json::Value::Object(object?)
        }
    })
}
