//! Exit codes, after sysexits.h: scripts and service supervisors tell by them whether a restart can help.

use std::process::ExitCode;

/// How the program ends. The list is part of `sc-host --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Finished; also after a drain.
    Done = 0,
    /// A build command failed, or a running host refused what was asked of it.
    Failed = 1,
    /// The command line is wrong.
    Usage = 64,
    /// The component is not what is needed, or refused to start.
    BadComponent = 65,
    /// A file that was named does not exist or cannot be read.
    NoInput = 66,
    /// The address is in use, the app is served already, or no host answers.
    Unavailable = 69,
    /// Processes of the host fail again and again, or one did that is not to be started again.
    Internal = 70,
    /// The operating system refused something.
    Os = 71,
    /// A folder that is to be written cannot be: the one of the data, or of a new app.
    CannotCreate = 73,
    /// What was asked for needs rights that the host does not have.
    Denied = 77,
    /// The configuration is wrong.
    BadConfig = 78,
    /// A second signal ended the host before its drain was over.
    Interrupted = 130,
}

/// For `--help`.
pub(crate) const TABLE: &str = "\
Exit codes:
  0 done   1 build failed, or refused   64 command line   65 component   66 missing file
  69 port or app in use, or no host runs   70 a process kept failing at the start   71 operating system
  73 data folder, or a new app's folder   77 not permitted   78 configuration   130 interrupted

Most options can also be given as an environment variable: SC_PORT for --port and app.port,
SC_WORKER for --worker, SC_PROTOCOL_PING_INTERVAL for protocol.ping_interval. Flags beat variables, variables beat sc.toml.";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}
