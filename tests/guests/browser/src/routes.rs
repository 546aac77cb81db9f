//! Routes of every kind.

use sc_sdk::prelude::*;

use crate::data::Operation;

pub fn attach(worker: &Worker) {
    let http = worker.http();
    http.get("/hello/:name", async |request, params| {
        let visits = request.session().increment("visits", 1).await?;
        Ok(Response::text(format!("hello {}, visit {visits}", &params["name"])))
    });
    http.get("/files/*path", async |_request, params| Ok(Response::text(&params["path"])));
    http.post("/do", async |request, _params| {
        let what: Operation = request.json()?;
        Ok(Response::json(what.run(&request.session(), &request.worker()).await?))
    });
    http.any("/echo", async |request, _params| {
        let headers: Vec<String> = request
            .headers()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
            .collect();
        let echo = Response::json(json!({
            "method": request.method(),
            "path": request.path(),
            "query": request.query_string(),
            "headers": headers,
            "body": request.body().len(),
            "address": request.address(),
            "secure": request.is_secure(),
            "session": request.session().id(),
            "cookie": request.cookie("a"),
        }));
        Ok(echo.with_cookie(Cookie::build(("b", "1 2")).path("/")).with_header("x-more", "yes"))
    });
    http.get("/status/:code", async |_request, params| {
        Ok(Response::text("as asked").with_status(params["code"].parse().unwrap_or(500)))
    });
    http.get("/cached", async |request, _params| {
        let page = Response::text("cached");
        Ok(match request.query_string() {
            "" => page,
            rule => page.with_header("cache-control", rule.replace("%20", " ")),
        })
    });
    http.get("/fails", async |_request, _params| {
        Err(Problem::new("TeapotError", "short and stout").with("status", 418))
    });
    http.get("/traps", async |_request, _params| panic!("asked to"));
    http.get("/never", async |_request, _params| {
        std::future::pending::<()>().await;
        Ok(Response::empty())
    });
    http.get("/slow", async |_request, _params| {
        sleep(Duration::from_millis(300)).await;
        Ok(Response::text("late"))
    });
    let auth = worker.auth();
    http.post("/token", async move |request, _params| {
        Ok(Response::text(auth.sign(request.json::<Json>()?, Expires::in_hours(1))?))
    });
    http.post("/verify", async move |request, _params| {
        let claims: Json = auth.verify(request.text()?).map_err(|problem| problem.with("status", 401))?;
        Ok(Response::json(claims))
    });
    http.post("/fetch", async |request, _params| {
        let what: Json = request.json()?;
        let text = |name: &str| what[name].as_str().unwrap_or_default().to_owned();
        let asking = (0..what["times"].as_u64().unwrap_or(1)).map(|_| {
            let fetch =
                Fetch::new(what["method"].as_str().unwrap_or("GET"), text("url")).header("x-asked", "yes");
            fetch.body(text("body")).send()
        });
        let asking: Vec<_> = asking.collect();
        let mut last = Json::Null;
        for answer in asking {
            last = match answer.await {
                Ok(answer) => json!({
                    "status": answer.status(),
                    "body": answer.text(),
                    "kind": answer.header("content-type"),
                }),
                Err(problem) => json!({ "error": problem.name(), "message": problem.message() }),
            };
        }
        Ok(Response::json(last))
    });
    http.post("/emit/:event", async |request, params| {
        let told = request.session().emit_and_count(&params["event"], request.text()?).await?;
        Ok(Response::json(told))
    });
}
