//! `sc-host create`: a new app, which `sc-host dev` runs as it is. All that goes into it is carried by the binary; the
//! network is first needed by the build.

mod folder;
mod template;

use std::path::Path;

use super::say;
use crate::cli::CreateArgs;
use crate::config::{NAME_RULE, is_name};
use crate::error::HostError;
use crate::sdk;

/// The name of the link to the SDK in an app, as the templates have it.
const LINK: &str = ".sc";

/// Runs it.
pub(crate) fn run(args: &CreateArgs) -> Result<(), HostError> {
    let app = &args.app;
    let name = name(app)?;
    let files = template::files(&name, args.lang, args.client);
    let sdk = folder::create(app, &files, |made| sdk::lay(&made.join(LINK)))?;
    say(&next(app, sdk.as_deref()));
    Ok(())
}

/// The app's name: the last part of its path.
fn name(app: &Path) -> Result<String, HostError> {
    let whole = std::path::absolute(app).unwrap_or_else(|_| app.to_owned());
    let last = whole.file_name().and_then(|name| name.to_str());
    match last.filter(|name| is_name(name)) {
        Some(name) => Ok(name.to_owned()),
        None => Err(HostError::BadName { path: app.to_owned(), rule: NAME_RULE }),
    }
}

/// What to do with it.
fn next(app: &Path, sdk: Option<&Path>) -> String {
    let sdk = sdk.map(|folder| format!("The SDK is in {}.\n", folder.display())).unwrap_or_default();
    format!(
        "{app} is a new app. {sdk}\n    sc-host dev {app}    # then open http://localhost:8000/\n\n\
         The first build fetches crates from cargo's registry, which needs the network and takes a minute or two.\n\
         {readme} says what is where, and how to test it.",
        app = app.display(),
        readme = app.join("README.md").display(),
    )
}
