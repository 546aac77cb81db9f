//! A store's controller: procedures that do what they should, and some that do not.

use sc_sdk::store::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Transfer {
    from: String,
    to: String,
    amount: i64,
}

/// As of `Array.splice`: `count` is to the end where nothing is put in.
#[derive(Deserialize)]
struct Splice {
    key: String,
    #[serde(default)]
    index: usize,
    count: Option<usize>,
    #[serde(default)]
    items: Vec<Json>,
}

#[store_controller]
fn run(store: &mut Store) -> Result<(), Problem> {
    let config: Json = store.config()?;
    if config["refuse"] == true {
        return Err(Problem::unnamed("told to refuse"));
    }
    let here = *store;
    store.procedure("transfer", move |accounts, Transfer { from, to, amount }: Transfer| {
        let left = accounts.increment(&from, -amount)?;
        accounts.increment(&to, amount)?;
        here.publish("transfers", json!({ "from": from, "to": to }));
        if left < 0 {
            return Err(
                Problem::new("NoMoneyError", "the account does not cover this").with("missing", -left)
            );
        }
        Ok(left)
    });
    store.procedure("sum", |data, keys: Vec<String>| {
        keys.iter().try_fold(0i64, |sum, key| Ok::<_, Problem>(sum + data.get::<i64>(key)?.unwrap_or(0)))
    });
    store.procedure("subTree", |data, key: String| data.get::<Json>(key));
    store.procedure("injected", |_data, injected: Json| Ok::<_, Problem>(injected));
    store.procedure("splice", |data, Splice { key, index, count, items }: Splice| {
        let mut list: Vec<Json> = data.get(&key)?.unwrap_or_default();
        let index = index.min(list.len());
        let rest = list.len() - index;
        let count = count.unwrap_or(if items.is_empty() { rest } else { 0 }).min(rest);
        let removed: Vec<Json> = list.splice(index..index + count, items).collect();
        data.set(&key, list)?;
        Ok::<_, Problem>(removed)
    });
    store.procedure("note", |data, what: Json| data.add("notes", what));
    store.procedure("half", |data, _: ()| -> Result<(), Problem> {
        data.set("half", true)?;
        data.set(["list", "0"], 1)?;
        data.remove("gone")?;
        told_to()
    });
    store.procedure("loops", |data, _: ()| -> Result<(), Problem> {
        data.set("looped", true)?;
        loop {
            std::hint::black_box(());
        }
    });
    store.procedure("hoards", |data, _: ()| -> Result<(), Problem> {
        let mut all = Vec::new();
        loop {
            all.push(vec![1u8; 1 << 20]);
            data.set("hoarded", all.len())?;
        }
    });
    store.procedure("wrong", |data, _: ()| data.increment("text", 1));
    store.on_first_subscriber(|store, channel| {
        if let Some(topic) = channel.strip_prefix("topic.") {
            store.publish("turns", json!([topic, "first"]));
        }
    });
    store.on_last_subscriber(|store, channel| {
        if let Some(topic) = channel.strip_prefix("topic.") {
            store.publish("turns", json!([topic, "last"]));
        }
    });
    Ok(())
}

/// A function of its own, to be found in backtraces.
#[inline(never)]
fn told_to() -> ! {
    panic!("after some changes")
}
