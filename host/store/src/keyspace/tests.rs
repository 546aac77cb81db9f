//! The keyspace against a model that does everything the slow and obvious way, and the cases worth a name.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

mod table;

/// The operations that the tests below are about, under their own names.
impl Keyspace {
    fn look_at(&mut self, now: Millis, place: &Place) -> Result<Option<Bytes>, KeyError> {
        self.act(now, place, KeyOp::Get)
    }

    fn put_at(&mut self, now: Millis, place: &Place, value: Bytes) -> Result<(), KeyError> {
        self.act(now, place, KeyOp::Set { value }).map(drop)
    }

    fn take_at(&mut self, now: Millis, place: &Place) -> Result<Option<Bytes>, KeyError> {
        self.act(now, place, KeyOp::Remove { get_value: true })
    }

    fn expire_at(&mut self, now: Millis, place: &Place, after_ms: Millis) -> Result<bool, KeyError> {
        Ok(self.act(now, place, KeyOp::Expire { after_ms })?.as_deref() == Some(b"true"))
    }
}

fn is_path(refused: Result<impl std::fmt::Debug, KeyError>) -> bool {
    matches!(refused, Err(KeyError { kind: KeyErrorKind::Path, .. }))
}

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
    let mut keys = Keyspace::new(true);
    for (key, value) in value.as_object().expect("an object") {
        keys.put_at(0, &at(&[key]), text(value)).expect("set");
    }
    keys
}

fn whole(keys: &mut Keyspace, now: Millis) -> Option<Value> {
    parsed(keys.look_at(now, &at(&[])).expect("got"))
}

#[test]
fn paths_lead_into_values() {
    let mut keys = filled(&json!({"a": {"b": [1, {"c": "x"}], "b ": null}}));
    let get = |keys: &mut Keyspace, path: &[&str]| parsed(keys.look_at(0, &at(path)).expect("got"));
    assert_eq!(get(&mut keys, &["a", "b", "1", "c"]), Some(json!("x")));
    assert_eq!(get(&mut keys, &["a", "b "]), Some(Value::Null));
    for nothing in [&["a", "b", "2"][..], &["a", "b", "01"], &["a", "b", "+1"], &["a", "b", "0", "c"], &["b"]]
    {
        assert_eq!(get(&mut keys, nothing), None, "{nothing:?}");
    }
}

#[test]
fn what_is_not_opened_is_read_back_as_it_was_set() {
    let mut keys = Keyspace::new(true);
    let odd = Bytes::from_static(b" {\"z\": 1.00, \"a\":1e400,\"a\":2} ");
    keys.put_at(0, &at(&["k"]), odd.clone()).expect("set");
    assert_eq!(keys.look_at(0, &at(&["k"])).expect("got"), Some(odd));
    assert_eq!(keys.look_at(0, &at(&["k", "a"])).expect("got"), Some(Bytes::from_static(b"2")));
    keys.put_at(0, &at(&["k", "\"n"]), Bytes::from_static(b"3")).expect("set");
    assert_eq!(
        keys.look_at(0, &at(&["k"])).expect("got"),
        Some(Bytes::from_static(b"{\"\\\"n\":3,\"a\":2,\"z\":1.00}"))
    );
}

#[test]
fn arrays_grow_shrink_and_become_objects() {
    let mut keys = filled(&json!({"l": [1, 2, 3]}));
    keys.put_at(0, &at(&["l", "3"]), text(&json!(4))).expect("set");
    keys.put_at(0, &at(&["l", "0"]), text(&json!(0))).expect("set");
    assert_eq!(keys.take_at(0, &at(&["l", "1"])).expect("removed"), Some(Bytes::from_static(b"2")));
    assert_eq!(whole(&mut keys, 0), Some(json!({"l": [0, 3, 4]})));
    keys.put_at(0, &at(&["l", "9", "x"]), text(&json!(true))).expect("set");
    assert_eq!(whole(&mut keys, 0), Some(json!({"l": {"0": 0, "1": 3, "2": 4, "9": {"x": true}}})));
}

