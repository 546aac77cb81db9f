//! Values to JSON text and back.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The text of a value; none for `()` and its like, which are "no data" on the wire, where `null` is data.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Option<String>, serde_json::Error> {
    let text = serde_json::to_string(value)?;
    Ok((size_of::<T>() != 0 || text != "null").then_some(text))
}

/// Like [`encode`], for where a mistake in the controller's types can only be logged.
pub(crate) fn encode_or_log<T: Serialize>(value: &T, what: &str, name: &str) -> Option<Option<String>> {
    match encode(value) {
        Ok(text) => Some(text),
        Err(error) => {
            crate::error!("{what} {name} is not sent: its data does not fit into JSON: {error}");
            None
        }
    }
}

/// The value in a text; no data counts as `null`.
pub(crate) fn decode<T: DeserializeOwned>(text: Option<&str>) -> Result<T, serde_json::Error> {
    serde_json::from_str(text.unwrap_or("null"))
}

/// What serde says, without the place in a text that nobody sees.
pub(crate) fn misfit(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Json, json};

    #[test]
    fn unit_is_no_data_and_null_is_data() {
        assert_eq!(encode(&()).unwrap(), None);
        assert_eq!(encode(&Json::Null).unwrap().as_deref(), Some("null"));
        assert_eq!(encode(&None::<u8>).unwrap().as_deref(), Some("null"));
        assert_eq!(encode(&&json!({ "a": 1 })).unwrap().as_deref(), Some(r#"{"a":1}"#));
        assert!(encode(&std::collections::BTreeMap::from([((1, 2), 3)])).is_err());
    }

    #[test]
    fn no_data_arrives_as_null() {
        decode::<()>(None).unwrap();
        assert_eq!(decode::<Json>(None).unwrap(), Json::Null);
        assert_eq!(decode::<Option<u8>>(Some("3")).unwrap(), Some(3));
        assert!(decode::<u8>(None).is_err());
    }
}
