//! JSONP: answers that are scripts, and packets that come as a form.

use super::payload;

/// The digits of a callback's number, which is all that is taken of it.
pub fn index(parameter: &str) -> String {
    parameter.chars().filter(char::is_ascii_digit).take(20).collect()
}

/// A script that calls the client back with a payload.
pub fn answer(index: &str, packets: &[impl AsRef<str>]) -> String {
    let payload = payload::write_text(packets);
    // A string is always representable as JSON.
    let literal = serde_json::to_string(&payload).unwrap_or_default();
    let literal = literal.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    format!("___eio[{index}]({literal});")
}

/// The payload in a form's field `d`; none when there is no such field, or it is no text.
pub fn form(body: &[u8]) -> Option<String> {
    let mut fields = body.split(|byte| *byte == b'&');
    let field = fields.find_map(|field| field.strip_prefix(b"d="))?;
    Some(unescape(&String::from_utf8(percent_decode(field)).ok()?))
}

fn percent_decode(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| *byte == b'%').and_then(|digits| {
            digits.iter().try_fold(0_u8, |value, digit| {
                Some(value << 4 | u8::try_from(char::from(*digit).to_digit(16)?).ok()?)
            })
        });
        match escaped {
            Some(escaped) => {
                bytes.push(escaped);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(if *byte == b'+' { b' ' } else { *byte });
                rest = after;
            }
        }
    }
    bytes
}

/// Takes back what keeps browsers from changing line ends: `\n` stands for a line end, and any more backslashes ahead
/// of an `n` are one too many.
fn unescape(text: &str) -> String {
    let mut unescaped = String::with_capacity(text.len());
    let mut backslashes = 0;
    for character in text.chars() {
        match character {
            '\\' => backslashes += 1,
            'n' if backslashes == 1 => {
                unescaped.push('\n');
                backslashes = 0;
            }
            _ => {
                let is_escape = character == 'n' && backslashes > 1;
                push_backslashes(&mut unescaped, backslashes - usize::from(is_escape));
                unescaped.push(character);
                backslashes = 0;
            }
        }
    }
    push_backslashes(&mut unescaped, backslashes);
    unescaped
}

fn push_backslashes(text: &mut String, count: usize) {
    text.extend(std::iter::repeat_n('\\', count));
}
