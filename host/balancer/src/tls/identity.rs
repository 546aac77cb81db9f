//! A certificate as the configuration has it: what it is for, how long it holds, and whether its key is its own.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sc_core::tls::Identity;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, InconsistentKeys};
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityInfo {
    /// The hosts it is for: names, patterns such as `*.example.com`, addresses.
    pub names: Vec<String>,
    /// Its last moment.
    pub until: SystemTime,
    /// The same for people: `2027-01-31T12:00:00Z`.
    pub until_text: String,
    /// The place in the chain, from 1, of a certificate that did not issue the one before it.
    pub broken_at: Option<usize>,
}

/// Why a certificate cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// One of the chain is no certificate.
    #[error("certificate {0} in the file is not one: {1}")]
    Garbled(usize, String),
    /// Its key belongs to another one.
    #[error("the key belongs to another certificate")]
    Mismatched,
    /// Its key is of no use.
    #[error("the key cannot be used: {0}")]
    Key(String),
    /// It is over.
    #[error("it expired at {0}")]
    Expired(String),
    /// It has not begun.
    #[error("it is not valid before {0}")]
    Early(String),
}

/// Checks a certificate as of now.
///
/// # Errors
/// When no client could accept it, or the key is not its own.
pub fn inspect(identity: &Identity, now: SystemTime) -> Result<IdentityInfo, IdentityError> {
    let mut chain = Vec::new();
    for (at, der) in identity.chain.iter().enumerate() {
        let read = CertificateInner::<Raw>::from_der(der);
        chain.push(read.map_err(|error| IdentityError::Garbled(at + 1, error.to_string()))?);
    }
    let Some(leaf) = chain.first() else {
        return Err(IdentityError::Garbled(1, "there is none".to_owned()));
    };
    certified(identity, &super::server::provider())?;
    let validity = &leaf.tbs_certificate.validity;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    if validity.not_after.to_unix_duration() < now {
        return Err(IdentityError::Expired(validity.not_after.to_string()));
    }
    if validity.not_before.to_unix_duration() > now {
        return Err(IdentityError::Early(validity.not_before.to_string()));
    }
    let broken = chain.windows(2).position(
        |two| matches!(two, [one, issuer] if one.tbs_certificate.issuer != issuer.tbs_certificate.subject),
    );
    Ok(IdentityInfo {
        names: names(leaf),
        until: UNIX_EPOCH + validity.not_after.to_unix_duration(),
        until_text: validity.not_after.to_string(),
        broken_at: broken.map(|at| at + 2),
    })
}

/// The certificate as it is served.
pub(super) fn certified(
    identity: &Identity,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, IdentityError> {
    let key = PrivateKeyDer::try_from(identity.key.to_vec());
    let key = key.map_err(|error| IdentityError::Key(error.to_owned()))?;
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|error| IdentityError::Key(error.to_string()))?;
    let chain = identity.chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => Err(IdentityError::Mismatched),
        Err(error) => Err(IdentityError::Garbled(1, error.to_string())),
    }
}

/// The hosts that a certificate is for. A certificate without alternative names is for none: clients look nowhere
/// else.
pub(super) fn names(certificate: &CertificateInner<Raw>) -> Vec<String> {
    let Ok(Some((_, SubjectAltName(names)))) = certificate.tbs_certificate.get::<SubjectAltName>() else {
        return Vec::new();
    };
    let shown = names.iter().filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        GeneralName::IpAddress(bytes) => address(bytes.as_bytes()).map(|address| address.to_string()),
        _ => None,
    });
    shown.collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
