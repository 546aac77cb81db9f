//! Events of sockets, channels and timers, and what their handlers ask of the host.

use super::*;

#[test]
fn events_reach_the_handlers_of_their_socket() {
    component!(C, |worker| worker.on_connection(|socket| {
        socket.emit("greet", "hello world");
        socket.on("ping", |socket, n: u32| socket.emit("pong", n + 1));
        socket.on("ping", |socket, _: Json| socket.emit("again", ()));
    }));
    open::<C>(1);
    open::<C>(2);
    assert_eq!(told(), ["emit 1 greet \"hello world\"", "listen ping", "emit 2 greet \"hello world\""]);
    message::<C>(2, "ping", "4", None);
    assert_eq!(told(), ["emit 2 pong 5", "emit 2 again -"]);
    message::<C>(1, "ping", "\"x\"", None);
    assert_eq!(
        told(),
        [
            "log Level::Warn event ping of name1 is dropped: invalid type: string \"x\", expected u32",
            "emit 1 again -"
        ]
    );
}

#[test]
fn an_event_of_a_classic_client_is_heard_as_what_there_is_a_handler_for() {
    component!(C, |worker| worker.on_connection(|socket| {
        socket.on("ping", |socket, _: Json| socket.emit("pong", ()));
        socket.on("both", |socket, _: Json| socket.emit("heard", ()));
        socket.on_request_sync("both", |_, _: Json| Ok("answered"));
    }));
    <C as connections::Guest>::on_open(SocketInfo { protocol: "classic".into(), ..socket_info(1) });
    open::<C>(2);
    told();
    for socket in [1, 2] {
        message::<C>(socket, "ping", "", Some(7));
        message::<C>(socket, "both", "", Some(8));
        message::<C>(socket, "nobody's", "", Some(9));
    }
    assert_eq!(
        told(),
        ["forget 7", "emit 1 pong -", "answer 8 \"answered\"", "forget 9", "answer 8 \"answered\""]
    );
}

#[test]
fn garbage_is_nobodys() {
    component!(C, |worker| worker.on_connection(|socket| socket.on("a", |_, _: Json| ())));
    open::<C>(1);
    open::<C>(1);
    told();
    message::<C>(9, "a", "1", None);
    message::<C>(1, "b", "1", Some(3));
    message::<C>(1, "a", "1", Some(3));
    <C as connections::Guest>::on_close(9, 1006, String::new());
    <C as timer_events::Guest>::on_timer(77);
    <C as client_answers::Guest>::on_client_answer(77, Ok(None));
    <C as keyspace_answers::Guest>::on_value(77, Err(Failure::Text("x".into())));
    <C as publish_answers::Guest>::on_published(77, Ok(()));
    <C as publications::Guest>::on_publication("nowhere".into(), None);
    <C as auth_changes::Guest>::on_auth_change(9, None);
    assert_eq!(told(), Vec::<String>::new());
}

#[test]
fn handlers_may_change_what_calls_them() {
    component!(C, |worker| worker.on_connection(|socket| {
        let same = socket.clone();
        socket.on("a", move |socket, ()| {
            assert_eq!(same, socket);
            socket.off("a");
            socket.on("b", |socket, ()| socket.emit("b", ()));
            let worker = socket.worker();
            worker.on_connection(|_| ());
            worker.on_disconnect(|socket, code, reason| info!("{} {code} {reason}", socket.name()));
            socket.on_disconnect(|socket, _, _| socket.on_disconnect(|_, _, _| error!("too late")));
            socket.disconnect(4321, "bye");
        });
        socket.on_request_sync("r", |socket, ()| {
            socket.on_request_sync("r", |_, ()| Ok(2));
            Ok(1)
        });
    }));
    open::<C>(1);
    told();
    message::<C>(1, "a", "", None);
    message::<C>(1, "a", "", None);
    message::<C>(1, "b", "", None);
    message::<C>(1, "r", "", Some(1));
    message::<C>(1, "r", "", Some(2));
    assert_eq!(told(), ["listen b", "close 1 4321 bye", "emit 1 b -", "answer 1 1", "answer 2 2"]);
    <C as connections::Guest>::on_close(1, 4321, "bye".into());
    assert_eq!(told(), ["log Level::Info name1 4321 bye"]);
}

