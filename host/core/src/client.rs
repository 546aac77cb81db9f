//! Who a request comes from: its connection's other end, or, when that is a trusted proxy, whom the proxy names.

use std::net::IpAddr;

use crate::config::{Network, Peer};

/// A client as far as it can be trusted to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// Whether it came over TLS.
    pub secure: bool,
}

impl Client {
    /// Of the addresses that proxies added to `X-Forwarded-For`, the last that is no trusted proxy's: what stands
    /// before it, anybody may have written.
    pub fn of(headers: &[(&str, &[u8])], peer: Peer, trusted: &[Network]) -> Self {
        let direct = Client { address: peer.address.to_canonical(), secure: peer.secure };
        if !trusted.iter().any(|network| network.has(peer.address)) {
            return direct;
        }
        Client::behind(headers, peer, trusted)
    }

    /// The same where the connection's other end is believed, whoever it is.
    pub fn behind(headers: &[(&str, &[u8])], peer: Peer, trusted: &[Network]) -> Self {
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.has(address));
        let direct = Client { address: peer.address.to_canonical(), secure: peer.secure };
        let named = |name: &'static str| {
            let values = headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
            // What is no text is no name, but still stands where it stands.
            let names = values.rev().flat_map(|(_, value)| value.rsplit(|byte| *byte == b','));
            names.map(|name| std::str::from_utf8(name).unwrap_or_default().trim())
        };
        let mut address = direct.address;
        for text in named("x-forwarded-for") {
            let Some(next) = parse(text) else { break };
            address = next;
            if !is_trusted(next) {
                break;
            }
        }
        let scheme = named("x-forwarded-proto").next();
        let secure = scheme.map_or(peer.secure, |scheme| matches!(scheme, "https" | "wss"));
        Client { address, secure }
    }
}

/// Whom an address stands for where addresses are counted: an IPv4 address for itself, one of IPv6 for its network of
/// 64 bits, which mostly is one customer's.
pub fn block_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

/// An address, perhaps with a port.
fn parse(text: &str) -> Option<IpAddr> {
    let plain = text.trim_start_matches('[').trim_end_matches(']').parse();
    let address = plain.ok().or_else(|| Some(text.parse::<std::net::SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_customer_count_as_one() {
        let block = |text: &str| block_of(text.parse().expect("an address")).to_string();
        assert_eq!(block("10.1.2.3"), "10.1.2.3");
        assert_eq!(block("::ffff:10.1.2.3"), "10.1.2.3");
        assert_eq!(block("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }

    fn of(peer: &str, forwarded: &[&'static str]) -> String {
        let forwarded: Vec<_> = forwarded.iter().map(|value| value.as_bytes()).collect();
        of_bytes(peer, &forwarded)
    }

    fn of_bytes(peer: &str, forwarded: &[&[u8]]) -> String {
        let headers: Vec<_> = forwarded.iter().map(|value| ("X-Forwarded-For", *value)).collect();
        let peer = Peer { address: peer.parse().expect("an address"), port: 1, secure: false };
        let trusted = [Network { address: IpAddr::from([10, 0, 0, 0]), bits: 8 }];
        Client::of(&headers, peer, &trusted).address.to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(of("1.1.1.1", &["2.2.2.2"]), "1.1.1.1");
        assert_eq!(of("10.0.0.1", &["2.2.2.2"]), "2.2.2.2");
        assert_eq!(of("10.0.0.1", &["6.6.6.6, 2.2.2.2, 10.0.0.2"]), "2.2.2.2");
        assert_eq!(of("10.0.0.1", &["6.6.6.6", "2.2.2.2:99"]), "2.2.2.2");
        assert_eq!(of("10.0.0.1", &["[::2]:80"]), "::2");
        assert_eq!(of("10.0.0.1", &["garbage"]), "10.0.0.1");
        assert_eq!(of("10.0.0.1", &["6.6.6.6, garbage, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(of("10.0.0.1", &[]), "10.0.0.1");
        // Bytes that a client wrote before its proxy's word do not unmake that word.
        assert_eq!(of_bytes("10.0.0.1", &[b"6.6.6.6, \xff, 2.2.2.2"]), "2.2.2.2");
        assert_eq!(of_bytes("10.0.0.1", &[b"6.6.6.6, \xff"]), "10.0.0.1");
        assert_eq!(of_bytes("10.0.0.1", &[b"6.6.6.6", b"\xff"]), "10.0.0.1");
    }
}
