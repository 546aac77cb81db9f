//! Certificates made for a test, and clients that trust them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{
    ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion, crypto, version,
};

use crate::host::Host;
use crate::wait;

/// Who issues certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, as PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate, without its issuer's: that one is trusted.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl Authority {
    /// A new one.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        Ok(Authority { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for these names, good for hosts and for clients.
    pub fn issue(&self, names: &[&str]) -> anyhow::Result<Issued> {
        self.issue_with(names, |_| {})
    }

    /// The same with changes.
    pub fn issue_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> anyhow::Result<Issued> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone())?;
        params.distinguished_name.push(DnType::CommonName, names.first().cloned().unwrap_or_default());
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

impl Issued {
    /// Writes both: `NAME.pem` and `NAME.key`.
    pub fn write(&self, folder: &Path, name: &str) -> anyhow::Result<(PathBuf, PathBuf)> {
        let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        std::fs::write(&certificate, &self.certificate)?;
        std::fs::write(&key, &self.key)?;
        Ok((certificate, key))
    }
}

/// A client's settings. Clones of one remember each other's sessions.
#[derive(Clone)]
pub struct Connector {
    connector: TlsConnector,
    name: String,
}

impl Connector {
    /// Trusts that authority, asks for that name, and speaks that version, or both.
    pub fn new(
        trusted: &str,
        name: &str,
        only: Option<&'static SupportedProtocolVersion>,
    ) -> anyhow::Result<Self> {
        Connector::with(trusted, name, only, None)
    }

    /// The same with a certificate of its own.
    pub fn with(
        trusted: &str,
        name: &str,
        only: Option<&'static SupportedProtocolVersion>,
        own: Option<&Issued>,
    ) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(trusted.as_bytes())?)?;
        let versions = only.map_or(vec![&version::TLS12, &version::TLS13], |only| vec![only]);
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions)?;
        let builder = builder.with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder.with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(own.certificate.as_bytes())?],
                PrivateKeyDer::from_pem_slice(own.key.as_bytes())?,
            )?,
        };
        Ok(Connector { connector: TlsConnector::from(Arc::new(config)), name: name.to_owned() })
    }

    /// Connects and shakes hands.
    pub async fn connect(&self, host: &Host) -> anyhow::Result<TlsStream<TcpStream>> {
        self.connect_to(host.address()).await
    }

    /// The same with a host known by its address.
    pub async fn connect_to(&self, address: &str) -> anyhow::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await.context("the host does not accept")?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(self.name.clone())?;
        Ok(wait::within(wait::SOON, "a TLS handshake", self.connector.connect(name, stream)).await??)
    }

    /// Asks for a path; the whole answer, and whether the session was resumed.
    pub async fn get(&self, host: &Host, path: &str) -> anyhow::Result<(String, HandshakeKind)> {
        let mut stream = self.connect(host).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.name);
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        wait::within(wait::SOON, "an answer over TLS", stream.read_to_end(&mut answer)).await??;
        let kind = stream.get_ref().1.handshake_kind().context("no handshake")?;
        Ok((String::from_utf8_lossy(&answer).into_owned(), kind))
    }
}
