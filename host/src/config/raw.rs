//! The layers as given, before any value is understood: file < environment < flags, each value with its origin.
//! Unknown keys are problems here already, so no spelling mistake is ever silently ignored.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::files::Files;
use super::keys;
use super::problem::{Origin, Problem, Problems, Source};

/// The key whose flag may be given several times: each is another one.
const MIDDLEWARE: &str = "middleware.component";
/// Largest `sc.toml` in bytes; more is surely another file.
const FILE_MAX: usize = 1024 * 1024;

/// A value of the file, or a word of the environment or the command line.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// Text without a type: a variable's or a flag's.
    Word(String),
    /// A string.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A list.
    Array(Vec<Value>),
    /// A table.
    Table(Vec<(String, Value)>),
}

impl Node {
    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Node::Word(_) | Node::Text(_) => "a string",
            Node::Integer(_) => "a whole number",
            Node::Float(_) => "a fraction",
            Node::Bool(_) => "a boolean",
            Node::Array(_) => "an array",
            Node::Table(_) => "a table",
        }
    }

    /// The value itself where it is short and no secret, else what it is. Secrets lie in tables and files only.
    pub(crate) fn shown(&self) -> String {
        match self {
            Node::Word(text) | Node::Text(text) if text.len() <= 40 => format!("\"{}\"", text.escape_debug()),
            Node::Integer(number) => number.to_string(),
            Node::Float(number) => number.to_string(),
            Node::Bool(flag) => flag.to_string(),
            other => other.kind().to_owned(),
        }
    }
}

/// A value and where it was given.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    /// The value.
    pub(crate) node: Node,
    /// Where it was given.
    pub(crate) origin: Origin,
}

/// Reads environment variables, or pretends to.
pub(crate) trait Environment {
    /// All variables whose name begins with `SC_`.
    fn variables(&self) -> Vec<(String, String)>;

    /// Reads the files that the configuration names.
    fn files(&self) -> Files {
        Files::default()
    }
}

/// This process's environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProcessEnvironment {
    /// Files that were read before.
    pub(crate) files: Files,
}

impl Environment for ProcessEnvironment {
    fn variables(&self) -> Vec<(String, String)> {
        std::env::vars_os()
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            })
            .filter(|(name, _)| name.starts_with("SC_"))
            .collect()
    }

    fn files(&self) -> Files {
        self.files.clone()
    }
}

/// A value on the command line: its key, its flag, its text.
pub(crate) type Flag = (&'static str, &'static str, String);

/// What was given for each key, by the strongest layer, and what is wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    values: BTreeMap<&'static str, Value>,
    /// One for each middleware, in their order, with the keys of its section alone.
    pub(crate) middleware: Vec<Layers>,
    /// What is wrong so far.
    pub(crate) problems: Vec<Problem>,
    /// What is odd, for the log.
    pub(crate) warnings: Vec<String>,
    /// Reads what the values name.
    pub(crate) files: Files,
}

impl Layers {
    /// Reads all layers. A file that is not TOML at all is an error at once.
    pub(crate) fn read(
        file: Option<(&Path, &str)>,
        environment: &impl Environment,
        flags: Vec<Flag>,
    ) -> Result<Self, Problems> {
        let mut layers = Layers { files: environment.files(), ..Layers::default() };
        if let Some((path, text)) = file {
            layers.read_file(path, text)?;
        }
        layers.read_environment(environment);
        if flags.iter().any(|(key, ..)| *key == MIDDLEWARE) {
            layers.middleware.clear();
        }
        for (key, flag, text) in flags {
            let value = Value { node: Node::Word(text), origin: Origin::Flag(flag) };
            if key == MIDDLEWARE {
                layers.middleware.push(Layers { values: [(key, value)].into(), ..Layers::default() });
            } else {
                layers.values.insert(key, value);
            }
        }
        Ok(layers)
    }

