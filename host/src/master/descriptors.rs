//! Descriptors: a socket is one, so their limit is the limit of sockets. The master raises it as far as it may before
//! it starts children, which inherit it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::AppSettings;

/// What a process needs beside sockets and links: its output, its runtime, files it serves.
const OWN: u64 = 64;
/// Fewer sockets than this for one worker are worth a warning.
const FEW: u64 = 4_000;

/// Raises the soft limit to the hard one. Returns what now holds; none for no limit.
pub(crate) fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files could not be raised");
            limit.current
        }
    }
}

/// Descriptors that one worker has left for sockets.
pub(crate) fn for_sockets(limit: u64, app: &AppSettings) -> u64 {
    let links = app.stores + app.balancers + 2 * app.workers.saturating_sub(1);
    limit.saturating_sub(OWN + links as u64)
}

/// Says so when the limit allows few sockets.
pub(crate) fn budget(limit: Option<u64>, app: &AppSettings) {
    let Some(limit) = limit else { return };
    let sockets = for_sockets(limit, app);
    tracing::debug!(limit, sockets, "descriptors of one worker");
    if sockets < FEW {
        tracing::warn!(
            limit,
            sockets,
            "a worker can hold few sockets: raise the hard limit of open files (ulimit -Hn)"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_taken_off() {
        let app = AppSettings {
            name: "a".to_owned(),
            folder: std::path::PathBuf::new(),
            host: String::new(),
            port: 0,
            workers: 4,
            balancers: 1,
            stores: 2,
        };
        assert_eq!(for_sockets(1024, &app), 1024 - 64 - 1 - 2 - 6);
        assert_eq!(for_sockets(10, &app), 0);
    }

    #[test]
    fn the_soft_limit_meets_the_hard_one() {
        let now = raise();
        assert_eq!(now, getrlimit(Resource::Nofile).maximum);
    }
}
