//! Which requests the controller takes: patterns of paths, each with the methods it is for. They belong to the running
//! instance; between two instances those of the last one stand, so that a request waits instead of finding nothing.

use std::cell::RefCell;
use std::collections::BTreeSet;

use matchit::Router;
use percent_encoding::percent_decode_str;
use sc_core::log::FAULT;

/// The pattern of what no other pattern takes, and the method that stands for all.
const ANY: &str = "*";

/// The methods of a pattern, and the pattern as it was given.
#[derive(Debug, Default)]
struct Route {
    pattern: String,
    methods: BTreeSet<String>,
}

/// All patterns of an instance.
#[derive(Default)]
pub(crate) struct Routes {
    paths: RefCell<Router<Route>>,
    fallback: RefCell<Route>,
}

/// A pattern that takes a request, and the values of its parameters.
#[derive(Debug, PartialEq)]
pub(crate) struct Taken {
    pub(crate) pattern: String,
    pub(crate) params: Vec<(String, String)>,
}

/// What the patterns say of a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Match {
    /// The controller answers it.
    Taken(Taken),
    /// The path has answers to other methods.
    OtherMethods(Vec<String>),
    /// Nothing is known of the path.
    Unknown,
}

impl Routes {
    /// Adds a pattern for a method, `*` for all.
    pub(crate) fn add(&self, method: &str, pattern: &str) {
        if pattern == ANY {
            self.fallback.borrow_mut().methods.insert(method.to_owned());
            return;
        }
        let mut paths = self.paths.borrow_mut();
        let path = translated(pattern);
        // A pattern is found by itself, for its braces are letters like others; the same place may have another name.
        if let Ok(known) = paths.at_mut(&path)
            && translated(&known.value.pattern) == path
        {
            known.value.methods.insert(method.to_owned());
            return;
        }
        let route = Route { pattern: pattern.to_owned(), methods: BTreeSet::from([method.to_owned()]) };
        if let Err(error) = paths.insert(path, route) {
            tracing::error!(target: FAULT, method, pattern, %error, "the controller's route is ignored");
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        self.paths.take();
        self.fallback.take();
    }

    /// Finds who answers. A `HEAD` is a `GET` without its body.
    pub(crate) fn find(&self, method: &str, path: &str) -> Match {
        let paths = self.paths.borrow();
        let found = paths.at(path).ok();
        if let Some(found) = &found
            && found.value.takes(method)
        {
            let params = found.params.iter().map(|(name, value)| {
                (name.to_owned(), percent_decode_str(value).decode_utf8_lossy().into_owned())
            });
            return Match::Taken(Taken { pattern: found.value.pattern.clone(), params: params.collect() });
        }
        if self.fallback.borrow().takes(method) {
            return Match::Taken(Taken { pattern: ANY.to_owned(), params: Vec::new() });
        }
        match found {
            Some(found) => Match::OtherMethods(found.value.allowed()),
            None => Match::Unknown,
        }
    }
}

impl Route {
    fn takes(&self, method: &str) -> bool {
        let has = |method: &str| self.methods.contains(method);
        has(method) || has(ANY) || (method == "HEAD" && has("GET"))
    }

    fn allowed(&self) -> Vec<String> {
        let mut methods = self.methods.clone();
        if methods.contains("GET") {
            methods.insert("HEAD".to_owned());
        }
        methods.insert("OPTIONS".to_owned());
        methods.into_iter().collect()
    }
}

/// A pattern in the router's words: `:name` is `{name}`, `*rest` is `{*rest}`.
fn translated(pattern: &str) -> String {
    let part = |part: &str| match part.strip_prefix(':') {
        Some(name) if !name.is_empty() => format!("{{{name}}}"),
        _ => match part.strip_prefix('*') {
            Some("") => "{*rest}".to_owned(),
            Some(name) => format!("{{*{name}}}"),
            None => part.replace('{', "{{").replace('}', "}}"),
        },
    };
    pattern.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(all: &[(&str, &str)]) -> Routes {
        let routes = Routes::default();
        all.iter().for_each(|(method, pattern)| routes.add(method, pattern));
        routes
    }

    fn taken(routes: &Routes, method: &str, path: &str) -> Option<(String, Vec<(String, String)>)> {
        match routes.find(method, path) {
            Match::Taken(Taken { pattern, params }) => Some((pattern, params)),
            _ => None,
        }
    }

    #[test]
    fn the_more_exact_pattern_wins_and_parameters_are_decoded() {
        let routes = routes(&[("GET", "/a/:id"), ("GET", "/a/new"), ("*", "/files/*path"), ("GET", "/{x}")]);
        let param = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert_eq!(taken(&routes, "GET", "/a/new"), Some(("/a/new".into(), vec![])));
        assert_eq!(taken(&routes, "GET", "/a/b%20%C3%A9"), Some(("/a/:id".into(), param("id", "b é"))));
        assert_eq!(taken(&routes, "PUT", "/files/x/y"), Some(("/files/*path".into(), param("path", "x/y"))));
        assert_eq!(taken(&routes, "HEAD", "/a/new"), Some(("/a/new".into(), vec![])));
        assert_eq!(taken(&routes, "GET", "/{x}"), Some(("/{x}".into(), vec![])));
        assert_eq!(taken(&routes, "GET", "/y"), None);
    }

    #[test]
    fn other_methods_are_named_and_the_fallback_takes_the_rest() {
        let all = routes(&[("GET", "/a"), ("POST", "/a"), ("POST", "/b/:x"), ("GET", "/b/:x")]);
        let allowed = |methods: &[&str]| Match::OtherMethods(methods.iter().map(|m| (*m).into()).collect());
        assert_eq!(all.find("PUT", "/a"), allowed(&["GET", "HEAD", "OPTIONS", "POST"]));
        assert_eq!(all.find("PUT", "/b/1"), allowed(&["GET", "HEAD", "OPTIONS", "POST"]));
        assert_eq!(all.find("PUT", "/c"), Match::Unknown);
        all.add("GET", "*");
        assert_eq!(taken(&all, "GET", "/c/d"), Some(("*".into(), vec![])));
        assert_eq!(all.find("PUT", "/c"), Match::Unknown);
        all.clear();
        assert_eq!(all.find("GET", "/a"), Match::Unknown);
    }

    #[test]
    fn a_pattern_that_another_excludes_is_ignored() {
        let routes = routes(&[("GET", "/a/:x"), ("GET", "/a/:y")]);
        assert_eq!(taken(&routes, "GET", "/a/1").map(|(pattern, _)| pattern), Some("/a/:x".into()));
    }
}
