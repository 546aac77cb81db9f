//! Guards across a swap. An action may have been queued for a generation that guarded it and meet one that does not:
//! then it proceeds as if it had come later.
//!
//! A new instance may declare some of its guards only after something that it waits for has come. Until then, and for
//! a bounded time, the guards of the generation before it stay in force, and an action that only they cover waits.

use std::time::Instant;

use sc_core::controller::{Controller, ControllerSource, Event, Verdict};

use super::Driver;
use crate::gate::Gate;

impl<S: ControllerSource + 'static> Driver<S> {
    /// Returns the event if the running generation guards it. Otherwise it waits while the guard may still be
    /// declared; after that an action proceeds and a socket's end is only recorded.
    pub(super) fn claim(&mut self, event: Event) -> Option<Event> {
        let guards = &self.seat.guards;
        let is_wanted = match &event {
            Event::Action { line, name, .. } | Event::RequestAction { line, name, .. } => {
                guards.says(*line, name)
            }
            Event::SocketEnd { .. } => guards.hears_ends(),
            _ => true,
        };
        if is_wanted {
            return Some(event);
        }
        if self.guards_until.is_some() {
            self.seat.calls.set_aside(event);
        } else if let Some(action) = event.action() {
            Gate::settle(&self.worker, &self.seat, action, Verdict::Allow);
        } else {
            self.note_end(&event, None);
        }
        None
    }

    /// Ends the guards of the generation before once the running instance waits for nothing, so has said all of its
    /// own.
    pub(super) fn settle_guards(&mut self) {
        let Some(until) = self.guards_until else { return };
        let waits = self.instance.as_ref().is_none_or(|instance| instance.outstanding() > 0);
        if waits && Instant::now() < until {
            return;
        }
        self.guards_until = None;
        self.seat.guards.forget_before();
        self.settle_ends();
        self.seat.calls.take_back();
    }

    /// Has ends forgotten that only the generation before minds, once that has no say any more.
    pub(super) fn settle_ends(&self) {
        if self.previous.is_none() && self.guards_until.is_none() {
            self.seat.guards.forget_ends();
        }
    }
}
