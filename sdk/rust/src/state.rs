//! State that outlives a swap: pieces with names, carried as JSON by the host from the old instance to the new one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Json, Problem};

/// The version of [`Carried`].
const FORMAT: u32 = 1;

thread_local! {
    static KEPT: RefCell<Vec<(String, Rc<dyn Piece>)>> = const { RefCell::new(Vec::new()) };
    /// Restored before their piece was kept.
    static WAITING: RefCell<BTreeMap<String, Json>> = const { RefCell::new(BTreeMap::new()) };
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Carried {
    pieces: BTreeMap<String, Json>,
    /// Why the state could not be written. The new instance refuses it, so nothing is lost silently.
    failed: Option<String>,
}

/// What can be kept over a swap with [`Worker::keep_state`](crate::Worker::keep_state). [`Counter`] and [`State`] can;
/// a type of your own can if its clones share what they hold.
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// use sc_sdk::{Json, Keep, Problem};
///
/// #[derive(Clone)]
/// struct Highscore(Rc<Cell<u32>>);
///
/// impl Keep for Highscore {
///     fn save(&self) -> Result<Json, Problem> {
///         Ok(self.0.get().into())
///     }
///
///     fn load(&self, saved: Json) -> Result<(), Problem> {
///         self.0.set(serde_json::from_value(saved)?);
///         Ok(())
///     }
/// }
/// ```
pub trait Keep: Clone + 'static {
    /// The state as JSON. An error refuses the swap.
    ///
    /// ```
    /// # use sc_sdk::{Counter, Keep, json};
    /// assert_eq!(Counter::new().save(), Ok(json!(0)));
    /// ```
    fn save(&self) -> Result<Json, Problem>;

    /// Takes over what the instance before saved. An error refuses the swap.
    ///
    /// ```
    /// # use sc_sdk::{Counter, Keep, json};
    /// let counter = Counter::new();
    /// counter.load(json!(3)).unwrap();
    /// assert_eq!(counter.get(), 3);
    /// ```
    fn load(&self, saved: Json) -> Result<(), Problem>;
}

/// [`Keep`] without `Clone`, for a list of different ones.
trait Piece {
    fn save(&self) -> Result<Json, Problem>;
    fn load(&self, saved: Json) -> Result<(), Problem>;
}

impl<K: Keep> Piece for K {
    fn save(&self) -> Result<Json, Problem> {
        Keep::save(self)
    }

    fn load(&self, saved: Json) -> Result<(), Problem> {
        Keep::load(self, saved)
    }
}

/// A number that counts up, shared by its clones.
///
/// ```
/// use sc_sdk::Counter;
///
/// let pings = Counter::new();
/// let same = pings.clone();
/// assert_eq!(pings.next(), 1);
/// assert_eq!(same.next(), 2);
/// assert_eq!(pings.get(), 2);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Counter(Rc<Cell<u64>>);

impl Counter {
    /// A counter at 0.
    ///
    /// ```
    /// assert_eq!(sc_sdk::Counter::new().get(), 0);
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts up by one and gives the new number.
    ///
    /// ```
    /// assert_eq!(sc_sdk::Counter::new().next(), 1);
    /// ```
    pub fn next(&self) -> u64 {
        self.add(1)
    }

    /// Counts up by several and gives the new number.
    ///
    /// ```
    /// assert_eq!(sc_sdk::Counter::new().add(5), 5);
    /// ```
    pub fn add(&self, several: u64) -> u64 {
        self.0.set(self.0.get().wrapping_add(several));
        self.0.get()
    }

    /// The number.
    ///
    /// ```
    /// assert_eq!(sc_sdk::Counter::new().get(), 0);
    /// ```
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

impl Keep for Counter {
    fn save(&self) -> Result<Json, Problem> {
        Ok(self.get().into())
    }

    fn load(&self, saved: Json) -> Result<(), Problem> {
        self.0.set(serde_json::from_value(saved)?);
        Ok(())
    }
}

/// A value shared by its clones, for handlers that change it.
///
/// ```
/// use sc_sdk::State;
///
/// let rooms = State::new(vec!["lobby".to_string()]);
/// let same = rooms.clone();
/// same.update(|rooms| rooms.push("garden".to_string()));
/// assert_eq!(rooms.with(|rooms| rooms.len()), 2);
/// ```
#[derive(Debug, Default)]
pub struct State<T>(Rc<RefCell<T>>);

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        State(Rc::clone(&self.0))
    }
}

