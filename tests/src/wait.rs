//! Waits that end: on their event, or at a deadline with a sentence that names it.

use std::future::Future;
use std::time::Duration;

use anyhow::bail;

/// For anything that should come at once: generous, because builds may share the machine.
pub const SOON: Duration = Duration::from_secs(20);

/// For what may have to compile a component first, or two: in a niced process, in a debug build, on a busy machine.
pub const COMPILED: Duration = Duration::from_secs(180);

/// Awaits with a deadline.
pub async fn within<T>(deadline: Duration, what: &str, future: impl Future<Output = T>) -> anyhow::Result<T> {
    match tokio::time::timeout(deadline, future).await {
        Ok(value) => Ok(value),
        Err(_) => bail!("waited {deadline:?} in vain for {what}"),
    }
}

/// Looks again and again, each 10 ms, for what sends no event: a process's end, a count in /proc.
pub async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let looking = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(SOON, what, looking).await
}
