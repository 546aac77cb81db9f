//! Packets from clients.
