//! The stores' data as a controller sees them: every operation, several stores, and what outlives kill -9.

use std::cell::Cell;
use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sc_tests::client::CallError;
use sc_tests::{Client, Host, HostBuilder, Role, join_all, long, wait};
use serde_json::{Value, json};

use crate::host_of;

/// Whether a store died or stood still over an operation, which was done or not: nobody can say.
fn is_unknown(error: &CallError) -> bool {
    ["StoreLostError", "StoreTimeoutError"].contains(&error.name())
}

/// Does an operation; of a refusal its name. What was in flight while its store died is asked again.
async fn act(client: &mut Client, mut operation: Value, op: &str) -> Value {
    operation["op"] = op.into();
    let began = Instant::now();
    loop {
        match client.call("do", operation.clone()).await {
            Ok(answer) => return answer,
            Err(error) if is_unknown(&error) && began.elapsed() < wait::SOON => {}
            Err(error) => return json!(error.name()),
        }
    }
}

/// With every write on the disk before its answer, reads beside it wait their turn and no longer.
#[tokio::test]
async fn reads_beside_writes_to_the_disk() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let host = host_of("browser").data_dir(folder.path()).set("store.fsync", "always").start().await?;
    let [mut writer, mut reader] = [Client::connect(&host).await?, Client::connect(&host).await?];
    let at = |op: &str| json!({ "op": op, "of": "global", "path": ["a"], "value": 1 });
    for _ in 0..50 {
        let (write, read) = (writer.begin("do", at("set")).await?, reader.begin("do", at("get")).await?);
        for outcome in [reader.finish(read).await, writer.finish(write).await] {
            ensure!(outcome.is_ok(), "{outcome:?}");
        }
    }
    ensure!(reader.ask("do", at("get")).await? == 1);
    host.is_unhurt()
}

/// Each operation once, on a session, on the global tree of two stores, and on a named tree.
#[tokio::test]
async fn every_operation() -> anyhow::Result<()> {
    let host = host_of("browser").stores(2).start().await?;
    let mut client = Client::connect(&host).await?;
    for of in ["session", "global", "users"] {
        let at = |path: &[&str]| json!({ "of": of, "path": path });
        let with = |path: &[&str], value: Value| json!({ "of": of, "path": path, "value": value });
        let range = |from: &str, to: &str| json!({ "of": of, "path": ["l"], "from": from, "to": to });
        let rows: Vec<(&str, Value, Value)> = vec![
            ("get", at(&["a"]), json!("nothing")),
            ("set", with(&["a", "b"], json!({"c": 1})), json!(null)),
            ("get", at(&["a"]), json!({"b": {"c": 1}})),
            ("has", at(&["a", "b", "c"]), json!(true)),
            ("has", at(&["a", "x"]), json!(false)),
            ("count", at(&["a", "b"]), json!(1)),
            ("add", with(&["l"], json!("x")), json!(null)),
            ("concat", with(&["l"], json!(["y", "z"])), json!(null)),
            ("get", at(&["l"]), json!(["x", "y", "z"])),
            ("getRange", range("1", "3"), json!(["y", "z"])),
            ("getRange", range("b", "c"), json!("InvalidTypeError")),
            ("removeRange", range("0", "1"), json!(["x"])),
            ("pop", at(&["l"]), json!("z")),
            ("get", at(&["l"]), json!(["y"])),
            ("increment", json!({ "of": of, "path": ["n"], "by": 5 }), json!(5)),
            ("increment", json!({ "of": of, "path": ["n"], "by": -7 }), json!(-2)),
            ("increment", json!({ "of": of, "path": ["l"], "by": 1 }), json!("InvalidTypeError")),
            ("compareAndSet", json!({ "of": of, "path": ["n"], "expected": 1, "value": 2 }), json!(false)),
            ("compareAndSet", json!({ "of": of, "path": ["n"], "expected": -2, "value": 2 }), json!(true)),
            ("expire", json!({ "of": of, "path": ["n"], "ms": 60_000 }), json!(true)),
            ("getExpiry", at(&["n"]), json!(true)),
            ("unexpire", at(&["n"]), json!(true)),
            ("getExpiry", at(&["n"]), json!(false)),
            ("expire", json!({ "of": of, "path": ["none"], "ms": 1 }), json!(false)),
            ("set", with(&["__proto__", "x"], json!(1)), json!(null)),
            ("get", at(&["x"]), json!("nothing")),
            ("set", with(&[], json!(1)), json!("InvalidPathError")),
            ("set", with(&["k"; 65], json!(1)), json!("InvalidPathError")),
            ("set", with(&["k"; 10_000], json!(1)), json!("InvalidPathError")),
            ("get", at(&[&"k".repeat(5000)]), json!("InvalidPathError")),
            ("count", at(&[]), json!(4)),
            ("remove", at(&["n"]), json!(2)),
            ("discard", at(&["l"]), json!(null)),
            ("get", at(&[]), json!({"__proto__": {"x": 1}, "a": {"b": {"c": 1}}})),
            ("expire", json!({ "of": of, "path": ["a"], "ms": 50 }), json!(true)),
        ];
        for (op, operation, expected) in rows {
            let shown: String = operation.to_string().chars().take(100).collect();
            let answer = act(&mut client, operation, op).await;
            ensure!(answer == expected, "{op} {shown}: {answer}, not {expected}");
        }
        tokio::time::sleep(Duration::from_millis(80)).await;
        let answer = act(&mut client, at(&["a"]), "get").await;
        ensure!(answer == "nothing", "it expired: {answer}");
        ensure!(act(&mut client, at(&[]), "discard").await.is_null());
        ensure!(act(&mut client, at(&[]), "get").await == "nothing");
    }
    host.is_unhurt()
}

