//! Whether two JSON texts are the same value: members in any order, strings however they are escaped, numbers by their
//! exact value and not by the nearest float. One level at a time, so no depth needs a stack; past [`DEEPEST`] levels,
//! where each level more would cost another look at all that is in it, only the same text is the same value.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::raw::{Kind, kind};

/// Levels that are compared by value.
const DEEPEST: usize = 128;

/// Whether they are.
pub(super) fn equal(one: &[u8], other: &[u8]) -> bool {
    let mut pairs = vec![(one, other, 0)];
    while let Some((one, other, depth)) = pairs.pop() {
        let (one, other) = (one.trim_ascii(), other.trim_ascii());
        if one == other {
            continue;
        }
        if depth == DEEPEST {
            return false;
        }
        let inner = match (kind(one), kind(other)) {
            (Kind::Object, Kind::Object) => members(one).zip(members(other)).and_then(|(one, other)| {
                let pairs = one.values().zip(other.values()).map(text).collect::<Vec<_>>();
                one.keys().eq(other.keys()).then_some(pairs)
            }),
            (Kind::Array, Kind::Array) => elements(one).zip(elements(other)).and_then(|(one, other)| {
                (one.len() == other.len()).then(|| one.iter().zip(&other).map(text).collect())
            }),
            (Kind::Scalar, Kind::Scalar) => are_equal_scalars(one, other).then(Vec::new),
            _ => None,
        };
        let Some(inner) = inner else { return false };
        pairs.extend(inner.into_iter().map(|(one, other)| (one, other, depth + 1)));
    }
    true
}

fn text<'t>((one, other): (&&'t RawValue, &&'t RawValue)) -> (&'t [u8], &'t [u8]) {
    (one.get().as_bytes(), other.get().as_bytes())
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
struct Name<'t>(#[serde(borrow)] Cow<'t, str>);

fn members(text: &[u8]) -> Option<BTreeMap<Name<'_>, &RawValue>> {
    serde_json::from_slice(text).ok()
}

fn elements(text: &[u8]) -> Option<Vec<&RawValue>> {
    serde_json::from_slice(text).ok()
}

fn are_equal_scalars(one: &[u8], other: &[u8]) -> bool {
    let string = |text| serde_json::from_slice::<Name<'_>>(text).ok();
    match (string(one), string(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => number(one).is_some_and(|one| Some(one) == number(other)),
        _ => false,
    }
}

/// Whether it is negative, its digits without zeros at either end, and the power of ten that they are multiplied by.
type Number = (bool, Vec<u8>, i64);

/// None of what is no number, or of one with more powers of ten than can be counted.
fn number(text: &[u8]) -> Option<Number> {
    let text = std::str::from_utf8(text).ok()?;
    let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (mantissa, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits: Vec<u8> =
        whole.bytes().chain(fraction.bytes()).skip_while(|digit| *digit == b'0').collect();
    if digits.iter().any(|digit| !digit.is_ascii_digit()) {
        return None;
    }
    let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
    digits.truncate(digits.len() - zeros);
    if digits.is_empty() {
        return Some((false, digits, 0));
    }
    let moved = i64::try_from(zeros).ok()?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    Some((is_negative, digits, power.parse::<i64>().ok()?.checked_add(moved)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_and_not_texts() {
        for (one, other, expected) in [
            ("1", "1", true),
            ("1", "1.0", true),
            ("1", "10e-1", true),
            ("100", "1E+2", true),
            ("0", "-0.0e7", true),
            ("1", "-1", false),
            ("0.1", "0.10", true),
            ("9007199254740993", "9007199254740992", false),
            ("18446744073709551617", "18446744073709551616", false),
            ("1e400", "1e401", false),
            ("1e400", "10e399", true),
            ("0.1000000000000000055511151231257827", "0.1", false),
            ("1e99999999999999999999", "1e99999999999999999998", false),
            ("true", "false", false),
            ("null", "0", false),
            ("\"1\"", "1", false),
            (r#""\u0061/\/""#, r#""a//""#, true),
            (r#""\ud800""#, r#""\ud801""#, false),
            (" [1, 2] ", "[1,2.0]", true),
            ("[1,2]", "[2,1]", false),
            ("[1]", "[1,1]", false),
            ("[]", "{}", false),
            (r#"{"a":1,"b":[{}]}"#, r#"{ "b" : [{ }], "\u0061":1.0}"#, true),
            (r#"{"a":1}"#, r#"{"a":1,"b":1}"#, false),
            (r#"{"a":1}"#, r#"{"b":1}"#, false),
        ] {
            assert_eq!(equal(one.as_bytes(), other.as_bytes()), expected, "{one} {other}");
            assert_eq!(equal(other.as_bytes(), one.as_bytes()), expected, "{other} {one}");
        }
    }

    #[test]
    fn the_depth_is_bounded() {
        let deep = |depth: usize, inner: &str| "[".repeat(depth) + inner + &"]".repeat(depth);
        for (depth, expected) in [(DEEPEST - 1, true), (DEEPEST, false), (100_000, false)] {
            assert_eq!(
                equal(deep(depth, "1").as_bytes(), deep(depth, "1.0").as_bytes()),
                expected,
                "{depth}"
            );
            assert!(equal(deep(depth, "1").as_bytes(), deep(depth, "1").as_bytes()), "{depth}");
        }
    }
}
