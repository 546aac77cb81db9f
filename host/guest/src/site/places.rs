//! How many requests are worked on at once. All generations of a site share the places: one that was replaced and
//! still answers holds its own.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use sc_core::site::SiteError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Requests that may wait for a place.
const WAITING: usize = 1_000;

pub(super) struct Places {
    free: Arc<Semaphore>,
    waiting: Cell<usize>,
}

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Places { free: Arc::new(Semaphore::new(count)), waiting: Cell::new(0) }
    }

    /// Waits so long for leave to have an instance.
    pub(super) async fn take(&self, patience: Duration) -> Result<OwnedSemaphorePermit, SiteError> {
        struct Waits<'a>(&'a Cell<usize>);
        impl Drop for Waits<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get().saturating_sub(1));
            }
        }
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Ok(place);
        }
        if self.waiting.get() >= WAITING {
            return Err(SiteError::Busy);
        }
        self.waiting.set(self.waiting.get() + 1);
        let _waits = Waits(&self.waiting);
        match timeout_at(Instant::now() + patience, Arc::clone(&self.free).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(SiteError::Busy),
        }
    }
}
