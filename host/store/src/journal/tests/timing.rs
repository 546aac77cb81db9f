//! Figures, for people: `cargo test --release -p sc-store --lib -- --ignored --nocapture journal`.

#![allow(clippy::print_stderr, reason = "for people")]

use super::*;

const BATCHES: u32 = 20_000;

#[test]
#[ignore = "prints figures and checks nothing"]
fn figures() {
    let folder = Folder::new();
    let (mut journal, ..) = folder.open();
    let batch: Vec<Change> = (0..16).map(|n| set(&format!("key-{n}"), &"x".repeat(1024))).collect();
    let began = Instant::now();
    for _ in 0..BATCHES {
        write(&mut journal, &batch);
    }
    let appended = began.elapsed() / BATCHES;
    let began = Instant::now();
    journal.sync().expect("a disk");
    let synced = began.elapsed();
    let bytes = journal.disk_bytes();
    drop(journal);
    let (_, opened) = Journal::open_now(&folder.0, |_| {}).expect("a journal");
    let speed = bytes as f64 / 1e6 / opened.took.as_secs_f64();
    eprintln!("append and write of 16 changes of 1 KB: {} ns", appended.as_nanos());
    eprintln!("sync of {} MB at once: {synced:?}", bytes / 1_000_000);
    eprintln!("replay: {speed:.0} MB/s, {:.0} changes/s", opened.changes as f64 / opened.took.as_secs_f64());
}
