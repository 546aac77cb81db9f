//! A balancer's controller that does what the request's path says, and misbehaves when told to.

use sc_sdk::balancer::names::{MIDDLEWARE_REQUEST, MIDDLEWARE_UPGRADE};
use sc_sdk::balancer::prelude::*;

/// A function of its own, to be found in backtraces.
#[inline(never)]
fn decide(request: &Arrival, calls: &Counter) -> Verdict {
    let calls = calls.next();
    let path = request.path();
    match path.strip_prefix("/door/").unwrap_or_default() {
        "deny" => answer(Response::text("denied\n").with_status(403).with_header("x-door", "shut")),
        "calls" => answer(Response::text(calls.to_string())),
        "close" => close(),
        "who" => answer(Response::text(format!("{} {}", request.address(), request.is_secure()))),
        "trap" => panic!("told to"),
        "loop" => loop {
            std::hint::black_box(());
        },
        "hoard" => {
            let mut all = Vec::new();
            loop {
                all.push(vec![1u8; 1 << 20]);
            }
        }
        "forge" => {
            request.set_header("transfer-encoding", "chunked");
            allow()
        }
        "split" => {
            request.set_header("x-split", "a\r\nx-more: b");
            allow()
        }
        "nowhere" => {
            request.rewrite("no path");
            allow()
        }
        "hello" => {
            request.rewrite("/hello/door?from=door");
            request.set_header("x-said", "by the door");
            allow()
        }
        _ => {
            if let Some(key) = request.query_of("key") {
                request.route_by(&key);
            }
            allow()
        }
    }
}

#[balancer]
fn run(balancer: &mut Balancer) -> Result<(), Problem> {
    let config: Json = balancer.config()?;
    if config["refuse"] == true {
        return Err(Problem::unnamed("told to refuse"));
    }
    if let Some(ms) = config["start_ms"].as_u64() {
        std::thread::sleep(std::time::Duration::from_millis(ms));
    }
    let calls = Counter::new();
    balancer.keep_state("calls", &calls);
    let counter = calls.clone();
    balancer.add_middleware(MIDDLEWARE_REQUEST, move |request| decide(request, &counter));
    balancer.add_middleware(MIDDLEWARE_UPGRADE, move |request| match request.query_of("door").as_deref() {
        Some("deny") => answer(Response::text("denied\n").with_status(403)),
        Some("close") => close(),
        Some("trap") => panic!("told to"),
        _ => match request.query_of("key") {
            Some(key) => {
                request.route_by(&key);
                allow()
            }
            None => allow(),
        },
    });
    Ok(())
}
