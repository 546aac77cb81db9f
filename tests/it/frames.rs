//! Transcripts: what is sent and what must come back, byte by byte. Each file in `transcripts/` is one host; each case
//! in it is one connection.
//!
//! A line is `> text`, `>b binary`, `>ping`, `< text`, `<close code reason`, `<pong`, or one of the words `sync` and
//! `v1`. In expected text `<id>`, `<jwt>`, `<int>` and `<any>` stand for what differs each time; in sent text
//! `{{name}}` is a token.

use anyhow::{Context as _, bail, ensure};
use sc_tests::jwt;
use sc_tests::raw::{Frame, Raw};
use sc_tests::{Host, HostBuilder, wait};
use serde_json::json;

use crate::host_of;

#[tokio::test]
async fn only_packets_are_answered() -> anyhow::Result<()> {
    play(host_of("suite"), include_str!("transcripts/packets.txt"), Greeting::Handshake).await
}

#[tokio::test]
async fn handshakes_are_answered() -> anyhow::Result<()> {
    play(host_of("suite"), include_str!("transcripts/handshake.txt"), Greeting::None).await
}

#[tokio::test]
async fn events_and_calls_are_answered() -> anyhow::Result<()> {
    play(host_of("suite"), include_str!("transcripts/events.txt"), Greeting::Handshake).await
}

#[tokio::test]
async fn channels_are_subscribed_and_published_to() -> anyhow::Result<()> {
    play(host_of("suite"), include_str!("transcripts/channels.txt"), Greeting::Handshake).await
}

#[tokio::test]
async fn tokens_are_handed_out_and_checked() -> anyhow::Result<()> {
    play(host_of("suite"), include_str!("transcripts/auth.txt"), Greeting::Handshake).await
}

#[tokio::test]
async fn old_clients_are_answered_in_their_own_shapes() -> anyhow::Result<()> {
    let host = host_of("suite").set("protocol.ping_interval", "40ms");
    play(host, include_str!("transcripts/version1.txt"), Greeting::Handshake).await
}

#[tokio::test]
async fn forbidden_publications_and_too_many_channels_are_refused() -> anyhow::Result<()> {
    let host = host_of("suite").set("protocol.allow_client_publish", false).set("client.channel_limit", 2);
    play(host, include_str!("transcripts/options.txt"), Greeting::Handshake).await
}

/// Both pings until the first answer, then that version's; 4001 without one, 4005 without handshake.
#[tokio::test]
async fn pings_are_of_the_clients_version_and_demand_an_answer() -> anyhow::Result<()> {
    let host = host_of("suite")
        .set("protocol.ping_interval", "200ms")
        .set("protocol.ping_timeout", "2s")
        .set("protocol.handshake_timeout", "3s")
        .start()
        .await?;

    for (ping, pong) in [("#1", "#2"), ("", "")] {
        let mut raw = opened(&host).await?;
        let mut both = [text(raw.next().await?)?, text(raw.next().await?)?];
        both.sort();
        assert_eq!(both, ["", "#1"], "a stranger gets the pings of both versions");
        raw.text(pong).await?;
        // Pings of both kinds may be under way; after those, one kind is left, for longer than the timeout.
        let (mut alone, mut others) = (0, 0);
        while alone < 12 {
            if text(raw.next().await?)? == ping {
                alone += 1;
                raw.text(pong).await?;
            } else {
                (alone, others) = (0, others + 1);
                assert!(others < 40, "pings of the other version do not end");
            }
        }
    }

    let (mut mute, mut late) = (opened(&host).await?, Raw::upgraded(&host).await?);
    let (mute, late) = tokio::try_join!(mute.end(), late.next())?;
    assert_eq!(mute, Frame::Close(4001, String::new()));
    assert_eq!(late, Frame::Close(4005, String::new()), "no handshake, and no ping before it");
    host.stop().await?;
    Ok(())
}

