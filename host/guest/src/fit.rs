//! Whether a component fits this host: every import that is missing, by name, and every function whose signature is
//! another. wasmtime itself stops at the first, and says nothing of exports before the guest has run.

use std::collections::BTreeSet;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentNamedList, InstancePre, Lift, Linker, Lower};

use crate::bindings::exports::socketcluster::controller::fetch_answers::Response as Fetched;
use crate::bindings::exports::socketcluster::controller::http_requests::Request as HttpRequest;
use crate::bindings::exports::socketcluster::controller::presence_changes::Member;
use crate::bindings::exports::socketcluster::controller::request_actions::Request as RequestHead;
use crate::bindings::socketcluster::controller::types::{Failure, SocketInfo, StartInfo};
use crate::context::Context;
use crate::engine::Engine;
use crate::error::chain;

/// The interfaces of ours that a guest may import, with their functions; a test compares them with `wit/`.
const COMMANDS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("setup", &["listen", "want", "route"]),
    ("gate", &["guard", "allow", "allow-with", "block", "reject", "block-silently", "answer", "hear-ends"]),
    (
        "sockets",
        &[
            "emit",
            "emit-many",
            "emit-to-all",
            "ask",
            "answer",
            "refuse",
            "forget",
            "close",
            "kick-out",
            "set-auth",
            "clear-auth",
            "info",
            "header",
            "subscriptions",
        ],
    ),
    ("sessions", &["emit", "emit-and-count", "emit-local", "disconnect", "sockets"]),
    ("exchange", &["publish", "publish-and-wait", "watch", "unwatch"]),
    ("presence", &["members", "count", "describe", "watch", "unwatch"]),
    (
        "keyspace",
        &[
            "get",
            "has",
            "count",
            "get-range",
            "get-expiry",
            "set",
            "add",
            "concat",
            "increment",
            "compare-and-set",
            "remove",
            "discard",
            "remove-range",
            "pop",
            "expire",
            "unexpire",
            "run",
            "run-at-end",
        ],
    ),
    ("timers", &["after", "every", "cancel"]),
    ("auth-keys", &["rotate"]),
    ("tokens", &["sign", "verify"]),
    ("http", &["respond", "fetch"]),
    ("log", &["write"]),
];
const PACKAGE: &str = "socketcluster:controller/";
/// The packages of WASI that are linked whole.
const WASI: [&str; 6] =
    ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/"];

/// Links a component, or says all that keeps it from fitting.
pub(crate) fn link(
    engine: &Engine,
    linker: &Linker<Context>,
    component: &Component,
) -> Result<InstancePre<Context>, Vec<String>> {
    let missing = missing(engine, component);
    if !missing.is_empty() {
        return Err(missing);
    }
    let linked = linker.instantiate_pre(component).map_err(|error| vec![chain(&error)])?;
    let misfits = misfits(&linked);
    if misfits.is_empty() { Ok(linked) } else { Err(misfits) }
}

/// What keeps a component from being a middleware, which decides about actions and hears of nothing else.
pub(crate) fn unlike_middleware(
    engine: &Engine,
    component: &Component,
    exported: &BTreeSet<&'static str>,
) -> Vec<String> {
    const CONTROLLERS_IMPORTS: [&str; 3] = ["setup", "presence", "auth-keys"];
    const EXPORTS: [&str; 10] = [
        "lifecycle",
        "state",
        "actions",
        "request-actions",
        "socket-ends",
        "timer-events",
        "client-answers",
        "keyspace-answers",
        "publish-answers",
        "fetch-answers",
    ];
    let kind = component.component_type();
    let ours = |name: &str| name.strip_prefix(PACKAGE)?.split_once('@').map(|(name, _)| name.to_owned());
    let imports = kind.imports(&engine.inner).filter_map(|(name, _)| ours(name));
    let imports = imports
        .filter(|name| CONTROLLERS_IMPORTS.contains(&name.as_str()))
        .map(|name| format!("it imports `{name}`, which only a worker's controller may use"));
    let exports = exported
        .iter()
        .filter(|name| !EXPORTS.contains(name))
        .map(|name| format!("it exports `{name}`, which a middleware never hears of"));
    let decides = ["actions", "request-actions"].iter().any(|name| exported.contains(name));
    let none = (!decides).then(|| "it exports neither `actions` nor `request-actions`".to_owned());
    none.into_iter().chain(imports).chain(exports).collect()
}

/// Whether an import is one of WASI that every guest is offered.
pub(crate) fn is_wasi(name: &str) -> bool {
    WASI.iter().any(|package| name.starts_with(package)) && name.contains("@0.2.")
}

