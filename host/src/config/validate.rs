//! Values against each other and against the world: ranges, names, files. Nothing is bound or spawned before this.

use std::path::Path;
use std::time::Duration;

use bytes::BytesMut;
use sc_core::limits::PACKET_MAX;

use super::components::MEMORIES;
use super::key_files;
use super::keys;
use super::problem::Problem;
use super::raw::Layers;
use super::times;
use super::{Mode, Settings};
use crate::telemetry;

/// Workers, at most: each pair of them shares a link.
const WORKERS_MAX: usize = 512;
/// What a controller's configuration, variables and folders may take in the message that starts a worker.
const CONTROLLER_MAX: usize = 96 * 1024;
/// What that message may hold beside the configuration.
const START_OTHER: usize = 8 * 1024;

const MS: Duration = Duration::from_millis(1);

/// Notes all that is out of range or missing, and reads the keys.
pub(crate) fn validate(settings: &mut Settings, layers: &mut Layers, mode: Mode) {
    numbers(settings, layers);
    times::check(settings, layers);
    balancer(settings, layers);
    redirect(settings, layers);
    names(settings, layers);
    origins(&settings.worker.protocol.origins, layers);
    if mode != Mode::WithoutFiles {
        folders(settings, layers, mode);
        key_files::read(settings, layers);
    }
    size(settings, layers);
}

/// All that a worker gets must fit into the message that starts it.
fn size(settings: &Settings, layers: &mut Layers) {
    let mut message = BytesMut::new();
    let middleware = settings.middleware.iter().map(|it| &it.controller).chain([&settings.controller]);
    let controllers: Vec<_> = middleware.map(|it| (&it.config, &it.guest)).collect();
    let all = (&settings.worker, controllers);
    if sc_wire::frame::put(&mut message, &all, PACKET_MAX - START_OTHER).is_err() {
        let text =
            format!("what workers are configured with is over {} KiB", (PACKET_MAX - START_OTHER) / 1024);
        let help =
            "mostly from `protocol.origins`, `worker.keep_headers`, and `config` and `env` of the components";
        layers.problems.push(Problem::new(&text, "", None).help(help));
    }
}

pub(super) fn problem(layers: &mut Layers, key: &str, message: &str, help: Option<&str>) {
    let problem = Problem::new(message, message, layers.origin(key));
    let problem = problem.maybe_help(help.map(str::to_owned));
    layers.problems.push(problem);
}

fn numbers(settings: &Settings, layers: &mut Layers) {
    let client = &settings.worker.client;
    let address_limit = client.address_limit.map_or(1, |limit| limit as usize);
    let rows: [(&str, usize, usize, usize); 15] = [
        ("worker.fetch_body_max", settings.worker.fetch.body_max, 1, 31 << 20),
        ("http.instances", settings.worker.site.instances, 1, 10_000),
        ("http.body_max", settings.worker.http.body_max, 1, 31 << 20),
        ("app.port", settings.app.port, 0, 65_535),
        ("app.workers", settings.app.workers, 1, WORKERS_MAX),
        ("app.balancers", settings.app.balancers, 1, 64),
        ("app.stores", settings.app.stores, 1, 64),
        ("client.channel_limit", client.channel_limit.unwrap_or(1), 0, 1_000_000),
        ("client.address_limit", address_limit, 0, 10_000_000),
        ("client.max_sockets", client.max_sockets.unwrap_or(1), 0, 10_000_000),
        ("balancer.pending_max", settings.balancer.pending_max, 1, 1_000_000),
        ("balancer.pending_per_address", settings.balancer.pending_per_address, 1, 1_000_000),
        ("client.max_payload", client.max_payload, 1024, 64 << 20),
        ("client.outbox_max", client.outbox_max, 64 << 10, 1 << 30),
        ("balancer.head_max", settings.balancer.head_max, 1024, 64 << 10),
    ];
    for (key, value, least, most) in rows {
        if !(least..=most).contains(&value) {
            problem(layers, key, &format!("`{key}` must be from {least} to {most}"), None);
        }
    }
    for (key, memory) in [
        ("worker.memory", settings.controller.guest.memory_max),
        ("store.memory", settings.store_controller.guest.memory_max),
        ("http.memory", settings.site_controller.guest.memory_max),
    ] {
        if !MEMORIES.contains(&memory) {
            problem(layers, key, &format!("`{key}` must be from 1MiB to 4GiB"), None);
        }
    }
}

