//! What is wrong with the configuration, and where. All problems of a start are reported together.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use miette::{Diagnostic, NamedSource, SourceSpan};

/// The text of a configuration file, kept to show the lines at fault.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    name: String,
    text: Arc<str>,
}

impl Source {
    /// A file's name and text.
    pub(crate) fn new(path: &Path, text: &str) -> Self {
        Source { name: path.display().to_string(), text: text.into() }
    }

    fn line(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }
}

/// Where a value was given.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// In the file, at these bytes.
    File(Source, std::ops::Range<usize>),
    /// In an environment variable.
    Variable(String),
    /// On the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(source, span) => write!(f, "{} line {}", source.name, source.line(span.start)),
            Origin::Variable(name) => write!(f, "environment variable {name}"),
            Origin::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One thing wrong, with the lines around it when it is in the file.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub(crate) struct Problem {
    message: String,
    label: String,
    #[source_code]
    source_text: Option<NamedSource<Arc<str>>>,
    #[label("{label}")]
    span: Option<SourceSpan>,
    #[help]
    help: Option<String>,
    of_flag: bool,
}

impl Problem {
    /// A problem with a value, or with the lack of one. `label` is shown beside the line.
    pub(crate) fn new(message: &str, label: impl Into<String>, origin: Option<&Origin>) -> Self {
        let (source_text, span) = match origin {
            Some(Origin::File(source, span)) => {
                let text = NamedSource::new(&source.name, Arc::clone(&source.text));
                (Some(text), Some(span.clone().into()))
            }
            _ => (None, None),
        };
        let message = match origin {
            Some(origin) => format!("{message} ({origin})"),
            None => message.to_owned(),
        };
        let of_flag = matches!(origin, Some(Origin::Flag(_)));
        Problem { message, label: label.into(), source_text, span, help: None, of_flag }
    }

    /// The value is fine, but not what it names.
    pub(crate) fn of_what_it_names(mut self) -> Self {
        self.of_flag = false;
        self
    }

    /// Adds how to mend it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds how to mend it, if known.
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

/// All that is wrong with a configuration.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the configuration has {}", count(problems.len()))]
pub(crate) struct Problems {
    /// Each of them.
    #[related]
    pub(crate) problems: Vec<Problem>,
}

impl Problems {
    /// Whether nothing but the command line is wrong.
    pub(crate) fn are_of_flags(&self) -> bool {
        self.problems.iter().all(|problem| problem.of_flag)
    }

    /// Each problem with its help, one a line: for records, which have no room for lines of the file.
    pub(crate) fn flat(&self) -> String {
        let line = |problem: &Problem| match &problem.help {
            Some(help) => format!("{problem}; {help}"),
            None => problem.to_string(),
        };
        self.problems.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn count(problems: usize) -> String {
    match problems {
        1 => "an error".to_owned(),
        several => format!("{several} errors"),
    }
}
