//! Errors as clients see them.

use std::fmt;

use serde::Serialize;
use serde_json::Map;

use crate::Json;
use crate::host::{Failure, WitProblem};

/// An error that a client gets as the answer to its request, or that came back from a client or a store.
///
/// ```
/// use sc_sdk::prelude::*;
///
/// let problem = Problem::new("FailedLoginError", "Failed to login").with("code", 42);
/// assert_eq!(problem.to_string(), "FailedLoginError: Failed to login");
/// assert_eq!(problem.get("code"), Some(&json!(42)));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    name: Option<String>,
    message: String,
    extra: Map<String, Json>,
    bare: bool,
}

impl Problem {
    /// An error object with a name, such as `"FailedLoginError"`, and a message.
    ///
    /// ```
    /// use sc_sdk::Problem;
    /// let problem = Problem::new("NotFoundError", "There is no such room");
    /// ```
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Problem { name: Some(name.into()), message: message.into(), extra: Map::new(), bare: false }
    }

    /// An error object without a name.
    ///
    /// ```
    /// let problem = sc_sdk::Problem::unnamed("Something went wrong");
    /// assert_eq!(problem.name(), None);
    /// ```
    pub fn unnamed(message: impl Into<String>) -> Self {
        Problem { name: None, message: message.into(), extra: Map::new(), bare: false }
    }

    /// An error that is no object but a bare text. It cannot carry more members.
    ///
    /// ```
    /// let problem = sc_sdk::Problem::text("no");
    /// assert_eq!(problem.to_string(), "no");
    /// ```
    pub fn text(message: impl Into<String>) -> Self {
        Problem { bare: true, ..Self::unnamed(message) }
    }

    /// Adds a member to the error object. `name` and `message` change those. A bare text becomes an object; a value
    /// that does not fit into JSON becomes `null`.
    ///
    /// ```
    /// use sc_sdk::Problem;
    /// let problem = Problem::new("LimitError", "Too many rooms").with("limit", 10).with("rooms", ["a", "b"]);
    /// ```
    #[must_use]
    pub fn with(mut self, member: impl Into<String>, value: impl Serialize) -> Self {
        self.bare = false;
        match (member.into(), serde_json::to_value(value).unwrap_or_default()) {
            (member, Json::String(name)) if member == "name" => self.name = Some(name),
            (member, Json::String(message)) if member == "message" => self.message = message,
            (member, value) if member == "name" || member == "message" => {
                crate::warn!("an error's {member} has to be a text, not {value}");
            }
            (member, value) => drop(self.extra.insert(member, value)),
        }
        self
    }

    /// The error's class, if it has one.
    ///
    /// ```
    /// assert_eq!(sc_sdk::Problem::new("E", "m").name(), Some("E"));
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What went wrong.
    ///
    /// ```
    /// assert_eq!(sc_sdk::Problem::new("E", "m").message(), "m");
    /// ```
    pub fn message(&self) -> &str {
        &self.message
    }

    /// A member beyond name and message.
    ///
    /// ```
    /// assert_eq!(sc_sdk::Problem::new("E", "m").get("code"), None);
    /// ```
    pub fn get(&self, member: &str) -> Option<&Json> {
        self.extra.get(member)
    }

    /// Whether it is a bare text, not an object.
    ///
    /// ```
    /// assert!(sc_sdk::Problem::text("no").is_text());
    /// ```
    pub fn is_text(&self) -> bool {
        self.bare
    }

    /// The status that it means for an HTTP client: its member `status`, from 400 to 599.
    pub(crate) fn status(&self) -> Option<u16> {
        let status = self.get("status").and_then(Json::as_u64)?;
        u16::try_from(status).ok().filter(|status| (400..=599).contains(status))
    }

    pub(crate) fn to_failure(&self) -> Failure {
        if self.bare {
            return Failure::Text(self.message.clone());
        }
        let extra = (!self.extra.is_empty()).then(|| Json::Object(self.extra.clone()).to_string());
        Failure::Error(WitProblem { name: self.name.clone(), message: self.message.clone(), extra })
    }

    pub(crate) fn from_failure(failure: Failure) -> Self {
        match failure {
            Failure::Text(text) => Self::text(text),
            Failure::Error(problem) => Self::from_wit(problem),
        }
    }

    pub(crate) fn from_wit(WitProblem { name, message, extra }: WitProblem) -> Self {
        let extra = extra.and_then(|extra| serde_json::from_str(&extra).ok()).unwrap_or_default();
        Problem { name, message, extra, bare: false }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl From<&str> for Problem {
    /// An error object without a name.
    fn from(message: &str) -> Self {
        Self::unnamed(message)
    }
}

impl From<String> for Problem {
    /// An error object without a name.
    fn from(message: String) -> Self {
        Self::unnamed(message)
    }
}

impl From<serde_json::Error> for Problem {
    /// An `InvalidDataError`.
    fn from(error: serde_json::Error) -> Self {
        Self::new("InvalidDataError", error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn failures_and_problems_are_the_same_there_and_back() {
        for problem in [
            Problem::text("no"),
            Problem::unnamed("plain"),
            Problem::new("E", "m").with("code", 42).with("info", json!({ "a": [1, 2] })),
        ] {
            assert_eq!(Problem::from_failure(problem.to_failure()), problem);
        }
    }

    #[test]
    fn name_and_message_are_never_doubled() {
        let problem = Problem::text("no").with("name", "E").with("message", "m").with("message", 5);
        assert_eq!(problem, Problem::new("E", "m"));
    }

    #[test]
    fn garbage_from_outside_is_an_error_without_extras() {
        let failure = |extra: &str| {
            Failure::Error(WitProblem { name: None, message: "m".into(), extra: Some(extra.into()) })
        };
        for extra in ["", "[]", "{", "1", "null"] {
            assert_eq!(Problem::from_failure(failure(extra)), Problem::unnamed("m"), "{extra}");
        }
    }
}
