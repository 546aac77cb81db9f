//! What may be said. It knows nothing of sockets, so its tests run anywhere: `cargo test`.

use sc_sdk::Problem;
use serde::{Deserialize, Serialize};

/// The channel on which everybody hears it.
pub const CHANNEL: &str = "chat";

/// Characters of a name.
const NAME_MAX: usize = 24;
/// Characters of a text.
const TEXT_MAX: usize = 280;

/// Who says what.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Message {
    pub name: String,
    pub text: String,
}

impl Message {
    /// The message without space around it; an error for the client if it cannot be said.
    pub fn checked(self) -> Result<Self, Problem> {
        Ok(Message {
            name: within(&self.name, "name", NAME_MAX)?,
            text: within(&self.text, "text", TEXT_MAX)?,
        })
    }
}

fn within(said: &str, what: &str, most: usize) -> Result<String, Problem> {
    let said = said.trim();
    match said.chars().count() {
        0 => Err(Problem::new("EmptyError", format!("the {what} is empty"))),
        count if count > most => {
            let message = format!("the {what} has {count} characters, and may have {most}");
            Err(Problem::new("TooLongError", message))
        }
        _ => Ok(said.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &str, text: &str) -> Message {
        Message {
            name: name.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn space_around_it_goes() {
        let said = message(" Ann ", "\thello all\n").checked();
        assert_eq!(said, Ok(message("Ann", "hello all")));
    }

    #[test]
    fn nothing_cannot_be_said() {
        for nothing in [message("", "hello"), message("Ann", " \n ")] {
            let problem = nothing.checked().expect_err("it is empty");
            assert_eq!(problem.name(), Some("EmptyError"));
        }
    }

    #[test]
    fn characters_count_and_not_bytes() {
        assert!(message("Ann", &"é".repeat(TEXT_MAX)).checked().is_ok());
        let long = message("Ann", &"é".repeat(TEXT_MAX + 1));
        let problem = long.checked().expect_err("it is too long");
        let expected = "the text has 281 characters, and may have 280";
        assert_eq!(problem.message(), expected);
    }
}
