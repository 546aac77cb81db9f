//! HTTP requests.

use super::*;

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
