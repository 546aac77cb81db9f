//! Lets data through only if they fit a JSON Schema: for the lines and names of each rule. Schemas are compiled when
//! the component starts; what they refer to has to be in them.

use std::rc::Rc;

use jsonschema::Validator;
use sc_sdk::middleware::prelude::*;
use serde::Deserialize;

/// Faults that a client is told of at a time.
const FAULTS_MAX: usize = 5;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    schemas: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    on: Vec<On>,
    #[serde(default = "all")]
    names: Vec<String>,
    schema: Json,
}

/// The lines whose actions have data of the client's making.
const LINES: [Line; 5] = [Line::Subscribe, Line::PublishIn, Line::Transmit, Line::Invoke, Line::Event];

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

fn all() -> Vec<String> {
    vec!["*".to_owned()]
}

impl Rule {
    fn compile(&self, index: usize) -> Result<Validator, Problem> {
        let fault =
            |fault: String| Problem::new("ConfigError", format!("config: `schemas[{index}]`: {fault}"));
        match self {
            _ if self.on.is_empty() => return Err(fault("`on` names no line".into())),
            _ if self.names.is_empty() => {
                return Err(fault("`names` is empty: leave it out for all names".into()));
            }
            _ => {}
        }
        jsonschema::validator_for(&self.schema).map_err(|error| {
            fault(format!("`schema` cannot be used: {error} (at {:?})", error.instance_path().to_string()))
        })
    }
}

/// The verdict of one schema. Data that are absent are judged as `null`.
fn judge(validator: &Validator, data: &Json) -> Result<Verdict, Problem> {
    if validator.is_valid(data) {
        return allow();
    }
    let faults = validator.iter_errors(data).take(FAULTS_MAX);
    let faults: Vec<Json> = faults
        .map(|fault| json!({ "path": fault.instance_path().to_string(), "message": fault.masked().to_string() }))
        .collect();
    Err(Problem::new("InvalidDataError", "the data do not fit the schema").with("faults", faults))
}

#[middleware]
fn run(chain: &mut Middleware) -> Result<(), Problem> {
    let config: Config = chain.config()?;
    if config.schemas.is_empty() {
        return Err(Problem::new("ConfigError", "config: `schemas` is empty: nothing would be checked"));
    }
    for (index, rule) in config.schemas.iter().enumerate() {
        let validator = Rc::new(rule.compile(index)?);
        for On(line) in &rule.on {
            for name in &rule.names {
                let validator = Rc::clone(&validator);
                chain.on_matching(*line, name, async move |action| judge(&validator, &action.data()?));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(on: &str, schema: &str) -> Rule {
        serde_json::from_str(&format!(r#"{{"on":{on},"schema":{schema}}}"#)).unwrap()
    }

    #[test]
    fn data_that_do_not_fit_are_told_where() {
        let schema =
            r#"{"type":"object","required":["text"],"properties":{"text":{"type":"string","maxLength":3}}}"#;
        let validator = rule(r#"["event"]"#, schema).compile(0).unwrap();
        assert!(judge(&validator, &json!({ "text": "abc" })).is_ok());
        let problem = judge(&validator, &json!({ "text": "secret" })).unwrap_err();
        let faults = problem.get("faults").unwrap().to_string();
        assert!(faults.contains(r#""path":"/text""#) && !faults.contains("secret"), "{faults}");
        assert!(judge(&validator, &Json::Null).is_err());
    }

    #[test]
    fn a_line_that_is_not_for_it_is_refused_with_those_that_are() {
        let fault =
            serde_json::from_str::<Rule>(r#"{"on":["handshake"],"schema":{}}"#).unwrap_err().to_string();
        assert!(fault.contains("`handshake`") && fault.contains("`publish-in`"), "{fault}");
    }

    #[test]
    fn a_schema_that_cannot_be_used_is_told_by_its_key() {
        for (on, schema, key) in [
            ("[]", "{}", "`on`"),
            (r#"["event"]"#, r#"{"type":"strin"}"#, "`schema`"),
            (r#"["event"]"#, r#"{"$ref":"https://example.com/x.json"}"#, "`schema`"),
        ] {
            let problem = rule(on, schema).compile(2).map(|_| ()).unwrap_err().to_string();
            assert!(problem.contains("`schemas[2]`") && problem.contains(key), "{problem}");
        }
    }
}
