//! `sc-host create`: what it makes runs, with each client and with its own tests; and what it does not make.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use sc_tests::require::{find, require};
use sc_tests::run::{self, Finished};
use sc_tests::{HostBuilder, guests, node, paths};

use crate::binary;

/// A build of the SDK, on a machine that builds other things as well.
const BUILD: Duration = Duration::from_secs(400);
const SOON: Duration = Duration::from_secs(60);

/// A place for new apps, and a cache of its own.
struct Place {
    folder: tempfile::TempDir,
    cache: PathBuf,
}

impl Place {
    /// Nothing is in the cache. It lies outside of the repository, whose settings for rustfmt are not an app's.
    fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let cache = folder.path().join("cache");
        Ok(Place { folder, cache })
    }

    /// The cache is the one of the tests' hosts, in which components are compiled already.
    fn with_shared_cache() -> anyhow::Result<Self> {
        Ok(Place { cache: paths::target_folder("test-cache")?, ..Self::new()? })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = run::command(program);
        command.current_dir(self.folder.path()).env("XDG_CACHE_HOME", &self.cache).env("NO_COLOR", "1");
        command
    }

    fn sc_host(&self, arguments: &[&str]) -> anyhow::Result<Finished> {
        run::finish(self.command(binary()).args(arguments), SOON)
    }

    /// A new app. What it builds goes where all guests are built, so that crates are built once.
    fn app(&self, name: &str, arguments: &[&str]) -> anyhow::Result<PathBuf> {
        let made = self.sc_host(&[&["create", name], arguments].concat())?;
        ensure!(made.code == Some(0), "{}", made.text);
        ensure!(made.text.contains(&format!("sc-host dev {name}")), "{}", made.text);
        ensure!(made.text.contains("cargo's registry"), "{}", made.text);
        let app = self.path(name);
        std::os::unix::fs::symlink(paths::target_folder("guests")?, app.join("target"))?;
        Ok(app)
    }

    /// The SDKs in the cache.
    fn sdks(&self) -> anyhow::Result<Vec<PathBuf>> {
        let entries = self.cache.join("sc-host/sdk").read_dir()?;
        Ok(entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?)
    }
}

fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries = folder.read_dir()?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<_> = entries.collect::<std::io::Result<_>>()?;
    names.sort();
    Ok(names)
}

/// `create`, `dev`, the page in a browser.
async fn page_of(client: &str) -> anyhow::Result<()> {
    if !require(&["node", "npm", "chromium"]) {
        return Ok(());
    }
    let place = Place::with_shared_cache()?;
    let app = place.app(&format!("{client}-app"), &["--client", client])?;
    // As it is after a `git clone`.
    std::fs::remove_file(app.join(".sc"))?;
    let host = HostBuilder::new(&binary()).dev().own_key().app(&app).start_within(BUILD).await?;
    println!("{client}: served {:?} after its start", host.started_in());
    let laid = |line: &str| line.contains("the SDK is laid out").then_some(());
    host.log().wait("the SDK", SOON, 0, laid).await?;
    let picture = paths::target_folder("screenshots")?.join(format!("create-{client}"));
    println!("{}", node::script(&host, "create.mjs", &[&picture.display().to_string()], SOON).await?);
    host.is_unhurt()
}

#[tokio::test]
async fn a_page_with_the_hosts_own_client() -> anyhow::Result<()> {
    page_of("own").await
}

#[tokio::test]
async fn a_page_with_socketcluster_client() -> anyhow::Result<()> {
    page_of("socketcluster").await
}

#[tokio::test]
async fn a_page_with_the_classic_client() -> anyhow::Result<()> {
    page_of("classic").await
}

