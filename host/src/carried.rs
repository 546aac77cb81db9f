//! What the binary carries, so that `sc-host create` needs nothing else.

/// A file: its path, relative, and its contents.
pub(crate) type File = (&'static str, &'static [u8]);

include!(concat!(env!("OUT_DIR"), "/carried.rs"));
