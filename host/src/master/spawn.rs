//! The only door to other processes: children of the host, the compiling child, and the user's build command.
//!
//! A child is this very program again, found through `/proc/self/exe` so that a binary replaced on disk while the
//! host runs cannot put two versions on one link. Children have process groups of their own: a Ctrl-C at the terminal
//! reaches the master alone, which then ends them in their order. So do the user's commands, which end with all that
//! they started when nobody waits for them any more.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use sc_core::link::packet_pair;
use tokio::process::{Child, Command};

use super::name::ChildName;
use crate::config::keys::PASSPHRASE_VARIABLE;

/// For a command that is to end, and what it started, before they are killed.
const MERCY: Duration = Duration::from_secs(1);
/// Between two looks whether they are gone.
const LOOK: Duration = Duration::from_millis(5);

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

/// A command of the user's. Dropped before it has ended, it is ended, and so is all that it started: this waits for
/// that, [`MERCY`] at most.
#[derive(Debug)]
pub(crate) struct Shell {
    child: Child,
    /// All of them, while the command has not ended by itself.
    group: Option<Pid>,
}

impl Shell {
    /// Waits for its end. What it left running goes on.
    pub(crate) async fn wait(mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.group = None;
        Ok(status)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let Some(group) = self.group else { return };
        // Whoever is gone already needs none of this.
        let _ = kill_process_group(group, Signal::TERM);
        let until = Instant::now() + MERCY;
        while Instant::now() < until {
            // Until it is waited for, the shell counts as one of the group.
            let _ = self.child.try_wait();
            if test_kill_process_group(group).is_err() {
                return;
            }
            std::thread::sleep(LOOK);
        }
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Starts the user's build command in the app's folder. What it prints goes to stderr: stdout is for records. It reads
/// nothing: a process group of its own may not read from the terminal.
pub(crate) fn shell(line: &str, folder: &Path) -> io::Result<Shell> {
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).current_dir(present(folder)).stdin(Stdio::null());
    command.process_group(0).kill_on_drop(true);
    // sc.toml says where the component lies below the app; a folder for all of a user's builds would hide it.
    command.env_remove("CARGO_TARGET_DIR").env_remove(PASSPHRASE_VARIABLE);
    command.stdout(io::stderr().as_fd().try_clone_to_owned()?);
    let child = command.spawn()?;
    let group = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    Ok(Shell { child, group })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for the number of a process that a command writes.
    async fn written(file: &Path) -> String {
        loop {
            match std::fs::read_to_string(file) {
                Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Whether it runs: one that nobody has waited for yet does not.
    fn runs(process: &str) -> bool {
        let state = std::fs::read_to_string(format!("/proc/{process}/stat"));
        state.is_ok_and(|state| {
            state.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z'))
        })
    }

    #[tokio::test]
    async fn what_a_command_started_ends_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pid");
        for line in ["sleep 300 & echo $! > pid; wait", "trap '' TERM; sleep 300 & echo $! > pid; wait; wait"]
        {
            let command = shell(line, folder.path()).expect("started");
            let process = written(&file).await;
            assert!(runs(&process), "{line}");
            drop(command);
            let until = Instant::now() + Duration::from_secs(5);
            while runs(&process) {
                assert!(Instant::now() < until, "{line} goes on");
                tokio::time::sleep(LOOK).await;
            }
            std::fs::remove_file(&file).expect("removed");
        }
    }

    #[tokio::test]
    async fn what_a_command_left_running_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let command = shell("sleep 2 & echo $! > pid", folder.path()).expect("started");
        assert!(command.wait().await.expect("ended").success());
        assert!(runs(&written(&folder.path().join("pid")).await));
    }
}
