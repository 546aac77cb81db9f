//! One child process from its start to its end: its control link, its output, its exit status. Everything it says
//! reaches the supervisor in order, its end last.
//!
//! Nothing here waits for a child that does not: a message that it does not take within [`SEND_DEADLINE`], or more of
//! them than its queue holds, makes it stuck, and the supervisor kills it.

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::Duration;

use sc_core::causes::causes;
use sc_core::link::LinkError;
use sc_core::link::control::{FromChild, MasterLink, ToChild};
use tokio::process;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::logs::{LastWords, Tail, Writer, follow};
use super::name::ChildName;
use super::spawn;
use crate::telemetry::Logs;

/// How long a child may leave a message unread.
const SEND_DEADLINE: Duration = Duration::from_secs(10);
/// How long after a child's end its last messages and lines may take to arrive.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a child, or its end, says to the supervisor.
#[derive(Debug)]
pub(crate) struct Report {
    /// Who.
    pub(crate) name: ChildName,
    /// Which process of that name.
    pub(crate) life: u64,
    /// What.
    pub(crate) note: Note,
}

/// See [`Report`].
#[derive(Debug)]
pub(crate) enum Note {
    /// A message.
    Said(FromChild),
    /// It does not read its messages.
    Stuck,
    /// It sent something that is no message.
    Garbled(String),
    /// It ended.
    Exited(Exited),
}

/// How a child ended.
#[derive(Debug)]
pub(crate) struct Exited {
    /// Its status, or why it is unknown.
    pub(crate) status: Result<ExitStatus, std::io::Error>,
    /// What it wrote last.
    pub(crate) last_words: LastWords,
}

/// The exit code of a program that panicked.
const PANICKED: i32 = 101;

impl Exited {
    /// Why it ended, when nobody here made it end.
    pub(crate) fn reason(&self) -> String {
        let panic = self.last_words.panic.as_deref();
        match (self.signal(), self.exit_code(), panic) {
            (Some(signal), ..) => format!("{signal} ended it"),
            (None, Some(PANICKED), Some(panic)) => format!("it panicked: {panic}"),
            (None, Some(0), _) => "it ended without being asked to".to_owned(),
            _ => "it failed".to_owned(),
        }
    }

    /// The signal that ended it, such as `SIGSEGV`.
    pub(crate) fn signal(&self) -> Option<String> {
        let status = self.status.as_ref().ok()?;
        let number = status.signal()?;
        // The standard library knows the names, and says them in no other way: `signal: 9 (SIGKILL)`.
        let shown = status.to_string();
        let name = shown.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(name, _)| name);
        Some(
            name.filter(|name| name.starts_with("SIG"))
                .map_or_else(|| format!("signal {number}"), str::to_owned),
        )
    }

    /// The code that it ended with.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        self.status.as_ref().ok()?.code()
    }

    /// The status for people: `exit status: 1`, `signal: 9 (SIGKILL)`.
    pub(crate) fn status_text(&self) -> String {
        match &self.status {
            Ok(status) => status.to_string(),
            Err(error) => format!("unknown: {error}"),
        }
    }
}

type Message = (ToChild, Vec<OwnedFd>);

/// A running child. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Child {
    /// Its process.
    pub(crate) pid: u32,
    /// Tells the processes of one name apart.
    pub(crate) life: u64,
    queue: mpsc::Sender<Message>,
    end: Rc<Notify>,
}

impl Child {
    /// Starts the process. `backlog` is how many messages may wait for it.
    pub(crate) fn start(
        name: ChildName,
        life: u64,
        backlog: usize,
        log_level: &str,
        reports: mpsc::Sender<Report>,
        logs: Logs,
    ) -> std::io::Result<Self> {
        let (process, link) = spawn::role(name, log_level)?;
        let link = MasterLink::new(link)?;
        let pid = process.id().unwrap_or(0);
        let (queue, messages) = mpsc::channel(backlog);
        let end = Rc::new(Notify::new());
        let owner = Owner { name, life, pid, reports, logs };
        tokio::task::spawn_local(owner.run(process, link, messages, Rc::clone(&end)));
        Ok(Child { pid, life, queue, end })
    }

    /// A child without a process, and what is said to it.
    #[cfg(test)]
    pub(crate) fn fake() -> (Self, mpsc::Receiver<Message>) {
        let (queue, messages) = mpsc::channel(64);
        (Child { pid: 0, life: 0, queue, end: Rc::default() }, messages)
    }

