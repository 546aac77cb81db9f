//! A panic of this program as one record: its words, its place, and the functions that led there. It is written before
//! the process goes on to die, or before the task is given up that panicked.

use std::backtrace::Backtrace;
use std::fmt;
use std::panic::PanicHookInfo;

use sc_core::log::FAULT;

/// Functions that a record names.
const FRAMES: usize = 32;
/// Bytes of each name.
const NAME_MAX: usize = 250;
/// What every panic passes through, innermost.
const MACHINERY: [&str; 7] = [
    "std::backtrace",
    "std::panicking::",
    "core::panicking::",
    "core::option::",
    "core::result::",
    "rust_begin_unwind",
    "__rustc::rust_begin_unwind",
];
/// What every thread begins with.
const BEGINNING: &str = "__rust_begin_short_backtrace";

/// Writes the record.
pub(super) fn record(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let text = panic.payload_as_str().unwrap_or("no text");
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    let backtrace = Functions(&Backtrace::force_capture());
    tracing::error!(target: FAULT, panic = text, place, thread, %backtrace, "the host's own code panicked");
}

/// Shows the functions of a backtrace, one a line, innermost first. The standard library's form, which has no other
/// stable one, is a line with a number and a name, and perhaps one more with a file.
struct Functions<'a>(&'a Backtrace);

impl fmt::Display for Functions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        for (number, name) in functions(&text).take(FRAMES).enumerate() {
            let end = if number == 0 { "" } else { "\n" };
            write!(f, "{end}{}", sc_core::log::cut(name, NAME_MAX))?;
        }
        Ok(())
    }
}

fn functions(text: &str) -> impl Iterator<Item = &str> {
    let named = text.lines().filter_map(|line| {
        let (number, name) = line.trim_start().split_once(": ")?;
        number.bytes().all(|digit| digit.is_ascii_digit()).then_some(name)
    });
    let of_panic = |name: &&str| {
        let name = name.trim_start_matches('<');
        MACHINERY.iter().any(|machinery| name.starts_with(machinery))
            || name.contains("telemetry::")
            || name.contains("core::ops::function::Fn")
    };
    named.skip_while(of_panic).take_while(|name| !name.contains(BEGINNING))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn captured_here() -> Backtrace {
        std::hint::black_box(Backtrace::force_capture())
    }

    #[test]
    fn a_backtrace_has_the_functions_names_without_what_every_panic_has() {
        let text = captured_here().to_string();
        let all: Vec<_> =
            text.lines().filter(|line| line.contains("captured_here")).map(str::trim_start).collect();
        assert_eq!(all.len(), 1, "{text}");
        let shown = "   0: std::backtrace::Backtrace::force_capture\n   1: sc_host::telemetry::panic::record\n   \
                     2: std::panicking::panic_with_hook\n             at /rustc/abc/library/std/src/panicking.rs:833:9\n   \
                     3: core::panicking::panic_fmt\n   4: core::option::unwrap_failed\n   5: sc_worker::hub::deliver\n             \
                     at ./host/worker/src/hub.rs:7:5\n   6: sc_worker::run\n   \
                     7: std::sys::backtrace::__rust_begin_short_backtrace\n   8: main";
        assert_eq!(functions(shown).collect::<Vec<_>>(), ["sc_worker::hub::deliver", "sc_worker::run"]);
    }
}
