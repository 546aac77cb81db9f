//! What the supervisor says to children: messages, links, and the end.

use std::os::fd::{AsFd as _, OwnedFd};

use sc_core::ids::WorkerId;
use sc_core::link::control::ToChild;

use super::links::{self, Link, Living};
use super::name::{ChildName, Role};
use super::slot::Slot;
use super::supervisor::Supervisor;

impl Supervisor {
    /// Kills a child; its end is handled when it is reported.
    pub(super) fn put_away(&mut self, name: ChildName, reason: &str) {
        if let Some(worker) = name.as_worker() {
            self.retire(worker);
        }
        if let Some(slot) = self.slots.get_mut(&name) {
            slot.kill(reason);
        }
    }

    /// Has nobody give that worker connections any more, and stores forget who was on channels there.
    pub(super) fn retire(&mut self, worker: WorkerId) {
        self.tell(Role::Balancer, &ToChild::Retire(worker));
        self.tell(Role::Worker, &ToChild::Retire(worker));
        self.tell(Role::Store, &ToChild::Retire(worker));
    }

    /// Queues a message for a child that was told what to be.
    pub(super) fn send(&mut self, name: ChildName, message: ToChild, descriptors: Vec<OwnedFd>) {
        let Some(slot) = self.slots.get_mut(&name).filter(|slot| slot.is_linked()) else { return };
        if slot.child().is_some_and(|child| !child.send(message, descriptors)) {
            slot.kill("too many messages wait for it");
        }
    }

    /// Queues a message for all children of a role.
    pub(super) fn tell(&mut self, role: Role, message: &ToChild) {
        let names: Vec<_> = self.slots.keys().filter(|name| name.role == role).copied().collect();
        for name in names {
            self.send(name, message.clone(), Vec::new());
        }
    }

    /// Makes a link and hands out its ends, if both sides live.
    pub(super) fn lay(&mut self, link: Link) {
        if link.sides().iter().any(|name| !self.slots.get(name).is_some_and(Slot::is_linked)) {
            return;
        }
        match link.make() {
            Ok(ends) => {
                for (name, message, end) in ends {
                    self.send(name, message, vec![end]);
                }
            }
            Err(error) => tracing::error!(?link, %error, "a link could not be made"),
        }
    }

    pub(super) fn living(&self) -> Living {
        let of = |role: Role, fits: fn(&Slot) -> bool| {
            let slots = self.slots.iter().filter(move |(name, slot)| name.role == role && fits(slot));
            slots.map(|(name, _)| name.index).collect()
        };
        Living {
            workers: of(Role::Worker, Slot::is_linked),
            ready: of(Role::Worker, Slot::is_ready),
            stores: of(Role::Store, Slot::is_linked),
            balancers: of(Role::Balancer, Slot::is_linked),
        }
    }

    /// The listening sockets, for one balancer.
    pub(super) fn listening(&self) -> std::io::Result<Vec<OwnedFd>> {
        self.listeners.sockets.iter().map(|socket| socket.as_fd().try_clone_to_owned()).collect()
    }

    pub(super) fn links_when_ready(&self, worker: WorkerId) -> Vec<Link> {
        links::when_ready(worker, &self.living())
    }
}
