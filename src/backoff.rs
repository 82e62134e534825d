//! Back-off of Failed pods: how long each is left alone before it is deleted.

use std::{cmp::min, time::Duration};

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::Serialize;

use crate::model::{DaemonSet, Text};

/// How long Failed pods are left alone before the next one on the same node is deleted: 1 s, then twice as long each
/// time, at most 15 minutes; forgotten after 30 minutes without use.
///
/// If the policy `daemonplan/backoff` says so, each reason for which pods fail has a back-off of its own, and those that do
/// not go away soon have longer ones: 10 s to 30 minutes for pods that the kubelet rejects and that the API server refuses, 30
/// s to 15 minutes for pods that were evicted; forgotten after twice the longest one.
///
/// A plan takes this state and gives back the entries that it changes ([`Plan::backoff`](crate::plan::Plan)); whoever carries
/// the plan out keeps them with [`Backoff::update`].
///
/// ```
/// use std::time::Duration;
/// use daemonplan::{Backoff, backoff::{BackoffEntry, BackoffKey}};
/// let now = "2026-01-02T03:04:05Z".parse().unwrap();
/// let key = BackoffKey::new("42", 1, "node-7");
/// let mut backoff = Backoff::default();
/// backoff.update([(key, BackoffEntry::new(Duration::from_secs(1), now))], now);
/// assert_eq!(backoff.iter().count(), 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backoff(IndexMap<BackoffKey, BackoffEntry>);

/// What a back-off is about. A new generation of the DaemonSet starts anew.
///
/// ```
/// use daemonplan::backoff::BackoffKey;
/// let key = BackoffKey::new("42", 1, "node-7");
/// assert_ne!(key.clone().because("Evicted"), key);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct BackoffKey {
    /// The DaemonSet's uid.
    pub uid: Text,
    /// Its `status.observedGeneration`.
    pub observed_generation: i64,
    /// The node's name.
    pub node: Text,
    /// Why pods fail, as `status.reason` says it, if back-offs go by that; or [`BackoffKey::REFUSED`].
    pub reason: Text,
}

/// One back-off.
///
/// ```
/// use std::time::Duration;
/// use daemonplan::backoff::BackoffEntry;
/// let entry = BackoffEntry::new(Duration::from_secs(4), "2026-01-02T03:04:05Z".parse().unwrap());
/// assert_eq!(entry.last_update + entry.delay, "2026-01-02T03:04:09Z".parse().unwrap());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackoffEntry {
    /// How long to wait after the last deletion.
    pub delay: Duration,
    /// When a Failed pod was last deleted.
    pub last_update: Timestamp,
    /// How many failed in a row.
    pub failures: u32,
}

/// How fast a back-off grows.
#[derive(Clone, Copy, Debug)]
struct Pace {
    first: Duration,
    longest: Duration,
}

impl Pace {
    const PLAIN: Self = Self { first: Duration::from_secs(1), longest: Duration::from_mins(15) };
    /// Nothing changes until the node, its pods or the template do.
    const REJECTED: Self = Self { first: Duration::from_secs(10), longest: Duration::from_mins(30) };
    /// The node has to recover first.
    const EVICTED: Self = Self { first: Duration::from_secs(30), longest: Duration::from_mins(15) };

    fn of(reason: &str) -> Self {
        match reason {
            "Evicted" | "Preempting" | "NodeShutdown" | "Terminated" => Self::EVICTED,
            BackoffKey::REFUSED
            | "NodeAffinity"
            | "NodeName"
            | "NodePorts"
            | "PodOSNotSupported"
            | "TaintToleration"
            | "TopologyAffinityError"
            | "UnexpectedAdmissionError" => Self::REJECTED,
            reason if reason.starts_with("OutOf") => Self::REJECTED,
            _ => Self::PLAIN,
        }
    }
}

impl BackoffKey {
    /// The reason for pods that the API server refuses to create.
    pub const REFUSED: &str = "CreationRefused";

    /// Of the DaemonSet with this uid, in this `status.observedGeneration`, on this node, whatever the reason.
    pub fn new(uid: impl Into<Text>, observed_generation: i64, node: impl Into<Text>) -> Self {
        Self { uid: uid.into(), observed_generation, node: node.into(), reason: Text::default() }
    }

