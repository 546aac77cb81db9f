//! A host that serves this app while a test runs, and its clients. These speak SocketCluster's protocol by themselves:
//! a message is an event with its data, and one with a `cid` is answered by a message with that number as its `rid`.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Once, mpsc};
use std::time::{Duration, Instant};

use sc_sdk::{Json, json};
use tungstenite::{Message, WebSocket};

/// How long a test waits for a message.
const SOON: Duration = Duration::from_secs(20);
/// How long it waits for the host, which compiles a new build first.
const START: Duration = Duration::from_secs(60);
const NO_HOST: &str = "sc-host is to be on the path, or TEST_SC_HOST to name it";

/// A running host. It ends with the test.
pub struct Host {
    process: Child,
    address: String,
    runtime: PathBuf,
}

impl Host {
    /// Builds the app and serves it at a free port, with its data in memory.
    pub fn start() -> Self {
        static BUILT: Once = Once::new();
        BUILT.call_once(|| {
            let build = sc_host("build").stdout(Stdio::null()).status();
            let built = build.expect(NO_HOST);
            assert!(built.success(), "the app does not build");
        });

        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = format!("sc-test-{}-{number}", std::process::id());
        let runtime = std::env::temp_dir().join(folder);
        let process = sc_host("run --host 127.0.0.1 --port 0 --workers 1")
            .args(["--data-dir", "none", "--log-format", "json"])
            .arg("--runtime-dir")
            .arg(&runtime)
            .stdout(Stdio::piped())
            .spawn()
            .expect(NO_HOST);
        let mut host = Host {
            process,
            address: String::new(),
            runtime,
        };
        host.address = host.address_in_log();
        host
    }

    /// Waits until the log says where the host serves.
    fn address_in_log(&mut self) -> String {
        let output = self.process.stdout.take().expect("its log");
        let (found, address) = mpsc::channel();
        // To its end: a log that nobody reads would hold the host up.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let record: Json = line.parse().unwrap_or_default();
                if let Some(url) = record["url"].as_str() {
                    let address = url.trim_end_matches('/').replace("http://", "");
                    let _ = found.send(address);
                }
            }
        });
        let reason = "sc-host did not serve in time, or ended and said why above";
        address.recv_timeout(START).expect(reason)
    }

    /// A client that is connected and has shaken hands.
    pub fn connect(&self) -> Client {
        let stream = TcpStream::connect(&self.address).expect("a connection");
        stream.set_read_timeout(Some(SOON)).expect("a deadline");
        let url = format!("ws://{}/socketcluster/", self.address);
        let (socket, _response) = tungstenite::client(url, stream).expect("an upgrade");
        let mut client = Client {
            socket,
            unread: Vec::new(),
            cid: 0,
        };
        let hello = json!({ "authToken": null });
        client.ask("#handshake", hello).expect("a handshake");
        client
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.runtime);
    }
}

/// A client.
pub struct Client {
    socket: WebSocket<TcpStream>,
    unread: Vec<Json>,
    cid: u64,
}

impl Client {
    /// Sends an event.
    pub fn emit(&mut self, event: &str, data: Json) {
        self.send(json!({ "event": event, "data": data }));
    }

    /// Sends a request and waits for its answer or error.
    pub fn ask(&mut self, event: &str, data: Json) -> Result<Json, Json> {
        self.cid += 1;
        let cid = self.cid;
        self.send(json!({ "event": event, "data": data, "cid": cid }));
        let answer = self.wait(|message| message["rid"] == cid);
        match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(answer["data"].clone()),
        }
    }

    /// Subscribes to a channel.
    pub fn subscribe(&mut self, channel: &str) {
        let channel = json!({ "channel": channel });
        self.ask("#subscribe", channel).expect("a subscription");
    }

    /// Waits for an event of that name.
    pub fn event(&mut self, name: &str) -> Json {
        self.wait(|message| message["event"] == name)["data"].clone()
    }

    /// Waits for a publication on a channel.
    pub fn publication(&mut self, channel: &str) -> Json {
        let is_it = |message: &Json| {
            message["event"] == "#publish" && message["data"]["channel"] == channel
        };
        self.wait(is_it)["data"]["data"].clone()
    }

    fn send(&mut self, message: Json) {
        let message = Message::text(message.to_string());
        self.socket.send(message).expect("the message goes out");
    }

    /// The first message that is wanted. Others wait for their turn. The host's pings prolong nothing.
    fn wait(&mut self, is_it: impl Fn(&Json) -> bool) -> Json {
        if let Some(at) = self.unread.iter().position(&is_it) {
            return self.unread.remove(at);
        }
        let until = Instant::now() + SOON;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no such message in time");
            let stream = self.socket.get_ref();
            stream.set_read_timeout(Some(left)).expect("a deadline");
            let message = self.socket.read().expect("no such message in time");
            let text = message.to_text().expect("text");
            if text.is_empty() {
                // The host's ping.
                let pong = Message::text("");
                self.socket.send(pong).expect("the pong goes out");
                continue;
            }
            if text == "#1" {
                // The ping for older clients, until the host knows this one.
                continue;
            }
            let message: Json = text.parse().expect("JSON");
            if is_it(&message) {
                return message;
            }
            self.unread.push(message);
        }
    }
}

/// A command of the sc-host on the path, or of the one that TEST_SC_HOST names, for this app.
fn sc_host(words: &str) -> Command {
    let program = std::env::var_os("TEST_SC_HOST").unwrap_or("sc-host".into());
    let mut command = Command::new(program);
    command.args(words.split(' ')).stdin(Stdio::null());
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}
