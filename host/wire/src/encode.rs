//! Packets to clients.
