//! Makes the TLS server's settings (`rustls::ServerConfig`) of credentials, or says what is wrong with them.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use sc_core::tls::{ClientCheck, Credentials, TlsVersion};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{Error, HandshakeKind, RootCertStore, ServerConfig, ServerConnection, version};

use super::identity::IdentityError;
use super::names::ByName;
use super::tickets::Tickets;

/// Protocols over TLS that are offered. A client that asks for others alone is refused; one that asks for none is not.
const PROTOCOLS: [&[u8]; 2] = [b"http/1.1", b"http/1.0"];

/// Credentials that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A certificate or key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// What clients' certificates are checked with.
    #[error("what clients' certificates are checked with cannot be used: {0}")]
    Clients(String),
    /// Something else.
    #[error("TLS cannot be served: {0}")]
    Tls(Error),
}

/// Whether a balancer could use them.
///
/// # Errors
/// Why not.
pub fn check(credentials: &Credentials) -> Result<(), CredentialsError> {
    config(credentials).map(|_| ())
}

pub(super) fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// What shakes hands, and what looks again at clients that did so before.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) config: Arc<ServerConfig>,
    pub(super) clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Server {
    /// A resumed session brings along what its client once proved, unasked and for ever: whether that still holds is
    /// found out here.
    pub(super) fn recheck(&self, connection: &ServerConnection) -> Result<(), Error> {
        let (Some(clients), Some(HandshakeKind::Resumed)) = (&self.clients, connection.handshake_kind())
        else {
            return Ok(());
        };
        // A client without one was let in without: tickets do not outlive that this is so.
        let Some([own, issuers @ ..]) = connection.peer_certificates() else { return Ok(()) };
        let now = self.config.time_provider.current_time().ok_or(Error::FailedToGetCurrentTime)?;
        clients.verify_client_cert(own, issuers, now).map(|_| ())
    }
}

pub(super) fn config(credentials: &Credentials) -> Result<Server, CredentialsError> {
    let provider = Arc::new(provider());
    let versions: &[_] = match credentials.oldest {
        TlsVersion::V12 => &[&version::TLS13, &version::TLS12],
        TlsVersion::V13 => &[&version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(CredentialsError::Tls)?;
    let clients = credentials.clients.as_ref().map(|clients| verifier(clients, &provider)).transpose()?;
    let builder = match &clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients)),
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByName::new(&credentials.identities, &provider)?));
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    // Tickets are good at all balancers and after restarts; what one balancer remembers is not.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Arc::new(Tickets::new(&credentials.tickets, credentials.clients.as_ref()));
    Ok(Server { config: Arc::new(config), clients })
}

fn verifier(
    clients: &ClientCheck,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, CredentialsError> {
    let mut roots = RootCertStore::empty();
    for (at, root) in clients.roots.iter().enumerate() {
        let added = roots.add(CertificateDer::from(root.to_vec()));
        added.map_err(|error| CredentialsError::Clients(format!("certificate {}: {error}", at + 1)))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider));
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| CredentialsError::Clients(error.to_string()))
}