#[test]
fn its_own_tests_pass() -> anyhow::Result<()> {
    guests::add_target()?;
    let place = Place::with_shared_cache()?;
    let app = place.app("tested", &[])?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut formatted = place.command(&cargo);
    run::succeed(formatted.args(["fmt", "--check"]).current_dir(&app), "cargo fmt")?;
    let mut tested = place.command(&cargo);
    tested.arg("test").env("TEST_SC_HOST", binary()).current_dir(&app);
    let tested = run::finish(&mut tested, BUILD)?;
    println!("cargo test took {:?}", tested.took);
    ensure!(tested.code == Some(0), "{}", tested.text);
    for count in [3, 5] {
        ensure!(tested.text.contains(&format!("test result: ok. {count} passed")), "{}", tested.text);
    }

    // One that waits for what never comes fails, although the host pings it.
    let late = "mod host;\n#[test]\nfn late() {\n    host::Host::start().connect().event(\"never\");\n}\n";
    std::fs::write(app.join("tests/late.rs"), late)?;
    let mut tested = place.command(&cargo);
    tested.args(["test", "--test", "late"]).env("TEST_SC_HOST", binary()).current_dir(&app);
    let tested = run::finish(&mut tested, BUILD)?;
    println!("a test that waits for nothing took {:?}", tested.took);
    tested.refused(101, &["no such message in time", "1 failed"])
}

#[test]
fn it_needs_no_network() -> anyhow::Result<()> {
    if !require(&["unshare"]) {
        return Ok(());
    }
    let place = Place::new()?;
    let alone = |program: &str| {
        let mut command = place.command("unshare");
        command.args(["--map-root-user", "--net", program]);
        command
    };
    if run::succeed(&mut alone("true"), "unshare").is_err() {
        println!("skipped: this user may not have a network of its own");
        return Ok(());
    }
    run::succeed(alone(&binary()).args(["create", "app", "--client", "classic"]), "create")?;
    ensure!(place.path("app/.sc/sdk/rust/Cargo.toml").is_file());
    Ok(())
}

#[test]
fn what_is_there_is_not_touched() -> anyhow::Result<()> {
    let place = Place::new()?;
    std::fs::create_dir(place.path("mine"))?;
    std::fs::write(place.path("mine/notes"), "mine")?;
    place
        .sc_host(&["create", "mine"])?
        .refused(73, &["mine exists", "not an empty folder (it holds notes)"])?;
    std::fs::write(place.path("file"), "mine")?;
    place.sc_host(&["create", "file"])?.refused(73, &["file exists"])?;
    place.sc_host(&["create", "file/app"])?.refused(73, &["file/app cannot be made", "Not a directory"])?;
    ensure!(names(place.folder.path())? == ["file", "mine"], "nothing else is left");
    ensure!(names(&place.path("mine"))? == ["notes"]);

    std::fs::create_dir(place.path("empty"))?;
    let mut here = place.command(binary());
    run::succeed(here.args(["create", "."]).current_dir(place.path("empty")), "create .")?;
    let file = std::fs::read_to_string(place.path("empty/sc.toml"))?;
    ensure!(file.contains("name = \"empty\""), "{file}");
    place.sc_host(&["create", "empty"])?.refused(73, &["empty exists"])
}

#[test]
fn what_is_wrong_is_said() -> anyhow::Result<()> {
    let place = Place::new()?;
    let long = "a".repeat(65);
    for name in ["my app", "..", "/", "a/b c", "grüße", &long] {
        let refused = place.sc_host(&["create", name])?;
        refused.refused(64, &["1 to 64 letters", "sc-host create myapp"]).context(name.to_owned())?;
    }
    place.sc_host(&["create", "app", "--lang", "cobol"])?.refused(64, &["cobol", "possible values: rust"])?;
    let words = &["grpc", "own", "socketcluster", "classic"];
    place.sc_host(&["create", "app", "--client", "grpc"])?.refused(64, words)?;
    place.sc_host(&["create"])?.refused(64, &["<APP>"])?;
    ensure!(names(place.folder.path())?.is_empty(), "nothing is made");
    Ok(())
}

#[test]
fn several_at_once_share_one_sdk() -> anyhow::Result<()> {
    let place = Place::new()?;
    let made = std::thread::scope(|scope| {
        let create = |number| {
            let place = &place;
            scope.spawn(move || place.sc_host(&["create", &format!("dir/app-{number}")]))
        };
        let running: Vec<_> = (0..4).map(create).collect();
        running.into_iter().map(|one| one.join().expect("no panic")).collect::<anyhow::Result<Vec<_>>>()
    })?;
    for one in &made {
        ensure!(one.code == Some(0), "{}", one.text);
    }
    let sdks = place.sdks()?;
    ensure!(sdks.len() == 1, "{sdks:?}");
    for number in 0..4 {
        ensure!(place.path(&format!("dir/app-{number}/.sc")).read_link()? == sdks[0]);
    }
    Ok(())
}