#[test]
fn what_would_fail_the_call_is_stopped_before() {
    component!(C, |worker| worker.on_connection(|socket| {
        socket.disconnect(1005, &"ä".repeat(100));
        socket.set_auth_token("bob", Expires::in_hours(1));
        socket.worker().set_auth_key("");
        socket.emit("e", std::collections::BTreeMap::from([((1, 2), 3)]));
        drop(socket.worker().global().set(Vec::<String>::new(), 1));
    }));
    open::<C>(1);
    let told = told();
    assert_eq!(told.len(), 5, "{told:?}");
    assert!(told[0].starts_with("log Level::Error 1005 is no close code"), "{told:?}");
    assert_eq!(told[1], format!("close 1 1000 {}", "ä".repeat(61)));
    assert!(told[2..].iter().all(|line| line.starts_with("log Level::Error")), "{told:?}");
}

#[test]
fn clients_can_be_asked() {
    component!(C, |worker| worker.on_connection(|socket| {
        spawn(async move {
            let name: Result<String, Problem> =
                socket.invoke_within(Duration::from_secs(2), "name", ()).await;
            info!("{name:?}");
            let age: Result<u8, Problem> = socket.invoke("age", 1).await;
            info!("{}", age.unwrap_err());
            info!("{}", socket.invoke::<Json>("x", 1).await.unwrap_err().message());
        });
    }));
    open::<C>(1);
    let answer = <C as client_answers::Guest>::on_client_answer;
    answer(1, Ok(Some("\"bob\"".into())));
    answer(2, Ok(Some("\"bob\"".into())));
    answer(3, Err(Failure::Text("no".into())));
    assert_eq!(
        told(),
        [
            "ask 1 name - 2000 -> 1",
            "log Level::Info Ok(\"bob\")",
            "ask 1 age 1 0 -> 2",
            "log Level::Info InvalidDataError: the client's answer to age cannot be used: \
             invalid type: string \"bob\", expected u8",
            "ask 1 x 1 0 -> 3",
            "log Level::Info no",
        ]
    );
}

#[test]
fn a_write_that_nobody_awaits_happens_and_its_failure_is_logged() {
    component!(C, |worker| {
        worker.global().set("a", 1);
        worker.global().set("b", 1);
        drop(worker.global().get::<Json>("c"));
    });
    let answer = <C as keyspace_answers::Guest>::on_value;
    answer(1, Ok(None));
    answer(2, Err(Failure::Text("away".into())));
    answer(3, Err(Failure::Text("away".into())));
    assert_eq!(
        told(),
        [
            "set global:a 1 -> 1",
            "set global:b 1 -> 2",
            "get global:c -> 3",
            "log Level::Warn setting b failed: away"
        ]
    );
}

#[test]
fn channels_are_watched_while_someone_listens() {
    component!(C, |worker| {
        let exchange = worker.exchange();
        let first = exchange.subscribe("c", |n: u32| info!("first {n}"));
        exchange.subscribe("c", move |n: u32| {
            info!("second {n}");
            first.cancel();
        });
    });
    assert_eq!(told(), ["watch c"]);
    let publication = |data: &str| {
        <C as publications::Guest>::on_publication("c".into(), Some(data.into()));
        told()
    };
    assert_eq!(publication("1"), ["log Level::Info first 1", "log Level::Info second 1"]);
    assert_eq!(publication("2"), ["log Level::Info second 2"]);
    assert_eq!(publication("\"x\"").len(), 1);
    Worker::handle().exchange().unsubscribe("c");
    Worker::handle().exchange().unsubscribe("c");
    assert_eq!(told(), ["unwatch c"]);
}

#[test]
fn timers_turn_and_end() {
    component!(C, |worker| {
        let ticks = worker.set_interval(Duration::ZERO, |_| info!("tick"));
        worker.set_timeout(Duration::from_secs(u64::MAX), move |_| ticks.cancel());
        let unused = sleep(Duration::from_secs(1));
        drop(unused);
    });
    let turn = |token| {
        <C as timer_events::Guest>::on_timer(token);
        told()
    };
    assert_eq!(told(), ["every 1 -> 1", "after 4294967295 -> 2", "after 1000 -> 3", "cancel 3"]);
    assert_eq!(turn(1), ["log Level::Info tick"]);
    assert_eq!(turn(1), ["log Level::Info tick"]);
    assert_eq!(turn(2), ["cancel 1"]);
    assert_eq!(turn(1), Vec::<String>::new());
    assert_eq!(turn(2), Vec::<String>::new());
}