#[test]
fn expiries_follow_the_elements_of_an_array() {
    let mut keys = filled(&json!({"l": ["a", "b", "c"]}));
    assert!(keys.expire_at(0, &at(&["l", "2"]), 10).expect("there"));
    keys.take_at(0, &at(&["l", "0"])).expect("removed");
    assert_eq!(whole(&mut keys, 10), Some(json!({"l": ["b"]})));
}

#[test]
fn setting_lifts_an_expiry_and_expiring_replaces_it() {
    let mut keys = filled(&json!({"a": 1, "b": 1, "c": 1, "d": {"e": 1}}));
    for key in ["a", "b", "c"] {
        assert!(keys.expire_at(0, &at(&[key]), 10).expect("there"));
    }
    assert!(keys.expire_at(0, &at(&["d", "e"]), 10).expect("there"));
    assert!(!keys.expire_at(0, &at(&["d", "x"]), 10).expect("not there"));
    keys.put_at(5, &at(&["a"]), text(&json!(2))).expect("set");
    assert!(keys.expire_at(5, &at(&["b"]), 10).expect("there"));
    keys.take_at(5, &at(&["d"])).expect("removed");
    keys.put_at(5, &at(&["d", "e"]), text(&json!(3))).expect("set");
    assert_eq!(whole(&mut keys, 9), Some(json!({"a": 2, "b": 1, "c": 1, "d": {"e": 3}})));
    assert_eq!(whole(&mut keys, 10), Some(json!({"a": 2, "b": 1, "d": {"e": 3}})));
    assert_eq!(whole(&mut keys, 15), Some(json!({"a": 2, "d": {"e": 3}})));
}

#[test]
fn an_empty_tree_is_forgotten_unless_it_expires_by_itself() {
    let mut keys = filled(&json!({"a": 1}));
    keys.take_at(0, &at(&["a"])).expect("removed");
    assert!(whole(&mut keys, 0).is_none() && keys.trees.is_empty());
    keys.put_at(0, &at(&["a"]), text(&json!(1))).expect("set");
    assert!(keys.expire_at(0, &at(&[]), 20).expect("there"));
    keys.take_at(0, &at(&["a"])).expect("removed");
    keys.put_at(10, &at(&["a"]), text(&json!(1))).expect("set");
    assert_eq!(whole(&mut keys, 19), Some(json!({"a": 1})));
    assert_eq!(whole(&mut keys, 20), None);
    assert!(keys.trees.is_empty());
}

#[test]
fn too_deep_and_too_long_paths_are_refused() {
    let mut keys = Keyspace::new(true);
    let deep = Place { tree: Tree::Global, path: vec!["a".into(); PATH_MAX + 1] };
    assert!(is_path(keys.put_at(0, &deep, text(&json!(1)))));
    let long = at(&[&"x".repeat(KEY_MAX + 1)]);
    assert!(is_path(keys.look_at(0, &long)));
    let tree = Place { tree: Tree::Named("x".repeat(KEY_MAX + 1)), path: vec![] };
    assert!(is_path(keys.take_at(0, &tree)));
    assert!(is_path(keys.put_at(0, &at(&[]), text(&json!(1)))));
    let most = Place { tree: Tree::Global, path: vec!["a".into(); PATH_MAX] };
    keys.put_at(0, &most, text(&json!(1))).expect("set");
    assert!(keys.look_at(0, &at(&[])).expect("got").is_some());
}

#[test]
fn values_nested_without_end_need_no_stack() {
    const DEPTH: usize = 100_000;
    let deep = |open: &str, close: &str| Bytes::from(open.repeat(DEPTH) + "1" + &close.repeat(DEPTH));
    for (value, part) in [(deep("[", "]"), "0"), (deep("{\"a\":", "}"), "a")] {
        let mut keys = Keyspace::new(true);
        let mut inner = at(&["k"]);
        keys.put_at(0, &inner, value.clone()).expect("set");
        assert_eq!(keys.look_at(0, &inner).expect("got"), Some(value.clone()));
        inner.path.extend((0..62).map(|_| part.to_owned()));
        assert!(keys.look_at(0, &inner).expect("got").is_some());
        keys.put_at(0, &inner, value.clone()).expect("set");
        assert!(keys.expire_at(0, &inner, 5).expect("there"));
        assert!(keys.look_at(4, &at(&[])).expect("got").is_some());
        assert!(keys.look_at(5, &inner).expect("got").is_none());
        assert!(keys.take_at(5, &at(&["k"])).expect("removed").is_some());
    }
}

