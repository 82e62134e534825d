//! The state that watches, workers and web pages share.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::state::State;

/// The state that watches, workers and web pages share.
#[derive(Debug)]
pub struct Shared {
    state: Mutex<State>,
    /// Wakes the dispatcher after a change of the state.
    pub(crate) changed: Notify,
    heartbeat: Mutex<Instant>,
}

impl Shared {
    pub(crate) fn new(state: State) -> Self {
        Self { state: Mutex::new(state), changed: Notify::new(), heartbeat: Mutex::new(Instant::now()) }
    }

    /// Locks the state.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
