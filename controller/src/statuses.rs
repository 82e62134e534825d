//! Decides when a status is written: the counts of a busy DaemonSet are written seldom, everything else at once.
//!
//! During a rollout each pod changes the counts twice or more. Each write costs the API server as much as a pod does, and
//! goes to every watcher. So counts alone wait until they rest for a moment, and until some time has passed since they were
//! last written. A new generation, a finished rollout, a changed condition and a hash collision do not wait.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use daemonplan::{
    Key,
    model::{DaemonSetStatus, Text},
};

/// The part of the delay for which counts must rest to be written before it is over.
const REST: u32 = 6;

/// The statuses of all DaemonSets that wait to be written, and when each was written last.
#[derive(Debug)]
pub struct Statuses {
    /// How long counts wait at most, and how much time is between two writes of them.
    delay: Duration,
    of: HashMap<Key, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    written: Option<Instant>,
    held: Option<Held>,
}

/// A status that differs from the written one.
#[derive(Debug)]
struct Held {
    status: DaemonSetStatus,
    /// When the written status became outdated.
    since: Instant,
    due: Instant,
}

impl Statuses {
    /// Creates an empty collection; counts wait for at most `delay`.
    pub fn new(delay: Duration) -> Self {
        Self { delay, of: HashMap::new() }
    }

    /// Returns since when the status of a DaemonSet is outdated if `new` is to be written now in place of `old`, and otherwise
    /// `None`: it is then [due](Self::due) later.
    pub fn write_now(
        &mut self,
        key: &Key,
        old: &DaemonSetStatus,
        new: &DaemonSetStatus,
        now: Instant,
    ) -> Option<Instant> {
        let Entry { written, held } = self.of.entry(key.clone()).or_default();
        let since = held.as_ref().map_or(now, |held| held.since);
        if held.as_ref().is_none_or(|held| held.status != *new) {
            // After a rest, but not soon after the last write.
            let rested = (now + self.delay / REST).max(written.map_or(now, |at| at + self.delay));
            *held = Some(Held { status: new.clone(), since, due: rested.min(since + self.delay) });
        }
        let due = held.as_ref().is_none_or(|held| held.due <= now);
        (due || is_urgent(old, new)).then_some(since)
    }

    /// Records that the status was written.
    pub fn written(&mut self, key: &Key, now: Instant) {
        self.of.insert(key.clone(), Entry { written: Some(now), held: None });
    }

    /// Records that the written status is not outdated.
    pub fn settled(&mut self, key: &Key) {
        if let Some(entry) = self.of.get_mut(key) {
            entry.held = None;
        }
    }

    /// Forgets a DaemonSet.
    pub fn forget(&mut self, key: &Key) {
        self.of.remove(key);
    }

    /// Returns the DaemonSets whose status is to be written by `now`.
    pub fn due(&self, now: Instant) -> impl Iterator<Item = &Key> {
        self.all_due().filter(move |(_, due)| *due <= now).map(|(key, _)| key)
    }

    /// Returns when a status is due next, after `now`, of those DaemonSets for which `counts` is true.
    pub fn next_due(&self, now: Instant, counts: impl Fn(&Key) -> bool) -> Option<Instant> {
        self.all_due().filter(|(key, due)| *due > now && counts(key)).map(|(_, due)| due).min()
    }

    fn all_due(&self) -> impl Iterator<Item = (&Key, Instant)> {
        self.of.iter().filter_map(|(key, entry)| Some((key, entry.held.as_ref()?.due)))
    }
}

/// Whether a status says more than that counts have changed on the way.
fn is_urgent(old: &DaemonSetStatus, new: &DaemonSetStatus) -> bool {
    let is_finished = |status: &DaemonSetStatus| {
        let DaemonSetStatus { desired_number_scheduled: desired, updated_number_scheduled: updated, .. } = *status;
        updated == desired && status.number_available == desired && status.number_misscheduled == 0
    };
    old.observed_generation != new.observed_generation
        || old.collision_count != new.collision_count
        || conditions(old).ne(conditions(new))
        || (is_finished(new) && !is_finished(old))
}

