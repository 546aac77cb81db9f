//! Layers, types, names and ranges, as a user meets them.

#![allow(clippy::unwrap_used)]

mod documented;
mod originals;
mod times;
mod tls;

use std::path::Path;
use std::time::Duration;

use sc_core::config::SlowClient;

use super::{Flag, Mode, Settings};
use crate::error::HostError;
use crate::telemetry::LogFormat;

struct Variables(Vec<(&'static str, &'static str)>);

impl super::Environment for Variables {
    fn variables(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }
}

struct Given {
    folder: tempfile::TempDir,
    variables: Vec<(&'static str, &'static str)>,
    flags: Vec<Flag>,
    mode: Mode,
}

fn file(text: &str) -> Given {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sc.toml"), text).unwrap();
    Given { folder, variables: Vec::new(), flags: Vec::new(), mode: Mode::Serve }
}

impl Given {
    fn variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    fn flag(mut self, key: &'static str, flag: &'static str, text: &str) -> Self {
        self.flags.push((key, flag, text.to_owned()));
        self
    }

    fn with(self, name: &str, contents: &[u8]) -> Self {
        std::fs::write(self.folder.path().join(name), contents).unwrap();
        self
    }

    fn load(self) -> Result<Settings, HostError> {
        Settings::load(Some(self.folder.path()), self.flags, &Variables(self.variables), self.mode)
    }

    fn fine(self) -> Settings {
        self.load().unwrap_or_else(|error| panic!("{}", error.flat()))
    }

    /// The error as one text, and that it names each of these.
    #[track_caller]
    fn refused(self, parts: &[&str]) {
        let text = self.load().expect_err("a wrong configuration").flat();
        for part in parts {
            assert!(text.contains(part), "{part:?} is missing in: {text}");
        }
    }
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let settings = file("").fine();
    assert_eq!((settings.app.host.as_str(), settings.app.port), ("0.0.0.0", 8000));
    assert_eq!((settings.app.balancers, settings.app.stores), (1, 1));
    let protocol = &settings.worker.protocol;
    assert_eq!(protocol.path, "/socketcluster/");
    assert_eq!(protocol.origins, ["*:*"]);
    assert_eq!(
        (protocol.ping_interval, protocol.ping_timeout),
        (Duration::from_secs(8), Duration::from_secs(20))
    );
    assert_eq!(settings.worker.client.channel_limit, Some(1000));
    assert_eq!(settings.controller.guest.memory_max, 64 << 20);
    assert_eq!(settings.controller.config, "{}");
    assert!(settings.data_dir.is_some_and(|folder| folder.ends_with(".sc-data")));
    assert_eq!(settings.drain_timeout, Duration::from_secs(30));
}

#[test]
fn dev_listens_on_this_machine_with_one_worker_unless_told() {
    let mut given = file("");
    given.mode = Mode::Dev;
    let settings = given.fine();
    assert_eq!((settings.app.host.as_str(), settings.app.workers), ("127.0.0.1", 1));
    let mut given = file("[app]\nworkers = 3");
    given.mode = Mode::Dev;
    assert_eq!(given.fine().app.workers, 3);
}