/// Values of 16 MiB go in and out.
#[tokio::test]
async fn large_values() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let host = host_of("browser")
        .data_dir(folder.path())
        .set("worker.cpu_per_call", "5s")
        .set("worker.memory", "256MiB")
        .start()
        .await?;
    let mut client = Client::connect(&host).await?;
    for key in ["a", "b"] {
        let large = json!({ "of": "global", "path": [key], "ms": 16 << 20 });
        ensure!(act(&mut client, large, "setLarge").await.is_null());
    }
    let count = act(&mut client, json!({ "of": "global", "path": [] }), "count").await;
    ensure!(count == 2, "{count}");
    host.kill(Role::Store, 0)?;
    let has = act(&mut client, json!({ "of": "global", "path": ["b"] }), "has").await;
    ensure!(has == true, "{has}");
    Ok(())
}

fn durable(folder: &Path) -> HostBuilder {
    host_of("browser").data_dir(folder)
}

/// Appends numbers to a list, each awaited, and remembers which were acknowledged.
struct Writer {
    key: String,
    sent: i64,
    acknowledged: Vec<i64>,
}

impl Writer {
    fn new(number: usize) -> Self {
        Writer { key: format!("list{number}"), sent: 0, acknowledged: Vec::new() }
    }

    /// Writes until told to stop, or until its connection ends.
    async fn write(mut self, mut client: Client, stop: &Cell<bool>) -> anyhow::Result<Self> {
        while !stop.get() {
            let add = json!({ "op": "add", "of": "global", "path": [self.key], "value": self.sent });
            self.sent += 1;
            match client.call("do", add).await {
                Ok(_) => self.acknowledged.push(self.sent - 1),
                Err(CallError::Closed(_)) => return Ok(self),
                // Lost with its store: it may be there or not.
                Err(error) => ensure!(is_unknown(&error), "{error:?}"),
            }
        }
        Ok(self)
    }

    /// Fails unless each acknowledged number is there, in order and once, and none that was not sent.
    async fn check(&self, reader: &mut Client) -> anyhow::Result<()> {
        let list = reader.ask("do", json!({ "op": "get", "of": "global", "path": [self.key] })).await?;
        // Killed before its first number was taken, it has no list.
        let list: Vec<i64> = if list == "nothing" { Vec::new() } else { serde_json::from_value(list)? };
        ensure!(list.windows(2).all(|pair| pair[0] < pair[1]), "{}: doubled or out of order", self.key);
        ensure!(list.iter().all(|number| (0..self.sent).contains(number)), "{}: never sent", self.key);
        let there: HashSet<_> = list.into_iter().collect();
        let lost: Vec<_> = self.acknowledged.iter().filter(|number| !there.contains(number)).collect();
        ensure!(lost.is_empty(), "{}: {lost:?} were acknowledged and are gone", self.key);
        Ok(())
    }
}

