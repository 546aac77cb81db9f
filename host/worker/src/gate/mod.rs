//! Actions that wait for a verdict. Each component that guards an action is asked in its turn: the middleware in their
//! order, then the controller. One socket's actions keep their order, so what comes behind a waiting one waits too;
//! sockets never wait for each other. Who cannot decide, or is late, lets an action through only if its configuration
//! says so.

mod deed;
mod outward;
mod requests;
mod turn;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use sc_core::controller::{Event, Failure, Json, Line, Verdict};
use sc_core::ids::Token;
use sc_core::limits::VERDICT_DEADLINE;
use sc_core::log::FAULT;
use tokio::sync::oneshot;

pub(crate) use self::deed::Deed;
pub(crate) use self::outward::{Outward, Publication};
pub(crate) use self::requests::name_of;
pub(crate) use self::turn::{Behind, RawMessage, Turn};
use crate::dispatch;
use crate::seat::Seat;
use crate::socket::{Socket, State};
use crate::timers::Due;
use crate::worker::Worker;

/// How often deadlines are looked at: cheaper than a timer for each action, most of which are decided at once.
const SWEEP: Duration = Duration::from_secs(1);

/// The worker's actions that wait.
#[derive(Default)]
pub(crate) struct Gate {
    waiting: RefCell<HashMap<Token, Waiting, RandomState>>,
    outward: Outward,
    /// The wheel knows of the next look at the deadlines.
    swept: Cell<bool>,
}

struct Waiting {
    whose: Whose,
    /// Who decides.
    seat: usize,
    /// The instance it was given to; 0 while it is queued.
    instance: u64,
    until: Instant,
}

/// What waits for a verdict.
enum Whose {
    /// An action of a socket, which holds its token.
    Socket(Rc<Socket>, Deed),
    /// A request; its connection is told.
    Request(oneshot::Sender<Verdict>),
}

impl Gate {
    /// Whether anybody decides about such actions.
    pub(crate) fn covers(worker: &Worker, line: Line, name: &str) -> bool {
        worker.seats.iter().any(|seat| seat.guards.cover(line, name))
    }

    /// Whether anybody decides about any action on that line.
    pub(crate) fn has(worker: &Worker, line: Line) -> bool {
        worker.seats.iter().any(|seat| seat.guards.have(line))
    }

    /// Has an action decided about, and then done.
    pub(crate) fn pass(worker: &Rc<Worker>, socket: &Rc<Socket>, deed: Deed) {
        Self::ask_from(worker, socket, deed, 0);
    }

    /// Asks the next component that guards the action, from that place on; none means that it is done now.
    fn ask_from(worker: &Rc<Worker>, socket: &Rc<Socket>, deed: Deed, from: usize) {
        for seat in worker.seats.iter().skip(from) {
            let Some(line) = line_of(seat, socket, &deed) else { continue };
            if !seat.calls.is_full() {
                return Self::ask(worker, seat, socket, deed, line);
            }
            if !seat.fails_open.get() {
                let error = Failure::named("MiddlewareError", "The middleware has too much to decide");
                return deed.refuse(worker, seat, socket, &error, None);
            }
        }
        deed.perform(worker, socket);
    }

    fn ask(worker: &Worker, seat: &Seat, socket: &Rc<Socket>, deed: Deed, line: Line) {
        let name = deed.name().into();
        let action = Self::enter(worker, seat, Whose::Socket(Rc::clone(socket), deed));
        // Its data come with the call: of a client that is gone by then, nothing is kept.
        seat.calls.push_answer(Event::Action { action, line, socket: socket.id, name, data: None });
        let mut turn = socket.turn.borrow_mut();
        turn.note(seat);
        *held(&mut turn, line) = Some(action);
        if line == Line::PublishOut {
            worker.gate.outward.asked();
        }
    }

    /// Adds to those that wait.
    fn enter(worker: &Worker, seat: &Seat, whose: Whose) -> Token {
        let action = seat.calls.token();
        let waiting =
            Waiting { whose, seat: seat.index, instance: 0, until: Instant::now() + VERDICT_DEADLINE };
        worker.gate.waiting.borrow_mut().insert(action, waiting);
        if !worker.gate.swept.replace(true) {
            worker.timers.insert(Due::Verdicts, SWEEP);
        }
        action
    }

