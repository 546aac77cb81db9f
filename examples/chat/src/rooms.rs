//! Rooms and what was said in them. The channel `room.<id>` is the room itself: who subscribes is there. Who is not,
//! but may be, hears on `last.<id>` how many messages there are.

use std::collections::BTreeMap;

use sc_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::login::{self, User, checked_name, give_token};
use crate::{limit, now};

/// The messages of a room that are kept.
const KEPT: i64 = 100;
/// How long a message is known again that is sent once more, because no answer came.
const KNOWN: Duration = Duration::from_secs(10 * 60);
const TEXT_MAX: usize = 1_000;
const ROOMS_MAX: usize = 30;

#[derive(Deserialize)]
struct Config {
    rooms: Vec<Room>,
}

#[derive(Clone, Deserialize, Serialize)]
pub struct Room {
    id: String,
    title: String,
    #[serde(default)]
    topic: String,
    /// Members are those who know it; without one, everybody is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    word: Option<String>,
}

impl Room {
    fn admits(&self, user: &User) -> bool {
        self.word.is_none() || user.member_of.contains(&self.id)
    }
}

pub fn check_config(worker: Worker) -> Result<(), Problem> {
    worker.config::<Config>().map(drop)
}

/// Those of `sc.toml`, and then those that somebody opened.
async fn all(worker: Worker) -> Result<Vec<Room>, Problem> {
    let mut rooms = worker.config::<Config>()?.rooms;
    rooms.extend(worker.tree("chat").get::<Vec<Room>>("rooms").await?.unwrap_or_default());
    Ok(rooms)
}

/// Whether the rooms of `sc.toml`, which alone have words, let somebody hear a channel.
pub fn admit(worker: Worker, user: &User, channel: &str) -> bool {
    let id = channel.split_once('.').map_or("", |(_, id)| id);
    let admits = |room: &Room| room.id != id || room.admits(user);
    worker.config::<Config>().is_ok_and(|config| config.rooms.iter().all(admits))
}

async fn find(worker: Worker, user: &User, id: &str) -> Result<Room, Problem> {
    match all(worker).await?.into_iter().find(|room| room.id == id) {
        Some(room) if room.admits(user) => Ok(room),
        Some(room) => Err(Problem::new("MembersOnlyError", format!("{} is for members.", room.title))),
        None => Err(Problem::new("NoRoomError", "There is no such room.")),
    }
}

pub async fn may_hear(worker: Worker, user: &User, channel: &str) -> Result<(), Problem> {
    match channel.split_once('.') {
        Some(("room" | "last", id)) => find(worker, user, id).await.map(drop),
        _ if channel == "rooms" => Ok(()),
        _ => Err(Problem::new("NoRoomError", "There is no such room.")),
    }
}

pub async fn may_speak(worker: Worker, user: &User, channel: &str) -> Result<Room, Problem> {
    match channel.strip_prefix("room.") {
        Some(id) => find(worker, user, id).await,
        None => Err(Problem::new("NoRoomError", "There is no such room.")),
    }
}

/// What a client publishes.
#[derive(Deserialize)]
pub struct Draft {
    text: String,
    /// By this a client finds its own message again, and so does the server.
    tag: String,
}

/// What everybody hears.
#[derive(Deserialize, Serialize)]
pub struct Message {
    id: i64,
    by: String,
    /// In milliseconds since 1970.
    at: u64,
    text: String,
    tag: String,
}

/// Makes a message of a draft and keeps it before anybody hears it: who comes later misses nothing.
pub async fn record(worker: Worker, user: &User, room: &Room, draft: Draft) -> Result<Message, Problem> {
    let text = draft.text.trim();
    match text.chars().count() {
        0 => return Err(Problem::new("EmptyError", "A message needs some text.")),
        count if count > TEXT_MAX => {
            let message = format!("That is too long by {} characters.", count - TEXT_MAX);
            return Err(Problem::new("TooLongError", message));
        }
        _ => {}
    }
    let history = worker.tree("history");
    let tag: String = draft.tag.chars().take(40).collect();
    let sent = ["sent", &format!("{}/{}/{tag}", room.id, user.name)];
    if let Some(message) = history.get(sent).await? {
        return Ok(message); // who hears it again knows its number
    }
    let id = history.increment(["last", &room.id], 1).await?;
    let message = Message { id, by: user.name.clone(), at: now(), text: text.to_owned(), tag };
    history.set(sent, &message);
    history.expire(sent, KNOWN);
    // A ring: one write keeps this message and forgets the one a hundred before it.
    history.set(["messages", &room.id, &(id % KEPT).to_string()], &message).await?;
    worker.exchange().publish(&format!("last.{}", room.id), id);
    Ok(message)
}

