//! Programs that run to their end: builds, and hosts that are meant to refuse.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// How a program ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it said, standard output and error.
    pub text: String,
    /// How long it ran.
    pub took: Duration,
}

impl Finished {
    /// Fails unless the program failed with that code and said all of these.
    pub fn refused(&self, code: i32, said: &[&str]) -> anyhow::Result<()> {
        // Reports are folded to the terminal's width and framed.
        let flat = |text: &str| -> String {
            text.chars().filter(|c| !c.is_whitespace() && !"│|├╰─▶".contains(*c)).collect()
        };
        let text = flat(&self.text);
        for word in said {
            if !text.contains(&flat(word)) {
                bail!("it did not say `{word}` but:\n{}", self.text);
            }
        }
        if self.code != Some(code) {
            bail!("it ended with {:?} and not {code}:\n{}", self.code, self.text);
        }
        Ok(())
    }
}

/// Starting a process is the one thing tests do without the host's rules.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    // What cargo set for this test is not meant for another cargo or host.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let of_build =
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_BIN_") || name.starts_with("SC_");
        if of_build
            || ["CARGO_TARGET_DIR", "RUSTFLAGS", "RUSTDOCFLAGS", "CARGO_MANIFEST_DIR"].contains(&&*name)
        {
            command.env_remove(&*name);
        }
    }
    command
}

/// Runs to the end and fails, with all it said, when the program does.
pub fn succeed(command: &mut Command, what: &str) -> anyhow::Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("{what} could not be started"))?;
    let text = said(&output);
    if !output.status.success() {
        bail!("{what} failed with {}:\n{text}", output.status);
    }
    Ok(text)
}

/// Runs to the end, whatever it is. A program that is still there at the deadline is killed and fails.
pub fn finish(command: &mut Command, deadline: Duration) -> anyhow::Result<Finished> {
    let began = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pid = child.id();
    let (done, over) = std::sync::mpsc::sync_channel::<()>(0);
    let watchdog = std::thread::spawn(move || {
        let late = over.recv_timeout(deadline) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
        if late {
            kill(pid);
        }
        late
    });
    let output = child.wait_with_output()?;
    drop(done);
    let late = watchdog.join().unwrap_or(true);
    let text = said(&output);
    if late {
        bail!("it was still running after {deadline:?}:\n{text}");
    }
    Ok(Finished { code: output.status.code(), text, took: began.elapsed() })
}

/// Sends SIGKILL. A process that is gone is fine.
pub fn kill(pid: u32) {
    signal(pid, rustix::process::Signal::KILL);
}

/// Sends a signal. A process that is gone is fine.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Whether the process is there and no zombie.
pub fn is_alive(pid: u32) -> bool {
    let state = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    state.is_ok_and(|stat| {
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
    })
}

fn said(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}{err}")
}