    /// Whether the action still waits for its verdict.
    pub(crate) fn is_waiting(&self, action: Token) -> bool {
        self.waiting.borrow().contains_key(&action)
    }

    /// An instance is about to decide; gives what it is shown of an action's data.
    pub(crate) fn give(worker: &Worker, action: Token, instance: u64) -> Option<Json> {
        let mut waiting = worker.gate.waiting.borrow_mut();
        let waiting = waiting.get_mut(&action)?;
        waiting.instance = instance;
        match &waiting.whose {
            Whose::Socket(_, deed) => deed.data(),
            Whose::Request(_) => None,
        }
    }

    /// Whether a socket's messages are decided about before anything is read in them.
    pub(crate) fn reads(worker: &Worker, socket: &Socket) -> bool {
        Self::covers(worker, Line::InboundRaw, "") || !socket.turn.borrow().messages.is_idle()
    }

    /// Has a message decided about, and then read.
    pub(crate) fn message(worker: &Rc<Worker>, socket: &Rc<Socket>, message: RawMessage) {
        let mut turn = socket.turn.borrow_mut();
        if turn.messages.is_held() {
            return turn.messages.queue(message);
        }
        drop(turn);
        Self::pass(worker, socket, Deed::Message(message));
    }

    /// A verdict on an action, by the component in that place. Only the first one counts.
    pub(crate) fn settle(worker: &Rc<Worker>, seat: &Seat, action: Token, verdict: Verdict) {
        let waiting = match worker.gate.waiting.borrow_mut().entry(action) {
            Entry::Occupied(waiting) if waiting.get().seat == seat.index => waiting.remove(),
            _ => return,
        };
        match waiting.whose {
            // A client that is gone does not mind.
            Whose::Request(tell) => drop(tell.send(verdict)),
            Whose::Socket(socket, deed) => Self::decided(worker, seat, &socket, deed, verdict),
        }
    }

    fn decided(worker: &Rc<Worker>, seat: &Seat, socket: &Rc<Socket>, mut deed: Deed, verdict: Verdict) {
        let line = deed.line();
        *held(&mut socket.turn.borrow_mut(), line) = None;
        if line == Line::PublishOut {
            worker.gate.outward.answered();
        }
        match verdict {
            Verdict::Allow => Self::ask_from(worker, socket, deed, seat.index + 1),
            Verdict::AllowWith(data) => match deed.replace(data) {
                Ok(()) => Self::ask_from(worker, socket, deed, seat.index + 1),
                Err(error) => {
                    tracing::error!(
                        target: FAULT,
                        component = %seat.label.borrow(),
                        line = line.as_str(),
                        error,
                        "new data are of no use"
                    );
                    deed.refuse(worker, seat, socket, &Failure::named("MiddlewareError", error), None);
                }
            },
            Verdict::Block { error, code } => deed.refuse(worker, seat, socket, &error, code),
            Verdict::BlockSilently | Verdict::Answer(_) => {
                if let Some(error) = deed.silence(socket) {
                    deed.end(worker, socket, &error, None);
                }
            }
        }
        Self::go_on(worker, socket, line);
    }

    /// Handles what waited behind an action, up to the next one that waits.
    fn go_on(worker: &Rc<Worker>, socket: &Rc<Socket>, line: Line) {
        let is_over = || socket.state.get() == State::Closing;
        let was_behind = socket.turn.borrow().is_behind();
        match line {
            Line::PublishOut => Outward::list(worker, socket),
            Line::InboundRaw => {
                while !is_over() {
                    let next = socket.turn.borrow_mut().messages.next();
                    let Some(message) = next else { break };
                    Self::pass(worker, socket, Deed::Message(message));
                }
            }
            _ => {
                while !is_over() {
                    let next = socket.turn.borrow_mut().packets.next();
                    let Some(Behind { event, data, call }) = next else { break };
                    dispatch::event(worker, socket, &event, data.as_deref(), call);
                }
            }
        }
        if was_behind && line != Line::PublishOut {
            // It waited for room; what it said meanwhile is only heard now.
            socket.last_heard.set(Instant::now());
            socket.changed.notify_one();
        }
        Outward::go_on(worker);
    }

