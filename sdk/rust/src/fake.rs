//! A host for the unit tests: it writes down what it is told, in words, and hands out tokens from 1 on. Each test
//! runs on a thread of its own, so each has its own host and its own instance.

use std::cell::{Cell, RefCell};

thread_local! {
    static TOLD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static TOKENS: Cell<u64> = const { Cell::new(0) };
    pub(crate) static CLAIMS: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What the host was told since it was last asked.
pub(crate) fn told() -> Vec<String> {
    TOLD.take()
}

fn tell(what: String) {
    TOLD.with_borrow_mut(|told| told.push(what));
}

fn token(what: &str) -> u64 {
    TOKENS.set(TOKENS.get() + 1);
    tell(format!("{what} -> {}", TOKENS.get()));
    TOKENS.get()
}

fn or_none(data: Option<&str>) -> &str {
    data.unwrap_or("-")
}

pub(crate) mod setup {
    use super::tell;

    pub(crate) fn listen(event: &str) {
        tell(format!("listen {event}"));
    }

    pub(crate) fn want(kind: &str) {
        tell(format!("want {kind}"));
    }

    pub(crate) fn route(method: &str, pattern: &str) {
        tell(format!("route {method} {pattern}"));
    }
}

pub(crate) mod gate {
    use super::{or_none, tell};
    use crate::Problem;
    use crate::host::Failure;

    pub(crate) fn guard(line: &str, pattern: &str) {
        tell(format!("guard {line} {pattern}"));
    }

    pub(crate) fn allow(action: u64) {
        tell(format!("allow {action}"));
    }

    pub(crate) fn allow_with(action: u64, data: Option<&str>) {
        tell(format!("allow {action} with {}", or_none(data)));
    }

    pub(crate) fn block(action: u64, error: &Failure) {
        tell(format!("block {action} {}", Problem::from_failure(error.clone())));
    }

    pub(crate) fn reject(action: u64, error: &Failure, code: u16) {
        tell(format!("reject {action} {code} {}", Problem::from_failure(error.clone())));
    }

    pub(crate) fn block_silently(action: u64) {
        tell(format!("block {action}"));
    }

    pub(crate) fn answer(action: u64, status: u16, headers: &[(String, Vec<u8>)], body: &[u8]) {
        let (body, headers) = (String::from_utf8_lossy(body), headers.len());
        tell(format!("answer {action} {status} {headers} {body}"));
    }

    pub(crate) fn hear_ends() {
        tell("hear ends".to_owned());
    }
}

pub(crate) mod verdicts {
    use super::tell;

    pub(crate) fn answer(status: u16, _: &[(String, Vec<u8>)], body: &[u8]) {
        tell(format!("answer {status} {}", String::from_utf8_lossy(body)));
    }

    pub(crate) fn close() {
        tell("close".to_owned());
    }

    pub(crate) fn set_header(name: &str, value: &[u8]) {
        tell(format!("set-header {name} {}", String::from_utf8_lossy(value)));
    }

    pub(crate) fn remove_header(name: &str) {
        tell(format!("remove-header {name}"));
    }

    pub(crate) fn rewrite(target: &str) {
        tell(format!("rewrite {target}"));
    }

    pub(crate) fn route_by(key: &str) {
        tell(format!("route-by {key}"));
    }
}

pub(crate) mod sockets {
    use super::{CLAIMS, or_none, tell, token};
    use crate::host::{Failure, SocketInfo};

    pub(crate) fn emit(to: u64, event: &str, data: Option<&str>) {
        tell(format!("emit {to} {event} {}", or_none(data)));
    }

    pub(crate) fn emit_many(to: &[u64], event: &str, data: Option<&str>) {
        tell(format!("emit {to:?} {event} {}", or_none(data)));
    }

    pub(crate) fn emit_to_all(event: &str, data: Option<&str>) {
        tell(format!("emit all {event} {}", or_none(data)));
    }

    pub(crate) fn ask(to: u64, event: &str, data: Option<&str>, timeout: u32) -> u64 {
        token(&format!("ask {to} {event} {} {timeout}", or_none(data)))
    }

    pub(crate) fn answer(reply: u64, data: Option<&str>) {
        tell(format!("answer {reply} {}", or_none(data)));
    }

    pub(crate) fn refuse(reply: u64, error: &Failure) {
        match error {
            Failure::Text(text) => tell(format!("refuse {reply} {text}")),
            Failure::Error(error) => {
                let (name, extra) = (error.name.as_deref(), error.extra.as_deref());
                tell(format!("refuse {reply} {}: {} {}", or_none(name), error.message, or_none(extra)));
            }
        }
    }

    pub(crate) fn forget(reply: u64) {
        tell(format!("forget {reply}"));
    }

    pub(crate) fn close(who: u64, code: u16, reason: &str) {
        tell(format!("close {who} {code} {reason}"));
    }

    pub(crate) fn kick_out(who: u64, channel: &str, message: &str) {
        tell(format!("kick {who} {channel} {message}"));
    }

    pub(crate) fn set_auth(who: u64, claims: &str, expires_in: Option<u32>) {
        tell(format!("auth {who} {claims} {expires_in:?}"));
    }

    pub(crate) fn clear_auth(who: u64) {
        tell(format!("unauth {who}"));
    }

    pub(crate) fn info(who: u64) -> Option<SocketInfo> {
        let auth = CLAIMS.with_borrow(Clone::clone);
        Some(SocketInfo { auth, protocol: "modern-2".into(), ..crate::tests::socket_info(who) })
    }

    pub(crate) fn header(_who: u64, name: &str) -> Option<Vec<u8>> {
        (name == "origin").then(|| b"http://\xff".to_vec())
    }

    pub(crate) fn subscriptions(_of: u64) -> Vec<String> {
        vec!["news".to_owned(), "room.1".to_owned()]
    }
}

pub(crate) mod exchange {
    use super::{or_none, tell, token};

    pub(crate) fn publish(channel: &str, data: Option<&str>) {
        tell(format!("publish {channel} {}", or_none(data)));
    }

    pub(crate) fn publish_and_wait(channel: &str, data: Option<&str>) -> u64 {
        token(&format!("publish {channel} {}", or_none(data)))
    }

    pub(crate) fn watch(channel: &str) {
        tell(format!("watch {channel}"));
    }

    pub(crate) fn unwatch(channel: &str) {
        tell(format!("unwatch {channel}"));
    }
}

pub(crate) mod keyspace {
    use super::token;
    use crate::host::Tree;

    fn place(tree: &Tree, path: &[String]) -> String {
        let tree = match tree {
            Tree::Session(session) => session,
            Tree::Global => "global",
            Tree::Named(name) => name,
        };
        format!("{tree}:{}", path.join("/"))
    }

    pub(crate) fn get(of: &Tree, path: &[String]) -> u64 {
        token(&format!("get {}", place(of, path)))
    }

    pub(crate) fn has(of: &Tree, path: &[String]) -> u64 {
        token(&format!("has {}", place(of, path)))
    }

    pub(crate) fn count(of: &Tree, path: &[String]) -> u64 {
        token(&format!("count {}", place(of, path)))
    }

    pub(crate) fn get_range(of: &Tree, path: &[String], start: &str, end: Option<&str>) -> u64 {
        token(&format!("get_range {} {start}..{end:?}", place(of, path)))
    }

    pub(crate) fn get_expiry(of: &Tree, path: &[String]) -> u64 {
        token(&format!("get_expiry {}", place(of, path)))
    }

    pub(crate) fn set(of: &Tree, path: &[String], value: &str) -> u64 {
        token(&format!("set {} {value}", place(of, path)))
    }

    pub(crate) fn add(of: &Tree, path: &[String], value: &str, _: bool) -> u64 {
        token(&format!("add {} {value}", place(of, path)))
    }

    pub(crate) fn concat(of: &Tree, path: &[String], value: &str, _: bool) -> u64 {
        token(&format!("concat {} {value}", place(of, path)))
    }

    pub(crate) fn increment(of: &Tree, path: &[String], by: i64) -> u64 {
        token(&format!("increment {} {by}", place(of, path)))
    }

    pub(crate) fn compare_and_set(
        of: &Tree,
        path: &[String],
        expected: Option<&str>,
        value: Option<&str>,
    ) -> u64 {
        token(&format!("compare_and_set {} {expected:?} {value:?}", place(of, path)))
    }

    pub(crate) fn remove(of: &Tree, path: &[String]) -> u64 {
        token(&format!("remove {}", place(of, path)))
    }

    pub(crate) fn discard(of: &Tree, path: &[String]) -> u64 {
        token(&format!("discard {}", place(of, path)))
    }

    pub(crate) fn remove_range(of: &Tree, path: &[String], start: &str, end: Option<&str>, _: bool) -> u64 {
        token(&format!("remove_range {} {start}..{end:?}", place(of, path)))
    }

    pub(crate) fn pop(of: &Tree, path: &[String], _: bool) -> u64 {
        token(&format!("pop {}", place(of, path)))
    }

    pub(crate) fn expire(of: &Tree, path: &[String], after: u64) -> u64 {
        token(&format!("expire {} {after}", place(of, path)))
    }

    pub(crate) fn unexpire(of: &Tree, path: &[String]) -> u64 {
        token(&format!("unexpire {}", place(of, path)))
    }

    pub(crate) fn run(of: &Tree, path: &[String], procedure: &str, argument: Option<&str>) -> u64 {
        token(&format!("run {procedure} {argument:?} {}", place(of, path)))
    }

    pub(crate) fn run_at_end(of: &Tree, path: &[String], procedure: &str, argument: Option<&str>) {
        super::tell(format!("at end {procedure} {argument:?} {}", place(of, path)));
    }
}

pub(crate) mod timers {
    use super::{tell, token};

    pub(crate) fn after(ms: u32) -> u64 {
        token(&format!("after {ms}"))
    }

    pub(crate) fn every(ms: u32) -> u64 {
        token(&format!("every {ms}"))
    }

    pub(crate) fn cancel(timer: u64) {
        tell(format!("cancel {timer}"));
    }
}

pub(crate) mod auth_keys {
    pub(crate) fn rotate(key: &str) {
        super::tell(format!("key {key}"));
    }
}

pub(crate) mod logs {
    use crate::host::Level;

    pub(crate) fn write(level: Level, message: &str) {
        super::tell(format!("log {level:?} {message}"));
    }
}

pub(crate) mod sessions {
    use super::{or_none, tell, token};

    pub(crate) fn emit(to: &str, event: &str, data: Option<&str>, but: Option<u64>) {
        tell(format!("emit session {to} {event} {} but {but:?}", or_none(data)));
    }

    pub(crate) fn emit_and_count(to: &str, event: &str, data: Option<&str>, but: Option<u64>) -> u64 {
        token(&format!("emit session {to} {event} {} but {but:?}", or_none(data)))
    }

    pub(crate) fn emit_local(to: &str, event: &str, data: Option<&str>, but: Option<u64>) {
        tell(format!("emit here {to} {event} {} but {but:?}", or_none(data)));
    }

    pub(crate) fn disconnect(who: &str, code: u16, reason: &str) {
        tell(format!("disconnect session {who} {code} {reason}"));
    }

    pub(crate) fn sockets(_: &str) -> Vec<u64> {
        vec![1]
    }
}

pub(crate) mod http {
    use super::tell;

    pub(crate) fn respond(request: u64, status: u16, headers: &[(String, Vec<u8>)], body: &[u8]) {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
            .collect();
        let body = String::from_utf8_lossy(body);
        tell(format!("respond {request} {status} [{}] {body}", headers.join(", ")));
    }

    pub(crate) fn fetch(
        method: &str,
        url: &str,
        headers: &[(String, Vec<u8>)],
        body: &[u8],
        timeout_ms: u32,
    ) -> u64 {
        let body = String::from_utf8_lossy(body);
        super::token(&format!("fetch {method} {url} {} {body} {timeout_ms}", headers.len()))
    }
}

pub(crate) mod tokens {
    use crate::host::WitProblem;

    pub(crate) fn sign(claims: &str, expires_in_s: Option<u32>) -> Result<String, WitProblem> {
        Ok(format!("signed {claims} for {expires_in_s:?}"))
    }

    pub(crate) fn verify(token: &str) -> Result<String, WitProblem> {
        let message = format!("{token} is bad");
        let claims = token.strip_prefix("good ").map(str::to_owned);
        claims.ok_or(WitProblem { name: Some("AuthTokenInvalidError".to_owned()), message, extra: None })
    }
}

pub(crate) mod presence {
    use super::{or_none, tell, token};

    pub(crate) fn members(channel: &str) -> u64 {
        token(&format!("members {channel}"))
    }

    pub(crate) fn count(channel: &str) -> u64 {
        token(&format!("count members {channel}"))
    }

    pub(crate) fn watch(channel: &str) {
        tell(format!("watch members {channel}"));
    }

    pub(crate) fn describe(who: u64, data: Option<&str>) {
        tell(format!("describe {who} {}", or_none(data)));
    }
}

/// A store's data for procedures: one level of numbers.
pub(crate) mod values {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use super::{or_none, tell};
    use crate::host::WitProblem;

    thread_local! {
        static VALUES: RefCell<BTreeMap<String, String>> = const { RefCell::new(BTreeMap::new()) };
    }

    type Answer<T> = Result<T, WitProblem>;

    pub(crate) fn get(path: &[String]) -> Answer<Option<String>> {
        Ok(VALUES.with_borrow(|values| values.get(&path.join("/")).cloned()))
    }

    pub(crate) fn has(path: &[String]) -> Answer<bool> {
        get(path).map(|value| value.is_some())
    }

    pub(crate) fn count(path: &[String]) -> Answer<u64> {
        has(path).map(u64::from)
    }

    pub(crate) fn get_range(path: &[String], _: &str, _: Option<&str>) -> Answer<String> {
        get(path).map(|value| format!("[{}]", value.unwrap_or_default()))
    }

    pub(crate) fn set(path: &[String], value: &str) -> Answer<()> {
        VALUES.with_borrow_mut(|values| values.insert(path.join("/"), value.to_owned()));
        Ok(())
    }

    pub(crate) fn add(path: &[String], value: &str) -> Answer<()> {
        set(path, value)
    }

    pub(crate) fn concat(path: &[String], value: &str) -> Answer<()> {
        set(path, value)
    }

    pub(crate) fn increment(path: &[String], by: i64) -> Answer<i64> {
        let known = get(path)?.unwrap_or_else(|| "0".to_owned()).parse::<i64>();
        let name = Some("InvalidTypeError".to_owned());
        let known = known.map_err(|_| WitProblem { name, message: "no integer".to_owned(), extra: None })?;
        set(path, &(known + by).to_string())?;
        Ok(known + by)
    }

    pub(crate) fn remove(path: &[String]) -> Answer<Option<String>> {
        Ok(VALUES.with_borrow_mut(|values| values.remove(&path.join("/"))))
    }

    pub(crate) fn remove_range(path: &[String], _: &str, _: Option<&str>) -> Answer<Option<String>> {
        remove(path)
    }

    pub(crate) fn pop(path: &[String]) -> Answer<Option<String>> {
        remove(path)
    }

    pub(crate) fn expire(path: &[String], _: u64) -> Answer<bool> {
        has(path)
    }

    pub(crate) fn unexpire(_: &[String]) -> Answer<bool> {
        Ok(false)
    }

    pub(crate) fn publish(channel: &str, data: Option<&str>) {
        tell(format!("publish {channel} {}", or_none(data)));
    }
}
