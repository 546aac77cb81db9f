//! The records of a host under test, as they come. Everything is kept: a test may wait for a record that has already
//! been written.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use serde_json::Value;
use tokio::sync::watch;

/// The log of one process. Clones share it.
#[derive(Clone, Debug)]
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    count: watch::Receiver<usize>,
}

impl Log {
    /// Reads lines on a thread of its own until the stream ends.
    pub fn read(streams: Vec<Box<dyn Read + Send>>) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (written, count) = watch::channel(0);
        let written = Arc::new(written);
        for stream in streams {
            let (lines, written) = (Arc::clone(&lines), Arc::clone(&written));
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                let mut line = Vec::new();
                while matches!(reader.read_until(b'\n', &mut line), Ok(read) if read > 0) {
                    let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                    let count = {
                        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                        lines.push(text);
                        lines.len()
                    };
                    written.send_replace(count);
                    line.clear();
                }
            });
        }
        Log { lines, count }
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All lines so far that are records.
    pub fn records(&self) -> Vec<Value> {
        self.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until the stream has ended and all lines are here.
    pub async fn ended(&self) -> anyhow::Result<()> {
        let mut count = self.count.clone();
        crate::wait::within(crate::wait::SOON, "the log's end", async {
            while count.changed().await.is_ok() {}
        })
        .await
    }

    /// The last lines, as one text.
    pub fn tail(&self, count: usize) -> String {
        let lines = self.lines();
        lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
    }

    /// Waits for a line, from the `from`th on, that `found` makes something of.
    pub async fn wait<T>(
        &self,
        what: &str,
        deadline: Duration,
        from: usize,
        mut found: impl FnMut(&str) -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut count = self.count.clone();
        let mut next = from;
        let search = async {
            loop {
                let lines = self.lines();
                for line in lines.get(next..).unwrap_or_default() {
                    if let Some(found) = found(line) {
                        return Some(found);
                    }
                }
                next = next.max(lines.len());
                if count.changed().await.is_err() && self.lines().len() == next {
                    return None;
                }
            }
        };
        match tokio::time::timeout(deadline, search).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => bail!("the log ended before {what}:\n{}", self.tail(60)),
            Err(_) => bail!("waited {deadline:?} in vain for {what}; the log's end:\n{}", self.tail(60)),
        }
    }

    /// Waits for a record that is so.
    pub async fn record(&self, what: &str, mut is_so: impl FnMut(&Value) -> bool) -> anyhow::Result<Value> {
        let found = |line: &str| serde_json::from_str(line).ok().filter(&mut is_so);
        self.wait(what, crate::wait::SOON, 0, found).await
    }
}
