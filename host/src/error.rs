//! Why the program ends without having done what was asked. Each variant says what to do, and has an exit code.

use std::io;
use std::path::PathBuf;

use miette::Diagnostic;

use crate::admin::ClientError;
use crate::config::Problems;
use crate::exit::Exit;

/// Why the program ends early.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum HostError {
    /// The configuration is wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Config(#[from] Problems),
    /// What was named as an app is none.
    #[error("{} holds no app: there is no sc.toml", path.display())]
    #[diagnostic(help("{help}"))]
    NoApp {
        /// What was named.
        path: PathBuf,
        /// What to do.
        help: String,
    },
    /// A file cannot be read.
    #[error("the {what} {} cannot be read", path.display())]
    Unreadable {
        /// What the file is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The app names no component.
    #[error("no component is configured: there is nothing to run")]
    #[diagnostic(help("set `component` in the section [worker] of sc.toml, or pass --worker FILE.wasm"))]
    NoComponent,
    /// The component does not exist.
    #[error("the component {} does not exist", path.display())]
    #[diagnostic(help("{help}"))]
    MissingComponent {
        /// Where it should be.
        path: PathBuf,
        /// What to do.
        help: String,
    },
    /// The component is of no use.
    #[error("the component {name} cannot be used: {reason}")]
    BadComponent {
        /// Its file or name.
        name: String,
        /// Why, and what would be right.
        reason: String,
    },
    /// The address is taken.
    #[error("port {port} on {host} is in use by another program")]
    #[diagnostic(help("stop that program, or choose another port: {option} {}, or {option} 0 for any free one", port.wrapping_add(1)))]
    PortInUse {
        /// The configured host.
        host: String,
        /// The port.
        port: u16,
        /// What gives it.
        option: &'static str,
    },
    /// The address is not for us.
    #[error("port {port} on {host} may not be used by this user")]
    #[diagnostic(help(
        "ports below 1024 need rights: start sc-host as root with --user NAME, grant them with `setcap cap_net_bind_service=+ep` on sc-host, or use {option} 8000"
    ))]
    PortDenied {
        /// The configured host.
        host: String,
        /// The port.
        port: u16,
        /// What gives it.
        option: &'static str,
    },
    /// Only root can do that.
    #[error("this host was not started by root, and cannot go on as {user}: it runs {runs}")]
    #[diagnostic(help(
        "start it as root, or as that user, with that group alone where one is named, or without `app.user`"
    ))]
    NotRoot {
        /// Who it was to be.
        user: String,
        /// As whom, or with which groups, it runs.
        runs: String,
    },
    /// A process died, and none is to take its place.
    #[error("{child} died: {reason}")]
    #[diagnostic(help(
        "the host ends because `app.reboot_on_crash` is false; the log has the last lines of that process"
    ))]
    Crashed {
        /// Which process.
        child: String,
        /// Why.
        reason: String,
    },
    /// The address is none of this machine's.
    #[error("cannot listen on {host}, port {port}")]
    #[diagnostic(help(
        "--host takes an address of this machine: 0.0.0.0 for all, 127.0.0.1 for this machine only"
    ))]
    Bind {
        /// The configured host.
        host: String,
        /// The port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// The system refused something the host cannot do without.
    #[error("{what} failed")]
    Os {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The folder of the app's data is of no use.
    #[error("the data folder {} cannot be used: {reason}", path.display())]
    #[diagnostic(help("{help}"))]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: String,
        /// What to do.
        help: String,
    },
    /// The component, or a process of the host, refused to start.
    #[error("{who} refused to start: {reason}")]
    Refused {
        /// Who.
        who: String,
        /// Why.
        reason: String,
    },
    /// A process of the host failed again and again before the host was up.
    #[error("{child} failed {failures} times before the host was up: {reason}")]
    #[diagnostic(help("the log above has each failure with its last lines"))]
    Boot {
        /// Which process.
        child: String,
        /// How often.
        failures: u32,
        /// Why, the last time.
        reason: String,
    },
    /// Another host serves the app.
    #[error("{app} is served already by process {pid}")]
    #[diagnostic(help(
        "to replace its code: sc-host reload. A second host of the same app needs a runtime folder of its own: --runtime-dir; \
         the present one is {}", path.display()
    ))]
    Running {
        /// The app.
        app: String,
        /// Its process.
        pid: String,
        /// The runtime folder.
        path: PathBuf,
    },
    /// The runtime folder is of no use.
    #[error("the runtime folder {} cannot be used: {reason}", path.display())]
    #[diagnostic(help("{help}"))]
    RuntimeDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: String,
        /// What to do.
        help: String,
    },
    /// A running host did not do what it was asked.
    #[error(transparent)]
    #[diagnostic(help("{}", asked_help(.0)))]
    Asked(#[from] ClientError),
    /// Data on the command line that is no JSON.
    #[error("{text} is no JSON: {reason}")]
    #[diagnostic(help("a text needs its quotes: '\"text\"'"))]
    NotJson {
        /// What was given.
        text: String,
        /// Why.
        reason: String,
    },
    /// The build command failed, or there is none.
    #[error("{0}")]
    Build(String),
    /// A command failed that runs once before the first build.
    #[error("the command `{line}`, which sets the app up, {reason}")]
    #[diagnostic(help("{help}"))]
    Setup {
        /// The command.
        line: String,
        /// Why.
        reason: String,
        /// What to do.
        help: String,
    },
    /// No name for a new app.
    #[error("{} is no path of a new app: its last part is the app's name, which must be {rule}", path.display())]
    #[diagnostic(help("for example: sc-host create myapp"))]
    BadName {
        /// What was named.
        path: PathBuf,
        /// What names are like.
        rule: &'static str,
    },
    /// There is something where a new app is to be.
    #[error("{} exists and is not an empty folder{holds}: nothing was written", path.display())]
    #[diagnostic(help("{help}"))]
    NotEmpty {
        /// The folder of the new app.
        path: PathBuf,
        /// Something in it, in parentheses.
        holds: String,
        /// What to do.
        help: String,
    },
    /// A new app's folder cannot be written.
    #[error("{} cannot be made: {reason}", path.display())]
    #[diagnostic(help("it needs a folder to lie in, in which this user may write"))]
    NewApp {
        /// The folder of the new app.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The SDK that apps are built with cannot be laid out.
    #[error("the SDK cannot be laid out in {}: {reason}", path.display())]
    #[diagnostic(help(
        "it goes to the user's cache, and the app gets a link to it. XDG_CACHE_HOME names another folder for caches"
    ))]
    Sdk {
        /// Where it cannot be.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A signal asked to end at once.
    #[error("interrupted")]
    Interrupted,
}

