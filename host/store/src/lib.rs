//! The store role: pub/sub between workers and trees of JSON values under key paths. [`run`] is the process,
//! [`client`] is what workers import; both agree on [`shard`].

pub mod change;
pub mod client;
pub mod error;
#[cfg(test)]
mod fake;
pub mod journal;
pub mod keyspace;
mod pubsub;
mod server;
pub mod shard;

pub use error::StoreError;
pub use server::run;
