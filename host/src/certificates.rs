//! The certificates' part of a reload.

use std::cell::RefCell;

use sc_core::tls::Credentials;
use tokio::sync::{mpsc, oneshot};

use crate::config::{Settings, TlsSettings};
use crate::master::Order;
use crate::reloader::ENDS;

/// What balancers serve TLS with, but for the keys of tickets; nothing if they do not.
#[derive(Debug)]
pub(crate) struct Certificates {
    present: RefCell<Option<Credentials>>,
}

impl Certificates {
    pub(crate) fn new(tls: Option<&TlsSettings>) -> Self {
        Certificates { present: RefCell::new(tls.map(|tls| tls.credentials.clone())) }
    }

    /// What is to be used, if TLS is served.
    ///
    /// # Errors
    /// For the user: balancers cannot begin or cease to serve it.
    pub(crate) fn wanted<'s>(&self, fresh: &'s Settings) -> Result<Option<&'s TlsSettings>, String> {
        match (&fresh.tls, &*self.present.borrow()) {
            (Some(tls), Some(_)) => Ok(Some(tls)),
            (None, None) => Ok(None),
            _ => Err("whether TLS is served takes effect at a restart only: restart the host, or change [tls] back"
                .to_owned()),
        }
    }

    /// Has balancers use it, unless they do. What happened, for people.
    ///
    /// # Errors
    /// Why they do not, for the user.
    pub(crate) async fn replace(
        &self,
        tls: &TlsSettings,
        orders: &mpsc::Sender<Order>,
    ) -> Result<String, String> {
        if self.present.borrow().as_ref() == Some(&tls.credentials) {
            return Ok("certificates: unchanged".to_owned());
        }
        let (done, answered) = oneshot::channel();
        let order = Order::Credentials(Box::new(tls.clone()), done);
        orders.send(order).await.map_err(|_| ENDS.to_owned())?;
        let taken = answered.await.map_err(|_| ENDS.to_owned())?;
        taken.map_err(|reason| {
            format!("certificates: {reason}; the old ones stay, whatever components were replaced before")
        })?;
        self.present.replace(Some(tls.credentials.clone()));
        Ok(format!("certificates: {}", tls.described.join("; ")))
    }
}
