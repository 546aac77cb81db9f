//! The command line. Flags only carry text to the configuration's layers, where flag, variable and file are checked
//! by the same rules.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

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
    /// Serve an app, or a component by itself, until a signal ends it.
    #[command(after_help = exit::TABLE)]
    Run(RunArgs),
    /// Run the build command of sc.toml and report the component's size, imports and exports.
    Build(AppArgs),
    /// Check a component or an app without running it.
    Check {
        /// A component (.wasm), or a folder with sc.toml.
        #[arg(value_name = "F.wasm|APP", default_value = ".")]
        what: PathBuf,
    },
    /// Build and serve an app, watch its sources, rebuild and swap the code without closing a socket.
    Dev(RunArgs),
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

/// Which app.
#[derive(Debug, Args)]
pub(crate) struct AppArgs {
    /// A folder with sc.toml; the current one by default.
    pub(crate) app: Option<PathBuf>,
}

/// Which app, and options that beat its file.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// A folder with sc.toml; the current one by default. Not needed with --worker.
    pub(crate) app: Option<PathBuf>,
    /// The worker controller, a component.
    #[arg(long, value_name = "F.wasm")]
    worker: Option<String>,
    /// A middleware, a component that decides about actions; several decide in their order.
    #[arg(long, value_name = "F.wasm")]
    middleware: Vec<String>,
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
    /// Where data outlives the host, or none (default: .sc-data in the app's folder; with --worker none).
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// File with the key that signs tokens (default: a random key, kept in the data folder).
    #[arg(long, value_name = "F")]
    auth_key_file: Option<String>,
    /// Origins that browsers may connect from, as host:port; * for any. Commas between several (default: *:*).
    #[arg(long, value_name = "LIST")]
    origins: Option<String>,
    /// How to print the log: human or json (default: human).
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// What to log: error, warn, info, debug or trace (default: info).
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How long the end may take, such as 30s (default: 30s).
    #[arg(long, value_name = "TIME")]
    drain_timeout: Option<String>,
}

impl RunArgs {
    /// The flags that were given, each with its key.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        let rows: [(&'static str, &'static str, &Option<String>); 13] = [
            ("worker.component", "--worker", &self.worker),
            ("app.host", "--host", &self.host),
            ("app.port", "--port", &self.port),
            ("app.workers", "--workers", &self.workers),
            ("app.balancers", "--balancers", &self.balancers),
            ("app.stores", "--stores", &self.stores),
            ("app.public", "--public", &self.public),
            ("app.data_dir", "--data-dir", &self.data_dir),
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
    fn flags_carry_their_keys() {
        let cli = Cli::try_parse_from(["sc-host", "run", "app", "--port", "0", "--auth-key-file", "k"])
            .expect("valid");
        let Command::Run(args) = cli.command else { panic!("run was given") };
        let flags = args.flags();
        assert_eq!(
            flags,
            [("app.port", "--port", "0".to_owned()), ("auth.key_file", "--auth-key-file", "k".to_owned())]
        );
    }
}
