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
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

pub use self::identity::{IdentityError, IdentityInfo, inspect};
use self::pump::Scratch;
pub use self::server::{CredentialsError, check};
use crate::refusal::Refusal;

/// The first byte of a TLS connection: a record of the handshake.
const HANDSHAKE: u8 = 0x16;

/// What all connections of a balancer that serves TLS share.
#[derive(Debug)]
pub(crate) struct Tls {
    config: TlsConfig,
    server: RefCell<Arc<ServerConfig>>,
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
        let server = server::config(credentials)?.into();
        Ok(Tls { config, server, pumps: Rc::default(), scratch: Scratch::default() })
    }

    /// Uses these from the next handshake on.
    pub(crate) fn replace(&self, credentials: &Credentials) -> Result<(), CredentialsError> {
        self.server.replace(server::config(credentials)?);
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
            let acceptor = TlsAcceptor::from(Arc::clone(&self.server.borrow()));
            acceptor.accept(stream).await.map(Box::new).map_err(Handshake::Failed)
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
