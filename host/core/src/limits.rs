//! Caps and deadlines that no option changes, in one table.

use std::time::Duration;

/// Links for requests that one balancer with a controller keeps to one worker for later ones.
pub const IDLE_LINKS: usize = 32;
/// Header lines of a client's request: the most that hyper takes unless it is told otherwise.
pub const HEADERS_MAX: usize = 100;
/// The same of a request that comes through a balancer with a controller: with what both have added.
pub const HEADERS_MAX_PROXIED: usize = HEADERS_MAX + 28;
/// Largest message of a packet link (control, handoff), within the kernel's default socket buffer.
pub const PACKET_MAX: usize = 160 * 1024;
/// Largest frame of a stream link (store), above the largest packet a client may send.
pub const FRAME_MAX: usize = 128 * 1024 * 1024;
/// Bytes a stream link may hold unsent before its user waits or fails.
pub const LINK_BACKLOG: usize = 64 * 1024 * 1024;
/// The same for what the other end must not miss: past that the link is given up.
pub const LINK_BACKLOG_OF_STATE: usize = 2 * LINK_BACKLOG;
/// How long an operation may wait for a store, its restart included.
pub const STORE_DEADLINE: Duration = Duration::from_secs(5);
/// Operations that may wait for a store.
pub const STORE_PENDING: usize = 100_000;
/// Procedures that a worker may leave with a store for its end.
pub const RUNS_AT_END: usize = 1_000;
/// Bytes of them: all are said again over each new link, within its backlog.
pub const RUNS_AT_END_BYTES: usize = LINK_BACKLOG / 4;
/// Longest name of a channel in bytes: a worker tells its stores all names of its sockets again over a new link.
pub const CHANNEL_NAME_MAX: usize = 4 * 1024;
/// Events that may wait for a guest; sockets are not read while it is full.
pub const GUEST_QUEUE: usize = 10_000;
/// Events of one socket that may wait for a guest.
pub const GUEST_QUEUE_PER_SOCKET: usize = 256;
/// Bytes of what may wait behind an action of one socket, beside the one that goes over it.
pub const TURN_BYTES: usize = 4 * 1024 * 1024;
/// How long an action may wait for the verdict of an instance that was asked.
pub const VERDICT_DEADLINE: Duration = Duration::from_secs(10);
/// Messages of one socket that may wait for an answer of a guest.
pub const REPLIES_PER_SOCKET: usize = 1_000;
/// Questions to one client that may wait for its answer.
pub const ASKS_PER_SOCKET: usize = 1_000;
/// Names an instance may listen to before it hears all.
pub const INTERESTS: usize = 1_024;
/// Commands of one call.
pub const COMMANDS_PER_CALL: usize = 200_000;
/// Bytes in the commands of one call.
pub const COMMAND_BYTES_PER_CALL: usize = 32 * 1024 * 1024;
/// Unanswered tokens of one instance.
pub const TOKENS: usize = 10_000;
/// Bytes of the answers that may wait for a guest; one alone may be larger.
pub const ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of the bodies in a worker's requests to other servers that are under way; one alone may be larger.
pub const FETCH_BODY_BYTES: usize = 64 * 1024 * 1024;
/// Largest snapshot.
pub const SNAPSHOT_MAX: usize = 16 * 1024 * 1024;
/// How long a swap waits for what the old instance is waiting for, before its state is taken.
pub const SWAP_WAIT: Duration = Duration::from_millis(5);
/// How long the guards of a generation that was replaced stay, while the instance that took over waits for something
/// and may have guards to say yet. Below [`VERDICT_DEADLINE`], for what waits meanwhile.
pub const GUARDS_WAIT: Duration = Duration::from_secs(5);
/// How long an instance that was replaced may go on with what it had begun.
pub const RETIRED_DEADLINE: Duration = Duration::from_secs(30);
/// Replaced instances of one component that may go on; the oldest ends when there is one more.
pub const RETIRED: usize = 2;
/// Events after which a new generation has proved itself on a worker.
pub const PROBATION_EVENTS: u32 = 100;
/// How long a new generation that hears fewer is watched, once it was told of every socket.
pub const PROBATION: Duration = Duration::from_secs(1);
/// A deadline missed by this much was missed because this process was suspended; what arrived in time may still be
/// unread.
pub const OVERSLEPT: Duration = Duration::from_millis(250);
/// How long the process then has for reading it before it looks again.
pub const CATCH_UP: Duration = Duration::from_millis(200);
/// Live sockets told to a fresh instance in one slice, between other work.
pub const RESUME_SLICE: usize = 32;
/// Longest line of a guest's output or log in bytes.
pub const LOG_LINE_MAX: usize = 8 * 1024;
/// How long a child may take to get ready; a store that reads its journal, from the last progress on.
pub const READY_DEADLINE: Duration = Duration::from_secs(30);
/// How often a worker reports its counts.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// How long a session ticket of TLS is good.
pub const TICKET_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How old the key may get that seals new tickets.
pub const TICKET_KEY_AGE: Duration = Duration::from_secs(12 * 3600);
