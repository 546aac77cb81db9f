//! A middleware that lets all events through: what it costs to ask one.

use sc_sdk::middleware::prelude::*;

#[middleware]
fn run(chain: &mut Middleware) {
    chain.on(Line::Transmit, async |_action| allow());
}
