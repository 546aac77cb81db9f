//! What becomes of an action.

use serde::Serialize;

use crate::{Problem, Response, payload};

/// What becomes of an action: [`allow`], [`allow_with`], [`block`], [`reject`], [`block_silently`] and [`respond`]
/// make one.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict(pub(super) Outcome);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    Allow,
    AllowWith(Option<String>),
    Block(Problem),
    Reject(Problem, u16),
    Silent,
    Answer(Response),
}

/// The action goes on.
///
/// # Errors
/// None: it is a `Result` because handlers return one.
///
/// ```no_run
/// # use sc_sdk::middleware::prelude::*;
/// # fn example(chain: &Middleware) {
/// chain.on(Line::Event, async |action| {
///     info!("{} sends {}", action.socket().name(), action.event());
///     allow()
/// });
/// # }
/// ```
pub fn allow() -> Result<Verdict, Problem> {
    Ok(Verdict(Outcome::Allow))
}

/// The action goes on with other data; a message with another text. Requests, handshakes and what a token says cannot
/// be changed.
///
/// # Errors
/// An `InvalidDataError` when the data cannot be put into JSON.
///
/// ```no_run
/// # use sc_sdk::middleware::prelude::*;
/// # fn example(chain: &Middleware) {
/// chain.on(Line::PublishIn, async |action| {
///     let text: String = action.data()?;
///     allow_with(json!({ "from": action.socket().name(), "text": text }))
/// });
/// # }
/// ```
pub fn allow_with(data: impl Serialize) -> Result<Verdict, Problem> {
    match payload::encode(&data) {
        Ok(data) => Ok(Verdict(Outcome::AllowWith(data))),
        Err(error) => {
            Err(Problem::new("InvalidDataError", format!("the new data do not fit into JSON: {error}")))
        }
    }
}

/// The action ends here, and its client gets an error with that name and message. `Err` of a [`Problem`] does the
/// same. An upgrade is answered with 401 and the message as text, a request with 403, or both with the `status` that a
/// problem has among its members (400 to 599).
///
/// # Errors
/// None: it is a `Result` because handlers return one.
///
/// ```no_run
/// # use sc_sdk::middleware::prelude::*;
/// # fn example(chain: &Middleware) {
/// chain.on_matching(Line::Subscribe, "vip.*", async |action| {
///     match action.session().get::<bool>("isUserAuthorized").await? {
///         Some(true) => allow(),
///         _ => block("NotAuthorizedError", "vip channels need a login"),
///     }
/// });
/// # }
/// ```
pub fn block(name: &str, message: impl Into<String>) -> Result<Verdict, Problem> {
    Ok(Verdict(Outcome::Block(Problem::new(name, message))))
}

/// Blocks a handshake and closes its socket with that code: 1000 or from 3000 to 4999. Clients do not come back by
/// themselves after 4500 and above. On other lines the code means nothing.
///
/// # Errors
/// None: it is a `Result` because handlers return one.
///
/// ```no_run
/// # use sc_sdk::middleware::prelude::*;
/// # fn example(chain: &Middleware) {
/// chain.on(Line::Handshake, async |action| match action.socket().query() {
///     "key=secret" => allow(),
///     _ => reject(4501, Problem::new("KeyError", "this needs a key")),
/// });
/// # }
/// ```
pub fn reject(code: u16, problem: Problem) -> Result<Verdict, Problem> {
    Ok(Verdict(Outcome::Reject(problem, code)))
}

/// The action ends here, and its client is not told why.
///
/// # Errors
/// None: it is a `Result` because handlers return one.
///
/// ```no_run
/// # use sc_sdk::middleware::prelude::*;
/// # fn example(chain: &Middleware) {
/// chain.on(Line::PublishIn, async |_action| block_silently());
/// # }
/// ```
pub fn block_silently() -> Result<Verdict, Problem> {
    Ok(Verdict(Outcome::Silent))
}

/// Answers a request in place of what it asked for. An upgrade takes an error only; on other lines it is
/// [`block_silently`].
///
/// # Errors
/// None: it is a `Result` because handlers return one.
///
/// ```no_run
/// # use sc_sdk::middleware::prelude::*;
/// # fn example(chain: &Middleware) {
/// chain.on_matching(Line::Request, "/admin/*", async |action| match action.session().get_auth::<Json>().await? {
///     Some(_) => allow(),
///     None => respond(Response::redirect("/login")),
/// });
/// # }
/// ```
pub fn respond(answer: Response) -> Result<Verdict, Problem> {
    Ok(Verdict(Outcome::Answer(answer)))
}
