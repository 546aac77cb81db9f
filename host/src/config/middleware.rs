//! `[[middleware]]` and `--middleware`: the components that decide about actions, in their order.

use std::path::Path;
use std::time::Duration;

use sc_core::config::GuestConfig;

use super::MiddlewareSettings;
use super::components::{self, MEMORIES, POLICIES};
use super::problem::Problem;
use super::raw::Layers;
use crate::component;

/// How many there may be.
const MOST: usize = 32;
/// Bytes of a name.
const NAME_MAX: usize = 64;
const MS: Duration = Duration::from_millis(1);

/// All of them. Names that would be the same are problems; `app` is the controller's.
pub(super) fn resolve(layers: &mut Layers, folder: &Path, app: &str) -> Vec<MiddlewareSettings> {
    let mut all: Vec<MiddlewareSettings> = Vec::new();
    for mut entry in std::mem::take(&mut layers.middleware) {
        let origin =
            entry.origin("middleware.component").or_else(|| entry.origin("middleware.name")).cloned();
        let found = one(&mut entry, folder);
        layers.problems.append(&mut entry.problems);
        let problem =
            |message: &str, label: &str, help: &str| Problem::new(message, label, origin.as_ref()).help(help);
        match found {
            None => layers.problems.push(problem(
                "an entry of `middleware` names no component",
                "no `component`",
                "for example: component = \"token-auth.wasm\"",
            )),
            Some(found)
                if found.name == app
                    || component::is_taken(app, &found.name)
                    || all.iter().any(|other| other.name == found.name) =>
            {
                let message = format!("two components are named `{}`", found.name);
                layers.problems.push(problem(&message, "the second", "give this one another `name`"));
            }
            Some(found) => all.push(found),
        }
    }
    if all.len() > MOST {
        let message = format!("there are {} middleware, and there may be {MOST}", all.len());
        layers.problems.push(Problem::new(&message, "", None));
    }
    all
}

fn one(entry: &mut Layers, folder: &Path) -> Option<MiddlewareSettings> {
    let mut controller = components::controller(entry, "middleware");
    controller.guest.env = entry.strings("middleware.env").unwrap_or_default();
    controller.fails_open = entry.choice("middleware.on_failure", &POLICIES).unwrap_or(false);
    check_limits(entry, &controller.guest);
    let name = entry.text("middleware.name");
    let component = entry.path("middleware.component", folder)?;
    let stem = || component.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = name.or_else(stem).unwrap_or_default();
    if name.is_empty() || name.len() > NAME_MAX || name.contains(char::is_control) {
        let given = ["middleware.name", "middleware.component"].into_iter().find_map(|key| entry.origin(key));
        let shown: String = name.chars().take(NAME_MAX).collect();
        let message = format!("a middleware is named \"{}\"", shown.escape_debug());
        let problem = Problem::new(&message, "its name", given)
            .help("give it a `name` of 1 to 64 bytes without control characters");
        entry.problems.push(problem);
    }
    Some(MiddlewareSettings { name, component, controller })
}

/// Notes what is out of range, where it was given.
fn check_limits(entry: &mut Layers, guest: &GuestConfig) {
    let limits = [
        ("middleware.memory", MEMORIES.contains(&guest.memory_max), "1MiB to 4GiB"),
        ("middleware.cpu_per_call", (MS..=60_000 * MS).contains(&guest.cpu_per_call), "1ms to 60s"),
    ];
    for (key, is_fine, range) in limits {
        if !is_fine {
            let message = format!("`{key}` must be from {range}");
            entry.problems.push(Problem::new(&message, &message, entry.origin(key)));
        }
    }
}
