//! Lists what the binary carries for `sc-host create`: the templates, and the Rust SDK with the interfaces that it is
//! generated from. Everything is in the order of its name, so the same sources make the same binary.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// What the SDK's crates have for their own tests, and what no build reads.
const OF_TESTS: &[&str] = &["tests", "tests.rs", "fake.rs", "released"];
/// What is made in a template's folder when somebody tries it there.
const MADE: &[&str] = &["target", "node_modules", ".sc", ".sc-data"];

fn main() -> Result<(), Box<dyn Error>> {
    let host = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let root = host.parent().ok_or("the host's folder lies in none")?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);

    let mut sdk = BTreeSet::new();
    for path in ["LICENSE-APACHE", "LICENSE-MIT", "sdk/DATA.md", "sdk/rust", "wit"] {
        add(&root.join(path), OF_TESTS, &mut sdk)?;
    }
    let manifest = out.join("Cargo.toml");
    fs::write(&manifest, workspace(root, &sdk)?)?;
    let folder = root.join("examples/templates");
    let mut templates = BTreeSet::new();
    add(&folder, &[], &mut templates)?;
    // What lies beside them is about templates, and in none.
    templates.retain(|file| file.parent() != Some(&folder));

    let carried = [
        list("The SDK's files", "SDK", root, &sdk)?,
        list("The templates' files", "TEMPLATES", &folder, &templates)?,
        list("The manifest of the SDK's crates", "MANIFEST", &out, &[manifest].into())?,
    ];
    Ok(fs::write(out.join("carried.rs"), carried.concat())?)
}

/// Adds a file, or all that a folder holds but what is left out. What is added later is noticed.
fn add(path: &Path, left_out: &[&str], to: &mut BTreeSet<PathBuf>) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", path.display());
    if !path.is_dir() {
        to.insert(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if !MADE.iter().chain(left_out).any(|name| entry.file_name() == *name) {
            add(&entry.path(), left_out, to)?;
        }
    }
    Ok(())
}

/// A constant with the files' names below `base` and their contents.
fn list(what: &str, name: &str, base: &Path, files: &BTreeSet<PathBuf>) -> Result<String, Box<dyn Error>> {
    let mut text = format!("/// {what}.\npub(crate) const {name}: &[File] = &[\n");
    for file in files {
        text += &format!("    ({:?}, include_bytes!({file:?})),\n", file.strip_prefix(base)?);
    }
    Ok(text + "];\n")
}

/// A manifest in which the SDK's crates find what they take from this repository's own one.
fn workspace(root: &Path, sdk: &BTreeSet<PathBuf>) -> Result<String, Box<dyn Error>> {
    let whole = root.join("Cargo.toml");
    println!("cargo::rerun-if-changed={}", whole.display());
    let (mut members, mut taken) = (Vec::new(), BTreeSet::new());
    for manifest in sdk.iter().filter(|file| file.ends_with("Cargo.toml")) {
        members.push(manifest.parent().unwrap_or(root).strip_prefix(root)?);
        let text = fs::read_to_string(manifest)?;
        taken
            .extend(text.lines().filter_map(|line| Some(line.strip_suffix(".workspace = true")?.to_owned())));
    }
    let mut text = format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n");
    let mut section = String::new();
    for line in fs::read_to_string(&whole)?.lines().filter(|line| !line.is_empty()) {
        if line.starts_with('[') {
            section = line.to_owned();
        }
        let wanted = match section.as_str() {
            "[workspace.package]" => true,
            "[workspace.dependencies]" => {
                line == section || line.split(' ').next().is_some_and(|name| taken.contains(name))
            }
            _ => false,
        };
        if wanted {
            let gap = if line == section { "\n" } else { "" };
            text += &format!("{gap}{line}\n");
        }
    }
    // Who builds an app is told of the app's own faults.
    Ok(text + "\n[workspace.lints.rust]\nwarnings = \"allow\"\n")
}
