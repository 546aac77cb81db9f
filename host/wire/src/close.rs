//! Close codes. Source: RFC 6455 and those of socketcluster-server 20.0.1; codes from 4010 belong to applications.

/// Normal: clients do not reconnect.
pub const NORMAL: u16 = 1000;
/// The host goes away: it drains.
pub const GOING_AWAY: u16 = 1001;
/// A WebSocket rule was broken.
pub const PROTOCOL: u16 = 1002;
/// The peer's close frame had no code. Never sent.
pub const NO_STATUS: u16 = 1005;
/// The connection broke without a close frame. Never sent.
pub const ABNORMAL: u16 = 1006;
/// A text frame was not UTF-8.
pub const INVALID_DATA: u16 = 1007;
/// A message was over `max_payload`.
pub const TOO_BIG: u16 = 1009;
/// The host cannot serve this client now: it reads too slowly, or the worker is full.
pub const TRY_AGAIN_LATER: u16 = 1013;
/// The client did not answer pings in time.
pub const PONG_TIMED_OUT: u16 = 4001;
/// The token could not be signed.
pub const SIGNING_FAILED: u16 = 4002;
/// The client sent no handshake in time.
pub const HANDSHAKE_TIMED_OUT: u16 = 4005;
/// A malformed `#handshake` or `#authenticate`.
pub const HANDSHAKE_REJECTED: u16 = 4008;
/// Something came before the handshake.
pub const MESSAGE_BEFORE_HANDSHAKE: u16 = 4009;

/// Longest reason in bytes that fits a close frame.
pub const REASON_MAX: usize = 123;

/// What a client did that is closed with the code, for people; none for codes that are nobody's fault.
pub fn rule(code: u16) -> Option<&'static str> {
    Some(match code {
        PROTOCOL => "it broke a rule of its transport",
        INVALID_DATA => "it sent a text that is not UTF-8",
        TOO_BIG => "it sent a message over client.max_payload",
        HANDSHAKE_TIMED_OUT => "it sent no handshake in time",
        HANDSHAKE_REJECTED => "it sent a malformed #handshake or #authenticate",
        MESSAGE_BEFORE_HANDSHAKE => "it sent something before its handshake",
        _ => return None,
    })
}

/// Whether an application may close with the code: 1000 or 3000 to 4999.
pub fn is_sendable(code: u16) -> bool {
    code == NORMAL || (3000..=4999).contains(&code)
}