#[derive(Clone, Debug)]
enum Op {
    Act(Place, KeyOp),
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

    /// Puts a value where one is; expiries stay.
    fn update(&mut self, place: &Place, value: Value) {
        let expiries = self.expiries.clone();
        self.set(place, &value);
        self.expiries = expiries;
    }

    fn add(&mut self, place: &Place, value: Value) {
        match self.get(place).cloned() {
            None => self.set(place, &json!([value])),
            Some(Value::Array(elements)) => self.set(&place.member(elements.len().to_string()), &value),
            Some(Value::Object(members)) => {
                let next = members.keys().filter_map(|key| raw::index(key)).max().map_or(0, |key| key + 1);
                self.set(&place.member(next.to_string()), &value);
            }
            Some(scalar) => self.update(place, json!([scalar, value])),
        }
    }

    fn concat(&mut self, place: &Place, value: &Value) {
        let parts = match value {
            Value::Object(_) => None,
            Value::Array(parts) => Some(parts.clone()),
            scalar => Some(vec![scalar.clone()]),
        };
        match (self.get(place).cloned(), value, parts) {
            (None, Value::Object(_), _) => self.set(place, value),
            (None, _, parts) => self.set(place, &Value::Array(parts.expect("parts"))),
            (Some(Value::Object(_)), Value::Object(members), _) => {
                for (key, value) in members {
                    self.set(&place.member(key.as_str()), value);
                }
            }
            (Some(there), Value::Object(members), _) => {
                let there = match there {
                    Value::Array(elements) => elements,
                    scalar => vec![scalar],
                };
                let mut whole: Map<String, Value> =
                    there.into_iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect();
                whole.extend(members.clone());
                self.update(place, Value::Object(whole));
            }
            (Some(Value::Array(_) | Value::Object(_)), _, parts) => {
                for part in parts.expect("parts") {
                    self.add(place, part);
                }
            }
            (Some(scalar), _, parts) => {
                let mut whole = vec![scalar];
                whole.extend(parts.expect("parts"));
                self.update(place, Value::Array(whole));
            }
        }
    }

    fn remove_range(&mut self, place: &Place, from: &str, to: Option<&str>) -> Result<Option<Value>, ()> {
        match self.get(place).cloned() {
            None => Ok(None),
            Some(Value::Array(elements)) => {
                let from = raw::index(from).ok_or(())?.min(elements.len());
                let to = to.map(|to| raw::index(to).ok_or(())).transpose()?.unwrap_or(elements.len());
                let to = to.min(elements.len()).max(from);
                for _ in from..to {
                    self.remove(&place.member(from.to_string()));
                }
                Ok(Some(json!(elements[from..to])))
            }
            Some(Value::Object(members)) => {
                let keys = members
                    .keys()
                    .filter(|key| key.as_str() >= from && to.is_none_or(|to| key.as_str() < to));
                let removed: Map<String, Value> = keys
                    .filter_map(|key| Some((key.clone(), self.remove(&place.member(key.as_str()))?)))
                    .collect();
                Ok(Some(Value::Object(removed)))
            }
            Some(_) => Err(()),
        }
    }

