//! A worker and a store in one thread, with a controller in plain Rust and clients over real TCP.

use std::cell::RefCell;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use sc_core::config::*;
use sc_core::controller::*;
use sc_core::ids::{BalancerId, StoreId, Token, WorkerId};
use sc_core::link::control::*;
use sc_core::link::{packet_pair, stream_pair};
use sc_core::session_id::{ClusterKey, SessionIds};
use sc_worker::WorkerStart;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// What a fake controller does with an event.
pub type Behave = dyn Fn(&Event) -> Result<Vec<Command>, CallError>;

pub struct Fake {
    behave: Rc<Behave>,
    log: Rc<RefCell<Vec<Event>>>,
    gate: Option<Rc<Notify>>,
    /// Timers that are to fire once.
    waits: HashSet<Token>,
}

impl Fake {
    fn note(&mut self, commands: &[Command]) {
        let once = commands.iter().filter_map(|command| match command {
            Command::Timer { token, repeat: false, .. } => Some(*token),
            _ => None,
        });
        self.waits.extend(once);
    }

    /// Whether the event waits for its gate.
    fn is_gated(event: &Event) -> bool {
        match event {
            Event::Open(_) | Event::Resume(_) => true,
            Event::Action { name, .. } => &**name == "wait",
            _ => false,
        }
    }
}

impl Controller for Fake {
    fn handles(&self, _: EventKind) -> bool {
        true
    }

    async fn call(&mut self, event: &Event) -> Result<Vec<Command>, CallError> {
        self.log.borrow_mut().push(event.clone());
        if let Some(gate) = self.gate.as_ref().filter(|_| Self::is_gated(event)) {
            gate.notified().await;
        }
        if let Some(token) = event.answers() {
            self.waits.remove(&token);
        }
        let commands = (self.behave)(event)?;
        self.note(&commands);
        Ok(commands)
    }

    fn awaits(&self, _: Token) -> bool {
        true
    }

    fn outstanding(&self) -> usize {
        self.waits.len()
    }

    async fn snapshot(&mut self) -> Result<Option<Snapshot>, SnapshotError> {
        Ok(Some(Snapshot { version: 1, data: vec![] }))
    }

    async fn restore(&mut self, _: &Snapshot) -> Result<Vec<Command>, StartError> {
        Ok(vec![])
    }
}

/// A fake that decides.
pub struct Middleware {
    pub guards: Vec<Line>,
    pub fails_open: bool,
    pub behave: Rc<Behave>,
    pub gate: Option<Rc<Notify>>,
    pub later: Vec<Later>,
}

/// How a later generation begins and behaves.
pub struct Later {
    pub hash: &'static str,
    pub first: Vec<Command>,
    pub behave: Rc<Behave>,
    /// What it waits for while it starts.
    pub start: Option<Rc<Notify>>,
}

impl Later {
    pub fn new(
        hash: &'static str,
        first: Vec<Command>,
        behave: impl Fn(&Event) -> Result<Vec<Command>, CallError> + 'static,
    ) -> Self {
        Later { hash, first, behave: Rc::new(behave), start: None }
    }
}

/// Makes fakes that begin and behave alike.
pub struct Source {
    pub behave: Rc<Behave>,
    pub first: Vec<Command>,
    pub log: Rc<RefCell<Vec<Event>>>,
    /// What tells them to go on whenever they are told of a socket, or are to decide about `wait`; with none, they do
    /// so at once.
    pub gate: Option<Rc<Notify>>,
    /// Generations that are not like the first one.
    pub later: Vec<Later>,
}

impl Source {
    pub fn new(behave: impl Fn(&Event) -> Result<Vec<Command>, CallError> + 'static) -> Self {
        let first = vec![Command::Listen("*".into())];
        Source { behave: Rc::new(behave), first, log: Rc::default(), gate: None, later: vec![] }
    }
}

impl ControllerSource for Source {
    type Instance = Fake;