/// The conditions without their times and messages, which may contain counts.
fn conditions(status: &DaemonSetStatus) -> impl Iterator<Item = [&Text; 3]> {
    status.conditions.iter().map(|condition| [&condition.kind, &condition.status, &condition.reason])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_secs(6);

    fn status(ready: i32) -> DaemonSetStatus {
        DaemonSetStatus {
            observed_generation: 1,
            desired_number_scheduled: 9,
            updated_number_scheduled: 9,
            number_ready: ready,
            number_available: ready,
            ..DaemonSetStatus::default()
        }
    }

    fn agent() -> Key {
        Key::new("prod", "agent")
    }

    /// Says for each second and count whether it is written.
    fn written(changes: &[(u64, i32)]) -> Vec<bool> {
        let (mut statuses, start, mut old) = (Statuses::new(DELAY), Instant::now(), status(0));
        let write = |(second, ready): &(u64, i32)| {
            let now = start + Duration::from_secs(*second);
            let write = statuses.write_now(&agent(), &old, &status(*ready), now).is_some();
            if write {
                statuses.written(&agent(), now);
                old = status(*ready);
            }
            write
        };
        changes.iter().map(write).collect()
    }

    #[test]
    fn a_single_change_waits_for_a_rest() {
        assert_eq!(written(&[(10, 1), (11, 1)]), [false, true]);
    }

    #[test]
    fn counts_that_never_rest_are_written_at_intervals() {
        let changes: Vec<_> = (0..16).map(|second| (second, i32::try_from(second).unwrap() % 8)).collect();
        let seconds: Vec<_> = (0..).zip(written(&changes)).filter(|(_, written)| *written).map(|(at, _)| at).collect();
        assert_eq!(seconds, [6, 13]);
    }

    #[test]
    fn a_change_soon_after_a_write_waits_for_the_interval() {
        assert_eq!(
            written(&[(0, 1), (1, 1), (2, 2), (3, 2), (6, 2), (7, 2)]),
            [false, true, false, false, false, true]
        );
    }

    #[test]
    fn what_is_more_than_a_count_does_not_wait() {
        let old = status(3);
        let condition = |message: &str| {
            let json =
                format!(r#"{{"conditions": [{{"type": "Progressing", "status": "True", "message": "{message}"}}]}}"#);
            DaemonSetStatus {
                conditions: serde_json::from_str::<DaemonSetStatus>(&json).unwrap().conditions,
                ..status(3)
            }
        };
        assert!(is_urgent(&old, &DaemonSetStatus { observed_generation: 2, ..status(3) }));
        assert!(is_urgent(&old, &DaemonSetStatus { collision_count: Some(1), ..status(3) }));
        assert!(is_urgent(&old, &condition("3 of 9")) && !is_urgent(&condition("3 of 9"), &condition("4 of 9")));
        assert!(is_urgent(&old, &status(9)) && !is_urgent(&old, &status(8)) && !is_urgent(&status(9), &status(3)));
    }

    #[test]
    fn a_held_status_is_due_later_unless_it_settles() {
        let (mut statuses, start) = (Statuses::new(DELAY), Instant::now());
        assert_eq!(statuses.write_now(&agent(), &status(0), &status(1), start), None);
        let due = start + DELAY / REST;
        assert_eq!((statuses.next_due(start, |_| true), statuses.due(start).next()), (Some(due), None));
        assert_eq!((statuses.next_due(due, |_| true), statuses.due(due).next()), (None, Some(&agent())));
        assert_eq!(statuses.write_now(&agent(), &status(0), &status(1), due), Some(start), "outdated since then");
        statuses.settled(&agent());
        assert_eq!(statuses.due(due).next(), None);
    }
}
