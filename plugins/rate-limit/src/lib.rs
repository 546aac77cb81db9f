//! Limits how often clients act: a token bucket for each socket, address or session, for the lines and names of each
//! rule. What is over the limit is blocked and never reaches the controller.

mod bucket;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sc_sdk::middleware::prelude::*;
use serde::Deserialize;

use crate::bucket::{Buckets, Owner};

/// How often buckets that are full again are forgotten.
const CLEANING: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    limits: Vec<Limit>,
    /// Owners that one limit keeps apart.
    #[serde(default = "entries")]
    entries: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    on: Vec<Line>,
    #[serde(default = "all")]
    names: Vec<String>,
    #[serde(default)]
    per: Per,
    /// Actions a second.
    rate: f64,
    /// Actions at once; the rate, but at least 1, if it is not given.
    burst: Option<f64>,
    #[serde(default)]
    silently: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Per {
    #[default]
    Socket,
    Address,
    Session,
}

/// Whether actions of the line have names that rules can tell apart.
fn has_names(line: Line) -> bool {
    !matches!(line, Line::InboundRaw | Line::Handshake | Line::Authenticate)
}

fn is_request(line: Line) -> bool {
    matches!(line, Line::Upgrade | Line::Request)
}

fn entries() -> usize {
    100_000
}

fn all() -> Vec<String> {
    vec!["*".to_owned()]
}

impl Limit {
    /// What is wrong with it: the key, and why.
    fn fault(&self) -> Option<String> {
        let named = || self.names.iter().any(|name| name != "*");
        Some(match self {
            _ if self.on.is_empty() => "`on` names no line".into(),
            _ if self.names.is_empty() => "`names` is empty: leave it out for all names".into(),
            _ if named() && self.on.iter().any(|line| !has_names(*line)) => {
                "`names` has to be left out where actions have no names (inbound-raw, handshake, authenticate)".into()
            }
            _ if self.on.iter().any(|line| is_request(*line)) && self.per == Per::Socket => {
                "`per` cannot be \"socket\" for requests, which have none yet: take \"address\" or \"session\"".into()
            }
            Limit { rate, .. } if !(rate.is_finite() && *rate > 0.0) => {
                format!("`rate` is {rate}, and has to be above 0")
            }
            Limit { burst: Some(burst), .. } if !(burst.is_finite() && *burst >= 1.0) => {
                format!("`burst` is {burst}, and has to be at least 1")
            }
            _ => return None,
        })
    }

    fn owner(&self, action: &Action) -> Owner {
        match self.per {
            Per::Socket => Owner::Socket(action.socket_id()),
            Per::Address => Owner::Name(action.address().into()),
            Per::Session => Owner::Name(action.session().id().into()),
        }
    }
}

impl Config {
    fn check(&self) -> Result<(), Problem> {
        let fault = match self {
            _ if self.limits.is_empty() => Some("`limits` is empty: nothing would be limited".to_owned()),
            _ if self.entries == 0 => Some("`entries` is 0, and has to be at least 1".to_owned()),
            _ => {
                let mut limits = self.limits.iter().enumerate();
                limits.find_map(|(index, limit)| Some(format!("`limits[{index}]`: {}", limit.fault()?)))
            }
        };
        fault.map_or(Ok(()), |fault| Err(Problem::new("ConfigError", format!("config: {fault}"))))
    }
}

/// The verdict on an action that comes too early.
fn refuse(line: Line, silently: bool, wait: f64) -> Result<Verdict, Problem> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole seconds, rounded up")]
    let seconds = wait.ceil().max(1.0) as u64;
    let message = format!("too many requests; try again in {seconds} s");
    match line {
        Line::Upgrade | Line::Request => {
            let answer = Response::text(message).with_status(429);
            respond(answer.with_header("retry-after", seconds.to_string()))
        }
        _ if silently => block_silently(),
        _ => Err(Problem::new("RateLimitError", message).with("retryAfter", seconds)),
    }
}

#[middleware]
fn run(chain: &mut Middleware) -> Result<(), Problem> {
    let config: Config = chain.config()?;
    config.check()?;
    let start = Instant::now();
    for limit in config.limits {
        let burst = limit.burst.unwrap_or_else(|| limit.rate.max(1.0));
        let buckets = Rc::new(RefCell::new(Buckets::new(limit.rate, burst, config.entries)));
        for line in &limit.on {
            for name in &limit.names {
                let (limit, buckets) = (limit.clone(), Rc::clone(&buckets));
                chain.on_matching(*line, name, async move |action| {
                    let (owner, now) = (limit.owner(&action), start.elapsed().as_secs_f64());
                    let taken = buckets.borrow_mut().take(&owner, now);
                    match taken {
                        Ok(()) => allow(),
                        Err(wait) => refuse(action.line(), limit.silently, wait),
                    }
                });
            }
        }
        let kept = Rc::clone(&buckets);
        chain.set_interval(CLEANING, move |_| kept.borrow_mut().clean(start.elapsed().as_secs_f64()));
        if limit.per == Per::Socket {
            chain.on_close(move |socket| buckets.borrow_mut().forget(&Owner::Socket(socket)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(limit: &str) -> String {
        let config: Config = serde_json::from_str(&format!("{{\"limits\":[{limit}]}}")).unwrap();
        config.check().map_or_else(|problem| problem.to_string(), |()| String::new())
    }

    #[test]
    fn a_bad_limit_is_told_by_its_key() {
        assert_eq!(fault(r#"{"on":["event"],"rate":1}"#), "");
        for (limit, key) in [
            (r#"{"on":[],"rate":1}"#, "`limits[0]`: `on`"),
            (r#"{"on":["event"],"rate":0}"#, "`limits[0]`: `rate`"),
            (r#"{"on":["event"],"rate":1,"burst":0.5}"#, "`burst`"),
            (r#"{"on":["event"],"rate":1,"names":[]}"#, "`names`"),
            (r#"{"on":["handshake"],"rate":1,"names":["a"]}"#, "`names`"),
            (r#"{"on":["request"],"rate":1}"#, "`per`"),
        ] {
            assert!(fault(limit).contains(key), "{limit}: {}", fault(limit));
        }
    }
}
