//! Who is who. A name is taken in the stores, once for all workers, and belongs to whoever holds its token: the browser
//! keeps that over reloads, and the host's key outlives a restart. A real app would ask for a password here.

use sc_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// The numbers of logins that ended. Clients can neither hear nor publish here.
const LOGOUTS: &str = "logouts";
/// How long a name is kept for somebody who stays away: 30 days.
const STAY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

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
    let is_fine = |c: char| c.is_alphanumeric() || " -_.'’".contains(c);
    let is_name = name.contains(char::is_alphanumeric) && name.chars().all(is_fine);
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
    if !worker.tree("names").compare_and_set(key(&name), None::<()>, Some(login)).await? {
        return Err(Problem::new("NameTakenError", format!("Somebody is called {name} already.")));
    }
    give_token(&socket, User { name, login, member_of: Vec::new() })
}

/// Gives a token with these claims to all tabs of the browser.
pub fn give_token(socket: &Socket, user: User) -> Result<(), Problem> {
    let worker = socket.worker();
    let token = worker.auth().sign(&user, Expires::after(STAY))?;
    worker.tree("names").expire(key(&user.name), STAY);
    socket.set_auth_token(&user, Expires::after(STAY));
    socket.session().transmit("token", token);
    Ok(())
}

pub async fn log_out(socket: Socket, _: ()) -> Result<(), Problem> {
    if let Some(user) = socket.auth_token::<User>() {
        let worker = socket.worker();
        worker.tree("names").compare_and_set(key(&user.name), Some(user.login), None::<()>).await?;
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

/// A name that was given up, or taken anew, is not this token's any more.
async fn verified(worker: Worker, user: User) -> Result<User, Problem> {
    match worker.tree("names").get::<i64>(key(&user.name)).await? {
        Some(login) if login == user.login => Ok(user),
        // The client forgets a token that is called bad.
        _ => Err(Problem::new("NotLoggedInError", "You were logged out.").with("isBadToken", true)),
    }
}

/// Says to those in a room who this is. Nobody hears a room after they logged out.
pub fn introduce(socket: &Socket, user: Option<User>) {
    if user.is_none() {
        socket.subscriptions().iter().for_each(|channel| socket.kick_out(channel, "You logged out."));
    }
    socket.describe(user.map(|user| json!({ "name": user.name })));
}
