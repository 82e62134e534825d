//! Expectations: writes that the watches do not show yet.
//!
//! Until they show, a new plan would repeat them. Each write is expected in the watch of its kind: a creation by the
//! pod's name, which is chosen before the write; a deletion by the pod's uid; any other change by the `resourceVersion`
//! of the response. A watch shows the versions of one object in order and without gaps. If it restarts, its list
//! contains all writes made before the list began.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::{Duration, Instant},
};

use daemonplan::{Key, Kind, Object, model::Text};

/// How long to wait for a created or deleted pod to show, as in the built-in controller.
const PATIENCE: Duration = Duration::from_mins(5);

/// How long any other change may delay the next plan. Repeating it is harmless.
const PATIENCE_FOR_CHANGES: Duration = Duration::from_secs(15);

/// The effect by which a write shows in the watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The object exists.
    Created,
    /// The object is being deleted, is gone, or has another uid.
    Deleted {
        /// `metadata.uid`.
        uid: Text,
    },
    /// The object has the version of the response.
    Changed,
    /// The same, for a write that no plan needs to wait for: a status.
    Noted,
}

/// Identifies one write, so that the outcome of another write to an object of the same name does not count as its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticket(u64);

/// An object as a watch shows it.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// `metadata.uid`.
    pub uid: &'a str,
    /// `metadata.resourceVersion`.
    pub version: &'a str,
    /// Whether the object has a deletion timestamp.
    pub being_deleted: bool,
}

impl<'a> Observation<'a> {
    /// Returns what matters of an object; kinds that are never written have no uid here.
    pub fn of(object: &'a Object, version: &'a str) -> Self {
        let (uid, being_deleted) = match object {
            Object::Pod(pod) => (pod.uid.as_str(), pod.is_being_deleted()),
            Object::ControllerRevision(revision) => (revision.uid.as_str(), revision.deleted.is_some()),
            Object::DaemonSet(daemonset) => (daemonset.uid.as_str(), daemonset.is_being_deleted()),
            _ => ("", false),
        };
        Self { uid, version, being_deleted }
    }
}

/// A write that no longer has to be waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Satisfied {
    /// The DaemonSet that the write was made for.
    pub daemonset: Key,
    /// When the API server responded; `None` if the watch was faster.
    pub written: Option<Instant>,
}

/// The writes of all DaemonSets that do not show yet.
#[derive(Debug, Default)]
pub struct Expectations {
    expected: HashMap<(Kind, Key), Expected>,
    counts: HashMap<Key, Counts>,
    tickets: u64,
    /// No write expires earlier. Writes that showed meanwhile may have made it too early.
    next_expiry: Option<Instant>,
}

#[derive(Debug)]
struct Expected {
    ticket: Ticket,
    daemonset: Key,
    effect: Effect,
    /// The version in the API server's response.
    version: Option<String>,
    /// Versions that the watch showed before the response.
    seen: Vec<String>,
    /// When the API server confirmed the write.
    written: Option<Instant>,
    /// When to stop waiting; `None` before the response.
    until: Option<Instant>,
}

#[derive(Debug, Default)]
struct Counts {
    pods: usize,
    changes: usize,
    noted: usize,
}

impl Counts {
    fn of(&mut self, kind: Kind, effect: &Effect) -> &mut usize {
        match effect {
            Effect::Noted => &mut self.noted,
            effect if is_about_pods(kind, effect) => &mut self.pods,
            _ => &mut self.changes,
        }
    }
}

fn is_about_pods(kind: Kind, effect: &Effect) -> bool {
    kind == Kind::Pod && matches!(effect, Effect::Created | Effect::Deleted { .. })
}

impl Expectations {
    /// Records a write that is about to be made. Replaces an earlier one to the same object.
    pub fn expect(&mut self, daemonset: &Key, kind: Kind, key: Key, effect: Effect) -> Ticket {
        self.take(kind, &key);
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        *self.counts.entry(daemonset.clone()).or_default().of(kind, &effect) += 1;
        let daemonset = daemonset.clone();
        let (version, seen, written, until) = (None, Vec::new(), None, None);
        self.expected.insert((kind, key), Expected { ticket, daemonset, effect, version, seen, written, until });
        ticket
    }

    /// Records that the API server confirmed a write, and the object's new version. Returns the write if it shows
    /// already.
    pub fn written(&mut self, kind: Kind, key: &Key, ticket: Ticket, version: &str, now: Instant) -> Option<Satisfied> {
        let expected = self.of_ticket(kind, key, ticket)?;
        let patience = if is_about_pods(kind, &expected.effect) { PATIENCE } else { PATIENCE_FOR_CHANGES };
        (expected.written, expected.until) = (Some(now), Some(now + patience));
        expected.version = Some(version.to_owned());
        let shows = matches!(expected.effect, Effect::Changed | Effect::Noted)
            && expected.seen.iter().any(|seen| seen == version);
        self.expires(now + patience);
        if shows { self.take(kind, key) } else { None }
    }