    /// For pods that fail for this reason.
    #[must_use]
    pub fn because(self, reason: impl Into<Text>) -> Self {
        Self { reason: reason.into(), ..self }
    }

    fn pace(&self) -> Pace {
        Pace::of(&self.reason)
    }

    /// When an entry that was last used then is forgotten.
    fn forgotten_at(&self, last_update: Timestamp) -> Option<Timestamp> {
        last_update.checked_add(self.pace().longest * 2 + Duration::from_nanos(1)).ok()
    }

    fn is_forgotten(&self, entry: &BackoffEntry, now: Timestamp) -> bool {
        self.forgotten_at(entry.last_update).is_some_and(|at| at <= now)
    }
}

impl BackoffEntry {
    /// One failure, after which to wait so long.
    pub fn new(delay: Duration, last_update: Timestamp) -> Self {
        Self { delay, last_update, failures: 1 }
    }

    /// When the next Failed pod may be deleted: at the end of the year 9999 at the latest.
    fn end(&self) -> Timestamp {
        self.last_update.checked_add(self.delay).unwrap_or(Timestamp::MAX)
    }
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
        self.0.retain(|key, entry| !key.is_forgotten(entry, now));
    }

    /// The entry to keep once the API server has refused to create a pod of this DaemonSet on a node: under the policy
    /// `daemonplan/backoff: by-reason` none is created there again until its delay is over.
    ///
    /// ```
    /// use daemonplan::{Backoff, model::DaemonSet};
    /// let now = "2026-01-02T03:04:05Z".parse().unwrap();
    /// let (daemonset, mut backoff) = (DaemonSet::new("prod", "agent"), Backoff::default());
    /// for seconds in [10, 20, 40] {
    ///     let (key, entry) = backoff.refused(&daemonset, "node-7", now);
    ///     assert_eq!(entry.delay.as_secs(), seconds);
    ///     backoff.update([(key, entry)], now);
    /// }
    /// ```
    pub fn refused(&self, daemonset: &DaemonSet, node: impl Into<Text>, now: Timestamp) -> (BackoffKey, BackoffEntry) {
        let key = Self::key(daemonset, &node.into()).because(BackoffKey::REFUSED);
        let entry = self.next(&key, now);
        (key, entry)
    }

    /// All entries, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&BackoffKey, &BackoffEntry)> {
        self.0.iter()
    }

    /// The keys of the entries that are out of date at `now`.
    pub(crate) fn forgotten(&self, now: Timestamp) -> impl Iterator<Item = &BackoffKey> {
        self.0.iter().filter(move |(key, entry)| key.is_forgotten(entry, now)).map(|(key, _)| key)
    }

    /// The key for Failed pods of this DaemonSet on `node`, whatever the reason.
    pub(crate) fn key(daemonset: &DaemonSet, node: &Text) -> BackoffKey {
        BackoffKey::new(daemonset.uid.clone(), daemonset.status.observed_generation, node.clone())
    }

    /// How long a Failed pod has to wait; `None` if it may be deleted. Without a clock, a known back-off lasts.
    pub(crate) fn wait(&self, key: &BackoffKey, now: Option<Timestamp>) -> Option<Wait> {
        let entry = self.0.get(key)?;
        let Some(now) = now else { return Some(Wait::For(entry.delay)) };
        let end = entry.end();
        (!key.is_forgotten(entry, now) && end > now).then_some(Wait::Until(end))
    }

    /// When time alone changes what is known under `key`: a back-off ends, or is forgotten.
    pub(crate) fn changes_at(&self, key: &BackoffKey, now: Option<Timestamp>) -> Option<Timestamp> {
        let (entry, now) = (self.0.get(key)?, now?);
        let changes = [Some(entry.end()), key.forgotten_at(entry.last_update)];
        changes.into_iter().flatten().filter(|at| *at > now).min()
    }

    /// How long the next Failed pod has to wait once this one is deleted.
    pub(crate) fn next_delay(&self, key: &BackoffKey, now: Option<Timestamp>) -> Duration {
        let Pace { first, longest } = key.pace();
        self.known(key, now).map_or(first, |entry| min(entry.delay.saturating_mul(2), longest))
    }

    /// The entry to keep once a Failed pod is deleted.
    pub(crate) fn next(&self, key: &BackoffKey, now: Timestamp) -> BackoffEntry {
        let failures = self.known(key, Some(now)).map_or(0, |entry| entry.failures).saturating_add(1);
        BackoffEntry { delay: self.next_delay(key, Some(now)), last_update: now, failures }
    }

    /// What is known about failures on a node, by reason.
    pub(crate) fn failures<'b>(
        &'b self,
        daemonset: &DaemonSet,
        node: &Text,
        now: Option<Timestamp>,
    ) -> impl Iterator<Item = (&'b Text, &'b BackoffEntry)> {
        let meant = Self::key(daemonset, node);
        self.0.iter().filter_map(move |(key, entry)| {
            let is_meant =
                (&key.uid, key.observed_generation, &key.node) == (&meant.uid, meant.observed_generation, &meant.node);
            let is_forgotten = now.is_some_and(|now| key.is_forgotten(entry, now));
            (is_meant && !is_forgotten).then_some((&key.reason, entry))
        })
    }

    fn known(&self, key: &BackoffKey, now: Option<Timestamp>) -> Option<&BackoffEntry> {
        self.0.get(key).filter(|entry| !now.is_some_and(|now| key.is_forgotten(entry, now)))
    }
}

