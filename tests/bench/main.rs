//! What the host costs, beside a peer in the same run, in rounds that take turns.
//!
//!     cargo build --release
//!     cargo run --release -p sc-tests --example bench -- ping target/release/sc-host [rounds] [seconds]
//!     cargo run --release -p sc-tests --example bench -- middleware target/release/sc-host [rounds] [seconds]
//!     cargo run --release -p sc-tests --example bench -- store target/release/sc-host [rounds] [operations]
//!     cargo run --release -p sc-tests --example bench -- tls target/release/sc-host [rounds] [seconds]
//!     cargo run --release -p sc-tests --example bench -- pages target/release/sc-host [rounds] [seconds]
//!
//! `store` needs Debian's redis-server and redis-tools, `pages` nginx and wrk.
//!
//! CPU is what /proc says of all processes of the server: the kernel counts in hundredths of a second, so rounds last
//! some seconds. Equal rounds differ by a fifth; compare medians, and only those of one run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

mod pages;
mod peer;
mod ping;
mod store;
mod tls;

use std::time::Duration;

use anyhow::bail;
use tokio::task::LocalSet;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let number = |at: usize, default| words.get(at).map_or(Ok(default), |text| text.parse::<u64>());
    let rounds = number(2, 5);
    let run = async {
        match words[..] {
            ["echo"] => ping::echo().await,
            ["ping", binary, ..] => ping::compare(binary, rounds?, Duration::from_secs(number(3, 3)?)).await,
            ["middleware", binary, ..] => {
                ping::through_middleware(binary, rounds?, Duration::from_secs(number(3, 3)?)).await
            }
            ["tls", binary, ..] => tls::compare(binary, rounds?, Duration::from_secs(number(3, 3)?)).await,
            ["store", binary, ..] => store::compare(binary, rounds?, number(3, 400_000)?).await,
            ["pages", binary, ..] => {
                pages::compare(binary, rounds?, Duration::from_secs(number(3, 5)?)).await
            }
            _ => {
                bail!(
                    "usage: bench ping|middleware|tls|store|pages target/release/sc-host [rounds] [seconds or operations]"
                )
            }
        }
    };
    runtime.block_on(LocalSet::new().run_until(run))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
