//! Reloads of a running host: code and configuration are replaced while clients stay connected, and what is no good
//! changes nothing.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::Signal;
use sc_tests::client::CallError;
use sc_tests::{Client, Host, Role, guests as components, host::HostBuilder, http, paths, run, wait};
use serde_json::{Value, json};

use crate::host;

/// An app whose configuration and components a test changes.
pub(crate) struct App {
    folder: tempfile::TempDir,
    middleware: bool,
}

impl App {
    pub(crate) fn new(middleware: bool) -> anyhow::Result<Self> {
        let app = App { folder: tempfile::tempdir_in(paths::target_folder("apps")?)?, middleware };
        std::fs::copy(components::guest("swaps")?, app.file("worker.wasm"))?;
        std::fs::copy(components::guest("swaps_gate")?, app.file("gate.wasm"))?;
        app.configure(1, "", "")?;
        Ok(app)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn configure(&self, release: u64, how: &str, gate: &str) -> anyhow::Result<()> {
        self.write(&format!("config = {{ release = {release}, how = \"{how}\" }}"), gate, "")
    }

    fn write(&self, worker: &str, gate: &str, more: &str) -> anyhow::Result<()> {
        let mut text = format!("[app]\nname = \"swaps\"\n[worker]\ncomponent = \"worker.wasm\"\n{worker}\n");
        if self.middleware {
            text += &format!("[[middleware]]\ncomponent = \"gate.wasm\"\nconfig = {{ how = \"{gate}\" }}\n");
        }
        std::fs::write(self.file("sc.toml"), text + more)?;
        Ok(())
    }

    pub(crate) fn host(&self) -> HostBuilder {
        // A test that waits for a command answers no pings meanwhile.
        host().app(self.folder.path()).set("protocol.ping_timeout_disabled", true)
    }
}

/// Changes a component's file, and nothing that it does: what is appended is a custom section of no meaning.
pub(crate) fn edit(component: &Path) -> anyhow::Result<()> {
    let mut bytes = std::fs::read(component)?;
    bytes.extend([0, 5, 4, b't', b'e', b's', b't']);
    let new = component.with_extension("new");
    std::fs::write(&new, &bytes)?;
    Ok(std::fs::rename(new, component)?)
}

pub(crate) async fn reload(host: &Host, arguments: &[&str]) -> anyhow::Result<String> {
    let arguments: Vec<_> = ["reload"].iter().chain(arguments).copied().collect();
    let done = host.ask(&arguments).await?;
    ensure!(done.code == Some(0), "{}\n{}", done.text, host.log().tail(30));
    Ok(done.text)
}

pub(crate) async fn refused(host: &Host, arguments: &[&str], said: &[&str]) -> anyhow::Result<()> {
    let arguments: Vec<_> = ["reload"].iter().chain(arguments).copied().collect();
    host.ask(&arguments).await?.refused(1, said)
}

async fn counts(client: &mut Client, release: u64, count: u64) -> anyhow::Result<()> {
    let answer = client.ask("count", Value::Null).await?;
    ensure!(answer["release"] == release && answer["count"] == count, "{answer}, not {release} and {count}");
    Ok(())
}

pub(crate) async fn status(host: &Host) -> anyhow::Result<Value> {
    let status = host.ask(&["status", "--json"]).await?;
    ensure!(status.code == Some(0), "{}", status.text);
    Ok(serde_json::from_str(&status.text)?)
}

/// The generation that all processes run of a component, which is also the one that the host calls the present one.
pub(crate) async fn generation(host: &Host, name: &str) -> anyhow::Result<String> {
    let status = status(host).await?;
    let all = status["components"].as_array().context("components")?;
    let present = all.iter().find(|component| component["name"] == name).context("the component")?;
    let role = match present["kind"].as_str().context("a kind")? {
        kind @ ("store" | "balancer") => kind.to_owned(),
        _ => "worker".to_owned(),
    };
    let present = present["generation"].as_str().context("a generation")?;
    for process in status["processes"].as_array().context("processes")? {
        if process["role"] == role {
            ensure!(process["generations"][name] == present, "{status}");
        }
    }
    Ok(present.to_owned())
}

#[tokio::test]
async fn state_and_sockets_go_on() -> anyhow::Result<()> {
    let app = App::new(false)?;
    let host = app.host().workers(2).start().await?;
    let mut clients = Vec::new();
    for worker in [0, 1] {
        let mut client = Client::connect(&host).await?;
        ensure!(client.event("greet").await? == json!(1));
        clients.push(client);
        let _ = worker;
    }
    for client in &mut clients {
        client.ask("count", Value::Null).await?;
    }
    let before = generation(&host, "swaps").await?;
    let report = reload(&host, &[]).await?;
    ensure!(report.contains("swaps: unchanged"), "{report}");
    for release in 2..5 {
        app.configure(release, "", "")?;
        let report = reload(&host, &["swaps"]).await?;
        ensure!(
            report.contains("is replaced by") && report.contains("socketcluster:controller/{"),
            "{report}"
        );
        ensure!(
            report.contains("may use: 64 MiB of memory; 50 ms of CPU time a call; no other servers"),
            "{report}"
        );
        for client in &mut clients {
            let answer = client.ask("count", Value::Null).await?;
            ensure!(answer["release"] == release, "{answer}");
        }
    }
    ensure!(generation(&host, "swaps").await? != before);
    // Each call was counted once, on whichever worker.
    let sum = clients[0].ask("count", Value::Null).await?["count"].as_u64().unwrap_or(0)
        + clients[1].ask("count", Value::Null).await?["count"].as_u64().unwrap_or(0);
    ensure!(sum == 10 || sum == 19, "{sum}: five calls each, on two workers or on one");
    for client in &mut clients {
        ensure!(client.unread_events().is_empty(), "greeted again: {:?}", client.unread_events());
    }
    let mut fresh = Client::connect(&host).await?;
    ensure!(fresh.event("greet").await? == json!(4));
    host.is_unhurt()
}

#[tokio::test]
async fn what_is_no_good_changes_nothing() -> anyhow::Result<()> {
    let app = App::new(true)?;
    let host = app.host().workers(2).start().await?;
    let mut client = Client::connect(&host).await?;
    client.event("greet").await?;
    let (before, gate_before) = (generation(&host, "swaps").await?, generation(&host, "gate").await?);
    let text = app.file("text.wasm");
    std::fs::write(&text, "hello")?;
    let wrong = components::guest("wrong_world")?;
    let site = components::guest("site_wstd")?;
    let path = |path: &Path| path.display().to_string();
    let mut count = 0;
    for (how, gate, arguments, said) in [
        ("error in start", "", vec![], "this release never starts"),
        ("endless error in start", "", vec![], "never never"),
        ("panic in start", "", vec![], "panics in on-start"),
        ("other state", "", vec![], "the state count does not fit"),
        ("panic in resume", "", vec![], "panics in on-resume"),
        ("", "error in start", vec![], "gate: this release never starts; nothing was replaced"),
        ("", "", vec!["--component".to_owned(), path(&text)], "not a WebAssembly file"),
        (
            "",
            "",
            vec!["--component".to_owned(), path(&wrong), "--allow-new-imports".to_owned()],
            "nothing was replaced",
        ),
        (
            "",
            "",
            vec!["--component".to_owned(), path(&site), "--allow-new-imports".to_owned()],
            "nothing was replaced",
        ),
        ("", "", vec!["nobody".to_owned()], "there is no component nobody; there are: gate, swaps"),
    ] {
        app.configure(1, how, gate)?;
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        refused(&host, &arguments, &[said]).await.with_context(|| format!("{how} {gate} {arguments:?}"))?;
        ensure!(
            generation(&host, "swaps").await? == before && generation(&host, "gate").await? == gate_before,
            "{how} {gate}"
        );
        count += 1;
        counts(&mut client, 1, count).await.with_context(|| format!("after {how} {gate} {arguments:?}"))?;
    }
    // A middleware that was replaced goes back when the controller behind it is no good.
    app.configure(1, "error in start", "deaf")?;
    refused(&host, &[], &["this release never starts"]).await?;
    counts(&mut client, 1, count + 1).await?;
    ensure!(generation(&host, "gate").await? == gate_before);
    ensure!(client.unread_events().is_empty(), "{:?}", client.unread_events());
    Ok(())
}

/// Reloads a component to one that panics in a call, and does that as soon as it runs, which has to have it taken
/// back. None when the reload succeeded: the second of probation was over before the call came.
async fn on_probation<T>(
    host: &Host,
    component: &str,
    meanwhile: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<Option<T>> {
    let mark = host.log().lines().len();
    let arguments = ["reload", component];
    let (reloaded, done) = tokio::join!(host.ask(&arguments), async {
        let runs = |line: &str| line.contains("a new generation runs, on probation").then_some(());
        host.log().wait("the new generation", wait::COMPILED, mark, runs).await?;
        meanwhile.await
    });
    let reloaded = reloaded?;
    if reloaded.code == Some(0) {
        return Ok(None);
    }
    reloaded.refused(1, &["on probation", "panics in a call"])?;
    done.map(Some)
}

/// Plays what has to come within a second of probation, with a host of its own, until it did: a busy machine may let
/// the second pass.
async fn in_time(play: impl AsyncFn() -> anyhow::Result<Option<()>>) -> anyhow::Result<()> {
    for _ in 0..5 {
        if play().await?.is_some() {
            return Ok(());
        }
    }
    anyhow::bail!("five times a call that fails came too late for a second of probation, or was not in it")
}

/// A call that fails on probation had no effects: the generation before answers it.
#[tokio::test]
async fn a_call_that_fails_on_probation() -> anyhow::Result<()> {
    in_time(fails_on_probation).await
}

async fn fails_on_probation() -> anyhow::Result<Option<()>> {
    let app = App::new(true)?;
    let host = app.host().start().await?;
    let mut client = Client::connect(&host).await?;
    client.event("greet").await?;
    counts(&mut client, 1, 1).await?;
    for (how, gate, component) in [("panic in a call", "", "swaps"), ("", "panic in a call", "gate")] {
        app.configure(2, how, gate)?;
        let call = async { Ok(client.call("count", Value::Null).await) };
        let Some(answered) = on_probation(&host, component, call).await? else { return Ok(None) };
        let answer = answered.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        ensure!(answer["release"] == 1, "{answer}");
    }
    counts(&mut client, 1, 4).await?;
    ensure!(client.unread_events().is_empty(), "{:?}", client.unread_events());
    Ok(Some(()))
}

/// Who closes while a generation is on probation is gone for the one that comes back, too.
#[tokio::test]
async fn who_closes_on_probation() -> anyhow::Result<()> {
    in_time(closes_on_probation).await
}

async fn closes_on_probation() -> anyhow::Result<Option<()>> {
    let app = App::new(false)?;
    let host = app.host().workers(1).start().await?;
    let (mut client, leaves) = (Client::connect(&host).await?, Client::connect(&host).await?);
    client.event("greet").await?;
    ensure!(client.ask("here", Value::Null).await?["here"].as_array().map(Vec::len) == Some(2));
    app.configure(2, "panic in a call", "")?;
    let closing = async {
        drop(leaves);
        loop {
            let here = client.ask("here", Value::Null).await?;
            ensure!(here["release"] == 2, "the new generation was taken back already: {here}");
            if here["here"] == json!([here["you"]]) {
                return Ok(client.call("count", Value::Null).await);
            }
        }
    };
    let Some(answered) = on_probation(&host, "swaps", closing).await? else { return Ok(None) };
    let answer = answered.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    ensure!(answer["release"] == 1, "{answer}");
    let here = client.ask("here", Value::Null).await?;
    ensure!(here["release"] == 1 && here["here"] == json!([here["you"]]), "{here}");
    ensure!(client.unread_events().is_empty(), "{:?}", client.unread_events());
    Ok(Some(()))
}

/// Middleware that guards something only after a while misses nothing that the one before guarded.
#[tokio::test]
async fn guards_that_come_late() -> anyhow::Result<()> {
    let app = App::new(true)?;
    let host = app.host().workers(1).start().await?;
    let mut client = Client::connect(&host).await?;
    counts(&mut client, 1, 1).await?;
    app.configure(1, "", "late")?;
    let is_over = Cell::new(false);
    let reloading = async {
        let reloaded = reload(&host, &["gate"]).await;
        is_over.set(true);
        reloaded
    };
    let (reloaded, sent) = tokio::join!(reloading, async {
        let mut sent = 1;
        while !is_over.get() {
            sent += 1;
            counts(&mut client, 1, sent).await?;
        }
        anyhow::Ok(sent)
    });
    reloaded?;
    let sent = sent?;
    app.configure(1, "", "deaf")?;
    reload(&host, &["gate"]).await?;
    let deaf = client.call("count", Value::Null).await;
    let Err(CallError::Refused(error)) = deaf else { anyhow::bail!("{deaf:?}") };
    ensure!(error["message"] == format!("{sent} were heard"), "{error} of {sent}");
    host.is_unhurt()
}

/// What had begun in the old instance ends there.
#[tokio::test]
async fn calls_that_are_parked() -> anyhow::Result<()> {
    let app = App::new(false)?;
    let host = app.host().start().await?;
    let mut client = Client::connect(&host).await?;
    client.event("greet").await?;
    let waiting = client.begin("park", json!(1500)).await?;
    counts(&mut client, 1, 1).await?;
    app.configure(2, "", "")?;
    reload(&host, &[]).await?;
    counts(&mut client, 2, 2).await?;
    let answer = client.finish(waiting).await.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    ensure!(answer["release"] == 1, "{answer}");
    // Of more than may go on, the oldest ends, and its caller is told.
    let lost = client.begin("park", json!(60_000)).await?;
    counts(&mut client, 2, 3).await?;
    for release in 3..6 {
        app.configure(release, "", "")?;
        reload(&host, &[]).await?;
        client.begin("park", json!(60_000)).await?;
    }
    let told = client.finish(lost).await;
    ensure!(
        matches!(&told, Err(CallError::Refused(error)) if error["name"] == "ControllerError"),
        "{told:?}"
    );
    host.is_unhurt()
}

/// Timers that repeat end with the old instance's reign, and channels are heard without gap or double.
#[tokio::test]
async fn timers_and_channels_move() -> anyhow::Result<()> {
    let app = App::new(false)?;
    let host = app.host().start().await?;
    let mut client = Client::connect(&host).await?;
    let published = 200;
    let mut publisher = Client::connect(&host).await?;
    let publishing = async {
        for number in 0..published {
            publisher.publish("news", json!(number)).await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    let reloading = async {
        for release in 2..5 {
            app.configure(release, "", "")?;
            reload(&host, &[]).await?;
        }
        anyhow::Ok(())
    };
    let (one, two) = tokio::join!(publishing, reloading);
    one?;
    two?;
    let heard = client.ask("heard", Value::Null).await?;
    ensure!(heard == published, "{heard} of {published}");
    let began = Instant::now();
    let before = client.ask("ticks", Value::Null).await?.as_u64().unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let turns = client.ask("ticks", Value::Null).await?.as_u64().unwrap_or(0) - before;
    // One timer has a turn each 20 ms at most. Two of them, and more so four, have too many, however long it took.
    let time = began.elapsed();
    let most = time.as_millis() * 3 / 40 + 3;
    ensure!(turns > 0 && u128::from(turns) <= most, "{turns} turns in {time:?} of one timer");
    host.is_unhurt()
}

#[tokio::test]
async fn triggers_and_options() -> anyhow::Result<()> {
    let app = App::new(true)?;
    let host = app.host().arg("--watch").start().await?;
    let mut client = Client::connect(&host).await?;
    counts(&mut client, 1, 1).await?;
    let processes = host.pids();
    for (release, signal) in [(2, Signal::HUP), (3, Signal::USR2)] {
        app.configure(release, "", "")?;
        // A service supervisor may send it to all processes.
        for pid in &processes {
            run::signal(*pid, signal);
        }
        let runs = async {
            while client.ask("count", Value::Null).await?["release"] != release {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        };
        wait::within(wait::SOON, "the release that a signal brings", runs).await??;
    }
    ensure!(host.pids() == processes, "a signal ended a process");
    let before = generation(&host, "swaps").await?;
    edit(&app.file("worker.wasm"))?;
    let swapped = async {
        while generation(&host, "swaps").await? == before {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    wait::within(wait::COMPILED, "the changed file's generation", swapped).await??;
    // Options of components are live, others are not.
    app.write("config = { release = 3 }\nmemory = \"32MiB\"\nenv = { A = \"b\" }", "", "")?;
    let report = reload(&host, &[]).await?;
    ensure!(
        report.contains("32 MiB of memory") && report.contains("the environment variables A"),
        "{report}"
    );
    app.write("config = { release = 4 }", "", "[protocol]\nping_interval = \"5s\"\n")?;
    refused(&host, &[], &["take effect at a restart only: protocol.ping_interval"]).await?;
    app.write("config = 4", "", "")?;
    refused(&host, &[], &["`worker.config` must be a table"]).await?;
    ensure!(client.ask("count", Value::Null).await?["release"] == 3);
    // The middleware kept its state over its own swap.
    app.write("config = { release = 3 }\nmemory = \"32MiB\"\nenv = { A = \"b\" }", "deaf", "")?;
    reload(&host, &["gate"]).await?;
    let deaf = client.call("count", Value::Null).await;
    let Err(CallError::Refused(error)) = deaf else { anyhow::bail!("{deaf:?}") };
    let heard: u64 =
        error["message"].as_str().and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0);
    ensure!(heard >= 3, "{error}");
    Ok(())
}

/// A component that wants more than the one before is a change that somebody has to mean.
#[tokio::test]
async fn more_imports_have_to_be_allowed() -> anyhow::Result<()> {
    let app = App::new(false)?;
    std::fs::copy(components::guest("ping-js")?, app.file("worker.wasm"))?;
    let host = app.host().start().await?;
    let more = components::guest("swaps")?.display().to_string();
    let before = generation(&host, "swaps").await?;
    refused(&host, &["--component", &more], &["imports more than the running one:", "--allow-new-imports"])
        .await?;
    ensure!(generation(&host, "swaps").await? == before);
    reload(&host, &["--component", &more, "--allow-new-imports"]).await?;
    let mut client = Client::connect(&host).await?;
    counts(&mut client, 1, 1).await
}

#[tokio::test]
async fn too_much_state_stays_where_it_is() -> anyhow::Result<()> {
    let app = App::new(false)?;
    let host = app.host().start().await?;
    let mut client = Client::connect(&host).await?;
    counts(&mut client, 1, 1).await?;
    app.write(
        "config = { release = 2, how = \"large state\" }\ncpu_per_call = \"1s\"\nmemory = \"256MiB\"",
        "",
        "",
    )?;
    reload(&host, &[]).await?;
    counts(&mut client, 2, 2).await?;
    app.configure(3, "", "")?;
    refused(&host, &[], &["16777216 may be carried over"]).await?;
    counts(&mut client, 2, 3).await?;
    host.is_unhurt()
}

/// A balancer's controller is replaced like any other; a bad one changes nothing.
#[tokio::test]
async fn a_balancers_controller() -> anyhow::Result<()> {
    let app = App::new(false)?;
    std::fs::copy(components::build(&paths::root().join("plugins/ip-filter"))?, app.file("door.wasm"))?;
    let door = |rules: &str| {
        let more = format!("[balancer]\ncomponent = \"door.wasm\"\nconfig = {{ {rules} }}\n");
        app.write("config = { release = 1 }", "", &more)
    };
    door("deny = [\"10.0.0.0/8\"]")?;
    let host = app.host().start().await?;
    let mut client = Client::connect(&host).await?;
    counts(&mut client, 1, 1).await?;
    let is_open = async || anyhow::Ok(http::get(&host, "/sc/health").await?.status == 200);
    ensure!(is_open().await?);
    door("deny = [\"127.0.0.0/8\"]")?;
    let report = reload(&host, &["swaps-balancer"]).await?;
    ensure!(report.contains("swaps-balancer:") && report.contains("is replaced by"), "{report}");
    ensure!(!is_open().await?, "the new rules are in force");
    counts(&mut client, 1, 2).await?;
    let before = status(&host).await?["components"].clone();
    door("deny = [\"everybody\"]")?;
    refused(&host, &[], &["swaps-balancer:", "everybody", "nothing was replaced"]).await?;
    ensure!(status(&host).await?["components"] == before && !is_open().await?);
    // A balancer that starts anew has the present rules.
    let old = host.kill(Role::Balancer, 0)?;
    host.respawned(Role::Balancer, 0, old).await?;
    ensure!(!is_open().await?);
    door("deny = [\"10.0.0.0/8\"]")?;
    reload(&host, &[]).await?;
    ensure!(is_open().await?);
    counts(&mut client, 1, 3).await
}

/// A balancer's controller decides on while the next one takes its time to start.
#[tokio::test]
async fn a_balancers_controller_that_starts_slowly() -> anyhow::Result<()> {
    let app = App::new(false)?;
    std::fs::copy(components::guest("door")?, app.file("door.wasm"))?;
    let door = |config: &str| {
        let more = format!("[balancer]\ncomponent = \"door.wasm\"\nconfig = {{ {config} }}\n");
        app.write("config = { release = 1 }", "", &more)
    };
    door("")?;
    let host = app.host().start().await?;
    let calls = async || anyhow::Ok(http::get(&host, "/door/calls").await?.body.parse::<u32>()?);
    ensure!(calls().await? == 1);
    door("start_ms = 3000")?;
    let mut answered = 1;
    let asking = async {
        loop {
            answered += 1;
            let said = calls().await?;
            ensure!(said == answered, "{said}, not {answered}: its state goes on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let began = Instant::now();
    let report = tokio::select! {
        report = reload(&host, &["swaps-balancer"]) => report?,
        ended = asking => return ended,
    };
    ensure!(report.contains("is replaced by") && began.elapsed() > Duration::from_secs(3), "{report}");
    // Nobody waits longer than a second for the controller: were it to stand still, one answer would be a 503.
    ensure!(answered >= 10, "{answered}");
    ensure!(calls().await? >= answered);
    host.is_unhurt()
}
