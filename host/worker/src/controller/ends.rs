//! The ends of sockets since a swap that is not final. The generation before may come back with the state that it had
//! at the swap, in which these sockets live on: then it is told of their ends, of each once.

use std::collections::VecDeque;
use std::rc::Rc;

use sc_core::controller::{ControllerSource, Event, SocketInfo};

use super::Driver;
use crate::socket::Socket;

/// Ends that are kept; past that the oldest are forgotten.
const ENDS: usize = 100_000;

/// The ends, oldest first.
#[derive(Default)]
pub(super) struct Ends {
    /// The closing event, with the info of a socket that was open. Not the socket itself, which would keep its
    /// connection alive.
    kept: VecDeque<(Event, Option<SocketInfo>)>,
    are_lost: bool,
}

impl Ends {
    fn keep(&mut self, end: Event, socket: Option<SocketInfo>) {
        if self.kept.len() >= ENDS {
            self.kept.pop_front();
            if !std::mem::replace(&mut self.are_lost, true) {
                tracing::warn!(
                    limit = ENDS,
                    "so many sockets close during a swap that some ends are forgotten"
                );
            }
        }
        self.kept.push_back((end, socket));
    }
}

impl<S: ControllerSource + 'static> Driver<S> {
    /// Keeps an end that the generation before is not going to be told of, while that may come back with its state.
    pub(super) fn note_end(&mut self, event: &Event, socket: Option<&Rc<Socket>>) {
        let Some(previous) = self.previous.as_mut().filter(|previous| previous.snapshot.is_some()) else {
            return;
        };
        // Of what opened since the swap that state knows nothing.
        let is_known = socket.is_none_or(|socket| socket.opened_to.get() <= previous.number);
        if is_known && matches!(event, Event::Close { .. } | Event::SocketEnd { .. }) {
            previous.ends.keep(event.clone(), socket.map(|socket| socket.info()));
        }
    }

    /// Queues the ends ahead of everything else. A fresh instance has to know a socket before it can hear of its end.
    pub(super) fn tell_ends(&self, ends: Ends) {
        for (end, socket) in ends.kept.into_iter().rev() {
            self.seat.calls.put_back(end, None);
            if let Some(info) = socket {
                self.seat.calls.put_back(Event::Resume(info), None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sc_core::ids::SocketId;

    use super::*;

    #[test]
    fn of_too_many_the_oldest_are_forgotten() {
        let mut ends = Ends::default();
        let end = |number| Event::SocketEnd { socket: SocketId(number) };
        (0..=ENDS as u64).for_each(|number| ends.keep(end(number), None));
        assert_eq!(ends.kept.len(), ENDS);
        assert_eq!(ends.kept.front().map(|(event, _)| event), Some(&end(1)));
        assert!(ends.are_lost);
    }
}
