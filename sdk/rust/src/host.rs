//! The only door to the host's commands. Effects stop here while the instance is muted; interests, timers, logs and
//! reads pass.

use std::time::Duration;

pub(crate) use crate::bindings::socketcluster::controller::keyspace::Tree;
pub(crate) use crate::bindings::socketcluster::controller::log::Level;
pub(crate) use crate::bindings::socketcluster::controller::types::{
    Failure, Problem as WitProblem, SocketInfo, StartInfo,
};
use crate::mute;

#[cfg(not(test))]
use crate::bindings::socketcluster::controller::{
    auth_keys, exchange, keyspace, log as logs, setup, sockets, timers,
};
#[cfg(test)]
use crate::fake::{auth_keys, exchange, keyspace, logs, setup, sockets, timers};

/// Milliseconds as timers take them: at least 1, at most 49 days.
fn millis(time: Duration) -> u32 {
    let rounded_up = time.as_nanos().div_ceil(1_000_000);
    u32::try_from(rounded_up).unwrap_or(u32::MAX).max(1)
}

pub(crate) fn listen(event: &str) {
    setup::listen(event);
}

pub(crate) fn want(kind: &str) {
    setup::want(kind);
}

pub(crate) fn emit(to: u64, event: &str, data: Option<&str>) {
    if !mute::is_on() {
        sockets::emit(to, event, data);
    }
}

pub(crate) fn emit_many(to: &[u64], event: &str, data: Option<&str>) {
    if !mute::is_on() {
        sockets::emit_many(to, event, data);
    }
}

pub(crate) fn emit_to_all(event: &str, data: Option<&str>) {
    if !mute::is_on() {
        sockets::emit_to_all(event, data);
    }
}

/// None while muted.
pub(crate) fn ask(to: u64, event: &str, data: Option<&str>, timeout: Option<Duration>) -> Option<u64> {
    (!mute::is_on()).then(|| sockets::ask(to, event, data, timeout.map_or(0, millis)))
}

pub(crate) fn answer(reply: u64, data: Option<&str>) {
    if !mute::is_on() {
        sockets::answer(reply, data);
    }
}

pub(crate) fn refuse(reply: u64, error: &Failure) {
    if !mute::is_on() {
        sockets::refuse(reply, error);
    }
}

pub(crate) fn close(who: u64, code: u16, reason: &str) {
    if !mute::is_on() {
        sockets::close(who, code, reason);
    }
}

pub(crate) fn kick_out(who: u64, channel: &str, message: &str) {
    if !mute::is_on() {
        sockets::kick_out(who, channel, message);
    }
}

pub(crate) fn set_auth(who: u64, claims: &str, expires_in_s: Option<u32>) {
    if !mute::is_on() {
        sockets::set_auth(who, claims, expires_in_s);
    }
}

pub(crate) fn clear_auth(who: u64) {
    if !mute::is_on() {
        sockets::clear_auth(who);
    }
}

pub(crate) fn info(who: u64) -> Option<SocketInfo> {
    sockets::info(who)
}

pub(crate) fn header(who: u64, name: &str) -> Option<Vec<u8>> {
    sockets::header(who, name)
}

pub(crate) fn publish(channel: &str, data: Option<&str>) {
    if !mute::is_on() {
        exchange::publish(channel, data);
    }
}

/// None while muted.
pub(crate) fn publish_and_wait(channel: &str, data: Option<&str>) -> Option<u64> {
    (!mute::is_on()).then(|| exchange::publish_and_wait(channel, data))
}

pub(crate) fn watch(channel: &str) {
    exchange::watch(channel);
}

pub(crate) fn unwatch(channel: &str) {
    exchange::unwatch(channel);
}

pub(crate) fn get(of: &Tree, path: &[String]) -> u64 {
    keyspace::get(of, path)
}

/// None while muted.
pub(crate) fn set(of: &Tree, path: &[String], value: &str) -> Option<u64> {
    (!mute::is_on()).then(|| keyspace::set(of, path, value))
}

/// None while muted.
pub(crate) fn remove(of: &Tree, path: &[String]) -> Option<u64> {
    (!mute::is_on()).then(|| keyspace::remove(of, path))
}

/// None while muted.
pub(crate) fn expire(of: &Tree, path: &[String], after: Duration) -> Option<u64> {
    let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    (!mute::is_on()).then(|| keyspace::expire(of, path, after_ms))
}

pub(crate) fn after(time: Duration) -> u64 {
    timers::after(millis(time))
}

pub(crate) fn every(time: Duration) -> u64 {
    timers::every(millis(time))
}

pub(crate) fn cancel(timer: u64) {
    timers::cancel(timer);
}

pub(crate) fn rotate_auth_key(key: &str) {
    if !mute::is_on() {
        auth_keys::rotate(key);
    }
}

pub(crate) fn log(level: Level, message: &str) {
    logs::write(level, message);
}
