//! Which hosts user code may send requests to: rules by name, and a check of the addresses that a name turned out to
//! have. A name alone never opens the way into this machine or its network, whoever answers for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::{fmt, io};

use serde::{Deserialize, Serialize};

/// A host that user code may send to, as written in the configuration: `example.com`, `example.com:8443`,
/// `*.example.com`, `10.0.0.1`, `[::1]:80`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRule {
    /// In lower case, an IPv6 address without brackets.
    host: String,
    /// Whether it stands for all names below `host`.
    below: bool,
    /// The only port; none for all.
    port: Option<u16>,
}

/// The text is no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a host, host:port or *.example.com")]
pub struct NoHostRule;

impl FromStr for HostRule {
    type Err = NoHostRule;

    fn from_str(text: &str) -> Result<Self, NoHostRule> {
        let (host, port) = split(text).ok_or(NoHostRule)?;
        let port = port.map(|port| port.parse().map_err(|_| NoHostRule)).transpose()?;
        let (name, below) = host.strip_prefix("*.").map_or((host, false), |name| (name, true));
        let is_address = name.parse::<IpAddr>().is_ok();
        let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let is_name = !name.is_empty() && name.chars().all(is_letter) && !name.starts_with('.');
        match (is_address, is_name, below) {
            (true, _, false) | (false, true, _) => {
                Ok(HostRule { host: name.trim_end_matches('.').to_ascii_lowercase(), below, port })
            }
            _ => Err(NoHostRule),
        }
    }
}

/// A host and its port, if it has one; an IPv6 address may stand in brackets.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        address.parse::<Ipv6Addr>().ok()?;
        return match rest {
            "" => Some((address, None)),
            _ => Some((address, Some(rest.strip_prefix(':')?))),
        };
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Some((text, None));
    }
    Some(text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))))
}

impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = if self.below { "*." } else { "" };
        match (self.host.contains(':'), self.port) {
            (true, Some(port)) => write!(f, "[{}]:{port}", self.host),
            (_, Some(port)) => write!(f, "{below}{}:{port}", self.host),
            (_, None) => write!(f, "{below}{}", self.host),
        }
    }
}

impl HostRule {
    /// Whether it names that host, which may be an IPv6 address in brackets, and port.
    pub fn names(&self, host: &str, port: u16) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        let host = host.to_ascii_lowercase();
        let fits = match self.below {
            true => host.strip_suffix(&self.host).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            false => match (host.parse::<IpAddr>(), self.host.parse::<IpAddr>()) {
                (Ok(one), Ok(other)) => one == other,
                _ => host == self.host,
            },
        };
        fits && self.port.is_none_or(|only| only == port)
    }

    /// Whether a host that it names may have that address: a public one, or one that the rule itself writes out.
    pub fn admits(&self, address: IpAddr) -> bool {
        is_public(address)
            || self
                .host
                .parse::<IpAddr>()
                .is_ok_and(|written| written.to_canonical() == address.to_canonical())
            || (self.host == "localhost" && !self.below && address.to_canonical().is_loopback())
    }
}

/// Why there is no address to connect to.
#[derive(Debug, thiserror::Error)]
pub enum NoAddress {
    /// No name server has an answer.
    #[error("the name cannot be resolved: {0}")]
    Unresolved(io::Error),
    /// The name is there, and has none.
    #[error("the name has no address")]
    Nowhere,
    /// It has this one, which no rule that names the host admits.
    #[error("it is at {0}, an address of this machine or its network")]
    Closed(IpAddr),
}

/// The addresses of a host that the rules open. Whoever connects has to connect to one of these: a second look at the
/// name may give others.
pub async fn open_addresses(rules: &[HostRule], host: &str, port: u16) -> Result<Vec<SocketAddr>, NoAddress> {
    let rules: Vec<_> = rules.iter().filter(|rule| rule.names(host, port)).collect();
    let found = tokio::net::lookup_host((host, port)).await.map_err(NoAddress::Unresolved)?;
    let (open, closed): (Vec<_>, Vec<_>) =
        found.partition(|address| rules.iter().any(|rule| rule.admits(address.ip())));
    match (open.is_empty(), closed.first()) {
        (true, Some(address)) => Err(NoAddress::Closed(address.ip())),
        (true, None) => Err(NoAddress::Nowhere),
        (false, _) => Ok(open),
    }
}

/// Whether an address belongs to the internet at large: not to this machine, its network, or a special purpose.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = matches!(
        address.octets(),
        [0 | 240..=255, ..] | [100, 64..=127, ..] | [192, 0, 0, _] | [198, 18 | 19, ..]
    );
    !(special
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation())
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let inner = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // IPv4 in another dress: as it would be without.
        [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inner(high, low),
        [0x2002, high, low, ..] => inner(high, low),
        [0x64, 0xff9b, ..] | [0x2001, 0xdb8, ..] | [0x2001, 0, ..] | [0x100, 0, 0, 0, ..] => false,
        [first, ..] => !matches!(first & 0xff00, 0xff00 | 0xfc00 | 0xfd00) && first & 0xff80 != 0xfe80,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> HostRule {
        text.parse().expect(text)
    }

    #[test]
    fn rules_name_hosts() {
        for (text, host, port, expected) in [
            ("example.com", "example.com", 443, true),
            ("example.com", "EXAMPLE.com.", 8080, true),
            ("example.com", "www.example.com", 443, false),
            ("example.com", "badexample.com", 443, false),
            ("example.com:8443", "example.com", 8443, true),
            ("example.com:8443", "example.com", 443, false),
            ("*.example.com", "www.example.com", 443, true),
            ("*.example.com", "a.b.example.com", 443, true),
            ("*.example.com", "example.com", 443, false),
            ("*.example.com", ".example.com", 443, false),
            ("*.example.com", "badexample.com", 443, false),
            ("10.0.0.1", "10.0.0.1", 80, true),
            ("[::1]:80", "[0:0::1]", 80, true),
            ("::1", "[::1]", 80, true),
        ] {
            assert_eq!(rule(text).names(host, port), expected, "{text} {host}:{port}");
        }
        for text in ["", "*", "*.", "http://a", "a/b", "a:b", "a:1:2", "*.10.0.0.1", "[a]:1", ".a", "a b"] {
            assert_eq!(text.parse::<HostRule>(), Err(NoHostRule), "{text}");
        }
    }

    #[test]
    fn only_a_rule_that_writes_an_address_out_opens_this_network() {
        for (text, address, expected) in [
            ("example.com", "93.184.216.34", true),
            ("example.com", "10.0.0.1", false),
            ("example.com", "127.0.0.1", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("localhost", "127.0.0.1", true),
            ("localhost", "::1", true),
            ("localhost", "10.0.0.1", false),
            ("*.localhost", "127.0.0.1", false),
        ] {
            assert_eq!(rule(text).admits(address.parse().expect(address)), expected, "{text} {address}");
        }
    }

    #[test]
    fn special_addresses_are_not_public() {
        for special in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
        ] {
            assert!(!is_public(special.parse().expect(special)), "{special}");
        }
        for public in
            ["1.1.1.1", "100.63.0.1", "172.32.0.1", "198.20.0.1", "2606:4700::1111", "64:ff9b::101:101"]
        {
            assert!(is_public(public.parse().expect(public)), "{public}");
        }
    }
}
