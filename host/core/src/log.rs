//! What the records of all processes have in common: the targets that the log treats specially, and how a record shows
//! texts that clients or user code chose. No text is made here unless its record is really written.

use std::borrow::Cow;
use std::fmt;

use crate::ids::SocketId;

/// Target of notices: warnings that are nobody's fault, such as a blocked action. Their events are of tracing's level
/// `INFO`; the log shows them as `notice`, and bounds how many it takes of each kind.
pub const NOTICE: &str = "notice";
/// Target of records of user code that failed, and of what else may go wrong once for each message of a client. The
/// log bounds how many it takes of each kind.
pub const FAULT: &str = "fault";
/// Target of what user code says itself. The log bounds this as well, far more generously.
pub const GUEST: &str = "guest";
/// Bytes of a name in a record: those of events, channels and paths may be as long as a message.
const NAME_MAX: usize = 128;
/// Bytes of a text that user code chose, where the host speaks.
const TEXT_MAX: usize = 1024;
/// Stands behind a text whose end was left out.
pub const CUT: &str = " [cut]";

/// At most so many bytes of a text.
pub fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// A text of at most so many bytes, with a sign behind it if it was longer.
pub fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    match cut(text, most) {
        whole if whole.len() == text.len() => whole.into(),
        part => format!("{part}{CUT}").into(),
    }
}

/// A text without characters that a terminal would obey, or that show it in another order or not at all: clients and
/// controllers have a say in what is logged, and in what the command line prints.
pub fn visible(text: &str) -> Cow<'_, str> {
    match text.contains(misleads) {
        false => text.into(),
        true => escaped(text, misleads, |c| c.escape_default().to_string()).into(),
    }
}

/// Whether a text may look like another one because of this character: controls, line and paragraph separators, what
/// sets the direction, what has no width. Joiners are not among them: many scripts and emoji are written with them.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// A text with the characters that are meant in another form.
pub fn escaped(text: &str, is_meant: impl Fn(char) -> bool, escape: impl Fn(char) -> String) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_meant(c) {
            true => out.push_str(&escape(c)),
            false => out.push(c),
        }
    }
    out
}

/// As much of a text that user code chose, such as the reason for which it refuses to start, as the host repeats: one
/// line, which a terminal shows as it is. It may have given as much as its memory holds, and a message to the master
/// has to fit into a packet.
pub fn told(text: &str) -> String {
    // No text gets shorter by being made visible, so what was cut here is cut there as well.
    let line = cut(text, 2 * TEXT_MAX).replace(['\n', '\r'], " ");
    shortened(&visible(&line), TEXT_MAX).into_owned()
}

/// As much of a name that a client or user code chose as a record carries.
pub fn name(text: &str) -> &str {
    cut(text, NAME_MAX)
}

/// What user code is called for.
pub trait Occasion {
    /// Appends its kind and its name: never data, a query or a token.
    fn describe(&self, to: &mut String);

    /// Whose it is.
    fn socket(&self) -> Option<SocketId> {
        None
    }
}

impl Occasion for str {
    fn describe(&self, to: &mut String) {
        to.push_str(self);
    }
}

/// Shows an occasion.
pub struct Described<'a, T: ?Sized>(pub &'a T);

impl<T: Occasion + ?Sized> fmt::Display for Described<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.0.describe(&mut text);
        f.write_str(&text)
    }
}

/// Shows lines; the log makes a list of them where their field is called `backtrace` or `last_lines`.
pub struct Lines<'a>(pub &'a [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, line) in self.0.iter().enumerate() {
            let end = if number == 0 { "" } else { "\n" };
            write!(f, "{end}{line}")?;
        }
        Ok(())
    }
}

/// Writes the record of a call into user code that failed: the given fields, then those of its
/// [`CallError`](crate::controller::CallError), which are the same for all roles.
#[macro_export]
macro_rules! fault {
    ($level:ident, $error:expr, { $($field:tt)* }, $message:literal) => {
        ::tracing::$level!(
            target: $crate::log::FAULT,
            $($field)*
            fault = ?$error.fault,
            cause = $error.message,
            place = $error.place(),
            last_lines = %$crate::log::Lines(&$error.last_lines),
            backtrace = %$crate::log::Lines(&$error.backtrace),
            $message
        )
    };
}

/// Writes the record of an instance that does not start after a crash: the given fields, then those of its
/// [`StartError`](crate::controller::StartError), which are the same for all roles.
#[macro_export]
macro_rules! cannot_start {
    ($error:expr, { $($field:tt)* }, $message:literal) => {
        ::tracing::error!(
            target: $crate::log::FAULT,
            $($field)*
            event = "start",
            cause = %$error,
            last_lines = %$crate::log::Lines($error.last_lines()),
            backtrace = %$crate::log::Lines($error.backtrace()),
            $message
        )
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_user_code_is_one_short_line_that_says_when_it_was_cut() {
        assert_eq!(told("no\nroom\r\nat all"), "no room  at all");
        let long = told(&"\u{e9}\n".repeat(1 << 20));
        assert_eq!(long.len(), 1024 - 1 + CUT.len(), "a character is not cut in two");
        assert!(long.ends_with(CUT), "{long}");
        assert!(!long.contains('\n'));
        assert_eq!(told("\u{1b}[2Jfine\u{202e}\u{9b}\t"), r"\u{1b}[2Jfine\u{202e}\u{9b}\t");
        assert_eq!(told(&"\0".repeat(1 << 20)).len(), 1024 + CUT.len(), "what is made visible counts");
        assert_eq!(shortened("whole", 5), "whole");
        assert_eq!(shortened("whole", 4), "whol [cut]");
    }
}