/// Has all writers write, each over a connection that is open before any begins.
async fn all_write<'s>(
    writers: &mut Vec<Writer>,
    host: &Host,
    stop: &'s Cell<bool>,
) -> anyhow::Result<impl Future<Output = Vec<anyhow::Result<Writer>>> + use<'s>> {
    let mut clients = Vec::new();
    for _ in &*writers {
        clients.push(Client::connect(host).await?);
    }
    let pairs: Vec<_> = writers.drain(..).zip(clients).collect();
    Ok(join_all(pairs.into_iter().map(move |(writer, client)| writer.write(client, stop))))
}

/// A pause that differs from turn to turn.
fn pause(turn: usize) -> Duration {
    Duration::from_micros((turn as u64 * 7919) % 60_000 + 5_000)
}

/// Kills the store at some moment while eight clients write as fast as they are answered; then the whole host, so
/// that the next store's death is a first one again.
#[tokio::test]
async fn kill_the_store() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let kills = long(100);
    let mut writers: Vec<_> = (0..8).map(Writer::new).collect();
    let (mut back, mut writing_for) = (Vec::new(), Duration::ZERO);
    for turn in 0..kills {
        let host = durable(folder.path()).start().await?;
        let stop = Cell::new(false);
        let writing = all_write(&mut writers, &host, &stop).await?;
        let killing = async {
            let mut reader = Client::connect(&host).await?;
            tokio::time::sleep(pause(turn)).await;
            host.kill(Role::Store, 0)?;
            let began = Instant::now();
            let has = json!({ "op": "has", "of": "global", "path": ["list0"] });
            while reader.call("do", has.clone()).await.is_err() {}
            back.push(began.elapsed());
            tokio::time::sleep(pause(turn + 1)).await;
            stop.set(true);
            anyhow::Ok(reader)
        };
        let began = Instant::now();
        let (written, reader) = tokio::join!(writing, killing);
        writing_for += began.elapsed();
        writers = written.into_iter().collect::<Result<_, _>>()?;
        let mut reader = reader?;
        for writer in &writers {
            writer.check(&mut reader).await?;
        }
    }
    let written: usize = writers.iter().map(|writer| writer.acknowledged.len()).sum();
    back.sort();
    println!(
        "{kills} kills of the store: {written} writes acknowledged in {writing_for:.1?}, none lost; \
         back after {:.1?} (median), {:.1?} (worst)",
        back[back.len() / 2],
        back[back.len() - 1]
    );
    ensure!(written > 0);
    Ok(())
}

/// Kills the whole host at some moment and starts it again on the same folder.
#[tokio::test]
async fn kill_the_host() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let kills = long(100);
    let mut writers: Vec<_> = (0..4).map(Writer::new).collect();
    let mut ready = Vec::new();
    for turn in 0..kills {
        let host = durable(folder.path()).stores(2).start().await?;
        ready.push(host.started_in());
        let mut reader = Client::connect(&host).await?;
        for writer in writers.iter().filter(|writer| writer.sent > 0) {
            writer.check(&mut reader).await?;
        }
        let stop = Cell::new(false);
        let writing = all_write(&mut writers, &host, &stop).await?;
        let killing = async {
            tokio::time::sleep(pause(turn)).await;
            sc_tests::run::kill(host.master());
        };
        let (written, ()) = tokio::join!(writing, killing);
        writers = written.into_iter().collect::<Result<_, _>>()?;
    }
    let written: usize = writers.iter().map(|writer| writer.acknowledged.len()).sum();
    ready.sort();
    println!(
        "{kills} kills of the host: {written} writes acknowledged, none lost; ready after {:.1?} (median)",
        ready[ready.len() / 2]
    );
    ensure!(written > 0);
    Ok(())
}

