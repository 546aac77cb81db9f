//! An instance's life: how it starts, what it takes over, what it knows.

use super::*;

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
            info!("{:?} {}", socket.subscriptions(), socket.is_subscribed("room"));
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
            "log Level::Info 1",
            "log Level::Info [\"news\", \"room.1\"] false"
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
