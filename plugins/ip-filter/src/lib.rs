//! Lets clients in by their addresses, and keeps others out, before a worker hears of them.

use std::net::IpAddr;

use ipnet::IpNet;
use sc_sdk::balancer::prelude::*;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    deny: Vec<String>,
    #[serde(default = "forbidden")]
    status: u16,
    #[serde(default = "sorry")]
    text: String,
    #[serde(default)]
    close: bool,
}

fn forbidden() -> u16 {
    403
}

fn sorry() -> String {
    "Not allowed from your address.\n".to_owned()
}

/// Who may pass.
#[derive(Debug)]
struct Filter {
    /// If there are any, only these.
    allow: Vec<IpNet>,
    /// None of these.
    deny: Vec<IpNet>,
}

impl Filter {
    fn new(config: &Config) -> Result<Self, Problem> {
        if config.allow.is_empty() && config.deny.is_empty() {
            return Err(wrong(
                "`allow` and `deny` are both empty: name networks, such as deny = [\"192.0.2.0/24\"]",
            ));
        }
        if !(400..=599).contains(&config.status) {
            return Err(wrong(&format!("`status` is {}, and must be from 400 to 599", config.status)));
        }
        Ok(Filter { allow: networks("allow", &config.allow)?, deny: networks("deny", &config.deny)? })
    }

    fn passes(&self, address: IpAddr) -> bool {
        let has = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        !has(&self.deny) && (self.allow.is_empty() || has(&self.allow))
    }
}

fn networks(key: &str, texts: &[String]) -> Result<Vec<IpNet>, Problem> {
    texts.iter().map(|text| network(key, text)).collect()
}

/// An address stands for itself alone. What looks like a mistake is one: a filter must not mean something else.
fn network(key: &str, text: &str) -> Result<IpNet, Problem> {
    let parsed = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let Some(network) = parsed else {
        let form = "write an address or a network: \"192.0.2.7\", \"10.0.0.0/8\", \"2001:db8::/32\"";
        return Err(wrong(&format!("`{key}` holds \"{}\": {form}", text.escape_debug())));
    };
    if network.addr() != network.network() {
        return Err(wrong(&format!(
            "`{key}` holds \"{text}\", an address within a network: write \"{}\"",
            network.trunc()
        )));
    }
    if let IpNet::V6(mapped) = network
        && mapped.addr().to_ipv4_mapped().is_some()
    {
        return Err(wrong(&format!(
            "`{key}` holds \"{text}\": write IPv4 networks as such, \"192.0.2.0/24\""
        )));
    }
    Ok(network)
}

fn wrong(message: &str) -> Problem {
    Problem::new("ConfigError", format!("the config of ip-filter does not fit: {message}"))
}

#[balancer]
fn run(balancer: &mut Balancer) -> Result<(), Problem> {
    let config: Config = balancer.config()?;
    let filter = Filter::new(&config)?;
    let decide = move |request: &Arrival| {
        let address = request.address();
        if address.parse().is_ok_and(|address| filter.passes(address)) {
            return allow();
        }
        debug!("{address} is kept out");
        match config.close {
            true => close(),
            false => answer(Response::text(&config.text).with_status(config.status)),
        }
    };
    let decide = std::rc::Rc::new(decide);
    let same = std::rc::Rc::clone(&decide);
    balancer.on_request(move |request| decide(request));
    balancer.on_upgrade(move |request| same(request));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(allow: &[&str], deny: &[&str]) -> Result<Filter, String> {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let (allow, deny) = (texts(allow), texts(deny));
        let config = Config { allow, deny, status: 403, text: sorry(), close: false };
        Filter::new(&config).map_err(|problem| problem.message().to_owned())
    }

    #[test]
    fn what_is_denied_beats_what_is_allowed() {
        let all_but = filter(&[], &["192.0.2.0/24", "2001:db8::1"]).expect("a filter");
        let only = filter(&["10.0.0.0/8", "::1"], &["10.1.0.0/16"]).expect("a filter");
        for (filter, address, expected) in [
            (&all_but, "192.0.2.9", false),
            (&all_but, "192.0.3.9", true),
            (&all_but, "2001:db8::1", false),
            (&all_but, "2001:db8::2", true),
            (&only, "10.2.0.1", true),
            (&only, "10.1.0.1", false),
            (&only, "11.0.0.1", false),
            (&only, "::1", true),
            (&only, "::2", false),
        ] {
            assert_eq!(filter.passes(address.parse().expect("an address")), expected, "{address}");
        }
    }

    #[test]
    fn what_is_no_network_is_told_with_what_would_be() {
        for (text, help) in [
            ("10.0.0.1/8", "\"10.0.0.0/8\""),
            ("10.0.0.0/33", "write an address or a network"),
            ("example.com", "\"example.com\""),
            ("::ffff:10.0.0.0/104", "IPv4 networks as such"),
        ] {
            let message = filter(&[], &[text]).expect_err(text);
            assert!(message.contains("`deny`") && message.contains(help), "{message}");
        }
        assert!(filter(&[], &[]).expect_err("empty").contains("both empty"));
    }
}
