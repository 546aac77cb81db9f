//! A host under clients of all generations that come and go, some by having their process killed, while its controller
//! is replaced again and again: once it is warm no process grows, and when all clients are gone nothing of them is
//! left.
//!
//! 30 minutes with `SC_TEST_FULL=1`, so long as `SC_TEST_SOAK` says in seconds, else less than half a minute. Growth
//! is told in any case; what counts as flat is asked of the long run only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sc_tests::node::Script;
use sc_tests::require::require;
use sc_tests::usage::{self, Memory};
use sc_tests::{Host, HostBuilder, Role, guests as components, paths, wait};
use serde_json::{Value, json};

use crate::reload::{edit, reload, status};
use crate::{host, tls};

const FULL: Duration = Duration::from_secs(30 * 60);
const SHORT: Duration = Duration::from_secs(24);
/// From here on a run is long enough for memory to be flat.
const LONG: Duration = Duration::from_secs(15 * 60);
/// What is flat: growth of a process between the first and the last window, the larger of both.
const FLAT: (u64, u64) = (4 << 20, 50);
const WORKERS: u16 = 2;

#[tokio::test]
async fn clients_that_come_and_go_leave_nothing_behind() -> anyhow::Result<()> {
    soak(b'h', |host| host, &[]).await
}

#[tokio::test]
async fn clients_over_tls_leave_nothing_behind() -> anyhow::Result<()> {
    let certificates = tls::Certificates::new()?;
    let trusted = certificates.trusted();
    let variables = [("NODE_EXTRA_CA_CERTS", trusted.as_path()), ("SC_SECURE", Path::new("1"))];
    soak(b't', |host| certificates.secure(host), &variables).await
}

/// How long it takes, and what happens when.
struct Plan {
    total: Duration,
    warm_up: Duration,
    window: Duration,
    looks: Duration,
    reloads: Duration,
}

impl Plan {
    fn new() -> anyhow::Result<Self> {
        let asked =
            std::env::var("SC_TEST_SOAK").ok().map(|seconds| seconds.parse().map(Duration::from_secs));
        let is_full = std::env::var_os("SC_TEST_FULL").is_some_and(|full| full == "1");
        let total = match asked {
            Some(asked) => asked.context("SC_TEST_SOAK is a number of seconds")?,
            None if is_full => FULL,
            None => SHORT,
        };
        Ok(Plan {
            total,
            warm_up: total / 6,
            window: total / 6,
            looks: (total / 180).max(Duration::from_millis(500)),
            reloads: (total / 30).max(Duration::from_secs(4)),
        })
    }
}

/// An app whose controller and configuration are replaced.
struct App {
    folder: tempfile::TempDir,
    original: Vec<u8>,
}

impl App {
    /// The soaks run at once, so each has components of its own: a cache entry that the other host writes anew is one
    /// more open file.
    fn new(mark: u8) -> anyhow::Result<Self> {
        let mut original = std::fs::read(components::guest("club")?)?;
        original.extend([0, 2, 1, mark]);
        let app = App { folder: tempfile::tempdir_in(paths::target_folder("apps")?)?, original };
        std::fs::copy(components::guest("allows")?, app.file("allows.wasm"))?;
        app.release(0)?;
        Ok(app)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Its next generation: another configuration, and one of two components in turn.
    fn release(&self, number: u64) -> anyhow::Result<()> {
        let component = self.file("worker.wasm");
        std::fs::write(&component, &self.original)?;
        if number % 2 == 1 {
            edit(&component)?;
        }
        let text = format!(
            "[app]\nname = \"soak\"\n[worker]\ncomponent = \"worker.wasm\"\nconfig = {{ tick = 200, release = {number} }}\n\
             [[middleware]]\ncomponent = \"allows.wasm\"\n"
        );
        Ok(std::fs::write(self.file("sc.toml"), text)?)
    }

    fn host(&self) -> HostBuilder {
        host()
            .app(self.folder.path())
            .data_dir(&self.file("data"))
            .workers(usize::from(WORKERS))
            .set("session.timeout", "3s")
            .set("session.grace", "500ms")
            .set("presence.channels", "members")
            .set("classic.ping_interval", "5s")
            .set("classic.ping_timeout", "5s")
    }
}

/// One look at a process.
#[derive(Clone, Copy)]
struct Look {
    at: Duration,
    memory: Memory,
    descriptors: usize,
}

/// All looks at all processes, by their names.
struct Looks {
    began: Instant,
    pids: BTreeMap<String, u32>,
    of: BTreeMap<String, Vec<Look>>,
}

impl Looks {
    fn begin(host: &Host) -> anyhow::Result<Self> {
        let mut pids = BTreeMap::from([("master".to_owned(), host.master())]);
        let workers = (0..WORKERS).map(|worker| (Role::Worker, worker));
        for (role, index) in workers.chain([(Role::Balancer, 0), (Role::Store, 0)]) {
            let pid = host.pid(role, index).with_context(|| format!("{role} {index}"))?;
            pids.insert(format!("{role} {index}"), pid);
        }
        let mut looks = Looks { began: Instant::now(), pids, of: BTreeMap::new() };
        looks.look();
        Ok(looks)
    }

    fn look(&mut self) {
        for (name, pid) in &self.pids {
            let (memory, descriptors) = (usage::memory(*pid), usage::descriptors(*pid));
            let look = Look { at: self.began.elapsed(), memory, descriptors };
            self.of.entry(name.clone()).or_default().push(look);
        }
    }

    /// How many descriptors each process had first.
    fn before(&self) -> BTreeMap<&str, usize> {
        self.of.iter().map(|(name, looks)| (name.as_str(), looks[0].descriptors)).collect()
    }

