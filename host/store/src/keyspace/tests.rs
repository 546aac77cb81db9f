//! The keyspace against a model that does everything the slow and obvious way, and the cases worth a name.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn at(path: &[&str]) -> Place {
    Place { tree: Tree::Global, path: path.iter().map(|part| (*part).to_owned()).collect() }
}

fn text(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

fn parsed(value: Option<Bytes>) -> Option<Value> {
    value.map(|value| serde_json::from_slice(&value).expect("one JSON value"))
}

fn filled(value: &Value) -> Keyspace {
    let mut keys = Keyspace::default();
    for (key, value) in value.as_object().expect("an object") {
        keys.set(0, &at(&[key]), text(value)).expect("set");
    }
    keys
}

fn whole(keys: &mut Keyspace, now: Millis) -> Option<Value> {
    parsed(keys.get(now, &at(&[])).expect("got"))
}

#[test]
fn paths_lead_into_values() {
    let mut keys = filled(&json!({"a": {"b": [1, {"c": "x"}], "b ": null}}));
    let get = |keys: &mut Keyspace, path: &[&str]| parsed(keys.get(0, &at(path)).expect("got"));
    assert_eq!(get(&mut keys, &["a", "b", "1", "c"]), Some(json!("x")));
    assert_eq!(get(&mut keys, &["a", "b "]), Some(Value::Null));
    for nothing in [&["a", "b", "2"][..], &["a", "b", "01"], &["a", "b", "+1"], &["a", "b", "0", "c"], &["b"]]
    {
        assert_eq!(get(&mut keys, nothing), None, "{nothing:?}");
    }
}

#[test]
fn what_is_not_opened_is_read_back_as_it_was_set() {
    let mut keys = Keyspace::default();
    let odd = Bytes::from_static(b" {\"z\": 1.00, \"a\":1e400,\"a\":2} ");
    keys.set(0, &at(&["k"]), odd.clone()).expect("set");
    assert_eq!(keys.get(0, &at(&["k"])).expect("got"), Some(odd));
    assert_eq!(keys.get(0, &at(&["k", "a"])).expect("got"), Some(Bytes::from_static(b"2")));
    keys.set(0, &at(&["k", "\"n"]), Bytes::from_static(b"3")).expect("set");
    assert_eq!(
        keys.get(0, &at(&["k"])).expect("got"),
        Some(Bytes::from_static(b"{\"\\\"n\":3,\"a\":2,\"z\":1.00}"))
    );
}

#[test]
fn arrays_grow_shrink_and_become_objects() {
    let mut keys = filled(&json!({"l": [1, 2, 3]}));
    keys.set(0, &at(&["l", "3"]), text(&json!(4))).expect("set");
    keys.set(0, &at(&["l", "0"]), text(&json!(0))).expect("set");
    assert_eq!(keys.remove(0, &at(&["l", "1"])).expect("removed"), Some(Bytes::from_static(b"2")));
    assert_eq!(whole(&mut keys, 0), Some(json!({"l": [0, 3, 4]})));
    keys.set(0, &at(&["l", "9", "x"]), text(&json!(true))).expect("set");
    assert_eq!(whole(&mut keys, 0), Some(json!({"l": {"0": 0, "1": 3, "2": 4, "9": {"x": true}}})));
}

#[test]
fn expiries_follow_the_elements_of_an_array() {
    let mut keys = filled(&json!({"l": ["a", "b", "c"]}));
    assert!(keys.expire(0, &at(&["l", "2"]), 10).expect("there"));
    keys.remove(0, &at(&["l", "0"])).expect("removed");
    assert_eq!(whole(&mut keys, 10), Some(json!({"l": ["b"]})));
}

#[test]
fn setting_lifts_an_expiry_and_expiring_replaces_it() {
    let mut keys = filled(&json!({"a": 1, "b": 1, "c": 1, "d": {"e": 1}}));
    for key in ["a", "b", "c"] {
        assert!(keys.expire(0, &at(&[key]), 10).expect("there"));
    }
    assert!(keys.expire(0, &at(&["d", "e"]), 10).expect("there"));
    assert!(!keys.expire(0, &at(&["d", "x"]), 10).expect("not there"));
    keys.set(5, &at(&["a"]), text(&json!(2))).expect("set");
    assert!(keys.expire(5, &at(&["b"]), 10).expect("there"));
    keys.remove(5, &at(&["d"])).expect("removed");
    keys.set(5, &at(&["d", "e"]), text(&json!(3))).expect("set");
    assert_eq!(whole(&mut keys, 9), Some(json!({"a": 2, "b": 1, "c": 1, "d": {"e": 3}})));
    assert_eq!(whole(&mut keys, 10), Some(json!({"a": 2, "b": 1, "d": {"e": 3}})));
    assert_eq!(whole(&mut keys, 15), Some(json!({"a": 2, "d": {"e": 3}})));
}

#[test]
fn an_empty_tree_is_forgotten_unless_it_expires_by_itself() {
    let mut keys = filled(&json!({"a": 1}));
    keys.remove(0, &at(&["a"])).expect("removed");
    assert!(whole(&mut keys, 0).is_none() && keys.trees.is_empty());
    keys.set(0, &at(&["a"]), text(&json!(1))).expect("set");
    assert!(keys.expire(0, &at(&[]), 20).expect("there"));
    keys.remove(0, &at(&["a"])).expect("removed");
    keys.set(10, &at(&["a"]), text(&json!(1))).expect("set");
    assert_eq!(whole(&mut keys, 19), Some(json!({"a": 1})));
    assert_eq!(whole(&mut keys, 20), None);
    assert!(keys.trees.is_empty());
}

#[test]
fn too_deep_and_too_long_paths_are_refused() {
    let mut keys = Keyspace::default();
    let deep = Place { tree: Tree::Global, path: vec!["a".into(); PATH_MAX + 1] };
    assert!(matches!(keys.set(0, &deep, text(&json!(1))), Err(StoreError::PathTooDeep(65))));
    let long = at(&[&"x".repeat(KEY_MAX + 1)]);
    assert!(matches!(keys.get(0, &long), Err(StoreError::NameTooLong(4097))));
    let tree = Place { tree: Tree::Named("x".repeat(KEY_MAX + 1)), path: vec![] };
    assert!(matches!(keys.remove(0, &tree), Err(StoreError::NameTooLong(4097))));
    assert!(matches!(keys.set(0, &at(&[]), text(&json!(1))), Err(StoreError::NoPath)));
    let most = Place { tree: Tree::Global, path: vec!["a".into(); PATH_MAX] };
    keys.set(0, &most, text(&json!(1))).expect("set");
    assert!(keys.get(0, &at(&[])).expect("got").is_some());
}

#[test]
fn values_nested_without_end_need_no_stack() {
    const DEPTH: usize = 100_000;
    let deep = |open: &str, close: &str| Bytes::from(open.repeat(DEPTH) + "1" + &close.repeat(DEPTH));
    for (value, part) in [(deep("[", "]"), "0"), (deep("{\"a\":", "}"), "a")] {
        let mut keys = Keyspace::default();
        let mut inner = at(&["k"]);
        keys.set(0, &inner, value.clone()).expect("set");
        assert_eq!(keys.get(0, &inner).expect("got"), Some(value.clone()));
        inner.path.extend((0..62).map(|_| part.to_owned()));
        assert!(keys.get(0, &inner).expect("got").is_some());
        keys.set(0, &inner, value.clone()).expect("set");
        assert!(keys.expire(0, &inner, 5).expect("there"));
        assert!(keys.get(4, &at(&[])).expect("got").is_some());
        assert!(keys.get(5, &inner).expect("got").is_none());
        assert!(keys.remove(5, &at(&["k"])).expect("removed").is_some());
    }
}

#[derive(Clone, Debug)]
enum Op {
    Set(Place, Value),
    Remove(Place),
    Expire(Place, Millis),
    Wait(Millis),
}

#[derive(Default)]
struct Model {
    trees: std::collections::BTreeMap<Tree, Value>,
    expiries: Vec<(Place, Millis)>,
}

impl Model {
    fn step<'v>(value: &'v Value, part: &String) -> Option<&'v Value> {
        match value {
            Value::Object(members) => members.get(part),
            Value::Array(elements) => elements.get(raw::index(part)?),
            _ => None,
        }
    }

    fn get(&self, place: &Place) -> Option<&Value> {
        place.path.iter().try_fold(self.trees.get(&place.tree)?, Self::step)
    }

    fn lift(&mut self, place: &Place) {
        self.expiries.retain(|(expiring, _)| !expiring.is_in(place));
    }

    fn set(&mut self, place: &Place, value: &Value) {
        self.lift(place);
        for parts in 0..place.path.len() {
            let parent = place.prefix(parts);
            if self.get(&parent).is_some_and(|value| !value.is_object() && !value.is_array()) {
                self.lift(&parent);
            }
        }
        let mut node = self.trees.entry(place.tree.clone()).or_insert_with(|| json!({}));
        for part in &place.path {
            if let Value::Array(elements) = node {
                match raw::index(part) {
                    Some(index) if index < elements.len() => {}
                    Some(index) if index == elements.len() => elements.push(json!({})),
                    _ => {
                        let numbered = elements.drain(..).enumerate();
                        *node = Value::Object(numbered.map(|(at, value)| (at.to_string(), value)).collect());
                    }
                }
            } else if !node.is_object() {
                *node = Value::Object(Map::new());
            }
            node = match node {
                Value::Array(elements) => &mut elements[raw::index(part).expect("checked")],
                Value::Object(members) => members.entry(part).or_insert_with(|| json!({})),
                _ => panic!("a container by now"),
            };
        }
        *node = value.clone();
    }

    fn remove(&mut self, place: &Place) -> Option<Value> {
        self.lift(place);
        let Some((last, parents)) = place.path.split_last() else { return self.trees.remove(&place.tree) };
        let mut node = self.trees.get_mut(&place.tree)?;
        for part in parents {
            node = match node {
                Value::Object(members) => members.get_mut(part)?,
                Value::Array(elements) => elements.get_mut(raw::index(part)?)?,
                _ => return None,
            };
        }
        let removed = match node {
            Value::Object(members) => members.remove(last)?,
            Value::Array(elements) => {
                let gone = raw::index(last).filter(|index| *index < elements.len())?;
                let removed = elements.remove(gone);
                let depth = parents.len();
                for (expiring, _) in &mut self.expiries {
                    if expiring.tree == place.tree
                        && expiring.path.starts_with(parents)
                        && expiring.path.len() > depth
                    {
                        let index = raw::index(&expiring.path[depth]).expect("an element's");
                        if index > gone {
                            expiring.path[depth] = (index - 1).to_string();
                        }
                    }
                }
                removed
            }
            _ => return None,
        };
        let root = place.prefix(0);
        if self.get(&root) == Some(&json!({})) && !self.expiries.iter().any(|(expiring, _)| *expiring == root)
        {
            self.trees.remove(&place.tree);
        }
        Some(removed)
    }

    fn expire(&mut self, now: Millis, place: &Place, after: Millis) -> bool {
        if self.get(place).is_none() {
            return false;
        }
        self.expiries.retain(|(expiring, _)| expiring != place);
        self.expiries.push((place.clone(), now + after));
        true
    }

    fn wait(&mut self, now: Millis) {
        loop {
            let due = self.expiries.iter().filter(|(_, at)| *at <= now);
            let Some(place) =
                due.min_by_key(|(place, at)| (*at, place.clone())).map(|(place, _)| place.clone())
            else {
                return;
            };
            self.remove(&place);
        }
    }
}

