//! Requests of every shape.

use sc_sdk::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Custom {
    #[serde(default)]
    good: bool,
}

#[derive(Deserialize)]
struct Slow {
    ms: u64,
}

pub fn attach(socket: &Socket) {
    socket.on_request_sync("proc", |_socket, data: Json| match data {
        Json::String(text) => Ok(format!("success {text}")),
        other => Ok(format!("success {other}")),
    });
    // Byte by byte what came.
    socket.on_request_sync("echo", |_socket, data: Box<RawValue>| Ok(data));
    socket.on_request_sync("nodata", |_socket, _data: Json| Ok(()));
    socket.on_request_sync("nulldata", |_socket, _data: Json| Ok(Json::Null));
    socket.on_request_sync("failstr", |_socket, _data: Json| fail(Problem::text("just a string")));
    socket.on_request_sync("failplain", |_socket, _data: Json| fail(Problem::unnamed("plain")));
    socket.on_request_sync("failextra", |_socket, _data: Json| {
        let problem = Problem::new("CustomError", "Failed to do it");
        fail(problem.with("code", 42).with("info", json!({ "a": [1, 2] })))
    });
    socket.on_request_sync("customProc", |_socket, custom: Custom| match custom.good {
        true => Ok("Success"),
        false => {
            let problem = Problem::new("BadCustomError", "The custom procedure was told to fail");
            Err(problem.with("detail", json!({ "told": "bad" })))
        }
    });
    socket.on_request("noanswer", async |_socket, _data: Json| {
        std::future::pending::<()>().await;
        Ok(())
    });
    socket.on_request("greeting", async |_socket, _data: Json| {
        sleep(Duration::from_millis(20)).await;
        Ok("hello world")
    });
    socket.on_request("performTask", async |_socket, _data: Json| {
        sleep(Duration::from_secs(1)).await;
        Ok("done")
    });
    socket.on_request("slow", async |_socket, slow: Slow| {
        sleep(Duration::from_millis(slow.ms)).await;
        Ok("done")
    });
    socket.on_request("askme", async |socket, data: Json| socket.invoke::<Json>("clientProc", data).await);
    socket.on("ev", |socket, data: Json| socket.emit("reply", json!({ "got": data })));
}

fn fail(problem: Problem) -> Result<(), Problem> {
    Err(problem)
}
