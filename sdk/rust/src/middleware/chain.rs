//! The handlers of an instance, and an action's way through those that take it: one after the other, each on what the
//! one before it let through. Most decide without waiting, so each is one allocation and no task.

use std::cell::RefCell;
use std::rc::Rc;

use wildmatch::WildMatch;

use super::verdict::Outcome;
use super::{Action, Line, Verdict};
use crate::{Problem, Response, executor, host};

struct Handler {
    line: Line,
    like: WildMatch,
    ask: Box<dyn Fn(Turn)>,
}

thread_local! {
    static HANDLERS: RefCell<Vec<Rc<Handler>>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn add(
    line: Line,
    pattern: &str,
    handler: impl AsyncFn(Action) -> Result<Verdict, Problem> + 'static,
) {
    let handler = Rc::new(handler);
    let ask = Box::new(move |turn: Turn| {
        let handler = Rc::clone(&handler);
        executor::begin(async move {
            let verdict = handler(turn.action.clone()).await;
            turn.decided(verdict);
        });
    });
    let lines: &[Line] = if line == Line::Event { &[Line::Transmit, Line::Invoke] } else { &[line] };
    for line in lines {
        host::guard(line.word(), pattern);
    }
    HANDLERS.with_borrow_mut(|handlers| {
        handlers.push(Rc::new(Handler { line, like: WildMatch::new(pattern), ask }));
    });
}

/// An action that no handler takes. The host asks only where one was added: by an instance before this one, which has
/// not added its own yet.
pub(super) fn not_ready(id: u64) {
    let problem = Problem::new("MiddlewareError", "The middleware is not ready yet");
    host::block(id, &problem.to_failure());
}

/// An action on its way.
pub(super) struct Turn {
    id: u64,
    action: Action,
    /// The place of the next handler to be asked.
    next: usize,
    changed: bool,
}

impl Turn {
    /// Has an action decided about.
    pub(super) fn begin(id: u64, action: Action) {
        let mut turn = Turn { id, action, next: 0, changed: false };
        match turn.find() {
            Some(handler) => (handler.ask)(turn),
            None => not_ready(id),
        }
    }

    fn find(&mut self) -> Option<Rc<Handler>> {
        let (line, name) = (self.action.line(), self.action.name());
        HANDLERS.with_borrow(|handlers| {
            let rest = handlers.iter().enumerate().skip(self.next);
            let mut takers =
                rest.filter(|(_, handler)| handler.line.takes(line) && handler.like.matches(name));
            let (place, handler) = takers.next()?;
            self.next = place + 1;
            Some(Rc::clone(handler))
        })
    }

    /// A handler has decided.
    fn decided(mut self, verdict: Result<Verdict, Problem>) {
        let (id, line) = (self.id, self.action.line());
        match verdict.map(|verdict| verdict.0) {
            Ok(Outcome::Allow) => {}
            Ok(Outcome::AllowWith(data)) => {
                self.action = self.action.with(data);
                self.changed = true;
            }
            Ok(Outcome::Block(problem)) | Err(problem) => return block(id, line, &problem),
            Ok(Outcome::Reject(problem, _)) if line.is_http() => return block(id, line, &problem),
            Ok(Outcome::Reject(problem, code)) => return host::reject(id, &problem.to_failure(), code),
            Ok(Outcome::Silent) => return host::block_silently(id),
            Ok(Outcome::Answer(answer)) => return answer.decide(id),
        }
        match self.find() {
            Some(handler) => (handler.ask)(self),
            None if self.changed => host::allow_with(id, self.action.text()),
            None => host::allow(id),
        }
    }
}

fn block(id: u64, line: Line, problem: &Problem) {
    match problem.status().filter(|_| line.is_http()) {
        Some(status) => Response::text(problem.message()).with_status(status).decide(id),
        None => host::block(id, &problem.to_failure()),
    }
}
