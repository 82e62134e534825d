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
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// How long a change that is neither a creation nor a deletion of a pod may hold up the next plan. To do it again is harmless.
const PATIENCE_FOR_CHANGES: Duration = Duration::from_secs(15);

/// What a write does to its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is there.
    Creation,
    /// It is being deleted, or is not the one of this uid any more.
    Deletion {
        /// `metadata.uid`.
        uid: Text,
    },
    /// It is at another version.
    Change,
}

/// An object as a watch tells of it.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// `metadata.uid`.
    pub uid: &'a str,
    /// `metadata.resourceVersion`.
    pub version: &'a str,
    /// Whether it has a deletion timestamp.
    pub being_deleted: bool,
}

/// A write that shows by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The DaemonSet that it was for.
    pub daemonset: Key,
    /// When the API server had answered; `None` if the watch was faster.
    pub written: Option<Instant>,
}

/// The writes that do not show yet, of all DaemonSets.
#[derive(Debug, Default)]
pub struct Effects {
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

impl Effects {
    /// A write is about to be made. It takes the place of an earlier one to the same object.
    pub fn expect(&mut self, daemonset: &Key, kind: Kind, key: Key, effect: Effect) {
        self.take(kind, &key);
        *self.counts.entry(daemonset.clone()).or_default().of(kind, &effect) += 1;
        let daemonset = daemonset.clone();
        let expected = Expected { daemonset, effect, version: None, seen: Vec::new(), written: None, until: None };
        self.expected.insert((kind, key), expected);
    }

    /// The API server has done it, and the object has this version now. Gives it back if it shows already.
    pub fn written(&mut self, kind: Kind, key: &Key, effect: &Effect, version: &str, now: Instant) -> Option<Shown> {
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
    pub fn seen(&mut self, kind: Kind, key: &Key, sight: Option<Sight<'_>>) -> Option<Shown> {
        // Most events are about objects that nothing is expected of.
        if self.expected.is_empty() {
            return None;
        }
        let expected = self.expected.get_mut(&(kind, key.clone()))?;
        let shows = match (&expected.effect, sight) {
            (_, None) | (Effect::Creation, Some(_)) => true,
            (Effect::Deletion { uid }, Some(sight)) => sight.being_deleted || sight.uid != uid.as_str(),
            (Effect::Change, Some(sight)) => match &expected.version {
                Some(version) => version == sight.version,
                None => {
                    expected.seen.push(sight.version.to_owned());
                    false
                }
            },
        };
        if shows { self.take(kind, key) } else { None }
    }

    /// A list of a kind is complete that began then. `uid` tells of an object by its key, if it is there.
    pub fn listed<'a>(&mut self, kind: Kind, began: Instant, uid: impl Fn(&Key) -> Option<&'a Text>) -> Vec<Shown> {
        let of_kind = self.expected.iter().filter(|((of, _), _)| *of == kind);
        let shown = of_kind.filter(|((_, key), expected)| {
            let before = expected.written.is_some_and(|at| at < began);
            before || matches!(&expected.effect, Effect::Deletion { uid: meant } if uid(key) != Some(meant))
        });
        let shown: Vec<_> = shown.map(|((_, key), _)| key.clone()).collect();
        shown.iter().filter_map(|key| self.take(kind, key)).collect()
    }

