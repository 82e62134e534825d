//! What requests, tests and workloads share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::store::Store;

/// What the requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    store: Mutex<Store>,
    pub(crate) version: watch::Sender<u64>,
}

impl Shared {
    pub(crate) fn new(store: Store) -> Self {
        let version = watch::channel(store.version()).0;
        Self { store: Mutex::new(store), version }
    }

    pub(crate) fn store(&self) -> Guard<'_> {
        Guard { store: self.store.lock().unwrap_or_else(PoisonError::into_inner), version: &self.version }
    }
}

/// The locked store.
#[derive(Debug)]
pub struct Guard<'a> {
    store: MutexGuard<'a, Store>,
    version: &'a watch::Sender<u64>,
}

impl std::ops::Deref for Guard<'_> {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl std::ops::DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut Store {
        &mut self.store
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let version = self.store.version();
        self.version.send_if_modified(|known| std::mem::replace(known, version) != version);
    }
}
