//! What an operation did to the data, as the journal keeps it. Changes are unconditional: applied in order to the
//! state they were made in, they give the same state again, whatever the time is.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::keyspace::{Millis, Place};

/// One step from a state of the data to the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// A value was put in a place; containers were made on the way as [`Keyspace`](crate::keyspace::Keyspace) says.
    Set {
        /// Where.
        place: Place,
        /// One JSON value as text.
        value: Bytes,
    },
    /// A value was replaced where one was; its expiry stays.
    Update {
        /// Where.
        place: Place,
        /// One JSON value as text.
        value: Bytes,
    },
    /// The value in a place, or a whole tree, was removed.
    Remove {
        /// Where.
        place: Place,
    },
    /// Elements of an array were removed.
    RemoveElements {
        /// The array.
        place: Place,
        /// The first one.
        from: u64,
        /// The one before which it ended.
        to: u64,
    },
    /// A place was given an expiry.
    Expire {
        /// Where.
        place: Place,
        /// Milliseconds since 1970.
        at: Millis,
    },
    /// A place's expiry was lifted.
    Unexpire {
        /// Where.
        place: Place,
    },
    /// Nothing happened: this is all that is known of a place, in the stead of all earlier changes in it.
    Image {
        /// Where: a tree, or a member of a tree's root.
        place: Place,
        /// Its value, one JSON value as text.
        value: Bytes,
        /// Expiries of places in it, as paths from the tree's root on.
        expiries: Vec<(Vec<String>, Millis)>,
    },
}