    async fn start(
        &self,
        generation: &Generation,
        _: &StartInfo,
        _: &HostAccess,
    ) -> Result<(Fake, Vec<Command>), StartError> {
        let later = self.later.iter().find(|later| later.hash == generation.hash);
        if let Some(start) = later.and_then(|later| later.start.as_ref()) {
            start.notified().await;
        }
        let (behave, first) =
            later.map_or((&self.behave, &self.first), |later| (&later.behave, &later.first));
        let (behave, log, gate) = (Rc::clone(behave), Rc::clone(&self.log), self.gate.clone());
        let mut fake = Fake { behave, log, gate, waits: HashSet::new() };
        fake.note(first);
        Ok((fake, first.clone()))
    }
}

pub struct Rig {
    pub master: MasterLink,
    pub log: Rc<RefCell<Vec<Event>>>,
    handoffs: HandoffSender,
    listener: TcpListener,
    store: MasterLink,
}

pub fn config() -> WorkerConfig {
    let seconds = Duration::from_secs;
    WorkerConfig {
        app: "test".into(),
        protocol: ProtocolConfig {
            path: "/socketcluster/".into(),
            origins: vec!["*:*".into()],
            ping_interval: seconds(8),
            ping_timeout: seconds(20),
            ping_timeout_disabled: false,
            ack_timeout: seconds(10),
            handshake_timeout: seconds(10),
            allow_client_publish: true,
            batching: None,
        },
        classic: ClassicConfig {
            enabled: true,
            transports: Transports { polling: true, websocket: true },
            ping_interval: seconds(25),
            ping_timeout: seconds(60),
            upgrade_timeout: seconds(10),
            events: ClassicEvents::Auto,
        },
        auth: AuthConfig {
            key: "testkey".into(),
            algorithm: "HS256".into(),
            default_expiry: seconds(86400),
            public_keys: Vec::new(),
            rotation: true,
        },
        client: ClientConfig {
            max_payload: 1024 * 1024,
            channel_limit: Some(3),
            address_limit: None,
            outbox_max: 64 * 1024,
            slow_client: SlowClient::DropOldest,
            max_sockets: None,
        },
        sessions: SessionConfig {
            ids: SessionIds { key: ClusterKey([1; 32]), host: String::new(), port: 8000 },
            affinity: true,
            http: true,
        },
        presence: PresenceConfig::default(),
        http: HttpConfig {
            body_max: 1024,
            body_timeout: seconds(2),
            answer_timeout: seconds(2),
            trusted_proxies: vec![],
        },
        public: None,
        keep_headers: vec![],
        fetch: FetchConfig { allow_hosts: vec![], timeout: seconds(2), body_max: 1024 },
        site: SiteConfig { instances: 1, allow_hosts: vec![] },
    }
}

/// A generation of a fake.
pub fn generation(name: &str, hash: &str, fails_open: bool) -> Generation {
    let component = ComponentRef { name: name.into(), compiled: "/".into(), hash: hash.into() };
    let cpu_per_call = Duration::from_secs(1);
    let guest = GuestConfig { memory_max: 1 << 26, cpu_per_call, env: vec![], dirs: vec![] };
    Generation { component, config: "{}".into(), guest, fails_open, hash: hash.into() }
}

/// The store of these tests has no controller, which has to have a type all the same.
struct NoStoreController;

impl StoreControllerSource for NoStoreController {
    type Instance = NoStoreController;

    async fn start(
        &self,
        _: &Generation,
        _: &StartInfo,
        _: Rc<dyn ProcedureData>,
    ) -> Result<Self, StartError> {
        Ok(NoStoreController)
    }
}

impl StoreController for NoStoreController {
    async fn run(&mut self, _: &str, _: Option<&str>) -> Result<Result<Option<Json>, Failure>, CallError> {
        Ok(Ok(None))
    }

    fn hears_channels(&self) -> bool {
        false
    }

    async fn channel(&mut self, _: &str, _: bool) -> Result<(), CallError> {
        Ok(())
    }
}

