//! Bytes and messages: client packets of the SocketCluster protocol, frames of the links between processes, close
//! codes. No tokio, nothing of ours beneath it.

pub mod classic;
pub mod close;
pub mod encode;
pub mod frame;
pub mod packet;
pub mod store;
