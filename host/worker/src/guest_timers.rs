//! The instances' timers. A timer that is due waits in the controller's queue at most once, so an instance
//! that is late gets one call for several missed turns.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use sc_core::controller::Event;
use sc_core::ids::Token;

use crate::seat::Seat;
use crate::timers::{Due, Key};
use crate::worker::Worker;

struct Timer {
    /// Whose it is.
    instance: u64,
    key: Option<Key>,
    period: Duration,
    repeat: bool,
    next: Instant,
}

/// The timers by token.
#[derive(Default)]
pub(crate) struct GuestTimers(RefCell<HashMap<Token, Timer, RandomState>>);

impl GuestTimers {
    pub(crate) fn start(
        worker: &Worker,
        seat: &Seat,
        instance: u64,
        token: Token,
        period: Duration,
        repeat: bool,
    ) {
        let period = if repeat { period.max(Duration::from_millis(1)) } else { period };
        let key = Some(worker.timers.insert(Due::Guest(seat.index, token), period));
        let next = Instant::now() + period;
        seat.timers.0.borrow_mut().insert(token, Timer { instance, key, period, repeat, next });
    }

    /// The wheel says that a timer is due.
    pub(crate) fn due(&self, seat: &Seat, token: Token) {
        if let Some(timer) = self.0.borrow_mut().get_mut(&token) {
            timer.key = None;
            seat.calls.push_answer(Event::Timer { token, last: !timer.repeat });
        }
    }

    /// The instance is about to get the turn: false when it cancelled the timer meanwhile. A repeating one is armed
    /// for its next turn, without making up for missed ones.
    pub(crate) fn take_turn(worker: &Worker, seat: &Seat, token: Token) -> bool {
        let mut timers = seat.timers.0.borrow_mut();
        let Some(timer) = timers.get_mut(&token) else { return false };
        if timer.repeat {
            let now = Instant::now();
            timer.next += timer.period;
            if timer.next < now {
                timer.next = now + timer.period;
            }
            timer.key = Some(worker.timers.insert(Due::Guest(seat.index, token), timer.next - now));
        } else {
            timers.remove(&token);
        }
        true
    }

    pub(crate) fn cancel(&self, worker: &Worker, token: Token) {
        if let Some(Timer { key: Some(key), .. }) = self.0.borrow_mut().remove(&token) {
            worker.timers.remove(&key);
        }
    }

    /// An instance is gone, and its timers with it.
    pub(crate) fn cancel_all_of(&self, worker: &Worker, instance: u64) {
        self.cancel_those(worker, |timer| timer.instance == instance);
    }

    /// An instance was replaced: it hears only what it waits for once.
    pub(crate) fn end_repeats_of(&self, worker: &Worker, instance: u64) {
        self.cancel_those(worker, |timer| timer.instance == instance && timer.repeat);
    }

    fn cancel_those(&self, worker: &Worker, end: impl Fn(&Timer) -> bool) {
        for (_, timer) in self.0.borrow_mut().extract_if(|_, timer| end(timer)) {
            if let Some(key) = &timer.key {
                worker.timers.remove(key);
            }
        }
    }
}
