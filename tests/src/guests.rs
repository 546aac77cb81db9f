//! Components for tests, built when a test first asks. They are WebAssembly, so each is built by a cargo of its own;
//! cargo decides what is stale.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, ensure};

use crate::lock::FileLock;
use crate::{node, paths, run};

/// The target that all guests in Rust are built for.
pub const TARGET: &str = "wasm32-wasip2";

static BUILT: Mutex<Option<HashMap<PathBuf, PathBuf>>> = Mutex::new(None);

/// The test guest of that name, in `tests/guests`. Blocks while it is built.
pub fn guest(name: &str) -> anyhow::Result<PathBuf> {
    build(&paths::root().join("tests/guests").join(name))
}

/// The worker of that example.
pub fn example(name: &str) -> anyhow::Result<PathBuf> {
    build(&paths::root().join("examples").join(name))
}

/// The component of a folder: of its Cargo package, of its `worker.js`, or of its `site.js`.
pub fn build(folder: &Path) -> anyhow::Result<PathBuf> {
    // Held while building: two threads that want the same guest build it once.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let built = built.get_or_insert_default();
    if let Some(component) = built.get(folder) {
        return Ok(component.clone());
    }
    ensure!(folder.is_dir(), "{} does not exist", folder.display());
    let _turn = FileLock::take("guests")?;
    let component = if folder.join("Cargo.toml").is_file() {
        build_rust(folder)?
    } else if folder.join("site.js").is_file() {
        build_site(folder)?
    } else {
        build_javascript(folder)?
    };
    built.insert(folder.to_owned(), component.clone());
    Ok(component)
}

fn build_rust(folder: &Path) -> anyhow::Result<PathBuf> {
    add_target()?;
    let target = paths::target_folder("guests")?;
    let mut cargo = run::command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "build",
        "--release",
        "--quiet",
        "--target",
        TARGET,
        "--message-format",
        "json-render-diagnostics",
    ]);
    cargo.arg("--manifest-path").arg(folder.join("Cargo.toml")).arg("--target-dir").arg(&target);
    let said = run::succeed(&mut cargo, &format!("the build of {}", folder.display()))?;
    let artifact = said.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let files = message.get("filenames")?.as_array()?;
        files.iter().filter_map(|file| file.as_str()).find(|file| file.ends_with(".wasm")).map(PathBuf::from)
    });
    artifact.with_context(|| format!("the build of {} made no component:\n{said}", folder.display()))
}

fn build_javascript(folder: &Path) -> anyhow::Result<PathBuf> {
    node::install()?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let component = paths::target_folder("guests")?.join(format!("{name}.wasm"));
    let mut tool = run::command(node::tool(&node::folder(), "componentize-qjs"));
    tool.arg("--sync").arg("--wit").arg(paths::root().join("wit")).args(["--world", "ping"]);
    tool.arg("--js").arg(folder.join("worker.js")).arg("--output").arg(&component);
    run::succeed(&mut tool, &format!("the build of {}", folder.display()))?;
    Ok(component)
}

/// A site brings its own tool, an engine of hundreds of megabytes: nothing is installed or built that is there.
fn build_site(folder: &Path) -> anyhow::Result<PathBuf> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let component = paths::target_folder("guests")?.join(format!("{name}.wasm"));
    let modified = |file: &Path| file.metadata().and_then(|data| data.modified());
    let sources = ["site.js", "site.wit", "package-lock.json"].map(|file| modified(&folder.join(file)));
    let sources: Vec<_> = sources.into_iter().collect::<Result<_, _>>()?;
    if modified(&component).is_ok_and(|built| sources.iter().all(|source| *source <= built)) {
        return Ok(component);
    }
    node::install_in(folder)?;
    let mut tool = run::command(node::tool(folder, "componentize-js"));
    tool.arg(folder.join("site.js")).arg("--wit").arg(folder.join("site.wit")).args(["--world-name", "site"]);
    run::succeed(tool.arg("--out").arg(&component), &format!("the build of {}", folder.display()))?;
    Ok(component)
}

/// Adds the target to the toolchain if it lacks it.
pub fn add_target() -> anyhow::Result<()> {
    let mut rustc = run::command("rustc");
    let libraries = run::succeed(rustc.args(["--print", "target-libdir", "--target", TARGET]), "rustc")?;
    if Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    run::succeed(run::command("rustup").args(["target", "add", TARGET]), "rustup").map(drop)
}
