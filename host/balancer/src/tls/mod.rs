//! TLS ends in the balancer: handshakes here, then each connection goes its way like any other, except that a worker
//! gets one end of a pair of sockets whose other end `pump` serves.
//!
//! Two seams. Certificates from elsewhere than files (ACME) come as new [`Credentials`], and a challenge of TLS-ALPN
//! is one more certificate in `names`. A kernel that does TLS itself would let [`crate::client`] give a worker the
//! client's own socket instead of a pair.

mod identity;
mod names;
pub(crate) mod pump;
mod server;
mod tickets;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use sc_core::config::TlsConfig;
use sc_core::tls::Credentials;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use self::identity::{IdentityError, IdentityInfo, inspect};
use self::pump::Scratch;
use self::server::Server;
pub use self::server::{CredentialsError, check};
use crate::refusal::Refusal;

/// The first byte of a TLS connection: a record of the handshake.
const HANDSHAKE: u8 = 0x16;

/// What all connections of a balancer that serves TLS share.
#[derive(Debug)]
pub(crate) struct Tls {
    config: TlsConfig,
    server: RefCell<Rc<Server>>,
    pumps: Rc<Cell<usize>>,
    scratch: Scratch,
}

/// A pump's place among all; given up when dropped.
#[derive(Debug)]
pub(crate) struct PumpPlace {
    pumps: Rc<Cell<usize>>,
}

impl Drop for PumpPlace {
    fn drop(&mut self) {
        self.pumps.set(self.pumps.get().saturating_sub(1));
    }
}

impl Tls {
    pub(crate) fn new(config: TlsConfig, credentials: &Credentials) -> Result<Self, CredentialsError> {
        let server = Rc::new(server::config(credentials)?);
        Ok(Tls { config, server: server.into(), pumps: Rc::default(), scratch: Scratch::default() })
    }

    /// Uses these from the next handshake on.
    pub(crate) fn replace(&self, credentials: &Credentials) -> Result<(), CredentialsError> {
        self.server.replace(server::config(credentials)?.into());
        Ok(())
    }

    /// Shakes hands.
    pub(crate) async fn accept(&self, stream: TcpStream) -> Result<Box<TlsStream<TcpStream>>, Handshake> {
        let shaking = async {
            let mut first = [0];
            match stream.peek(&mut first).await {
                Ok(0) | Err(_) => return Err(Handshake::Failed(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) if first == [HANDSHAKE] || !first.first().is_some_and(u8::is_ascii_alphabetic) => {}
                Ok(_) => return Err(Handshake::Plain(stream)),
            }
            let server = Rc::clone(&self.server.borrow());
            let shaken = TlsAcceptor::from(Arc::clone(&server.config)).accept(stream).await;
            let stream = shaken.map_err(Handshake::Failed)?;
            let holds = server.recheck(stream.get_ref().1);
            holds.map_err(|error| Handshake::Failed(io::Error::other(error)))?;
            Ok(Box::new(stream))
        };
        match timeout(self.config.handshake_timeout, shaking).await {
            Ok(shaken) => shaken,
            Err(_) => Err(Handshake::Failed(io::ErrorKind::TimedOut.into())),
        }
    }

    /// A place for one more pump.
    pub(crate) fn pump_place(&self) -> Result<PumpPlace, Refusal> {
        if self.pumps.get() >= self.config.pumps_max {
            return Err(Refusal::Full);
        }
        self.pumps.set(self.pumps.get() + 1);
        Ok(PumpPlace { pumps: Rc::clone(&self.pumps) })
    }

    pub(crate) fn scratch(&self) -> Scratch {
        Scratch::clone(&self.scratch)
    }
}

/// Why there is no TLS connection.
#[derive(Debug)]
pub(crate) enum Handshake {
    /// The client speaks plain HTTP.
    Plain(TcpStream),
    /// It speaks no TLS, or none that both want, or went away, or took too long.
    Failed(io::Error),
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
    use sc_core::tls::{ClientCheck, Identity, TicketKey, TlsVersion};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::time_provider::TimeProvider;
    use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig, version};

    use super::*;

    /// After the end of the client's certificate.
    #[derive(Debug)]
    struct Later;

    impl TimeProvider for Later {
        fn current_time(&self) -> Option<UnixTime> {
            Some(UnixTime::since_unix_epoch(Duration::from_secs(200 * 365 * 24 * 3600)))
        }
    }

    fn identity() -> Identity {
        let mut made = rcgen::CertificateParams::new(vec!["h".to_owned()]).expect("a name");
        made.not_after = rcgen::date_time_ymd(2100, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let made = made.self_signed(&key).expect("a certificate");
        Identity { chain: vec![made.der().to_vec().into()], key: key.serialize_der().into() }
    }

    /// How they shook hands, if they did.
    async fn shake(tls: &Tls, connector: &TlsConnector) -> Option<HandshakeKind> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connected");
        let (accepted, _) = listener.accept().await.expect("accepted");
        let name = ServerName::try_from("h").expect("a name");
        let (shaken, client) = tokio::join!(tls.accept(accepted), connector.connect(name, stream));
        let mut shaken = shaken.ok()?;
        // Its tickets come ahead of what it says.
        shaken.write_all(b"x").await.expect("written");
        client.expect("a handshake").read_exact(&mut [0]).await.expect("read");
        shaken.get_ref().1.handshake_kind()
    }

    #[tokio::test]
    async fn a_certificate_that_ends_ends_its_sessions() {
        let (own, of_client) = (identity(), identity());
        let der = |identity: &Identity| CertificateDer::from(identity.chain[0].to_vec());
        let clients = ClientCheck { roots: of_client.chain.clone(), required: true };
        let credentials = Credentials {
            identities: vec![own.clone()],
            clients: Some(clients),
            oldest: TlsVersion::V12,
            tickets: vec![TicketKey([7; 32])],
        };
        let options = || TlsConfig { handshake_timeout: Duration::from_secs(5), pumps_max: 1 };
        for version in [&version::TLS13, &version::TLS12] {
            let tls = Tls::new(options(), &credentials).expect("fine");
            let mut roots = RootCertStore::empty();
            roots.add(der(&own)).expect("a root");
            let key = PrivateKeyDer::try_from(of_client.key.to_vec()).expect("a key");
            let config = ClientConfig::builder_with_provider(Arc::new(server::provider()))
                .with_protocol_versions(&[version])
                .expect("a version")
                .with_root_certificates(roots)
                .with_client_auth_cert(vec![der(&of_client)], key)
                .expect("fine");
            let connector = TlsConnector::from(Arc::new(config));
            assert_eq!(shake(&tls, &connector).await, Some(HandshakeKind::Full));
            assert_eq!(shake(&tls, &connector).await, Some(HandshakeKind::Resumed));
            let now = Rc::clone(&tls.server.borrow());
            let mut config = ServerConfig::clone(&now.config);
            config.time_provider = Arc::new(Later);
            tls.server.replace(Rc::new(Server { config: config.into(), clients: now.clients.clone() }));
            assert_eq!(shake(&tls, &connector).await, None, "{version:?}");
        }
    }
}
