//! Logging in and out, and what the server can do to a client.

use std::time::{SystemTime, UNIX_EPOCH};

use sc_sdk::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Login {
    username: String,
}

#[derive(Deserialize)]
struct Kick {
    channel: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Bye {
    code: u16,
    #[serde(default)]
    reason: String,
}

pub fn attach(socket: &Socket) {
    socket.on_request_sync("login", |socket, login: Login| {
        check(&login)?;
        socket.set_auth_token(json!({ "username": login.username }), Expires::by_default());
        Ok(())
    });
    socket.on_request_sync("loginWithTenDayExpiry", |socket, login: Login| {
        check(&login)?;
        socket.set_auth_token(json!({ "username": login.username }), Expires::in_days(10));
        Ok(())
    });
    socket.on_request_sync("loginWithTenDayExp", |socket, login: Login| {
        check(&login)?;
        let claims = json!({ "username": login.username, "exp": in_ten_days() });
        socket.set_auth_token(claims, Expires::by_default());
        Ok(())
    });
    socket.on_request_sync("loginWithTenDayExpAndExpiry", |socket, login: Login| {
        check(&login)?;
        let claims = json!({ "username": login.username, "exp": in_ten_days() });
        socket.set_auth_token(claims, Expires::in_minutes(40));
        Ok(())
    });
    socket.on_request_sync("setAuthKey", |socket, key: String| {
        socket.worker().set_auth_key(&key);
        Ok(())
    });
    socket.on_request_sync("whoami", |socket, _data: Json| {
        Ok(json!({
            "worker": socket.worker().id(),
            "workers": socket.worker().count(),
            "name": socket.name(),
            "address": socket.address(),
            "secure": socket.is_secure(),
            "protocol": socket.protocol(),
            "path": socket.path(),
            "query": socket.query(),
            "origin": socket.header("origin"),
            "auth": socket.auth_token::<Json>(),
        }))
    });

    // Each as an event and as a request.
    socket.on("kick", |socket, Kick { channel, message }| socket.kick_out(&channel, &message));
    socket.on_request_sync("kick", |socket, Kick { channel, message }| {
        socket.kick_out(&channel, &message);
        Ok(())
    });
    socket.on("bye", |socket, Bye { code, reason }| socket.disconnect(code, &reason));
    socket.on_request_sync("bye", |socket, Bye { code, reason }| {
        socket.disconnect(code, &reason);
        Ok(())
    });
    socket.on("deauth", |socket, _data: Json| socket.deauthenticate());
    socket.on_request_sync("deauth", |socket, _data: Json| {
        socket.deauthenticate();
        Ok(())
    });
}

fn check(login: &Login) -> Result<(), Problem> {
    match login.username.as_str() {
        "bob" | "alice" => Ok(()),
        _ => Err(Problem::new("FailedLoginError", "Failed to login")),
    }
}

fn in_ten_days() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    now + 10 * 24 * 60 * 60
}
