//! Back-off of Failed pods: the delay before each is deleted.

use std::{cmp::min, time::Duration};

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    model::{DaemonSet, Text},
    util::duration,
};

/// The back-off of Failed pods, by node: the delay before the next Failed pod on the node is deleted.
///
/// The delay starts at 1 s and doubles with each failure, up to 15 minutes. It is forgotten after 30 minutes unused.
///
/// With the policy `daemonplan/backoff: by-reason`, each failure reason has its own back-off:
///
/// - 10 s to 30 minutes for pods that the API server refuses, or that the kubelet rejects with `NodeAffinity`, `NodeName`,
///   `NodePorts`, `OutOf…`, `PodOSNotSupported`, `TaintToleration`, `TopologyAffinityError` or `UnexpectedAdmissionError`,
/// - 30 s to 15 minutes for `Evicted`, `NodeLost`, `NodeShutdown`, `Preempted`, `Preempting`, `Shutdown` and `Terminated`,
/// - 1 s to 15 minutes for all other reasons.
///
/// Each is forgotten after twice its longest delay without use.
///
/// A plan reads this state and returns the changed entries ([`Plan::backoff`](crate::plan::Plan)). Store them
/// with [`Backoff::update`] before the plan is carried out. To keep it over a restart, serialise it.
///
/// ```
/// use std::time::Duration;
/// use daemonplan::{Backoff, backoff::{BackoffEntry, BackoffKey}};
/// let now = "2026-01-02T03:04:05Z".parse().unwrap();
/// let key = BackoffKey::new("42", 1, "node-7");
/// let mut backoff = Backoff::default();
/// backoff.update([(key, BackoffEntry::new(Duration::from_secs(1), now))], now);
/// assert_eq!(backoff.iter().count(), 1);
/// let kept = serde_json::to_string(&backoff)?;
/// assert_eq!(serde_json::from_str::<Backoff>(&kept)?, backoff);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backoff(IndexMap<BackoffKey, BackoffEntry>);

/// The key of a back-off. A new generation of the DaemonSet starts without back-off.
///
/// ```
/// use daemonplan::backoff::BackoffKey;
/// let key = BackoffKey::new("42", 1, "node-7");
/// assert_ne!(key.clone().because("Evicted"), key);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct BackoffKey {
    /// The DaemonSet's uid.
    pub uid: Text,
    /// The DaemonSet's `status.observedGeneration`.
    pub observed_generation: i64,
    /// The node's name.
    pub node: Text,
    /// The pods' `status.reason`, or [`BackoffKey::REFUSED`]. Empty unless back-offs are by reason.
    pub reason: Text,
}

/// The state of a back-off.
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
    /// The delay after the last deletion.
    pub delay: Duration,
    /// The time of the last deletion of a Failed pod.
    pub last_update: Timestamp,
    /// The number of consecutive failures.
    pub failures: u32,
}

/// The first and the longest delay of a back-off.
#[derive(Clone, Copy, Debug)]
struct Pace {
    first: Duration,
    longest: Duration,
}

impl Pace {
    const PLAIN: Self = Self { first: Duration::from_secs(1), longest: Duration::from_secs(15 * 60) };
    /// For rejected pods: a retry fails until the node, its pods or the template change.
    const REJECTED: Self = Self { first: Duration::from_secs(10), longest: Duration::from_secs(30 * 60) };
    /// For pods that were removed from their nodes: the node must recover first.
    const REMOVED: Self = Self { first: Duration::from_secs(30), longest: Duration::from_secs(15 * 60) };

    fn of(reason: &str) -> Self {
        match reason {
            reason if is_removal(reason) => Self::REMOVED,
            BackoffKey::REFUSED => Self::REJECTED,
            reason if is_rejection(reason) => Self::REJECTED,
            _ => Self::PLAIN,
        }
    }
}

/// Whether a `status.reason` says that the pod was removed from its node, which was short of something or shut down.
pub(crate) fn is_removal(reason: &str) -> bool {
    matches!(reason, "Evicted" | "NodeLost" | "NodeShutdown" | "Preempted" | "Preempting" | "Shutdown" | "Terminated")
}

/// Whether a `status.reason` says that the kubelet rejected the pod.
pub(crate) fn is_rejection(reason: &str) -> bool {
    let reasons = [
        "AppArmor",
        "InitContainerRestartPolicyForbidden",
        "NodeAffinity",
        "NodeName",
        "NodePorts",
        "PodOSNotSupported",
        "PodOSSelectorNodeLabelDoesNotMatch",
        "SupplementalGroupsPolicyNotSupported",
        "SysctlForbidden",
        "TaintToleration",
        "TopologyAffinityError",
        "UnexpectedAdmissionError",
    ];
    reason.starts_with("OutOf") || reasons.contains(&reason)
}

