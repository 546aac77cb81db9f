//! `sc-host build`: runs the app's build command and reports what came out.

use super::ends::Ends;
use super::setup::{first_build, setup};
use super::{block_on, say};
use crate::cli::AppArgs;
use crate::component;
use crate::config::{Mode, ProcessEnvironment, Settings};
use crate::error::HostError;
use crate::master::spawn;
use crate::{report, sdk};

/// Runs it.
pub(crate) fn run(args: &AppArgs) -> Result<(), HostError> {
    let settings =
        Settings::load(args.app.as_deref(), Vec::new(), &ProcessEnvironment::default(), Mode::WithoutFiles)?;
    let work = async {
        if settings.build.is_none() {
            return Err(HostError::Build(
                "the app has no build command: set `build` in the section [worker] of sc.toml".to_owned(),
            ));
        }
        setup(&settings, |line| say(&format!("Setting the app up: {line}"))).await?;
        if let Some(link) = &settings.sdk
            && let Some(folder) = sdk::lay(link)?
        {
            say(&format!("The SDK is laid out in {}, and {} leads to it.", folder.display(), link.display()));
        }
        if let Some(note) = first_build(&settings) {
            say(note);
        }
        build(&settings).await?;
        say(&report::component(component::made(&settings)?)?);
        Ok(())
    };
    block_on(async { Ends::new()?.or(work).await })
}

/// Runs the build command, if there is one. It shows its own output.
pub(super) async fn build(settings: &Settings) -> Result<(), HostError> {
    let Some(line) = &settings.build else { return Ok(()) };
    let command =
        spawn::shell(line, &settings.app.folder).map_err(HostError::os("starting the build command"))?;
    let status = command.wait().await.map_err(HostError::os("waiting for the build command"))?;
    match status.success() {
        true => Ok(()),
        false => Err(HostError::Build(format!("the build command `{line}` failed ({status})"))),
    }
}