    /// Records that the outcome of a write is unknown; it expires after `patience`.
    pub fn doubted(&mut self, kind: Kind, key: &Key, ticket: Ticket, patience: Duration, now: Instant) {
        if let Some(expected) = self.of_ticket(kind, key, ticket) {
            expected.until = Some(now + patience);
            self.expires(now + patience);
        }
    }

    /// Removes a write that was not done.
    pub fn cancelled(&mut self, kind: Kind, key: &Key, ticket: Ticket) {
        if self.of_ticket(kind, key, ticket).is_some() {
            self.take(kind, key);
        }
    }

    /// Removes a write if it was never tried.
    pub fn untried(&mut self, kind: Kind, key: &Key, ticket: Ticket) {
        if self.of_ticket(kind, key, ticket).is_some_and(|expected| expected.until.is_none()) {
            self.take(kind, key);
        }
    }

    /// Records what a watch shows of an object; `None` if it is gone. Returns the write that shows by it.
    pub fn seen(&mut self, kind: Kind, key: &Key, observation: Option<Observation<'_>>) -> Option<Satisfied> {
        // Most events are about objects without expectations.
        if self.expected.is_empty() {
            return None;
        }
        let expected = self.expected.get_mut(&(kind, key.clone()))?;
        let shows = match (&expected.effect, observation) {
            (_, None) | (Effect::Created, Some(_)) => true,
            (Effect::Deleted { uid }, Some(observation)) => {
                observation.being_deleted || observation.uid != uid.as_str()
            }
            (Effect::Changed | Effect::Noted, Some(observation)) => {
                if let Some(version) = &expected.version {
                    version == observation.version
                } else {
                    expected.seen.push(observation.version.to_owned());
                    false
                }
            }
        };
        if shows { self.take(kind, key) } else { None }
    }

