//! Times, and numbers that were meant in another unit.

use std::time::Duration;

use super::super::Mode;
use super::{Given, file};

#[test]
fn a_number_that_may_be_seconds_must_say_its_unit() {
    for (section, key) in [
        ("protocol", "ping_interval"),
        ("classic", "ping_timeout"),
        ("http", "body_timeout"),
        ("drain", "timeout"),
    ] {
        let text = format!("[{section}]\n{key} = 25");
        let (full, write) = (format!("`{section}.{key}` is 25 without a unit"), "\"25s\"");
        file(&text).refused(&[&full, "25 milliseconds", "sc.toml line 2", write, "\"25ms\""]);
    }
    file("").variable("SC_SESSION_TIMEOUT", "20").refused(&["SC_SESSION_TIMEOUT", "write \"20s\""]);
    file("").variable("SC_PROTOCOL_ACK_TIMEOUT", "90").refused(&["write \"1m30s\""]);
    let fine = file(
        "[protocol]\nping_interval = 8000\nack_timeout = \"90ms\"\n[drain]\ntimeout = 0\n[worker]\ncpu_per_call = 20",
    )
    .fine();
    assert_eq!(fine.worker.protocol.ack_timeout, Duration::from_millis(90));
    assert_eq!(fine.warnings, [""; 0]);
}

/// Commands to a running host do not read `[tls]`, and have a value of their own in its place.
#[test]
fn who_only_looks_for_the_host_is_told_the_same() {
    let looking = |text: &str| Given { mode: Mode::WithoutFiles, ..file(text) };
    looking("[tls]\nhandshake_timeout = 5000").fine();
    looking("[tls]\nhandshake_timeout = 5")
        .refused(&["`tls.handshake_timeout` is 5 without a unit", "\"5ms\""]);
}

#[test]
fn a_session_or_a_token_that_lives_short_is_a_warning() {
    let only = |text| match &file(text).fine().warnings[..] {
        [warning] => warning.clone(),
        warnings => panic!("{warnings:?}"),
    };
    let warning = only("[session]\ntimeout = 1200");
    for part in ["`session.timeout` is 1200 milliseconds, 1.2s", "sc.toml line 2", "write \"20m\""] {
        assert!(warning.contains(part), "{warning}");
    }
    let warning = only("[session]\ntimeout = \"30s\"");
    assert!(warning.contains("`session.timeout` is 30s") && !warning.contains("write"), "{warning}");
    let warning = only("[auth]\ndefault_expiry = 86400");
    assert!(warning.contains("86400 milliseconds, 1m26s") && warning.contains("write \"24h\""), "{warning}");
    for fine in
        ["[session]\ntimeout = 60000", "[session]\ntimeout = \"60s\"", "[auth]\ndefault_expiry = \"30s\""]
    {
        assert_eq!(file(fine).fine().warnings, [""; 0], "{fine}");
    }
    file("[session]\ntimeout = \"500ms\"").refused(&["`session.timeout` must be from 1s to 87600h"]);
}
