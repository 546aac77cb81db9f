//! Descriptors: a socket is one, so their limit is the limit of sockets. The master raises it as far as it may before
//! it starts children, which inherit it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sc_core::limits::IDLE_LINKS;

use crate::config::{AppSettings, Settings};

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

/// Descriptors that one worker has left for connections; an eighth is kept for files that are served over them.
/// `proxied` are the requests that one balancer with a controller may have under way, each with a link.
fn for_sockets(limit: u64, app: &AppSettings, proxied: Option<usize>) -> u64 {
    let left = beside_links(limit, app, proxied);
    left - left / 8
}

/// What one worker's own needs and its links leave of the limit.
fn beside_links(limit: u64, app: &AppSettings, proxied: Option<usize>) -> u64 {
    let of_balancer = proxied.map_or(1, |proxied| 1 + proxied + IDLE_LINKS);
    let links = app.stores + app.balancers * of_balancer + 2 * app.workers.saturating_sub(1);
    limit.saturating_sub(OWN + links as u64)
}

/// What one balancer's own needs and its links leave of the limit. Those that one with a controller keeps for later
/// requests are among them, up to half of the rest: under a low limit it rather does without some.
fn beside_links_of_balancer(limit: u64, app: &AppSettings, is_proxy: bool) -> u64 {
    let left = limit.saturating_sub(OWN + app.workers as u64);
    let idle = if is_proxy { IDLE_LINKS * app.workers } else { 0 };
    left - (idle as u64).min(left / 2)
}

/// Descriptors that one balancer has left for connections whose head it reads. With a controller as many again may be
/// proxied, each with a link to a worker; and no worker may need more than half of its own for these links.
fn for_pending(limit: u64, app: &AppSettings, is_proxy: bool) -> u64 {
    let left = beside_links_of_balancer(limit, app, is_proxy);
    let left = match is_proxy {
        true => (left / 3).min(beside_links(limit, app, Some(0)) / (2 * app.balancers.max(1) as u64)),
        false => left,
    };
    left.max(1)
}

/// The same of a balancer that serves TLS, and connections that it may pump to workers: each is two descriptors, and
/// three while it is given away. What is proxied needs a link to a worker beside.
fn over_tls(limit: u64, app: &AppSettings, is_proxy: bool, pending_max: u64) -> (u64, u64) {
    let left = beside_links_of_balancer(limit, app, is_proxy);
    let pending = (left / 8).min(pending_max).max(1);
    (pending, left.saturating_sub(3 * pending) / 2)
}

/// Keeps connections within the limit: a process without descriptors would lose links too. Says so when the limit
/// allows few sockets.
pub(crate) fn budget(limit: Option<u64>, settings: &mut Settings) {
    let Some(limit) = limit else { return };
    let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let (app, is_proxy) = (&settings.app, settings.balancer_component.is_some());
    let pending = for_pending(limit, app, is_proxy);
    let most = &mut settings.balancer.pending_max;
    *most = number(pending).min(*most);
    if let Some(tls) = &mut settings.balancer.tls {
        let (pending, pumps) = over_tls(limit, &settings.app, is_proxy, *most as u64);
        (*most, tls.pumps_max) = (number(pending), number(pumps));
        if pumps * (settings.app.balancers as u64) < FEW {
            tracing::warn!(
                limit,
                connections = pumps,
                "a balancer can hold few connections over TLS: raise the hard limit of open files (ulimit -Hn), or add balancers"
            );
        }
    }
    let pending = *most;
    let sockets = for_sockets(limit, &settings.app, is_proxy.then_some(pending));
    let most = &mut settings.worker.client.max_sockets;
    *most = Some(most.unwrap_or(usize::MAX).min(number(sockets)));
    tracing::debug!(limit, sockets, pending, "descriptors of one worker and one balancer");
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

    fn app(balancers: usize) -> AppSettings {
        AppSettings {
            runtime_dir: None,
            user: None,
            reboot_on_crash: true,
            name: "a".to_owned(),
            folder: std::path::PathBuf::new(),
            host: String::new(),
            port: 0,
            workers: 4,
            balancers,
            stores: 2,
        }
    }

    #[test]
    fn links_are_taken_off() {
        let app = app(1);
        let left = 1024 - 64 - 1 - 2 - 6;
        assert_eq!(for_sockets(1024, &app, None), left - left / 8);
        assert_eq!(for_sockets(1024, &app, Some(68)), left - 100 - (left - 100) / 8);
        assert_eq!(for_sockets(10, &app, None), 0);
        assert_eq!(for_pending(1024, &app, false), 1024 - 64 - 4);
        assert_eq!(for_pending(1024, &app, true), (1024 - 64 - 4 - 4 * 32) / 3);
        assert_eq!(for_pending(150, &app, true), (150 - 64 - 4) / 2 / 3);
        let left = 1024 - 64 - 4;
        assert_eq!(over_tls(1024, &app, false, 4096), (left / 8, (left - 3 * (left / 8)) / 2));
        let left = left - 4 * 32;
        assert_eq!(over_tls(1024, &app, true, 4096), (left / 8, (left - 3 * (left / 8)) / 2));
        assert_eq!(over_tls(1 << 20, &app, false, 4096), (4096, ((1 << 20) - 64 - 4 - 3 * 4096) / 2));
    }

    /// However many balancers there are, what they proxy leaves each worker the half of what it has without that.
    #[test]
    fn what_is_proxied_leaves_room_for_sockets() {
        for balancers in [1, 2, 3, 16, 64] {
            let app = app(balancers);
            let pending = usize::try_from(for_pending(4096, &app, true)).expect("a number");
            let (sockets, idle) = (for_sockets(4096, &app, Some(pending)), for_sockets(4096, &app, Some(0)));
            assert!(pending >= 10 && sockets + 1 >= idle / 2, "{balancers}: {pending}, {sockets} of {idle}");
        }
        assert_eq!(for_pending(4096, &app(3), true), (4096 - 64 - 2 - 3 * 33 - 6) / 6);
    }

    #[test]
    fn the_soft_limit_meets_the_hard_one() {
        let now = raise();
        assert_eq!(now, getrlimit(Resource::Nofile).maximum);
    }
}
