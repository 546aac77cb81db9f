//! HTTP: which requests this controller answers, and how; and its own to other servers.

mod fetch;
mod request;
mod response;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

pub(crate) use self::fetch::arrive;
pub use self::fetch::{Fetch, Fetched};
pub use self::request::{Params, Request};
pub use self::response::Response;
use crate::{Problem, executor, host};

type OnRequest = dyn Fn(Request, Params, u64);

thread_local! {
    /// Handlers by method and pattern.
    static ROUTES: RefCell<BTreeMap<(String, String), Rc<OnRequest>>> = const { RefCell::new(BTreeMap::new()) };
}

/// The routes of this controller: [`Worker::http`](crate::Worker::http).
///
/// The host serves what is its own first (the socket endpoint, `/sc/`, files of the public folder), then these. The
/// more exact pattern wins; a `HEAD` is answered by its `GET`; `OPTIONS` and other methods of a known path, and
/// unknown paths, are answered by the host. Each handler may await: the session, the stores, a client.
///
/// ```no_run
/// use sc_sdk::prelude::*;
///
/// #[controller]
/// fn run(worker: &mut Worker) {
///     worker.http().get("/hello/:name", async |request, params| {
///         let visits = request.session().increment("visits", 1).await?;
///         Ok(Response::text(format!("hello {}, visit {visits}", params["name"])))
///     });
/// }
/// # fn main() {}
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Http(());

impl Http {
    pub(crate) const fn handle() -> Self {
        Http(())
    }

    /// Answers `GET` and `HEAD` requests of the pattern.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.http().get("/health/*rest", async |_request, _params| Ok(Response::text("fine")));
    /// # }
    /// ```
    pub fn get<F>(&self, pattern: &str, handler: F)
    where
        F: AsyncFn(Request, Params) -> Result<Response, Problem> + 'static,
    {
        self.on("GET", pattern, handler);
    }

    /// Answers `POST` requests of the pattern.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.http().post("/todos", async |request, _params| {
    ///     let todo: Json = request.json()?;
    ///     request.worker().global().add("todos", todo).await?;
    ///     Ok(Response::redirect("/"))
    /// });
    /// # }
    /// ```
    pub fn post<F>(&self, pattern: &str, handler: F)
    where
        F: AsyncFn(Request, Params) -> Result<Response, Problem> + 'static,
    {
        self.on("POST", pattern, handler);
    }

    /// Answers requests of every method of the pattern.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.http().any("/echo", async |request, _params| Ok(Response::bytes(request.body())));
    /// # }
    /// ```
    pub fn any<F>(&self, pattern: &str, handler: F)
    where
        F: AsyncFn(Request, Params) -> Result<Response, Problem> + 'static,
    {
        self.on("*", pattern, handler);
    }

    /// Answers what nothing else does.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.http().fallback(async |request, _params| {
    ///     Ok(Response::text(format!("no {} here", request.path())).with_status(404))
    /// });
    /// # }
    /// ```
    pub fn fallback<F>(&self, handler: F)
    where
        F: AsyncFn(Request, Params) -> Result<Response, Problem> + 'static,
    {
        self.on("*", "*", handler);
    }

    /// Answers requests of one method and a pattern: `"/users/:id"` has a parameter, `"/files/*path"` takes all that
    /// follows, `"*"` is every path that nothing else takes; so is the method `"*"`. A second handler of the same
    /// method and pattern replaces the first.
    ///
    /// The handler's error becomes the answer: an object with its name, message and members, with the status of its
    /// member `status`, or 500.
    ///
    /// ```no_run
    /// # use sc_sdk::prelude::*;
    /// # fn example(worker: &Worker) {
    /// worker.http().on("DELETE", "/users/:id", async |request, params| {
    ///     match request.worker().tree("users").remove(&params["id"]).await? {
    ///         Some(_) => Ok(Response::empty()),
    ///         None => Err(Problem::new("NotFoundError", "there is no such user").with("status", 404)),
    ///     }
    /// });
    /// # }
    /// ```
    pub fn on<F>(&self, method: &str, pattern: &str, handler: F)
    where
        F: AsyncFn(Request, Params) -> Result<Response, Problem> + 'static,
    {
        let handler = Rc::new(handler);
        let on_request = move |request: Request, params: Params, id: u64| {
            let handler = Rc::clone(&handler);
            executor::spawn(async move {
                let path = request.path().to_owned();
                let response = handler(request, params).await.unwrap_or_else(|problem| {
                    let response = Response::problem(&problem);
                    if response.status() >= 500 {
                        crate::warn!("the request for {path} failed: {problem}");
                    }
                    response
                });
                response.send(id);
            });
        };
        let key = (method.to_owned(), pattern.to_owned());
        let old = ROUTES.with_borrow_mut(|routes| routes.insert(key, Rc::new(on_request)));
        // The old handler may hold anything.
        drop(old);
        host::route(method, pattern);
    }
}

/// Hands a request to the handler of its method, or to that of all methods.
pub(crate) fn request(id: u64, request: host::HttpRequest) {
    let handler = ROUTES.with_borrow(|routes| {
        let of = |method: &str| routes.get(&(method.to_owned(), request.route.clone())).cloned();
        let head = || if request.method == "HEAD" { of("GET") } else { None };
        of(&request.method).or_else(head).or_else(|| of("*"))
    });
    match handler {
        Some(handler) => {
            let (request, params) = Request::new(request);
            handler(request, params, id);
        }
        None => Response::problem(&Problem::unnamed("no handler").with("status", 404)).send(id),
    }
}
