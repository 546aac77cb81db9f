//! Programs that a machine may lack. A test that needs one says so and passes without it, unless
//! `SC_TEST_REQUIRE=all` turns the lack into a failure, as continuous integration does.

use std::path::PathBuf;

/// Where the program is, if it is on the path.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Whether the test can go on. When it returns false the test returns at once.
///
/// # Panics
/// When a program is missing and `SC_TEST_REQUIRE=all`.
pub fn require(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().copied().filter(|program| find(program).is_none()).collect();
    missing.is_empty() || lacks(&missing.join(", "))
}

/// The same for tests that only root can do.
///
/// # Panics
/// When somebody else runs it and `SC_TEST_REQUIRE=all`.
pub fn require_root() -> bool {
    rustix::process::geteuid().is_root() || lacks("root")
}

#[expect(clippy::print_stderr, clippy::panic, reason = "speaks to who runs the tests")]
fn lacks(missing: &str) -> bool {
    if std::env::var_os("SC_TEST_REQUIRE").is_some_and(|all| all == "all") {
        panic!("this test needs {missing}, and SC_TEST_REQUIRE=all forbids to skip it");
    }
    eprintln!("skipped {}: it needs {missing}", crate::paths::test_name());
    false
}
