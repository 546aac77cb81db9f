//! Many operations on the store, so many of them outstanding at any time: what benchmarks measure a store with.

use sc_sdk::prelude::*;
use serde::Deserialize;

#[derive(Clone, Deserialize)]
struct Pump {
    /// `get` or `set`.
    op: String,
    /// Of how many keys, in how many trees named `pump<n>`.
    keys: u64,
    trees: u64,
    /// Bytes of a value.
    size: usize,
    count: u64,
    outstanding: u64,
}

pub fn attach(socket: &Socket) {
    socket.on_request("pump", async |socket, pump: Pump| {
        let value = "x".repeat(pump.size);
        let trees: Vec<Tree> =
            (0..pump.trees).map(|number| socket.worker().tree(&format!("pump{number}"))).collect();
        let done = Counter::new();
        for lane in 0..pump.outstanding {
            let (pump, trees, value, done) = (pump.clone(), trees.clone(), value.clone(), done.clone());
            spawn(async move {
                let mut number = lane;
                while number < pump.count {
                    let key = number.wrapping_mul(7919) % pump.keys;
                    let tree = &trees[(key % pump.trees) as usize];
                    let path = format!("k{key}");
                    if pump.op == "get" {
                        let _ = tree.get::<String>(path).await;
                    } else {
                        let _ = tree.set(path, &value).await;
                    }
                    number += pump.outstanding;
                    done.next();
                }
            });
        }
        while done.get() < pump.count {
            sleep(Duration::from_millis(5)).await;
        }
        Ok(done.get())
    });
}
