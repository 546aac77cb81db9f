//! A store's controller is replaced while clients call its procedures: none is lost, none fails, none is done twice.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sc_tests::{Client, Host, Role, guests as components, host::HostBuilder, paths, run as processes, wait};
use serde_json::{Value, json};
use tokio::task::{JoinSet, LocalSet};

use crate::host;
use crate::reload::{edit, generation, refused, reload};

const NAME: &str = "shop-store";
const RELOADS: u64 = 20;
const CALLERS: usize = 12;
const PAUSE: Duration = Duration::from_millis(5);

/// An app whose stores' controller a test changes.
struct Shop {
    folder: tempfile::TempDir,
}

impl Shop {
    fn new() -> anyhow::Result<Self> {
        let shop = Shop { folder: tempfile::tempdir_in(paths::target_folder("apps")?)? };
        std::fs::copy(components::guest("browser")?, shop.file("worker.wasm"))?;
        std::fs::copy(components::guest("swaps_store")?, shop.file("store.wasm"))?;
        shop.configure(1, "")?;
        Ok(shop)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, release: u64, how: &str) -> anyhow::Result<()> {
        let text = format!(
            "[app]\nname = \"shop\"\n[worker]\ncomponent = \"worker.wasm\"\n[store]\ncomponent = \"store.wasm\"\n\
             cpu_per_call = \"5s\"\nconfig = {{ release = {release}, how = \"{how}\" }}\n"
        );
        Ok(std::fs::write(self.file("sc.toml"), text)?)
    }

    fn host(&self) -> HostBuilder {
        // A test that waits for a command answers no pings meanwhile.
        host().app(self.folder.path()).set("protocol.ping_timeout_disabled", true)
    }
}

/// A procedure on a tree of its own, so that callers use all stores.
fn run(tree: &str, procedure: &str, argument: impl Into<Value>) -> Value {
    json!({ "op": "run", "of": tree, "path": [], "from": procedure, "value": argument.into() })
}

async fn release(client: &mut Client, tree: &str) -> anyhow::Result<u64> {
    let answer = client.ask("do", run(tree, "count", "n")).await?;
    answer["release"].as_u64().with_context(|| answer.to_string())
}

/// What the callers saw.
#[derive(Default)]
struct Seen {
    calls: u64,
    releases: BTreeMap<u64, u64>,
    longest: Duration,
}

impl Seen {
    /// A call was answered by that release, after so long.
    fn note(&mut self, release: u64, time: Duration) {
        self.calls += 1;
        *self.releases.entry(release).or_default() += 1;
        self.longest = self.longest.max(time);
    }
}

#[tokio::test]
async fn no_call_is_lost_or_fails() -> anyhow::Result<()> {
    LocalSet::new().run_until(under_load()).await
}

