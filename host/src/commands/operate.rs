//! `sc-host reload`, `status`, `publish`, `emit-session`, `disconnect`, `kick`: what is asked of a host that runs.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use sc_core::controller::short_hash;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{block_on, say};
use crate::admin::{Client, Disconnect, Done, Emit, Kick, Publish, Reload, RuntimeDir};
use crate::cli::{ReloadArgs, StatusArgs, TargetArgs, WhomArgs};
use crate::config::{Mode, ProcessEnvironment, Settings};
use crate::error::HostError;
use crate::master::{ProcessStatus, Status};

/// Between two looks of `--watch`.
const LOOK: Duration = Duration::from_secs(1);

/// `sc-host reload`
pub(crate) fn reload(args: &ReloadArgs) -> Result<(), HostError> {
    let component = match &args.component {
        None => None,
        // The host has another current folder.
        Some(path) => Some(std::fs::canonicalize(path).map_err(|source| HostError::Unreadable {
            what: "component",
            path: path.clone(),
            source,
        })?),
    };
    let body = Reload { names: args.names.clone(), component, allow_new_imports: args.allow_new_imports };
    let done = post(&args.target, "/api/reload", &body)?;
    say(&done.report.join("\n"));
    Ok(())
}

/// `sc-host publish`
pub(crate) fn publish(target: &TargetArgs, channel: &str, data: Option<&str>) -> Result<(), HostError> {
    let body = Publish { channel: channel.to_owned(), data: json(data)? };
    post(target, "/api/publish", &body).map(drop)
}

/// `sc-host emit-session`
pub(crate) fn emit(
    target: &TargetArgs,
    session: &str,
    event: &str,
    data: Option<&str>,
) -> Result<(), HostError> {
    let (session, event) = (Some(session.to_owned()), event.to_owned());
    let body = Emit { session, socket: None, event, data: json(data)? };
    tell(&post(target, "/api/emit", &body)?);
    Ok(())
}

/// `sc-host disconnect`
pub(crate) fn disconnect(
    target: &TargetArgs,
    whom: WhomArgs,
    code: u16,
    reason: String,
) -> Result<(), HostError> {
    let WhomArgs { session, socket } = whom;
    tell(&post(target, "/api/disconnect", &Disconnect { session, socket, code, reason })?);
    Ok(())
}

/// `sc-host kick`
pub(crate) fn kick(
    target: &TargetArgs,
    whom: WhomArgs,
    channel: String,
    message: String,
) -> Result<(), HostError> {
    let WhomArgs { session, socket } = whom;
    tell(&post(target, "/api/kick", &Kick { session, socket, channel, message })?);
    Ok(())
}

/// `sc-host status`
pub(crate) fn status(args: &StatusArgs) -> Result<(), HostError> {
    let client = client(&args.target)?;
    block_on(async {
        loop {
            let status: Status = client.get("/api/status").await?;
            let text = match args.json {
                true => serde_json::to_string(&status).unwrap_or_default(),
                false => table(&status),
            };
            if !args.watch {
                say(&text);
                return Ok(());
            }
            show(&text, args.json);
            tokio::time::sleep(LOOK).await;
        }
    })
}

/// One picture of several: people see it in the place of the last one.
fn show(text: &str, json: bool) {
    if !json && std::io::stdout().is_terminal() {
        let _ = write!(std::io::stdout(), "\x1b[H\x1b[2J");
    }
    say(text);
}

fn tell(done: &Done) {
    let sockets = done.sockets.unwrap_or_default();
    say(&format!("{sockets} {}", if sockets == 1 { "socket" } else { "sockets" }));
}

fn post(target: &TargetArgs, path: &str, body: &impl Serialize) -> Result<Done, HostError> {
    let client = client(target)?;
    block_on(async { Ok(client.post(path, body).await?) })
}

/// The host that is meant.
fn client(target: &TargetArgs) -> Result<Client, HostError> {
    let folder: PathBuf = match &target.runtime_dir {
        Some(folder) => folder.clone(),
        None => {
            let app = target.app.as_deref().or(Some(std::path::Path::new(".")));
            let user = target.user.iter().map(|user| ("app.user", "--user", user.clone())).collect();
            let settings = Settings::load(app, user, &ProcessEnvironment::default(), Mode::WithoutFiles)?;
            RuntimeDir::find(settings)
        }
    };
    Ok(Client::new(&folder))
}

fn json(text: Option<&str>) -> Result<Option<Box<RawValue>>, HostError> {
    let Some(text) = text else { return Ok(None) };
    let value = serde_json::from_str(text);
    value.map(Some).map_err(|error| HostError::NotJson { text: text.to_owned(), reason: error.to_string() })
}

fn table(status: &Status) -> String {
    let mut text = String::new();
    let phase = serde_json::to_value(status.phase).ok();
    let phase = phase.as_ref().and_then(|phase| phase.as_str()).unwrap_or_default();
    let reloading = if status.reloading { ", reloading" } else { "" };
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "{} at {}: {phase}{reloading}, up {}, {} sockets, sc-host {} (pid {})\n",
        status.app,
        status.url,
        time(status.uptime_s),
        status.sockets,
        status.version,
        status.pid,
    );
    let _ = writeln!(text, "{:<24}{:<12}{:<14}COMPONENT", "NAME", "KIND", "GENERATION");
    for component in &status.components {
        let generation = short_hash(&component.generation);
        let _ = writeln!(
            text,
            "{:<24}{:<12}{generation:<14}{}",
            component.name,
            component.kind,
            short_hash(&component.component),
        );
    }
    let _ = writeln!(
        text,
        "\n{:<13}{:<10}{:<9}{:<10}{:<10}{:<9}{:<11}FAILURES",
        "PROCESS", "PID", "PHASE", "UP", "RESTARTS", "SOCKETS", "PACKETS/S"
    );
    for process in &status.processes {
        let ProcessStatus { role, id, pid, phase, uptime_s, restarts, worker, .. } = process;
        let pid = pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let _ = write!(
            text,
            "{:<13}{pid:<10}{phase:<9}{:<10}{restarts:<10}",
            format!("{role} {id}"),
            time(*uptime_s)
        );
        let _ = match worker {
            Some(worker) => writeln!(
                text,
                "{:<9}{:<11.0}{}",
                worker.sockets, worker.packets_per_second, worker.guest_failures
            ),
            None => writeln!(text, "{:<9}{:<11}-", "-", "-"),
        };
    }
    let _ = writeln!(text, "\n{:<13}{:<10}{:<10}{:<10}TREES", "STORE", "SESSIONS", "CHANNELS", "MEMBERS");
    for (process, holds) in
        status.processes.iter().filter_map(|process| Some((process, process.store.as_ref()?)))
    {
        let _ = writeln!(
            text,
            "{:<13}{:<10}{:<10}{:<10}{}",
            format!("store {}", process.id),
            holds.sessions,
            holds.channels,
            holds.members,
            holds.trees
        );
    }
    text.truncate(text.trim_end().len());
    text
}

fn time(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, ..) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (seconds, text) in [(5, "5s"), (65, "1m5s"), (3600, "1h0m"), (90_000, "1d1h")] {
            assert_eq!(time(seconds), text);
        }
    }
}
