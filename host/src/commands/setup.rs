//! What an app needs before its first build: a command that fetches packages, say.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitStatus;

use crate::config::Settings;
use crate::error::HostError;
use crate::master::spawn;

/// What a shell ends with when it does not find a program.
const NOT_FOUND: i32 = 127;

/// In the app's folder while its setup runs, and for as long as it has not succeeded: what it makes may be there by
/// half.
const UNFINISHED: &str = ".sc-setup";

/// Runs the setup command, if there is one and what it makes is missing or was not finished. It shows its own output.
/// `tell` hears of it first.
///
/// # Errors
/// No edit of the sources mends these.
pub(super) async fn setup(settings: &Settings, tell: impl FnOnce(&str)) -> Result<(), HostError> {
    let folder = &settings.app.folder;
    let unfinished = folder.join(UNFINISHED);
    let is_done = |makes: &Path| makes.exists() && !unfinished.exists();
    let Some(setup) = settings.setup.as_ref().filter(|setup| !is_done(&setup.makes)) else { return Ok(()) };
    let line = &setup.command;
    tell(line);
    let failed = |reason: String, help: String| Err(HostError::Setup { line: line.clone(), reason, help });
    if let Err(error) = fs::write(&unfinished, format!("`{line}` has begun, and has not succeeded yet\n")) {
        let help = "it is a file that is there until the command succeeds".to_owned();
        return failed(format!("cannot begin: {} cannot be written: {error}", unfinished.display()), help);
    }
    let command = spawn::shell(line, folder).map_err(HostError::os("starting the setup command"))?;
    let status = command.wait().await.map_err(HostError::os("waiting for the setup command"))?;
    if !status.success() {
        return failed(format!("failed ({status})"), help(line, status));
    }
    if !setup.makes.exists() {
        let help = "correct `setup` or `setup_makes` in the section [worker] of sc.toml".to_owned();
        return failed(format!("did not make {}", setup.makes.display()), help);
    }
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let help = "remove it by hand: while it is there, the command runs again".to_owned();
            failed(format!("is done, but {} cannot be removed: {error}", unfinished.display()), help)
        }
        _ => Ok(()),
    }
}

fn help(line: &str, status: ExitStatus) -> String {
    let program = line.split_whitespace().next().unwrap_or_default();
    match program {
        _ if status.code() != Some(NOT_FOUND) => "its output above says why".to_owned(),
        "npm" | "npx" => format!("`{program}` is not installed: it comes with Node.js, https://nodejs.org"),
        _ => "it needs a program that is not installed: the line above names it".to_owned(),
    }
}

/// What to expect of a build with cargo that has not been done yet.
pub(super) fn first_build(settings: &Settings) -> Option<&'static str> {
    let by_cargo = settings.build.as_ref().is_some_and(|line| line.contains("cargo "));
    let is_first = settings.component.as_ref().is_some_and(|component| !component.exists());
    (by_cargo && is_first).then_some(
        "the first build: cargo fetches crates from its registry, which needs the network, and takes a minute or two",
    )
}
