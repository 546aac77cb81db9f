//! The cases worth a name.

use super::*;

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

#[test]
fn keys_that_are_no_text_are_refused_and_strings_are_not() {
    let mut keys = Keyspace::new(true);
    let odd = [
        r#"{"\ud800":1}"#,
        r#"[{"a":{"b\uDC00":1}}]"#,
        r#"{"\ud800\u0041" : 1}"#,
        r#"{"a":"\\","\ud800":1}"#,
    ];
    for value in odd {
        let value = Bytes::from_static(value.as_bytes());
        let put = [
            KeyOp::Set { value: value.clone() },
            KeyOp::Add { value: value.clone(), get_value: false },
            KeyOp::Concat { value: value.clone(), get_value: false },
            KeyOp::CompareAndSet { expected: None, value: Some(value.clone()) },
        ];
        for action in put {
            let refused = keys.act(0, &at(&["k"]), action.clone());
            let is_refused = |error: &KeyError| {
                error.kind == KeyErrorKind::Type && error.message.contains("as \\ud800 without")
            };
            assert!(refused.as_ref().is_err_and(is_refused), "{action:?} {refused:?}");
            assert!(keys.act_undoably(0, &at(&["k"]), action, &mut Vec::new()).is_err());
        }
    }
    assert!(whole(&mut keys, 0).is_none());
    for value in [r#"{"a":"\ud800"}"#, r#"{"\ud83d\ude00":["\udc00"]}"#, r#"{"\\ud800":1}"#, r#""\ud800:""#] {
        keys.put_at(0, &at(&["k"]), Bytes::from_static(value.as_bytes())).expect("set");
        keys.put_at(0, &at(&["k", "a"]), text(&json!(1))).expect("set");
        let got = keys.look_at(0, &at(&["k", "a"])).expect("got");
        assert_eq!(got, Some(Bytes::from_static(b"1")), "{value}");
    }
}

#[test]
fn a_large_tree_that_is_emptied_between_its_images_is_not_there() {
    let mut keys = Keyspace::new(true);
    for number in 0..=1000 {
        keys.put_at(0, &at(&[&number.to_string()]), text(&json!(number))).expect("set");
    }
    keys.take_changes();
    let mut imager = Imager::new(&keys);
    let mut log: Vec<Change> = imager.next(&keys).into_iter().collect();
    let all = KeyOp::RemoveRange { from: String::new(), to: None, get_value: false };
    keys.act(0, &at(&[]), all).expect("removed");
    log.extend(keys.take_changes());
    log.extend(std::iter::from_fn(|| imager.next(&keys)));
    assert!(keys.trees.is_empty());
    assert!(replayed(&log).trees.is_empty());
}
