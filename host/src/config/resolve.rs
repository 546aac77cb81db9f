//! From layers to settings: every option gets its value or its default. Ranges and files are checked afterwards, in
//! [`super::validate`], so that one start reports all problems.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sc_core::config::{
    AuthConfig, BalancerConfig, Batching, ClientConfig, FetchConfig, Fsync, HttpConfig, Network,
    PresenceConfig, ProtocolConfig, SessionConfig, SiteConfig, SlowClient, StoreConfig, TlsConfig,
    WorkerConfig,
};
use sc_core::outbound::HostRule;
use sc_core::session_id::{ClusterKey, SessionIds};

use super::problem::{Origin, Problem};
use super::raw::Layers;
use super::{AppSettings, LogSettings, Mode, Settings, components};
use crate::telemetry::LogFormat;
use crate::user::User;

/// Where an app's data lies, in its folder.
pub(crate) const DATA_DIR: &str = ".sc-data";

/// Options with their values, the secret not yet read from its file.
pub(crate) fn resolve(layers: &mut Layers, folder: &Path, mode: Mode) -> Settings {
    let component = layers.path("worker.component", folder);
    let app = app(layers, folder, component.as_deref(), mode);
    let given = layers.given();
    let worker = worker(layers, folder, &app.name);
    let mut balancer = balancer(layers, &app, &worker);
    let tls = if mode == Mode::WithoutFiles { None } else { super::tls::resolve(layers, folder) };
    // How many it may pump is known once the host starts.
    balancer.tls =
        tls.as_ref().map(|tls| TlsConfig { handshake_timeout: tls.handshake_timeout, pumps_max: usize::MAX });
    let watch =
        layers.words("worker.watch").map(|paths| paths.into_iter().map(|path| folder.join(path)).collect());
    Settings {
        component,
        controller: components::worker(layers, folder),
        build: layers.text("worker.build"),
        sdk: layers.path("worker.sdk", folder),
        setup: super::setup::resolve(layers, folder),
        middleware: super::middleware::resolve(layers, folder, &app.name),
        site: layers.path("http.component", folder),
        site_controller: components::site(layers),
        watch,
        key_file: layers.path("auth.key_file", folder),
        public_key_files: {
            let files = layers.words("auth.public_keys").unwrap_or_default();
            files.into_iter().map(|file| folder.join(file)).collect()
        },
        data_dir: data_dir(layers, folder),
        store_component: layers.path("store.component", folder),
        store_controller: components::controller(layers, "store"),
        store: store(layers, &app),
        worker,
        balancer,
        tls,
        api: if mode == Mode::WithoutFiles { None } else { super::api::resolve(layers, folder) },
        balancer_component: components::balancer(layers, folder),
        log: LogSettings {
            format: layers
                .choice("log.format", &[("human", LogFormat::Human), ("json", LogFormat::Json)])
                .unwrap_or(LogFormat::Human),
            level: layers.text("log.level").unwrap_or_else(|| "info".to_owned()),
        },
        drain_announce: layers.duration("drain.announce").unwrap_or(Duration::ZERO),
        drain_timeout: layers.duration("drain.timeout").unwrap_or(Duration::from_secs(30)),
        warnings: std::mem::take(&mut layers.warnings),
        given,
        app,
    }
}

fn app(layers: &mut Layers, folder: &Path, component: Option<&Path>, mode: Mode) -> AppSettings {
    let (host, workers) = match mode {
        Mode::Dev => ("127.0.0.1", 1),
        Mode::Serve | Mode::WithoutFiles => {
            ("0.0.0.0", std::thread::available_parallelism().map_or(1, |cores| cores.get().min(512)))
        }
    };
    AppSettings {
        name: layers.text("app.name").unwrap_or_else(|| default_name(layers, folder, component)),
        runtime_dir: layers.path("app.runtime_dir", folder),
        user: user(layers, mode),
        reboot_on_crash: layers.flag("app.reboot_on_crash").unwrap_or(true),
        folder: folder.to_owned(),
        host: layers.text("app.host").unwrap_or_else(|| host.to_owned()),
        port: count(layers, "app.port", 8000),
        workers: count(layers, "app.workers", workers),
        balancers: count(layers, "app.balancers", 1),
        stores: count(layers, "app.stores", 1),
    }
}

