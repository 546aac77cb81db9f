//! Lines of middleware.

use super::*;

fn act<E: export::Entry>(id: u64, line: &str, name: &str, data: &str) -> Vec<String> {
    let data = (!data.is_empty()).then(|| data.to_owned());
    <E as actions::Guest>::on_action(id, line.into(), 7, name.into(), data);
    told()
}

#[test]
fn a_line_is_read_under_the_name_that_it_is_shown_by() {
    use Line::{
        Authenticate, Event, Handshake, InboundRaw, Invoke, PublishIn, PublishOut, Request, Subscribe,
        Transmit, Upgrade,
    };
    for line in [
        Upgrade,
        Request,
        InboundRaw,
        Handshake,
        Authenticate,
        Subscribe,
        PublishIn,
        Transmit,
        Invoke,
        PublishOut,
        Event,
    ] {
        assert_eq!(serde_json::from_value::<Line>(json!(line.to_string())).ok(), Some(line));
    }
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
            let request = action.request().cloned().expect("it is a request");
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
