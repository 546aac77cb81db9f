//! What holds for any operations: the keyspace does what the model does, and what it notes gives the same data again.

use proptest::prelude::*;

use super::model::{Model, Op};
use super::*;

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
        let as_it_was = everything(&keys);
        let mut undo = Vec::new();
        for op in actions {
            match op {
                Op::Act(place, action) => drop(keys.act_undoably(now, &place, action, &mut undo)),
                Op::Wait(ms) => now += ms,
            }
        }
        while let Some(change) = undo.pop() {
            keys.apply(change);
        }
        prop_assert_eq!(everything(&keys), as_it_was);
    }
}
