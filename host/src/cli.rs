//! The command line. Flags only carry text to the configuration's layers, where flag, variable and file are checked
//! by the same rules.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Flag;
use crate::exit;

/// A realtime server whose user code is WebAssembly.
#[derive(Debug, Parser)]
#[command(name = "sc-host", version, after_help = exit::TABLE, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a new app: a folder that `dev` runs as it is. Needs no network.
    Create(CreateArgs),
    /// Serve an app, or a component by itself, until a signal ends it.
    #[command(after_help = exit::TABLE)]
    Run {
        #[command(flatten)]
        args: RunArgs,
        /// Reload a component when its file changes.
        #[arg(long)]
        watch: bool,
    },
    /// Run the build command of sc.toml and report the component's size, imports and exports.
    Build(AppArgs),
    /// Check a component or an app without running it.
    Check {
        /// A component (.wasm), or a folder with sc.toml.
        #[arg(value_name = "F.wasm|APP", default_value = ".")]
        what: PathBuf,
    },
    /// Build and serve an app, watch its sources, rebuild and swap the code without closing a socket.
    Dev {
        #[command(flatten)]
        args: RunArgs,
        /// Serve HTTPS with a certificate of this machine's own.
        #[arg(long)]
        https: bool,
    },
    /// Replace the components of a running host that changed, without closing a socket.
    Reload(ReloadArgs),
    /// Show what a running host runs.
    Status(StatusArgs),
    /// Publish on a channel of a running host.
    Publish {
        /// The channel.
        channel: String,
        /// The data as JSON; none for no data.
        #[arg(value_name = "JSON")]
        data: Option<String>,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Send an event to all sockets of a session.
    EmitSession {
        /// The session's id.
        session: String,
        /// The event's name.
        event: String,
        /// The data as JSON; none for no data.
        #[arg(value_name = "JSON")]
        data: Option<String>,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Close sockets.
    Disconnect {
        #[command(flatten)]
        whom: WhomArgs,
        /// The close code: 1000, or 3000 to 4999.
        #[arg(long, default_value_t = 1000)]
        code: u16,
        /// Why, at most 123 bytes.
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// End subscriptions to a channel.
    Kick {
        /// The channel.
        channel: String,
        #[command(flatten)]
        whom: WhomArgs,
        /// Why, for the client.
        #[arg(long, default_value = "")]
        message: String,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// A process of the host; only the master starts these.
    #[command(hide = true)]
    Role {
        /// Its name, for people who look at the list of processes.
        name: String,
        /// What it logs, known before the link to the master speaks.
        #[arg(long, default_value = "info")]
        log_level: String,
    },
    /// Compiles a component into the cache; only the master starts this.
    #[command(hide = true)]
    Compile {
        /// The cache's folder. The component itself comes on the standard input.
        cache: PathBuf,
    },
}

/// What to make.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The folder to make. Its last part names the app; a folder that is there must be empty.
    pub(crate) app: PathBuf,
    /// What the controller is written in.
    #[arg(long, value_enum, default_value_t = Lang::Rust)]
    pub(crate) lang: Lang,
    /// What the page connects with.
    #[arg(long, value_enum, default_value_t = Client::Own)]
    pub(crate) client: Client,
}

/// A language that there is an SDK for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lang {
    /// Rust, with cargo.
    Rust,
}

/// A client for pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Client {
    /// The one that the host itself serves.
    Own,
    /// Version 20 of socketcluster-client, from npm.
    Socketcluster,
    /// Version 0.9 of socketcluster-client, from npm.
    Classic,
}

/// Which app.
#[derive(Debug, Args)]
pub(crate) struct AppArgs {
    /// A folder with sc.toml; the current one by default.
    pub(crate) app: Option<PathBuf>,
}

/// Which running host.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// The app that it serves; the current folder by default.
    #[arg(long, value_name = "DIR")]
    pub(crate) app: Option<PathBuf>,
    /// Its runtime folder, if it was started with another one than an app's own.
    #[arg(long, value_name = "DIR", env = "SC_RUNTIME_DIR")]
    pub(crate) runtime_dir: Option<PathBuf>,
    /// Who it went on as, if it was started with a `--user` that sc.toml does not name.
    #[arg(long, value_name = "NAME[:GROUP]")]
    pub(crate) user: Option<String>,
}

/// Whose sockets.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct WhomArgs {
    /// All sockets of the session with this id.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub(crate) session: Option<String>,
    /// The socket with this id, as clients see it. One in 64 begins with a hyphen.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub(crate) socket: Option<String>,
}

