//! Components in WebAssembly text: a memory with a bump allocator, a few of the host's functions, and the body of
//! `on-message` that a test is about.

/// The parts of a component that tests vary.
pub(crate) struct Parts<'a> {
    /// Definitions of the core module: globals, functions, data.
    pub(crate) items: &'a str,
    /// Body of `on-message(socket, event, data, reply)`; its parameters are `$socket $event $event_len $some $data
    /// $data_len $replies $reply`.
    pub(crate) on_message: &'a str,
    /// Body of `on-timer(token)`, its parameter is `$token`.
    pub(crate) on_timer: &'a str,
    /// First size of the memory in pages of 64 KiB.
    pub(crate) pages: u32,
}

impl Default for Parts<'_> {
    fn default() -> Self {
        Parts { items: "", on_message: "", on_timer: "", pages: 2 }
    }
}

/// A component with `messages` and `timer-events`, nothing else: not even `lifecycle`.
pub(crate) fn with(parts: &Parts<'_>) -> Vec<u8> {
    let Parts { items, on_message, on_timer, pages } = parts;
    let text = format!(
        r#"(component
  (import "socketcluster:controller/setup@0.1.0" (instance $setup
    (export "listen" (func (param "event" string)))
    (export "want" (func (param "event" string)))))
  (import "socketcluster:controller/sockets@0.1.0" (instance $sockets
    (export "emit" (func (param "to" u64) (param "event" string) (param "data" (option string))))
    (export "ask" (func (param "to" u64) (param "event" string) (param "data" (option string))
      (param "timeout-ms" u32) (result u64)))
    (export "set-auth" (func (param "who" u64) (param "claims" string) (param "expires-in-s" (option u32))))
    (export "close" (func (param "who" u64) (param "code" u16) (param "reason" string)))))
  (import "socketcluster:controller/timers@0.1.0" (instance $timers
    (export "every" (func (param "ms" u32) (result u64)))
    (export "cancel" (func (param "timer" u64)))))
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $pollable-outer))
    (export "pollable" (type $pollable (eq $pollable-outer)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type $output-stream (sub resource)))))
  (core module $memory
    (memory (export "memory") {pages})
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (block $fits
        (br_if $fits (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
        (global.set $next (i32.const 4096))
        (local.set $at (i32.const 4096)))
      (local.get $at)))
  (core instance $memory (instantiate $memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $listen (canon lower (func $setup "listen") (memory $mem)))
  (core func $want (canon lower (func $setup "want") (memory $mem)))
  (core func $emit (canon lower (func $sockets "emit") (memory $mem)))
  (core func $ask (canon lower (func $sockets "ask") (memory $mem)))
  (core func $set-auth (canon lower (func $sockets "set-auth") (memory $mem)))
  (core func $close (canon lower (func $sockets "close") (memory $mem)))
  (core func $every (canon lower (func $timers "every")))
  (core func $cancel (canon lower (func $timers "cancel")))
  (core func $after (canon lower (func $clock "subscribe-duration")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core module $main
    (import "host" "memory" (memory 1))
    (import "host" "listen" (func $listen (param i32 i32)))
    (import "host" "want" (func $want (param i32 i32)))
    (import "host" "emit" (func $emit (param i64 i32 i32 i32 i32 i32)))
    (import "host" "ask" (func $ask (param i64 i32 i32 i32 i32 i32 i32) (result i64)))
    (import "host" "set-auth" (func $set_auth (param i64 i32 i32 i32 i32)))
    (import "host" "close" (func $close (param i64 i32 i32 i32)))
    (import "host" "every" (func $every (param i32) (result i64)))
    (import "host" "cancel" (func $cancel (param i64)))
    (import "host" "after" (func $after (param i64) (result i32)))
    (import "host" "block" (func $block (param i32)))
    {items}
    (func $on_message (export "on-message")
      (param $socket i64) (param $event i32) (param $event_len i32)
      (param $some i32) (param $data i32) (param $data_len i32) (param $replies i32) (param $reply i64)
      (local $i i32)
      {on_message})
    (func (export "on-timer") (param $token i64) {on_timer}))
  (core instance $main (instantiate $main (with "host" (instance
    (export "memory" (memory $mem))
    (export "listen" (func $listen))
    (export "want" (func $want))
    (export "emit" (func $emit))
    (export "ask" (func $ask))
    (export "set-auth" (func $set-auth))
    (export "close" (func $close))
    (export "every" (func $every))
    (export "cancel" (func $cancel))
    (export "after" (func $after))
    (export "block" (func $block))))))
  (func $on-message (param "socket" u64) (param "event" string) (param "data" (option string))
    (param "reply" (option u64))
    (canon lift (core func $main "on-message") (memory $mem) (realloc $realloc)))
  (func $on-timer (param "timer" u64) (canon lift (core func $main "on-timer")))
  (instance (export "socketcluster:controller/messages@0.1.0") (export "on-message" (func $on-message)))
  (instance (export "socketcluster:controller/timer-events@0.1.0") (export "on-timer" (func $on-timer)))
)"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// A component whose `on-message` has that body.
pub(crate) fn on_message(body: &str) -> Vec<u8> {
    with(&Parts { on_message: body, ..Parts::default() })
}

/// Answers each message with the same event and data, to the same socket.
pub(crate) fn echo() -> Vec<u8> {
    on_message(
        "(call $emit (local.get $socket) (local.get $event) (local.get $event_len)
           (local.get $some) (local.get $data) (local.get $data_len))",
    )
}

/// A component with `lifecycle` only; `body` returns whether on-start refuses, with the text "no".
pub(crate) fn on_start(body: &str) -> Vec<u8> {
    on_start_saying(body, 2)
}

/// The same with a text of so many bytes.
pub(crate) fn on_start_saying(body: &str, bytes: u32) -> Vec<u8> {
    let text = format!(
        r#"(component
  (type $start-info' (record (field "worker" u32) (field "workers" u32) (field "app" string)
    (field "config" string) (field "cause" string)))
  (import "socketcluster:controller/types@0.1.0" (instance $types
    (type $r (record (field "worker" u32) (field "workers" u32) (field "app" string)
      (field "config" string) (field "cause" string)))
    (export "start-info" (type (eq $r)))))
  (alias export $types "start-info" (type $start-info))
  (core module $main
    (memory (export "memory") 1)
    (data (i32.const 8) "no")
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (local.get 3))))
    (func (export "on-start") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
      (i32.store8 (i32.const 128) {body})
      (i32.store (i32.const 132) (i32.const 8))
      (i32.store (i32.const 136) (i32.const {bytes}))
      (i32.const 128)))
  (core instance $main (instantiate $main))
  (alias core export $main "memory" (core memory $mem))
  (alias core export $main "realloc" (core func $realloc))
  (func $on-start (param "info" $start-info) (result (result (error string)))
    (canon lift (core func $main "on-start") (memory $mem) (realloc $realloc)))
  (instance $lifecycle
    (export "start-info" (type $start-info))
    (export "on-start" (func $on-start)))
  (export "socketcluster:controller/lifecycle@0.1.0" (instance $lifecycle))
)"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
}