fn balancer(settings: &Settings, layers: &mut Layers) {
    let Some((_, config)) = &settings.balancer_component else { return };
    if !MEMORIES.contains(&config.guest.memory_max) {
        problem(layers, "balancer.memory", "`balancer.memory` must be from 1MiB to 4GiB", None);
    }
    if !(MS..=60_000 * MS).contains(&config.guest.cpu_per_call) {
        problem(layers, "balancer.cpu_per_call", "`balancer.cpu_per_call` must be from 1ms to 60s", None);
    }
    let env: usize = config.guest.env.iter().map(|(name, value)| name.len() + value.len()).sum();
    if config.config.len() + env > CONTROLLER_MAX {
        let message = "`balancer.config` and `balancer.env` together must stay under 96 KiB";
        problem(layers, "balancer.config", message, None);
    }
}

/// Both ports lie at the same addresses.
fn redirect(settings: &Settings, layers: &mut Layers) {
    let port = settings.tls.as_ref().and_then(|tls| tls.redirect_http).filter(|port| *port != 0);
    if port.is_some_and(|port| usize::from(port) == settings.app.port) {
        let message = "`tls.redirect_http` is the port that speaks TLS itself";
        problem(layers, "tls.redirect_http", message, Some("80 is where browsers look"));
    }
}

/// What an app may be called.
pub(crate) const NAME_RULE: &str = "1 to 64 letters, digits, '-', '_' or '.'";

/// Whether an app may be called so.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn names(settings: &Settings, layers: &mut Layers) {
    if !is_name(&settings.app.name) {
        problem(layers, "app.name", &format!("`app.name` must be {NAME_RULE}"), None);
    }
    if settings.app.host.trim().is_empty() {
        problem(layers, "app.host", "`app.host` must be an address such as 0.0.0.0, ::1 or localhost", None);
    }
    let host = &settings.worker.sessions.ids.host;
    if host.len() > 64 || !host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')) {
        let message = "`session.host` must be up to 64 letters, digits, '-' or '.'";
        let help = "the fields of ids end at '_'; the address to listen on is `app.host`";
        problem(layers, "session.host", message, Some(help));
    }
    let path = &settings.worker.protocol.path;
    let plain = path.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '?' | '#'));
    if !path.starts_with('/') || !plain || path.starts_with("/sc/") {
        let message =
            "`protocol.path` must begin with '/', hold no '?', '#' or space, and not lie under /sc/";
        problem(layers, "protocol.path", message, None);
    }
    for name in &settings.worker.keep_headers {
        if name.is_empty()
            || !name.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
        {
            problem(layers, "worker.keep_headers", "`worker.keep_headers` holds names of HTTP headers", None);
        }
    }
    log_level(&settings.log.level, layers);
    if settings.store_controller.config.len() > CONTROLLER_MAX {
        problem(layers, "store.config", "`store.config` must stay under 96 KiB", None);
    }
    let guest = &settings.controller.guest;
    let env: usize = guest.env.iter().map(|(name, value)| name.len() + value.len()).sum();
    let dirs: usize = guest.dirs.iter().map(|dir| dir.host.as_os_str().len() + dir.guest.len()).sum();
    if settings.controller.config.len() + env + dirs > CONTROLLER_MAX {
        let message = "`worker.config`, `worker.env` and `worker.dirs` together must stay under 96 KiB";
        problem(layers, "worker.config", message, Some("put large data into a file and grant its folder"));
    }
    if guest
        .env
        .iter()
        .any(|(name, value)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0'))
    {
        problem(layers, "worker.env", "`worker.env` has a name that no environment can hold", None);
    }
}