/// What to reload.
#[derive(Debug, Args)]
pub(crate) struct ReloadArgs {
    /// Components by name, as `status` shows them; all by default.
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Load the component from this file instead of the configured one.
    #[arg(long, value_name = "F.wasm")]
    pub(crate) component: Option<PathBuf>,
    /// Let a component import more than the running one does.
    #[arg(long)]
    pub(crate) allow_new_imports: bool,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// How to show what runs.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// For programs.
    #[arg(long)]
    pub(crate) json: bool,
    /// Again each second, until interrupted.
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// Which app, and options that beat its file.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// A folder with sc.toml; the current one by default. With --worker and without this, no sc.toml is read.
    pub(crate) app: Option<PathBuf>,
    /// The worker controller, a component.
    #[arg(long, value_name = "F.wasm")]
    worker: Option<String>,
    /// A middleware, a component that decides about actions; several decide in their order.
    #[arg(long, value_name = "F.wasm")]
    middleware: Vec<String>,
    /// Who to go on as once the port is bound, when root starts the host; not in dev (default: who starts it).
    #[arg(long, value_name = "NAME[:GROUP]")]
    user: Option<String>,
    /// Address to listen on: an IP address or a name of this machine (default: run: 0.0.0.0, dev: 127.0.0.1).
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on; 0 for any free one (default: 8000).
    #[arg(long)]
    port: Option<String>,
    /// Worker processes (default: run: one for each core, dev: 1).
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// Balancer processes (default: 1).
    #[arg(long, value_name = "N")]
    balancers: Option<String>,
    /// Store processes (default: 1).
    #[arg(long, value_name = "N")]
    stores: Option<String>,
    /// A folder to serve over HTTP.
    #[arg(long, value_name = "DIR")]
    public: Option<String>,
    /// Where data outlives the host, or none (default: .sc-data in the app's folder; with --worker and no APP none).
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Where the admin socket lies (default: a folder for the app in $XDG_RUNTIME_DIR/sc-host).
    #[arg(long, value_name = "DIR")]
    runtime_dir: Option<String>,
    /// File with the key that signs tokens (default: a random key, kept in the data folder).
    #[arg(long, value_name = "F")]
    auth_key_file: Option<String>,
    /// Origins that browsers may connect from, as host:port; * for any. Commas between several (default: *:*).
    #[arg(long, value_name = "LIST")]
    origins: Option<String>,
    /// How to print the log: human or json (default: human).
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// What to log: off, error, warn, notice, info, debug or trace, or per part: info,notice=off (default: info).
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How long the end may take, such as 30s (default: 30s).
    #[arg(long, value_name = "TIME")]
    drain_timeout: Option<String>,
}

impl RunArgs {
    /// The flags that were given, each with its key.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        let rows: [(&'static str, &'static str, &Option<String>); 15] = [
            ("worker.component", "--worker", &self.worker),
            ("app.user", "--user", &self.user),
            ("app.host", "--host", &self.host),
            ("app.port", "--port", &self.port),
            ("app.workers", "--workers", &self.workers),
            ("app.balancers", "--balancers", &self.balancers),
            ("app.stores", "--stores", &self.stores),
            ("app.public", "--public", &self.public),
            ("app.data_dir", "--data-dir", &self.data_dir),
            ("app.runtime_dir", "--runtime-dir", &self.runtime_dir),
            ("auth.key_file", "--auth-key-file", &self.auth_key_file),
            ("protocol.origins", "--origins", &self.origins),
            ("log.format", "--log-format", &self.log_format),
            ("log.level", "--log-level", &self.log_level),
            ("drain.timeout", "--drain-timeout", &self.drain_timeout),
        ];
        let given = rows.into_iter().filter_map(|(key, flag, text)| Some((key, flag, text.clone()?)));
        let middleware = self.middleware.iter();
        let middleware = middleware.map(|file| ("middleware.component", "--middleware", file.clone()));
        given.chain(middleware).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn ids_may_begin_with_a_hyphen() {
        for flag in ["--socket", "--session"] {
            let words = ["sc-host", "kick", "news", flag, "-oofza2ZWtb5uY0lcAAB", "--message", "go"];
            Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{flag}: {error}"));
        }
    }

    #[test]
    fn flags_carry_their_keys() {
        let cli = Cli::try_parse_from(["sc-host", "run", "app", "--port", "0", "--auth-key-file", "k"])
            .expect("valid");
        let Command::Run { args, .. } = cli.command else { panic!("run was given") };
        let flags = args.flags();
        assert_eq!(
            flags,
            [("app.port", "--port", "0".to_owned()), ("auth.key_file", "--auth-key-file", "k".to_owned())]
        );
    }
}
