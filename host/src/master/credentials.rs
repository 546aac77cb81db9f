//! What balancers serve TLS with: each gets it when it starts, and again when certificates or the keys of tickets
//! change. Whoever has new certificates orders them to be used; today that is a reload, which has read and checked
//! them.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant, SystemTime};

use sc_core::limits::READY_DEADLINE;
use sc_core::link::control::ToChild;
use sc_core::tls::Credentials;
use tokio::sync::oneshot;

use super::name::{ChildName, Role};
use super::reload::Outcome;
use super::supervisor::Supervisor;
use super::tickets::TicketKeys;
use crate::config::{SOON, TlsSettings};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What balancers have, and a change of it under way.
#[derive(Debug)]
pub(crate) struct Present {
    credentials: Credentials,
    /// Counts what was sent, so that answers can be told apart.
    number: u64,
    tickets: TicketKeys,
    /// When the first certificate ends.
    ends: SystemTime,
    /// When that was warned of.
    warned: Instant,
    change: Option<Change>,
}

/// New certificates on their way to balancers.
#[derive(Debug)]
struct Change {
    number: u64,
    before: (Credentials, SystemTime),
    waiting: BTreeSet<ChildName>,
    until: Instant,
    done: oneshot::Sender<Outcome>,
}

impl Present {
    /// The start itself warns of what ends soon.
    pub(crate) fn new(tls: TlsSettings, tickets: TicketKeys) -> Self {
        let credentials = Credentials { tickets: tickets.present(), ..tls.credentials };
        Present { credentials, number: 0, tickets, ends: tls.ends, warned: Instant::now(), change: None }
    }

    /// When a change's time is over.
    pub(super) fn due(&self) -> Option<Instant> {
        self.change.as_ref().map(|change| change.until)
    }

    fn message(&self) -> ToChild {
        ToChild::Credentials(self.number, Box::new(self.credentials.clone()))
    }
}

impl Supervisor {
    /// Sends a balancer that was told what to be all that it needs to serve TLS.
    pub(super) fn accredit(&mut self, name: ChildName) {
        let Some(tls) = &self.tls else { return };
        let message = tls.message();
        self.send(name, message, Vec::new());
        if self.listeners.redirects.is_empty() {
            return;
        }
        let sockets = self.listeners.redirects.iter().map(|socket| socket.as_fd().try_clone_to_owned());
        match sockets.collect() {
            Ok(sockets) => {
                self.send(name, ToChild::RedirectTo(self.listeners.address.port()), sockets);
            }
            Err(error) => {
                self.put_away(name, &format!("the listening sockets could not be copied: {error}"));
            }
        }
    }

    /// Has all balancers use these certificates. Answered when all do, or none.
    pub(super) fn use_credentials(&mut self, new: TlsSettings, done: oneshot::Sender<Outcome>, now: Instant) {
        let linked = self.slots.iter().filter(|(name, slot)| name.role == Role::Balancer && slot.is_linked());
        let waiting: BTreeSet<_> = linked.map(|(name, _)| *name).collect();
        let refused = match &mut self.tls {
            None => "this host serves no TLS",
            Some(Present { change: Some(_), .. }) => "other certificates are on their way to the balancers",
            Some(tls) => {
                tls.number += 1;
                let ends = std::mem::replace(&mut tls.ends, new.ends);
                let new = Credentials { tickets: tls.tickets.present(), ..new.credentials };
                let before = (std::mem::replace(&mut tls.credentials, new), ends);
                let until = now + READY_DEADLINE;
                tls.change = Some(Change { number: tls.number, before, waiting, until, done });
                let message = tls.message();
                self.tell(Role::Balancer, &message);
                return self.change_on();
            }
        };
        // Whoever ordered it may be gone.
        let _ = done.send(Err(refused.to_owned()));
    }

    /// A balancer's answer.
    pub(super) fn credentialed(&mut self, name: ChildName, number: u64, outcome: Outcome) {
        if let Err(reason) = &outcome {
            tracing::error!(child = %name, reason, "a balancer cannot use certificates that it was sent");
        }
        let change = self.tls.as_mut().and_then(|tls| tls.change.as_mut());
        let Some(change) = change.filter(|change| change.number == number) else { return };
        change.waiting.remove(&name);
        match outcome {
            Ok(()) => self.change_on(),
            Err(reason) => self.take_back(&format!("{name}: {reason}")),
        }
    }

    /// A balancer died: its successor gets what the others have.
    pub(super) fn credentials_lost(&mut self, name: ChildName) {
        if let Some(change) = self.tls.as_mut().and_then(|tls| tls.change.as_mut()) {
            change.waiting.remove(&name);
            self.change_on();
        }
    }

    pub(super) fn credentials_overdue(&mut self, now: Instant) {
        if self.tls.as_ref().and_then(Present::due).is_some_and(|due| due <= now) {
            self.take_back("a balancer did not answer in time");
        }
    }

    /// Makes new keys of tickets when it is time to, and says each day that a certificate ends soon.
    pub(super) fn tend_credentials(&mut self, now: Instant) {
        let Some(tls) = &mut self.tls else { return };
        let left = tls.ends.duration_since(SystemTime::now()).unwrap_or_default();
        if left < SOON && now.duration_since(tls.warned) > DAY {
            tls.warned = now;
            let days = left.as_secs() / DAY.as_secs();
            tracing::warn!(days, "a certificate ends soon: renew it, and reload");
        }
        match tls.tickets.rotate(SystemTime::now()) {
            Ok(false) => {}
            Ok(true) => {
                tls.credentials.tickets = tls.tickets.present();
                // An answer to a change that is under way keeps its number.
                let message = tls.message();
                self.tell(Role::Balancer, &message);
            }
            Err(error) => tracing::error!(error = error.flat(), "the keys of TLS session tickets stay"),
        }
    }

    fn change_on(&mut self) {
        let change = self.tls.as_mut().map(|tls| &mut tls.change);
        if let Some(change) = change.and_then(|change| change.take_if(|change| change.waiting.is_empty())) {
            let _ = change.done.send(Ok(()));
        }
    }

    /// All go back to what they had.
    fn take_back(&mut self, reason: &str) {
        let Some(tls) = &mut self.tls else { return };
        let Some(change) = tls.change.take() else { return };
        tls.number += 1;
        let (before, ends) = change.before;
        tls.credentials = Credentials { tickets: tls.tickets.present(), ..before };
        tls.ends = ends;
        let message = tls.message();
        self.tell(Role::Balancer, &message);
        let _ = change.done.send(Err(reason.to_owned()));
    }
}