impl<T> State<T> {
    /// A shared value.
    ///
    /// ```
    /// let names = sc_sdk::State::new(Vec::<String>::new());
    /// ```
    pub fn new(value: T) -> Self {
        State(Rc::new(RefCell::new(value)))
    }

    /// Reads the value. It cannot be changed from within.
    ///
    /// ```
    /// let state = sc_sdk::State::new(3);
    /// assert_eq!(state.with(|number| number + 1), 4);
    /// ```
    pub fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(&self.0.borrow())
    }

    /// Changes the value. It cannot be used otherwise from within.
    ///
    /// ```
    /// let state = sc_sdk::State::new(3);
    /// state.update(|number| *number += 1);
    /// assert_eq!(state.get(), 4);
    /// ```
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        change(&mut self.0.borrow_mut())
    }

    /// Replaces the value and gives the old one.
    ///
    /// ```
    /// let state = sc_sdk::State::new(3);
    /// assert_eq!(state.set(4), 3);
    /// ```
    pub fn set(&self, value: T) -> T {
        self.0.replace(value)
    }

    /// A copy of the value.
    ///
    /// ```
    /// assert_eq!(sc_sdk::State::new(3).get(), 3);
    /// ```
    pub fn get(&self) -> T
    where
        T: Clone,
    {
        self.0.borrow().clone()
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Keep for State<T> {
    fn save(&self) -> Result<Json, Problem> {
        Ok(serde_json::to_value(&*self.0.borrow())?)
    }

    fn load(&self, saved: Json) -> Result<(), Problem> {
        let value = serde_json::from_value(saved)?;
        drop(self.set(value));
        Ok(())
    }
}

/// Keeps a piece under a name, or else under its place.
pub(crate) fn keep<K: Keep>(name: Option<&str>, piece: &K) {
    let name = KEPT.with_borrow_mut(|kept| {
        let name = name.map_or_else(|| format!("#{}", kept.len()), str::to_owned);
        if kept.iter().any(|(other, _)| *other == name) {
            crate::error!("two pieces of state are kept as {name}: only the first one is");
        } else {
            kept.push((name.clone(), Rc::new(piece.clone())));
        }
        name
    });
    let saved = WAITING.with_borrow_mut(|waiting| waiting.remove(&name));
    if let Some(Err(problem)) = saved.map(|saved| Keep::load(piece, saved)) {
        crate::error!("the state {name} of the instance before is lost: {problem}");
    }
}

/// The state of this instance, for the next one.
pub(crate) fn snapshot() -> (u32, Vec<u8>) {
    let kept = KEPT.with_borrow(Clone::clone);
    // What was restored and never kept again is passed on: the release after this one may want it.
    let mut carried = Carried { pieces: WAITING.with_borrow(Clone::clone), failed: None };
    for (name, piece) in kept {
        match piece.save() {
            Ok(saved) => drop(carried.pieces.insert(name, saved)),
            Err(problem) => {
                carried.failed = Some(format!("the state {name} could not be saved: {problem}"));
                break;
            }
        }
    }
    let data = serde_json::to_vec(&carried).unwrap_or_else(|error| {
        crate::error!("the state could not be written: {error}");
        Vec::new()
    });
    (FORMAT, data)
}

/// Takes the state of the instance before. Pieces that nobody keeps here wait, pieces that it did not have stay as
/// they are; a piece that does not fit refuses the swap.
pub(crate) fn restore(version: u32, data: &[u8]) -> Result<(), String> {
    if version != FORMAT {
        return Err(format!("the state was written in format {version}, and this controller reads {FORMAT}"));
    }
    let carried: Carried =
        serde_json::from_slice(data).map_err(|error| format!("the state cannot be read: {error}"))?;
    if let Some(reason) = carried.failed {
        return Err(reason);
    }
    let mut pieces = carried.pieces;
    for (name, piece) in KEPT.with_borrow(Clone::clone) {
        let Some(saved) = pieces.remove(&name) else { continue };
        piece.load(saved).map_err(|problem| {
            format!("the state {name} does not fit ({problem}); keep it under another name to start afresh")
        })?;
    }
    WAITING.set(pieces);
    Ok(())
}
