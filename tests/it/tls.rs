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
use tokio_rustls::rustls::{HandshakeKind, version};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::reload::{refused, reload};
use crate::{clients, host, host_of};

const LOCAL: [&str; 2] = ["127.0.0.1", "localhost"];
const HEALTH: &str = "/sc/health";

/// A folder with certificates, and who issued them.
struct Certificates {
    folder: tempfile::TempDir,
    authority: Authority,
}

impl Certificates {
    /// One for this machine: `host.pem` and `host.key`.
    fn new() -> anyhow::Result<Self> {
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

    fn trusted(&self) -> PathBuf {
        self.file("trusted.pem")
    }

    fn issue(&self, names: &[&str]) -> anyhow::Result<Issued> {
        self.authority.issue(names)
    }

    /// A host that serves TLS with them.
    fn secure(&self, host: HostBuilder) -> HostBuilder {
        host.set("tls.certificate", self.file("host.pem").display())
            .set("tls.key", self.file("host.key").display())
    }

    fn connector(&self) -> anyhow::Result<Connector> {
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
        Ok(host().app(self.path()))
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

type Socket = WebSocketStream<TlsStream<TcpStream>>;

async fn socket(host: &Host, connector: &Connector) -> anyhow::Result<Socket> {
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

fn s_client(host: &Host, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = run::command("openssl");
    command.args(["s_client", "-connect", host.address()]).args(arguments).stdin(std::process::Stdio::null());
    Ok(run::finish(&mut command, Duration::from_secs(20))?.text)
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
        match tokio::time::timeout(Duration::from_secs(20), socket(host, connector)).await? {
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
        certificates.app(&tls)?.run(Duration::from_secs(30))?.refused(78, said)?;
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

/// Tickets are good at every balancer, after a balancer's death, and after the host's.
#[tokio::test]
async fn sessions_are_resumed_across_balancers_and_restarts() -> anyhow::Result<()> {
    let certificates = Certificates::new()?;
    let data = tempfile::tempdir()?;
    let start = || {
        let host = certificates.secure(host_of("suite")).set("app.balancers", 2).data_dir(data.path());
        host.start()
    };
    let host = start().await?;
    for only in [&version::TLS12, &version::TLS13] {
        let connector = Connector::new(&certificates.authority.pem(), "localhost", Some(only))?;
        let (_, kind) = connector.get(&host, HEALTH).await?;
        ensure!(kind == HandshakeKind::Full, "{kind:?}");
        for _ in 0..20 {
            let (answer, kind) = connector.get(&host, HEALTH).await?;
            ensure!(
                kind == HandshakeKind::Resumed && answer.starts_with("HTTP/1.1 200"),
                "{kind:?} {answer}"
            );
        }
        let old = host.kill(Role::Balancer, 0)?;
        host.respawned(Role::Balancer, 0, old).await?;
        for _ in 0..10 {
            let (_, kind) = connector.get(&host, HEALTH).await?;
            ensure!(kind == HandshakeKind::Resumed, "{kind:?}");
        }
    }
    let connector = certificates.connector()?;
    connector.get(&host, HEALTH).await?;
    host.stop().await?;
    let host = start().await?;
    let (_, kind) = connector.get(&host, HEALTH).await?;
    ensure!(kind == HandshakeKind::Resumed, "{kind:?}");
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

/// Sockets over TLS are closed like others when the host ends, and hear of it.
#[tokio::test]
async fn a_drain_closes_sockets_over_tls_well() -> anyhow::Result<()> {
    let certificates = Certificates::new()?;
    let host = certificates.secure(host_of("suite")).start().await?;
    let connector = certificates.connector()?;
    let mut socket = socket(&host, &connector).await?;
    let closed = async {
        loop {
            let message = wait::within(wait::SOON, "a close frame", socket.next()).await?;
            if let Message::Close(frame) = message.context("it ended without a close frame")?? {
                ensure!(frame.as_ref().is_some_and(|frame| u16::from(frame.code) == 1001), "{frame:?}");
                break;
            }
        }
        ensure!(socket.next().await.is_none(), "it ends with a close-notify");
        Ok(())
    };
    let (stopped, closed) = tokio::join!(host.stop(), closed);
    closed?;
    let took = stopped?;
    ensure!(took < Duration::from_secs(8), "the drain took {took:?}");
    Ok(())
}

/// A body that fills every buffer on the way, and a client that does not read it.
#[tokio::test]
async fn large_answers_are_whole_and_slow_readers_hinder_nobody() -> anyhow::Result<()> {
    use tokio::io::AsyncWriteExt as _;
    let certificates = Certificates::new()?;
    let public = tempfile::tempdir()?;
    let file: Vec<u8> = (0..4_000_000_u32).map(|number| b'a' + (number % 26) as u8).collect();
    std::fs::write(public.path().join("large.txt"), &file)?;
    let host =
        certificates.secure(host_of("suite")).set("app.public", public.path().display()).start().await?;
    let connector = certificates.connector()?;
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = connector.connect(&host).await?;
        stream.write_all(b"GET /large.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
        slow.push(stream);
    }
    for _ in 0..3 {
        let (answer, _) = connector.get(&host, "/large.txt").await?;
        let (_, body) = answer.split_once("\r\n\r\n").context("a head")?;
        ensure!(body.as_bytes() == file, "{} of {} bytes", body.len(), file.len());
    }
    host.is_unhurt()
}

/// What is offered, as openssl sees it: nothing old, nothing weak.
#[tokio::test]
async fn offered_versions_and_ciphers() -> anyhow::Result<()> {
    if !require(&["openssl"]) {
        return Ok(());
    }
    let certificates = Certificates::new()?;
    let host = certificates.secure(host_of("suite")).start().await?;
    let agreed = |arguments: &[&str]| -> anyhow::Result<Option<String>> {
        let said = s_client(&host, arguments)?;
        let line = said.lines().find(|line| line.starts_with("New, "));
        Ok(line
            .map(|line| line.trim_start_matches("New, ").to_owned())
            .filter(|line| !line.contains("(NONE)")))
    };
    let mut table = String::new();
    for (version, is_offered) in [("-tls1", false), ("-tls1_1", false), ("-tls1_2", true), ("-tls1_3", true)]
    {
        let agreed = agreed(&[version, "-cipher", "ALL:@SECLEVEL=0"])?;
        table += &format!("{version:10} {}\n", agreed.as_deref().unwrap_or("not offered"));
        ensure!(agreed.is_some() == is_offered, "{version}: {agreed:?}");
    }
    let mut list = run::command("openssl");
    let ciphers =
        run::succeed(list.args(["ciphers", "-s", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]), "openssl")?;
    let mut offered = Vec::new();
    for cipher in
        ciphers.trim().split(':').filter(|cipher| !cipher.contains("PSK") && !cipher.contains("SRP"))
    {
        let how = format!("{cipher}:@SECLEVEL=0");
        if agreed(&["-tls1_2", "-cipher", &how])?.is_some() {
            table += &format!("-tls1_2    {cipher}\n");
            offered.push(cipher.to_owned());
        }
    }
    for suite in [
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_AES_128_CCM_SHA256",
    ] {
        if agreed(&["-tls1_3", "-ciphersuites", suite])?.is_some() {
            table += &format!("-tls1_3    {suite}\n");
            offered.push(suite.to_owned());
        }
    }
    println!("{table}");
    let good = |cipher: &String| cipher.contains("GCM") || cipher.contains("CHACHA20");
    let secret = |cipher: &String| cipher.starts_with("ECDHE") || cipher.starts_with("TLS_");
    ensure!(offered.len() == 6 && offered.iter().all(|cipher| good(cipher) && secret(cipher)), "{table}");
    for (alpn, expected) in
        [("http/1.1", "ALPN protocol: http/1.1"), ("h2,http/1.1", "ALPN protocol: http/1.1")]
    {
        let said = s_client(&host, &["-alpn", alpn])?;
        ensure!(said.contains(expected), "{alpn}: {said}");
    }
    let said = s_client(&host, &["-alpn", "h2"])?;
    ensure!(said.contains("no application protocol"), "{said}");

    // The newer version alone, if that is wanted.
    let host = certificates.secure(host_of("suite")).set("tls.min_version", "1.3").start().await?;
    ensure!(!s_client(&host, &["-tls1_2"])?.contains("New, TLSv1.2"));
    ensure!(s_client(&host, &["-tls1_3"])?.contains("New, TLSv1.3"));
    Ok(())
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
