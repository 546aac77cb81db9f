//! The only door to the host's commands. Effects stop here while the instance is muted; interests, timers, logs and
//! reads pass.

use std::time::Duration;

pub(crate) use crate::bindings::exports::socketcluster::controller::fetch_answers::Response as WitResponse;
pub(crate) use crate::bindings::exports::socketcluster::controller::http_requests::Request as HttpRequest;
pub(crate) use crate::bindings::exports::socketcluster::controller::presence_changes::Member as WitMember;
pub(crate) use crate::bindings::socketcluster::controller::keyspace::Tree;
pub(crate) use crate::bindings::socketcluster::controller::log::Level;
pub(crate) use crate::bindings::socketcluster::controller::types::{
    Failure, Problem as WitProblem, SocketInfo, StartInfo,
};
use crate::mute;

#[cfg(not(test))]
use crate::bindings::socketcluster::controller::{
    auth_keys, exchange, gate, http, keyspace, log as logs, presence, sessions, setup, sockets, timers,
    tokens,
};
#[cfg(test)]
use crate::fake::{
    auth_keys, exchange, gate, http, keyspace, logs, presence, sessions, setup, sockets, timers, tokens,
};

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

pub(crate) fn route(method: &str, pattern: &str) {
    setup::route(method, pattern);
}

pub(crate) fn guard(line: &str, pattern: &str) {
    gate::guard(line, pattern);
}

// Verdicts pass while muted: somebody waits for them.

pub(crate) fn allow(action: u64) {
    gate::allow(action);
}

pub(crate) fn allow_with(action: u64, data: Option<&str>) {
    gate::allow_with(action, data);
}

pub(crate) fn block(action: u64, error: &Failure) {
    gate::block(action, error);
}

pub(crate) fn reject(action: u64, error: &Failure, code: u16) {
    gate::reject(action, error, code);
}

pub(crate) fn block_silently(action: u64) {
    gate::block_silently(action);
}

pub(crate) fn answer_action(action: u64, status: u16, headers: &[(String, Vec<u8>)], body: &[u8]) {
    gate::answer(action, status, headers, body);
}

pub(crate) fn hear_ends() {
    gate::hear_ends();
}

pub(crate) fn emit_in_session(to: &str, event: &str, data: Option<&str>, but: Option<u64>) {
    if !mute::is_on() {
        sessions::emit(to, event, data, but);
    }
}

/// None while muted.
pub(crate) fn emit_in_session_and_count(
    to: &str,
    event: &str,
    data: Option<&str>,
    but: Option<u64>,
) -> Option<u64> {
    (!mute::is_on()).then(|| sessions::emit_and_count(to, event, data, but))
}

pub(crate) fn emit_in_session_here(to: &str, event: &str, data: Option<&str>, but: Option<u64>) {
    if !mute::is_on() {
        sessions::emit_local(to, event, data, but);
    }
}

pub(crate) fn disconnect_session(who: &str, code: u16, reason: &str) {
    if !mute::is_on() {
        sessions::disconnect(who, code, reason);
    }
}

pub(crate) fn session_sockets(of: &str) -> Vec<u64> {
    sessions::sockets(of)
}

/// Answers an HTTP request.
pub(crate) fn respond(request: u64, status: u16, headers: &[(String, Vec<u8>)], body: &[u8]) {
    http::respond(request, status, headers, body);
}

/// None while muted.
pub(crate) fn fetch(
    method: &str,
    url: &str,
    headers: &[(String, Vec<u8>)],
    body: &[u8],
    timeout: Option<Duration>,
) -> Option<u64> {
    (!mute::is_on()).then(|| http::fetch(method, url, headers, body, timeout.map_or(0, millis)))
}

pub(crate) fn sign(claims: &str, expires_in_s: Option<u32>) -> Result<String, WitProblem> {
    tokens::sign(claims, expires_in_s)
}

pub(crate) fn verify(token: &str) -> Result<String, WitProblem> {
    tokens::verify(token)
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

pub(crate) fn forget(reply: u64) {
    if !mute::is_on() {
        sockets::forget(reply);
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

pub(crate) fn subscriptions(of: u64) -> Vec<String> {
    sockets::subscriptions(of)
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

pub(crate) fn members(channel: &str) -> u64 {
    presence::members(channel)
}

pub(crate) fn count_members(channel: &str) -> u64 {
    presence::count(channel)
}

pub(crate) fn watch_members(channel: &str) {
    presence::watch(channel);
}

/// What a fresh instance says again is no change.
pub(crate) fn describe(who: u64, data: Option<&str>) {
    presence::describe(who, data);
}

pub(crate) fn has(of: &Tree, path: &[String]) -> u64 {
    keyspace::has(of, path)
}

pub(crate) fn count(of: &Tree, path: &[String]) -> u64 {
    keyspace::count(of, path)
}

pub(crate) fn get_range(of: &Tree, path: &[String], start: &str, end: Option<&str>) -> u64 {
    keyspace::get_range(of, path, start, end)
}

pub(crate) fn get_expiry(of: &Tree, path: &[String]) -> u64 {
    keyspace::get_expiry(of, path)
}

// Changes of the data: none while muted.

pub(crate) fn set(of: &Tree, path: &[String], value: &str) -> Option<u64> {
    (!mute::is_on()).then(|| keyspace::set(of, path, value))
}

pub(crate) fn add(of: &Tree, path: &[String], value: &str) -> Option<u64> {
    (!mute::is_on()).then(|| keyspace::add(of, path, value, false))
}

pub(crate) fn concat(of: &Tree, path: &[String], value: &str) -> Option<u64> {
    (!mute::is_on()).then(|| keyspace::concat(of, path, value, false))
}

pub(crate) fn increment(of: &Tree, path: &[String], by: i64) -> Option<u64> {
    (!mute::is_on()).then(|| keyspace::increment(of, path, by))
}

pub(crate) fn compare_and_set(
    of: &Tree,
    path: &[String],
    expected: Option<&str>,
    value: Option<&str>,
) -> Option<u64> {
    (!mute::is_on()).then(|| keyspace::compare_and_set(of, path, expected, value))
}

pub(crate) fn remove(of: &Tree, path: &[String]) -> Option<u64> {
    (!mute::is_on()).then(|| keyspace::remove(of, path))
}

pub(crate) fn discard(of: &Tree, path: &[String]) -> Option<u64> {
    (!mute::is_on()).then(|| keyspace::discard(of, path))
}

pub(crate) fn remove_range(of: &Tree, path: &[String], start: &str, end: Option<&str>) -> Option<u64> {
    (!mute::is_on()).then(|| keyspace::remove_range(of, path, start, end, true))
}

pub(crate) fn pop(of: &Tree, path: &[String]) -> Option<u64> {
    (!mute::is_on()).then(|| keyspace::pop(of, path, true))
}

pub(crate) fn expire(of: &Tree, path: &[String], after: Duration) -> Option<u64> {
    let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    (!mute::is_on()).then(|| keyspace::expire(of, path, after_ms))
}

pub(crate) fn unexpire(of: &Tree, path: &[String]) -> Option<u64> {
    (!mute::is_on()).then(|| keyspace::unexpire(of, path))
}

pub(crate) fn run(of: &Tree, path: &[String], procedure: &str, argument: Option<&str>) -> Option<u64> {
    (!mute::is_on()).then(|| keyspace::run(of, path, procedure, argument))
}

pub(crate) fn run_at_end(of: &Tree, path: &[String], procedure: &str, argument: Option<&str>) {
    if !mute::is_on() {
        keyspace::run_at_end(of, path, procedure, argument);
    }
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
