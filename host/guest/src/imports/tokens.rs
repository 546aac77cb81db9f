//! `tokens`: signing and verifying, computed at once.

use std::time::Duration;

use sc_core::controller::Failure;

use crate::bindings::socketcluster::controller::tokens::Host;
use crate::bindings::socketcluster::controller::types;
use crate::context::{Context, json_object};

impl Host for Context {
    fn sign(
        &mut self,
        claims: String,
        expires_in_s: Option<u32>,
    ) -> wasmtime::Result<Result<String, types::Problem>> {
        json_object("tokens.sign", &claims)?;
        let expires_in = expires_in_s.map(|seconds| Duration::from_secs(seconds.into()));
        Ok(self.view().sign(&claims, expires_in).map_err(problem))
    }

    fn verify(&mut self, token: String) -> wasmtime::Result<Result<String, types::Problem>> {
        Ok(self.view().verify(&token).map_err(problem))
    }
}

fn problem(failure: Failure) -> types::Problem {
    match failure {
        Failure::Text(message) => types::Problem { name: None, message: message.into(), extra: None },
        Failure::Error { name, message, extra } => {
            types::Problem { name: name.map(Into::into), message: message.into(), extra }
        }
    }
}