#[derive(Deserialize)]
pub struct Since {
    room: String,
    /// Newer than the message with this number.
    #[serde(default)]
    after: i64,
}

pub async fn history(socket: Socket, Since { room, after }: Since) -> Result<Vec<Message>, Problem> {
    let (worker, user) = (socket.worker(), login::user(&socket).await?);
    let room = find(worker, &user, &room).await?;
    let ring: BTreeMap<String, Message> =
        worker.tree("history").get(["messages", &room.id]).await?.unwrap_or_default();
    let mut messages: Vec<_> = ring.into_values().filter(|message| message.id > after).collect();
    messages.sort_by_key(|message| message.id);
    Ok(messages)
}

/// A room as its visitors see it: never its word, and how much was said there only if they may hear it.
fn shown(room: &Room, is_locked: bool, last: i64) -> Json {
    json!({ "id": room.id, "title": room.title, "topic": room.topic, "locked": is_locked, "last": last })
}

pub async fn list(socket: Socket, _: ()) -> Result<Vec<Json>, Problem> {
    let (worker, user) = (socket.worker(), login::user(&socket).await?);
    let last: BTreeMap<String, i64> = worker.tree("history").get("last").await?.unwrap_or_default();
    let show = |room: &Room| match room.admits(&user) {
        true => shown(room, false, last.get(&room.id).copied().unwrap_or(0)),
        false => shown(room, true, 0),
    };
    Ok(all(worker).await?.iter().map(show).collect())
}

#[derive(Deserialize)]
pub struct Join {
    room: String,
    word: String,
}

/// Makes somebody a member. That stands in their token from then on.
pub async fn join(socket: Socket, Join { room: id, word }: Join) -> Result<(), Problem> {
    let (worker, mut user) = (socket.worker(), login::user(&socket).await?);
    limit(worker, "join", &user.name, 5).await?;
    let is_it = |room: &Room| room.id == id && room.word.as_deref() == Some(word.trim());
    if !all(worker).await?.iter().any(is_it) {
        return Err(Problem::new("WrongWordError", "That is not the word."));
    }
    if !user.member_of.contains(&id) {
        user.member_of.push(id);
    }
    give_token(&socket, user)
}

/// Opens a room, and answers with its id.
pub async fn create(socket: Socket, title: String) -> Result<String, Problem> {
    let (worker, user) = (socket.worker(), login::user(&socket).await?);
    limit(worker, "create", &user.name, 3).await?;
    let title = checked_name(&title)?;
    let room = Room {
        id: title.to_lowercase().replace(|c: char| !c.is_alphanumeric(), "-"),
        topic: format!("Opened by {}", user.name),
        title,
        word: None,
    };
    // A room that `sc.toml` no longer has left its history here, which may be for members only.
    let is_known = worker.tree("history").has(["last", &room.id]).await?;
    if is_known || all(worker).await?.iter().any(|other| other.id == room.id) {
        return Err(Problem::new("RoomTakenError", "There is, or was, a room of that name."));
    }
    // All or nothing: two who open rooms at once never lose one, nor make one too many.
    let opened: Option<Vec<Room>> = worker.tree("chat").get("rooms").await?;
    let mut rooms = opened.clone().unwrap_or_default();
    if rooms.len() >= ROOMS_MAX {
        return Err(Problem::new("TooManyRoomsError", "There are as many rooms as there may be."));
    }
    rooms.push(room.clone());
    if !worker.tree("chat").compare_and_set("rooms", opened, Some(rooms)).await? {
        return Err(Problem::new("RoomTakenError", "Somebody was faster. Try again."));
    }
    worker.exchange().publish("rooms", shown(&room, false, 0));
    Ok(room.id)
}

/// Tells a room that somebody writes there.
pub async fn typing(socket: Socket, room: String) -> Result<(), Problem> {
    let (worker, user) = (socket.worker(), login::user(&socket).await?);
    let channel = format!("room.{room}");
    if socket.is_subscribed(&channel) {
        limit(worker, "typing", &user.name, 10).await?;
        worker.exchange().publish(&channel, json!({ "typing": user.name }));
    }
    Ok(())
}
