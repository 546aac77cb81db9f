//! The keys of TLS session tickets: kept beside the other secrets, so that clients resume after a restart, and
//! replaced before they get old. Without a folder they end with the host.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use sc_core::limits::{TICKET_KEY_AGE, TICKET_LIFE};
use sc_core::tls::TicketKey;
use serde::{Deserialize, Serialize};

use super::data_dir::{hex, parse, put, random};
use crate::error::HostError;

/// The file in the data folder.
const FILE: &str = "tls.tickets";

/// The keys.
#[derive(Debug)]
pub(crate) struct TicketKeys {
    file: Option<PathBuf>,
    /// The newest first.
    keys: Vec<Kept>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    /// Seconds since 1970.
    made: u64,
    /// 64 hexadecimal digits.
    secret: String,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("made", &self.made).finish_non_exhaustive()
    }
}

impl TicketKeys {
    /// Those of the folder that are still good, and a new one if need be. What cannot be read is not missed: clients
    /// whose tickets are not known shake hands in full.
    pub(crate) fn open(folder: Option<&Path>) -> Result<Self, HostError> {
        let file = folder.map(|folder| folder.join(FILE));
        let read = file.as_deref().map_or(Ok(Vec::new()), read);
        let keys = read.unwrap_or_else(|error| {
            tracing::warn!(%error, "{FILE} in the data folder cannot be read: clients cannot resume their TLS sessions");
            Vec::new()
        });
        let mut keys = TicketKeys { file, keys };
        keys.rotate(SystemTime::now())?;
        Ok(keys)
    }

    /// What balancers get.
    pub(crate) fn present(&self) -> Vec<TicketKey> {
        self.keys.iter().filter_map(|kept| parse(&kept.secret)).map(TicketKey).collect()
    }

    /// Makes a new key when the present one is old, and forgets those whose tickets are over. True: they changed.
    pub(crate) fn rotate(&mut self, now: SystemTime) -> Result<bool, HostError> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // A clock that was set back makes a key's age unknown.
        let is_younger =
            |kept: &Kept, seconds: u64| now.checked_sub(kept.made).is_some_and(|age| age < seconds);
        if self.keys.first().is_some_and(|kept| is_younger(kept, TICKET_KEY_AGE.as_secs())) {
            return Ok(false);
        }
        let longest = (TICKET_KEY_AGE + TICKET_LIFE).as_secs();
        self.keys.retain(|kept| is_younger(kept, longest) && parse(&kept.secret).is_some());
        self.keys.insert(0, Kept { made: now, secret: hex(&random()?) });
        if let Some(file) = &self.file {
            let text = serde_json::to_vec(&self.keys).map_err(io::Error::other);
            if let Err(error) = text.and_then(|text| put(file, &text)) {
                tracing::warn!(%error, "{FILE} in the data folder cannot be written: clients cannot resume after a restart");
            }
        }
        Ok(true)
    }
}

fn read(file: &Path) -> io::Result<Vec<Kept>> {
    match std::fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn keys_outlive_the_host_and_get_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut keys = TicketKeys::open(Some(folder.path())).expect("made");
        let first = keys.present();
        assert_eq!(first.len(), 1);
        assert_eq!(TicketKeys::open(Some(folder.path())).expect("read").present(), first);
        let mut now = SystemTime::now();
        assert!(!keys.rotate(now + TICKET_KEY_AGE / 2).expect("young"));
        for count in [2, 3, 3, 3] {
            now += TICKET_KEY_AGE + Duration::from_secs(1);
            assert!(keys.rotate(now).expect("old"));
            assert_eq!(keys.present().len(), count);
        }
        assert!(!keys.present().contains(&first[0]), "its tickets are over");
        assert!(keys.rotate(now - 2 * TICKET_KEY_AGE).expect("the clock was set back"));
        std::fs::write(folder.path().join(FILE), "garbage").expect("written");
        assert_ne!(TicketKeys::open(Some(folder.path())).expect("made anew").present(), first);
    }
}