/// Who the host goes on as. What is developed runs as who develops it.
fn user(layers: &mut Layers, mode: Mode) -> Option<User> {
    let text = layers.text("app.user")?;
    match (User::find(&text), mode) {
        (_, Mode::Dev) => None,
        (Ok(user), _) => Some(user),
        // Who builds, or looks for a running host, may be on a machine that never ran it.
        (Err(_), Mode::WithoutFiles) if !matches!(layers.origin("app.user"), Some(Origin::Flag(_))) => None,
        (Err((why, help)), _) => {
            let message = format!("`app.user`: {why}");
            let problem = Problem::new(&message, why, layers.origin("app.user"));
            layers.problems.push(problem.of_what_it_names().help(help));
            None
        }
    }
}

/// The app's folder names it; without a file, the component does.
fn default_name(layers: &Layers, folder: &Path, component: Option<&Path>) -> String {
    let from_file = matches!(layers.origin("worker.component"), Some(Origin::File(..)) | None);
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let named = if from_file { folder.file_name() } else { component.and_then(Path::file_stem) };
    let name = named.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' })
        .take(64)
        .collect();
    if name.is_empty() { "app".to_owned() } else { name }
}

/// An app's folder keeps its data; a component by itself has none, and keeps all in memory.
fn data_dir(layers: &mut Layers, folder: &Path) -> Option<PathBuf> {
    match layers.path("app.data_dir", folder) {
        Some(path) if path.file_name().is_some_and(|name| name == "none") => None,
        Some(path) => Some(absolute(&path)),
        None if folder.as_os_str().is_empty() => None,
        None => Some(absolute(&folder.join(DATA_DIR))),
    }
}

fn store(layers: &mut Layers, app: &AppSettings) -> StoreConfig {
    let words = [("always", Fsync::Always), ("interval", Fsync::Interval), ("never", Fsync::Never)];
    StoreConfig {
        folder: None,
        fsync: layers.choice("store.fsync", &words).unwrap_or(Fsync::Interval),
        session_timeout: layers.duration("session.timeout").unwrap_or(Duration::from_secs(20 * 60)),
        session_grace: layers.duration("session.grace").unwrap_or(Duration::from_secs(5)),
        stores: u16::try_from(app.stores).unwrap_or(u16::MAX),
        app: app.name.clone(),
    }
}

/// The secret and the port are known once the host starts.
fn session_ids(layers: &mut Layers) -> SessionIds {
    let host = layers.text("session.host").unwrap_or_default();
    SessionIds { key: ClusterKey([0; 32]), host, port: 0 }
}

fn http(layers: &mut Layers) -> HttpConfig {
    let proxies = layers.words("http.trusted_proxies").unwrap_or_default();
    HttpConfig {
        body_max: layers.size("http.body_max").unwrap_or(1 << 20),
        body_timeout: layers.duration("http.body_timeout").unwrap_or(Duration::from_secs(30)),
        answer_timeout: layers.duration("http.answer_timeout").unwrap_or(Duration::from_secs(30)),
        trusted_proxies: proxies.iter().filter_map(|text| proxy(layers, text)).collect(),
    }
}

fn site(layers: &mut Layers) -> SiteConfig {
    SiteConfig {
        instances: count(layers, "http.instances", 64),
        allow_hosts: host_rules(layers, "http.allow_hosts"),
    }
}

fn host_rules(layers: &mut Layers, key: &'static str) -> Vec<HostRule> {
    let mut rules = Vec::new();
    for text in layers.words(key).unwrap_or_default() {
        match text.parse() {
            Ok(rule) => rules.push(rule),
            Err(_) => {
                let message = format!("`{key}` holds \"{}\"", text.escape_debug());
                let problem = Problem::new(&message, "no host", layers.origin(key));
                let help =
                    "write hosts: \"example.com\", \"example.com:8443\", \"*.example.com\", \"10.0.0.1\"";
                layers.problems.push(problem.help(help));
            }
        }
    }
    rules
}

fn proxy(layers: &mut Layers, text: &str) -> Option<Network> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let network = address.parse::<std::net::IpAddr>().ok().and_then(|address| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
        (bits <= most).then_some(Network { address, bits })
    });
    if network.is_none() {
        let message = format!("`http.trusted_proxies` holds \"{}\"", text.escape_debug());
        let problem = Problem::new(&message, "no address", layers.origin("http.trusted_proxies"));
        layers.problems.push(problem.help("write addresses or networks: \"10.0.0.1\", \"fd00::/8\""));
    }
    network
}