/// A level, or directives. A word alone is a level or a mistake: to the filter it would name a part of the program,
/// and everything else would fall silent.
fn log_level(text: &str, layers: &mut Layers) {
    const LEVELS: [&str; 7] = ["off", "error", "warn", "notice", "info", "debug", "trace"];
    let mut words = text.split(',').map(str::trim).filter(|word| !word.contains(['=', '[']));
    let wrong = words.find(|word| !LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word)));
    if let Some(word) = wrong {
        let nearest = keys::nearest(word, LEVELS).map(|level| format!("did you mean `{level}`? "));
        let help = format!("{}{LEVEL_HELP}", nearest.unwrap_or_default());
        problem(layers, "log.level", &format!("`log.level` holds \"{}\"", word.escape_debug()), Some(&help));
    } else if telemetry::filter(text).is_err() {
        problem(layers, "log.level", "`log.level` is no log level", Some(LEVEL_HELP));
    }
}

const LEVEL_HELP: &str =
    "write off, error, warn, notice, info, debug or trace; or per part: \"info,sc_worker=debug\"";

fn origins(origins: &[String], layers: &mut Layers) {
    if origins.is_empty() {
        problem(
            layers,
            "protocol.origins",
            "`protocol.origins` is empty: no browser could connect",
            Some("allow all with \"*:*\""),
        );
    }
    for origin in origins {
        if let Err(help) = check_origin(origin) {
            let message = format!("`protocol.origins` holds \"{}\"", origin.escape_debug());
            problem(layers, "protocol.origins", &message, Some(&help));
        }
    }
}

/// An origin is `host:port`, either part may be `*`.
fn check_origin(origin: &str) -> Result<(), String> {
    const FORM: &str = "write host:port, host:*, *:port or *:*";
    if let Some((scheme, rest)) = origin.split_once("://") {
        let host = rest.trim_end_matches('/');
        let port = if scheme == "https" { 443 } else { 80 };
        let named = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let mended = if named { host.to_owned() } else { format!("{host}:{port}") };
        return Err(format!("write it without its scheme: \"{mended}\""));
    }
    let Some((host, port)) = origin.rsplit_once(':') else {
        return Err(format!("{FORM}; for example \"{origin}:443\""));
    };
    let port_fine = port == "*" || port.parse::<u16>().is_ok();
    if host.is_empty() || host.contains('/') || !port_fine { Err(FORM.to_owned()) } else { Ok(()) }
}

fn folders(settings: &Settings, layers: &mut Layers, mode: Mode) {
    let check = |layers: &mut Layers, key: &str, folder: &Path| {
        if !folder.is_dir() {
            let message = format!("`{key}` names {}, which is no folder", folder.display());
            let problem = Problem::new(&message, &message, layers.origin(key));
            layers.problems.push(problem.of_what_it_names().help("create it, or correct the path"));
        }
    };
    // What a build makes is looked at after it: see `component::public`.
    let is_made = mode == Mode::Dev && (settings.build.is_some() || settings.setup.is_some());
    if let Some(public) = settings.worker.public.as_ref().filter(|_| !is_made) {
        check(layers, "app.public", public);
    }
    for grant in &settings.controller.guest.dirs {
        check(layers, "worker.dirs", &grant.host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_host_and_port() {
        for origin in ["*:*", "example.com:443", "example.com:*", "*:8000", "[::1]:80"] {
            assert_eq!(check_origin(origin), Ok(()), "{origin}");
        }
        for (origin, help) in [
            ("https://example.com", "\"example.com:443\""),
            ("http://example.com:8080/", "\"example.com:8080\""),
            ("example.com", "\"example.com:443\""),
            ("example.com:http", "host:port"),
        ] {
            assert!(check_origin(origin).expect_err(origin).contains(help), "{origin}");
        }
    }
}
