//! Where things are: the sources, and the one target folder that everything built for tests goes to.

use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

/// Cargo's target folder: test programs lie in `<target>/<profile>/deps`.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().ok();
    let target = program.as_deref().and_then(|program| program.ancestors().nth(3)).map(Path::to_owned);
    target.unwrap_or_else(|| root().join("target"))
}

/// A folder below the target folder, made if missing.
pub fn target_folder(name: &str) -> std::io::Result<PathBuf> {
    let folder = target().join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A name for files of the running test, which libtest gives its thread.
pub fn test_name() -> String {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("test");
    name.replace("::", ".").replace(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '_', "-")
}