impl BackoffKey {
    /// The reason for pods that the API server refuses to create.
    pub const REFUSED: &str = "CreationRefused";

    /// Returns the key for all reasons, for a DaemonSet's `uid` and `status.observedGeneration` and a node.
    pub fn new(uid: impl Into<Text>, observed_generation: i64, node: impl Into<Text>) -> Self {
        Self { uid: uid.into(), observed_generation, node: node.into(), reason: Text::default() }
    }

    /// Returns the key for pods that fail for `reason`.
    #[must_use]
    pub fn because(self, reason: impl Into<Text>) -> Self {
        Self { reason: reason.into(), ..self }
    }

    fn pace(&self) -> Pace {
        Pace::of(&self.reason)
    }

    /// Returns the time when an entry that was last used at `last_update` is forgotten.
    fn forgotten_at(&self, last_update: Timestamp) -> Option<Timestamp> {
        last_update.checked_add(self.pace().longest * 2 + Duration::from_nanos(1)).ok()
    }

    fn is_forgotten(&self, entry: &BackoffEntry, now: Timestamp) -> bool {
        self.forgotten_at(entry.last_update).is_some_and(|at| at <= now)
    }
}

impl BackoffEntry {
    /// Returns the entry after one failure, with this delay.
    pub fn new(delay: Duration, last_update: Timestamp) -> Self {
        Self { delay, last_update, failures: 1 }
    }

    /// Returns the time when the next Failed pod may be deleted, at most the end of the year 9999.
    fn end(&self) -> Timestamp {
        self.last_update.checked_add(self.delay).unwrap_or(Timestamp::MAX)
    }
}

/// The remaining delay of a Failed pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wait {
    /// Until the back-off of its node ends.
    Until(Timestamp),
    /// For this duration, if no clock is given or the back-off starts with the deletion of another pod.
    For(Duration),
}

impl Wait {
    /// Returns the remaining delay at `now`.
    pub(crate) fn at(self, now: Option<Timestamp>) -> Option<Duration> {
        match self {
            Self::Until(end) => Duration::try_from(end.duration_since(now?)).ok(),
            Self::For(duration) => Some(duration),
        }
    }
}

impl Backoff {
    /// Stores the entries of a plan, and removes all entries that are forgotten at `now`.
    pub fn update(&mut self, entries: impl IntoIterator<Item = (BackoffKey, BackoffEntry)>, now: Timestamp) {
        self.0.extend(entries);
        self.0.retain(|key, entry| !key.is_forgotten(entry, now));
    }

    /// Returns the entry to store after the API server has refused to create a pod of `daemonset` on `node`.
    ///
    /// With the policy `daemonplan/backoff: by-reason`, no pod is created on this node until the delay is over.
    ///
    /// ```
    /// use daemonplan::{Backoff, model::DaemonSet};
    /// let now = "2026-01-02T03:04:05Z".parse().unwrap();
    /// let (daemonset, mut backoff) = (DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap(), Backoff::default());
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

    /// Iterates over all entries, in the order of insertion.
    pub fn iter(&self) -> impl Iterator<Item = (&BackoffKey, &BackoffEntry)> {
        self.0.iter()
    }

    /// Iterates over the keys of the entries that are forgotten at `now`.
    pub(crate) fn forgotten(&self, now: Timestamp) -> impl Iterator<Item = &BackoffKey> {
        self.0.iter().filter(move |(key, entry)| key.is_forgotten(entry, now)).map(|(key, _)| key)
    }

    /// Returns the key for Failed pods of `daemonset` on `node`, for all reasons.
    pub(crate) fn key(daemonset: &DaemonSet, node: &Text) -> BackoffKey {
        BackoffKey::new(daemonset.uid.clone(), daemonset.status.observed_generation, node.clone())
    }

    /// Returns the remaining delay of a Failed pod, or `None` if it may be deleted.
    ///
    /// Without a clock, a back-off never ends.
    pub(crate) fn wait(&self, key: &BackoffKey, now: Option<Timestamp>) -> Option<Wait> {
        let entry = self.0.get(key)?;
        let Some(now) = now else { return Some(Wait::For(entry.delay)) };
        let end = entry.end();
        (!key.is_forgotten(entry, now) && end > now).then_some(Wait::Until(end))
    }

    /// Returns the time when the back-off of `key` ends or is forgotten, whichever is next.
    pub(crate) fn changes_at(&self, key: &BackoffKey, now: Option<Timestamp>) -> Option<Timestamp> {
        let (entry, now) = (self.0.get(key)?, now?);
        let changes = [Some(entry.end()), key.forgotten_at(entry.last_update)];
        changes.into_iter().flatten().filter(|at| *at > now).min()
    }