#[test]
fn every_section_is_understood() {
    let text = r#"
[app]
name = "chat"
host = "::1"
port = 0
workers = 2
balancers = 2
stores = 3
public = "public"
[worker]
component = "build/worker.wasm"
build = "make"
watch = ["src", "Cargo.toml"]
config = { greeting = "hi", depth = { list = [1, 2.5, true] } }
keep_headers = ["User-Agent"]
memory = "16MiB"
cpu_per_call = "20ms"
[worker.env]
STAGE = "test"
[[worker.dirs]]
host = "data"
guest = "/data"
write = true
[protocol]
path = "/live/"
origins = "example.com:443, *:8000"
ping_interval = 1000
ping_timeout = "2.5s"
ping_timeout_disabled = true
ack_timeout = "1m"
handshake_timeout = "5s"
allow_client_publish = false
[auth]
key_file = "auth.key"
algorithm = "HS512"
default_expiry = "1h30m"
[client]
max_payload = "64KiB"
channel_limit = 0
outbox_max = "1MiB"
slow_client = "close"
max_sockets = 500
[balancer]
head_timeout = "3s"
head_max = "8KiB"
pending_max = 10
pending_per_address = 5
smart_balancing = false
[log]
format = "json"
level = "debug"
[drain]
timeout = "5s"
"#;
    let given = file(text).with("auth.key", b"secret key\n");
    std::fs::create_dir(given.folder.path().join("public")).unwrap();
    std::fs::create_dir(given.folder.path().join("data")).unwrap();
    let folder = given.folder.path().to_owned();
    let kept = given.folder.path().join("..").exists();
    let settings = given.fine();
    assert!(kept);
    assert_eq!(settings.component, Some(folder.join("build/worker.wasm")));
    assert_eq!(settings.watch, Some(vec![folder.join("src"), folder.join("Cargo.toml")]));
    let (worker, controller) = (settings.worker, settings.controller);
    assert_eq!(controller.config, r#"{"depth":{"list":[1,2.5,true]},"greeting":"hi"}"#);
    assert_eq!(worker.keep_headers, ["user-agent"]);
    assert_eq!(controller.guest.env, [("STAGE".to_owned(), "test".to_owned())]);
    assert_eq!(
        (controller.guest.dirs[0].host.clone(), controller.guest.dirs[0].write),
        (folder.join("data"), true)
    );
    assert_eq!(worker.protocol.origins, ["example.com:443", "*:8000"]);
    assert_eq!(worker.protocol.ping_timeout, Duration::from_millis(2500));
    assert_eq!((worker.auth.key.as_str(), worker.auth.algorithm.as_str()), ("secret key", "HS512"));
    assert_eq!((worker.client.channel_limit, worker.client.max_sockets), (None, Some(500)));
    assert_eq!(worker.client.slow_client, SlowClient::Close);
    assert!(!settings.balancer.smart_balancing);
    assert_eq!(settings.log.format, LogFormat::Json);
}

#[test]
fn flags_beat_variables_and_variables_beat_the_file() {
    let given = || file("[app]\nport = 1\nworkers = 1\nstores = 1");
    let settings =
        given().variable("SC_PORT", "2").variable("SC_WORKERS", "2").flag("app.port", "--port", "3").fine();
    assert_eq!((settings.app.port, settings.app.workers, settings.app.stores), (3, 2, 1));
    let settings = given().variable("SC_PROTOCOL_PING_INTERVAL", "2s").fine();
    assert_eq!(settings.worker.protocol.ping_interval, Duration::from_secs(2));
}

#[test]
fn unknown_keys_are_named_with_the_nearest_and_their_line() {
    file("[app]\nprot = 80").refused(&["unknown key `app.prot`", "sc.toml line 2", "did you mean `port`?"]);
    file("[wroker]\n").refused(&["unknown key `[wroker]`", "did you mean `worker`?"]);
    file("[app]\nping_interval = 5").refused(&["there is `protocol.ping_interval`"]);
    file("port = 80").refused(&["unknown key `[port]`", "there is `app.port`"]);
    file("[[worker.dirs]]\nhost=\".\"\nguest=\"/\"\nwriteable=true")
        .refused(&["worker.dirs.writeable", "`write`"]);
}

#[test]
fn wrong_types_say_what_is_expected() {
    file("[app]\nport = \"http\"").refused(&["`app.port`", "a whole number", "\"http\"", "line 2"]);
    file("[app]\nport = -1").refused(&["`app.port`", "-1"]);
    file("[protocol]\nping_interval = \"fast\"").refused(&["`protocol.ping_interval`", "\"8s\""]);
    file("[worker]\nmemory = true").refused(&["`worker.memory`", "\"64KiB\""]);
    file("app = 5").refused(&["`app` must be a table"]);
    file("[worker]\ncomponent = [\"a\"]").refused(&["`worker.component` must be a string, not an array"]);
    file("[log]\nformat = \"jsn\"").refused(&["`log.format` cannot be \"jsn\"", "did you mean \"json\"?"]);
    file("").variable("SC_PORT", "abc").refused(&["`app.port`", "environment variable SC_PORT"]);
    file("").flag("app.workers", "--workers", "many").refused(&["`app.workers`", "--workers"]);
    file("[app\n").refused(&["not TOML", "line 1"]);
}

#[test]
fn all_problems_are_reported_together() {
    let error = file("[app]\nport = true\nwokers = 2\n[client]\nslow_client = 3").load().unwrap_err();
    let HostError::Config(problems) = error else { panic!("problems") };
    assert_eq!(problems.problems.len(), 3);
}

#[test]
fn ranges_are_checked() {
    file("[app]\nport = 65536").refused(&["`app.port` must be from 0 to 65535"]);
    file("[app]\nworkers = 0").refused(&["`app.workers` must be from 1 to 512"]);
    file("[app]\nname = \"my app\"").refused(&["`app.name` must be 1 to 64 letters"]);
    file("[protocol]\nping_timeout = \"5s\"").refused(&["must be longer than `protocol.ping_interval`"]);
    file("[protocol]\npath = \"socketcluster\"").refused(&["`protocol.path` must begin with '/'"]);
    file("[protocol]\norigins = \"https://a.example\"").refused(&["without its scheme: \"a.example:443\""]);
    file("[log]\nlevel = \"=x=\"").refused(&["`log.level`"]);
    file("[client]\nmax_payload = 3").refused(&["`client.max_payload`"]);
}

#[test]
fn missing_files_are_named() {
    file("[app]\npublic = \"nowhere\"").refused(&["`app.public`", "nowhere"]);
    file("[auth]\nkey_file = \"nowhere.key\"").refused(&["nowhere.key cannot be read", "openssl rand"]);
    file("[auth]\nkey_file = \"k\"").with("k", b" \n").refused(&["the key file", "is empty", "openssl rand"]);
    file("[auth]\nkey_file = \"k\"").with("k", &[0xff, 0xfe]).refused(&["is not text"]);
    let nowhere = Settings::load(Some(Path::new("/nowhere")), vec![], &Variables(vec![]), Mode::Serve);
    assert!(matches!(nowhere, Err(HostError::NoApp { .. })));
    let wasm =
        Settings::load(Some(Path::new("app.wasm")), vec![], &Variables(vec![]), Mode::Serve).unwrap_err();
    assert!(wasm.flat().contains("--worker app.wasm"));
}

#[test]
fn a_component_needs_no_file() {
    let flags = vec![("worker.component", "--worker", "some/ping.wasm".to_owned())];
    let settings = Settings::load(None, flags, &Variables(vec![]), Mode::Serve).unwrap();
    assert_eq!(settings.app.name, "ping");
    assert_eq!(settings.component.as_deref(), Some(Path::new("some/ping.wasm")));
}

#[test]
fn variables_that_are_no_option_are_a_warning() {
    let settings = file("").variable("SC_PROT", "1").fine();
    assert!(settings.warnings[0].contains("did you mean SC_PORT?"), "{:?}", settings.warnings);
}

#[test]
fn a_setup_needs_what_it_makes() {
    let given = file("[worker]\nsetup = \"npm ci\"\nsetup_makes = \"node_modules\"\nsdk = \".sc\"");
    let folder = given.folder.path().to_owned();
    let settings = given.fine();
    let setup = settings.setup.unwrap();
    assert_eq!((setup.command.as_str(), setup.makes), ("npm ci", folder.join("node_modules")));
    assert_eq!(settings.sdk, Some(folder.join(".sc")));
    file("[worker]\nsetup = \"npm ci\"").refused(&[
        "`worker.setup` is given",
        "line 2",
        "`worker.setup_makes`",
    ]);
    file("[worker]\nsetup_makes = \"x\"").refused(&["`worker.setup_makes` is given", "no `worker.setup`"]);
}

#[test]
fn middleware_have_names_and_an_order() {
    let settings = file(
        "[[middleware]]\ncomponent = \"auth.wasm\"\nconfig = { channels = [\"vip.*\"] }\n\
         [[middleware]]\nname = \"limit\"\ncomponent = \"x.wasm\"\non_failure = \"open\"\ncpu_per_call = \"5ms\"",
    )
    .fine();
    let [auth, limit] = &settings.middleware[..] else { panic!("two") };
    assert_eq!((auth.name.as_str(), limit.name.as_str()), ("auth", "limit"));
    assert_eq!(auth.controller.config, r#"{"channels":["vip.*"]}"#);
    assert!(!auth.controller.fails_open && limit.controller.fails_open);
    assert_eq!(limit.controller.guest.cpu_per_call, Duration::from_millis(5));
    let flags = file("[[middleware]]\ncomponent = \"auth.wasm\"")
        .flag("middleware.component", "--middleware", "a.wasm")
        .flag("middleware.component", "--middleware", "b.wasm")
        .fine();
    let names: Vec<_> = flags.middleware.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    for (text, words) in [
        ("[middleware]\ncomponent = \"a.wasm\"", vec!["[[middleware]]"]),
        ("[[middleware]]\nname = \"a\"", vec!["names no component"]),
        (
            "[[middleware]]\ncomponent = \"a\"\n[[middleware]]\ncomponent = \"a\"",
            vec!["two components are named `a`"],
        ),
        ("[[middleware]]\ncomponent = \"a\"\nfailure = \"open\"", vec!["unknown key `middleware.failure`"]),
        ("[[middleware]]\ncomponent = \"a\"\non_failure = \"opn\"", vec!["did you mean \"open\"?"]),
        (
            "[[middleware]]\ncomponent = \"a\"\nmemory = \"1KiB\"\ncpu_per_call = \"2m\"",
            vec![
                "`middleware.memory` must be from 1MiB to 4GiB",
                "sc.toml line 3",
                "`middleware.cpu_per_call` must be from 1ms to 60s",
                "sc.toml line 4",
            ],
        ),
        (
            "[[middleware]]\ncomponent = \"a\"\nname = \"a\\u001b[31m\"",
            vec!["named \"a\\u{1b}[31m\"", "sc.toml line 3", "1 to 64 bytes"],
        ),
        ("[[middleware]]\ncomponent = \"a\"\nname = \"\"", vec!["named \"\"", "sc.toml line 3"]),
    ] {
        file(text).refused(&words);
    }
}

/// Secrets may be for the host's user alone, and folders come of the build that is about to be done.
#[test]
fn who_looks_for_the_host_or_builds_needs_nothing_that_is_named() {
    let text = "[app]\npublic = \"dist\"\n[auth]\nkey_file = \"none\"\npublic_keys = [\"none\"]\n\
                [api]\nlisten = \"127.0.0.1:0\"\nkey_file = \"none\"\n\
                [worker]\nbuild = \"make\"\ndirs = [{ host = \"none\", guest = \"/\" }]";
    file(text).refused(&["`app.public`", "`worker.dirs`", "the key file"]);
    Given { mode: Mode::WithoutFiles, ..file(text) }.fine();
}

#[test]
fn what_the_build_makes_is_looked_for_after_it() {
    let built = "[app]\npublic = \"dist\"\n[worker]\nbuild = \"make\"";
    let settings = Given { mode: Mode::Dev, ..file(built) }.fine();
    assert!(crate::component::public(&settings).is_err_and(|error| error.flat().contains("after the build")));
    Given { mode: Mode::Dev, ..file("[app]\npublic = \"dist\"") }.refused(&["`app.public`"]);
}