    /// Records a complete list that was begun at `began`, of the objects for which `is_listed`. Returns the writes that show by
    /// it. `uid` looks up a listed object.
    pub fn listed<'a>(
        &mut self,
        kind: Kind,
        began: Instant,
        is_listed: impl Fn(&Key) -> bool,
        uid: impl Fn(&Key) -> Option<&'a Text>,
    ) -> Vec<Satisfied> {
        let of_kind = self.expected.iter().filter(|((of, key), _)| *of == kind && is_listed(key));
        let shown = of_kind.filter(|((_, key), expected)| {
            let before = expected.written.is_some_and(|at| at < began);
            before || matches!(&expected.effect, Effect::Deleted { uid: deleted } if uid(key) != Some(deleted))
        });
        let shown: Vec<_> = shown.map(|((_, key), _)| key.clone()).collect();
        shown.iter().filter_map(|key| self.take(kind, key)).collect()
    }

    /// Removes and returns the writes whose waiting time is over, with their objects.
    pub fn expired(&mut self, now: Instant) -> Vec<(Kind, Key, Satisfied)> {
        if self.next_expiry.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let expired = self.expected.iter().filter(|(_, expected)| expected.until.is_some_and(|until| until <= now));
        let expired: Vec<_> = expired.map(|(object, _)| object.clone()).collect();
        let taken = expired.into_iter().map(|(kind, key)| (self.take(kind, &key), kind, key));
        let taken = taken.filter_map(|(shown, kind, key)| Some((kind, key, shown?))).collect();
        self.next_expiry = self.expected.values().filter_map(|expected| expected.until).min();
        taken
    }

    /// Returns when to ask for [`expired`](Self::expired) writes next.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.next_expiry
    }

    /// Returns whether pods created or deleted for a DaemonSet do not show yet.
    pub fn has_pods(&self, daemonset: &Key) -> bool {
        self.counts.get(daemonset).is_some_and(|counts| counts.pods > 0)
    }

    /// Returns whether other changes for a DaemonSet do not show yet, besides its status.
    pub fn has_changes(&self, daemonset: &Key) -> bool {
        self.counts.get(daemonset).is_some_and(|counts| counts.changes > 0)
    }

    /// Returns whether a write to this object does not show yet.
    pub fn has(&self, kind: Kind, key: &Key) -> bool {
        self.expected.contains_key(&(kind, key.clone()))
    }

    /// Returns the number of writes that do not show yet.
    pub fn len(&self) -> usize {
        self.expected.len()
    }

    /// Returns whether all writes show.
    pub fn is_empty(&self) -> bool {
        self.expected.is_empty()
    }

    fn of_ticket(&mut self, kind: Kind, key: &Key, ticket: Ticket) -> Option<&mut Expected> {
        self.expected.get_mut(&(kind, key.clone())).filter(|expected| expected.ticket == ticket)
    }

    fn expires(&mut self, at: Instant) {
        self.next_expiry = Some(self.next_expiry.map_or(at, |next| next.min(at)));
    }

    fn take(&mut self, kind: Kind, key: &Key) -> Option<Satisfied> {
        let expected = self.expected.remove(&(kind, key.clone()))?;
        if self.expected.is_empty() {
            self.next_expiry = None;
        }
        if let Entry::Occupied(mut counts) = self.counts.entry(expected.daemonset.clone()) {
            let count = counts.get_mut().of(kind, &expected.effect);
            *count = count.saturating_sub(1);
            if matches!(counts.get(), Counts { pods: 0, changes: 0, noted: 0 }) {
                counts.remove();
            }
        }
        Some(Satisfied { daemonset: expected.daemonset, written: expected.written })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent() -> Key {
        Key::new("prod", "agent")
    }

    fn pod(name: &str) -> Key {
        Key::new("prod", name)
    }

    fn observation(uid: &'static str, version: &'static str) -> Observation<'static> {
        Observation { uid, version, being_deleted: false }
    }

    #[test]
    fn a_creation_shows_by_its_name_even_before_the_response() {
        let (mut expectations, now) = (Expectations::default(), Instant::now());
        let ticket = expectations.expect(&agent(), Kind::Pod, pod("agent-1"), Effect::Created);
        assert!(expectations.has_pods(&agent()) && !expectations.has_changes(&agent()) && !expectations.is_empty());
        assert_eq!(expectations.seen(Kind::Pod, &pod("agent-2"), Some(observation("u2", "1"))), None);
        assert!(expectations.seen(Kind::Pod, &pod("agent-1"), Some(observation("u1", "2"))).is_some());
        assert_eq!(expectations.written(Kind::Pod, &pod("agent-1"), ticket, "2", now), None);
        assert!(expectations.is_empty() && !expectations.has_pods(&agent()));
    }

    #[test]
    fn a_deletion_shows_by_a_deletion_timestamp_a_new_uid_or_absence() {
        for after in
            [Some(Observation { being_deleted: true, ..observation("u1", "5") }), Some(observation("u2", "6")), None]
        {
            let mut expectations = Expectations::default();
            expectations.expect(&agent(), Kind::Pod, pod("agent-1"), Effect::Deleted { uid: "u1".into() });
            assert_eq!(
                expectations.seen(Kind::Pod, &pod("agent-1"), Some(observation("u1", "4"))),
                None,
                "only its status changed"
            );
            assert!(expectations.seen(Kind::Pod, &pod("agent-1"), after).is_some());
        }
    }

    #[test]
    fn a_change_shows_by_its_version_before_or_after_the_response() {
        let (mut expectations, now) = (Expectations::default(), Instant::now());
        for response_first in [true, false] {
            let ticket = expectations.expect(&agent(), Kind::DaemonSet, agent(), Effect::Changed);
            assert!(expectations.has_changes(&agent()) && !expectations.has_pods(&agent()));
            assert_eq!(expectations.seen(Kind::DaemonSet, &agent(), Some(observation("u", "7"))), None);
            if response_first {
                assert_eq!(expectations.written(Kind::DaemonSet, &agent(), ticket, "9", now), None);
                assert_eq!(expectations.seen(Kind::DaemonSet, &agent(), Some(observation("u", "8"))), None);
                let shown = expectations.seen(Kind::DaemonSet, &agent(), Some(observation("u", "9")));
                assert_eq!(shown.unwrap().written, Some(now));
            } else {
                assert_eq!(expectations.seen(Kind::DaemonSet, &agent(), Some(observation("u", "9"))), None);
                assert!(expectations.written(Kind::DaemonSet, &agent(), ticket, "9", now).is_some());
            }
            assert!(expectations.is_empty());
        }
    }

    #[test]
    fn a_list_satisfies_earlier_writes_and_deletions_of_missing_objects() {
        let (mut expectations, start) = (Expectations::default(), Instant::now());
        let [late, began] = [3, 2].map(|seconds| start + Duration::from_secs(seconds));
        let [early, after, untried] = ["early", "late", "untried"]
            .map(|name| expectations.expect(&agent(), Kind::Pod, pod(name), Effect::Created));
        let gone = expectations.expect(&agent(), Kind::Pod, pod("gone"), Effect::Deleted { uid: "u".into() });
        expectations.written(Kind::Pod, &pod("early"), early, "1", start);
        expectations.written(Kind::Pod, &pod("late"), after, "2", began);
        expectations.written(Kind::Pod, &pod("gone"), gone, "", late);
        let shown = expectations.listed(Kind::Pod, began, |_| true, |_| None);
        let mut written: Vec<_> = shown.iter().map(|shown| shown.written).collect();
        written.sort();
        assert_eq!(written, [Some(start), Some(late)], "the early creation and the deletion");
        assert_eq!(expectations.len(), 2, "the other two are still expected");
        expectations.untried(Kind::Pod, &pod("late"), after);
        expectations.untried(Kind::Pod, &pod("untried"), untried);
        assert_eq!(expectations.len(), 1, "the late one was tried");
    }

    #[test]
    fn only_created_or_deleted_pods_delay_creations_and_cancelled_writes_delay_nothing() {
        let mut expectations = Expectations::default();
        let ticket = expectations.expect(&agent(), Kind::ControllerRevision, pod("agent-6d5f"), Effect::Created);
        assert!(!expectations.has_pods(&agent()) && expectations.has_changes(&agent()));
        expectations.cancelled(Kind::ControllerRevision, &pod("agent-6d5f"), ticket);
        assert!(expectations.is_empty() && !expectations.has_changes(&agent()));
    }

    #[test]
    fn writes_that_never_show_expire() {
        let (mut expectations, start) = (Expectations::default(), Instant::now());
        let [lost, doubtful] =
            ["lost", "doubtful"].map(|name| expectations.expect(&agent(), Kind::Pod, pod(name), Effect::Created));
        assert_eq!(expectations.next_expiry(), None, "no response to either yet");
        expectations.written(Kind::Pod, &pod("lost"), lost, "1", start);
        expectations.doubted(Kind::Pod, &pod("doubtful"), doubtful, Duration::from_secs(30), start);
        assert_eq!(expectations.next_expiry(), Some(start + Duration::from_secs(30)));
        let expired =
            |expectations: &mut Expectations, seconds| expectations.expired(start + Duration::from_secs(seconds)).len();
        assert_eq!([29, 30, 299, 300].map(|seconds| expired(&mut expectations, seconds)), [0, 1, 0, 1]);
        assert!(!expectations.has_pods(&agent()));
        assert_eq!(expectations.next_expiry(), None);
    }

    #[test]
    fn the_outcome_of_a_write_does_not_count_for_another_one_of_the_same_name() {
        let (mut expectations, now) = (Expectations::default(), Instant::now());
        let refused = expectations.expect(&agent(), Kind::Pod, pod("agent-1"), Effect::Created);
        let done = expectations.expect(&agent(), Kind::Pod, pod("agent-1"), Effect::Created);
        expectations.written(Kind::Pod, &pod("agent-1"), done, "1", now);
        expectations.cancelled(Kind::Pod, &pod("agent-1"), refused);
        expectations.untried(Kind::Pod, &pod("agent-1"), refused);
        assert!(expectations.has_pods(&agent()) && expectations.has(Kind::Pod, &pod("agent-1")));
    }

    #[test]
    fn no_plan_waits_for_a_status() {
        let mut expectations = Expectations::default();
        expectations.expect(&agent(), Kind::DaemonSet, agent(), Effect::Noted);
        assert!(!expectations.has_changes(&agent()) && expectations.has(Kind::DaemonSet, &agent()));
        expectations.seen(Kind::DaemonSet, &agent(), None);
        assert!(expectations.is_empty());
    }

    #[test]
    fn a_later_write_to_the_same_pod_replaces_an_earlier_one() {
        let (mut expectations, now) = (Expectations::default(), Instant::now());
        let deletion = Effect::Deleted { uid: "u".into() };
        let change = expectations.expect(&agent(), Kind::Pod, pod("agent-1"), Effect::Changed);
        let deletion = expectations.expect(&agent(), Kind::Pod, pod("agent-1"), deletion);
        assert!(!expectations.has_changes(&agent()) && expectations.has_pods(&agent()));
        assert_eq!(expectations.written(Kind::Pod, &pod("agent-1"), change, "3", now), None);
        assert_eq!(
            expectations.seen(Kind::Pod, &pod("agent-1"), Some(observation("u", "3"))),
            None,
            "adopted, not yet deleted"
        );
        assert_eq!(expectations.written(Kind::Pod, &pod("agent-1"), deletion, "", now), None);
        assert!(expectations.seen(Kind::Pod, &pod("agent-1"), None).is_some());
    }
}
