//! Which worker a request belongs to, by the session id or Engine.IO id it carries.
//!
//! As in SocketCluster 0.9, the id is the value of a parameter or cookie that is called `ssid` or `sid`, or whose name
//! ends so after a character that is neither letter nor digit. The original believed the first such value. Here the
//! first one counts whose MAC shows that this host made it: so an unrelated `sid` in a query does not lead a session
//! away from its worker, and nobody can choose a worker to burden.

use crate::ids::WorkerId;
use crate::session_id::SessionIds;

/// The worker that a request's query, or else one of its `Cookie` headers, names. It need not live.
pub fn worker_of<'a>(
    ids: &SessionIds,
    query: Option<&str>,
    cookies: impl IntoIterator<Item = &'a [u8]>,
) -> Option<WorkerId> {
    let in_query = query.and_then(|query| named_in(ids, query.as_bytes()));
    in_query.or_else(|| cookies.into_iter().find_map(|cookies| named_in(ids, cookies)))
}

fn named_in(ids: &SessionIds, text: &[u8]) -> Option<WorkerId> {
    const NAME: &[u8] = b"sid=";
    let mut from = 0;
    while let Some(found) = text.get(from..)?.windows(NAME.len()).position(|window| window == NAME) {
        let name = from + found;
        from = name + NAME.len();
        let before = text.get(..name)?;
        let before = before.strip_suffix(b"s").filter(|before| starts_a_name(before)).unwrap_or(before);
        if !starts_a_name(before) {
            continue;
        }
        let value = text.get(from..)?.split(|byte| matches!(byte, b';' | b'&')).next()?;
        if let Some(worker) = std::str::from_utf8(value).ok().and_then(|value| ids.worker(value.trim())) {
            return Some(worker);
        }
    }
    None
}

fn starts_a_name(before: &[u8]) -> bool {
    before.last().is_none_or(|byte| !byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session_id::ClusterKey;

    fn ids() -> SessionIds {
        SessionIds { key: ClusterKey([1; 32]), host: String::new(), port: 8000 }
    }

    fn id(worker: u16) -> String {
        ids().mint(WorkerId(worker), 1, false).expect("random bytes")
    }

    fn cookie(text: &str) -> Option<WorkerId> {
        worker_of(&ids(), None, [text.as_bytes()])
    }

    #[test]
    fn classic_names_are_found() {
        let id = id(3);
        for name in ["sid", "ssid", "n/app/ssid", "n/app/sid", "a=b; ssid", "a=b;sid"] {
            assert_eq!(cookie(&format!("{name}={id}; c=d")), Some(WorkerId(3)), "{name}");
        }
        for name in ["foosid", "foossid", "sssid", "9sid", "Sid"] {
            assert_eq!(cookie(&format!("{name}={id}")), None, "{name}");
        }
        let query = format!("EIO=2&transport=polling&sid={id}&t=1");
        assert_eq!(worker_of(&ids(), Some(&query), []), Some(WorkerId(3)));
    }

    #[test]
    fn the_query_comes_first_and_what_is_not_ours_does_not_count() {
        let (one, two) = (id(1), format!("sid={}", id(2)));
        let forged = one.replacen("_w1_", "_w0_", 1);
        let cookies = format!("n/app/ssid={forged}; n/app/ssid={one}");
        let cookies = [&b"a=b"[..], cookies.as_bytes()];
        assert_eq!(worker_of(&ids(), Some(&two), cookies), Some(WorkerId(2)));
        assert_eq!(worker_of(&ids(), Some("sid=5"), cookies), Some(WorkerId(1)));
        assert_eq!(worker_of(&ids(), None, []), None);
        for nothing in ["", "sid", "sid=", "sid=;", "ssid=\u{e9}", "sid=_w3_8000_0_xOC13VNpeGd48JdRAAAB"] {
            assert_eq!(cookie(nothing), None, "{nothing}");
        }
    }
}
