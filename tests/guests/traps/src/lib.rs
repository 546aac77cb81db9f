//! Misbehaves on request. Every connection is greeted, once; `echo` and `count` show that all else works.

use std::hint::black_box;
use std::time::Instant;

use sc_sdk::prelude::*;

#[controller]
fn run(worker: &mut Worker) {
    let count = Counter::new();
    worker.keep_state(&count);

    worker.on_connection(move |socket| {
        socket.emit("greet", "hello world");

        socket.on_request_sync("echo", |_socket, data: Json| Ok(data));
        // How often it was asked in this instance.
        let count = count.clone();
        socket.on_request_sync("count", move |_socket, _data: Json| Ok(count.next()));
        socket.on_request_sync("work", |_socket, _data: Json| Ok(work(15)));
        // Asks the store first.
        socket.on_request("stored", async |socket, _data: Json| {
            socket.session().get::<Json>("nothing").await?;
            Ok("stored")
        });
        // In all the ways that there are.
        socket.on_request_sync("say", |_socket, _data: Json| {
            error!("an error of its own");
            eprintln!("a line on stderr");
            println!("a line on stdout");
            println!("{}", "endless ".repeat(2_000));
            Ok(())
        });
        socket.on_request_sync("chatter", |_socket, lines: u32| {
            (0..lines).for_each(|number| println!("line {number}"));
            warn!("all is said");
            Ok(())
        });
        // Says something, and fails only when other work of the process has had its turn.
        socket.on_request_sync("trap_later", |_socket, _data: Json| -> Result<(), Problem> {
            eprintln!("a line long before its end");
            black_box(work(15));
            told_to()
        });
        // Waits far longer than any test, so that its caller is parked in this instance.
        socket.on_request("park", async |_socket, _data: Json| {
            sleep(Duration::from_secs(3600)).await;
            Ok(())
        });

        // Each leaves commands behind that must not happen.
        socket.on_request_sync("trap", |socket, _data: Json| -> Result<(), Problem> {
            leave_traces(&socket);
            told_to()
        });
        socket.on_request_sync("loop", |socket, _data: Json| -> Result<(), Problem> {
            leave_traces(&socket);
            spin()
        });
        socket.on_request_sync("hoard", |socket, _data: Json| -> Result<(), Problem> {
            leave_traces(&socket);
            hoard()
        });
        socket.on_request_sync("flood", |socket, _data: Json| -> Result<(), Problem> {
            leave_traces(&socket);
            loop {
                socket.emit("flood", ());
            }
        });
        // The same in bytes: few commands, each large.
        socket.on_request_sync("flood_bytes", |socket, _data: Json| -> Result<(), Problem> {
            leave_traces(&socket);
            let large = "x".repeat(1 << 20);
            loop {
                socket.emit("flood", &large);
            }
        });
        socket.on_request_sync("flood_tokens", |socket, _data: Json| -> Result<(), Problem> {
            leave_traces(&socket);
            flood_tokens(socket.worker())
        });
        socket.on_request_sync("recurse", |socket, _data: Json| -> Result<u64, Problem> {
            leave_traces(&socket);
            Ok(recurse(1))
        });
        socket.on_request_sync("garbage_ids", |_socket, _data: Json| {
            garbage_ids();
            Ok(())
        });
    });
}

// Functions of their own, to be found in backtraces.

#[inline(never)]
fn told_to() -> ! {
    panic!("told to")
}

#[inline(never)]
fn spin() -> ! {
    loop {
        black_box(());
    }
}

#[inline(never)]
fn hoard() -> ! {
    // Memory that is never touched costs next to no time.
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(Vec::<u8>::with_capacity(1 << 20)));
    }
}

/// Tokens without end: questions that are never awaited.
#[inline(never)]
fn flood_tokens(worker: Worker) -> ! {
    loop {
        drop(worker.global().get::<Json>("nothing"));
    }
}

fn leave_traces(socket: &Socket) {
    socket.emit("trace", "this must not arrive");
    socket.worker().emit_to_all("trace", "this must not arrive");
    socket.worker().exchange().publish("trace", "this must not arrive");
}

#[allow(unconditional_recursion, reason = "it is the point")]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth + 1))) + 1
}

/// Commands to sockets, calls and timers that do not exist, past the SDK's handles.
fn garbage_ids() {
    use sc_sdk::bindings::socketcluster::controller::types::Failure;
    use sc_sdk::bindings::socketcluster::controller::{sockets, timers};

    let ids = (0..200).map(|n| match n {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << 53,
        _ => u64::from(random_u32()) << 20 | u64::from(random_u32()),
    });
    for id in ids {
        sockets::emit(id, "garbage", Some("1"));
        sockets::emit_many(&[id, id, 0], "garbage", None);
        sockets::ask(id, "garbage", None, 1);
        sockets::answer(id, Some("1"));
        sockets::refuse(id, &Failure::Text("garbage".into()));
        sockets::close(id, 4000, "garbage");
        sockets::kick_out(id, "garbage", "garbage");
        sockets::set_auth(id, "{}", None);
        sockets::clear_auth(id);
        assert!(sockets::info(id).is_none());
        assert!(sockets::header(id, "origin").is_none());
        timers::cancel(id);
    }
}

/// Computes for some milliseconds of this processor's time, whatever else it does meanwhile: the fastest of many
/// small pieces of work says how fast it is.
fn work(millis: u64) -> u64 {
    let fastest = (0..20)
        .map(|_| {
            let began = Instant::now();
            black_box(piece());
            began.elapsed()
        })
        .min()
        .unwrap_or_default();
    let fastest = u64::try_from(fastest.as_nanos()).unwrap_or(u64::MAX).max(1);
    (20..millis * 1_000_000 / fastest).fold(0, |sum, _| sum ^ black_box(piece()))
}

fn piece() -> u64 {
    (0..100_000).fold(1, |sum: u64, n| black_box(sum.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(n)))
}
