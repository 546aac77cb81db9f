//! `auth-keys`: the key that signs tokens.

use sc_core::controller::Command;

use crate::bindings::socketcluster::controller::auth_keys::Host;
use crate::context::{Context, Ended};

/// Longest key in bytes; it travels to every worker in one packet.
const KEY_MAX: usize = 16 * 1024;

impl Host for Context {
    fn rotate(&mut self, key: String) -> wasmtime::Result<()> {
        if key.is_empty() || key.len() > KEY_MAX {
            return Err(Ended::argument(format!("auth-keys.rotate: a key has 1 to {KEY_MAX} bytes")).into());
        }
        if !self.view().may_rotate() {
            let text = "auth-keys.rotate: this controller may not replace the key, unless sc.toml says \
                        rotation = true in [auth]";
            return Err(Ended::argument(text).into());
        }
        let bytes = key.len();
        Ok(self.push(Command::RotateAuthKey(key.into()), bytes)?)
    }
}
