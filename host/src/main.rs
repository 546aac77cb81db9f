//! sc-host: a realtime server whose user code is WebAssembly.
//!
//! One binary for all processes: what users start is the master, which starts the others by running itself again in
//! a role. Everything that can be wrong with what the user said is found before a port opens.

mod admin;
mod carried;
mod certificates;
mod cli;
mod commands;
mod component;
mod config;
mod error;
mod exit;
mod master;
mod reloader;
mod report;
mod roles;
mod sdk;
mod telemetry;
mod user;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser as _;
use clap::error::ErrorKind;

use cli::{Cli, Command};
use commands::operate;
use error::HostError;
use exit::Exit;

fn main() -> ExitCode {
    let began = Instant::now();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let _ = error.print();
            return if asked { Exit::Done } else { Exit::Usage }.into();
        }
    };
    let ended = match cli.command {
        Command::Create(args) => commands::create::run(&args),
        Command::Run { args, watch } => commands::run::run(&args, watch, began),
        Command::Dev { args, https } => commands::dev::run(&args, https, began),
        Command::Build(args) => commands::build::run(&args),
        Command::Check { what } => commands::check::run(&what),
        Command::Reload(args) => operate::reload(&args),
        Command::Status(args) => operate::status(&args),
        Command::Publish { channel, data, target } => operate::publish(&target, &channel, data.as_deref()),
        Command::EmitSession { session, event, data, target } => {
            operate::emit(&target, &session, &event, data.as_deref())
        }
        Command::Disconnect { whom, code, reason, target } => {
            operate::disconnect(&target, whom, code, reason)
        }
        Command::Kick { channel, whom, message, target } => operate::kick(&target, whom, channel, message),
        Command::Role { name, log_level } => return roles::run(&name, &log_level).into(),
        Command::Compile { cache } => return component::compile_child(&cache).into(),
    };
    match ended {
        Ok(()) => Exit::Done.into(),
        Err(error) => complain(error).into(),
    }
}

/// The only place that prints an error of the program's end.
fn complain(error: HostError) -> Exit {
    use std::io::Write as _;
    let exit = error.exit();
    if exit != Exit::Interrupted {
        let handler = |_: &dyn miette::Diagnostic| {
            Box::new(miette::MietteHandlerOpts::new().wrap_lines(false).build())
                as Box<dyn miette::ReportHandler>
        };
        // Set once, before the only report.
        let _ = miette::set_hook(Box::new(move |diagnostic| handler(diagnostic)));
        let _ = writeln!(std::io::stderr(), "{:?}", miette::Report::new(error));
    }
    exit
}
