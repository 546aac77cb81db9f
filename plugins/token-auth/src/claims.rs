//! What a rule wants of a token's claims.

use std::collections::BTreeMap;

use sc_sdk::Json;
use serde::Deserialize;

/// Tests by claim: its name, or a path such as `/user/role`.
pub type Claims = BTreeMap<String, Test>;

/// What one claim has to be.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Exactly this.
    Equals(Json),
    /// One of these.
    OneOf(Vec<Json>),
    /// A list that has this among its items.
    Has(Json),
    /// The part of the channel's or event's name with that number, from 1, between separators.
    Part(usize),
}

impl Test {
    fn holds(&self, claim: &Json, name: &str, separator: &str) -> bool {
        match self {
            Test::Equals(value) => claim == value,
            Test::OneOf(values) => values.contains(claim),
            Test::Has(value) => claim.as_array().is_some_and(|items| items.contains(value)),
            Test::Part(number) => {
                let part = number.checked_sub(1).and_then(|index| name.split(separator).nth(index));
                part.is_some_and(|part| match claim {
                    Json::String(text) => text == part,
                    Json::Number(number) => number.to_string() == part,
                    _ => false,
                })
            }
        }
    }
}

/// The first claim that is not as wanted.
pub fn missing<'t>(tests: &'t Claims, claims: &Json, name: &str, separator: &str) -> Option<&'t str> {
    let value = |path: &str| if path.starts_with('/') { claims.pointer(path) } else { claims.get(path) };
    let fails =
        |path: &str, test: &Test| !value(path).is_some_and(|claim| test.holds(claim, name, separator));
    tests.iter().find(|(path, test)| fails(path, test)).map(|(path, _)| path.as_str())
}

#[cfg(test)]
mod tests {
    use sc_sdk::json;

    use super::*;

    fn tests(claim: &str, test: Test) -> Claims {
        Claims::from([(claim.to_owned(), test)])
    }

    #[test]
    fn claims_are_compared_as_the_rule_says() {
        let claims =
            json!({ "name": "bob", "id": 7, "roles": ["a", "b"], "user": { "role": "admin" }, "no": null });
        for (claim, test, holds) in [
            ("name", Test::Equals(json!("bob")), true),
            ("name", Test::Equals(json!("Bob")), false),
            ("id", Test::Equals(json!("7")), false),
            ("name", Test::OneOf(vec![json!("eve"), json!("bob")]), true),
            ("roles", Test::Has(json!("b")), true),
            ("roles", Test::Has(json!("c")), false),
            ("name", Test::Has(json!("bob")), false),
            ("name", Test::Part(2), true),
            ("id", Test::Part(3), true),
            ("name", Test::Part(1), false),
            ("name", Test::Part(9), false),
            ("name", Test::Part(0), false),
            ("no", Test::Part(4), false),
            ("/user/role", Test::Equals(json!("admin")), true),
            ("/user/nothing", Test::Equals(json!(null)), false),
            ("nothing", Test::Equals(json!(null)), false),
        ] {
            let wanted = tests(claim, test.clone());
            let missing = missing(&wanted, &claims, "user.bob.7.null", ".");
            assert_eq!(missing.is_none(), holds, "{claim} {test:?}");
        }
    }

    #[test]
    fn all_claims_of_a_rule_have_to_be_right() {
        let mut wanted = tests("a", Test::Equals(json!(1)));
        wanted.insert("b".into(), Test::Equals(json!(2)));
        assert_eq!(missing(&wanted, &json!({ "a": 1, "b": 3 }), "", "."), Some("b"));
        assert_eq!(missing(&wanted, &json!({ "a": 1, "b": 2 }), "", "."), None);
    }
}