    /// An instance is gone, and with it what it was to decide; gives how many actions these were.
    pub(crate) fn fail_all_of(worker: &Rc<Worker>, seat: &Seat, instance: u64, why: &str) -> usize {
        let lost = |waiting: &Waiting| waiting.seat == seat.index && waiting.instance == instance;
        let actions: Vec<Token> = {
            let gate = worker.gate.waiting.borrow();
            gate.iter().filter(|(_, waiting)| lost(waiting)).map(|(action, _)| *action).collect()
        };
        for action in &actions {
            Self::undecided(worker, seat, *action, &Failure::named("MiddlewareError", why));
        }
        actions.len()
    }

    /// There is nobody who could decide.
    pub(crate) fn refuse(worker: &Rc<Worker>, seat: &Seat, action: Token) {
        let why = "The middleware is down and being restarted";
        Self::undecided(worker, seat, action, &Failure::named("MiddlewareError", why));
    }

    /// Ends the wait of those whose deadline has passed.
    pub(crate) fn sweep(worker: &Rc<Worker>) {
        let now = Instant::now();
        let late: Vec<(Token, usize)> = {
            let waiting = worker.gate.waiting.borrow();
            let late = waiting.iter().filter(|(_, waiting)| waiting.until <= now);
            late.map(|(action, waiting)| (*action, waiting.seat)).collect()
        };
        let mut told = None;
        for (action, seat) in late {
            let Some(seat) = worker.seats.get(seat) else { continue };
            if told.replace(seat.index) != Some(seat.index) {
                let seconds = VERDICT_DEADLINE.as_secs();
                tracing::warn!(component = %seat.label.borrow(), seconds, "actions waited in vain for their verdicts");
            }
            let error = Failure::named("TimeoutError", "The action was not decided in time");
            Self::undecided(worker, seat, action, &error);
        }
        // Those that were asked about may have closed.
        Outward::go_on(worker);
        let is_needed = !worker.gate.waiting.borrow().is_empty() || worker.gate.outward.is_busy();
        worker.gate.swept.set(is_needed);
        if is_needed {
            worker.timers.insert(Due::Verdicts, SWEEP);
        }
    }

    fn undecided(worker: &Rc<Worker>, seat: &Seat, action: Token, error: &Failure) {
        let is_request = matches!(
            worker.gate.waiting.borrow().get(&action),
            Some(Waiting { whose: Whose::Request(_), .. })
        );
        let verdict = match error {
            _ if seat.fails_open.get() => Verdict::Allow,
            Failure::Error { message, .. } if is_request => Verdict::Answer(requests::unavailable(message)),
            _ => Verdict::Block { error: error.clone(), code: None },
        };
        Self::settle(worker, seat, action, verdict);
    }

    /// A socket is over: its actions will not be, and who was given one may forget it.
    pub(crate) fn forget(worker: &Worker, socket: &Socket) {
        let turn = socket.turn.take();
        let Turn { packets, messages, outward, .. } = &turn;
        for action in [packets.held, messages.held, outward.held].into_iter().flatten() {
            worker.gate.waiting.borrow_mut().remove(&action);
        }
        if outward.is_held() {
            worker.gate.outward.answered();
        }
        for seat in worker.seats.iter().filter(|seat| seat.guards.minds_ends() && turn.was_given(seat)) {
            seat.calls.push_answer(Event::SocketEnd { socket: socket.id });
        }
    }
}

/// The line on which a component decides about an action, if it does. Classic clients do not say whether their events
/// want an answer: who guards either kind is asked, once.
fn line_of(seat: &Seat, socket: &Socket, deed: &Deed) -> Option<Line> {
    let either = match (deed.line(), &socket.classic) {
        (Line::Invoke, Some(_)) => [Line::Invoke, Line::Transmit],
        (line, _) => [line; 2],
    };
    either.into_iter().find(|line| seat.guards.cover(*line, deed.name()))
}

/// The action of a socket that waits among those of its kind.
fn held(turn: &mut Turn, line: Line) -> &mut Option<Token> {
    match line {
        Line::PublishOut => &mut turn.outward.held,
        Line::InboundRaw => &mut turn.messages.held,
        _ => &mut turn.packets.held,
    }
}