async fn under_load() -> anyhow::Result<()> {
    let shop = Shop::new()?;
    shop.configure(0, "")?;
    let data = tempfile::tempdir()?;
    let host = shop.host().workers(2).stores(2).data_dir(data.path()).start().await?;
    let (seen, quiet) = (Rc::new(RefCell::new(Seen::default())), Rc::new(Cell::new(false)));
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let mut client = Client::connect(&host).await?;
        let (seen, quiet) = (Rc::clone(&seen), Rc::clone(&quiet));
        callers.spawn_local(async move { call(&mut client, &format!("tree {number}"), &seen, &quiet).await });
    }
    let mut watcher = Client::connect(&host).await?;
    watcher.subscribe("turns").await?;
    let mut visitor = Client::connect(&host).await?;
    let visiting = async {
        let mut visits = 0;
        while !quiet.get() {
            visits += 1;
            let channel = format!("topic.{visits}");
            visitor.subscribe(&channel).await?;
            visitor.ask("#unsubscribe", json!(channel)).await?;
            tokio::time::sleep(PAUSE).await;
        }
        anyhow::Ok(visits)
    };
    let swapping = async {
        let swapped = swap_all(&shop, &host).await;
        quiet.set(true);
        swapped
    };
    let turns = RefCell::new(BTreeMap::<u64, Vec<String>>::new());
    // It reads what it hears while the stores are swapped, for it would count as slow if it did not.
    let watching = async {
        loop {
            let told = watcher.publication("turns").await?;
            let topic = told[0].as_str().and_then(|topic| topic.parse().ok()).context("a topic")?;
            turns
                .borrow_mut()
                .entry(topic)
                .or_default()
                .push(told[1].as_str().unwrap_or_default().to_owned());
        }
    };
    tokio::pin!(watching);
    let done = tokio::select! {
        done = async { tokio::try_join!(visiting, swapping) } => done,
        failed = &mut watching => return failed,
    };
    let (visits, ()): (u64, ()) = done.with_context(|| host.log().tail(40))?;
    let mut counts = Vec::new();
    while let Some(ended) = callers.join_next().await {
        counts.push(ended??);
    }
    // Who comes and goes was said once, in turn.
    let all_told = async {
        while turns.borrow().values().map(Vec::len).sum::<usize>() < 2 * visits as usize {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = all_told => {}
        failed = watching => return failed,
    }
    ensure!(turns.borrow().values().all(|turns| *turns == ["first", "last"]), "{turns:?}");
    {
        let seen = seen.borrow();
        println!(
            "{RELOADS} reloads, {} calls, {visits} visits; releases {:?}; the longest call took {:?}",
            seen.calls, seen.releases, seen.longest
        );
        let known: BTreeSet<_> = seen.releases.keys().copied().collect();
        // A release that starts on one store only has run there until it was taken back; others of that kind never.
        let never: Vec<_> = known.iter().filter(|release| [5, 10, 15].contains(*release)).collect();
        ensure!(never.is_empty() && known.len() > 10, "{known:?}");
    }

    // A store that is killed comes back with the present generation, and its data.
    let present = generation(&host, NAME).await?;
    for index in [0, 1] {
        let old = host.kill(Role::Store, index)?;
        host.respawned(Role::Store, index, old).await?;
    }
    let mut client = Client::connect(&host).await?;
    let back = async {
        for (tree, count) in counts {
            let counted = loop {
                match client.call("do", run(&tree, "count", "n")).await {
                    Ok(answer) => break answer,
                    // The store is not back yet: nothing was done.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            };
            let expected = json!({ "release": 19, "count": count + 1 });
            ensure!(counted == expected, "{tree}: {counted}, not {expected}");
        }
        anyhow::Ok(())
    };
    wait::within(wait::SOON, "the stores to be back", back).await??;
    ensure!(generation(&host, NAME).await? == present);
    Ok(())
}

/// All reloads; every fifth is of something broken.
async fn swap_all(shop: &Shop, host: &Host) -> anyhow::Result<()> {
    let text = shop.file("text.wasm");
    std::fs::write(&text, "hello")?;
    let wrong = components::guest("swaps")?;
    for number in 1..=RELOADS {
        let before = generation(host, NAME).await?;
        let from = |file: &Path| ["--component".to_owned(), file.display().to_string(), NAME.to_owned()];
        let (how, arguments, said) = match number {
            5 => ("", from(&text).to_vec(), ["text.wasm", "not a WebAssembly file"]),
            10 => {
                let mut arguments = from(&wrong).to_vec();
                arguments.push("--allow-new-imports".to_owned());
                ("", arguments, ["swaps.wasm", "world `store`"])
            }
            15 => ("panic in start", Vec::new(), ["store.wasm", "panics in on-start"]),
            20 => ("error on store 1", Vec::new(), ["store.wasm", "not on store 1"]),
            _ => {
                shop.configure(number, "")?;
                if number % 2 == 0 {
                    edit(&shop.file("store.wasm"))?;
                }
                let report = reload(host, &[NAME]).await.with_context(|| format!("reload {number}"))?;
                ensure!(report.contains("is replaced by") && report.contains("no other servers"), "{report}");
                ensure!(generation(host, NAME).await? != before, "reload {number}");
                continue;
            }
        };
        shop.configure(number, how)?;
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        refused(host, &arguments, &said).await.with_context(|| format!("reload {number}"))?;
        ensure!(generation(host, NAME).await? == before, "reload {number} changed something");
    }
    // What the killed stores start with is what runs, not what the file says.
    Ok(())
}

/// One caller: each of its calls is answered, by whichever release, and was done once. Gives its tree and its count.
async fn call(
    client: &mut Client,
    tree: &str,
    seen: &RefCell<Seen>,
    quiet: &Cell<bool>,
) -> anyhow::Result<(String, u64)> {
    let mut count = 0;
    while !quiet.get() {
        let began = Instant::now();
        let answer = client.call("do", run(tree, "count", "n")).await;
        let answer = answer.map_err(|error| anyhow::anyhow!("{tree}, call {count}: {error:?}"))?;
        count += 1;
        ensure!(answer["count"] == count, "{tree}: {answer} to call {count}");
        seen.borrow_mut().note(answer["release"].as_u64().unwrap_or(0), began.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    Ok((tree.to_owned(), count))
}

/// What runs at a swap ends in the old instance, and what it did stays. The new one starts meanwhile, and has what
/// waited.
#[tokio::test]
async fn a_procedure_that_takes_long() -> anyhow::Result<()> {
    let shop = Shop::new()?;
    let host = shop.host().set("store.cpu_per_call", "20s").start().await?;
    let (mut one, mut two) = (Client::connect(&host).await?, Client::connect(&host).await?);
    ensure!(release(&mut one, "a").await? == 1);
    shop.configure(2, "")?;
    // It has begun when the reload comes, goes on when the new one has started, and ends before its caller gives up.
    let working = one.begin("do", run("a", "work", 4_000)).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (reloaded, waited) = tokio::join!(reload(&host, &[NAME]), release(&mut two, "a"));
    reloaded?;
    let old = one.finish(working).await.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    ensure!(old == json!({ "release": 1 }), "{old}");
    ensure!(waited? == 2, "the old one had what waited");
    let worked = one.ask("do", json!({ "op": "get", "of": "a", "path": ["worked"] })).await?;
    ensure!(worked == 1, "what the old one did stays: {worked}");
    host.is_unhurt()
}

/// What a stores' controller wants and may use is told before it runs, and another component is refused.
#[tokio::test]
async fn looked_at_before_it_runs() -> anyhow::Result<()> {
    let shop = Shop::new()?;
    let check = || {
        let mut command = processes::command(env!("CARGO_BIN_EXE_sc-host"));
        processes::finish(command.arg("check").arg(shop.folder.path()), wait::COMPILED)
    };
    let fine = check()?;
    ensure!(fine.code == Some(0), "{}", fine.text);
    for said in ["store.wasm: a store controller of", "5000 ms of CPU time a call; no other servers"] {
        ensure!(fine.text.contains(said), "{said} is not in {}", fine.text);
    }
    std::fs::copy(components::guest("browser")?, shop.file("store.wasm"))?;
    check()?.refused(65, &["store.wasm", "no store's controller but of the world `worker`"])
}

/// Too long a start, too many rights, no such component: nothing changes. And files are watched.
#[tokio::test]
async fn refusals_and_triggers() -> anyhow::Result<()> {
    let shop = Shop::new()?;
    let host = shop.host().set("store.cpu_per_call", "50ms").arg("--watch").start().await?;
    let mut client = Client::connect(&host).await?;
    let before = generation(&host, NAME).await?;
    for (how, said) in
        [("loop in start", "1000 ms of CPU time"), ("error in start", "this release never starts")]
    {
        shop.configure(2, how)?;
        refused(&host, &[], &[NAME, said, "nothing was replaced", "store.wasm"]).await?;
        ensure!(generation(&host, NAME).await? == before && release(&mut client, "a").await? == 1, "{how}");
    }
    refused(&host, &["nobody"], &["there are: shop-store, shop"]).await?;
    shop.configure(1, "")?;
    edit(&shop.file("store.wasm"))?;
    let swapped = async {
        while generation(&host, NAME).await.is_ok_and(|present| present == before) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    wait::within(wait::COMPILED, "the changed file's generation", swapped).await?;
    // The file of a component that wants more.
    let plain = shop.file("plain.wasm");
    std::fs::copy(components::guest("procedures")?, &plain)?;
    let plain = plain.display().to_string();
    reload(&host, &[NAME, "--component", &plain]).await?;
    refused(&host, &[NAME], &["imports more than the running one:", "--allow-new-imports"]).await?;
    reload(&host, &[NAME, "--allow-new-imports"]).await?;
    ensure!(release(&mut client, "a").await? == 1);
    Ok(())
}
