//! Words that every role shares: ids, limits, the resolved configuration, what user code can be told and can ask
//! for, and the links between processes. A closed list: what only one role needs lives in that role.

pub mod affinity;
pub mod backoff;
pub mod causes;
pub mod client;
pub mod config;
pub mod controller;
pub mod ids;
pub mod limits;
pub mod link;
pub mod log;
pub mod moment;
pub mod outbound;
pub mod prefixed;
pub mod session_id;
pub mod site;
pub mod tls;
pub mod upgrade;
