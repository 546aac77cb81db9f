//! The operations of the store of SocketCluster 0.9.90, each with its documented semantics or with the
//! difference that the documentation of the stores names.

use super::*;

/// Does something at a path of the global tree and gives the answer.
fn act(keys: &mut Keyspace, path: &[&str], action: KeyOp) -> Option<Value> {
    parsed(keys.act(0, &at(path), action).expect("done"))
}

fn refused(keys: &mut Keyspace, path: &[&str], action: KeyOp) -> KeyErrorKind {
    keys.act(0, &at(path), action).expect_err("refused").kind
}

fn with(value: Value) -> Keyspace {
    filled(&json!({ "k": value }))
}

fn now(keys: &mut Keyspace) -> Value {
    act(keys, &["k"], KeyOp::Get).unwrap_or(json!("nothing"))
}

fn add(value: Value) -> KeyOp {
    KeyOp::Add { value: text(&value), get_value: false }
}

fn concat(value: Value) -> KeyOp {
    KeyOp::Concat { value: text(&value), get_value: false }
}

fn range(from: &str, to: Option<&str>) -> KeyOp {
    KeyOp::GetRange { from: from.to_owned(), to: to.map(str::to_owned) }
}

fn remove_range(from: &str, to: Option<&str>) -> KeyOp {
    KeyOp::RemoveRange { from: from.to_owned(), to: to.map(str::to_owned), get_value: true }
}

#[test]
fn set_replaces_and_makes_the_way() {
    let mut keys = with(json!(1));
    act(&mut keys, &["k", "a", "b"], KeyOp::Set { value: text(&json!(2)) });
    assert_eq!(now(&mut keys), json!({"a": {"b": 2}}));
}

#[test]
fn get_tells_nothing_from_null() {
    let mut keys = with(json!({"null": null}));
    assert_eq!(act(&mut keys, &["k", "null"], KeyOp::Get), Some(Value::Null));
    assert_eq!(act(&mut keys, &["k", "none"], KeyOp::Get), None);
}

#[test]
fn add_appends_one_value() {
    for (there, after) in [
        (json!([1]), json!([1, [2]])),
        (json!({"a": 1, "4": 0}), json!({"a": 1, "4": 0, "5": [2]})),
        (json!({"a": 1}), json!({"a": 1, "0": [2]})),
        (json!("s"), json!(["s", [2]])),
    ] {
        let mut keys = with(there);
        act(&mut keys, &["k"], add(json!([2])));
        assert_eq!(now(&mut keys), after);
    }
    let mut keys = Keyspace::new(true);
    act(&mut keys, &["k"], add(json!(1)));
    assert_eq!(now(&mut keys), json!([1]));
    let answer = act(&mut keys, &["k"], KeyOp::Add { value: text(&json!(2)), get_value: true });
    assert_eq!(answer, Some(json!(2)));
}

#[test]
fn concat_appends_each_element_and_merges_members() {
    for (there, value, after) in [
        (json!([1]), json!([2, 3]), json!([1, 2, 3])),
        (json!([1]), json!({"a": 2}), json!({"0": 1, "a": 2})),
        (json!({"a": 1, "b": 1}), json!({"b": 2}), json!({"a": 1, "b": 2})),
        (json!({"a": 1}), json!([2, 3]), json!({"a": 1, "0": 2, "1": 3})),
        (json!([1]), json!("s"), json!([1, "s"])),
        (json!("s"), json!([1]), json!(["s", 1])),
        (json!("s"), json!({"a": 1}), json!({"0": "s", "a": 1})),
    ] {
        let mut keys = with(there);
        act(&mut keys, &["k"], concat(value));
        assert_eq!(now(&mut keys), after);
    }
    for (value, after) in
        [(json!({"a": 1}), json!({"a": 1})), (json!([1]), json!([1])), (json!(1), json!([1]))]
    {
        let mut keys = Keyspace::new(true);
        act(&mut keys, &["k"], concat(value));
        assert_eq!(now(&mut keys), after);
    }
}

