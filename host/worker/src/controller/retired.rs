//! Instances that were replaced: each goes on with what it had begun, without new events, until its last answer has
//! come or its time is over. What it says about its interests is dropped; all other commands of it count.

use std::time::Instant;

use sc_core::controller::{Controller, ControllerSource, Event};
use sc_core::fault;
use sc_core::ids::Token;
use sc_core::limits::{RETIRED, RETIRED_DEADLINE};
use sc_core::log::Described;

use super::Driver;
use crate::effects;

/// What is told to those who wait for an instance that ends before it answered.
const REPLACED: &str = "The controller was replaced while this call waited for it";

/// An instance that was replaced.
pub(super) struct Retired<I> {
    instance: I,
    number: u64,
    until: Instant,
}

impl<S: ControllerSource + 'static> Driver<S> {
    /// Lets an instance that was replaced finish what it had begun.
    pub(super) fn retire(&mut self, instance: S::Instance, number: u64) {
        self.seat.timers.end_repeats_of(&self.worker, number);
        if instance.outstanding() == 0 {
            self.fail_all_of(number, REPLACED);
            return;
        }
        self.retired.push_back(Retired { instance, number, until: Instant::now() + RETIRED_DEADLINE });
        if self.retired.len() > RETIRED
            && let Some(oldest) = self.retired.pop_front()
        {
            self.fail_all_of(oldest.number, REPLACED);
        }
    }

    /// When the next one has to end.
    pub(super) fn retired_due(&self) -> Option<Instant> {
        self.retired.front().map(|oldest| oldest.until)
    }

    /// Ends those whose time is over.
    pub(super) fn end_overdue(&mut self) {
        while self.retired.front().is_some_and(|oldest| oldest.until <= Instant::now()) {
            let Some(oldest) = self.retired.pop_front() else { return };
            let waiting = oldest.instance.outstanding();
            tracing::warn!(
                component = %self.generation.label(),
                waiting,
                "a replaced instance still waited for answers and was ended"
            );
            self.fail_all_of(oldest.number, REPLACED);
        }
    }

    /// Gives an answer to the replaced instance that waits for it, if there is one.
    pub(super) async fn hand_to_retired(&mut self, token: Token, event: &Event) {
        let Some(at) = self.retired.iter().position(|retired| retired.instance.awaits(token)) else { return };
        let Some(retired) = self.retired.get_mut(at) else { return };
        let number = retired.number;
        match retired.instance.call(event).await {
            Ok(mut commands) => {
                let is_done = retired.instance.outstanding() == 0;
                commands.retain(|command| !command.is_interest());
                effects::apply(&self.worker, &self.seat, number, commands);
                if is_done {
                    self.retired.remove(at);
                    self.fail_all_of(number, REPLACED);
                }
            }
            Err(error) => {
                self.retired.remove(at);
                let failed = self.fail_all_of(number, "The controller failed while it worked on this call");
                fault!(
                    error,
                    error,
                    { component = %self.generation.label(), event = %Described(event), failed, },
                    "a replaced instance failed while it finished what it had begun"
                );
                self.worker.guest_failures.set(self.worker.guest_failures.get() + 1);
            }
        }
    }
}
