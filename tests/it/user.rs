//! A host that root starts and that goes on as another user: `app.user`. Only root can try that.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use sc_tests::require::require_root;
use sc_tests::tls::{Authority, Connector};
use sc_tests::{Client, Host, HostBuilder, Role, guests, run, wait};
use serde_json::json;

use crate::host;
use crate::reload::{reload, status};

const NOBODY: u32 = 65_534;
const DEADLINE: Duration = wait::COMPILED;

/// An app that the other user may read, but for a folder of secrets.
struct App(tempfile::TempDir);

impl App {
    fn new() -> anyhow::Result<Self> {
        let app = App(tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir()?);
        fs::copy(guests::guest("suite")?, app.file("worker.wasm"))?;
        fs::create_dir(app.file("secret"))?;
        fs::set_permissions(app.file("secret"), Permissions::from_mode(0o700))?;
        fs::write(app.file("secret/auth.key"), "only root may read this\n")?;
        app.configure("release = 1", "")?;
        Ok(app)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn configure(&self, config: &str, more: &str) -> anyhow::Result<()> {
        let text = format!(
            "[app]\nname = \"mine\"\nuser = \"nobody\"\n\
             [worker]\ncomponent = \"worker.wasm\"\nconfig = {{ {config} }}\n\
             [auth]\nkey_file = \"secret/auth.key\"\n{more}"
        );
        Ok(fs::write(self.file("sc.toml"), text)?)
    }

    fn host(&self) -> HostBuilder {
        let own = host().own_key().owned_by(NOBODY).app(self.0.path());
        own.workers(2).data_dir(&self.file("data/of-mine"))
    }
}

/// A port that only root may bind, and that nobody has now.
fn low_port() -> anyhow::Result<u16> {
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (600..1000).rev().find(is_free).context("all low ports are taken")
}

/// Real, effective, saved and for files; and all groups.
fn is_nobodys(pid: u32) -> anyhow::Result<()> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let ids = |name: &str| -> Vec<u32> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().filter_map(|id| id.parse().ok()).collect()
    };
    ensure!(ids("Uid:") == [NOBODY; 4] && ids("Gid:") == [NOBODY; 4], "{status}");
    ensure!(ids("Groups:") == [NOBODY], "{status}");
    Ok(())
}

fn all_is_nobodys(host: &Host) -> anyhow::Result<()> {
    let pids = host.pids();
    ensure!(pids.len() == 5, "a master and its children: {pids:?}");
    pids.into_iter().try_for_each(is_nobodys)
}