    /// What was given for a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        debug_assert!(keys::KEYS.contains(&key), "{key} is missing in the table of keys");
        self.values.get(key)
    }

    /// All that was given, but for middleware.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.values.iter().map(|(key, value)| (*key, value))
    }

    /// Where a key was given.
    pub(crate) fn origin(&self, key: &str) -> Option<&Origin> {
        self.get(key).map(|value| &value.origin)
    }

    fn read_file(&mut self, path: &Path, text: &str) -> Result<(), Problems> {
        let only = |problem| Problems { problems: vec![problem] };
        let source = Source::new(path, text);
        if text.len() > FILE_MAX {
            return Err(only(Problem::new(&format!("{} is larger than 1 MiB", path.display()), "", None)));
        }
        let document = DeTable::parse(text).map_err(|error| {
            let origin = Origin::File(source.clone(), error.span().unwrap_or(0..0));
            only(Problem::new("this is not TOML", error.message(), Some(&origin)))
        })?;
        for (section, value) in document.get_ref() {
            let (name, at) = (section.get_ref().as_ref(), section.span());
            if !keys::sections().contains(&name) {
                self.unknown(&source, at, "", name, &keys::sections());
                continue;
            }
            match value.get_ref() {
                DeValue::Array(entries) if name == "middleware" => {
                    for entry in entries {
                        self.read_middleware(&source, entry.get_ref(), entry.span());
                    }
                }
                other if name == "middleware" => {
                    let origin = Origin::File(source.clone(), value.span());
                    let kind = owned(&source, other).kind();
                    let message =
                        format!("`middleware` must be tables, each headed [[middleware]], not {kind}");
                    self.problems.push(Problem::new(&message, "expected [[middleware]]", Some(&origin)));
                }
                DeValue::Table(table) => self.read_section(&source, name, table),
                other => {
                    let origin = Origin::File(source.clone(), value.span());
                    let message = format!("`{name}` must be a table, not {}", owned(&source, other).kind());
                    let help = format!("write it as a section: [{name}]");
                    self.problems.push(Problem::new(&message, "expected a table", Some(&origin)).help(help));
                }
            }
        }
        Ok(())
    }

    fn read_middleware(&mut self, source: &Source, entry: &DeValue<'_>, at: Range<usize>) {
        let mut layers = Layers::default();
        match entry {
            DeValue::Table(table) => layers.read_section(source, "middleware", table),
            _ => {
                let origin = Origin::File(source.clone(), at);
                let message = "an entry of `middleware` must be a table";
                self.problems.push(Problem::new(message, "expected a table", Some(&origin)));
            }
        }
        self.problems.append(&mut layers.problems);
        self.middleware.push(layers);
    }

    fn read_section(&mut self, source: &Source, section: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let path = format!("{section}.{}", key.get_ref());
            match keys::KEYS.iter().find(|known| **known == path) {
                None => self.unknown(source, key.span(), section, key.get_ref(), &keys::names(section)),
                Some(known) => {
                    let origin = Origin::File(source.clone(), value.span());
                    self.values.insert(known, Value { node: owned(source, value.get_ref()), origin });
                }
            }
        }
    }

    /// Notes a key that does not exist, with the nearest that does.
    fn unknown(
        &mut self,
        source: &Source,
        at: Range<usize>,
        section: &str,
        key: &str,
        valid: &[&'static str],
    ) {
        let path = if section.is_empty() { format!("[{key}]") } else { format!("{section}.{key}") };
        let elsewhere = || keys::KEYS.iter().find(|known| known.split('.').next_back() == Some(key));
        let help = match (keys::nearest(key, valid.iter().copied()), elsewhere()) {
            (_, Some(known)) => format!("there is `{known}`: move it to that section"),
            (Some(nearest), None) => format!("did you mean `{nearest}`?"),
            (None, None) => format!("valid here: {}", valid.join(", ")),
        };
        let origin = Origin::File(source.clone(), at);
        let problem = Problem::new(&format!("unknown key `{path}`"), "no such key", Some(&origin)).help(help);
        self.problems.push(problem);
    }

    fn read_environment(&mut self, environment: &impl Environment) {
        let known: Vec<_> = keys::KEYS.iter().filter_map(|key| Some((*key, keys::variable(key)?))).collect();
        for (name, text) in environment.variables() {
            if let Some((key, _)) = known.iter().find(|(_, variable)| *variable == name) {
                self.values.insert(key, Value { node: Node::Word(text), origin: Origin::Variable(name) });
                continue;
            }
            let near = keys::nearest(&name, known.iter().map(|(_, variable)| variable.as_str()));
            let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            self.warnings.push(format!("environment variable {name} is no option of sc-host{near}"));
        }
    }
}

fn owned(source: &Source, value: &DeValue<'_>) -> Node {
    match value {
        DeValue::String(text) => Node::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Node::Integer(number),
            Err(_) => Node::Float(f64::INFINITY),
        },
        DeValue::Float(number) => Node::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Node::Bool(*flag),
        DeValue::Datetime(time) => Node::Text(time.to_string()),
        DeValue::Array(items) => Node::Array(
            items
                .iter()
                .map(|item| Value {
                    node: owned(source, item.get_ref()),
                    origin: Origin::File(source.clone(), item.span()),
                })
                .collect(),
        ),
        DeValue::Table(table) => Node::Table(
            table
                .iter()
                .map(|(key, item)| {
                    let origin = Origin::File(source.clone(), item.span());
                    (key.get_ref().to_string(), Value { node: owned(source, item.get_ref()), origin })
                })
                .collect(),
        ),
    }
}
