//! The state that watches, workers and web pages share.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, Semaphore, watch};

use crate::state::State;

/// How many pages can be kept up to date at the same time.
const VIEWERS: usize = 64;

/// The state that watches, workers and web pages share.
#[derive(Debug)]
pub struct Shared {
    state: Mutex<State>,
    /// Wakes the dispatcher after a change of the state.
    changed: Notify,
    /// Tells open pages of a change.
    versions: watch::Sender<()>,
    /// How many more pages can be kept up to date.
    pub(crate) viewers: Arc<Semaphore>,
    heartbeat: Mutex<Instant>,
}

impl Shared {
    pub(crate) fn new(state: State) -> Self {
        Self {
            state: Mutex::new(state),
            changed: Notify::new(),
            versions: watch::channel(()).0,
            viewers: Arc::new(Semaphore::new(VIEWERS)),
            heartbeat: Mutex::new(Instant::now()),
        }
    }

    /// Locks the state.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the dispatcher and the open pages that the state has changed.
    pub(crate) fn touch(&self) {
        self.changed.notify_one();
        self.versions.send_replace(());
    }

    /// Resolves after the next change; for the dispatcher alone.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns what tells of changes, for a page.
    pub(crate) fn versions(&self) -> watch::Receiver<()> {
        self.versions.subscribe()
    }

    /// Returns the time since the dispatcher last showed that it is alive.
    pub fn silence(&self) -> Duration {
        self.heartbeat.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Records that the dispatcher is alive.
    pub(crate) fn beat(&self) {
        *self.heartbeat.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}