/// Folders that cannot be used: what is wrong and how to mend it.
#[tokio::test]
async fn folders_that_are_no_data_folder() -> anyhow::Result<()> {
    let deadline = wait::COMPILED;
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let host = durable(&data).start().await?;
    durable(&data).run(deadline)?.refused(73, &["another host uses it", "--data-dir"])?;
    host.stop().await?;

    durable(&data).stores(2).run(deadline)?.refused(73, &["spread over 1 stores", "--stores 1"])?;
    let file = folder.path().join("file");
    std::fs::write(&file, "x")?;
    durable(&file).run(deadline)?.refused(73, &["cannot be made", "--data-dir none"])?;

    let journal = data.join("store-0/journal-00000001");
    let whole = std::fs::read(&journal)?;
    let mut newer = whole.clone();
    newer[16] = 9;
    std::fs::write(&journal, &newer)?;
    durable(&data).run(deadline)?.refused(73, &["journal-00000001", "newer"])?;
    std::fs::write(&journal, &whole)?;
    std::fs::write(data.join("format.json"), r#"{"version":7,"stores":1}"#)?;
    durable(&data).run(deadline)?.refused(73, &["newer sc-host", "format is 7"])?;
    std::fs::write(data.join("format.json"), "{")?;
    durable(&data).run(deadline)?.refused(73, &["format.json", "restore"])?;
    Ok(())
}

/// A journal that a crash left torn is cut with a warning; one that is damaged inside stops the start, with its place.
#[tokio::test]
async fn torn_and_damaged_journals() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let host = durable(folder.path()).start().await?;
    let mut client = Client::connect(&host).await?;
    for number in 0..20 {
        let set = json!({ "of": "global", "path": ["k", number.to_string()], "value": number });
        ensure!(act(&mut client, set, "set").await.is_null());
    }
    host.stop().await?;
    let journal = folder.path().join("store-0/journal-00000001");
    let whole = std::fs::read(&journal)?;

    std::fs::write(&journal, &whole[..whole.len() - 3])?;
    let host = durable(folder.path()).start().await?;
    let says_so = |record: &Value| {
        record["message"].as_str().is_some_and(|message| message.contains("it was cut there"))
    };
    let cut = host.log().record("where the journal was cut", says_so).await?;
    ensure!(cut["level"] == "warn", "{cut}");
    let mut client = Client::connect(&host).await?;
    let count = act(&mut client, json!({ "of": "global", "path": ["k"] }), "count").await;
    ensure!(count.as_i64().is_some_and(|count| count >= 19), "{count}");
    drop(client);
    host.stop().await?;

    let mut damaged = whole.clone();
    damaged[100] ^= 0x40;
    std::fs::write(&journal, &damaged)?;
    durable(folder.path())
        .run(wait::COMPILED)?
        .refused(73, &["journal-00000001", "at byte", "truncate -s"])?;
    Ok(())
}

/// A disk without room: changes are refused by name and lose nothing; with room again they are taken.
#[tokio::test]
async fn a_full_disk() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(_disk) = SmallDisk::mount(folder.path())? else { return Ok(()) };
    let host = durable(&folder.path().join("data")).set("worker.cpu_per_call", "5s").start().await?;
    let mut client = Client::connect(&host).await?;
    let filler = folder.path().join("filler");
    std::fs::write(&filler, vec![0; 3 << 20]).context("room for the filler")?;
    let set = |key: &str| json!({ "of": "global", "path": [key], "ms": 200_000 });
    let mut taken = 0;
    let refused = loop {
        match act(&mut client, set(&format!("k{taken}")), "setLarge").await {
            Value::Null => taken += 1,
            other => break other,
        }
        ensure!(taken < 1000, "the disk is never full");
    };
    ensure!(refused == "StorageError", "{refused}");
    ensure!(act(&mut client, set("more"), "setLarge").await == "StorageError");
    let has = act(&mut client, json!({ "of": "global", "path": ["k0"] }), "has").await;
    ensure!(has == true, "reads go on: {has}");
    std::fs::remove_file(&filler)?;
    let again = async { while !act(&mut client, set("after"), "setLarge").await.is_null() {} };
    wait::within(wait::SOON, "changes to be taken again", again).await?;
    host.kill(Role::Store, 0)?;
    for key in (0..taken).map(|number| format!("k{number}")).chain(["after".to_owned()]) {
        let has = act(&mut client, json!({ "of": "global", "path": [key] }), "has").await;
        ensure!(has == true, "{key} was acknowledged and is gone");
    }
    Ok(())
}

/// A file system of a few MiB, where this user may mount one.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> anyhow::Result<Option<Self>> {
        let mut mount = sc_tests::run::command(Path::new("mount"));
        mount.args(["-t", "tmpfs", "-o", "size=5m", "tmpfs"]).arg(at);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        if !mounted {
            println!("skipped a_full_disk: this user may not mount a small file system");
        }
        Ok(mounted.then(|| SmallDisk(at.to_owned())))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What still runs in there ends with its host.
        let _ = sc_tests::run::command(Path::new("umount")).arg("-l").arg(&self.0).status();
    }
}