    fn now(&self) -> BTreeMap<&str, usize> {
        self.pids.iter().map(|(name, pid)| (name.as_str(), usage::descriptors(*pid))).collect()
    }

    /// All of them as a file, for who wants to know when it was that something grew.
    fn keep(&self) -> anyhow::Result<()> {
        let file = paths::target_folder("test-logs")?.join(format!("{}.csv", paths::test_name()));
        let mut text = "process,seconds,proportional,anonymous,descriptors\n".to_owned();
        for (name, looks) in &self.of {
            for Look { at, memory: Memory { proportional, anonymous }, descriptors } in looks {
                let at = at.as_secs_f64();
                text += &format!("{name},{at:.1},{proportional},{anonymous},{descriptors}\n");
            }
        }
        std::fs::write(&file, text)?;
        println!("all looks are in {}", file.display());
        Ok(())
    }

    /// A table for people; fails if a process grew.
    fn judge(&self, plan: &Plan, now: &BTreeMap<&str, usize>) -> anyhow::Result<()> {
        println!(
            "{:<12}{:>9}{:>9}{:>9}{:>9}{:>11}{:>7}{:>7}{:>7}",
            "MiB, PSS", "at first", "warm", "at last", "growth", "anonymous", "fds", "most", "after"
        );
        let mut grown = Vec::new();
        for (name, looks) in &self.of {
            let of = |from: Duration, memory: fn(&Memory) -> u64| {
                let window = looks.iter().filter(|look| look.at >= from && look.at < from + plan.window);
                median(window.map(|look| memory(&look.memory)).collect())
            };
            let last = plan.total - plan.window;
            let shared = |memory: &Memory| memory.proportional;
            let own = |memory: &Memory| memory.anonymous;
            let (warm, late) = (of(plan.warm_up, shared), of(last, shared));
            let (own_warm, own_late) = (of(plan.warm_up, own), of(last, own));
            let most = looks.iter().map(|look| look.descriptors).max().unwrap_or(0);
            println!(
                "{name:<12}{:>9.1}{:>9.1}{:>9.1}{:>+9.2}{:>+11.2}{:>7}{most:>7}{:>7}",
                mib(looks[0].memory.proportional),
                mib(warm),
                mib(late),
                mib(late) - mib(warm),
                mib(own_late) - mib(own_warm),
                looks[0].descriptors,
                now[name.as_str()],
            );
            for (before, after) in [(warm, late), (own_warm, own_late)] {
                if after > before + FLAT.0.max(before / FLAT.1) {
                    grown.push(format!("{name} from {:.1} to {:.1} MiB", mib(before), mib(after)));
                }
            }
        }
        ensure!(grown.is_empty() || plan.total < LONG, "grown: {}", grown.join(", "));
        Ok(())
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// Open sockets, and what the store holds.
async fn holdings(host: &Host) -> anyhow::Result<Value> {
    let status = status(host).await?;
    let processes = status["processes"].as_array().context("processes")?;
    let store = processes.iter().find(|process| process["role"] == "store").context("a store")?;
    Ok(json!({ "sockets": status["sockets"], "store": store["store"] }))
}

async fn soak(
    mark: u8,
    with: impl Fn(HostBuilder) -> HostBuilder,
    variables: &[(&str, &Path)],
) -> anyhow::Result<()> {
    if !require(&["node", "npm"]) {
        return Ok(());
    }
    let (plan, app) = (Plan::new()?, App::new(mark)?);
    let host = with(app.host()).start().await?;
    // What only a reload leaves behind is no client's.
    app.release(1)?;
    reload(&host, &[]).await?;
    let resting = holdings(&host).await?;
    let mut looks = Looks::begin(&host)?;
    let seconds = plan.total.as_secs().to_string();
    let script = Script::start_with(&host, "soak.mjs", &[&seconds], variables)?;
    let driving = tokio::spawn(script.finish(plan.total + Duration::from_secs(120)));

    let (mut releases, mut next_reload) = (1, plan.reloads);
    let mut most_sockets = 0;
    let mut ticks = tokio::time::interval(plan.looks);
    while !driving.is_finished() {
        ticks.tick().await;
        looks.look();
        let published = host.ask(&["publish", "members", r#"{"from":"the operator"}"#]).await?;
        ensure!(published.code == Some(0), "{}", published.text);
        let sockets = holdings(&host).await?["sockets"].as_u64().unwrap_or(0);
        most_sockets = most_sockets.max(sockets);
        if looks.began.elapsed() >= next_reload {
            next_reload += plan.reloads;
            releases += 1;
            app.release(releases)?;
            reload(&host, &[]).await?;
        }
    }
    let said = driving.await?.with_context(|| host.log().tail(20))?;

    let mut left = Value::Null;
    let emptied = async {
        while left != resting {
            tokio::time::sleep(Duration::from_millis(200)).await;
            left = holdings(&host).await?;
        }
        anyhow::Ok(())
    };
    let emptied = wait::within(Duration::from_secs(60), "all that clients left to go", emptied).await;
    emptied.and_then(|done| done).with_context(|| format!("{left}, at first {resting}"))?;
    let closed =
        wait::until("all descriptors to be closed", || (looks.now() == looks.before()).then_some(()));
    let closed = closed.await;
    let now = looks.now();
    println!("{said}{} s, {releases} reloads, at most {most_sockets} sockets", plan.total.as_secs());
    looks.keep()?;
    looks.judge(&plan, &now)?;
    closed.with_context(|| format!("{now:?}, at first {:?}", looks.before()))?;
    for (name, pid) in &looks.pids {
        ensure!(sc_tests::run::is_alive(*pid), "{name} is another process now");
    }
    host.is_unhurt()
}
