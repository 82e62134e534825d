use std::{cmp::min, time::Duration};

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::Serialize;

use crate::model::{DaemonSet, Text};

const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_mins(15);
/// An entry that was not used for so long is forgotten.
const MEMORY: Duration = Duration::from_mins(30);

/// How long Failed pods are left alone before the next one on the same node is deleted: 1 s, then twice as long each
/// time, at most 15 minutes; forgotten after 30 minutes without use.
///
/// A plan takes this state and gives back the entries that it changes ([`Plan::backoff`](crate::Plan)); whoever carries
/// the plan out keeps them with [`Backoff::update`].
///
/// ```
/// use std::time::Duration;
/// use daemonplan::{Backoff, BackoffEntry, BackoffKey};
/// let now = "2026-01-02T03:04:05Z".parse().unwrap();
/// let key = BackoffKey { uid: "42".into(), observed_generation: 1, node: "node-7".into() };
/// let mut backoff = Backoff::default();
/// backoff.update([(key, BackoffEntry { delay: Duration::from_secs(1), last_update: now })], now);
/// assert_eq!(backoff.iter().count(), 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backoff(IndexMap<BackoffKey, BackoffEntry>);

/// What a back-off is about. A new generation of the DaemonSet starts anew.
///
/// ```
/// use daemonplan::BackoffKey;
/// let key = BackoffKey { uid: "42".into(), observed_generation: 1, node: "node-7".into() };
/// assert_ne!(key, BackoffKey { observed_generation: 2, ..key.clone() });
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackoffKey {
    /// The DaemonSet's uid.
    pub uid: Text,
    /// Its `status.observedGeneration`.
    pub observed_generation: i64,
    /// The node's name.
    pub node: Text,
}

/// One back-off.
///
/// ```
/// use std::time::Duration;
/// use daemonplan::BackoffEntry;
/// let entry = BackoffEntry { delay: Duration::from_secs(4), last_update: "2026-01-02T03:04:05Z".parse().unwrap() };
/// assert_eq!(entry.last_update + entry.delay, "2026-01-02T03:04:09Z".parse().unwrap());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffEntry {
    /// How long to wait after the last deletion.
    pub delay: Duration,
    /// When a Failed pod was last deleted.
    pub last_update: Timestamp,
}

/// How long a Failed pod is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wait {
    /// Until its node's back-off is over.
    Until(Timestamp),
    /// For so long: without a clock, or once another pod is deleted.
    For(Duration),
}

impl Wait {
    /// How long that is at this time.
    pub(crate) fn at(self, now: Option<Timestamp>) -> Option<Duration> {
        match self {
            Self::Until(end) => Duration::try_from(end.duration_since(now?)).ok(),
            Self::For(duration) => Some(duration),
        }
    }
}

impl Backoff {
    /// Takes over the entries that a plan gave back, and forgets those that are out of date at `now`.
    pub fn update(&mut self, entries: impl IntoIterator<Item = (BackoffKey, BackoffEntry)>, now: Timestamp) {
        self.0.extend(entries);
        self.0.retain(|_, entry| !entry.is_forgotten(now));
    }

    /// All entries, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&BackoffKey, &BackoffEntry)> {
        self.0.iter()
    }

    /// The keys of the entries that are out of date at `now`.
    pub(crate) fn forgotten(&self, now: Timestamp) -> impl Iterator<Item = &BackoffKey> {
        self.0.iter().filter(move |(_, entry)| entry.is_forgotten(now)).map(|(key, _)| key)
    }

    /// The key for Failed pods of this DaemonSet on `node`.
    pub(crate) fn key(daemonset: &DaemonSet, node: &Text) -> BackoffKey {
        BackoffKey {
            uid: daemonset.uid.clone(),
            observed_generation: daemonset.status.observed_generation,
            node: node.clone(),
        }
    }

    /// How long a Failed pod has to wait; `None` if it may be deleted. Without a clock, a known back-off lasts.
    pub(crate) fn wait(&self, key: &BackoffKey, now: Option<Timestamp>) -> Option<Wait> {
        let entry = self.0.get(key)?;
        let Some(now) = now else { return Some(Wait::For(entry.delay)) };
        let end = entry.end();
        (!entry.is_forgotten(now) && end > now).then_some(Wait::Until(end))
    }

    /// When time alone changes what is known under `key`: a back-off ends, or is forgotten.
    pub(crate) fn changes_at(&self, key: &BackoffKey, now: Option<Timestamp>) -> Option<Timestamp> {
        let (entry, now) = (self.0.get(key)?, now?);
        let changes = [Some(entry.end()), entry.forgotten_at()];
        changes.into_iter().flatten().filter(|at| *at > now).min()
    }

    /// How long the next Failed pod has to wait once this one is deleted.
    pub(crate) fn next_delay(&self, key: &BackoffKey, now: Option<Timestamp>) -> Duration {
        let known = self.0.get(key).filter(|entry| !now.is_some_and(|now| entry.is_forgotten(now)));
        known.map_or(FIRST_DELAY, |entry| min(entry.delay.saturating_mul(2), LONGEST_DELAY))
    }
}

impl FromIterator<(BackoffKey, BackoffEntry)> for Backoff {
    fn from_iter<I: IntoIterator<Item = (BackoffKey, BackoffEntry)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl BackoffEntry {
    /// When the next Failed pod may be deleted: at the end of the year 9999 at the latest.
    fn end(&self) -> Timestamp {
        self.last_update.checked_add(self.delay).unwrap_or(Timestamp::MAX)
    }

    /// The first moment at which the entry is forgotten.
    fn forgotten_at(&self) -> Option<Timestamp> {
        self.last_update.checked_add(MEMORY + Duration::from_nanos(1)).ok()
    }

    fn is_forgotten(&self, now: Timestamp) -> bool {
        self.forgotten_at().is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn key() -> BackoffKey {
        Backoff::key(&DaemonSet::new("prod", "agent"), &"node-a".into())
    }

    fn wait(backoff: &Backoff, now: Option<Timestamp>) -> Option<Duration> {
        backoff.wait(&key(), now)?.at(now)
    }

    #[test]
    fn it_doubles_from_one_second_to_fifteen_minutes() {
        let mut backoff = Backoff::default();
        let mut now = at(0);
        let mut delays = Vec::new();
        for _ in 0..12 {
            let delay = backoff.next_delay(&key(), Some(now));
            backoff.update([(key(), BackoffEntry { delay, last_update: now })], now);
            assert_eq!(wait(&backoff, Some(now)), Some(delay));
            now += delay;
            assert_eq!(wait(&backoff, Some(now)), None, "over when the delay has passed");
            delays.push(delay.as_secs());
        }
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
    }

    #[test]
    fn it_is_forgotten_after_thirty_minutes() {
        let entry = BackoffEntry { delay: LONGEST_DELAY, last_update: at(0) };
        let mut backoff = Backoff::from_iter([(key(), entry)]);
        assert_eq!(backoff.next_delay(&key(), Some(at(1800))), LONGEST_DELAY);
        assert_eq!(backoff.next_delay(&key(), Some(at(1801))), FIRST_DELAY);
        backoff.update([], at(1801));
        assert_eq!(backoff.iter().count(), 0);
    }

    #[test]
    fn a_clock_that_runs_backwards_only_lengthens_the_wait() {
        let entry = BackoffEntry { delay: FIRST_DELAY, last_update: at(10) };
        let backoff = Backoff::from_iter([(key(), entry)]);
        assert_eq!(wait(&backoff, Some(at(0))), Some(Duration::from_secs(11)));
        assert_eq!(wait(&backoff, None), Some(FIRST_DELAY));
    }
}
