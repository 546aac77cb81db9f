//! What each kind of component runs with: sections of `sc.toml` that have the same keys, and the same defaults.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sc_core::config::{DirGrant, GuestConfig};

use super::problem::Problem;
use super::raw::{Layers, Node, Value};
use super::resolve::absolute;
use super::{ControllerSettings, keys};

const MEMORY: usize = 64 << 20;
/// What `memory` may be, 1 MiB to 4 GiB.
pub(super) const MEMORIES: RangeInclusive<usize> = 1 << 20..=4 << 30;
const CPU_PER_CALL: Duration = Duration::from_millis(50);
const CPU_PER_REQUEST: Duration = Duration::from_secs(1);
/// Words of `on_failure`, and whether what cannot be decided goes on.
pub(super) const POLICIES: [(&str, bool); 2] = [("closed", false), ("open", true)];

/// What all controllers have in common.
pub(super) fn controller(layers: &mut Layers, section: &str) -> ControllerSettings {
    let key = |name: &str| format!("{section}.{name}");
    ControllerSettings {
        config: layers.json(&key("config")).unwrap_or_else(|| "{}".to_owned()),
        guest: GuestConfig {
            memory_max: layers.size(&key("memory")).unwrap_or(MEMORY),
            cpu_per_call: layers.duration(&key("cpu_per_call")).unwrap_or(CPU_PER_CALL),
            env: Vec::new(),
            dirs: Vec::new(),
        },
        fails_open: false,
    }
}

pub(super) fn worker(layers: &mut Layers, folder: &Path) -> ControllerSettings {
    let mut config = controller(layers, "worker");
    config.guest.env = layers.strings("worker.env").unwrap_or_default();
    config.guest.dirs = dirs(layers, folder);
    config
}

/// A site is given its limits alone.
pub(super) fn site(layers: &mut Layers) -> ControllerSettings {
    ControllerSettings {
        config: "{}".to_owned(),
        guest: GuestConfig {
            memory_max: layers.size("http.memory").unwrap_or(MEMORY),
            cpu_per_call: layers.duration("http.cpu_per_request").unwrap_or(CPU_PER_REQUEST),
            env: Vec::new(),
            dirs: Vec::new(),
        },
        fails_open: false,
    }
}

/// The balancers' controller, if there is one. Its options without it are of no use, and a mistake.
pub(super) fn balancer(layers: &mut Layers, folder: &Path) -> Option<(PathBuf, ControllerSettings)> {
    const OPTIONS: [&str; 5] = [
        "balancer.config",
        "balancer.env",
        "balancer.memory",
        "balancer.cpu_per_call",
        "balancer.on_failure",
    ];
    let mut config = controller(layers, "balancer");
    config.guest.env = layers.strings("balancer.env").unwrap_or_default();
    config.fails_open = layers.choice("balancer.on_failure", &POLICIES).unwrap_or(false);
    if let Some(component) = layers.path("balancer.component", folder) {
        return Some((component, config));
    }
    if let Some(key) = OPTIONS.into_iter().find(|key| layers.get(key).is_some()) {
        let message = format!("`{key}` is given, and no `balancer.component`");
        let problem = Problem::new(&message, "of no use", layers.origin(key));
        layers.problems.push(problem.help("name the balancers' controller: component = \"ip-filter.wasm\""));
    }
    None
}

/// `[[worker.dirs]]`: what a controller may see of the file system.
fn dirs(layers: &mut Layers, folder: &Path) -> Vec<DirGrant> {
    let mut grants = Vec::new();
    for (entries, origin) in layers.tables("worker.dirs").unwrap_or_default() {
        let (mut host, mut guest, mut write) = (None, None, false);
        for (name, value) in &entries {
            match (name.as_str(), &value.node) {
                ("host", Node::Text(path)) => host = Some(absolute(&folder.join(path))),
                ("guest", Node::Text(path)) => guest = Some(path.clone()),
                ("write", Node::Bool(flag)) => write = *flag,
                _ => layers.problems.push(dir_problem(name, value)),
            }
        }
        match (host, guest) {
            (Some(host), Some(guest)) => grants.push(DirGrant { host, guest, write }),
            _ => layers.problems.push(
                Problem::new(
                    "an entry of `worker.dirs` needs `host` and `guest`",
                    "incomplete",
                    Some(&origin),
                )
                .help("for example: host = \"data\", guest = \"/data\""),
            ),
        }
    }
    grants
}

fn dir_problem(name: &str, value: &Value) -> Problem {
    let expected = match name {
        "host" | "guest" => "a string",
        "write" => "true or false",
        _ => {
            let help = match keys::nearest(name, keys::DIR_KEYS.iter().copied()) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!("valid here: {}", keys::DIR_KEYS.join(", ")),
            };
            let message = format!("unknown key `worker.dirs.{name}`");
            return Problem::new(&message, "no such key", Some(&value.origin)).help(help);
        }
    };
    let message = format!("`worker.dirs.{name}` must be {expected}, not {}", value.node.kind());
    Problem::new(&message, format!("expected {expected}"), Some(&value.origin))
}