fn asked_help(error: &ClientError) -> &'static str {
    match error {
        ClientError::NoHost { .. } => {
            "start it with `sc-host run`, or name the app that it serves with --app, who it went on as with --user, or its folder with --runtime-dir"
        }
        ClientError::Unanswered(_) => "its log may say why",
        ClientError::Refused(_) => "nothing was changed",
        ClientError::Partial(_) => "some of it may be done: its log may say more, and so may sc-host status",
    }
}

impl HostError {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            HostError::Config(problems) if problems.are_of_flags() => Exit::Usage,
            HostError::Config(_) | HostError::NoComponent => Exit::BadConfig,
            HostError::NoApp { .. } | HostError::Unreadable { .. } | HostError::MissingComponent { .. } => {
                Exit::NoInput
            }
            HostError::BadComponent { .. } | HostError::Refused { .. } => Exit::BadComponent,
            HostError::PortInUse { .. }
            | HostError::Running { .. }
            | HostError::Asked(ClientError::NoHost { .. } | ClientError::Unanswered(_)) => Exit::Unavailable,
            HostError::Asked(ClientError::Refused(_) | ClientError::Partial(_)) => Exit::Failed,
            HostError::NotJson { .. } | HostError::BadName { .. } => Exit::Usage,
            HostError::RuntimeDir { .. } | HostError::Sdk { .. } => Exit::Os,
            HostError::DataDir { .. } | HostError::NotEmpty { .. } | HostError::NewApp { .. } => {
                Exit::CannotCreate
            }
            HostError::PortDenied { .. } | HostError::NotRoot { .. } => Exit::Denied,
            HostError::Bind { .. } | HostError::Os { .. } => Exit::Os,
            HostError::Boot { .. } | HostError::Crashed { .. } => Exit::Internal,
            HostError::Build(_) | HostError::Setup { .. } => Exit::Failed,
            HostError::Interrupted => Exit::Interrupted,
        }
    }

    /// A system call that must not fail, with what it was for.
    pub(crate) fn os(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| HostError::Os { what, source }
    }

    /// The error with its causes and its help on one line, for records.
    pub(crate) fn flat(&self) -> String {
        if let HostError::Config(problems) = self {
            return problems.flat();
        }
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        match self.help() {
            Some(help) => format!("{text}; {help}"),
            None => text,
        }
    }
}
