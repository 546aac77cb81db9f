//! What ends a balancer.

use sc_core::controller::StartError;
use sc_core::link::LinkError;

/// A balancer that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum BalancerError {
    /// The link to the master broke.
    #[error("the balancer's control link failed")]
    Control(#[from] LinkError),
    /// An inherited socket is no listening TCP socket.
    #[error("the balancer cannot accept on a socket it was given")]
    Listener(#[source] std::io::Error),
    /// Its controller cannot be started.
    #[error("the balancer's controller does not start")]
    Controller(#[source] StartError),
    /// The master sent none.
    #[error("the balancer got no certificates to serve TLS with")]
    NoCredentials,
    /// Those that the master sent are of no use.
    #[error("the balancer cannot serve TLS")]
    Credentials(#[source] crate::tls::CredentialsError),
    /// The system gave no random numbers.
    #[error("the balancer got no random numbers from the system")]
    Random(#[source] std::io::Error),
}
