//! Which certificate a client gets: one for the name that it asks for, of a kind whose signatures it takes.

use std::collections::HashMap;
use std::sync::Arc;

use sc_core::tls::Identity;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode as _;

use super::identity::{IdentityError, certified, names};

type Certificates = Vec<Arc<CertifiedKey>>;

/// All certificates, by the names that they are for.
#[derive(Debug)]
pub(super) struct ByName {
    /// Names and patterns in lower case. One may have several, of different kinds.
    names: HashMap<String, Certificates>,
    /// All of them, for who names no host or another one.
    all: Certificates,
}

impl ByName {
    pub(super) fn new(identities: &[Identity], provider: &CryptoProvider) -> Result<Self, IdentityError> {
        let mut by_name = ByName { names: HashMap::new(), all: Vec::new() };
        for identity in identities {
            let certificate = Arc::new(certified(identity, provider)?);
            let leaf = identity.chain.first().and_then(|der| CertificateInner::<Raw>::from_der(der).ok());
            for name in leaf.iter().flat_map(names) {
                by_name.names.entry(name).or_default().push(Arc::clone(&certificate));
            }
            by_name.all.push(certificate);
        }
        Ok(by_name)
    }

    /// Certificates for that host: by its name, by a pattern, or all.
    fn of(&self, host: Option<&str>) -> &Certificates {
        let Some(host) = host.map(str::to_ascii_lowercase) else { return &self.all };
        let pattern = || host.split_once('.').map(|(_, domain)| format!("*.{domain}"));
        let named = self.names.get(&host).or_else(|| self.names.get(&pattern()?));
        named.unwrap_or(&self.all)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificates = self.of(hello.server_name());
        let takes = |certificate: &&Arc<CertifiedKey>| {
            certificate.key.choose_scheme(hello.signature_schemes()).is_some()
        };
        certificates.iter().find(takes).or_else(|| certificates.first()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(names: &[&str]) -> Identity {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        Identity {
            chain: vec![made.cert.der().to_vec().into()],
            key: made.signing_key.serialize_der().into(),
        }
    }

    #[test]
    fn names_come_before_patterns_and_patterns_before_the_first() {
        let all = [
            identity(&["first.org"]),
            identity(&["*.Example.com"]),
            identity(&["a.example.com", "b.example.com", "10.0.0.1"]),
        ];
        let by_name = ByName::new(&all, &super::super::server::provider()).expect("fine");
        for (host, expected) in [
            (None, 0),
            (Some("first.org"), 0),
            (Some("unknown.org"), 0),
            (Some("A.EXAMPLE.com"), 2),
            (Some("c.example.com"), 1),
            (Some("x.c.example.com"), 0),
            (Some("example.com"), 0),
        ] {
            let chain = by_name.of(host).first().expect("a certificate").cert.clone();
            assert_eq!(chain[0].as_ref(), &all[expected].chain[0][..], "{host:?}");
        }
    }
}
