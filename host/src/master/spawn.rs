//! The only door to other processes: children of the host, the compiling child, and the user's build command.
//!
//! A child is this very program again, found through `/proc/self/exe` so that a binary replaced on disk while the
//! host runs cannot put two versions on one link. Children have process groups of their own: a Ctrl-C at the terminal
//! reaches the master alone, which then ends them in their order.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sc_core::link::packet_pair;
use tokio::process::{Child, Command};

use super::name::ChildName;
use crate::config::keys::PASSPHRASE_VARIABLE;

/// Starts a child of the host. Returns it with the master's end of its control link, which is its standard input.
pub(crate) fn role(name: ChildName, log_level: &str) -> io::Result<(Child, OwnedFd)> {
    let (ours, theirs) = packet_pair()?;
    let mut command = this_program()?;
    command.args(["role", &name.label(), "--log-level", log_level]);
    command.stdin(Stdio::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok((command.spawn()?, ours))
}

/// Starts the child that compiles what comes on its standard input into the cache. It answers on its standard output.
pub(crate) fn compile(cache: &Path) -> io::Result<Child> {
    let mut command = this_program()?;
    command.arg("compile").arg(cache);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn()
}

/// Starts the user's build command in the app's folder. What it prints goes to stderr: stdout is for records.
pub(crate) fn shell(line: &str, folder: &Path) -> io::Result<Child> {
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).current_dir(present(folder)).stdin(Stdio::null()).kill_on_drop(true);
    // sc.toml says where the component lies below the app; a folder for all of a user's builds would hide it.
    command.env_remove("CARGO_TARGET_DIR").env_remove(PASSPHRASE_VARIABLE);
    command.stdout(io::stderr().as_fd().try_clone_to_owned()?);
    command.spawn()
}

/// Runs `rustup` in the app's folder, whose toolchain file counts. An error means there is no rustup.
pub(crate) async fn rustup(
    arguments: &[&str],
    folder: &Path,
    quiet: bool,
) -> io::Result<std::process::Output> {
    let mut command = Command::new("rustup");
    command.env_remove(PASSPHRASE_VARIABLE);
    command.args(arguments).current_dir(present(folder)).stdin(Stdio::null()).kill_on_drop(true);
    match quiet {
        true => command.output().await,
        false => {
            command.stdout(io::stderr().as_fd().try_clone_to_owned()?);
            let status = command.status().await?;
            Ok(std::process::Output { status, stdout: Vec::new(), stderr: Vec::new() })
        }
    }
}

fn this_program() -> io::Result<Command> {
    let proc = Path::new("/proc/self/exe");
    let program = if proc.exists() { PathBuf::from(proc) } else { std::env::current_exe()? };
    let mut command = Command::new(program);
    command.arg0(OsStr::new("sc-host")).process_group(0).kill_on_drop(true);
    // The master alone speaks to the service supervisor.
    command.env_remove("NOTIFY_SOCKET");
    command.env_remove(PASSPHRASE_VARIABLE);
    Ok(command)
}

/// An empty path is the current folder, except to system calls.
fn present(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}