impl FromIterator<(BackoffKey, BackoffEntry)> for Backoff {
    fn from_iter<I: IntoIterator<Item = (BackoffKey, BackoffEntry)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)] // a test says what is wrong by failing
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
            let entry = backoff.next(&key(), now);
            let delay = entry.delay;
            backoff.update([(key(), entry)], now);
            assert_eq!(wait(&backoff, Some(now)), Some(delay));
            now += delay;
            assert_eq!(wait(&backoff, Some(now)), None, "over when the delay has passed");
            delays.push(delay.as_secs());
        }
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
    }

    #[test]
    fn it_is_forgotten_after_thirty_minutes() {
        let entry = BackoffEntry::new(Pace::PLAIN.longest, at(0));
        let mut backoff = Backoff::from_iter([(key(), entry)]);
        assert_eq!(backoff.next_delay(&key(), Some(at(1800))), Pace::PLAIN.longest);
        assert_eq!(backoff.next_delay(&key(), Some(at(1801))), Pace::PLAIN.first);
        backoff.update([], at(1801));
        assert_eq!(backoff.iter().count(), 0);
    }

    #[test]
    fn a_clock_that_runs_backwards_only_lengthens_the_wait() {
        let entry = BackoffEntry::new(Pace::PLAIN.first, at(10));
        let backoff = Backoff::from_iter([(key(), entry)]);
        assert_eq!(wait(&backoff, Some(at(0))), Some(Duration::from_secs(11)));
        assert_eq!(wait(&backoff, None), Some(Pace::PLAIN.first));
    }

    #[test]
    fn it_grows_by_the_reason() {
        for (reason, delays) in [
            ("", [1, 2, 4, 900]),
            ("Error", [1, 2, 4, 900]),
            ("Evicted", [30, 60, 120, 900]),
            ("OutOfcpu", [10, 20, 40, 1800]),
            ("NodeAffinity", [10, 20, 40, 1800]),
            ("UnexpectedAdmissionError", [10, 20, 40, 1800]),
        ] {
            let (key, mut backoff, mut found) = (key().because(reason), Backoff::default(), Vec::new());
            for _ in 0..12 {
                let entry = backoff.next(&key, at(0));
                found.push(entry.delay.as_secs());
                backoff.update([(key.clone(), entry)], at(0));
            }
            let [first, second, third, last] = delays;
            assert_eq!((&found[..3], found[11]), (&[first, second, third][..], last), "{reason}");
            assert_eq!(
                backoff.failures(&DaemonSet::new("prod", "agent"), &"node-a".into(), None).next().unwrap().1.failures,
                12
            );
            let forgotten = i64::try_from(2 * last).unwrap() + 1;
            backoff.update([], at(forgotten - 1));
            assert_eq!(backoff.iter().count(), 1);
            backoff.update([], at(forgotten));
            assert_eq!(backoff.iter().count(), 0, "{reason}");
        }
    }
}
