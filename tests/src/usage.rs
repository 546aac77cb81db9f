//! What processes cost, from /proc.

use std::fs::read_to_string;
use std::time::Duration;

/// Memory that the process holds in RAM, in bytes; 0 once it is gone.
pub fn resident(pid: u32) -> u64 {
    let status = read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// What a process has in memory, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Its pages, those that it shares with others by its share (PSS).
    pub proportional: u64,
    /// Its own pages that no file is behind.
    pub anonymous: u64,
}

/// The process's memory; nothing once it is gone.
pub fn memory(pid: u32) -> Memory {
    let rollup = read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let of = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    };
    Memory { proportional: of("Pss:"), anonymous: of("Anonymous:") }
}

/// How many descriptors the process has open.
pub fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// CPU time of the process, user and system, all threads. The kernel counts in hundredths of a second.
pub fn cpu(pid: u32) -> Duration {
    let stat = read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// The children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// The arguments of a process.
pub fn arguments(pid: u32) -> Vec<String> {
    let line = read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split('\0').map(str::to_owned).collect()
}
