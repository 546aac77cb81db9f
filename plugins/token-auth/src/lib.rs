//! Lets clients act only with a good token, and with claims that fit: for the lines and names of each rule.

mod claims;

use sc_sdk::middleware::prelude::*;
use serde::Deserialize;

use crate::claims::{Claims, Test, missing};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    rules: Vec<Rule>,
    /// Between the parts of a name.
    #[serde(default = "separator")]
    separator: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    on: Vec<On>,
    #[serde(default = "all")]
    names: Vec<String>,
    #[serde(default)]
    claims: Claims,
}

/// The lines on which a client that may have a token acts.
const LINES: [Line; 6] =
    [Line::Subscribe, Line::PublishIn, Line::Transmit, Line::Invoke, Line::PublishOut, Line::Event];

/// One of [`LINES`].
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "Line")]
struct On(Line);

impl TryFrom<Line> for On {
    type Error = String;

    fn try_from(line: Line) -> Result<Self, String> {
        if LINES.contains(&line) {
            return Ok(On(line));
        }
        let expected = LINES.map(|line| format!("`{line}`")).join(", ");
        Err(format!("unknown variant `{line}`, expected one of {expected}"))
    }
}

fn separator() -> String {
    ".".to_owned()
}

fn all() -> Vec<String> {
    vec!["*".to_owned()]
}

impl Config {
    fn check(&self) -> Result<(), Problem> {
        let faults = self.rules.iter().enumerate().map(|(index, rule)| {
            let fault = match rule {
                _ if rule.on.is_empty() => "`on` names no line".to_owned(),
                _ if rule.names.is_empty() => "`names` is empty: leave it out for all names".to_owned(),
                _ => {
                    let (claim, _) = rule.claims.iter().find(|(_, test)| **test == Test::Part(0))?;
                    format!("`claims.{claim}.part` is 0: parts are counted from 1")
                }
            };
            Some(format!("`rules[{index}]`: {fault}"))
        });
        let fault = match self {
            _ if self.rules.is_empty() => Some("`rules` is empty: nothing would need a token".to_owned()),
            _ if self.separator.is_empty() => Some("`separator` is empty".to_owned()),
            _ => faults.flatten().next(),
        };
        fault.map_or(Ok(()), |fault| Err(Problem::new("ConfigError", format!("config: {fault}"))))
    }
}

/// The verdict of one rule.
fn judge(rule: &Rule, separator: &str, action: &Action) -> Result<Verdict, Problem> {
    let Some(claims) = action.socket().auth_token::<Json>() else {
        return block("NotAuthenticatedError", "this needs a login");
    };
    let name = if action.channel().is_empty() { action.event() } else { action.channel() };
    match missing(&rule.claims, &claims, name, separator) {
        None => allow(),
        Some(claim) => {
            Err(Problem::new("NotAuthorizedError", "the token does not allow this").with("claim", claim))
        }
    }
}

#[middleware]
fn run(chain: &mut Middleware) -> Result<(), Problem> {
    let config: Config = chain.config()?;
    config.check()?;
    for rule in config.rules {
        for On(line) in &rule.on {
            for name in &rule.names {
                let (rule, separator) = (rule.clone(), config.separator.clone());
                chain.on_matching(*line, name, async move |action| judge(&rule, &separator, &action));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_not_for_it_is_refused_with_those_that_are() {
        let fault =
            serde_json::from_str::<Config>(r#"{"rules":[{"on":["handshake"]}]}"#).unwrap_err().to_string();
        assert!(fault.contains("`handshake`") && fault.contains("`publish-in`"), "{fault}");
    }

    #[test]
    fn a_bad_rule_is_told_by_its_key() {
        let fault = |config: &str| {
            let config: Config = serde_json::from_str(config).unwrap();
            config.check().map_or_else(|problem| problem.to_string(), |()| String::new())
        };
        assert_eq!(fault(r#"{"rules":[{"on":["event"],"claims":{"a":{"part":1}}}]}"#), "");
        for (config, key) in [
            (r#"{"rules":[]}"#, "`rules`"),
            (r#"{"rules":[{"on":[]}]}"#, "`rules[0]`: `on`"),
            (r#"{"rules":[{"on":["event"]},{"on":["event"],"names":[]}]}"#, "`rules[1]`: `names`"),
            (r#"{"rules":[{"on":["event"],"claims":{"a":{"part":0}}}]}"#, "`claims.a.part`"),
            (r#"{"rules":[{"on":["event"]}],"separator":""}"#, "`separator`"),
        ] {
            assert!(fault(config).contains(key), "{config}: {}", fault(config));
        }
    }
}