    /// Those that have been waited for long enough: their objects, and the DaemonSets.
    pub fn expired(&mut self, now: Instant) -> Vec<(Kind, Key, Shown)> {
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

    fn take(&mut self, kind: Kind, key: &Key) -> Option<Shown> {
        let expected = self.expected.remove(&(kind, key.clone()))?;
        if let Entry::Occupied(mut counts) = self.counts.entry(expected.daemonset.clone()) {
            let count = counts.get_mut().of(kind, &expected.effect);
            *count = count.saturating_sub(1);
            if matches!(counts.get(), Counts { pods: 0, changes: 0 }) {
                counts.remove();
            }
        }
        Some(Shown { daemonset: expected.daemonset, written: expected.written })
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

    fn sight(uid: &'static str, version: &'static str) -> Sight<'static> {
        Sight { uid, version, being_deleted: false }
    }

    #[test]
    fn a_creation_shows_by_its_name_even_before_the_answer() {
        let (mut effects, now) = (Effects::default(), Instant::now());
        effects.expect(&agent(), Kind::Pod, pod("agent-1"), Effect::Creation);
        assert!(effects.has_pods(&agent()) && !effects.has_changes(&agent()) && !effects.is_empty());
        assert_eq!(effects.seen(Kind::Pod, &pod("agent-2"), Some(sight("u2", "1"))), None);
        assert!(effects.seen(Kind::Pod, &pod("agent-1"), Some(sight("u1", "2"))).is_some());
        assert_eq!(effects.written(Kind::Pod, &pod("agent-1"), &Effect::Creation, "2", now), None);
        assert!(effects.is_empty() && !effects.has_pods(&agent()));
    }

    #[test]
    fn a_deletion_shows_by_the_deletion_timestamp_or_another_uid_or_none() {
        for after in [Some(Sight { being_deleted: true, ..sight("u1", "5") }), Some(sight("u2", "6")), None] {
            let mut effects = Effects::default();
            effects.expect(&agent(), Kind::Pod, pod("agent-1"), Effect::Deletion { uid: "u1".into() });
            assert_eq!(
                effects.seen(Kind::Pod, &pod("agent-1"), Some(sight("u1", "4"))),
                None,
                "only its status changed"
            );
            assert!(effects.seen(Kind::Pod, &pod("agent-1"), after).is_some());
        }
    }

    #[test]
    fn a_change_shows_by_the_version_whichever_comes_first() {
        let (mut effects, now) = (Effects::default(), Instant::now());
        for answer_first in [true, false] {
            effects.expect(&agent(), Kind::DaemonSet, agent(), Effect::Change);
            assert!(effects.has_changes(&agent()) && !effects.has_pods(&agent()));
            assert_eq!(effects.seen(Kind::DaemonSet, &agent(), Some(sight("u", "7"))), None);
            if answer_first {
                assert_eq!(effects.written(Kind::DaemonSet, &agent(), &Effect::Change, "9", now), None);
                assert_eq!(effects.seen(Kind::DaemonSet, &agent(), Some(sight("u", "8"))), None);
                let shown = effects.seen(Kind::DaemonSet, &agent(), Some(sight("u", "9")));
                assert_eq!(shown.unwrap().written, Some(now));
            } else {
                assert_eq!(effects.seen(Kind::DaemonSet, &agent(), Some(sight("u", "9"))), None);
                assert!(effects.written(Kind::DaemonSet, &agent(), &Effect::Change, "9", now).is_some());
            }
            assert!(effects.is_empty());
        }
    }

    #[test]
    fn a_list_settles_what_was_done_before_it_began_and_what_is_not_there() {
        let (mut effects, start) = (Effects::default(), Instant::now());
        let [late, began] = [3, 2].map(|seconds| start + Duration::from_secs(seconds));
        for name in ["early", "late", "untried"] {
            effects.expect(&agent(), Kind::Pod, pod(name), Effect::Creation);
        }
        effects.expect(&agent(), Kind::Pod, pod("gone"), Effect::Deletion { uid: "u".into() });
        effects.written(Kind::Pod, &pod("early"), &Effect::Creation, "1", start);
        effects.written(Kind::Pod, &pod("late"), &Effect::Creation, "2", began);
        effects.written(Kind::Pod, &pod("gone"), &Effect::Deletion { uid: "u".into() }, "", late);
        let shown = effects.listed(Kind::Pod, began, |_| None);
        let mut written: Vec<_> = shown.iter().map(|shown| shown.written).collect();
        written.sort();
        assert_eq!(written, [Some(start), Some(late)], "the early one, and the one that is gone");
        assert_eq!(effects.len(), 2, "the other two are still to come");
        effects.untried(&agent());
        assert_eq!(effects.len(), 1);
    }

    #[test]
    fn only_pods_that_come_and_go_hold_up_creations_and_what_was_not_done_nothing() {
        let mut effects = Effects::default();
        effects.expect(&agent(), Kind::ControllerRevision, pod("agent-6d5f"), Effect::Creation);
        assert!(!effects.has_pods(&agent()) && effects.has_changes(&agent()));
        effects.cancelled(Kind::ControllerRevision, &pod("agent-6d5f"));
        assert!(effects.is_empty() && !effects.has_changes(&agent()));
    }

    #[test]
    fn what_never_shows_is_given_up() {
        let (mut effects, start) = (Effects::default(), Instant::now());
        effects.expect(&agent(), Kind::Pod, pod("lost"), Effect::Creation);
        effects.expect(&agent(), Kind::Pod, pod("doubtful"), Effect::Creation);
        assert_eq!(effects.next_expiry(), None, "neither has been answered");
        effects.written(Kind::Pod, &pod("lost"), &Effect::Creation, "1", start);
        effects.doubted(Kind::Pod, &pod("doubtful"), Duration::from_secs(30), start);
        assert_eq!(effects.next_expiry(), Some(start + Duration::from_secs(30)));
        let expired = |effects: &mut Effects, seconds| effects.expired(start + Duration::from_secs(seconds)).len();
        assert_eq!([29, 30, 299, 300].map(|seconds| expired(&mut effects, seconds)), [0, 1, 0, 1]);
        assert!(!effects.has_pods(&agent()));
    }

    #[test]
    fn the_later_write_of_a_plan_to_the_same_pod_is_the_one_that_counts() {
        let (mut effects, now) = (Effects::default(), Instant::now());
        let deletion = Effect::Deletion { uid: "u".into() };
        effects.expect(&agent(), Kind::Pod, pod("agent-1"), Effect::Change);
        effects.expect(&agent(), Kind::Pod, pod("agent-1"), deletion.clone());
        assert!(!effects.has_changes(&agent()) && effects.has_pods(&agent()));
        assert_eq!(effects.written(Kind::Pod, &pod("agent-1"), &Effect::Change, "3", now), None);
        assert_eq!(effects.seen(Kind::Pod, &pod("agent-1"), Some(sight("u", "3"))), None, "it is adopted, not deleted");
        assert_eq!(effects.written(Kind::Pod, &pod("agent-1"), &deletion, "", now), None);
        assert!(effects.seen(Kind::Pod, &pod("agent-1"), None).is_some());
    }
}