#[test]
fn remove_takes_and_shifts() {
    let mut keys = with(json!([1, 2, 3]));
    assert_eq!(act(&mut keys, &["k", "0"], KeyOp::Remove { get_value: true }), Some(json!(1)));
    assert_eq!(act(&mut keys, &["k", "0"], KeyOp::Remove { get_value: false }), None);
    assert_eq!(now(&mut keys), json!([3]));
    assert_eq!(act(&mut keys, &["x"], KeyOp::Remove { get_value: true }), None);
}

#[test]
fn remove_range_takes_elements_by_index_and_members_by_key() {
    let mut keys = with(json!([0, 1, 2, 3, 4]));
    assert_eq!(act(&mut keys, &["k"], remove_range("1", Some("3"))), Some(json!([1, 2])));
    assert_eq!(
        act(&mut keys, &["k"], remove_range("0", Some("0"))),
        Some(json!([])),
        "0 is no end without a limit"
    );
    assert_eq!(act(&mut keys, &["k"], remove_range("2", None)), Some(json!([4])));
    assert_eq!(now(&mut keys), json!([0, 3]));
    let mut keys = with(json!({"c": 3, "a": 1, "b": 2}));
    assert_eq!(act(&mut keys, &["k"], remove_range("a", Some("c"))), Some(json!({"a": 1, "b": 2})));
    assert_eq!(now(&mut keys), json!({"c": 3}));
    assert_eq!(act(&mut keys, &["x"], remove_range("a", None)), None);
}

#[test]
fn remove_all_empties_the_tree() {
    let mut keys = filled(&json!({"a": 1, "b": 2}));
    act(&mut keys, &[], KeyOp::Remove { get_value: false });
    assert_eq!(act(&mut keys, &[], KeyOp::Get), None);
}

#[test]
fn pop_takes_the_last_element_and_leaves_the_container() {
    let pop = || KeyOp::Pop { get_value: true };
    let mut keys = with(json!([1, 2]));
    assert_eq!((act(&mut keys, &["k"], pop()), now(&mut keys)), (Some(json!(2)), json!([1])));
    assert_eq!((act(&mut keys, &["k"], pop()), now(&mut keys)), (Some(json!(1)), json!([])));
    assert_eq!(act(&mut keys, &["k"], pop()), None);
    let mut keys = with(json!({"a": 1, "2": "two", "10": "ten"}));
    assert_eq!(
        (act(&mut keys, &["k"], pop()), now(&mut keys)),
        (Some(json!("ten")), json!({"a": 1, "2": "two"}))
    );
    let mut keys = with(json!("s"));
    assert_eq!((act(&mut keys, &["k"], pop()), now(&mut keys)), (None, json!("s")));
}

#[test]
fn has_key_counts_null_and_no_names_of_prototypes() {
    let mut keys = with(json!({"null": null}));
    let mut has = |path: &[&str]| act(&mut keys, path, KeyOp::Has);
    assert_eq!(has(&["k", "null"]), Some(json!(true)));
    for name in ["length", "push", "__proto__", "constructor", ""] {
        assert_eq!(has(&["k", name]), Some(json!(false)), "{name}");
    }
}

#[test]
fn names_of_prototypes_are_keys_like_others() {
    for name in ["__proto__", "constructor", "length", "push", "hasOwnProperty", ""] {
        let mut keys = Keyspace::new(true);
        act(&mut keys, &["k", name, "x"], KeyOp::Set { value: text(&json!(1)) });
        assert_eq!(act(&mut keys, &["k", name, "x"], KeyOp::Get), Some(json!(1)), "{name}");
        assert_eq!(act(&mut keys, &["k", "x"], KeyOp::Get), None, "{name}");
        assert_eq!(act(&mut keys, &["k"], KeyOp::Count), Some(json!(1)), "{name}");
    }
}

#[test]
fn get_range_reads_what_remove_range_takes() {
    let mut keys = with(json!([0, 1, 2, 3]));
    for (from, to, part) in [
        ("1", Some("3"), json!([1, 2])),
        ("2", None, json!([2, 3])),
        ("3", Some("1"), json!([])),
        ("9", None, json!([])),
    ] {
        assert_eq!(act(&mut keys, &["k"], range(from, to)), Some(part));
    }
    assert_eq!(act(&mut keys, &["x"], range("0", None)), Some(json!({})));
    assert_eq!(refused(&mut keys, &["k"], range("a", None)), KeyErrorKind::Type);
    assert_eq!(refused(&mut keys, &["k", "0"], range("0", None)), KeyErrorKind::Type);
    let mut keys = with(json!({"b": 2, "a": 1, "c": 3}));
    assert_eq!(act(&mut keys, &["k"], range("b", None)), Some(json!({"b": 2, "c": 3})));
}

