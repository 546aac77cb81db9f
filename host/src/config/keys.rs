//! Every key of `sc.toml`, in one table: what is not here is an error, and its message names the nearest that is.
//! The same table gives each key its environment variable.

/// All keys, as section and name.
pub(crate) const KEYS: &[&str] = &[
    "app.name",
    "app.host",
    "app.port",
    "app.workers",
    "app.balancers",
    "app.stores",
    "app.public",
    "app.data_dir",
    "app.runtime_dir",
    "app.user",
    "app.reboot_on_crash",
    "worker.component",
    "worker.build",
    "worker.watch",
    "worker.sdk",
    "worker.setup",
    "worker.setup_makes",
    "worker.config",
    "worker.env",
    "worker.dirs",
    "worker.keep_headers",
    "worker.memory",
    "worker.cpu_per_call",
    "worker.allow_hosts",
    "worker.fetch_timeout",
    "worker.fetch_body_max",
    "middleware.name",
    "middleware.component",
    "middleware.config",
    "middleware.on_failure",
    "middleware.memory",
    "middleware.cpu_per_call",
    "middleware.env",
    "protocol.path",
    "protocol.origins",
    "protocol.ping_interval",
    "protocol.ping_timeout",
    "protocol.ping_timeout_disabled",
    "protocol.ack_timeout",
    "protocol.handshake_timeout",
    "protocol.allow_client_publish",
    "protocol.batch_on_handshake",
    "protocol.batch_on_handshake_duration",
    "protocol.batch_interval",
    "classic.enabled",
    "classic.transports",
    "classic.ping_interval",
    "classic.ping_timeout",
    "classic.upgrade_timeout",
    "classic.events",
    "presence.channels",
    "presence.clients",
    "session.timeout",
    "session.grace",
    "session.http",
    "session.host",
    "store.component",
    "store.config",
    "store.memory",
    "store.cpu_per_call",
    "store.fsync",
    "http.body_max",
    "http.body_timeout",
    "http.answer_timeout",
    "http.trusted_proxies",
    "http.component",
    "http.instances",
    "http.memory",
    "http.cpu_per_request",
    "http.allow_hosts",
    "auth.key_file",
    "auth.algorithm",
    "auth.default_expiry",
    "auth.public_keys",
    "auth.rotation",
    "client.max_payload",
    "client.channel_limit",
    "client.address_limit",
    "client.outbox_max",
    "client.slow_client",
    "client.max_sockets",
    "balancer.component",
    "balancer.config",
    "balancer.env",
    "balancer.memory",
    "balancer.cpu_per_call",
    "balancer.on_failure",
    "balancer.head_timeout",
    "balancer.head_max",
    "balancer.pending_max",
    "balancer.pending_per_address",
    "balancer.smart_balancing",
    "tls.certificate",
    "tls.key",
    "tls.passphrase",
    "tls.passphrase_file",
    "tls.certificates",
    "tls.client_ca",
    "tls.client_auth",
    "tls.min_version",
    "tls.handshake_timeout",
    "tls.redirect_http",
    "api.listen",
    "api.key_file",
    "log.format",
    "log.level",
    "drain.announce",
    "drain.timeout",
];

/// Keys that only the file can give: their values have no form as one line of text.
const FILE_ONLY: &[&str] = &[
    "balancer.config",
    "balancer.env",
    "store.config",
    "tls.certificates",
    "worker.config",
    "worker.env",
    "worker.dirs",
];

/// Keys of an entry of `worker.dirs`.
pub(crate) const DIR_KEYS: &[&str] = &["host", "guest", "write"];

/// Keys of an entry of `tls.certificates`.
pub(crate) const CERTIFICATE_KEYS: &[&str] = &["certificate", "key", "passphrase_file"];

/// The environment variable of the passphrase of keys, which no other process is to see.
pub(crate) const PASSPHRASE_VARIABLE: &str = "SC_TLS_PASSPHRASE";

/// The key's environment variable: `SC_` and its path; `[app]` and the options that have a flag go by the flag's name.
pub(crate) fn variable(key: &str) -> Option<String> {
    let name = match key {
        "worker.component" => "worker",
        "protocol.origins" => "origins",
        // There may be several.
        _ if FILE_ONLY.contains(&key) || key.starts_with("middleware.") => return None,
        _ => key.strip_prefix("app.").unwrap_or(key),
    };
    Some(format!("SC_{}", name.replace('.', "_").to_uppercase()))
}

/// Whether a change of the key takes effect at a reload; the key of a middleware carries its place.
pub(crate) fn is_live(key: &str) -> bool {
    const WORKER: &[&str] = &[
        "component",
        "build",
        "watch",
        "sdk",
        "setup",
        "setup_makes",
        "config",
        "env",
        "dirs",
        "memory",
        "cpu_per_call",
    ];
    const MIDDLEWARE: &[&str] = &["config", "env", "memory", "cpu_per_call", "on_failure"];
    const SITE: &[&str] = &["component", "memory", "cpu_per_request"];
    const STORE: &[&str] = &["component", "config", "memory", "cpu_per_call"];
    match key.split_once('.') {
        Some(("worker", name)) => WORKER.contains(&name),
        Some(("http", name)) => SITE.contains(&name),
        Some(("store", name)) => STORE.contains(&name),
        Some(("balancer", name)) => name == "component" || MIDDLEWARE.contains(&name),
        Some(("tls", name)) => !matches!(name, "handshake_timeout" | "redirect_http"),
        Some((section, name)) if section.starts_with("middleware[") => MIDDLEWARE.contains(&name),
        _ => false,
    }
}

/// The sections of the file.
pub(crate) fn sections() -> Vec<&'static str> {
    let mut sections: Vec<_> = KEYS.iter().filter_map(|key| key.split('.').next()).collect();
    sections.dedup();
    sections
}

/// The names in a section.
pub(crate) fn names(section: &str) -> Vec<&'static str> {
    KEYS.iter()
        .filter_map(|key| key.split_once('.').filter(|(of, _)| *of == section).map(|(_, name)| name))
        .collect()
}

/// The valid word that is most like the given one, if any is like it at all.
pub(crate) fn nearest<'a>(given: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase().replace('-', "_");
    valid
        .into_iter()
        .map(|word| (strsim::jaro_winkler(&given, &word.to_lowercase()), word))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(one, _), (two, _)| one.total_cmp(two))
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_named_after_flags_and_keys() {
        assert_eq!(variable("app.port").as_deref(), Some("SC_PORT"));
        assert_eq!(variable("worker.component").as_deref(), Some("SC_WORKER"));
        assert_eq!(variable("auth.key_file").as_deref(), Some("SC_AUTH_KEY_FILE"));
        assert_eq!(variable("protocol.ping_interval").as_deref(), Some("SC_PROTOCOL_PING_INTERVAL"));
        assert_eq!(variable("worker.dirs"), None);
        let mut all: Vec<_> = KEYS.iter().filter_map(|key| variable(key)).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count, "no two keys share a variable");
    }

    #[test]
    fn the_nearest_word_is_named() {
        assert_eq!(nearest("prot", names("app")), Some("port"));
        assert_eq!(nearest("ping-interval", names("protocol")), Some("ping_interval"));
        assert_eq!(nearest("wrker", sections()), Some("worker"));
        assert_eq!(nearest("zzz", sections()), None);
    }
}
