//! When a DaemonSet is tried again after a failure.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use daemonplan::Key;

use crate::job::Failure;

/// The delay after the first failure; it doubles with each further one, up to [`LAST`].
const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
struct Retry {
    failures: u32,
    at: Option<Instant>,
}

/// The DaemonSets whose last attempt failed; see the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Retries(HashMap<Key, Retry>);

impl Retries {
    /// Records that an attempt failed.
    pub(crate) fn failed(&mut self, key: &Key, failure: Failure, now: Instant) {
        let Failure { retry_after, terminal } = failure;
        let retry = self.0.entry(key.clone()).or_default();
        let wait = if terminal { LAST } else { FIRST.saturating_mul(1 << retry.failures.min(16)).min(LAST) };
        retry.failures += 1;
        retry.at = Some(now + retry_after.unwrap_or_default().max(wait));
    }

    /// Records that an attempt is under way.
    pub(crate) fn begun(&mut self, key: &Key) {
        if let Some(retry) = self.0.get_mut(key) {
            retry.at = None;
        }
    }

    /// Forgets the failures: an attempt succeeded, the DaemonSet was edited, or is gone.
    pub(crate) fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }

    pub(crate) fn due(&self, now: Instant) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(move |(_, retry)| retry.at.is_some_and(|at| at <= now)).map(|(key, _)| key)
    }

    /// Whether the next attempt is not due yet.
    pub(crate) fn waits(&self, key: &Key, now: Instant) -> bool {
        self.0.get(key).and_then(|retry| retry.at).is_some_and(|at| at > now)
    }

    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        self.0.values().filter_map(|retry| retry.at).filter(|at| *at > now).min()
    }
}
