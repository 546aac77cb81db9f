//! The scripts in `tests/clients`, run by node with the packages that their lock file names.
//!
//! A script and its test talk by lines: a line `@words` on the script's output asks the test to do something, which
//! one line to its input answers. Everything else it says is shown when it fails.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::host::Host;
use crate::lock::FileLock;
use crate::{paths, run, wait};

/// The folder of the scripts.
pub fn folder() -> PathBuf {
    paths::root().join("tests/clients")
}

/// A program that a package of the folder brought.
pub fn tool(folder: &Path, name: &str) -> PathBuf {
    folder.join("node_modules/.bin").join(name)
}

/// Installs the packages of the scripts. Blocks.
pub fn install() -> anyhow::Result<()> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| install_in(&folder()).map_err(|error| format!("{error:#}")));
    installed.clone().map_err(anyhow::Error::msg)
}

/// Installs the packages of a folder, unless what is installed is newer than the lock file. Blocks.
pub fn install_in(folder: &Path) -> anyhow::Result<()> {
    let _turn = FileLock::take("npm")?;
    let modified = |file: &str| folder.join(file).metadata().and_then(|data| data.modified());
    let locked =
        modified("package-lock.json").with_context(|| format!("{}/package-lock.json", folder.display()))?;
    if modified("node_modules/.package-lock.json").is_ok_and(|installed| installed >= locked) {
        return Ok(());
    }
    run::succeed(run::command("npm").arg("ci").current_dir(folder), "npm ci").map(drop)
}

/// A running script.
#[derive(Debug)]
pub struct Script {
    name: String,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    said: String,
}

impl Script {
    /// Starts a script of `tests/clients`; it finds the host's port in `SC_PORT`.
    pub fn start(host: &Host, script: &str, args: &[&str]) -> anyhow::Result<Self> {
        Script::start_with(host, script, args, &[])
    }

    /// The same with more environment variables.
    pub fn start_with(
        host: &Host,
        script: &str,
        args: &[&str],
        variables: &[(&str, &Path)],
    ) -> anyhow::Result<Self> {
        install()?;
        let mut command = Command::from(run::command("node"));
        command.arg(script).args(args).current_dir(folder()).env("SC_PORT", host.port().to_string());
        command.envs(variables.iter().copied());
        Script::spawn(script, command)
    }

    fn spawn(name: &str, mut command: Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("node could not be started")?;
        let input = child.stdin.take().context("stdin")?;
        let output = BufReader::new(child.stdout.take().context("stdout")?);
        Ok(Script { name: name.to_owned(), child, input, output, said: String::new() })
    }

    /// The next thing the script asks for; none when it has ended well.
    pub async fn request(&mut self, deadline: Duration) -> anyhow::Result<Option<String>> {
        let what = format!("a word of {}", self.name);
        loop {
            let mut line = String::new();
            let read = wait::within(deadline, &what, self.output.read_line(&mut line)).await;
            let read = read.with_context(|| format!("it said:\n{}", self.said))??;
            if read == 0 {
                return self.ended().await.map(|()| None);
            }
            match line.trim_end().strip_prefix('@') {
                Some(request) => return Ok(Some(request.to_owned())),
                None => self.said.push_str(&line),
            }
        }
    }

    /// Answers a request.
    pub async fn answer(&mut self, line: &str) -> anyhow::Result<()> {
        Ok(self.input.write_all(format!("{line}\n").as_bytes()).await?)
    }

    /// All it said so far, requests apart.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// Expects it to end well and to ask for nothing.
    pub async fn finish(mut self, deadline: Duration) -> anyhow::Result<String> {
        match self.request(deadline).await? {
            None => Ok(self.said),
            Some(request) => bail!("{} asked for `{request}`, which this test has not", self.name),
        }
    }

    async fn ended(&mut self) -> anyhow::Result<()> {
        let mut errors = Vec::new();
        if let Some(mut stream) = self.child.stderr.take() {
            wait::within(wait::SOON, "node's last words", stream.read_to_end(&mut errors)).await??;
        }
        let status = wait::within(wait::SOON, "node to exit", self.child.wait()).await??;
        let errors = String::from_utf8_lossy(&errors);
        ensure!(status.success(), "{} failed with {status}:\n{}{errors}", self.name, self.said);
        Ok(())
    }
}

/// Runs a script that asks for nothing.
pub async fn script(host: &Host, script: &str, args: &[&str], deadline: Duration) -> anyhow::Result<String> {
    Script::start(host, script, args)?.finish(deadline).await
}
