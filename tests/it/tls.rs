//! HTTPS and wss: certificates as users have them, and everything that may be wrong with them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use rustix::process::Signal;
use sc_tests::node::Script;
use sc_tests::require::require;
use sc_tests::tls::{Authority, Connector, Issued};
use sc_tests::{Host, HostBuilder, Role, guests as components, paths, run, wait};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::HandshakeKind;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::reload::{refused, reload};
use crate::{clients, host, host_of};

const LOCAL: [&str; 2] = ["127.0.0.1", "localhost"];
pub(crate) const HEALTH: &str = "/sc/health";

/// A folder with certificates, and who issued them.
pub(crate) struct Certificates {
    folder: tempfile::TempDir,
    pub(crate) authority: Authority,
}

impl Certificates {
    /// One for this machine: `host.pem` and `host.key`.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir_in(paths::target_folder("apps")?)?;
        let certificates = Certificates { folder, authority: Authority::new("the tests")? };
        certificates.issue(&LOCAL)?.write(certificates.path(), "host")?;
        std::fs::write(certificates.trusted(), certificates.authority.pem())?;
        Ok(certificates)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn trusted(&self) -> PathBuf {
        self.file("trusted.pem")
    }

    fn issue(&self, names: &[&str]) -> anyhow::Result<Issued> {
        self.authority.issue(names)
    }

    /// A host that serves TLS with them.
    pub(crate) fn secure(&self, host: HostBuilder) -> HostBuilder {
        host.set("tls.certificate", self.file("host.pem").display())
            .set("tls.key", self.file("host.key").display())
    }

    pub(crate) fn connector(&self) -> anyhow::Result<Connector> {
        Connector::new(&self.authority.pem(), "localhost", None)
    }

    /// An app whose `[tls]` is to be that.
    fn app(&self, tls: &str) -> anyhow::Result<HostBuilder> {
        let component = self.file("worker.wasm");
        if !component.is_file() {
            std::fs::copy(components::guest("suite")?, &component)?;
        }
        let text = format!("[app]\nname = \"secure\"\n[worker]\ncomponent = \"worker.wasm\"\n[tls]\n{tls}");
        std::fs::write(self.file("sc.toml"), text)?;
        // A socket that waits while a test runs other programs answers no pings.
        Ok(host().app(self.path()).set("protocol.ping_timeout_disabled", true))
    }
}

const BOTH: &str = "certificate = \"host.pem\"\nkey = \"host.key\"\n";

/// The real clients from npm, with TLS verified against the tests' authority.
#[tokio::test]
async fn generation20_over_wss() -> anyhow::Result<()> {
    over_wss("20").await
}

#[tokio::test]
async fn generation14_over_wss() -> anyhow::Result<()> {
    over_wss("14").await
}

async fn over_wss(generation: &str) -> anyhow::Result<()> {
    if !require(&["node", "npm"]) {
        return Ok(());
    }
    let certificates = Certificates::new()?;
    let host = certificates.secure(clients::beating()).start().await?;
    let trusted = certificates.trusted();
    let variables = [("NODE_EXTRA_CA_CERTS", trusted.as_path()), ("SC_SECURE", Path::new("1"))];
    let script = Script::start_with(&host, "run.mjs", &["both.mjs", generation], &variables)?;
    clients::follow(&host, script).await
}

pub(crate) type Socket = WebSocketStream<TlsStream<TcpStream>>;