/// With `ping_timeout_disabled` there are neither pings nor a deadline, and the answer still has its number.
#[tokio::test]
async fn without_pings_no_silence_is_too_long() -> anyhow::Result<()> {
    let host = host_of("suite")
        .set("protocol.ping_interval", "20ms")
        .set("protocol.ping_timeout", "60ms")
        .set("protocol.ping_timeout_disabled", true)
        .start()
        .await?;
    let mut raw = Raw::upgraded(&host).await?;
    raw.text(r##"{"event":"#handshake","data":{"authToken":null},"cid":1}"##).await?;
    let answer = text(raw.next().await?)?;
    matches(&answer, r#"{"rid":1,"data":{"id":"<id>","pingTimeout":60,"isAuthenticated":false}}"#)?;
    let silence = tokio::time::timeout(std::time::Duration::from_millis(300), raw.next()).await;
    assert!(silence.is_err(), "{silence:?}");
    Ok(())
}

/// With `batch_on_handshake`, what follows the handshake's answer goes out in arrays, for a while.
#[tokio::test]
async fn batches_after_the_handshake() -> anyhow::Result<()> {
    let host = host_of("suite")
        .set("protocol.batch_on_handshake", true)
        .set("protocol.batch_on_handshake_duration", "5s")
        .set("protocol.batch_interval", "1500ms")
        .start()
        .await?;
    let mut raw = opened(&host).await?;
    for cid in 2..5 {
        raw.text(
            &json!({"event": "#subscribe", "data": {"channel": format!("ch{cid}")}, "cid": cid}).to_string(),
        )
        .await?;
    }
    assert_eq!(text(raw.next_packet().await?)?, r#"[{"rid":2},{"rid":3},{"rid":4}]"#);
    raw.text(r##"{"event":"#publish","data":{"channel":"ch2","data":"m"}}"##).await?;
    assert_eq!(
        text(raw.next_packet().await?)?,
        r##"[{"event":"#publish","data":{"channel":"ch2","data":"m"}}]"##
    );
    let alone = async {
        loop {
            raw.text(r#"{"event":"proc","data":1,"cid":6}"#).await?;
            if text(raw.next_packet().await?)? == r#"{"rid":6,"data":"success 1"}"# {
                return anyhow::Ok(());
            }
        }
    };
    wait::within(wait::SOON, "an answer by itself", alone).await?
}

/// An expired token is noticed at the next packet, which still has its effect.
#[tokio::test]
async fn a_token_that_expires_is_noticed_at_the_next_packet() -> anyhow::Result<()> {
    let host = host_of("suite").start().await?;
    let mut raw = opened(&host).await?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let token = jwt::sign(&json!({ "username": "bob", "exp": now + 4 }), jwt::KEY);
    raw.text(&json!({"event": "#authenticate", "data": token, "cid": 2}).to_string()).await?;
    assert_eq!(
        text(raw.next_packet().await?)?,
        r#"{"rid":2,"data":{"isAuthenticated":true,"authError":null}}"#
    );
    // Time passes on the wall's clock, which nothing but waiting moves.
    tokio::time::sleep(std::time::Duration::from_millis(5_100)).await;
    raw.text(r#"{"event":"proc","data":1,"cid":3}"#).await?;
    assert_eq!(text(raw.next_packet().await?)?, r##"{"event":"#removeAuthToken"}"##);
    assert_eq!(text(raw.next_packet().await?)?, r#"{"rid":3,"data":"success 1"}"#);
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Greeting {
    Handshake,
    None,
}

async fn play(host: HostBuilder, transcript: &str, greeting: Greeting) -> anyhow::Result<()> {
    let host = host.start().await?;
    let mut failures = Vec::new();
    let cases = transcript.split("\n== ").skip(1);
    for case in cases {
        let (name, lines) = case.split_once('\n').unwrap_or((case, ""));
        if let Err(error) = play_case(&host, lines, greeting).await {
            failures.push(format!("{name}: {error:#}"));
        }
    }
    host.is_unhurt()?;
    ensure!(failures.is_empty(), "{} cases failed:\n\n{}", failures.len(), failures.join("\n\n"));
    Ok(())
}

async fn play_case(host: &Host, lines: &str, greeting: Greeting) -> anyhow::Result<()> {
    let mut raw = match greeting {
        Greeting::Handshake => opened(host).await?,
        Greeting::None => Raw::upgraded(host).await?,
    };
    let mut syncs = 1000;
    for line in lines.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            ">" => raw.text(&with_tokens(rest)?).await?,
            ">b" => raw.frame(2, rest.as_bytes()).await?,
            ">ping" => raw.frame(9, rest.as_bytes()).await?,
            "<" => {
                matches(&text(raw.next_packet().await?)?, rest).with_context(|| format!("expected {rest}"))?
            }
            "<pong" => ensure!(raw.next_packet().await? == Frame::Pong(rest.into()), "no pong"),
            "<close" => {
                let Frame::Close(code, reason) = raw.next_packet().await? else { bail!("no close frame") };
                matches(format!("{code} {reason}").trim_end(), rest)?;
            }
            "sync" => {
                syncs += 1;
                raw.text(&format!(r#"{{"event":"nodata","cid":{syncs}}}"#)).await?;
                let answer = text(raw.next_packet().await?)?;
                ensure!(answer == format!(r#"{{"rid":{syncs}}}"#), "this was not expected at all: {answer}");
            }
            "v1" => {
                while raw.next().await? != Frame::Text("#1".to_owned()) {}
                raw.text("#2").await?;
            }
            _ => bail!("no such line in a transcript: {line}"),
        }
    }
    Ok(())
}

/// A connection past its handshake, and past what the controller greets with.
async fn opened(host: &Host) -> anyhow::Result<Raw> {
    let mut raw = Raw::upgraded(host).await?;
    raw.text(r##"{"event":"#handshake","data":{"authToken":null},"cid":1}"##).await?;
    let answer = text(raw.next_packet().await?)?;
    matches(&answer, r#"{"rid":1,"data":{"id":"<id>","pingTimeout":<int>,"isAuthenticated":false}}"#)?;
    Ok(raw)
}

fn text(frame: Frame) -> anyhow::Result<String> {
    match frame {
        Frame::Text(text) => Ok(text),
        other => bail!("no text frame but {other:?}"),
    }
}

/// Compares with a pattern, in which words in angle brackets stand for what differs.
fn matches(given: &str, pattern: &str) -> anyhow::Result<()> {
    ensure!(fits(given, pattern), "got {given}");
    Ok(())
}

fn fits(given: &str, pattern: &str) -> bool {
    let Some((at, word)) = HOLES.iter().filter_map(|word| Some((pattern.find(word)?, word))).min() else {
        return given == pattern;
    };
    let (before, after) = (&pattern[..at], &pattern[at + word.len()..]);
    let Some(rest) = given.strip_prefix(before) else { return false };
    let of_id = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let run = |of: &dyn Fn(char) -> bool| rest.find(|c| !of(c)).unwrap_or(rest.len());
    let length = match *word {
        "<id>" => run(&of_id).min(20),
        "<jwt>" => run(&|c| of_id(c) || c == '.'),
        "<int>" => run(&|c| c.is_ascii_digit()),
        _ => {
            return rest
                .char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| fits(&rest[at..], after));
        }
    };
    let least = if *word == "<id>" { 20 } else { 1 };
    length >= least && fits(&rest[length..], after)
}

const HOLES: [&str; 4] = ["<id>", "<jwt>", "<int>", "<any>"];

fn with_tokens(text: &str) -> anyhow::Result<String> {
    let Some((before, rest)) = text.split_once("{{") else { return Ok(text.to_owned()) };
    let (name, after) = rest.split_once("}}").context("an open {{")?;
    Ok(format!("{before}{}{after}", token(name)?))
}

/// `{"username":"bob"}` signed with the tests' key by the algorithms that the harness does not know.
const HS384: [&str; 3] = [
    "eyJhbGciOiJIUzM4NCIsInR5cCI6IkpXVCJ9.",
    "eyJ1c2VybmFtZSI6ImJvYiJ9.",
    "HThh8R11P6_1iRl5cjtDNP4cFOx30pYKGuud14u2ZFBv7bhKfc7HHw-qRbhBDK8w",
];
const HS512: [&str; 3] = [
    "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9.",
    "eyJ1c2VybmFtZSI6ImJvYiJ9.",
    "8qe_pvLW_Za2i_u0jmZokGAM6Gur6yhA73K_v2xjDvpLEU5mAMMfOkbg9CUlrjUY2Jg9kunAk5Gvu_oj38Cq5w",
];

fn token(name: &str) -> anyhow::Result<String> {
    let bob = jwt::of("bob");
    let parts: Vec<_> = bob.split('.').collect();
    let signed = |payload| jwt::sign(&payload, jwt::KEY);
    let with_header = |header: &str| format!("{}.{}.{}", jwt::part(header), parts[1], parts[2]);
    Ok(match name {
        "bob" => bob,
        "bob-hs384" => HS384.concat(),
        "bob-hs512" => HS512.concat(),
        "forged" => jwt::sign(&json!({ "username": "bob" }), "another key"),
        "far" => signed(json!({ "username": "bob", "exp": 3_163_758_978_215_487_u64 })),
        "expired" => signed(json!({ "username": "bob", "exp": 1_600_000_000 })),
        "early" => signed(json!({ "username": "bob", "nbf": 4_000_000_000_u64 })),
        "nbf-text" => signed(json!({ "username": "bob", "nbf": "soon" })),
        "exp-text" => signed(json!({ "username": "bob", "exp": "soon" })),
        "unsigned" => format!("{}.{}.", parts[0], parts[1]),
        "no-json" => format!("{}.{}.{}", parts[0], jwt::part("notjson"), parts[2]),
        "alg-none" => with_header(r#"{"alg":"none","typ":"JWT"}"#),
        "alg-rs256" => with_header(r#"{"alg":"RS256","typ":"JWT"}"#),
        other => bail!("no token is called {other}"),
    })
}

#[test]
fn patterns_fit_what_differs_each_time() {
    for (given, pattern, same) in [
        (r#"{"rid":1}"#, r#"{"rid":1}"#, true),
        (r#"{"rid":1}"#, r#"{"rid":2}"#, false),
        (r#"{"id":"AAAAAAAAAAAAAAAAAAAA"}"#, r#"{"id":"<id>"}"#, true),
        (r#"{"id":"AAAAAAAAAAAAAAAAAAA"}"#, r#"{"id":"<id>"}"#, false),
        (r#"{"n":20000,"x":1}"#, r#"{"n":<int>,"x":1}"#, true),
        (r#"{"m":"a <b> c","x":1}"#, r#"{"m":"a <b> c","x":1}"#, true),
        (r#"{"m":"anything","n":1}"#, r#"{"m":"<any>","n":1}"#, true),
        (r#"{"rid":2,"data":null}"#, r#"{"rid":2<any>}"#, true),
        (r#"{"rid":2}"#, r#"{"rid":2<any>}"#, true),
        (r#"{"rid":2} "#, r#"{"rid":2}"#, false),
    ] {
        assert_eq!(fits(given, pattern), same, "{given} {pattern}");
    }
}
