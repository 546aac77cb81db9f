//! A list that everybody sees live and those who are logged in may change. Logging in is a plain form of the page; who
//! is logged in is kept in the session, so it holds for all tabs of a browser, on every worker, over restarts.

use sc_sdk::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Deserialize)]
struct Config {
    password: String,
}

#[derive(Deserialize)]
struct Login {
    name: String,
    password: String,
}

#[derive(Deserialize, Serialize)]
struct Todo {
    text: String,
    by: String,
    done: bool,
}

/// The channel of changes: an entry as it is now, or without `todo` when it is gone.
const CHANGES: &str = "todos";

#[controller]
fn run(worker: &mut Worker) -> Result<(), Problem> {
    let config: Config = worker.config()?;

    worker.http().post("/login", async move |request, _params| {
        let login: Login = request.form()?;
        if login.name.trim().is_empty() || login.password != config.password {
            return Ok(Response::redirect("/?wrong"));
        }
        let session = request.session();
        session.set_auth(login.name.trim()).await?;
        session.emit("user", login.name.trim()); // the other tabs
        Ok(Response::redirect("/"))
    });
    worker.http().post("/logout", async |request, _params| {
        let session = request.session();
        session.clear_auth().await?;
        session.emit("user", Json::Null);
        Ok(Response::redirect("/"))
    });

    worker.on_connection(|socket| {
        socket.on_request("user", async |socket, ()| socket.session().get_auth::<String>().await);
        socket.on_request("list", async |socket, ()| {
            Ok(todos(&socket).get::<Json>("list").await?.unwrap_or_else(|| json!({})))
        });
        socket.on_request("add", async |socket, text: String| {
            let todo = Todo { text, by: user(&socket).await?, done: false };
            // Ids of one length, so that the list's order is theirs.
            let id = format!("{:08}", todos(&socket).increment("next", 1).await?);
            todos(&socket).set(["list", &id], &todo).await?;
            changed(&socket, &id, Some(todo));
            Ok(())
        });
        socket.on_request("done", async |socket, (id, done): (String, bool)| {
            user(&socket).await?;
            let Some(mut todo) = todos(&socket).get::<Todo>(["list", &id]).await? else { return Ok(()) };
            todo.done = done;
            todos(&socket).set(["list", &id], &todo).await?;
            changed(&socket, &id, Some(todo));
            Ok(())
        });
        socket.on_request("remove", async |socket, id: String| {
            user(&socket).await?;
            todos(&socket).discard(["list", &id]).await?;
            changed(&socket, &id, None);
            Ok(())
        });
    });
    Ok(())
}

fn todos(socket: &Socket) -> Tree {
    socket.worker().tree("todos")
}

fn changed(socket: &Socket, id: &str, todo: Option<Todo>) {
    socket.worker().exchange().publish(CHANGES, json!({ "id": id, "todo": todo }));
}

/// Who asks; an error for somebody who is not logged in.
async fn user(socket: &Socket) -> Result<String, Problem> {
    let user = socket.session().get_auth::<String>().await?;
    user.ok_or_else(|| Problem::new("NotLoggedInError", "log in to change the list"))
}
