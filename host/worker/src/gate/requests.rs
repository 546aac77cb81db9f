//! Requests that wait for a verdict, upgrades among them: their connection waits, and nothing else does. A client that
//! goes away takes its request back.

use std::rc::Rc;

use percent_encoding::percent_decode_str;
use sc_core::controller::{Event, Failure, HttpResponse, Line, RequestHead, Verdict};
use sc_core::ids::Token;
use sc_core::log::{self, NOTICE};
use tokio::sync::oneshot;

use super::{Gate, Whose};
use crate::seat::Seat;
use crate::sessions::Session;
use crate::upgrade::Head;
use crate::worker::Worker;
use sc_core::client::Client;

/// Takes a request out of those that wait when its client is gone.
struct Place<'w> {
    worker: &'w Worker,
    action: Token,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.worker.gate.waiting.borrow_mut().remove(&self.action);
    }
}

impl Gate {
    /// Has a request decided about. When it ends here, the error is the answer to it.
    pub(crate) async fn admit(
        worker: &Rc<Worker>,
        line: Line,
        name: &str,
        head: &Head<'_>,
        client: Client,
        session: &Session,
    ) -> Result<(), HttpResponse> {
        for seat in &worker.seats {
            if !seat.guards.cover(line, name) {
                continue;
            }
            if seat.calls.is_full() {
                if seat.fails_open.get() {
                    continue;
                }
                let refused = unavailable("The middleware has too much to decide");
                return Err(blocked_by(seat, line, name, client, refused));
            }
            let (tell, told) = oneshot::channel();
            let action = Self::enter(worker, seat, Whose::Request(tell));
            let place = Place { worker, action };
            let request = Box::new(describe(head, client, session));
            seat.calls.push_answer(Event::RequestAction { action, line, name: name.into(), request });
            // What waits is told in any case: by its verdict, its deadline, or the end of who decides.
            let verdict = told.await.unwrap_or(Verdict::BlockSilently);
            drop(place);
            let refused = match verdict {
                Verdict::Allow | Verdict::AllowWith(_) => continue,
                Verdict::Answer(answer) => answer,
                Verdict::Block { error: Failure::Text(text), .. } => blocked(line, &text),
                Verdict::Block { error: Failure::Error { message, .. }, .. } => blocked(line, &message),
                Verdict::BlockSilently => blocked(line, silence(line)),
            };
            return Err(blocked_by(seat, line, name, client, refused));
        }
        Ok(())
    }
}

/// Notes who ended a request, and gives its answer.
fn blocked_by(seat: &Seat, line: Line, name: &str, client: Client, answer: HttpResponse) -> HttpResponse {
    // A page that is shown in the place of another one is no refusal.
    if answer.status >= 400 {
        tracing::info!(
            target: NOTICE,
            component = %seat.label.borrow(),
            line = line.as_str(),
            name = log::name(name),
            status = answer.status,
            address = %client.address,
            "a request was blocked"
        );
    }
    answer
}

/// The path that guards are compared with: decoded and without empty parts, as whoever serves it may take it. None
/// when it has parts that lead elsewhere, so that who guards and who serves could take it for different ones.
pub(crate) fn name_of(path: &str) -> Option<String> {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let mut name = String::with_capacity(decoded.len());
    for part in decoded.split(['/', '\\']).filter(|part| !part.is_empty()) {
        if matches!(part, "." | "..") {
            return None;
        }
        name.push('/');
        name.push_str(part);
    }
    if name.is_empty() || decoded.ends_with('/') {
        name.push('/');
    }
    Some(name)
}

fn describe(head: &Head<'_>, client: Client, session: &Session) -> RequestHead {
    let headers = head.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()));
    RequestHead {
        method: head.method.to_owned(),
        path: head.path().to_owned(),
        query: head.query().to_owned(),
        headers: headers.collect(),
        address: client.address.to_string(),
        secure: client.secure,
        session: session.id.clone(),
    }
}

/// Source of status and texts of an upgrade: what socketcluster-server 20.0.1 answers to one that is blocked.
fn blocked(line: Line, why: &str) -> HttpResponse {
    let status = if line == Line::Upgrade { 401 } else { 403 };
    answer(status, why)
}

fn silence(line: Line) -> &'static str {
    match line {
        Line::Upgrade => "The handshakeWS AGAction was blocked by handshake middleware",
        _ => "The request was blocked",
    }
}

/// Nobody can decide now.
pub(super) fn unavailable(why: &str) -> HttpResponse {
    let mut answer = answer(503, why);
    answer.headers.push(("retry-after".to_owned(), b"1".to_vec()));
    answer
}

fn answer(status: u16, text: &str) -> HttpResponse {
    let kind = ("content-type".to_owned(), b"text/plain; charset=utf-8".to_vec());
    HttpResponse { status, headers: vec![kind], body: text.into() }
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn a_path_has_one_name_however_it_is_written() {
        for path in ["/admin/x", "/%61dmin/x", "//admin//x", "/admin%2Fx", "/admin%5cx", "/%61%64min%2f/x"] {
            assert_eq!(name_of(path).as_deref(), Some("/admin/x"), "{path}");
        }
        for path in ["/a/../admin/x", "/./admin", "/a/%2e%2e/admin", "/a%2f..%2fadmin", "/admin/.."] {
            assert_eq!(name_of(path), None, "{path}");
        }
        for (path, name) in
            [("/", "/"), ("", "/"), ("//", "/"), ("/a/", "/a/"), ("/..a", "/..a"), ("/%2561", "/%61")]
        {
            assert_eq!(name_of(path).as_deref(), Some(name), "{path}");
        }
    }
}
