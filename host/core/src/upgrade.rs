//! Which requests ask for a socket. Balancers and workers must agree on it: what a balancer gives away as one must not
//! be served as anything else.

/// Whether a request asks for a WebSocket, or for any other protocol where sockets open. A wish for another protocol
/// elsewhere, as some HTTP clients have for HTTP/2, is one that need not be granted.
pub fn is_wanted<'a>(
    path: &str,
    socket_path: &str,
    headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
) -> bool {
    let upgrade = headers.clone().find(|(name, _)| name.eq_ignore_ascii_case("upgrade"));
    let Some(upgrade) = upgrade.map(|(_, value)| String::from_utf8_lossy(value)) else { return false };
    let has = |value: &str, word: &str| value.split(',').any(|token| token.trim().eq_ignore_ascii_case(word));
    (has(&upgrade, "websocket") || path == socket_path)
        && headers
            .filter(|(name, _)| name.eq_ignore_ascii_case("connection"))
            .filter_map(|(_, value)| std::str::from_utf8(value).ok())
            .any(|value| has(value, "upgrade"))
}

/// Whether a request, once given to a worker, is one more socket there. Of classic clients that is the first request,
/// whether it polls or asks for a WebSocket; the others name their socket.
pub fn opens<'a>(
    path: &str,
    query: Option<&str>,
    socket_path: &str,
    headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
) -> bool {
    let has = |name: &str| query.is_some_and(|query| query.split('&').any(|pair| pair.starts_with(name)));
    let is_classic = has("transport=") && path.starts_with(socket_path);
    if is_classic && has("sid=") {
        return false;
    }
    is_wanted(path, socket_path, headers) || (is_classic && has("transport=polling"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_request_of_a_classic_client_opens_a_socket() {
        let headers = [("Upgrade", &b"websocket"[..]), ("Connection", b"Upgrade")];
        for (path, query, is_upgrade, expected) in [
            ("/s/", Some("EIO=2&transport=polling&t=1"), false, true),
            ("/s/more", Some("transport=polling"), false, true),
            ("/s/", Some("EIO=2&transport=polling&sid=x"), false, false),
            ("/s/", Some("EIO=2&transport=websocket"), true, true),
            ("/s/", Some("transport=websocket&sid=x"), true, false),
            ("/s/", Some("sid=x"), true, true),
            ("/s/", None, true, true),
            ("/page", Some("transport=polling"), false, false),
        ] {
            let headers = headers.into_iter().filter(|_| is_upgrade);
            assert_eq!(opens(path, query, "/s/", headers), expected, "{path} {query:?}");
        }
    }

    #[test]
    fn a_websocket_anywhere_and_anything_where_sockets_open() {
        for (path, upgrade, connection, expected) in [
            ("/x", "websocket", "keep-alive, Upgrade", true),
            ("/x", "h2c, WebSocket", "upgrade", true),
            ("/x", "h2c", "upgrade", false),
            ("/sockets/", "h2c", "upgrade", true),
            ("/sockets/", "websocket", "keep-alive", false),
        ] {
            let headers = [("Upgrade", upgrade.as_bytes()), ("Connection", connection.as_bytes())];
            assert_eq!(is_wanted(path, "/sockets/", headers.into_iter()), expected, "{path} {upgrade}");
        }
        assert!(!is_wanted("/sockets/", "/sockets/", std::iter::empty()));
    }
}