fn store_config() -> StoreConfig {
    let [session_timeout, session_grace] = [Duration::from_secs(60), Duration::from_millis(50)];
    StoreConfig {
        folder: None,
        fsync: Fsync::Interval,
        session_timeout,
        session_grace,
        stores: 1,
        app: "test".into(),
    }
}

impl Rig {
    /// Starts the roles on the current local set.
    pub async fn start(
        config: WorkerConfig,
        behave: impl Fn(&Event) -> Result<Vec<Command>, CallError> + 'static,
    ) -> Self {
        Self::start_with(config, behave, vec![]).await
    }

    /// Starts them with middleware: what each guards, whether it fails open, and how it behaves.
    pub async fn start_with(
        config: WorkerConfig,
        behave: impl Fn(&Event) -> Result<Vec<Command>, CallError> + 'static,
        middleware: Vec<Middleware>,
    ) -> Self {
        Self::start_from(config, Source::new(behave), middleware).await
    }

    /// Starts them with a controller of one's own.
    pub async fn start_from(config: WorkerConfig, controller: Source, middleware: Vec<Middleware>) -> Self {
        let rig = Self::start_without_store(config, controller, middleware).await;
        rig.link_store().await;
        rig
    }

    /// The same, but the worker's store is not there yet.
    pub async fn start_without_store(
        config: WorkerConfig,
        controller: Source,
        middleware: Vec<Middleware>,
    ) -> Self {
        let log = Rc::clone(&controller.log);
        let (mut sources, mut starts) = (Vec::new(), Vec::new());
        for (index, middleware) in middleware.into_iter().enumerate() {
            let Middleware { guards, fails_open, behave, gate, later } = middleware;
            let guards = guards.into_iter().map(|line| Command::Guard { line, pattern: "*".into() });
            let first = guards.chain([Command::HearEnds]).collect();
            sources.push(Source { behave, first, log: Rc::clone(&log), gate, later });
            starts.push(generation(&format!("middleware-{index}"), "1", fails_open));
        }
        let (master, child) = packet_pair().unwrap();
        let start = WorkerStart {
            id: WorkerId(1),
            workers: 2,
            stores: 1,
            config,
            controller: generation("fake", "1", false),
            middleware: starts,
            cause: Cause::Boot,
            phase: Phase::Ready,
        };
        let child = ChildLink::new(child).unwrap();
        sources.push(controller);
        tokio::task::spawn_local(async move { sc_worker::run(child, start, sources, None).await.unwrap() });
        let master = MasterLink::new(master).unwrap();
        assert!(matches!(master.recv().await.unwrap(), Some((FromChild::Ready, _))));

        let (store, store_child) = packet_pair().unwrap();
        let store_child = ChildLink::new(store_child).unwrap();
        tokio::task::spawn_local(async move {
            sc_store::run::<NoStoreController>(store_child, StoreId(0), store_config(), None).await
        });
        let store = MasterLink::new(store).unwrap();
        let (one, two) = packet_pair().unwrap();
        let from = ToChild::HandoffFrom(Giver::Balancer(BalancerId(0)));
        master.send(&from, &[two.as_fd()]).await.unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        Rig { master, log, handoffs: HandoffSender::new(one).unwrap(), listener, store }
    }

    /// Links the worker with its store.
    pub async fn link_store(&self) {
        let (one, two) = stream_pair().unwrap();
        self.store.send(&ToChild::WorkerLink(WorkerId(1)), &[one.as_fd()]).await.unwrap();
        self.master.send(&ToChild::StoreLink(StoreId(0)), &[two.as_fd()]).await.unwrap();
    }

    /// Orders another generation of a component.
    pub async fn reload(&self, name: &str, hash: &str) {
        let order = ToChild::Reload(1, Box::new(generation(name, hash, false)));
        self.master.send(&order, &[]).await.unwrap();
    }

    /// How the last order ended.
    pub async fn reloaded(&self) -> Result<(), String> {
        loop {
            let (message, _) = self.master.recv().await.unwrap().unwrap();
            if let FromChild::Reloaded(_, outcome) = message {
                return outcome;
            }
        }
    }