pub(crate) async fn socket(host: &Host, connector: &Connector) -> anyhow::Result<Socket> {
    let stream = connector.connect(host).await?;
    let url = format!("wss://{}/socketcluster/", host.address());
    let (mut socket, answer) = tokio_tungstenite::client_async(url, stream).await?;
    let cookie = answer.headers().get("set-cookie").context("no session")?;
    ensure!(cookie.to_str()?.contains("; Secure"), "{cookie:?}");
    socket.send(Message::text(r##"{"event":"#handshake","data":{"authToken":null},"cid":1}"##)).await?;
    answered(&mut socket, 1).await?;
    Ok(socket)
}

async fn answered(socket: &mut Socket, rid: u64) -> anyhow::Result<()> {
    loop {
        let message = wait::within(wait::SOON, "an answer over wss", socket.next()).await?;
        match message.context("the socket ended")?? {
            Message::Text(text) if text.is_empty() => socket.send(Message::text("")).await?,
            Message::Text(text) if text.contains(&format!("\"rid\":{rid}")) => return Ok(()),
            _ => {}
        }
    }
}

async fn whoami(socket: &mut Socket, cid: u64) -> anyhow::Result<()> {
    socket.send(Message::text(format!(r#"{{"event":"whoami","cid":{cid}}}"#))).await?;
    answered(socket, cid).await
}

/// The subject that openssl sees for a name.
fn subject(host: &Host, name: &str) -> anyhow::Result<String> {
    let said = s_client(host, &["-servername", name])?;
    let line = said.lines().find(|line| line.trim_start().starts_with("subject=")).context("no subject")?;
    Ok(line.trim().to_owned())
}

pub(crate) fn s_client(host: &Host, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = run::command("openssl");
    command.args(["s_client", "-connect", host.address()]).args(arguments).stdin(std::process::Stdio::null());
    Ok(run::finish(&mut command, wait::SOON)?.text)
}

#[tokio::test]
async fn certificates_are_chosen_by_name_and_replaced_while_sockets_live() -> anyhow::Result<()> {
    if !require(&["openssl"]) {
        return Ok(());
    }
    let certificates = Certificates::new()?;
    certificates.issue(&["*.example.com"])?.write(certificates.path(), "example")?;
    let more = "[[tls.certificates]]\ncertificate = \"example.pem\"\nkey = \"example.key\"\n";
    let host = certificates.app(&format!("{BOTH}{more}"))?.start().await?;
    ensure!(subject(&host, "localhost")?.contains("127.0.0.1"));
    ensure!(subject(&host, "a.example.com")?.contains("*.example.com"));
    ensure!(subject(&host, "elsewhere.org")?.contains("127.0.0.1"));
    let trusted = certificates.trusted().display().to_string();
    let verified =
        s_client(&host, &["-CAfile", &trusted, "-verify_return_error", "-servername", "localhost"])?;
    ensure!(verified.contains("Verify return code: 0 (ok)"), "{verified}");

    let connector = certificates.connector()?;
    let mut before = socket(&host, &connector).await?;
    let said = reload(&host, &[]).await?;
    ensure!(said.contains("certificates: unchanged"), "{said}");
    let new = certificates.issue(&["new.example.com", "localhost"])?;
    new.write(certificates.path(), "host")?;
    let said = reload(&host, &[]).await?;
    ensure!(said.contains("certificates: new.example.com, localhost until"), "{said}");
    ensure!(subject(&host, "localhost")?.contains("new.example.com"));
    whoami(&mut before, 2).await?;

    // What is wrong changes nothing.
    let other = certificates.issue(&LOCAL)?;
    std::fs::write(certificates.file("host.key"), &other.key)?;
    refused(&host, &[], &["`tls.key`", "belongs to another certificate"]).await?;
    let expired = certificates.authority.issue_with(&LOCAL, |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    })?;
    expired.write(certificates.path(), "host")?;
    refused(&host, &[], &["`tls.certificate`", "it expired at 2020-01-01"]).await?;
    std::fs::remove_file(certificates.file("host.pem"))?;
    host.signal(Signal::HUP);
    let is_refusal = |record: &serde_json::Value| record["message"] == "nothing was reloaded";
    host.log().record("a refused reload", is_refusal).await?;
    ensure!(subject(&host, "localhost")?.contains("new.example.com"));
    certificates.app("")?;
    refused(&host, &[], &["whether TLS is served takes effect at a restart only"]).await?;

    // A hang-up rereads them, too, and a balancer that starts anew has what the others have.
    certificates.app(&format!("{BOTH}{more}"))?;
    other.write(certificates.path(), "host")?;
    host.signal(Signal::HUP);
    let is_reload =
        |record: &serde_json::Value| record["message"] == "reloaded" && record["trigger"] == "SIGHUP";
    host.log().record("a reload", is_reload).await?;
    ensure!(subject(&host, "localhost")?.contains("127.0.0.1"));
    whoami(&mut before, 3).await?;
    let old = host.kill(Role::Balancer, 0)?;
    host.respawned(Role::Balancer, 0, old).await?;
    let mut after = wait_for_socket(&host, &connector).await?;
    ensure!(subject(&host, "localhost")?.contains("127.0.0.1"));
    whoami(&mut after, 2).await
}

async fn wait_for_socket(host: &Host, connector: &Connector) -> anyhow::Result<Socket> {
    loop {
        match tokio::time::timeout(wait::SOON, socket(host, connector)).await? {
            Ok(socket) => return Ok(socket),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

#[tokio::test]
async fn a_wrong_start_is_refused() -> anyhow::Result<()> {
    if !require(&["openssl"]) {
        return Ok(());
    }
    let certificates = Certificates::new()?;
    let key = certificates.file("host.key").display().to_string();
    let openssl = |arguments: &[&str]| {
        let mut command = run::command("openssl");
        run::succeed(command.args(arguments), "openssl")
    };
    let sealed = certificates.file("sealed.key").display().to_string();
    openssl(&[
        "pkcs8",
        "-topk8",
        "-v2",
        "aes-256-cbc",
        "-in",
        &key,
        "-out",
        &sealed,
        "-passout",
        "pass:right",
    ])?;
    let scrypt = certificates.file("scrypt.key").display().to_string();
    openssl(&["pkcs8", "-topk8", "-scrypt", "-in", &key, "-out", &scrypt, "-passout", "pass:right"])?;
    let (rsa, old) = (certificates.file("rsa.key"), certificates.file("old.key"));
    let (rsa, old) = (rsa.display().to_string(), old.display().to_string());
    openssl(&["genrsa", "-out", &rsa, "2048"])?;
    openssl(&["rsa", "-aes128", "-traditional", "-in", &rsa, "-out", &old, "-passout", "pass:right"])?;
    let convert = "openssl pkcs8 -topk8 -v2 aes-256-cbc -in";
    let cases: [(&str, &str, &[&str]); 4] = [
        ("sealed", "wrong", &["`tls.key`", "does not open with this passphrase"]),
        ("scrypt", "wrong", &["does not open with this passphrase"]),
        ("old", "right", &["traditional form", convert]),
        ("missing", "right", &["cannot be read"]),
    ];
    for (name, passphrase, said) in cases {
        std::fs::write(certificates.file("pass"), passphrase)?;
        let tls = format!("certificate = \"host.pem\"\nkey = \"{name}.key\"\npassphrase_file = \"pass\"\n");
        certificates.app(&tls)?.run(wait::COMPILED)?.refused(78, said)?;
    }
    // The right passphrase, from the environment, which no child inherits.
    let tls = "certificate = \"host.pem\"\nkey = \"scrypt.key\"\n";
    let host = certificates.app(tls)?.set("tls.passphrase", "right").start().await?;
    for pid in host.pids().into_iter().filter(|pid| *pid != host.master()) {
        let environment = std::fs::read(format!("/proc/{pid}/environ"))?;
        ensure!(!String::from_utf8_lossy(&environment).contains("SC_TLS_PASSPHRASE"));
    }
    let (answer, _) = certificates.connector()?.get(&host, HEALTH).await?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn clients_prove_themselves() -> anyhow::Result<()> {
    let certificates = Certificates::new()?;
    let (known, stranger) = (Authority::new("of clients")?, Authority::new("a stranger")?);
    std::fs::write(certificates.file("clients.pem"), known.pem())?;
    let trusted = certificates.authority.pem();
    let with = |own: Option<&Issued>| Connector::with(&trusted, "localhost", None, own);
    let (own, wrong) = (known.issue(&["client"])?, stranger.issue(&["client"])?);
    for (auth, without) in [("required", false), ("optional", true)] {
        let tls = format!("{BOTH}client_ca = \"clients.pem\"\nclient_auth = \"{auth}\"\n");
        let host = certificates.app(&tls)?.start().await?;
        for (own, expected) in [(Some(&own), true), (Some(&wrong), false), (None, without)] {
            let answer = with(own)?.get(&host, HEALTH).await;
            let served = answer.as_ref().is_ok_and(|(answer, _)| answer.starts_with("HTTP/1.1 200"));
            ensure!(served == expected, "{auth}: {answer:?}");
        }
        // A ticket is no way around a check that has changed.
        let connector = with(Some(&own))?;
        connector.get(&host, HEALTH).await?;
        ensure!(connector.get(&host, HEALTH).await?.1 == HandshakeKind::Resumed);
        std::fs::write(certificates.file("clients.pem"), stranger.pem())?;
        reload(&host, &[]).await?;
        ensure!(connector.get(&host, HEALTH).await.is_err(), "its issuer is trusted no more");
        std::fs::write(certificates.file("clients.pem"), known.pem())?;
    }
    Ok(())
}

#[tokio::test]
async fn plain_http_is_redirected() -> anyhow::Result<()> {
    let certificates = Certificates::new()?;
    let host = certificates.secure(host_of("suite")).set("tls.redirect_http", 0).start().await?;
    let record =
        host.log().record("the redirect", |record| record["message"] == "plain HTTP is redirected").await?;
    let plain = record["url"]
        .as_str()
        .context("a url")?
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    let told = exchange(&plain, "GET /a?b HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    ensure!(told.starts_with("HTTP/1.1 308 "), "{told}");
    ensure!(told.contains(&format!("Location: https://localhost:{}/a?b\r\n", host.port())), "{told}");
    // Plain HTTP at the port of TLS.
    let told = exchange(host.address(), "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    ensure!(told.starts_with("HTTP/1.1 400 ") && told.contains("This port speaks TLS"), "{told}");
    host.stop().await?;
    ensure!(TcpStream::connect(&plain).await.is_err(), "nobody listens");
    Ok(())
}

async fn exchange(address: &str, request: &str) -> anyhow::Result<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    wait::within(wait::SOON, "an answer", stream.read_to_string(&mut answer)).await??;
    Ok(answer)
}

/// `sc-host dev --https` needs no certificate of the user's, and keeps the one that it makes.
#[tokio::test]
async fn development_has_a_certificate_of_its_own() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let mut first = None;
    for _ in 0..2 {
        let host = host_of("suite").dev().arg("--https").env("XDG_DATA_HOME", data.path()).start().await?;
        let file = data.path().join("sc-host/certificate/cert.pem");
        let certificate = std::fs::read_to_string(&file)?;
        for name in ["localhost", "127.0.0.1"] {
            let (answer, _) = Connector::new(&certificate, name, None)?.get(&host, HEALTH).await?;
            ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        ensure!(*first.get_or_insert_with(|| certificate.clone()) == certificate, "it is made once");
    }
    Ok(())
}