fn worker(layers: &mut Layers, folder: &Path, app: &str) -> WorkerConfig {
    WorkerConfig {
        app: app.to_owned(),
        protocol: protocol(layers),
        classic: super::classic::resolve(layers),
        auth: AuthConfig {
            key: String::new(),
            algorithm: layers
                .choice("auth.algorithm", &[("HS256", "HS256"), ("HS384", "HS384"), ("HS512", "HS512")])
                .unwrap_or("HS256")
                .to_owned(),
            default_expiry: layers.duration("auth.default_expiry").unwrap_or(Duration::from_secs(24 * 3600)),
            public_keys: Vec::new(),
            rotation: layers.flag("auth.rotation").unwrap_or(false),
        },
        client: client(layers),
        sessions: SessionConfig {
            ids: session_ids(layers),
            affinity: layers.flag("balancer.smart_balancing").unwrap_or(true),
            http: layers.flag("session.http").unwrap_or(true),
        },
        presence: PresenceConfig {
            channels: layers.words("presence.channels").unwrap_or_default(),
            clients: layers.words("presence.clients").unwrap_or_default(),
        },
        http: http(layers),
        public: layers.path("app.public", folder).map(|path| absolute(&path)),
        keep_headers: layers
            .words("worker.keep_headers")
            .unwrap_or_default()
            .iter()
            .map(|name| name.to_lowercase())
            .collect(),
        fetch: FetchConfig {
            allow_hosts: host_rules(layers, "worker.allow_hosts"),
            timeout: layers.duration("worker.fetch_timeout").unwrap_or(Duration::from_secs(10)),
            body_max: layers.size("worker.fetch_body_max").unwrap_or(1 << 20),
        },
        site: site(layers),
    }
}

fn protocol(layers: &mut Layers) -> ProtocolConfig {
    let seconds = Duration::from_secs;
    ProtocolConfig {
        path: layers.text("protocol.path").unwrap_or_else(|| "/socketcluster/".to_owned()),
        origins: layers.words("protocol.origins").unwrap_or_else(|| vec!["*:*".to_owned()]),
        ping_interval: layers.duration("protocol.ping_interval").unwrap_or(seconds(8)),
        ping_timeout: layers.duration("protocol.ping_timeout").unwrap_or(seconds(20)),
        ping_timeout_disabled: layers.flag("protocol.ping_timeout_disabled").unwrap_or(false),
        ack_timeout: layers.duration("protocol.ack_timeout").unwrap_or(seconds(10)),
        handshake_timeout: layers.duration("protocol.handshake_timeout").unwrap_or(seconds(10)),
        allow_client_publish: layers.flag("protocol.allow_client_publish").unwrap_or(true),
        batching: batching(layers),
    }
}

fn batching(layers: &mut Layers) -> Option<Batching> {
    let mut millis = |key, default| layers.duration(key).unwrap_or(Duration::from_millis(default));
    let batching = Batching {
        duration: millis("protocol.batch_on_handshake_duration", 400),
        interval: millis("protocol.batch_interval", 50),
    };
    layers.flag("protocol.batch_on_handshake").unwrap_or(false).then_some(batching)
}

fn client(layers: &mut Layers) -> ClientConfig {
    let limit = |number: u64| (number > 0).then(|| usize::try_from(number).unwrap_or(usize::MAX));
    let policies = [("drop-oldest", SlowClient::DropOldest), ("close", SlowClient::Close)];
    ClientConfig {
        max_payload: layers.size("client.max_payload").unwrap_or(1 << 20),
        channel_limit: layers.number("client.channel_limit").map_or(Some(1000), limit),
        address_limit: layers
            .number("client.address_limit")
            .and_then(limit)
            .map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
        outbox_max: layers.size("client.outbox_max").unwrap_or(4 << 20),
        slow_client: layers.choice("client.slow_client", &policies).unwrap_or(SlowClient::DropOldest),
        max_sockets: layers.number("client.max_sockets").and_then(limit),
    }
}

/// Options of balancers, including those they share with workers.
fn balancer(layers: &mut Layers, app: &AppSettings, worker: &WorkerConfig) -> BalancerConfig {
    BalancerConfig {
        head_timeout: layers.duration("balancer.head_timeout").unwrap_or(Duration::from_secs(10)),
        head_max: layers.size("balancer.head_max").unwrap_or(16 * 1024),
        pending_max: count(layers, "balancer.pending_max", 4096),
        pending_per_address: count(layers, "balancer.pending_per_address", 1024),
        session_ids: worker.sessions.ids.clone(),
        smart_balancing: worker.sessions.affinity,
        balancers: app.balancers,
        app: app.name.clone(),
        socket_path: worker.protocol.path.clone(),
        trusted_proxies: worker.http.trusted_proxies.clone(),
        answer_timeout: worker.http.longest_answer(),
        tls: None,
    }
}

fn count(layers: &mut Layers, key: &str, default: usize) -> usize {
    layers.number(key).map_or(default, |number| usize::try_from(number).unwrap_or(usize::MAX))
}

/// Children run elsewhere one day; paths they get do not depend on the current folder.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
