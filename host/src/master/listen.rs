//! Listening sockets. The master binds them before anything else starts and hands them to balancers, so that no
//! connection is refused while a balancer restarts.

use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with, sockopt};

use crate::config::{AppSettings, TlsSettings};
use crate::error::HostError;

/// Connections the kernel may hold until a balancer accepts them.
const BACKLOG: i32 = 4096;
/// Addresses that one host name may have: so many descriptors go with a balancer's start.
const ADDRESSES: usize = 4;
/// How often a free port is looked for.
const ATTEMPTS: u32 = 8;

/// The listening sockets.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// The sockets.
    pub(crate) sockets: Vec<OwnedFd>,
    /// The first one's address, with its real port.
    pub(crate) address: SocketAddr,
    /// The same for plain HTTP that is sent to the first ones.
    pub(crate) redirects: Vec<OwnedFd>,
    redirect_address: Option<SocketAddr>,
    is_secure: bool,
}

impl Listeners {
    /// Binds every address of the configured host, and the port that is redirected.
    pub(crate) fn bind(app: &AppSettings, tls: Option<&TlsSettings>) -> Result<Self, HostError> {
        let mut listeners = Self::bind_all(app, "--port")?;
        listeners.is_secure = tls.is_some();
        if let Some(port) = tls.and_then(|tls| tls.redirect_http) {
            let app = AppSettings { port: usize::from(port), ..app.clone() };
            let plain = Self::bind_all(&app, "tls.redirect_http =")?;
            listeners.redirects = plain.sockets;
            listeners.redirect_address = Some(plain.address);
        }
        Ok(listeners)
    }

    /// With port 0 all get the port that the first was given.
    fn bind_all(app: &AppSettings, option: &'static str) -> Result<Self, HostError> {
        let mut bound = Self::bind_once(app, option);
        // A port that is free at one address may be taken at another.
        for _ in 1..ATTEMPTS {
            match bound {
                Err(HostError::PortInUse { .. }) if app.port == 0 => bound = Self::bind_once(app, option),
                _ => break,
            }
        }
        bound
    }

    fn bind_once(app: &AppSettings, option: &'static str) -> Result<Self, HostError> {
        let mut port = u16::try_from(app.port).unwrap_or(u16::MAX);
        let failed = |port: u16, source: std::io::Error| match source.kind() {
            ErrorKind::AddrInUse => HostError::PortInUse { host: app.host.clone(), port, option },
            ErrorKind::PermissionDenied => HostError::PortDenied { host: app.host.clone(), port, option },
            _ => HostError::Bind { host: app.host.clone(), port, source },
        };
        let host = app.host.trim().trim_start_matches('[').trim_end_matches(']');
        let mut addresses: Vec<_> =
            (host, port).to_socket_addrs().map_err(|error| failed(port, error))?.collect();
        addresses.dedup();
        let mut first = None;
        let mut sockets = Vec::new();
        let mut unbound = None;
        for mut address in addresses.into_iter().take(ADDRESSES) {
            address.set_port(port);
            match listener(address) {
                Ok((socket, bound)) => {
                    port = bound.port();
                    first.get_or_insert(bound);
                    sockets.push(socket);
                }
                // A name such as localhost may have an address of a family that this machine does not use.
                Err(error) if is_unused_family(&error) => unbound = Some(error),
                Err(error) => return Err(failed(port, error)),
            }
        }
        match first {
            Some(address) => Ok(Listeners {
                sockets,
                address,
                redirects: Vec::new(),
                redirect_address: None,
                is_secure: false,
            }),
            None => {
                let none = || std::io::Error::new(ErrorKind::NotFound, "the name has no address");
                Err(failed(port, unbound.unwrap_or_else(none)))
            }
        }
    }

    /// Where a browser on this machine finds the host.
    pub(crate) fn url(&self) -> String {
        url(self.address, self.is_secure)
    }

    /// Where plain HTTP is redirected, if it is.
    pub(crate) fn redirect_url(&self) -> Option<String> {
        self.redirect_address.map(|address| url(address, false))
    }

    /// From here on the system refuses connections, once no balancer listens either.
    pub(crate) fn close(&mut self) {
        self.sockets.clear();
        self.redirects.clear();
    }
}

fn is_unused_family(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable || Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT)
}

fn url(mut address: SocketAddr, is_secure: bool) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let scheme = if is_secure { "https" } else { "http" };
    format!("{scheme}://{address}/")
}

fn listener(address: SocketAddr) -> std::io::Result<(OwnedFd, SocketAddr)> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    // Connections of an earlier run that linger in TIME_WAIT do not hold the port.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    let bound = SocketAddr::try_from(getsockname(&socket)?)?;
    Ok((socket, bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(host: &str, port: usize) -> AppSettings {
        AppSettings {
            runtime_dir: None,
            user: None,
            reboot_on_crash: true,
            name: "a".to_owned(),
            folder: std::path::PathBuf::new(),
            host: host.to_owned(),
            port,
            workers: 1,
            balancers: 1,
            stores: 1,
        }
    }

    #[test]
    fn port_0_gets_a_real_port_and_a_taken_one_is_named() {
        let listeners = Listeners::bind(&app("127.0.0.1", 0), None).expect("a free port");
        let port = listeners.address.port();
        assert_ne!(port, 0);
        assert_eq!(listeners.url(), format!("http://127.0.0.1:{port}/"));
        let taken = Listeners::bind(&app("127.0.0.1", usize::from(port)), None);
        assert!(matches!(taken, Err(HostError::PortInUse { port: named, .. }) if named == port));
    }

    #[test]
    fn names_bind_what_they_can() {
        assert!(!Listeners::bind(&app("localhost", 0), None).expect("localhost").sockets.is_empty());
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        assert!(matches!(Listeners::bind(&app("192.0.2.1", 0), None), Err(HostError::Bind { .. })));
    }

    #[test]
    fn urls_are_ones_a_browser_can_open() {
        assert_eq!(url("0.0.0.0:80".parse().expect("an address"), false), "http://127.0.0.1:80/");
        assert_eq!(url("[::]:8000".parse().expect("an address"), true), "https://[::1]:8000/");
    }
}
