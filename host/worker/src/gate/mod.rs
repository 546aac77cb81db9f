//! Actions that wait for a verdict. Each component that guards an action is asked in its turn: the middleware in their
//! order, then the controller. One socket's actions keep their order, so what comes behind a waiting one waits too;
//! sockets never wait for each other. Who cannot decide, or is late, lets an action through only if its configuration
//! says so.

mod deed;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use sc_core::controller::{Event, Failure, Json, Line, Verdict};
use sc_core::ids::{SocketId, Token};
use sc_core::limits::{GUEST_QUEUE_PER_SOCKET, VERDICT_DEADLINE};
use sc_wire::packet::Call;
use serde_json::value::RawValue;

pub(crate) use self::deed::Deed;
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
    /// The wheel knows of the next look at the deadlines.
    swept: Cell<bool>,
}

struct Waiting {
    socket: SocketId,
    /// Who decides.
    seat: usize,
    /// The instance it was given to; 0 while it is queued.
    instance: u64,
    until: Instant,
}

/// One socket's part: the action of it that waits, and the packets behind it.
#[derive(Default)]
pub(crate) struct Turn {
    held: Option<(Token, Deed)>,
    behind: VecDeque<Behind>,
}

/// A packet that waits for the one before it.
struct Behind {
    event: String,
    data: Option<Box<RawValue>>,
    call: Call,
}

impl Turn {
    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Whether the socket should not be read.
    pub(crate) fn is_full(&self) -> bool {
        self.behind.len() >= GUEST_QUEUE_PER_SOCKET
    }

    /// Queues a packet behind the one that waits.
    pub(crate) fn queue(&mut self, event: &str, data: Option<&RawValue>, call: Call) {
        self.behind.push_back(Behind { event: event.to_owned(), data: data.map(RawValue::to_owned), call });
    }
}

impl Gate {
    /// Whether anybody decides about such actions.
    pub(crate) fn covers(worker: &Worker, line: Line, name: &str) -> bool {
        worker.seats.iter().any(|seat| seat.guards.cover(line, name))
    }

    /// Has an action decided about, and then done.
    pub(crate) fn pass(worker: &Rc<Worker>, socket: &Rc<Socket>, deed: Deed) {
        Self::ask_from(worker, socket, deed, 0);
    }

    /// Asks the next component that guards the action, from that place on; none means that it is done now.
    fn ask_from(worker: &Rc<Worker>, socket: &Rc<Socket>, deed: Deed, from: usize) {
        for seat in worker.seats.iter().skip(from) {
            if !seat.guards.cover(deed.line(), deed.name()) {
                continue;
            }
            if !seat.calls.is_full() {
                return Self::ask(worker, seat, socket, deed);
            }
            if !seat.fails_open.get() {
                let error = Failure::named("MiddlewareError", "The middleware has too much to decide");
                return deed.refuse(worker, socket, &error, None);
            }
        }
        deed.perform(worker, socket);
    }

    fn ask(worker: &Worker, seat: &Seat, socket: &Rc<Socket>, deed: Deed) {
        let action = seat.calls.token();
        let until = Instant::now() + VERDICT_DEADLINE;
        let waiting = Waiting { socket: socket.id, seat: seat.index, instance: 0, until };
        worker.gate.waiting.borrow_mut().insert(action, waiting);
        if !worker.gate.swept.replace(true) {
            worker.timers.insert(Due::Verdicts, SWEEP);
        }
        let (line, name) = (deed.line(), deed.name().into());
        // Its data come with the call: of a client that is gone by then, nothing is kept.
        seat.calls.push_answer(Event::Action { action, line, socket: socket.id, name, data: None });
        socket.turn.borrow_mut().held = Some((action, deed));
    }

    /// Whether the action still waits for its verdict.
    pub(crate) fn is_waiting(&self, action: Token) -> bool {
        self.waiting.borrow().contains_key(&action)
    }

    /// An instance is about to decide; gives what it is shown.
    pub(crate) fn give(worker: &Worker, action: Token, instance: u64) -> Option<Json> {
        let id = {
            let mut waiting = worker.gate.waiting.borrow_mut();
            let waiting = waiting.get_mut(&action)?;
            waiting.instance = instance;
            waiting.socket
        };
        let socket = worker.hub.get(id)?;
        let turn = socket.turn.borrow();
        turn.held.as_ref().filter(|(held, _)| *held == action).and_then(|(_, deed)| deed.data())
    }

    /// A verdict on an action, by the component in that place. Only the first one counts.
    pub(crate) fn settle(worker: &Rc<Worker>, seat: &Seat, action: Token, verdict: Verdict) {
        let is_its =
            worker.gate.waiting.borrow().get(&action).is_some_and(|waiting| waiting.seat == seat.index);
        if !is_its {
            return;
        }
        let Some((socket, mut deed)) = Self::take(worker, action) else { return };
        match verdict {
            Verdict::Allow => Self::ask_from(worker, &socket, deed, seat.index + 1),
            Verdict::AllowWith(data) => {
                deed.replace(data);
                Self::ask_from(worker, &socket, deed, seat.index + 1);
            }
            Verdict::Block { error, code } => deed.refuse(worker, &socket, &error, code),
            Verdict::BlockSilently => {
                let error = deed.silence(&socket);
                deed.refuse(worker, &socket, &error, None);
            }
        }
        Self::go_on(worker, &socket);
    }

    /// Takes an action out of those that wait.
    fn take(worker: &Worker, action: Token) -> Option<(Rc<Socket>, Deed)> {
        let waiting = worker.gate.waiting.borrow_mut().remove(&action)?;
        let socket = worker.hub.get(waiting.socket)?;
        let held = socket.turn.borrow_mut().held.take_if(|(held, _)| *held == action);
        held.map(|(_, deed)| (socket, deed))
    }

    /// Handles what waited behind an action, up to the next one that waits.
    fn go_on(worker: &Rc<Worker>, socket: &Rc<Socket>) {
        while socket.state.get() != State::Closing && !socket.turn.borrow().is_held() {
            let next = socket.turn.borrow_mut().behind.pop_front();
            let Some(Behind { event, data, call }) = next else { break };
            dispatch::event(worker, socket, &event, data.as_deref(), call);
        }
        // It may have waited for room; what it said meanwhile is only heard now.
        socket.last_heard.set(Instant::now());
        socket.changed.notify_one();
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
                tracing::warn!(component = &*seat.name, seconds, "actions waited in vain for their verdicts");
            }
            let error = Failure::named("TimeoutError", "The action was not decided in time");
            Self::undecided(worker, seat, action, &error);
        }
        let is_needed = !worker.gate.waiting.borrow().is_empty();
        worker.gate.swept.set(is_needed);
        if is_needed {
            worker.timers.insert(Due::Verdicts, SWEEP);
        }
    }

    fn undecided(worker: &Rc<Worker>, seat: &Seat, action: Token, error: &Failure) {
        let verdict = match seat.fails_open.get() {
            true => Verdict::Allow,
            false => Verdict::Block { error: error.clone(), code: None },
        };
        Self::settle(worker, seat, action, verdict);
    }

    /// A socket is over: its actions will not be.
    pub(crate) fn forget(&self, socket: &Socket) {
        let Turn { held, .. } = socket.turn.take();
        if let Some((action, _)) = held {
            self.waiting.borrow_mut().remove(&action);
        }
    }
}
