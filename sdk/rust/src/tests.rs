//! The semantics that controllers rely on, against a host that writes down what it is told.

use crate::bindings::exports::socketcluster::controller::{
    actions, auth_changes, client_answers, connections, keyspace_answers, lifecycle, messages, publications,
    publish_answers, state, timer_events,
};
use crate::fake::{CLAIMS, told};
use crate::host::{Failure, SocketInfo, StartInfo, WitProblem};
use crate::middleware::{Line, allow, allow_with, block, block_silently, reject};
use crate::prelude::*;
use crate::{executor, export};

pub(crate) fn socket_info(id: u64) -> SocketInfo {
    SocketInfo {
        id,
        name: format!("name{id}"),
        session: "session".into(),
        address: "127.0.0.1".into(),
        secure: false,
        protocol: "modern".into(),
        path: "/socketcluster/".into(),
        query: "a=b".into(),
        auth: None,
    }
}

fn start_info(cause: &str) -> StartInfo {
    StartInfo {
        worker: 1,
        workers: 2,
        app: "app".into(),
        config: r#"{"limit":5}"#.into(),
        cause: cause.into(),
    }
}

/// A component whose function is `$run`.
macro_rules! component {
    ($name:ident, $run:expr) => {
        struct $name;
        impl export::Entry for $name {
            fn run(worker: &mut Worker) -> Result<(), String> {
                let run: fn(&mut Worker) = $run;
                run(worker);
                Ok(())
            }
        }
        <$name as lifecycle::Guest>::on_start(start_info("boot")).unwrap();
    };
}

fn open<E: export::Entry>(id: u64) {
    <E as connections::Guest>::on_open(socket_info(id));
}

fn message<E: export::Entry>(socket: u64, event: &str, data: &str, reply: Option<u64>) {
    let data = (!data.is_empty()).then(|| data.to_owned());
    <E as messages::Guest>::on_message(socket, event.into(), data, reply);
}

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
fn requests_are_answered_once_they_know() {
    component!(C, |worker| worker.on_connection(|socket| {
        socket.on_request("visit", async |socket, page: String| {
            let pages = socket.worker().tree("pages");
            let visits: u32 = pages.get(&page).await?.unwrap_or(0);
            pages.set([&page, "seen"], visits + 1).await?;
            Ok(visits + 1)
        });
        socket.on_request_sync("half", |_, n: u32| match n % 2 {
            0 => Ok(n / 2),
            _ => Err(Problem::new("OddError", "odd").with("n", n)),
        });
        socket.on_request("nothing", async |_, ()| Ok(()));
        socket.on_request("null", async |_, ()| Ok(Json::Null));
        socket.on_request("text", async |_, ()| Err::<(), _>(Problem::text("no")));
    }));
    open::<C>(1);
    told();
    message::<C>(1, "visit", "\"home\"", Some(100));
    assert_eq!(told(), ["get pages:home -> 1"]);
    <C as keyspace_answers::Guest>::on_value(1, Ok(Some("6".into())));
    assert_eq!(told(), ["set pages:home/seen 7 -> 2"]);
    <C as keyspace_answers::Guest>::on_value(2, Ok(None));
    assert_eq!(told(), ["answer 100 7"]);

    message::<C>(1, "visit", "\"home\"", Some(101));
    let error = WitProblem { name: Some("StoreError".into()), message: "away".into(), extra: None };
    <C as keyspace_answers::Guest>::on_value(3, Err(Failure::Error(error)));
    assert_eq!(told(), ["get pages:home -> 3", "refuse 101 StoreError: away -"]);

    message::<C>(1, "visit", "5", Some(102));
    message::<C>(1, "half", "4", Some(103));
    message::<C>(1, "half", "5", Some(104));
    message::<C>(1, "nothing", "", Some(105));
    message::<C>(1, "null", "null", Some(106));
    message::<C>(1, "text", "", Some(107));
    assert_eq!(
        told(),
        [
            "refuse 102 InvalidArgumentsError: the data of visit cannot be used: invalid type: integer `5`, \
             expected a string -",
            "answer 103 2",
            "refuse 104 OddError: odd {\"n\":5}",
            "answer 105 -",
            "answer 106 null",
            "refuse 107 no",
        ]
    );
    assert_eq!(executor::count(), 0);
}

