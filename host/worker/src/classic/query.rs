//! Which requests are those of classic clients, and what their queries say.

use crate::upgrade::Head;
use crate::worker::Worker;

/// A query of Engine.IO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query<'q> {
    pub(super) transport: Option<&'q str>,
    /// Which socket it is for; none for a new one.
    pub(super) sid: Option<&'q str>,
    /// The number of the callback that JSONP wants.
    pub(super) callback: Option<&'q str>,
    /// The client takes no bytes.
    pub(super) is_text: bool,
    /// What the client says of its protocol; 2 and 3 do not tell generations apart.
    pub(super) version: Option<&'q str>,
}

impl<'q> Query<'q> {
    /// The query of a classic client's request, if it is one. These begin with the path of sockets and say which
    /// transport they are, or which protocol they speak; modern clients do neither.
    pub(crate) fn of(worker: &Worker, head: &Head<'q>) -> Option<Self> {
        let config = &worker.config;
        if !config.classic.enabled || !head.target.starts_with(&config.protocol.path) {
            return None;
        }
        Self::parse(head.query())
    }

    fn parse(query: &'q str) -> Option<Self> {
        let mut found = Query::default();
        for pair in query.split('&').rev() {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "transport" => found.transport = Some(value),
                "sid" => found.sid = Some(value),
                "j" => found.callback = Some(value),
                "b64" => found.is_text = !value.is_empty(),
                "EIO" => found.version = Some(value),
                _ => {}
            }
        }
        (found.transport.is_some() || found.version.is_some()).then_some(found)
    }

    pub(crate) fn sid(&self) -> Option<&'q str> {
        self.sid
    }
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn a_query_is_classic_by_its_transport_or_protocol() {
        for query in ["", "a=b", "sid=x", "transports=polling", "token=EIO"] {
            assert_eq!(Query::parse(query), None, "{query}");
        }
        let of = |query| Query::parse(query).unwrap_or_else(|| panic!("{query}"));
        let query = of("EIO=2&transport=polling&t=1-0&b64=1&sid=x&j=3&sid=y");
        assert_eq!((query.transport, query.sid, query.callback), (Some("polling"), Some("x"), Some("3")));
        assert!(query.is_text && query.version == Some("2"));
        assert_eq!(of("EIO=3").transport, None);
        assert_eq!(of("transport=").transport, Some(""));
    }
}