    /// Returns the delay of the next Failed pod after the deletion of this one.
    pub(crate) fn next_delay(&self, key: &BackoffKey, now: Option<Timestamp>) -> Duration {
        let Pace { first, longest } = key.pace();
        self.known(key, now).map_or(first, |entry| min(entry.delay.saturating_mul(2), longest))
    }

    /// Returns the entry to store after the deletion of a Failed pod.
    pub(crate) fn next(&self, key: &BackoffKey, now: Timestamp) -> BackoffEntry {
        let failures = self.known(key, Some(now)).map_or(0, |entry| entry.failures).saturating_add(1);
        BackoffEntry { delay: self.next_delay(key, Some(now)), last_update: now, failures }
    }

    /// Iterates over the failures of a DaemonSet's pods on a node, by reason.
    pub(crate) fn failures<'b>(
        &'b self,
        daemonset: &DaemonSet,
        node: &Text,
        now: Option<Timestamp>,
    ) -> impl Iterator<Item = (&'b Text, &'b BackoffEntry)> {
        let wanted = Self::key(daemonset, node);
        self.0.iter().filter_map(move |(key, entry)| {
            let matches = (&key.uid, key.observed_generation, &key.node)
                == (&wanted.uid, wanted.observed_generation, &wanted.node);
            let is_forgotten = now.is_some_and(|now| key.is_forgotten(entry, now));
            (matches && !is_forgotten).then_some((&key.reason, entry))
        })
    }

    fn known(&self, key: &BackoffKey, now: Option<Timestamp>) -> Option<&BackoffEntry> {
        self.0.get(key).filter(|entry| !now.is_some_and(|now| key.is_forgotten(entry, now)))
    }
}

/// An entry with its key, as one object.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeptEntry {
    uid: Text,
    observed_generation: i64,
    node: Text,
    reason: Text,
    #[serde(rename = "delaySeconds", with = "duration::seconds")]
    delay: Duration,
    last_update: Timestamp,
    failures: u32,
}

impl KeptEntry {
    fn new(key: &BackoffKey, entry: &BackoffEntry) -> Self {
        let BackoffKey { uid, observed_generation, node, reason } = key.clone();
        let BackoffEntry { delay, last_update, failures } = *entry;
        Self { uid, observed_generation, node, reason, delay, last_update, failures }
    }

    fn into_pair(self) -> (BackoffKey, BackoffEntry) {
        let Self { uid, observed_generation, node, reason, delay, last_update, failures } = self;
        (BackoffKey { uid, observed_generation, node, reason }, BackoffEntry { delay, last_update, failures })
    }
}

/// Serializes entries as a list of objects.
pub(crate) fn serialize_entries<S: Serializer>(
    entries: &[(BackoffKey, BackoffEntry)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(entries.iter().map(|(key, entry)| KeptEntry::new(key, entry)))
}

impl Serialize for Backoff {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|(key, entry)| KeptEntry::new(key, entry)))
    }
}

impl<'de> Deserialize<'de> for Backoff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Vec::<KeptEntry>::deserialize(deserializer)?;
        Ok(entries.into_iter().map(KeptEntry::into_pair).collect())
    }
}

impl FromIterator<(BackoffKey, BackoffEntry)> for Backoff {
    fn from_iter<I: IntoIterator<Item = (BackoffKey, BackoffEntry)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)] // a panic fails the test
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn key() -> BackoffKey {
        Backoff::key(&DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap(), &"node-a".into())
    }

    fn wait(backoff: &Backoff, now: Option<Timestamp>) -> Option<Duration> {
        backoff.wait(&key(), now)?.at(now)
    }

    #[test]
    fn the_delay_doubles_from_one_second_to_fifteen_minutes() {
        let mut backoff = Backoff::default();
        let mut now = at(0);
        let mut delays = Vec::new();
        for _ in 0..12 {
            let entry = backoff.next(&key(), now);
            let delay = entry.delay;
            backoff.update([(key(), entry)], now);
            assert_eq!(wait(&backoff, Some(now)), Some(delay));
            now += delay;
            assert_eq!(wait(&backoff, Some(now)), None, "the back-off ends after the delay");
            delays.push(delay.as_secs());
        }
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
    }

    #[test]
    fn a_back_off_is_forgotten_after_thirty_minutes() {
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
    fn the_delay_depends_on_the_reason() {
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
                backoff
                    .failures(&DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap(), &"node-a".into(), None)
                    .next()
                    .unwrap()
                    .1
                    .failures,
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