#[test]
fn a_parked_request_outlives_its_socket_harmlessly() {
    component!(C, |worker| worker.on_connection(|socket| {
        socket.on_request("wait", async |socket, ()| {
            sleep(Duration::from_micros(1500)).await;
            socket.emit("late", ());
            Ok(socket.is_open())
        });
    }));
    open::<C>(1);
    message::<C>(1, "wait", "", Some(5));
    <C as connections::Guest>::on_close(1, 1006, String::new());
    assert_eq!(told(), ["listen wait", "after 2 -> 1"]);
    <C as timer_events::Guest>::on_timer(1);
    assert_eq!(told(), ["emit 1 late -", "answer 5 false"]);
    assert_eq!(executor::count(), 0);
}

#[test]
fn resuming_is_muted_and_then_not() {
    component!(C, |worker| {
        worker.on_connection(|socket| {
            let worker = socket.worker();
            socket.emit("greet", 1);
            worker.emit_to_all("new", 1);
            worker.emit_to([&socket], "new", 1);
            worker.exchange().publish("new", 1);
            worker.exchange().subscribe("news", |_: Json| ());
            socket.set_auth_token(json!({}), Expires::by_default());
            socket.deauthenticate();
            socket.kick_out("c", "m");
            socket.disconnect(1000, "");
            worker.set_auth_key("key");
            worker.set_interval(Duration::from_secs(1), |worker| worker.emit_to_all("tick", ()));
            info!("hello");
            socket.on("ping", |socket, ()| socket.emit("pong", ()));
            spawn(async move {
                let global = worker.global();
                global.set("a", 1).await.unwrap();
                assert_eq!(global.remove("a").await, Ok(None));
                worker.exchange().publish_and_wait("c", 1).await.unwrap();
                assert!(global.expire("a", Duration::from_secs(1)).await.unwrap());
                socket.emit("still", "muted");
                socket.on("late", |socket, ()| socket.emit("later", ()));
                let answer = socket.invoke::<Json>("question", ()).await;
                error!("never reached: {answer:?}");
            });
        });
        worker.on_resume(|socket| socket.emit("back", socket.name()));
    });
    assert_eq!(told(), Vec::<String>::new());
    <C as connections::Guest>::on_resume(socket_info(1));
    assert_eq!(
        told(),
        [
            "watch news",
            "every 1000 -> 1",
            "log Level::Info hello",
            "listen ping",
            "emit 1 back \"name1\"",
            "has global:a -> 2"
        ]
    );
    <C as keyspace_answers::Guest>::on_value(2, Ok(Some("true".into())));
    assert_eq!(told(), ["listen late"]);
    message::<C>(1, "ping", "", None);
    message::<C>(1, "late", "", None);
    <C as timer_events::Guest>::on_timer(1);
    assert_eq!(told(), ["emit 1 pong -", "emit 1 later -", "emit all tick -"]);
    <C as connections::Guest>::on_resume(socket_info(1));
    assert_eq!(told(), Vec::<String>::new(), "a socket is resumed once");
    assert_eq!(executor::count(), 1);
    <C as connections::Guest>::on_close(1, 1000, String::new());
    assert_eq!(executor::count(), 0, "what was muted for a socket ends with it");
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

#[test]
fn claims_are_read_from_the_host() {
    component!(C, |worker| {
        worker.on_auth_change(|socket, claims: Option<Json>| info!("{} {claims:?}", socket.id()));
        worker
            .on_connection(|socket| info!("{:?} {}", socket.auth_token::<Json>(), socket.is_authenticated()));
    });
    open::<C>(1);
    CLAIMS.set(Some(r#"{"u":1}"#.into()));
    open::<C>(2);
    <C as auth_changes::Guest>::on_auth_change(2, None);
    assert_eq!(
        told(),
        [
            "want auth-change",
            "log Level::Info None false",
            "log Level::Info Some(Object {\"u\": Number(1)}) true",
            "log Level::Info 2 None"
        ]
    );
}

#[test]
fn state_is_carried_over() {
    component!(C, |worker| {
        let (pings, names) = (Counter::new(), State::new(vec!["bob".to_owned()]));
        worker.keep_state(&pings);
        worker.keep_state_as("names", &names);
        worker.on_connection(move |_| {
            pings.next();
            names.update(|names| names.push("alice".into()));
        });
    });
    open::<C>(1);
    let (version, data) = <C as state::Guest>::snapshot();
    let text = String::from_utf8(data.clone()).unwrap();
    assert_eq!(text, r##"{"pieces":{"#0":1,"names":["bob","alice"]},"failed":null}"##);

    let restored = |version, data: &[u8]| {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    component!(D, |worker| {
                        let pings = Counter::new();
                        worker.keep_state(&pings);
                        worker.on_connection(move |socket| {
                            let names = State::new(Vec::<String>::new());
                            socket.worker().keep_state_as("names", &names);
                            info!("{} {:?}", pings.get(), names.get());
                        });
                    });
                    <D as state::Guest>::restore(version, data.to_vec())?;
                    let passed_on = <D as state::Guest>::snapshot().1;
                    open::<D>(1);
                    assert_eq!(told(), ["log Level::Info 1 [\"bob\", \"alice\"]"]);
                    Ok::<_, String>(passed_on)
                })
                .join()
                .unwrap()
        })
    };
    assert_eq!(restored(version, &data).unwrap(), data, "pieces that nobody keeps yet are passed on");
    for (version, data, word) in [
        (2, text.as_str(), "format 2"),
        (1, "", "cannot be read"),
        (1, r#"{"failed":"why"}"#, "why"),
        (1, r##"{"pieces":{"#0":"x"}}"##, "state #0 does not fit"),
    ] {
        let error = restored(version, data.as_bytes()).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn a_worker_knows_how_it_started() {
    component!(C, |worker| {
        #[derive(serde::Deserialize)]
        struct Config {
            limit: u8,
        }
        let config: Config = worker.config().unwrap();
        info!("{} {}/{} {} {:?}", config.limit, worker.id(), worker.count(), worker.app(), worker.cause());
        info!("{}", worker.config::<u8>().unwrap_err());
        worker.on_connection(|socket| {
            info!("{:?} {:?} {:?}", socket.header("origin"), socket.header("x"), socket.protocol());
            info!("{:?}", socket.worker().socket(1).as_ref() == Some(&socket));
            info!("{}", socket.worker().sockets().len());
        });
    });
    open::<C>(1);
    assert_eq!(
        told(),
        [
            "log Level::Info 5 1/2 app Boot",
            "log Level::Info ConfigError: the controller's `config` in sc.toml does not fit: invalid type: map, \
             expected u8",
            "log Level::Info Some(\"http://\u{fffd}\") None \"modern-2\"",
            "log Level::Info true",
            "log Level::Info 1"
        ]
    );
}

#[test]
fn a_refused_start_says_why() {
    struct Refusing;
    impl export::Entry for Refusing {
        fn run(worker: &mut Worker) -> Result<(), String> {
            export::started(worker.config::<u8>().map(drop))
        }
    }
    let error = <Refusing as lifecycle::Guest>::on_start(start_info("crash")).unwrap_err();
    assert!(error.starts_with("ConfigError"), "{error}");
}

fn act<E: export::Entry>(id: u64, line: &str, name: &str, data: &str) -> Vec<String> {
    let data = (!data.is_empty()).then(|| data.to_owned());
    <E as actions::Guest>::on_action(id, line.into(), 7, name.into(), data);
    told()
}

#[test]
fn handlers_of_a_line_decide_one_after_the_other() {
    component!(Component, |worker| {
        worker.add_middleware(Line::PublishIn, async |action| match action.data::<Json>()? {
            Json::Null => block_silently(),
            data => allow_with(json!([data])),
        });
        worker.add_middleware_for(Line::PublishIn, "vip.*", async |action| match action.data::<(u8,)>()?.0 {
            0 => block("ZeroError", "not zero"),
            1 => reject(4501, Problem::text("no")),
            _ => allow(),
        });
        worker.add_middleware_for(Line::Event, "a?", async |action| match action.event() {
            "an" => allow(),
            _ => Err(Problem::new("NoError", action.line().to_string())),
        });
    });
    let guards =
        ["publish-in *", "publish-in vip.*", "transmit a?", "invoke a?"].map(|it| format!("guard {it}"));
    assert_eq!(told(), guards);
    for (line, name, data, verdict) in [
        ("publish-in", "news", "0", "allow 1 with [0]"),
        ("publish-in", "news", "null", "block 1"),
        ("publish-in", "vip.x", "0", "block 1 ZeroError: not zero"),
        ("publish-in", "vip.x", "1", "reject 1 4501 no"),
        ("publish-in", "vip.x", "2", "allow 1 with [2]"),
        (
            "publish-in",
            "vip.x",
            "\"2\"",
            "block 1 InvalidArgumentsError: the data of vip.x cannot be used: invalid type: string \"2\", expected u8",
        ),
        ("transmit", "an", "", "allow 1"),
        ("invoke", "ab", "", "block 1 NoError: invoke"),
        // An instance before this one had a handler for that.
        ("invoke", "other", "", "block 1 MiddlewareError: The middleware is not ready yet"),
    ] {
        assert_eq!(act::<Component>(1, line, name, data), [verdict], "{line} {name} {data}");
    }
}

#[test]
fn a_verdict_may_wait() {
    component!(Component, |worker| {
        worker.add_middleware(Line::Subscribe, async |_action| {
            sleep(Duration::from_millis(5)).await;
            allow()
        });
    });
    told();
    assert_eq!(act::<Component>(1, "subscribe", "news", ""), ["after 5 -> 1"]);
    <Component as timer_events::Guest>::on_timer(1);
    assert_eq!(told(), ["allow 1"]);
}

#[test]
fn requests_messages_and_ends_have_handlers() {
    use crate::bindings::exports::socketcluster::controller::{request_actions, socket_ends};
    component!(Component, |worker| {
        worker.add_middleware_for(Line::Request, "/a*", async |action| {
            let request = action.request().cloned().unwrap_or_else(|| unreachable!("it is a request"));
            match request.path() {
                "/a" => allow(),
                "/ab" => crate::middleware::respond(crate::Response::text(action.address())),
                "/ac" => reject(4501, Problem::new("E", "gone").with("status", 410)),
                _ => block("E", request.header("X-Why").unwrap_or_default()),
            }
        });
        worker.add_middleware(Line::InboundRaw, async |action| {
            allow_with(action.data::<String>()?.replace('a', "b"))
        });
    });
    assert_eq!(told(), ["guard request /a*", "guard inbound-raw *"]);
    for (path, verdict) in [
        ("/a", "allow 1"),
        ("/ab", "answer 1 200 1 1.2.3.4"),
        ("/ac", "answer 1 410 1 gone"),
        ("/ad", "block 1 E: because"),
        ("/x", "block 1 MiddlewareError: The middleware is not ready yet"),
    ] {
        let request = request_actions::Request {
            method: "GET".into(),
            path: path.into(),
            query: String::new(),
            headers: vec![("x-why".into(), b"because".to_vec())],
            address: "1.2.3.4".into(),
            secure: false,
            session: "s".into(),
        };
        <Component as request_actions::Guest>::on_request_action(1, "request".into(), path.into(), request);
        assert_eq!(told(), [verdict], "{path}");
    }
    assert_eq!(act::<Component>(1, "inbound-raw", "", r#""{\"a\":1}""#), [r#"allow 1 with "{\"b\":1}""#]);

    let ended = std::rc::Rc::new(std::cell::Cell::new(0));
    let seen = std::rc::Rc::clone(&ended);
    crate::middleware::Middleware::handle().on_close(move |socket| seen.set(socket));
    assert_eq!(told(), ["hear ends"]);
    <Component as socket_ends::Guest>::on_socket_end(7);
    assert_eq!(ended.get(), 7);
}