    /// Queues a message. False: the child is stuck or gone.
    pub(crate) fn send(&self, message: ToChild, descriptors: Vec<OwnedFd>) -> bool {
        match self.queue.try_send((message, descriptors)) {
            Ok(()) => true,
            // Its end is reported by its owner.
            Err(mpsc::error::TrySendError::Closed(_)) => true,
            Err(mpsc::error::TrySendError::Full(_)) => false,
        }
    }

    /// SIGKILL. Its end is reported like any other.
    pub(crate) fn kill(&self) {
        self.end.notify_one();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Owns everything of one process.
struct Owner {
    name: ChildName,
    life: u64,
    pid: u32,
    reports: mpsc::Sender<Report>,
    logs: Logs,
}

impl Owner {
    async fn run(
        self,
        mut process: process::Child,
        link: MasterLink,
        messages: mpsc::Receiver<Message>,
        end: Rc<Notify>,
    ) {
        let owner = Rc::new(self);
        let link = Rc::new(link);
        let tail = Tail::default();
        let mut words = JoinSet::new();
        words.spawn_local(Rc::clone(&owner).receive(Rc::clone(&link)));
        if let Some(pipe) = process.stdout.take() {
            words.spawn_local(follow(pipe, owner.writer("info"), owner.logs.clone(), Rc::clone(&tail)));
        }
        if let Some(pipe) = process.stderr.take() {
            words.spawn_local(follow(pipe, owner.writer("warn"), owner.logs.clone(), Rc::clone(&tail)));
        }
        let mut sending = JoinSet::new();
        sending.spawn_local(Rc::clone(&owner).send(link, messages));
        let status = tokio::select! {
            status = process.wait() => status,
            () = end.notified() => match process.start_kill() {
                Ok(()) => process.wait().await,
                Err(error) => Err(error),
            },
        };
        drop(sending);
        // A grandchild may hold the pipes open for ever.
        let _ = timeout(LAST_WORDS, async { while words.join_next().await.is_some() {} }).await;
        let last_words = tail.take();
        owner.report(Note::Exited(Exited { status, last_words })).await;
    }

    fn writer(&self, level: &'static str) -> Writer {
        Writer { name: self.name, pid: self.pid, level }
    }

    async fn report(&self, note: Note) {
        // Without a supervisor nobody is left to be told.
        let _ = self.reports.send(Report { name: self.name, life: self.life, note }).await;
    }

    async fn receive(self: Rc<Self>, link: Rc<MasterLink>) {
        loop {
            match link.recv().await {
                Ok(Some((message, _))) => self.report(Note::Said(message)).await,
                Ok(None) => return,
                Err(error) => return self.report(Note::Garbled(causes(&error))).await,
            }
        }
    }

    async fn send(self: Rc<Self>, link: Rc<MasterLink>, mut messages: mpsc::Receiver<Message>) {
        while let Some((message, descriptors)) = messages.recv().await {
            let descriptors: Vec<_> = descriptors.iter().map(OwnedFd::as_fd).collect();
            match timeout(SEND_DEADLINE, link.send(&message, &descriptors)).await {
                Ok(Ok(())) => {}
                // Its end is noticed by the wait for it.
                Ok(Err(LinkError::Closed)) => return,
                Ok(Err(error)) => return self.report(Note::Garbled(causes(&error))).await,
                Err(_) => return self.report(Note::Stuck).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(raw: i32, panic: Option<&str>) -> Exited {
        let last_words = LastWords { panic: panic.map(str::to_owned), ..LastWords::default() };
        Exited { status: Ok(ExitStatus::from_raw(raw)), last_words }
    }

    #[test]
    fn a_death_has_a_reason_by_name() {
        for (raw, panic, reason, signal) in [
            (9, None, "SIGKILL ended it", Some("SIGKILL")),
            (6 | 0x80, Some("boom"), "SIGABRT ended it", Some("SIGABRT")),
            (40, None, "signal 40 ended it", Some("signal 40")),
            (101 << 8, Some("boom, at a.rs:1:2"), "it panicked: boom, at a.rs:1:2", None),
            (70 << 8, Some("boom, at a.rs:1:2"), "it failed", None),
            (0, None, "it ended without being asked to", None),
        ] {
            let exited = exited(raw, panic);
            assert_eq!(exited.reason(), reason);
            assert_eq!(exited.signal().as_deref(), signal);
        }
    }
}
