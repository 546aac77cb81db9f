//! What clients of the classic generation (socketcluster-client 0.9.x and 1.0.x) speak: Engine.IO packets, which carry
//! JSON events. No input can make it panic, and none makes it hold more than a copy of itself.
//!
//! Source: Engine.IO protocols 2 and 3 and the event layers above them, as SocketCluster 0.9.90 with engine.io 1.3.1
//! has them.

pub mod encoding;
pub mod event;
pub mod jsonp;
pub mod outbound;
pub mod packet;
pub mod payload;

#[cfg(test)]
mod tests;
