//! TLS on the wire: resumption, what is offered, and how connections through a pump go on and end.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use sc_tests::require::require;
use sc_tests::tls::Connector;
use sc_tests::{Role, run, wait};
use tokio_rustls::rustls::{HandshakeKind, version};
use tokio_tungstenite::tungstenite::Message;

use crate::host_of;
use crate::tls::{Certificates, HEALTH, s_client, socket};

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
    ensure!(took < Duration::from_secs(18), "the drain took {took:?}");
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

    drop(host);

    // The newer version alone, if that is wanted.
    let host = certificates.secure(host_of("suite")).set("tls.min_version", "1.3").start().await?;
    ensure!(!s_client(&host, &["-tls1_2"])?.contains("New, TLSv1.2"));
    ensure!(s_client(&host, &["-tls1_3"])?.contains("New, TLSv1.3"));
    Ok(())
}