fn missing(engine: &Engine, component: &Component) -> Vec<String> {
    let mut missing = Vec::new();
    for (name, import) in component.component_type().imports(&engine.inner) {
        let Some(interface) = name.strip_prefix(PACKAGE) else {
            if !is_wasi(name) {
                missing.push(format!("it imports `{name}`, which this host does not offer"));
            }
            continue;
        };
        let known = interface
            .split_once("@0.1.")
            .and_then(|(interface, _)| COMMANDS.iter().find(|(known, _)| *known == interface));
        let Some((_, functions)) = known else {
            missing.push(format!("it imports `{name}`, which this host does not have"));
            continue;
        };
        let ComponentItem::ComponentInstance(instance) = import.ty else { continue };
        for (function, item) in instance.exports(&engine.inner) {
            if matches!(item.ty, ComponentItem::ComponentFunc(_)) && !functions.contains(&function) {
                missing.push(format!("it imports `{function}` of `{name}`, which this host does not have"));
            }
        }
    }
    missing
}

/// Functions of ours that a component exports with another signature, or not at all beside their siblings.
fn misfits(linked: &InstancePre<Context>) -> Vec<String> {
    type Text = &'static str;
    type Data = Option<&'static String>;
    type Outcome = Result<Data, &'static Failure>;
    type Answer = (Result<(), String>,);

    let check = Check(linked);
    [
        check.function::<(&StartInfo,), Answer>("lifecycle", "on-start"),
        check.function::<(), ((u32, Vec<u8>),)>("state", "snapshot"),
        check.function::<(u32, &[u8]), Answer>("state", "restore"),
        check.function::<(&SocketInfo,), ()>("connections", "on-open"),
        check.function::<(&SocketInfo,), ()>("connections", "on-resume"),
        check.function::<(u64, u16, Text), ()>("connections", "on-close"),
        check.function::<(u64, Text, Data, Option<u64>), ()>("messages", "on-message"),
        check.function::<(u64, Data), ()>("auth-changes", "on-auth-change"),
        check.function::<(Text, Data), ()>("publications", "on-publication"),
        check.function::<(u64, Text), ()>("subscriptions", "on-subscribe"),
        check.function::<(u64, Text), ()>("subscriptions", "on-unsubscribe"),
        check.function::<(u64,), ()>("timer-events", "on-timer"),
        check.function::<(u64, Outcome), ()>("client-answers", "on-client-answer"),
        check.function::<(u64, Outcome), ()>("keyspace-answers", "on-value"),
        check.function::<(u64, Result<(), &'static Failure>), ()>("publish-answers", "on-published"),
        check.function::<(u32,), ()>("gaps", "on-gap"),
        check.function::<(Text,), ()>("session-ends", "on-session-leave"),
        check.function::<(Text,), ()>("session-ends", "on-session-end"),
        check.function::<(u64, &HttpRequest), ()>("http-requests", "on-request"),
        check.function::<(Text, Text, &Member), ()>("presence-changes", "on-presence"),
        check.function::<(u64, Result<&Fetched, &'static Failure>), ()>("fetch-answers", "on-fetched"),
        check.function::<(u64, Text, u64, Text, Data), ()>("actions", "on-action"),
        check.function::<(u64, Text, Text, &RequestHead), ()>("request-actions", "on-request-action"),
        check.function::<(u64,), ()>("socket-ends", "on-socket-end"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

struct Check<'a>(&'a InstancePre<Context>);

impl Check<'_> {
    fn function<Params, Return>(&self, interface: &str, function: &str) -> Option<String>
    where
        Params: ComponentNamedList + Lower,
        Return: ComponentNamedList + Lift,
    {
        let component = self.0.component();
        let name = format!("{PACKAGE}{interface}@0.1.0");
        let (_, exported) = component.get_export(None, &name)?;
        let exported = component.get_export(Some(&exported), function);
        let Some((ComponentItem::ComponentFunc(item), _)) = exported else {
            return Some(format!("it exports `{name}` without `{function}`"));
        };
        let mismatch = item.typecheck::<Params, Return>(&self.0.instance_type()).err()?;
        Some(format!("its `{function}` of `{name}` has another signature: {}", chain(&mismatch)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Interfaces and their functions as the WIT text declares them.
    fn declared(file: &str) -> BTreeSet<(String, String)> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit").join(file);
        let (mut interface, mut found) = (String::new(), BTreeSet::new());
        for line in std::fs::read_to_string(path).unwrap().lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("interface ") {
                interface = name.trim_end_matches(" {").to_owned();
            }
            if let Some((name, _)) = line.split_once(": func(").filter(|_| !line.starts_with("//")) {
                found.insert((interface.clone(), name.to_owned()));
            }
        }
        found
    }

    #[test]
    fn the_table_of_commands_is_the_wit_packages() {
        let table = COMMANDS
            .iter()
            .flat_map(|(interface, functions)| functions.iter().map(move |function| (interface, function)))
            .map(|(interface, function)| ((*interface).to_owned(), (*function).to_owned()))
            .collect();
        assert_eq!(declared("commands.wit"), table);
    }
}
