//! Durations: their ranges, and numbers that were meant in another unit. SocketCluster 0.9 counted in seconds and
//! later ones mostly in milliseconds, as a bare number does here; so one that is good for either must say its unit.

use std::time::Duration;

use sc_core::config::Batching;

use super::Settings;
use super::raw::Layers;
use super::units;
use super::validate::problem;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Sessions that live shorter than this are mostly a mistake.
const SHORT_SESSION: Duration = Duration::from_secs(60);
/// Tokens that live shorter than this and say no unit are mostly meant in seconds.
const SHORT_TOKEN: Duration = Duration::from_secs(3600);
/// Options that nobody would give in seconds.
const OF_MILLISECONDS: [&str; 5] = [
    "worker.cpu_per_call",
    "store.cpu_per_call",
    "http.cpu_per_request",
    "protocol.batch_on_handshake_duration",
    "protocol.batch_interval",
];

/// Notes what is out of range, and what is likely meant otherwise.
pub(super) fn check(settings: &mut Settings, layers: &mut Layers) {
    let protocol = &settings.worker.protocol;
    let batching = protocol.batching.unwrap_or(Batching { duration: MS, interval: MS });
    let tls = settings.balancer.tls.map_or(MS * 10, |tls| tls.handshake_timeout);
    let rows: [(&str, Duration, Duration, Duration); 22] = [
        ("tls.handshake_timeout", tls, 10 * MS, DAY),
        ("worker.fetch_timeout", settings.worker.fetch.timeout, MS, DAY),
        ("store.cpu_per_call", settings.store_controller.guest.cpu_per_call, MS, 60 * SECOND),
        ("http.cpu_per_request", settings.site_controller.guest.cpu_per_call, MS, 60 * SECOND),
        ("session.timeout", settings.store.session_timeout, SECOND, 3650 * DAY),
        ("session.grace", settings.store.session_grace, Duration::ZERO, DAY),
        ("http.body_timeout", settings.worker.http.body_timeout, 10 * MS, DAY),
        ("http.answer_timeout", settings.worker.http.answer_timeout, 10 * MS, DAY),
        ("protocol.ping_interval", protocol.ping_interval, 10 * MS, DAY),
        ("protocol.ping_timeout", protocol.ping_timeout, 10 * MS, DAY),
        ("protocol.ack_timeout", protocol.ack_timeout, MS, DAY),
        ("protocol.handshake_timeout", protocol.handshake_timeout, 10 * MS, DAY),
        ("protocol.batch_on_handshake_duration", batching.duration, MS, 60 * SECOND),
        ("protocol.batch_interval", batching.interval, MS, 60 * SECOND),
        ("classic.ping_interval", settings.worker.classic.ping_interval, 10 * MS, DAY),
        ("classic.ping_timeout", settings.worker.classic.ping_timeout, 10 * MS, DAY),
        ("classic.upgrade_timeout", settings.worker.classic.upgrade_timeout, 10 * MS, DAY),
        ("auth.default_expiry", settings.worker.auth.default_expiry, SECOND, 36_500 * DAY),
        ("worker.cpu_per_call", settings.controller.guest.cpu_per_call, MS, 60 * SECOND),
        ("balancer.head_timeout", settings.balancer.head_timeout, 10 * MS, DAY),
        ("drain.announce", settings.drain_announce, Duration::ZERO, DAY),
        ("drain.timeout", settings.drain_timeout, Duration::ZERO, DAY),
    ];
    for (key, value, least, most) in rows {
        if let Some(bare) = layers.bare(key).filter(|bare| is_ambiguous(key, *bare)) {
            let message = format!("`{key}` is {bare} without a unit, which is {bare} milliseconds");
            let seconds = units::text(Duration::from_secs(bare));
            let help = format!("write \"{seconds}\" if seconds are meant, else \"{bare}ms\"");
            problem(layers, key, &message, Some(&help));
        } else if !(least..=most).contains(&value) {
            let (least, most) = (units::text(least), units::text(most));
            problem(layers, key, &format!("`{key}` must be from {least} to {most}"), None);
        }
    }
    if protocol.ping_timeout <= protocol.ping_interval && !protocol.ping_timeout_disabled {
        let message = "`protocol.ping_timeout` must be longer than `protocol.ping_interval`";
        let key = match layers.origin("protocol.ping_timeout") {
            Some(_) => "protocol.ping_timeout",
            None => "protocol.ping_interval",
        };
        problem(layers, key, message, Some("a client answers pings only as often as it gets them"));
    }
    warn(settings, layers);
}

/// Milliseconds of less than a second, and not zero: as seconds the number would be as likely. The number itself
/// decides: an option that is not read in this mode has a value of its own.
fn is_ambiguous(key: &str, bare: u64) -> bool {
    !OF_MILLISECONDS.contains(&key) && (1..1000).contains(&bare)
}

/// What may be meant, and mostly is not.
fn warn(settings: &mut Settings, layers: &Layers) {
    let timeout = settings.store.session_timeout;
    if timeout < SHORT_SESSION {
        let what = "so soon after its last socket a session loses its data";
        settings.warnings.push(short(layers, "session.timeout", timeout, what));
    }
    let expiry = settings.worker.auth.default_expiry;
    if expiry < SHORT_TOKEN && layers.bare("auth.default_expiry").is_some() {
        let what = "so soon a token is void";
        settings.warnings.push(short(layers, "auth.default_expiry", expiry, what));
    }
}

fn short(layers: &Layers, key: &str, value: Duration, what: &str) -> String {
    let place = layers.origin(key).map(|origin| format!(" ({origin})")).unwrap_or_default();
    let value = units::text(value);
    match layers.bare(key) {
        Some(bare) => {
            let seconds = units::text(Duration::from_secs(bare));
            format!(
                "`{key}` is {bare} milliseconds, {value}{place}: {what}; if {bare} seconds are meant, write \"{seconds}\""
            )
        }
        None => format!("`{key}` is {value}{place}: {what}"),
    }
}