    /// What the keyspace should answer; an error of any kind is one.
    fn act(&mut self, now: Millis, place: &Place, action: &KeyOp) -> Result<Option<Value>, ()> {
        let value = |text: &Bytes| serde_json::from_slice::<Value>(text).expect("one JSON value");
        let puts = matches!(
            action,
            KeyOp::Set { .. }
                | KeyOp::Add { .. }
                | KeyOp::Concat { .. }
                | KeyOp::Increment { .. }
                | KeyOp::CompareAndSet { .. }
        );
        if puts && place.path.is_empty() {
            return Err(());
        }
        Ok(match action {
            KeyOp::Get => self.get(place).cloned(),
            KeyOp::Has => Some(json!(self.get(place).is_some())),
            KeyOp::Count => Some(json!(match self.get(place) {
                None => 0,
                Some(Value::Array(elements)) => elements.len(),
                Some(Value::Object(members)) => members.len(),
                Some(_) => 1,
            })),
            KeyOp::GetRange { from, to } => {
                let mut copy = Model { trees: self.trees.clone(), expiries: Vec::new() };
                Some(copy.remove_range(place, from, to.as_deref())?.unwrap_or(json!({})))
            }
            KeyOp::GetExpiry => {
                self.expiries.iter().find(|(known, _)| known == place).map(|(_, at)| json!(at))
            }
            KeyOp::Set { value: new } => {
                self.set(place, &value(new));
                None
            }
            KeyOp::Add { value: new, .. } => {
                self.add(place, value(new));
                Some(value(new))
            }
            KeyOp::Concat { value: new, .. } => {
                self.concat(place, &value(new));
                Some(value(new))
            }
            KeyOp::Remove { .. } => self.remove(place),
            KeyOp::RemoveRange { from, to, .. } => self.remove_range(place, from, to.as_deref())?,
            KeyOp::Pop { .. } => match self.get(place).cloned() {
                Some(Value::Array(elements)) if !elements.is_empty() => {
                    self.remove(&place.member((elements.len() - 1).to_string()))
                }
                Some(Value::Object(members)) => {
                    let last = members.keys().filter_map(|key| raw::index(key)).max();
                    last.and_then(|last| self.remove(&place.member(last.to_string())))
                }
                _ => None,
            },
            KeyOp::CompareAndSet { expected, value: new } => {
                let is_expected = self.get(place).cloned() == expected.as_ref().map(value);
                match new {
                    Some(new) if is_expected => self.set(place, &value(new)),
                    None if is_expected => drop(self.remove(place)),
                    _ => {}
                }
                Some(json!(is_expected))
            }
            KeyOp::Increment { by } => match self.get(place).cloned() {
                None => {
                    self.set(place, &json!(by));
                    Some(json!(by))
                }
                Some(there) => {
                    let sum = there.as_i64().and_then(|there| there.checked_add(*by)).ok_or(())?;
                    self.update(place, json!(sum));
                    Some(json!(sum))
                }
            },
            KeyOp::Expire { after_ms } => Some(json!(self.expire(now, place, *after_ms))),
            KeyOp::Unexpire => {
                let before = self.expiries.len();
                self.expiries.retain(|(known, _)| known != place);
                let had = self.expiries.len() < before;
                if had && place.path.is_empty() && self.get(place) == Some(&json!({})) {
                    self.trees.remove(&place.tree);
                }
                Some(json!(had))
            }
        })
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
    let get_value = true;
    let bytes = || value().prop_map(|value| text(&value));
    let bound = || prop_oneof!["[ab]", "[0-3]"];
    let range = || (bound(), proptest::option::of(bound()));
    let action = prop_oneof![
        6 => bytes().prop_map(|value| KeyOp::Set { value }),
        4 => bytes().prop_map(move |value| KeyOp::Add { value, get_value }),
        2 => bytes().prop_map(move |value| KeyOp::Concat { value, get_value }),
        2 => Just(KeyOp::Remove { get_value }),
        2 => range().prop_map(move |(from, to)| KeyOp::RemoveRange { from, to, get_value }),
        2 => Just(KeyOp::Pop { get_value }),
        1 => (proptest::option::of(bytes()), proptest::option::of(bytes()))
            .prop_map(|(expected, value)| KeyOp::CompareAndSet { expected, value }),
        1 => (-3i64..3).prop_map(|by| KeyOp::Increment { by }),
        3 => (0u64..20).prop_map(|after_ms| KeyOp::Expire { after_ms }),
        1 => Just(KeyOp::Unexpire),
        1 => range().prop_map(|(from, to)| KeyOp::GetRange { from, to }),
        1 => prop_oneof![Just(KeyOp::Has), Just(KeyOp::Count), Just(KeyOp::GetExpiry)],
    ];
    prop_oneof![
        8 => (place(), action).prop_map(|(place, action)| Op::Act(place, action)),
        1 => (0u64..10).prop_map(Op::Wait),
    ]
}

/// All that is in a keyspace: trees as values, and expiries.
type Everything = (std::collections::BTreeMap<Tree, Value>, Vec<(Place, Millis)>);

fn everything(keys: &Keyspace) -> Everything {
    let value = |node: &Node| serde_json::from_slice(&node.to_json()).expect("one JSON value");
    let trees = keys.trees.iter().map(|(tree, node)| (tree.clone(), value(node))).collect();
    let mut expiries = Vec::new();
    for tree in keys.trees.keys() {
        let inside = keys.expiries.inside(&Place { tree: tree.clone(), path: vec![] });
        expiries.extend(inside.into_iter().map(|(place, at)| (Place::clone(&place), at)));
    }
    expiries.sort();
    (trees, expiries)
}

fn replayed(log: &[Change]) -> Keyspace {
    let mut keys = Keyspace::new(true);
    log.iter().cloned().for_each(|change| keys.apply(change));
    assert!(keys.take_changes().is_empty(), "what is done again is not noted again");
    keys
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn it_does_what_the_model_does(
        ops in proptest::collection::vec(op(), 0..60),
        looks in proptest::collection::vec(place(), 8),
        restart in 0..60usize,
    ) {
        let (mut keys, mut model, mut now) = (Keyspace::new(true), Model::default(), 0);
        let mut log = Vec::new();
        for (step, op) in ops.into_iter().enumerate() {
            if step == restart {
                keys = replayed(&log);
            }
            match op {
                Op::Act(place, action) => {
                    model.wait(now);
                    let answer = keys.act(now, &place, action.clone()).map(parsed).map_err(drop);
                    prop_assert_eq!(answer, model.act(now, &place, &action), "{:?} {:?}", place, action);
                }
                Op::Wait(ms) => now += ms,
            }
            model.wait(now);
            keys.expire_due(now);
            log.extend(keys.take_changes());
            for place in &looks {
                let got = parsed(keys.look_at(now, place).expect("got"));
                prop_assert_eq!(got.as_ref(), model.get(place));
            }
        }
        prop_assert_eq!(keys.trees.len(), model.trees.len());
        prop_assert_eq!(everything(&replayed(&log)), everything(&keys));
    }

    #[test]
    fn images_and_the_changes_between_them_give_the_data_again(
        before in proptest::collection::vec(op(), 0..40),
        between in proptest::collection::vec(proptest::option::of(op()), 0..40),
        large in any::<bool>(),
    ) {
        let (mut keys, mut now) = (Keyspace::new(true), 0);
        if large {
            // More members than are taken in one image.
            for number in 0..=1000 {
                keys.put_at(0, &at(&[&format!("m{number}")]), text(&json!(number))).expect("set");
            }
        }
        let mut act = |keys: &mut Keyspace, op| match op {
            Op::Act(place, action) => drop(keys.act(now, &place, action)),
            Op::Wait(ms) => now += ms,
        };
        before.into_iter().for_each(|op| act(&mut keys, op));
        keys.take_changes();
        let (mut log, mut imager) = (Vec::new(), Imager::new(&keys));
        for op in between {
            match op {
                Some(op) => act(&mut keys, op),
                None => log.extend(imager.next(&keys)),
            }
            log.extend(keys.take_changes());
        }
        while let Some(image) = imager.next(&keys) {
            log.push(image);
        }
        prop_assert_eq!(everything(&replayed(&log)), everything(&keys));
    }

    #[test]
    fn operations_are_taken_back(
        before in proptest::collection::vec(op(), 0..40),
        actions in proptest::collection::vec(op(), 0..20),
    ) {
        let (mut keys, mut now) = (Keyspace::new(true), 0);
        for op in before {
            match op {
                Op::Act(place, action) => drop(keys.act(now, &place, action)),
                Op::Wait(ms) => now += ms,
            }
        }
        keys.expire_due(now);
        let as_it_was = everything(&keys);
        let mut undo = Vec::new();
        for op in actions {
            if let Op::Act(place, action) = op {
                // What expires at once would be gone for good.
                let action = match action {
                    KeyOp::Expire { after_ms: 0 } => KeyOp::Expire { after_ms: 1 },
                    action => action,
                };
                undo.extend(keys.undo_of(&place, &action));
                let _ = keys.act(now, &place, action);
            }
        }
        while let Some(change) = undo.pop() {
            keys.apply(change);
        }
        prop_assert_eq!(everything(&keys), as_it_was);
    }
}
