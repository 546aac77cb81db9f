//! The bodies of requests and answers, as JSON.

use sc_core::link::control::{ApiCall, Whom};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Largest reason of a close frame in bytes.
const REASON_MAX: usize = 123;
/// Largest name of a channel or an event in bytes.
const NAME_MAX: usize = 1024;

/// `POST /api/publish`
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Publish {
    /// The channel.
    pub(crate) channel: String,
    /// Any value; absent for no data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Box<RawValue>>,
}

/// `POST /api/emit`: an event to the sockets of a session, or to one socket.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Emit {
    /// A session's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
    /// Else a socket's id, as clients see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) socket: Option<String>,
    /// The event's name.
    pub(crate) event: String,
    /// Any value; absent for no data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Box<RawValue>>,
}

/// `POST /api/disconnect`
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Disconnect {
    /// A session's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
    /// Else a socket's id, as clients see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) socket: Option<String>,
    /// The close code: 1000, or 3000 to 4999.
    #[serde(default = "normal")]
    pub(crate) code: u16,
    /// At most 123 bytes.
    #[serde(default)]
    pub(crate) reason: String,
}

fn normal() -> u16 {
    1000
}

/// `POST /api/kick`: ends subscriptions.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kick {
    /// A session's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
    /// Else a socket's id, as clients see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) socket: Option<String>,
    /// The channel.
    pub(crate) channel: String,
    /// Why, for the client.
    #[serde(default)]
    pub(crate) message: String,
}

/// `POST /api/reload`, on the Unix socket only.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Reload {
    /// Components by name; none for all.
    pub(crate) names: Vec<String>,
    /// The file that one named component is to be loaded from, absolute; else the configuration's.
    pub(crate) component: Option<std::path::PathBuf>,
    /// Whether a component may import more than the running one.
    pub(crate) allow_new_imports: bool,
}

/// What was done.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Done {
    /// Sockets that it reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sockets: Option<u32>,
    /// What was reloaded, as lines for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) report: Vec<String>,
}

/// Why nothing was done.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Problem {
    /// The error.
    pub(crate) error: ProblemText,
}

/// An error as programs read it.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct ProblemText {
    /// What kind it is.
    pub(crate) name: String,
    /// What is wrong, and how to mend it.
    pub(crate) message: String,
    /// Whether some of what was asked may be done all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) partial: bool,
}

/// A request's body that makes a call.
pub(super) trait Call {
    /// The call, or what is wrong with the body.
    fn call(self) -> Result<ApiCall, String>;
}

impl Call for Publish {
    fn call(self) -> Result<ApiCall, String> {
        Ok(ApiCall::Publish { channel: name("channel", self.channel)?, data: self.data.map(text) })
    }
}

impl Call for Emit {
    fn call(self) -> Result<ApiCall, String> {
        let event = name("event", self.event)?;
        if event.starts_with('#') {
            return Err("`event` must not begin with '#': those are the protocol's own".to_owned());
        }
        Ok(ApiCall::Emit { to: whom(self.session, self.socket)?, event, data: self.data.map(text) })
    }
}

impl Call for Disconnect {
    fn call(self) -> Result<ApiCall, String> {
        let Disconnect { session, socket, code, reason } = self;
        if code != 1000 && !(3000..=4999).contains(&code) {
            return Err(format!("`code` must be 1000, or from 3000 to 4999, not {code}"));
        }
        if reason.len() > REASON_MAX {
            return Err(format!("`reason` may have {REASON_MAX} bytes"));
        }
        Ok(ApiCall::Disconnect { who: whom(session, socket)?, code, reason })
    }
}

impl Call for Kick {
    fn call(self) -> Result<ApiCall, String> {
        let Kick { session, socket, channel, message } = self;
        Ok(ApiCall::Kick { who: whom(session, socket)?, channel: name("channel", channel)?, message })
    }
}

fn whom(session: Option<String>, socket: Option<String>) -> Result<Whom, String> {
    match (session, socket) {
        (Some(session), None) => Ok(Whom::Session(session)),
        (None, Some(socket)) => Ok(Whom::Socket(socket)),
        _ => Err("name either `session` or `socket`".to_owned()),
    }
}

fn name(what: &str, name: String) -> Result<String, String> {
    match name.len() {
        0 => Err(format!("`{what}` is empty")),
        length if length > NAME_MAX => Err(format!("`{what}` may have {NAME_MAX} bytes")),
        _ => Ok(name),
    }
}

fn text(value: Box<RawValue>) -> String {
    Box::<str>::from(value).into()
}
