//! All wasmtime code: components are compiled once and kept in a cache, instances are started from the mapped file,
//! called under limits, and thrown away when a call fails. Implements [`sc_core::controller`] and [`sc_core::site`];
//! knows nothing of sockets or links.

mod balancer;
mod bindings;
mod cache;
pub mod cache_dir;
mod clock;
mod confined;
mod context;
mod engine;
mod error;
mod fault;
mod fit;
mod imports;
mod inspect;
mod instance;
mod lift;
mod lower;
mod meter;
mod quota;
mod site;
mod source;
mod store;
mod voice;

pub use balancer::{BalancerGuest, BalancerGuests};
pub use cache::{Cache, content_hash};
pub use engine::{Engine, engine};
pub use error::GuestError;
pub use inspect::{Inspection, imports, inspect};
pub use instance::Guest;
pub use site::{SiteInspection, WasiSite, WasiSites, check_site, inspect_site, is_site};
pub use source::Guests;
pub use store::{StoreGuest, StoreGuests};
