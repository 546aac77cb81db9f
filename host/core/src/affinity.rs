//! Which worker a request belongs to, by the session or Engine.IO id it carries. The rule is the classic one: a
//! parameter or cookie whose name ends in `ssid` or `sid` after a character that is neither letter nor digit. Where
//! the original stopped at the first such value, the first one that names a worker counts, so that an unrelated `sid`
//! in a query does not cost a session its worker.

use crate::ids::{WorkerId, worker_named_by};

/// The worker that a request's query, or else one of its `Cookie` headers, names. It need not live.
pub fn worker_of<'a>(query: Option<&str>, cookies: impl IntoIterator<Item = &'a [u8]>) -> Option<WorkerId> {
    query.and_then(|query| named_in(query.as_bytes())).or_else(|| cookies.into_iter().find_map(named_in))
}

fn named_in(text: &[u8]) -> Option<WorkerId> {
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
        let value = text.get(from..)?.split(|byte| *byte == b';').next()?;
        if let Some(worker) = std::str::from_utf8(value).ok().and_then(worker_named_by) {
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

    fn cookie(text: &str) -> Option<WorkerId> {
        worker_of(None, [text.as_bytes()])
    }

    #[test]
    fn classic_names_are_found() {
        const ID: &str = "_w3_8000_0_xOC13VNpeGd48JdRAAAB";
        for name in ["sid", "ssid", "n/app/ssid", "n/app/sid", "a=b; ssid", "a=b;sid"] {
            assert_eq!(cookie(&format!("{name}={ID}; c=d")), Some(WorkerId(3)), "{name}");
        }
        for name in ["foosid", "foossid", "sssid", "9sid", "Sid"] {
            assert_eq!(cookie(&format!("{name}={ID}")), None, "{name}");
        }
        let query = format!("EIO=2&transport=polling&sid={ID}&t=1");
        assert_eq!(worker_of(Some(&query), []), Some(WorkerId(3)));
    }

    #[test]
    fn the_query_comes_first_and_what_names_no_worker_does_not_count() {
        let cookies = [&b"a=b"[..], b"foo_sid=bar; n/app/ssid=h.example_w1_8000_0_a_b"];
        assert_eq!(worker_of(Some("sid=_w2_8000_0_a"), cookies), Some(WorkerId(2)));
        assert_eq!(worker_of(Some("sid=5"), cookies), Some(WorkerId(1)));
        assert_eq!(worker_of(None, []), None);
        for nothing in ["", "sid", "sid=", "sid=;", "ssid=\u{e9}", "sid=_w99999_8000_0_a", "sid=w1"] {
            assert_eq!(cookie(nothing), None, "{nothing}");
        }
    }
}
