//! What happens when a balancer runs out of descriptors. A process of its own, for the limit is the process's.

#![expect(clippy::expect_used, reason = "a test")]

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::ClockId;
use sc_core::config::BalancerConfig;
use sc_core::controller::{
    Arrival, BalancerController, BalancerControllerSource, CallError, Generation, Ruling, Snapshot,
    SnapshotError, StartError, StartInfo,
};
use sc_core::ids::{BalancerId, WorkerId};
use sc_core::link::control::{ChildLink, HandoffReceiver, MasterLink, ToChild};
use sc_core::link::packet_pair;
use sc_core::session_id::{ClusterKey, SessionIds};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// The controller that there is not.
struct Nobody;

impl BalancerControllerSource for Nobody {
    type Instance = Nobody;

    async fn start(&self, _: &Generation, _: &StartInfo) -> Result<Self, StartError> {
        Ok(Nobody)
    }
}

impl BalancerController for Nobody {
    async fn arrive(&mut self, _: &Arrival) -> Result<Vec<Ruling>, CallError> {
        Ok(Vec::new())
    }

    async fn snapshot(&mut self) -> Result<Option<Snapshot>, SnapshotError> {
        Ok(None)
    }

    async fn restore(&mut self, _: &Snapshot) -> Result<(), StartError> {
        Ok(())
    }
}

fn limit_descriptors(soft: Option<u64>) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: soft.or(maximum), maximum }).expect("a limit");
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("below a second"))
}

async fn scenario() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    let (ours, theirs) = packet_pair().expect("a pair");
    let config = BalancerConfig {
        head_timeout: Duration::from_secs(5),
        head_max: 1024,
        pending_max: 100,
        pending_per_address: 100,
        smart_balancing: true,
        session_ids: SessionIds { key: ClusterKey([1; 32]), host: String::new(), port: 8000 },
        balancers: 1,
        app: "app".to_owned(),
        socket_path: "/socketcluster/".to_owned(),
        trusted_proxies: Vec::new(),
        answer_timeout: Duration::from_secs(5),
        tls: None,
    };
    let link = ChildLink::new(theirs).expect("a link");
    let _balancer = tokio::task::spawn_local(sc_balancer::run::<Nobody>(
        link,
        BalancerId(0),
        config,
        vec![listener.into()],
        None,
    ));
    let control = MasterLink::new(ours).expect("a link");
    let (ours, theirs) = packet_pair().expect("a pair");
    control.send(&ToChild::HandoffTo(WorkerId(0)), &[theirs.as_fd()]).await.expect("sent");
    let worker = HandoffReceiver::new(ours).expect("a link");
    tokio::time::sleep(Duration::from_millis(50)).await;

    // The client's own end takes the last descriptor.
    let next: OwnedFd = std::fs::File::open("/dev/null").expect("a file").into();
    let next_number = std::os::fd::AsRawFd::as_raw_fd(&next);
    drop(next);
    limit_descriptors(Some(u64::try_from(next_number).expect("a number") + 1));
    let mut client = TcpStream::connect(address).await.expect("connected by the kernel");
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("written");
    let before = cpu_time();
    let waited = tokio::time::timeout(Duration::from_secs(1), worker.recv()).await;
    assert!(waited.is_err(), "there is no descriptor for it");
    assert!(cpu_time() - before < Duration::from_millis(200), "it does not spin");

    limit_descriptors(None);
    let served = tokio::time::timeout(Duration::from_secs(10), worker.recv()).await.expect("in time");
    assert!(matches!(served, Ok(Some((_, descriptors))) if descriptors.len() == 1));
}

#[test]
fn without_descriptors_accepting_pauses_and_goes_on() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, scenario());
}
