//! Sessions: one browser's sockets and requests, over workers, tabs, and the deaths of processes.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sc_tests::client::Way;
use sc_tests::{Client, Host, Role, http, session, wait};
use serde_json::{Value, json};

use crate::host_of;

fn in_session(cookie: &str) -> Way {
    Way { headers: vec![("cookie", cookie.to_owned())], ..Way::default() }
}

/// A client in a session on each of two workers: without balancing by session, the client's address decides.
async fn on_two_workers(host: &Host, cookie: &str) -> anyhow::Result<[Client; 2]> {
    let mut found = [None, None];
    for last in 1..50 {
        let from = Some(Ipv4Addr::new(127, 0, 0, last));
        let mut client = Client::open(host, Way { from, ..in_session(cookie) }).await?;
        let worker = client.ask("who", Value::Null).await?["worker"].as_u64().context("a worker")?;
        if let Some(place @ None) = found.get_mut(worker as usize) {
            *place = Some(client);
        }
        if let [Some(_), Some(_)] = &found {
            break;
        }
    }
    let [one, two] = found;
    Ok([one.context("worker 0")?, two.context("worker 1")?])
}

/// Whether nothing came that was not asked for.
async fn is_quiet(client: &mut Client) -> anyhow::Result<bool> {
    Ok(client.events_so_far("whoami").await?.is_empty())
}

async fn id(client: &mut Client) -> anyhow::Result<String> {
    Ok(client.ask("who", Value::Null).await?["session"].as_str().context("a session")?.to_owned())
}

#[tokio::test]
async fn one_session_on_two_workers_and_over_http() -> anyhow::Result<()> {
    let host = host_of("browser")
        .workers(2)
        .set("balancer.smart_balancing", false)
        .set("session.grace", "200ms")
        .set("session.timeout", "5s")
        .start()
        .await?;
    let page = http::get(&host, "/hello/bob").await?;
    let cookie = session::cookie(&page.head).context("the first answer sets the cookie")?;
    let mut watcher = Client::connect(&host).await?;
    watcher.subscribe("sessions").await?;
    let [mut one, mut two] = on_two_workers(&host, &cookie).await?;
    ensure!(cookie.ends_with(&id(&mut one).await?) && id(&mut one).await? == id(&mut two).await?);
    ensure!(one.cookie.is_none(), "a known session is not set again");

    // A third party, by HTTP, reaches both; so does one of them, and `transmit` only the other.
    let told = session::send(&host, Some(&cookie), "POST", "/emit/told", "to all").await?;
    ensure!((told.status, told.body.as_str()) == (200, "2"), "{told:?}");
    for client in [&mut one, &mut two] {
        ensure!(client.event("told").await? == json!("to all"));
    }
    ensure!(one.ask("emit", json!(1)).await? == json!(2));
    ensure!(one.event("told").await? == json!(1) && two.event("told").await? == json!(1));
    one.emit("transmit", json!(2)).await?;
    ensure!(two.event("told").await? == json!(2));
    two.emit("emitLocal", json!(3)).await?;
    ensure!(two.event("told").await? == json!(3));
    ensure!(is_quiet(&mut one).await?, "neither the transmitted nor the local event reached the other");

    // Data are one for all.
    one.ask("do", json!({ "op": "set", "of": "session", "path": ["a", "b"], "value": 7 })).await?;
    let get = json!({ "op": "get", "of": "session", "path": ["a", "b"] });
    ensure!(two.ask("do", get.clone()).await? == json!(7));
    let read = session::send(&host, Some(&cookie), "POST", "/do", &get.to_string()).await?;
    ensure!(read.body == "7" && session::cookie(&read.head).is_none(), "{read:?}");
    let other = session::send(&host, None, "POST", "/do", &get.to_string()).await?;
    ensure!(other.body == "\"nothing\"" && session::cookie(&other.head).is_some(), "{other:?}");
    one.ask("login", json!("bob")).await?;
    ensure!(two.ask("auth", Value::Null).await? == json!("bob"));

    // It leaves each worker, and ends once.
    let began = Instant::now();
    drop((one, two));
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let told = watcher.publication("sessions").await?;
        if cookie.ends_with(told["session"].as_str().unwrap_or("-")) {
            seen.push(told);
        }
    }
    let leaves: Vec<_> = seen.iter().filter(|told| told["what"] == "leave").collect();
    let ends: Vec<_> = seen.iter().filter(|told| told["what"] == "end").collect();
    ensure!(leaves.len() == 2 && ends.len() == 1 && leaves[0]["worker"] != leaves[1]["worker"], "{seen:?}");
    ensure!(ends[0]["data"]["a"]["b"] == 7, "the data are there at the end: {seen:?}");
    ensure!(began.elapsed() >= Duration::from_millis(200), "the grace was not kept");

    // The data outlive it by the timeout, and no longer. A look at them prolongs it, so there is one early, and one
    // when they must be gone.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut late = Client::in_session(&host, &cookie).await?;
    ensure!(late.ask("do", get.clone()).await? == json!(7), "gone before its time");
    drop(late);
    tokio::time::sleep(Duration::from_secs(9)).await;
    let gone = session::send(&host, Some(&cookie), "POST", "/do", &get.to_string()).await?;
    ensure!(gone.body == "\"nothing\"", "{gone:?}");
    host.is_unhurt()
}

