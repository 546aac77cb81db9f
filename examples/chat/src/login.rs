//! Who is who. A name is taken in the stores, once for all workers, and belongs to whoever holds its token: the
//! browser keeps that over reloads, and the host's key outlives a restart. In the tree `names` a name holds the number
//! of its login, which expires by itself. A real app would ask for a password here.

use sc_sdk::Answer;
use sc_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::rooms;

/// The numbers of logins that ended. Clients can neither hear nor publish here.
const LOGOUTS: &str = "logouts";
/// How long a login is kept for somebody who stays away: 30 days.
const STAY: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long for somebody who never acted: the answer may have been lost, and the token with it.
const UNUSED: Duration = Duration::from_secs(30);
/// A token is good as long as its login is there. So it needs no end of its own.
const FOR_GOOD: Expires = Expires::in_days(36_500);

/// The claims of a token.
#[derive(Clone, Deserialize, Serialize)]
pub struct User {
    pub name: String,
    /// Under this number the name was taken.
    login: i64,
    /// The rooms with a word that they know.
    pub member_of: Vec<String>,
}

/// `Ann` and `ann` would be taken for each other.
fn key(name: &str) -> String {
    name.to_lowercase()
}

/// Two to twenty characters that can be read, one of them a letter or a digit.
pub fn checked_name(text: &str) -> Result<String, Problem> {
    let name = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // Some letters cannot be seen: they fill places in Korean. And from India to Cambodia, names have signs that are
    // no letters.
    let is_letter = |c: char| c.is_alphanumeric() && !"\u{115f}\u{1160}\u{3164}\u{ffa0}".contains(c);
    let is_sign = |c| " -_.'’".contains(c) || matches!(c, '\u{900}'..='\u{109f}' | '\u{17b6}'..='\u{17dd}');
    let is_name = name.contains(is_letter) && name.chars().all(|c| is_letter(c) || is_sign(c));
    match name.chars().count() {
        2..=20 if is_name => Ok(name),
        _ => Err(Problem::new("NameError", "A name has 2 to 20 letters, digits, spaces or - _ . ’")),
    }
}

pub async fn log_in(socket: Socket, name: String) -> Result<(), Problem> {
    if socket.is_authenticated() {
        return Err(Problem::new("LoggedInError", "You are logged in already."));
    }
    let (worker, name) = (socket.worker(), checked_name(&name)?);
    let login = worker.tree("chat").increment("logins", 1).await?;
    let (names, user) = (worker.tree("names"), User { name, login, member_of: Vec::new() });
    // All goes out in one call: no login is ever there without an end. If the name holds another one, nothing changes.
    names.compare_and_set(key(&user.name), None::<()>, Some(json!({})));
    let login = json!({ login.to_string(): true });
    let was_free = names.compare_and_set(key(&user.name), Some(json!({})), Some(login));
    keep(worker, &user, UNUSED);
    if !was_free.await? {
        return Err(Problem::new("NameTakenError", format!("Somebody is called {} already.", user.name)));
    }
    give_token(&socket, user)
}

/// Keeps a login for that long from now on, if it is still there, and tells whether it is.
fn keep(worker: Worker, user: &User, time: Duration) -> Answer<bool> {
    let names = worker.tree("names");
    // What a login leaves behind when it expires is the name with nothing in it. That goes as well.
    names.expire(key(&user.name), STAY);
    names.expire([key(&user.name), user.login.to_string()], time)
}

/// Gives a token with these claims to all tabs of the browser.
pub fn give_token(socket: &Socket, user: User) -> Result<(), Problem> {
    let worker = socket.worker();
    let token = worker.auth().sign(&user, FOR_GOOD)?;
    socket.set_auth_token(&user, FOR_GOOD);
    socket.session().transmit("token", token);
    Ok(())
}

pub async fn log_out(socket: Socket, _: ()) -> Result<(), Problem> {
    if let Some(user) = socket.auth_token::<User>() {
        let worker = socket.worker();
        worker.tree("names").discard([key(&user.name), user.login.to_string()]).await?;
        worker.exchange().publish(LOGOUTS, user.login);
    }
    socket.deauthenticate();
    Ok(())
}

/// Ends a login wherever its token went: other tabs, and browsers that it was copied to.
pub fn follow_logouts(worker: Worker) {
    worker.exchange().subscribe(LOGOUTS, move |login: i64| {
        for socket in worker.sockets() {
            if socket.auth_token::<User>().is_some_and(|user| user.login == login) {
                socket.deauthenticate();
            }
        }
    });
}

/// Who acts; an error for somebody who is not logged in, here or any more.
pub async fn user(socket: &Socket) -> Result<User, Problem> {
    match socket.auth_token::<User>() {
        Some(user) => verified(socket.worker(), user).await,
        None => Err(Problem::new("NotLoggedInError", "Log in first.")),
    }
}

/// What a token is checked for beyond its signature.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offered {
    auth_token: User,
}

pub async fn verify(worker: Worker, offered: Offered) -> Result<(), Problem> {
    verified(worker, offered.auth_token).await.map(drop)
}

/// A name that was given up, or taken anew, is not this token's any more. Whoever acts keeps theirs.
async fn verified(worker: Worker, user: User) -> Result<User, Problem> {
    match keep(worker, &user, STAY).await? {
        true => Ok(user),
        // The client forgets a token that is called bad.
        false => Err(Problem::new("NotLoggedInError", "You were logged out.").with("isBadToken", true)),
    }
}

/// Says to those in a room who this is. Nobody goes on to hear what only the token before gave a right to.
pub fn introduce(socket: &Socket, user: Option<User>) {
    for channel in socket.subscriptions() {
        if !user.as_ref().is_some_and(|user| rooms::admit(socket.worker(), user, &channel)) {
            socket.kick_out(&channel, "You may not hear this any more.");
        }
    }
    socket.describe(user.map(|user| json!({ "name": user.name })));
}
