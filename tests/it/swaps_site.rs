//! A site is replaced while requests come: every answer is whole, and from one release.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use sc_tests::raw::Raw;
use sc_tests::{Client, Host, Role, guests as components, host::HostBuilder, http, paths, wait};
use tokio::task::{JoinSet, LocalSet};

use crate::host;
use crate::reload::{edit, generation, refused, reload};

const NAME: &str = "pages-site";
const RELOADS: u64 = 20;
const CALLERS: u64 = 6;
const PIECES: usize = 10;

/// An app whose site a test changes.
struct Pages {
    folder: tempfile::TempDir,
}

impl Pages {
    fn new() -> anyhow::Result<Self> {
        let pages = Pages { folder: tempfile::tempdir_in(paths::target_folder("apps")?)? };
        std::fs::copy(components::guest("browser")?, pages.file("worker.wasm"))?;
        pages.release(1, "site.wasm")?;
        pages.configure("", "")?;
        Ok(pages)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Builds a release: the number is written over the one that was compiled in.
    fn release(&self, number: u64, name: &str) -> anyhow::Result<PathBuf> {
        const PLACE: &[u8] = b"release=00000000";
        let mut bytes = std::fs::read(components::guest("swaps_site")?)?;
        let places: Vec<_> = bytes
            .windows(PLACE.len())
            .enumerate()
            .filter(|(_, bytes)| *bytes == PLACE)
            .map(|(at, _)| at)
            .collect();
        let [at] = *places else { anyhow::bail!("{} places for a release", places.len()) };
        bytes[at..at + PLACE.len()].copy_from_slice(format!("release={number:08}").as_bytes());
        let (new, file) = (self.file("new"), self.file(name));
        std::fs::write(&new, bytes)?;
        std::fs::rename(new, &file)?;
        Ok(file)
    }

    fn configure(&self, site: &str, more: &str) -> anyhow::Result<()> {
        let text = format!(
            "[app]\nname = \"pages\"\n[worker]\ncomponent = \"worker.wasm\"\n[http]\ncomponent = \"site.wasm\"\n{site}\n{more}"
        );
        Ok(std::fs::write(self.file("sc.toml"), text)?)
    }

    fn host(&self) -> HostBuilder {
        host().app(self.folder.path())
    }
}

/// The release that an answer is from, all of it.
async fn ask(host: &Host, path: &str, lines: usize) -> anyhow::Result<u64> {
    let answer = http::get(host, path).await?;
    ensure!(answer.status == 200, "{path}: {answer:?}");
    whole(&answer.body, lines)
}

fn whole(body: &str, lines: usize) -> anyhow::Result<u64> {
    let mut said: Vec<_> = body.lines().collect();
    ensure!(lines == 0 || (said.pop() == Some("end") && said.len() == lines), "not whole: {body}");
    let first = said.first().and_then(|line| line.strip_prefix("release=")).context("no release")?.to_owned();
    ensure!(
        said.iter().all(|line| line.strip_prefix("release=") == Some(&first)),
        "of several releases: {body}"
    );
    Ok(first.parse()?)
}

async fn now(host: &Host) -> anyhow::Result<u64> {
    ask(host, "/now/", 0).await
}

#[tokio::test]
async fn every_answer_is_whole() -> anyhow::Result<()> {
    LocalSet::new().run_until(under_load()).await
}

async fn under_load() -> anyhow::Result<()> {
    let pages = Pages::new()?;
    pages.release(0, "site.wasm")?;
    let host = Rc::new(pages.host().workers(2).start().await?);
    let (seen, quiet) = (Rc::new(RefCell::new(BTreeMap::<u64, u64>::new())), Rc::new(Cell::new(false)));
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let (host, seen, quiet) = (Rc::clone(&host), Rc::clone(&seen), Rc::clone(&quiet));
        callers.spawn_local(async move {
            while !quiet.get() {
                let release = match number % 2 {
                    0 => now(&host).await?,
                    _ => ask(&host, &format!("/pieces/{PIECES}"), PIECES).await?,
                };
                *seen.borrow_mut().entry(release).or_default() += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            anyhow::Ok(())
        });
    }
    let swapped = swap_all(&pages, &host).await;
    quiet.set(true);
    swapped.with_context(|| host.log().tail(40))?;
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    let seen = seen.take();
    println!("{RELOADS} reloads, answers by release: {seen:?}");
    ensure!(seen.keys().all(|release| ![5, 10, 15].contains(release)), "{seen:?}");
    ensure!(seen.len() as u64 > RELOADS / 2, "{seen:?}");
    host.is_unhurt()?;

    // A worker that is killed comes back with the present generation, whatever the configured file is.
    let other = pages.release(77, "other.wasm")?.display().to_string();
    reload(&host, &[NAME, "--component", &other]).await?;
    let present = generation(&host, NAME).await?;
    for index in [0, 1] {
        let old = host.kill(Role::Worker, index)?;
        host.respawned(Role::Worker, index, old).await?;
    }
    let back = async {
        while !generation(&host, NAME).await.is_ok_and(|now| now == present)
            || Client::connect(&host).await.is_err()
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    wait::within(wait::SOON, "the workers to be back", back).await?;
    for _ in 0..10 {
        ensure!(now(&host).await? == 77);
    }
    Ok(())
}

/// All reloads; every fifth is of something broken.
async fn swap_all(pages: &Pages, host: &Host) -> anyhow::Result<()> {
    let (text, half) = (pages.file("text.wasm"), pages.file("half.wasm"));
    std::fs::write(&text, "hello")?;
    let bytes = std::fs::read(pages.file("site.wasm"))?;
    std::fs::write(&half, &bytes[..bytes.len() / 2])?;
    let worker = components::guest("swaps")?;
    let from = |file: &Path| ["--component".to_owned(), file.display().to_string(), NAME.to_owned()].to_vec();
    let mut present = 0;
    for number in 1..=RELOADS {
        let before = generation(host, NAME).await?;
        let (arguments, said) = match number {
            5 => (from(&text), "text.wasm"),
            10 => (from(&half), "half.wasm"),
            15 => {
                let mut arguments = from(&worker);
                arguments.push("--allow-new-imports".to_owned());
                (arguments, "nothing was replaced (the file was ")
            }
            20 => {
                // The site is taken back when the controller is no good.
                pages.release(number, "site.wasm")?;
                std::fs::copy(components::guest("dies_in_start")?, pages.file("worker.wasm"))?;
                (vec!["--allow-new-imports".to_owned()], "nothing was replaced (the file was ")
            }
            _ => {
                pages.release(number, "site.wasm")?;
                let report = reload(host, &[NAME]).await.with_context(|| format!("reload {number}"))?;
                ensure!(report.contains("is replaced by") && report.contains("no other servers"), "{report}");
                ensure!(generation(host, NAME).await? != before, "reload {number}");
                for _ in 0..4 {
                    ensure!(now(host).await? == number, "an answer to a later request is of the new release");
                }
                present = number;
                continue;
            }
        };
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        refused(host, &arguments, &[said]).await.with_context(|| format!("reload {number}"))?;
        ensure!(generation(host, NAME).await? == before, "reload {number} changed something");
        ensure!(now(host).await? == present);
    }
    Ok(())
}

/// A request that is under way ends where it began; what it may use is part of a generation.
#[tokio::test]
async fn what_is_under_way_and_what_changes() -> anyhow::Result<()> {
    let pages = Pages::new()?;
    let host = pages.host().start().await?;
    let mut raw = Raw::open(&host).await?;
    raw.send(b"GET /pieces/150 HTTP/1.0\r\n\r\n").await?;
    raw.head().await?;
    pages.release(2, "site.wasm")?;
    reload(&host, &[]).await?;
    ensure!(now(&host).await? == 2);
    ensure!(whole(&raw.rest().await?, 150)? == 1);
    pages.configure("memory = \"32MiB\"\ncpu_per_request = \"300ms\"", "")?;
    let report = reload(&host, &[]).await?;
    ensure!(report.contains("32 MiB of memory; 300 ms of CPU time"), "{report}");
    pages.configure("instances = 3", "")?;
    refused(&host, &[], &["take effect at a restart only: http.instances"]).await?;
    pages.configure("memory = \"32MiB\"\ncpu_per_request = \"300ms\"", "")?;
    // One that wants more.
    let less = components::guest("site_leaks")?.display().to_string();
    reload(&host, &[NAME, "--component", &less]).await?;
    refused(&host, &[NAME], &["imports more than the running one:", "--allow-new-imports"]).await?;
    reload(&host, &[NAME, "--allow-new-imports"]).await?;
    ensure!(now(&host).await? == 2);
    host.is_unhurt()
}

/// `dev` watches the files of a site and of a stores' controller.
#[tokio::test]
async fn dev_watches() -> anyhow::Result<()> {
    let pages = Pages::new()?;
    std::fs::copy(components::guest("swaps_store")?, pages.file("store.wasm"))?;
    pages.configure("", "[store]\ncomponent = \"store.wasm\"\n")?;
    let host = host().dev().own_key().app(pages.folder.path()).start().await?;
    ensure!(now(&host).await? == 1);
    pages.release(2, "site.wasm")?;
    let swapped = async { while !now(&host).await.is_ok_and(|release| release == 2) {} };
    wait::within(wait::COMPILED, "the changed site", swapped).await?;
    let before = generation(&host, "pages-store").await?;
    edit(&pages.file("store.wasm"))?;
    let swapped = async { while generation(&host, "pages-store").await.is_ok_and(|now| now == before) {} };
    wait::within(wait::COMPILED, "the changed stores' controller", swapped).await?;
    host.is_unhurt()
}
