//! `worker.setup`: what is done once, until it succeeds, before an app's first build.

use std::path::{Path, PathBuf};

use super::problem::Problem;
use super::raw::Layers;

/// What is done once, before the first build.
#[derive(Clone, Debug)]
pub(crate) struct SetupSettings {
    /// A command, for `sh -c` in the app's folder.
    pub(crate) command: String,
    /// What it makes: while that is there, and whole, nothing is to be done.
    pub(crate) makes: PathBuf,
}

/// Both of its keys, or neither: one is of no use without the other.
pub(super) fn resolve(layers: &mut Layers, folder: &Path) -> Option<SetupSettings> {
    const KEYS: [&str; 2] = ["worker.setup", "worker.setup_makes"];
    let [command, makes] = KEYS;
    let (given, missing): (Vec<&str>, Vec<&str>) = KEYS.iter().partition(|key| layers.get(key).is_some());
    if let (Some(given), Some(missing)) = (given.first(), missing.first()) {
        let message = format!("`{given}` is given, and no `{missing}`");
        let problem = Problem::new(&message, "of no use alone", layers.origin(given));
        let help = "for example: setup = \"npm ci\" and setup_makes = \"node_modules\"";
        layers.problems.push(problem.help(help));
        return None;
    }
    Some(SetupSettings { command: layers.text(command)?, makes: layers.path(makes, folder)? })
}
