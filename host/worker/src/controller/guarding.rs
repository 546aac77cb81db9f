//! Actions that were queued for a generation that guarded them, when another one has taken its place: what that one does
//! not guard goes on, as if it had come later.

use sc_core::controller::{ControllerSource, Event, Verdict};

use super::Driver;
use crate::gate::Gate;

impl<S: ControllerSource + 'static> Driver<S> {
    /// The event, unless it is an action that the running generation does not guard: that goes on.
    pub(super) fn claim(&self, event: Event) -> Option<Event> {
        let (Event::Action { action, line, name, .. } | Event::RequestAction { action, line, name, .. }) =
            &event
        else {
            return Some(event);
        };
        if self.seat.guards.cover(*line, name) {
            return Some(event);
        }
        Gate::settle(&self.worker, &self.seat, *action, Verdict::Allow);
        None
    }
}
