//! What has been written and does not show in the watches yet.
//!
//! Until it does, to plan from what the watches tell would be to do things twice. Each write is expected to show in the watch
//! of its kind: a creation by the pod's name, which is chosen before the write; a deletion by the pod's uid; any other change
//! by the `resourceVersion` that the API server answered with. A watch gives the versions of one object in their order and
//! leaves none out, unless it starts anew: then all that was done before its list began is in the list.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::{Duration, Instant},
};

use daemonplan::{Key, Kind, model::Text};

/// How long to wait for a write to show, before it is taken as undone by somebody: that of the built-in controller.
const PATIENCE: Duration = Duration::from_mins(5);

/// How long a change that is neither a creation nor a deletion of a pod may hold up the next plan. To do it again is harmless.
const PATIENCE_FOR_CHANGES: Duration = Duration::from_secs(15);

/// What a write does to its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is there.
    CreateReason,
    /// It is being deleted, or is not the one of this uid any more.
    DeleteReason {
        /// `metadata.uid`.
        uid: Text,
    },
    /// It is at another version.
    Change,
}

/// An object as a watch tells of it.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// `metadata.uid`.
    pub uid: &'a str,
    /// `metadata.resourceVersion`.
    pub version: &'a str,
    /// Whether it has a deletion timestamp.
    pub being_deleted: bool,
}

/// A write that shows by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Satisfied {
    /// The DaemonSet that it was for.
    pub daemonset: Key,
    /// When the API server had answered; `None` if the watch was faster.
    pub written: Option<Instant>,
}

/// The writes that do not show yet, of all DaemonSets.
#[derive(Debug, Default)]
pub struct Expectations {
    expected: HashMap<(Kind, Key), Expected>,
    counts: HashMap<Key, Counts>,
}

#[derive(Debug)]
struct Expected {
    daemonset: Key,
    effect: Effect,
    /// The version that the API server answered with.
    version: Option<String>,
    /// Versions that the watch told of while the API server had not answered yet.
    seen: Vec<String>,
    /// When it answered that it is done.
    written: Option<Instant>,
    /// Until when to wait for it; `None` as long as there is no answer.
    until: Option<Instant>,
}

#[derive(Debug, Default)]
struct Counts {
    pods: usize,
    changes: usize,
}

impl Counts {
    fn of(&mut self, kind: Kind, effect: &Effect) -> &mut usize {
        if is_about_pods(kind, effect) { &mut self.pods } else { &mut self.changes }
    }
}

fn is_about_pods(kind: Kind, effect: &Effect) -> bool {
    kind == Kind::Pod && *effect != Effect::Change
}

impl Expectations {
    /// A write is about to be made. It takes the place of an earlier one to the same object.
    pub fn expect(&mut self, daemonset: &Key, kind: Kind, key: Key, effect: Effect) {
        self.take(kind, &key);
        *self.counts.entry(daemonset.clone()).or_default().of(kind, &effect) += 1;
        let daemonset = daemonset.clone();
        let expected = Expected { daemonset, effect, version: None, seen: Vec::new(), written: None, until: None };
        self.expected.insert((kind, key), expected);
    }

    /// The API server has done it, and the object has this version now. Gives it back if it shows already.
    pub fn written(
        &mut self,
        kind: Kind,
        key: &Key,
        effect: &Effect,
        version: &str,
        now: Instant,
    ) -> Option<Satisfied> {
        let expected = self.expected.get_mut(&(kind, key.clone()))?;
        if expected.effect != *effect {
            return None; // a later write of the same plan is to come
        }
        let patience = if is_about_pods(kind, effect) { PATIENCE } else { PATIENCE_FOR_CHANGES };
        (expected.written, expected.until) = (Some(now), Some(now + patience));
        expected.version = Some(version.to_owned());
        if *effect == Effect::Change && expected.seen.iter().any(|seen| seen == version) {
            return self.take(kind, key);
        }
        None
    }

    /// Nobody knows whether it was done: wait for it for so long.
    pub fn doubted(&mut self, kind: Kind, key: &Key, patience: Duration, now: Instant) {
        if let Some(expected) = self.expected.get_mut(&(kind, key.clone())) {
            expected.until = Some(now + patience);
        }
    }

    /// It was not done.
    pub fn cancelled(&mut self, kind: Kind, key: &Key) {
        self.take(kind, key);
    }

    /// Those of a DaemonSet's writes that nobody tried are not to come.
    pub fn untried(&mut self, daemonset: &Key) {
        let untried: Vec<_> = self
            .expected
            .iter()
            .filter(|(_, expected)| expected.daemonset == *daemonset && expected.until.is_none())
            .map(|(object, _)| object.clone())
            .collect();
        for (kind, key) in untried {
            self.take(kind, &key);
        }
    }

