//! The files of a new app. Each template, in `examples/templates`, is an app named `myapp`: the language's folder has
//! a whole one, a client's what is different with that client.

use crate::carried::TEMPLATES;
use crate::cli::{Client, Lang};

/// What the templates' app is called.
const NAME: &str = "myapp";
/// Where it says which packages it is built with.
const LOCK: &str = "Cargo.lock";

/// A file of the app: its path in the app's folder, and its contents.
pub(super) type NewFile = (&'static str, Vec<u8>);

/// All files of an app of that name.
pub(super) fn files(name: &str, lang: Lang, client: Client) -> Vec<NewFile> {
    let lang = match lang {
        Lang::Rust => "rust/",
    };
    let client = match client {
        Client::Own => None,
        Client::Socketcluster => Some("client-socketcluster/"),
        Client::Classic => Some("client-classic/"),
    };
    let below = |folder: &'static str| {
        TEMPLATES.iter().filter_map(move |(path, contents)| Some((path.strip_prefix(folder)?, *contents)))
    };
    let mut files: Vec<(&str, &[u8])> = client.into_iter().flat_map(below).collect();
    for (path, contents) in below(lang) {
        if !files.iter().any(|(other, _)| *other == path) {
            files.push((path, contents));
        }
    }
    let lock =
        files.iter().find(|(path, _)| *path == LOCK).map(|(_, contents)| String::from_utf8_lossy(contents));
    let package = package(name, &lock.unwrap_or_default());
    let named = |path: &str, contents: &[u8]| match std::str::from_utf8(contents) {
        Ok(text) => text.replace(NAME, if path.starts_with("Cargo.") { &package } else { name }).into_bytes(),
        Err(_) => contents.to_owned(),
    };
    files.into_iter().map(|(path, contents)| (path, named(path, contents))).collect()
}

/// The name as cargo takes it: it has no dots, begins with a letter, and is no other package's in the lock file.
fn package(name: &str, lock: &str) -> String {
    let name = name.replace('.', "-");
    let is_taken = lock.contains(&format!("\nname = \"{name}\"\n"));
    match name.starts_with(|first: char| first.is_ascii_alphabetic()) && !is_taken {
        true => name,
        false => format!("app-{}", name.trim_start_matches(['-', '_'])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(files: &[NewFile], path: &str) -> String {
        let found = files.iter().find(|(name, _)| *name == path);
        let (_, contents) = found.unwrap_or_else(|| panic!("{path} is missing in {files:?}"));
        String::from_utf8(contents.clone()).unwrap()
    }

    #[test]
    fn a_clients_files_stand_in_place_of_the_languages() {
        let own = files("chat", Lang::Rust, Client::Own);
        let npm = files("chat", Lang::Rust, Client::Socketcluster);
        assert!(!own.iter().any(|(path, _)| *path == "package.json"));
        assert!(text(&npm, "package.json").contains("socketcluster-client"));
        assert!(text(&npm, "sc.toml").contains("setup = "));
        assert_eq!(npm.iter().filter(|(path, _)| *path == "sc.toml").count(), 1);
        assert_eq!(text(&own, "src/lib.rs"), text(&npm, "src/lib.rs"));
    }

    #[test]
    fn the_classic_page_has_a_script_more() {
        let page = |client| text(&files("chat", Lang::Rust, client), "public/index.html");
        let script = "<script src=\"socketcluster.js\"></script>\n";
        assert!(page(Client::Classic).contains(script));
        assert_eq!(page(Client::Classic).replace(script, ""), page(Client::Own));
    }

    #[test]
    fn with_every_client_what_is_said_is_checked() {
        for client in [Client::Own, Client::Socketcluster, Client::Classic] {
            let settings: toml::Table = text(&files("chat", Lang::Rust, client), "sc.toml").parse().unwrap();
            assert_eq!(settings["protocol"]["allow_client_publish"].as_bool(), Some(false), "{client:?}");
        }
    }

    #[test]
    fn the_name_is_everywhere() {
        for client in [Client::Own, Client::Socketcluster, Client::Classic] {
            let files = files("1.chat", Lang::Rust, client);
            assert!(text(&files, "Cargo.toml").contains("\nname = \"app-1-chat\"\n"));
            assert!(text(&files, "sc.toml").contains("name = \"1.chat\""));
            assert!(text(&files, "public/index.html").contains("<h1>1.chat</h1>"));
            for (path, contents) in &files {
                assert!(!String::from_utf8_lossy(contents).contains(NAME), "{path}");
            }
        }
    }

    #[test]
    fn cargo_takes_every_name() {
        for (name, package_name) in
            [("chat", "chat"), ("my_app.2", "my_app-2"), ("7", "app-7"), ("-x", "app-x"), (".", "app-")]
        {
            assert_eq!(package(name, ""), package_name);
        }
    }

    #[test]
    fn no_two_packages_have_one_name() {
        let packages = |name: &str, path: &str| -> toml::Table {
            text(&files(name, Lang::Rust, Client::Own), path).parse().unwrap()
        };
        for name in ["sc-sdk", "sc-sdk-macros", "sc.sdk", "serde"] {
            let package = packages(name, "Cargo.toml")["package"]["name"].as_str().unwrap().to_owned();
            let lock = packages(name, "Cargo.lock");
            let same = lock["package"].as_array().unwrap().iter();
            let same = same.filter(|it| it["name"].as_str() == Some(&package));
            assert_eq!(same.count(), 1, "{package}");
        }
    }
}
