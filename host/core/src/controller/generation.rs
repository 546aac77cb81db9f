//! What is swapped as one: a component and what it was configured with.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Json;
use crate::config::GuestConfig;

/// A compiled component: where it lies and which one it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentRef {
    /// The name users gave it.
    pub name: String,
    /// The compiled file, checked by the master; a child only maps it.
    pub compiled: PathBuf,
    /// SHA-256 of the component's bytes, in hex.
    pub hash: String,
}

/// A component with its configuration. Two that differ in anything have different hashes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// The code.
    pub component: ComponentRef,
    /// Its configuration, a JSON object.
    pub config: Json,
    /// What an instance may use.
    pub guest: GuestConfig,
    /// Whether actions go on when a middleware cannot decide; of no meaning for others.
    pub fails_open: bool,
    /// SHA-256 over all of the above but the name and the file, in hex.
    pub hash: String,
}

impl Generation {
    /// The component's name.
    pub fn name(&self) -> &str {
        &self.component.name
    }

    /// What the log calls it.
    pub fn label(&self) -> Label<'_> {
        Label { name: self.name(), hash: &self.hash }
    }
}

/// A component's name, `@`, and as much of its generation's hash as `sc-host status` shows.
#[derive(Clone, Copy, Debug)]
pub struct Label<'a> {
    /// The name.
    pub name: &'a str,
    /// The whole hash.
    pub hash: &'a str,
}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, short_hash(self.hash))
    }
}

/// As much of a hash as is shown to people.
pub fn short_hash(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
