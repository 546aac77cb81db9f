//! Another server, as a child process that ends with its value.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sc_tests::usage;

pub(crate) struct Peer {
    child: Child,
    pub(crate) port: u16,
}

impl Peer {
    /// Starts a program that listens on the port it is given.
    pub(crate) fn start(program: &str, arguments: impl FnOnce(u16) -> Vec<String>) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new(program)
            .args(arguments(port))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{program} is needed: install it from Debian's packages"))?;
        let peer = Peer { child, port };
        let end = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > end {
                bail!("{program} does not listen");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(peer)
    }

    /// CPU time of the process and its children.
    pub(crate) fn cpu(&self) -> Duration {
        let pid = self.child.id();
        usage::cpu(pid) + usage::children(pid).into_iter().map(usage::cpu).sum::<Duration>()
    }

    /// Memory of the process.
    pub(crate) fn resident(&self) -> u64 {
        usage::resident(self.child.id())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Its children end with a server that is asked to end.
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        std::thread::sleep(Duration::from_millis(200));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