/// The app was cloned to another machine, or the cache was emptied, or somebody changed a file of it.
#[test]
fn a_build_lays_the_sdk_out_again() -> anyhow::Result<()> {
    let place = Place::new()?;
    let app = place.app("app", &[])?;
    let ping = guests::example("ping")?;
    let built = |place: &Place| -> anyhow::Result<Finished> {
        // Loads what a build would load, and no more.
        let build = "cargo metadata --format-version 1 > metadata.json";
        let mut command = place.command(binary());
        command.args(["build", "app"]).env("SC_WORKER_BUILD", build).env("SC_WORKER", &ping);
        run::finish(&mut command, BUILD)
    };
    let [sdk] = &place.sdks()?[..] else { anyhow::bail!("one SDK") };
    let says_where = |built: &Finished| built.text.contains(&format!("laid out in {}", sdk.display()));

    let first = built(&place)?;
    ensure!(first.code == Some(0) && !says_where(&first), "nothing was missing: {}", first.text);
    std::fs::remove_file(app.join(".sc"))?;
    let moved = built(&place)?;
    ensure!(moved.code == Some(0) && says_where(&moved), "{}", moved.text);
    std::fs::remove_dir_all(&place.cache)?;
    let emptied = built(&place)?;
    ensure!(emptied.code == Some(0) && says_where(&emptied), "{}", emptied.text);
    let source = app.join(".sc/sdk/rust/src/lib.rs");
    std::fs::remove_file(&source)?;
    std::fs::write(&source, "torn")?;
    let damaged = built(&place)?;
    ensure!(damaged.code == Some(0) && says_where(&damaged), "{}", damaged.text);
    ensure!(std::fs::read_to_string(&source)?.len() > 1_000);
    let metadata = std::fs::read_to_string(app.join("metadata.json"))?;
    ensure!(metadata.contains(".sc/sdk/rust/macros/Cargo.toml"), "cargo found the SDK");
    Ok(())
}

/// What it makes is there from its first moment on, as `node_modules` is.
#[test]
fn a_setup_that_was_cut_short_is_done_again() -> anyhow::Result<()> {
    let place = Place::new()?;
    let app = place.app("app", &[])?;
    let ping = guests::example("ping")?;
    let built = |setup: &str| -> anyhow::Result<Finished> {
        let mut command = place.command(binary());
        command.args(["build", "app"]).env("SC_WORKER_BUILD", "true").env("SC_WORKER", &ping);
        command.env("SC_WORKER_SETUP", setup).env("SC_WORKER_SETUP_MAKES", app.join("made"));
        run::finish(&mut command, SOON)
    };
    // The shell's parent is sc-host.
    for cut in ["mkdir made && kill -9 $PPID", "rmdir made; mkdir made; false"] {
        ensure!(built(cut)?.code != Some(0), "{cut}");
        ensure!(app.join("made").is_dir());
    }
    let again = built("touch made/whole")?;
    ensure!(again.code == Some(0) && app.join("made/whole").is_file(), "{}", again.text);
    let names = names(&app)?;
    ensure!(!names.iter().any(|name| name.starts_with(".sc-setup")), "{names:?}");
    let done = built("false")?;
    ensure!(done.code == Some(0), "nothing is left to do: {}", done.text);
    Ok(())
}

#[test]
fn a_missing_npm_is_named() -> anyhow::Result<()> {
    let place = Place::new()?;
    place.app("app", &["--client", "classic"])?;
    let programs = place.path("programs");
    std::fs::create_dir(&programs)?;
    std::os::unix::fs::symlink(find("sh").context("sh")?, programs.join("sh"))?;
    for command in ["dev", "build"] {
        let mut command_line = place.command(binary());
        command_line.args([command, "app"]).env("PATH", &programs);
        run::finish(&mut command_line, SOON)?.refused(1, &["npm ci", "is not installed", "nodejs.org"])?;
    }
    Ok(())
}