fn place() -> impl Strategy<Value = Place> {
    let part = prop_oneof!["[ab]", "[0-2]"];
    let tree = prop_oneof![Just(Tree::Global), "[xy]".prop_map(Tree::Named), "[xy]".prop_map(Tree::Session)];
    (tree, proptest::collection::vec(part, 0..5)).prop_map(|(tree, path)| Place { tree, path })
}

fn value() -> impl Strategy<Value = Value> {
    let scalar =
        prop_oneof![Just(Value::Null), any::<i32>().prop_map(Value::from), ".{0,4}".prop_map(Value::from)];
    scalar.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map("[ab01]", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (place(), value()).prop_map(|(place, value)| Op::Set(place, value)),
        2 => place().prop_map(Op::Remove),
        3 => (place(), 0u64..20).prop_map(|(place, after)| Op::Expire(place, after)),
        2 => (0u64..10).prop_map(Op::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn it_does_what_the_model_does(ops in proptest::collection::vec(op(), 0..60), looks in proptest::collection::vec(place(), 8)) {
        let (mut keys, mut model, mut now) = (Keyspace::default(), Model::default(), 0);
        for op in ops {
            match op {
                Op::Set(place, value) => match keys.set(now, &place, text(&value)) {
                    Ok(()) => model.set(&place, &value),
                    Err(_) => prop_assert!(place.path.is_empty()),
                },
                Op::Remove(place) => {
                    prop_assert_eq!(parsed(keys.remove(now, &place).expect("removed")), model.remove(&place));
                }
                Op::Expire(place, after) => {
                    prop_assert_eq!(keys.expire(now, &place, after).expect("asked"), model.expire(now, &place, after));
                    model.wait(now);
                }
                Op::Wait(ms) => {
                    now += ms;
                    model.wait(now);
                }
            }
            for place in &looks {
                let got = parsed(keys.get(now, place).expect("got"));
                prop_assert_eq!(got.as_ref(), model.get(place));
            }
        }
        keys.expire_due(now);
        prop_assert_eq!(keys.trees.len(), model.trees.len());
    }
}