    /// Waits until an event like that was handed over.
    pub async fn heard(&self, like: impl Fn(&Event) -> bool) {
        let heard = async {
            while !self.log.borrow().iter().any(&like) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), heard).await.expect("the event in time");
    }

    /// Connects, and hands the connection to the worker once something came.
    pub async fn connect(&self, first: &[u8]) -> TcpStream {
        let address = self.listener.local_addr().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        client.writable().await.unwrap();
        assert_eq!(client.try_write(first).unwrap(), first.len());
        let (mut accepted, peer) = self.listener.accept().await.unwrap();
        let mut read = vec![0; first.len()];
        accepted.read_exact(&mut read).await.unwrap();
        let peer = Peer { address: IpAddr::from(Ipv4Addr::LOCALHOST), port: peer.port(), secure: false };
        let handoff = Handoff { peer, request: 1, read: read.into(), way: Way::Open };
        let accepted = accepted.into_std().unwrap();
        self.handoffs.send(&handoff, &[accepted.as_fd()]).await.unwrap();
        client
    }

    /// A WebSocket whose handshake of the protocol is still to be made.
    pub async fn websocket(&self) -> Client {
        self.websocket_of("a=1").await
    }

    /// A WebSocket of a client of the classic generation, which was let in but has not said anything.
    pub async fn classic(&self) -> Client {
        let mut client = self.websocket_of("EIO=2&transport=websocket").await;
        let (open, connect) = (client.next().await, client.next().await);
        assert!(open.starts_with(r#"0{"sid":"#), "{open}");
        assert!(connect.starts_with(r#"4{"event":"connect""#), "{connect}");
        client
    }

    /// A WebSocket that was asked for with this query.
    pub async fn websocket_of(&self, query: &str) -> Client {
        let request = format!(
            "GET /socketcluster/?{query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: LmW0iHY7ICJD+kV31K/jow==\r\n\r\n"
        );
        let mut stream = self.connect(request.as_bytes()).await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        let role = tokio_tungstenite::tungstenite::protocol::Role::Client;
        Client(WebSocketStream::from_raw_socket(stream, role, None).await)
    }

    /// A client that made its handshake.
    pub async fn client(&self) -> Client {
        let mut client = self.websocket().await;
        client.send(r##"{"event":"#handshake","data":{"authToken":null},"cid":1}"##).await;
        let answer = client.next().await;
        assert!(answer.contains(r#""isAuthenticated":false"#), "{answer}");
        client
    }
}

pub struct Client(WebSocketStream<TcpStream>);

impl Client {
    pub async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// Frames in one write.
    pub async fn send_together(&mut self, texts: &[&str]) {
        for text in texts {
            self.0.feed(Message::text(*text)).await.unwrap();
        }
        self.0.flush().await.unwrap();
    }

    /// Frames and the end in one write.
    pub async fn leave_with(&mut self, texts: &[&str], code: u16) {
        for text in texts {
            self.0.feed(Message::text(*text)).await.unwrap();
        }
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        self.0.send(Message::Close(Some(frame))).await.unwrap();
    }

    /// The next message as text; `close CODE REASON` for the end.
    pub async fn next(&mut self) -> String {
        self.next_within(Duration::from_secs(5)).await
    }

    pub async fn next_within(&mut self, deadline: Duration) -> String {
        let next = tokio::time::timeout(deadline, self.0.next());
        match next.await.expect("a message in time") {
            Some(Ok(Message::Text(text))) => text.as_str().to_owned(),
            Some(Ok(Message::Close(Some(frame)))) => {
                format!("close {} {}", u16::from(frame.code), frame.reason).trim_end().to_owned()
            }
            other => format!("{other:?}"),
        }
    }

    pub async fn close(&mut self, code: u16, reason: &str) {
        self.0.close(Some(CloseFrame { code: code.into(), reason: reason.into() })).await.unwrap();
    }

    pub async fn ask(&mut self, text: &str) -> String {
        self.send(text).await;
        self.next().await
    }
}