fn files_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files_below(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

#[tokio::test]
async fn all_of_a_host_is_that_users() -> anyhow::Result<()> {
    if !require_root() {
        return Ok(());
    }
    let app = App::new()?;
    let start =
        || async { app.host().without("--port").arg("--port").arg(low_port()?.to_string()).start().await };
    let host = start().await?;
    ensure!(host.port() < 1024);
    all_is_nobodys(&host)?;
    let mut client = Client::connect(&host).await?;
    client.ask("kvSet", json!({ "path": ["kept"], "value": "by nobody" })).await?;

    // Each of its processes comes back as that user.
    for (role, index) in [(Role::Worker, 0), (Role::Worker, 1), (Role::Store, 0), (Role::Balancer, 0)] {
        let killed = host.kill(role, index)?;
        is_nobodys(host.respawned(role, index, killed).await?)?;
    }
    let mut client = Client::connect_soon(&host).await?;
    let kept = wait::within(wait::SOON, "the value", async {
        loop {
            if let Ok(kept) = client.call("kvGet", json!({ "path": ["kept"] })).await {
                return kept;
            }
            client = Client::connect_soon(&host).await.expect("a connection");
        }
    });
    ensure!(kept.await? == json!("by nobody"));

    // What changed is compiled, or found in the cache, and taken; the secret is as it was read at the start.
    app.configure("release = 2", "")?;
    let report = reload(&host, &[]).await?;
    ensure!(report.contains("is replaced by") && report.contains("nobody may not read"), "{report}");
    ensure!(report.contains("secret/auth.key"), "{report}");
    all_is_nobodys(&host)?;
    ensure!(status(&host).await?["phase"] == "ready");
    for file in files_below(&app.file("data/of-mine"))? {
        ensure!(fs::symlink_metadata(&file)?.uid() == NOBODY, "{}", file.display());
    }
    host.stop().await?;

    // What it wrote is there for the next one.
    let host = start().await?;
    let mut client = Client::connect(&host).await?;
    ensure!(client.ask("kvGet", json!({ "path": ["kept"] })).await? == json!("by nobody"));
    host.is_unhurt()
}

/// A certificate whose key only root may read: TLS is served, and a reload leaves it be and says so.
#[tokio::test]
async fn certificates_that_only_root_may_read() -> anyhow::Result<()> {
    if !require_root() {
        return Ok(());
    }
    let app = App::new()?;
    let authority = Authority::new("the tests")?;
    authority.issue(&["127.0.0.1", "localhost"])?.write(&app.file("secret"), "host")?;
    let tls = "[tls]\ncertificate = \"secret/host.pem\"\nkey = \"secret/host.key\"\n";
    app.configure("release = 1", tls)?;
    let host = app.host().start().await?;
    all_is_nobodys(&host)?;
    let connector = Connector::new(&authority.pem(), "localhost", None)?;
    ensure!(connector.get(&host, "/sc/health").await?.0.contains(r#""status":"ready""#));
    app.configure("release = 2", tls)?;
    let report = reload(&host, &[]).await?;
    ensure!(report.contains("is replaced by") && report.contains("secret/host.key"), "{report}");
    ensure!(connector.get(&host, "/sc/health").await?.0.contains(r#""status":"ready""#));
    host.is_unhurt()
}

/// A certificate that is renewed by one that can be read, with a key that cannot: the old pair stays, for code is
/// still to be reloaded. What is wrong beside that is said with what could not be read.
#[tokio::test]
async fn a_certificate_stays_with_its_key() -> anyhow::Result<()> {
    if !require_root() {
        return Ok(());
    }
    let app = App::new()?;
    let authority = Authority::new("the tests")?;
    let issue = || {
        authority.issue(&["127.0.0.1", "localhost"])?.write(&app.file("secret"), "host")?;
        anyhow::Ok(fs::copy(app.file("secret/host.pem"), app.file("host.pem"))?)
    };
    issue()?;
    let tls = "[tls]\ncertificate = \"host.pem\"\nkey = \"secret/host.key\"\n";
    app.configure("release = 1", tls)?;
    let host = app.host().start().await?;
    issue()?;
    app.configure("release = 2", tls)?;
    let report = reload(&host, &[]).await?;
    ensure!(report.contains("is replaced by") && report.contains("certificates: unchanged"), "{report}");
    ensure!(report.contains("nobody may not read all of") && report.contains("host.pem, "), "{report}");
    let connector = Connector::new(&authority.pem(), "localhost", None)?;
    ensure!(connector.get(&host, "/sc/health").await?.0.contains(r#""status":"ready""#));
    app.configure("release = 3", &format!("{tls}min_version = \"1.1\"\n"))?;
    let refused = host.ask(&["reload"]).await?;
    refused.refused(1, &["`tls.min_version` cannot be", "may not read all of", "secret/host.key"])?;
    host.is_unhurt()
}

/// What the commands need to find a host that was started with a `--user` of its own, and where its compiled
/// components lie: the environment was made for somebody else.
#[tokio::test]
async fn a_user_of_the_command_line() -> anyhow::Result<()> {
    if !require_root() {
        return Ok(());
    }
    let app = App::new()?;
    fs::write(app.file("sc.toml"), "[app]\nname = \"found\"\n[worker]\ncomponent = \"worker.wasm\"\n")?;
    let temporary = tempfile::tempdir()?;
    fs::set_permissions(temporary.path(), Permissions::from_mode(0o1777))?;
    let caches = tempfile::tempdir()?;
    std::os::unix::fs::chown(caches.path(), Some(NOBODY), None)?;
    let command = |words: &[&str]| {
        let mut command = run::command(env!("CARGO_BIN_EXE_sc-host"));
        command.args(words).env("TMPDIR", temporary.path()).env("XDG_CACHE_HOME", caches.path());
        command.env("XDG_RUNTIME_DIR", app.file("secret")).env_remove("SC_RUNTIME_DIR");
        command
    };
    let folder = app.0.path().display().to_string();
    let words = ["run", &folder, "--user", "nobody", "--host", "127.0.0.1", "--port", "0", "--workers", "1"];
    let mut host = command(&words).arg("--data-dir").arg("none").stdout(Stdio::null()).spawn()?;
    let status = |more: &[&str]| {
        let words = [&["status", "--json", "--app", &folder], more].concat();
        run::finish(&mut command(&words), DEADLINE)
    };
    let found = async {
        while status(&["--user", "nobody"])?.code != Some(0) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    let found = wait::within(wait::SOON, "the host to be found", found).await;
    let others = (status(&[]), status(&["--user", "no-such-user"]));
    run::signal(host.id(), rustix::process::Signal::TERM);
    host.wait()?;
    found??;
    others.0?.refused(69, &["no host answers at", "--user"])?;
    others.1?.refused(78, &["`app.user`: this machine has no user no-such-user"])?;
    ensure!(fs::read_dir(caches.path())?.next().is_none(), "the cache of who started it is not touched");
    ensure!(temporary.path().join(format!("sc-host-cache-{NOBODY}")).is_dir(), "a cache of its own");
    Ok(())
}

/// Root keeps its own number and takes the group that is named.
#[tokio::test]
async fn root_with_another_group() -> anyhow::Result<()> {
    if !require_root() {
        return Ok(());
    }
    let app = App::new()?;
    let host = app.host().owned_by(0).arg("--user").arg("root:nogroup").start().await?;
    for pid in host.pids() {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        ensure!(status.contains("Uid:\t0\t0\t0\t0\nGid:\t65534\t65534\t65534\t65534\n"), "{status}");
        ensure!(status.contains("Groups:\t65534 \n"), "{status}");
    }
    host.is_unhurt()
}

#[tokio::test]
async fn what_cannot_be_is_said() -> anyhow::Result<()> {
    if !require_root() {
        return Ok(());
    }
    let app = App::new()?;
    let other = |user: &str| app.host().arg("--user").arg(user).run(DEADLINE);
    other("no-such-user")?.refused(78, &["`app.user`: this machine has no user no-such-user", "useradd"])?;
    // A folder of data that is somebody else's.
    fs::create_dir_all(app.file("data/of-mine"))?;
    fs::set_permissions(app.file("data/of-mine"), Permissions::from_mode(0o700))?;
    app.host().run(DEADLINE)?.refused(73, &["data/of-mine", "Permission denied", "chown -R nobody"])?;
    fs::remove_dir(app.file("data/of-mine"))?;
    // The same of the runtime folder.
    let run = app.file("run");
    fs::create_dir(&run)?;
    let chown = format!("chown nobody {}", run.display());
    app.host()
        .env("SC_RUNTIME_DIR", &run)
        .run(DEADLINE)?
        .refused(71, &["belongs to another user", &chown])?;
    fs::remove_dir(&run)?;
    // Who is not root can only be who it is.
    fs::write(app.file("sc.toml"), "[worker]\ncomponent = \"worker.wasm\"\n")?;
    // The build may lie where others cannot look.
    let binary = app.file("sc-host");
    fs::copy(env!("CARGO_BIN_EXE_sc-host"), &binary)?;
    let as_nobody = |user: &str| {
        let mut command = run::command(&binary);
        command.args(["run", "--port", "0", "--user", user]).arg(app.0.path());
        command.uid(NOBODY).gid(NOBODY).env("SC_RUNTIME_DIR", app.file("run"));
        run::finish(&mut command, DEADLINE)
    };
    as_nobody("daemon")?.refused(77, &["was not started by root", "daemon", "as the user 65534"])?;
    // A group that is named is one that it must have, and alone.
    as_nobody("nobody:daemon")?.refused(77, &["nobody:daemon", "with the groups 65534"])
}