    /// A watch tells of an object; `None`: that it is gone.
    pub fn seen(&mut self, kind: Kind, key: &Key, observation: Option<Observation<'_>>) -> Option<Satisfied> {
        // Most events are about objects that nothing is expected of.
        if self.expected.is_empty() {
            return None;
        }
        let expected = self.expected.get_mut(&(kind, key.clone()))?;
        let shows = match (&expected.effect, observation) {
            (_, None) | (Effect::CreateReason, Some(_)) => true,
            (Effect::DeleteReason { uid }, Some(observation)) => {
                observation.being_deleted || observation.uid != uid.as_str()
            }
            (Effect::Change, Some(observation)) => {
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

    /// A list of a kind is complete that began then. `uid` tells of an object by its key, if it is there.
    pub fn listed<'a>(&mut self, kind: Kind, began: Instant, uid: impl Fn(&Key) -> Option<&'a Text>) -> Vec<Satisfied> {
        let of_kind = self.expected.iter().filter(|((of, _), _)| *of == kind);
        let shown = of_kind.filter(|((_, key), expected)| {
            let before = expected.written.is_some_and(|at| at < began);
            before || matches!(&expected.effect, Effect::DeleteReason { uid: meant } if uid(key) != Some(meant))
        });
        let shown: Vec<_> = shown.map(|((_, key), _)| key.clone()).collect();
        shown.iter().filter_map(|key| self.take(kind, key)).collect()
    }

    /// Those that have been waited for long enough: their objects, and the DaemonSets.
    pub fn expired(&mut self, now: Instant) -> Vec<(Kind, Key, Satisfied)> {
        let expired = self.expected.iter().filter(|(_, expected)| expected.until.is_some_and(|until| until <= now));
        let expired: Vec<_> = expired.map(|(object, _)| object.clone()).collect();
        let taken = expired.into_iter().map(|(kind, key)| (self.take(kind, &key), kind, key));
        taken.filter_map(|(shown, kind, key)| Some((kind, key, shown?))).collect()
    }

    /// When the next one will have been waited for long enough.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.expected.values().filter_map(|expected| expected.until).min()
    }

    /// Whether pods that were created or deleted for a DaemonSet do not show yet.
    pub fn has_pods(&self, daemonset: &Key) -> bool {
        self.counts.get(daemonset).is_some_and(|counts| counts.pods > 0)
    }

    /// Whether other changes for it do not.
    pub fn has_changes(&self, daemonset: &Key) -> bool {
        self.counts.get(daemonset).is_some_and(|counts| counts.changes > 0)
    }

    /// How many do not show yet.
    pub fn len(&self) -> usize {
        self.expected.len()
    }

    /// Whether all show.
    pub fn is_empty(&self) -> bool {
        self.expected.is_empty()
    }

    fn take(&mut self, kind: Kind, key: &Key) -> Option<Satisfied> {
        let expected = self.expected.remove(&(kind, key.clone()))?;
        if let Entry::Occupied(mut counts) = self.counts.entry(expected.daemonset.clone()) {
            let count = counts.get_mut().of(kind, &expected.effect);
            *count = count.saturating_sub(1);
            if matches!(counts.get(), Counts { pods: 0, changes: 0 }) {
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
    fn a_creation_shows_by_its_name_even_before_the_answer() {
        let (mut expectations, now) = (Expectations::default(), Instant::now());
        expectations.expect(&agent(), Kind::Pod, pod("agent-1"), Effect::CreateReason);
        assert!(expectations.has_pods(&agent()) && !expectations.has_changes(&agent()) && !expectations.is_empty());
        assert_eq!(expectations.seen(Kind::Pod, &pod("agent-2"), Some(observation("u2", "1"))), None);
        assert!(expectations.seen(Kind::Pod, &pod("agent-1"), Some(observation("u1", "2"))).is_some());
        assert_eq!(expectations.written(Kind::Pod, &pod("agent-1"), &Effect::CreateReason, "2", now), None);
        assert!(expectations.is_empty() && !expectations.has_pods(&agent()));
    }

    #[test]
    fn a_deletion_shows_by_the_deletion_timestamp_or_another_uid_or_none() {
        for after in
            [Some(Observation { being_deleted: true, ..observation("u1", "5") }), Some(observation("u2", "6")), None]
        {
            let mut expectations = Expectations::default();
            expectations.expect(&agent(), Kind::Pod, pod("agent-1"), Effect::DeleteReason { uid: "u1".into() });
            assert_eq!(
                expectations.seen(Kind::Pod, &pod("agent-1"), Some(observation("u1", "4"))),
                None,
                "only its status changed"
            );
            assert!(expectations.seen(Kind::Pod, &pod("agent-1"), after).is_some());
        }
    }

    #[test]
    fn a_change_shows_by_the_version_whichever_comes_first() {
        let (mut expectations, now) = (Expectations::default(), Instant::now());
        for answer_first in [true, false] {
            expectations.expect(&agent(), Kind::DaemonSet, agent(), Effect::Change);
            assert!(expectations.has_changes(&agent()) && !expectations.has_pods(&agent()));
            assert_eq!(expectations.seen(Kind::DaemonSet, &agent(), Some(observation("u", "7"))), None);
            if answer_first {
                assert_eq!(expectations.written(Kind::DaemonSet, &agent(), &Effect::Change, "9", now), None);
                assert_eq!(expectations.seen(Kind::DaemonSet, &agent(), Some(observation("u", "8"))), None);
                let shown = expectations.seen(Kind::DaemonSet, &agent(), Some(observation("u", "9")));
                assert_eq!(shown.unwrap().written, Some(now));
            } else {
                assert_eq!(expectations.seen(Kind::DaemonSet, &agent(), Some(observation("u", "9"))), None);
                assert!(expectations.written(Kind::DaemonSet, &agent(), &Effect::Change, "9", now).is_some());
            }
            assert!(expectations.is_empty());
        }
    }

    #[test]
    fn a_list_settles_what_was_done_before_it_began_and_what_is_not_there() {
        let (mut expectations, start) = (Expectations::default(), Instant::now());
        let [late, began] = [3, 2].map(|seconds| start + Duration::from_secs(seconds));
        for name in ["early", "late", "untried"] {
            expectations.expect(&agent(), Kind::Pod, pod(name), Effect::CreateReason);
        }
        expectations.expect(&agent(), Kind::Pod, pod("gone"), Effect::DeleteReason { uid: "u".into() });
        expectations.written(Kind::Pod, &pod("early"), &Effect::CreateReason, "1", start);
        expectations.written(Kind::Pod, &pod("late"), &Effect::CreateReason, "2", began);
        expectations.written(Kind::Pod, &pod("gone"), &Effect::DeleteReason { uid: "u".into() }, "", late);
        let shown = expectations.listed(Kind::Pod, began, |_| None);
        let mut written: Vec<_> = shown.iter().map(|shown| shown.written).collect();
        written.sort();
        assert_eq!(written, [Some(start), Some(late)], "the early one, and the one that is gone");
        assert_eq!(expectations.len(), 2, "the other two are still to come");
        expectations.untried(&agent());
        assert_eq!(expectations.len(), 1);
    }

    #[test]
    fn only_pods_that_come_and_go_hold_up_creations_and_what_was_not_done_nothing() {
        let mut expectations = Expectations::default();
        expectations.expect(&agent(), Kind::ControllerRevision, pod("agent-6d5f"), Effect::CreateReason);
        assert!(!expectations.has_pods(&agent()) && expectations.has_changes(&agent()));
        expectations.cancelled(Kind::ControllerRevision, &pod("agent-6d5f"));
        assert!(expectations.is_empty() && !expectations.has_changes(&agent()));
    }

    #[test]
    fn what_never_shows_is_given_up() {
        let (mut expectations, start) = (Expectations::default(), Instant::now());
        expectations.expect(&agent(), Kind::Pod, pod("lost"), Effect::CreateReason);
        expectations.expect(&agent(), Kind::Pod, pod("doubtful"), Effect::CreateReason);
        assert_eq!(expectations.next_expiry(), None, "neither has been answered");
        expectations.written(Kind::Pod, &pod("lost"), &Effect::CreateReason, "1", start);
        expectations.doubted(Kind::Pod, &pod("doubtful"), Duration::from_secs(30), start);
        assert_eq!(expectations.next_expiry(), Some(start + Duration::from_secs(30)));
        let expired =
            |expectations: &mut Expectations, seconds| expectations.expired(start + Duration::from_secs(seconds)).len();
        assert_eq!([29, 30, 299, 300].map(|seconds| expired(&mut expectations, seconds)), [0, 1, 0, 1]);
        assert!(!expectations.has_pods(&agent()));
    }

    #[test]
    fn the_later_write_of_a_plan_to_the_same_pod_is_the_one_that_counts() {
        let (mut expectations, now) = (Expectations::default(), Instant::now());
        let deletion = Effect::DeleteReason { uid: "u".into() };
        expectations.expect(&agent(), Kind::Pod, pod("agent-1"), Effect::Change);
        expectations.expect(&agent(), Kind::Pod, pod("agent-1"), deletion.clone());
        assert!(!expectations.has_changes(&agent()) && expectations.has_pods(&agent()));
        assert_eq!(expectations.written(Kind::Pod, &pod("agent-1"), &Effect::Change, "3", now), None);
        assert_eq!(
            expectations.seen(Kind::Pod, &pod("agent-1"), Some(observation("u", "3"))),
            None,
            "it is adopted, not deleted"
        );
        assert_eq!(expectations.written(Kind::Pod, &pod("agent-1"), &deletion, "", now), None);
        assert!(expectations.seen(Kind::Pod, &pod("agent-1"), None).is_some());
    }
}
