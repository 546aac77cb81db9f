//! Every operation on the stores' data, named as in the SDK.

use sc_sdk::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
pub struct Operation {
    op: String,
    /// `session`, `global` or a tree's name.
    of: String,
    #[serde(default)]
    path: Vec<String>,
    #[serde(default)]
    value: Option<Json>,
    #[serde(default)]
    expected: Option<Json>,
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    ms: u64,
    #[serde(default)]
    by: i64,
}

impl Operation {
    /// Does it, and gives the answer as JSON.
    pub async fn run(self, session: &Session, worker: &Worker) -> Result<Json, Problem> {
        let tree: Tree = match self.of.as_str() {
            "session" => Tree::clone(session),
            "global" => worker.global(),
            name => worker.tree(name),
        };
        let Operation { path, value, .. } = self;
        let given = || value.clone().unwrap_or(Json::Null);
        Ok(match self.op.as_str() {
            "get" => tree.get::<Json>(path).await?.unwrap_or("nothing".into()),
            "has" => tree.has(path).await?.into(),
            "count" => tree.count(path).await?.into(),
            "getRange" => tree.get_range(path, self.from, self.to).await?.unwrap_or(Json::Null),
            "getExpiry" => json!(tree.get_expiry(path).await?.is_some()),
            "set" => tree.set(path, given()).await?.into(),
            "add" => tree.add(path, given()).await?.into(),
            "concat" => tree.concat(path, given()).await?.into(),
            "increment" => tree.increment(path, self.by).await?.into(),
            "compareAndSet" => tree.compare_and_set(path, self.expected, value).await?.into(),
            "remove" => tree.remove(path).await?.unwrap_or("nothing".into()),
            "discard" => tree.discard(path).await?.into(),
            "removeRange" => tree.remove_range(path, self.from, self.to).await?.unwrap_or(Json::Null),
            "pop" => tree.pop(path).await?.unwrap_or("nothing".into()),
            "expire" => tree.expire(path, Duration::from_millis(self.ms)).await?.into(),
            "unexpire" => tree.unexpire(path).await?.into(),
            "setLarge" => tree.set(path, "x".repeat(self.ms as usize)).await?.into(),
            "run" => tree.run(path, &self.from, value).await?,
            "runAtEnd" => {
                tree.run_at_end(path, &self.from, value);
                Json::Null
            }
            other => return Err(Problem::new("UnknownError", format!("there is no {other}"))),
        })
    }
}
