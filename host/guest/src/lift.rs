//! The guest's records as the host's words, checked.

use sc_core::controller::Failure;

use crate::bindings::socketcluster::controller::types;
use crate::context::{Ended, json_object};

/// An error, and the bytes it carries.
pub(crate) fn failure(function: &str, error: types::Failure) -> Result<(Failure, usize), Ended> {
    Ok(match error {
        types::Failure::Text(text) => {
            let bytes = text.len();
            (Failure::Text(text.into()), bytes)
        }
        types::Failure::Error(types::Problem { name, message, extra }) => {
            if let Some(extra) = &extra {
                json_object(function, extra)?;
            }
            let bytes =
                message.len() + name.as_ref().map_or(0, String::len) + extra.as_ref().map_or(0, String::len);
            let error = Failure::Error { name: name.map(Into::into), message: message.into(), extra };
            (error, bytes)
        }
    })
}