/// A page that reloads within the grace is the same session and ends nothing.
#[tokio::test]
async fn a_reload_ends_nothing() -> anyhow::Result<()> {
    let host = host_of("browser").workers(2).set("session.grace", "2s").start().await?;
    let mut watcher = Client::connect(&host).await?;
    watcher.subscribe("sessions").await?;
    let client = Client::connect(&host).await?;
    let cookie = client.cookie.clone().context("the 101 sets the cookie")?;
    ensure!(cookie.contains("; Path=/; SameSite=Lax") && !cookie.contains("Secure"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    for _ in 0..3 {
        drop(client_again(&host, &cookie).await?);
    }
    let mut client = client_again(&host, &cookie).await?;
    let own = id(&mut client).await?;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    for told in watcher.events_so_far("whoami").await? {
        let text = format!("{told:?}");
        ensure!(!text.contains(&own) || text.contains("leave"), "{text}");
    }
    // Logging out everywhere.
    let mut tab = client_again(&host, &cookie).await?;
    client.emit("end", Value::Null).await?;
    for socket in [&mut client, &mut tab] {
        ensure!(socket.closed().await?.0 == 4501);
    }
    host.is_unhurt()
}

async fn client_again(host: &Host, cookie: &str) -> anyhow::Result<Client> {
    Client::open(host, in_session(cookie)).await
}

/// Forged, foreign and stolen ids, and pages of other sites.
#[tokio::test]
async fn ids_that_are_not_the_browsers() -> anyhow::Result<()> {
    let host = host_of("browser").workers(2).set("protocol.origins", "*:*,friend.com:443").start().await?;
    let mut client = Client::connect(&host).await?;
    let known = id(&mut client).await?;
    let elsewhere = host_of("browser").start().await?;
    let foreign = id(&mut Client::connect(&elsewhere).await?).await?;
    // A MAC may hold any character of an id.
    let (rest, end) = known.split_at(known.len() - 12);
    let other = if end.starts_with('A') { 'B' } else { 'A' };
    let cookie = |id: &str| format!("n/browser/ssid={id}");
    let forged = [
        ("nothing", String::new()),
        ("garbage", "x".to_owned()),
        ("a classic id without a MAC", "_w0_8000_0_xOC13VNpeGd48JdRAAAB".to_owned()),
        ("another host's", foreign),
        ("another worker", known.replacen("_w0_", "_w9_", 1).replacen("_w1_", "_w9_", 1)),
        ("another end", format!("{rest}{other}{}", &end[1..])),
        ("a longer end", format!("{known}A")),
        ("a long one", "a".repeat(5000)),
    ];
    for (what, forged) in forged {
        let mut fresh = client_again(&host, &cookie(&forged)).await?;
        let given = id(&mut fresh).await?;
        ensure!(given != forged && given != known, "{what}");
        ensure!(fresh.cookie.is_some_and(|cookie| cookie.contains(&given)), "{what} is replaced");
        let page = session::send(&host, Some(&cookie(&forged)), "GET", "/hello/x", "").await?;
        ensure!(session::cookie(&page.head).is_some() && page.body.ends_with("visit 1"), "{what}: {page:?}");
    }
    // Who has the id is the browser: that is what a stolen one means, and why nobody else is ever shown one.
    ensure!(id(&mut client_again(&host, &cookie(&known)).await?).await? == known);

    let own = format!("http://{}", host.address());
    for (origin, same) in [
        (own.as_str(), true),
        ("https://friend.com", true),
        ("https://evil.com", false),
        ("https://friend.com:444", false),
        ("null", false),
    ] {
        let headers = vec![("cookie", cookie(&known)), ("origin", origin.to_owned())];
        let mut client = Client::open(&host, Way { headers, ..Way::default() }).await?;
        ensure!((id(&mut client).await? == known) == same, "{origin}");
        ensure!(client.cookie.is_none(), "{origin}: the browser keeps the session it has");
    }
    // What other clients see holds no session.
    let me = client.ask("who", Value::Null).await?;
    ensure!(!client.status.to_string().contains(end) && !me["socket"].to_string().contains(end));
    host.is_unhurt()
}

/// What visitors without a socket leave expires as well, counted from their last visit, also over a restart.
#[tokio::test]
async fn visits_without_sockets_expire() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let builder = || host_of("browser").data_dir(folder.path()).set("session.timeout", "5s");
    let mut host = builder().start().await?;
    let set = json!({ "op": "set", "of": "session", "path": ["a"], "value": 1 }).to_string();
    let get = json!({ "op": "get", "of": "session", "path": ["a"] }).to_string();
    let set = session::send(&host, None, "POST", "/do", &set).await?;
    let cookie = session::cookie(&set.head).context("a session was begun")?;
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let kept = session::send(&host, Some(&cookie), "POST", "/do", &get).await?;
    ensure!(kept.body == "1", "gone before its time: {kept:?}");
    let last = Instant::now();
    // Were it counted from the restart, it would last until the ninth second.
    tokio::time::sleep(Duration::from_secs(4)).await;
    drop(host);
    host = builder().start().await?;
    tokio::time::sleep(Duration::from_millis(8500).saturating_sub(last.elapsed())).await;
    let gone = session::send(&host, Some(&cookie), "POST", "/do", &get).await?;
    ensure!(gone.body == "\"nothing\"", "{gone:?}");
    ensure!(session::cookie(&gone.head).is_none(), "its id stays good: {gone:?}");
    host.is_unhurt()
}

/// A session goes on when its store, its worker or the whole host dies, and still ends once.
#[tokio::test]
async fn sessions_outlive_processes() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let builder = || host_of("browser").workers(2).data_dir(folder.path()).set("session.grace", "300ms");
    let host = builder().start().await?;
    let mut client = Client::connect(&host).await?;
    let cookie = client.cookie.clone().context("a cookie")?;
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    let set = json!({ "op": "set", "of": "session", "path": ["a"], "value": 1 });
    client.ask("do", set).await?;
    let mut watcher = Client::connect(&host).await?;
    watcher.subscribe("sessions").await?;

    host.kill(Role::Store, 0)?;
    let get = json!({ "op": "get", "of": "session", "path": ["a"] });
    // What was in flight when it died may have to be asked again.
    let again = async { while !client.call("do", get.clone()).await.is_ok_and(|value| value == json!(1)) {} };
    wait::within(wait::SOON, "the store's data", again).await?;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    ensure!(is_quiet(&mut watcher).await?, "the store's death ended a session that has a socket");
    let own = id(&mut client).await?;
    drop(client);
    loop {
        let told = watcher.publication("sessions").await?;
        if told["what"] == "end" {
            ensure!(told["session"] == own.as_str() && told["data"]["a"] == 1, "{told}");
            break;
        }
    }
    let mut client = client_again(&host, &cookie).await?;
    ensure!(client.ask("do", get.clone()).await? == json!(1));
    drop(host);

    let host = builder().start().await?;
    let mut client = client_again(&host, &cookie).await?;
    ensure!(id(&mut client).await? == own, "the cluster's key is kept");
    ensure!(client.ask("do", get).await? == json!(1), "and so are the data");
    host.is_unhurt()
}