#[test]
fn count_counts_entries() {
    let mut keys = with(json!({"list": [1, 2], "map": {"a": 1}, "none": null, "zero": 0, "no": false}));
    for (key, count) in [("list", 2), ("map", 1), ("none", 1), ("zero", 1), ("no", 1), ("missing", 0)] {
        assert_eq!(act(&mut keys, &["k", key], KeyOp::Count), Some(json!(count)), "{key}");
    }
}

#[test]
fn expire_unexpire_and_get_expiry() {
    let mut keys = with(json!(1));
    assert_eq!(act(&mut keys, &["k"], KeyOp::GetExpiry), None);
    assert_eq!(act(&mut keys, &["k"], KeyOp::Expire { after_ms: 500 }), Some(json!(true)));
    assert_eq!(act(&mut keys, &["k"], KeyOp::GetExpiry), Some(json!(500)));
    assert_eq!(act(&mut keys, &["k"], KeyOp::Unexpire), Some(json!(true)));
    assert_eq!(act(&mut keys, &["k"], KeyOp::Unexpire), Some(json!(false)));
    assert_eq!(act(&mut keys, &["x"], KeyOp::Expire { after_ms: 500 }), Some(json!(false)));
    assert_eq!(keys.look_at(1000, &at(&["k"])), Ok(Some(Bytes::from_static(b"1"))));
}

#[test]
fn increment_counts_and_keeps_the_expiry() {
    let mut keys = Keyspace::new(true);
    assert_eq!(act(&mut keys, &["k"], KeyOp::Increment { by: 5 }), Some(json!(5)));
    act(&mut keys, &["k"], KeyOp::Expire { after_ms: 500 });
    assert_eq!(act(&mut keys, &["k"], KeyOp::Increment { by: -7 }), Some(json!(-2)));
    assert_eq!(act(&mut keys, &["k"], KeyOp::GetExpiry), Some(json!(500)));
    for there in [json!("5"), json!(1.5), json!([]), json!(i64::MAX), json!(u64::MAX)] {
        let mut keys = with(there.clone());
        assert_eq!(refused(&mut keys, &["k"], KeyOp::Increment { by: 1 }), KeyErrorKind::Type);
        assert_eq!(now(&mut keys), there);
    }
}

#[test]
fn compare_and_set_compares_values() {
    let cas = |expected: Option<&'static str>, value: Option<&'static str>| KeyOp::CompareAndSet {
        expected: expected.map(|text| Bytes::from_static(text.as_bytes())),
        value: value.map(|text| Bytes::from_static(text.as_bytes())),
    };
    let mut keys = Keyspace::new(true);
    let yes = Some(json!(true));
    let no = Some(json!(false));
    assert_eq!(act(&mut keys, &["k"], cas(Some("1"), Some("2"))), no);
    assert_eq!(act(&mut keys, &["k"], cas(None, Some(r#"{"a":1,"b":2}"#))), yes);
    assert_eq!(act(&mut keys, &["k"], cas(None, Some("3"))), no);
    assert_eq!(act(&mut keys, &["k"], cas(Some(r#"{ "b": 2, "a": 1 }"#), Some("4"))), yes);
    assert_eq!(act(&mut keys, &["k"], cas(Some("4"), None)), yes);
    assert_eq!(act(&mut keys, &["k"], KeyOp::Has), no);
}

#[test]
fn a_whole_tree_cannot_be_put() {
    let mut keys = with(json!(1));
    for action in [
        KeyOp::Set { value: text(&json!(1)) },
        add(json!(1)),
        concat(json!({})),
        KeyOp::Increment { by: 1 },
        KeyOp::CompareAndSet { expected: None, value: None },
    ] {
        assert_eq!(refused(&mut keys, &[], action), KeyErrorKind::Path);
    }
}
