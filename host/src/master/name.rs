//! What children are called: `worker 0` in the log, `w0` in the list of processes.

use std::fmt;
use std::str::FromStr;

use sc_core::ids::WorkerId;

/// A kind of child. The order is that of starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    /// Holds data and carries publications.
    Store,
    /// Holds sockets.
    Worker,
    /// Accepts connections.
    Balancer,
}

impl Role {
    /// The word in records.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Role::Store => "store",
            Role::Worker => "worker",
            Role::Balancer => "balancer",
        }
    }
}

/// One place for a child; it keeps its name when the process in it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ChildName {
    /// What it does.
    pub(crate) role: Role,
    /// Which one.
    pub(crate) index: u16,
}

impl ChildName {
    /// The store of that number.
    pub(crate) fn store(index: u16) -> Self {
        ChildName { role: Role::Store, index }
    }

    /// The worker of that number.
    pub(crate) fn worker(index: u16) -> Self {
        ChildName { role: Role::Worker, index }
    }

    /// The balancer of that number.
    pub(crate) fn balancer(index: u16) -> Self {
        ChildName { role: Role::Balancer, index }
    }

    /// The worker's id, if it is one.
    pub(crate) fn as_worker(self) -> Option<WorkerId> {
        (self.role == Role::Worker).then_some(WorkerId(self.index))
    }

    /// Short, for the list of processes.
    pub(crate) fn label(self) -> String {
        format!("{}{}", self.role.word().get(..1).unwrap_or_default(), self.index)
    }
}

impl fmt::Display for ChildName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role.word(), self.index)
    }
}

impl FromStr for ChildName {
    type Err = String;

    /// Reads a label.
    fn from_str(label: &str) -> Result<Self, Self::Err> {
        let bad = || format!("{label} is no name of a child; children are started by the master only");
        let (kind, index) = label.split_at_checked(1).ok_or_else(bad)?;
        let role = match kind {
            "s" => Role::Store,
            "w" => Role::Worker,
            "b" => Role::Balancer,
            _ => return Err(bad()),
        };
        Ok(ChildName { role, index: index.parse().map_err(|_| bad())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_back() {
        for name in [ChildName::store(0), ChildName::worker(511), ChildName::balancer(3)] {
            assert_eq!(name.label().parse(), Ok(name));
        }
        for label in ["", "x1", "w", "wé", "é"] {
            assert!(label.parse::<ChildName>().is_err(), "{label}");
        }
    }
}
