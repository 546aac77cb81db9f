//! `[api]`: the port at which backends may ask for things, and the key that they have to know.

use std::net::SocketAddr;
use std::path::Path;

use super::ApiSettings;
use super::key_files::{SECRET_HELP, refuse, secret};
use super::problem::Problem;
use super::raw::Layers;

/// Bytes that a key has at least.
const KEY_MIN: usize = 16;

/// The API, if it is configured; half of it is a problem.
pub(super) fn resolve(layers: &mut Layers, folder: &Path) -> Option<ApiSettings> {
    let listen = layers.text("api.listen");
    let file = layers.path("api.key_file", folder);
    let (Some(listen), Some(file)) = (&listen, &file) else {
        let lacks = match (listen, file) {
            (None, None) => return None,
            (None, Some(_)) => "api.listen",
            (Some(_), _) => "api.key_file",
        };
        let message = format!("the API needs `api.listen` and `api.key_file`, and `{lacks}` is missing");
        let given = if lacks == "api.listen" { "api.key_file" } else { "api.listen" };
        layers.problems.push(Problem::new(&message, "the other one", layers.origin(given)).help(SECRET_HELP));
        return None;
    };
    let address: Option<SocketAddr> = listen.parse().ok();
    if address.is_none() {
        let message = format!("`api.listen` cannot be \"{}\"", listen.escape_debug());
        let help = "write an IP address and a port: \"127.0.0.1:8001\"";
        layers.problems.push(Problem::new(&message, "no address", layers.origin("api.listen")).help(help));
    }
    let key = secret(&layers.files, file, KEY_MIN);
    let key = key.map_err(|wrong| refuse(layers, "api.key_file", wrong)).ok();
    Some(ApiSettings { listen: address?, key: key?.into() })
}
