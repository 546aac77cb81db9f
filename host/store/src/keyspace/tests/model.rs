//! A keyspace that does everything the slow and obvious way.

use serde_json::Map;

use super::*;

#[derive(Clone, Debug)]
pub(super) enum Op {
    Act(Place, KeyOp),
    Wait(Millis),
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) trees: std::collections::BTreeMap<Tree, Value>,
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

    pub(super) fn get(&self, place: &Place) -> Option<&Value> {
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
    pub(super) fn act(&mut self, now: Millis, place: &Place, action: &KeyOp) -> Result<Option<Value>, ()> {
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

    pub(super) fn wait(&mut self, now: Millis) {
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
