//! The controller's state: the watched cluster, writes that do not show yet, jobs in flight and retries.
//!
//! [`State`] performs no I/O and reads no clock; callers pass a [`Moment`].

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use daemonplan::{
    Action, Cluster, Explanation, Key, Kind, Object, OwnedSnapshot, Plan, Settings, Warning,
    model::{DaemonSet, Pod, Resource, Text},
    scheduling::SchedulingObjects,
};
use jiff::Timestamp;
use kube::runtime::watcher;

use crate::{
    expectations::{Expectations, Observation, Satisfied, Ticket},
    job::{Failure, Job, Step},
    statuses::Statuses,
    versions::Versions,
    watched::{Watch, Watched},
};

/// All watched kinds.
pub const KINDS: [Kind; 5] = [Kind::Namespace, Kind::Node, Kind::ControllerRevision, Kind::Pod, Kind::DaemonSet];

/// The delay after the first failure; it doubles with each further one, up to [`LAST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_mins(1);

/// One moment on two clocks: wall-clock time for the planner, monotonic time for delays.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The wall-clock time.
    pub time: Timestamp,
    /// The monotonic time.
    pub instant: Instant,
}

impl Moment {
    /// Returns the current moment.
    pub fn now() -> Self {
        Self { time: Timestamp::now(), instant: Instant::now() }
    }
}

#[derive(Debug)]
struct Listing {
    began: Instant,
    keys: HashSet<Key>,
}

#[derive(Debug, Default)]
struct Retry {
    failures: u32,
    at: Option<Instant>,
}

/// The controller's state; see the [module](self).
#[derive(Debug)]
pub struct State {
    cluster: Cluster,
    /// What is known besides nodes, pods and namespaces of what the scheduler looks at.
    scheduling_objects: SchedulingObjects,
    collect_garbage: bool,
    dry_run: bool,
    expectations: Expectations,
    statuses: Statuses,
    versions: Versions,
    in_flight: HashSet<Key>,
    retries: HashMap<Key, Retry>,
    warnings: HashMap<Key, Vec<Warning>>,
    listings: HashMap<Kind, Listing>,
    listed: HashSet<Kind>,
}

impl State {
    /// Creates an empty state.
    ///
    /// Without `collect_garbage`, pods of DaemonSets being deleted are left to the cluster's garbage collector. In a
    /// `dry_run` nothing is written, so no write is expected to show. A status of which only counts have changed waits for at
    /// most `status_delay`.
    pub fn new(settings: Settings, collect_garbage: bool, dry_run: bool, status_delay: Duration) -> Self {
        Self {
            cluster: Cluster::new(settings),
            scheduling_objects: SchedulingObjects::default(),
            collect_garbage,
            dry_run,
            expectations: Expectations::default(),
            statuses: Statuses::new(status_delay),
            versions: Versions::default(),
            in_flight: HashSet::new(),
            retries: HashMap::new(),
            warnings: HashMap::new(),
            listings: HashMap::new(),
            listed: HashSet::new(),
        }
    }

    /// Keeps what the default scheduler looks at, too, of one namespace or all; for an empty state.
    #[must_use]
    pub fn with_scheduling(mut self, namespace: Option<&str>) -> Self {
        self.cluster = Cluster::with_scheduling(self.cluster.settings().clone());
        self.scheduling_objects.only_namespace_of_pods = namespace.map(Into::into);
        self
    }

    /// Applies a watch event. Returns the writes that show by it, and the reason if its object is invalid.
    pub fn observe<T: Watch>(
        &mut self,
        event: watcher::Event<Watched<T>>,
        now: Moment,
    ) -> (Vec<Satisfied>, Option<(Key, String)>) {
        let kind = T::KIND;
        match event {
            watcher::Event::Init => {
                self.listings.insert(kind, Listing { began: now.instant, keys: HashSet::new() });
            }
            watcher::Event::InitApply(watched) => {
                if let Some(listing) = self.listings.get_mut(&kind) {
                    listing.keys.insert(watched.key());
                }
                return self.apply(watched);
            }
            watcher::Event::InitDone => return (self.end_of_list::<T>(), None),
            watcher::Event::Apply(watched) => return self.apply(watched),
            watcher::Event::Delete(watched) => return (self.delete::<T>(watched.key()), None),
        }
        (Vec::new(), None)
    }

    fn apply<T: Watch>(&mut self, watched: Watched<T>) -> (Vec<Satisfied>, Option<(Key, String)>) {
        let (key, version) = (watched.key(), watched.version().to_owned());
        let object: Object = match watched.object {
            Ok(object) => object.into(),
            // An invalid DaemonSet is left alone. Any other object keeps its last valid version.
            Err(reason) if T::KIND == Kind::DaemonSet => {
                return (self.delete::<DaemonSet>(key.clone()), Some((key, reason)));
            }
            Err(reason) => return (Vec::new(), Some((key, reason))),
        };
        let (uid, being_deleted) = identity(&object);
        let observation = Observation { uid: &uid, version: &version, being_deleted };
        let shown = self.expectations.seen(T::KIND, &key, Some(observation));
        if let Object::DaemonSet(new) = &object
            && self.cluster.daemonset(&key).is_none_or(|old| (&old.uid, old.generation) != (&new.uid, new.generation))
        {
            self.retries.remove(&key); // the edit may have fixed the failure
        }
        if let Object::Pod(pod) = &object {
            if pod.controller.as_ref().is_some_and(|owner| owner.kind == "DaemonSet") {
                self.versions.set(&key, &version);
            } else {
                self.versions.remove(&key);
            }
        }
        self.cluster.apply(object);
        (self.settle(shown), None)
    }

    fn delete<R: Resource>(&mut self, key: Key) -> Vec<Satisfied> {
        let shown = self.expectations.seen(R::KIND, &key, None);
        if R::KIND == Kind::DaemonSet {
            self.retries.remove(&key);
            self.warnings.remove(&key);
            self.statuses.forget(&key);
        }
        if R::KIND == Kind::Pod {
            self.versions.remove(&key);
        }
        self.cluster.delete::<R>(R::id_of(key));
        self.settle(shown)
    }

    fn end_of_list<R: Resource>(&mut self) -> Vec<Satisfied> {
        let kind = R::KIND;
        self.listed.insert(kind);
        let Some(Listing { began, keys }) = self.listings.remove(&kind) else { return Vec::new() };
        self.cluster.retain::<R>(|key| keys.contains(key));
        if kind == Kind::Pod {
            self.versions.retain(self.cluster.pods().map(Pod::key));
        }
        let Self { cluster, expectations, .. } = self;
        let shown = expectations.listed(kind, began, |key| match kind {
            Kind::Pod => cluster.pod(key).map(|pod| &pod.uid),
            Kind::ControllerRevision => cluster.revision(key).map(|revision| &revision.uid),
            _ => None,
        });
        self.settle(shown)
    }

    /// Updates the expectations of the DaemonSets whose writes show.
    fn settle(&mut self, shown: impl IntoIterator<Item = Satisfied>) -> Vec<Satisfied> {
        let shown: Vec<_> = shown.into_iter().collect();
        for Satisfied { daemonset, .. } in &shown {
            self.update_expectations(daemonset);
        }
        shown
    }

    fn update_expectations(&mut self, daemonset: &Key) {
        self.cluster.set_expectations_satisfied(daemonset, !self.expectations.has_pods(daemonset));
    }

    /// Marks every kind as not listed: the watches may not show the last writes of another controller yet.
    pub fn forget_lists(&mut self) {
        self.listed.clear();
        self.listings.clear();
    }

    /// Returns whether a kind has been listed.
    pub fn is_listed(&self, kind: Kind) -> bool {
        self.listed.contains(&kind)
    }

    /// Returns whether every kind has been listed. Before that, an object may seem missing.
    pub fn is_complete(&self) -> bool {
        KINDS.iter().all(|kind| self.is_listed(*kind))
    }

    /// Returns the DaemonSets to plan now, and the writes that expired.
    ///
    /// A DaemonSet is ready if its plan may have changed, or its retry or its status is due. It is not ready while it has a job in
    /// flight, has changes that do not show yet, or waits after a failure.
    pub fn ready(&mut self, now: Moment) -> (Vec<Key>, Vec<(Kind, Key, Satisfied)>) {
        if !self.is_complete() {
            return (Vec::new(), Vec::new());
        }
        let expired = self.expectations.expired(now.instant);
        for (_, _, shown) in &expired {
            self.update_expectations(&shown.daemonset);
        }
        let mut keys = self.cluster.stale(now.time);
        let due = self.retries.iter().filter(|(_, retry)| retry.at.is_some_and(|at| at <= now.instant));
        keys.extend(due.map(|(key, _)| key.clone()));
        // A status that was written waits for the watch: only then is it known what has changed since.
        let unwritten = self.statuses.due(now.instant).filter(|key| !self.expectations.has(Kind::DaemonSet, key));
        keys.extend(unwritten.cloned());
        keys.sort();
        keys.dedup();
        keys.retain(|key| {
            !self.waits_after_failure(key, now) && !self.in_flight.contains(key) && !self.expectations.has_changes(key)
        });
        (keys, expired)
    }

    fn waits_after_failure(&self, key: &Key, now: Moment) -> bool {
        self.retries.get(key).and_then(|retry| retry.at).is_some_and(|at| at > now.instant)
    }

    /// Returns when a DaemonSet may become ready without an event; `None` if only an event can make one ready.
    pub fn next_wakeup(&self, now: Moment) -> Option<Instant> {
        // DaemonSets that are due but wait for something else become ready when that happens.
        let of_plans = self.cluster.next_stale_after(now.time);
        let of_plans = of_plans.and_then(|at| Duration::try_from(at.duration_since(now.time)).ok());
        let of_plans = of_plans.map(|wait| now.instant + wait);
        let of_retries = self.retries.values().filter_map(|retry| retry.at).filter(|at| *at > now.instant).min();
        let of_statuses = self.statuses.next_due(now.instant, |key| !self.waits_after_failure(key, now));
        [of_plans, of_retries, of_statuses, self.expectations.next_expiry()].into_iter().flatten().min()
    }

    /// Plans a DaemonSet and starts a job, in flight until [`finish`](State::finish).
    ///
    /// `name` generates names of pods to be created. Returns `None` if the DaemonSet is unknown.
    pub fn start(&mut self, key: &Key, now: Moment, mut name: impl FnMut(&Text) -> Text) -> Option<Job> {
        let daemonset = self.cluster.daemonset(key)?.clone();
        if let Some(retry) = self.retries.get_mut(key) {
            retry.at = None;
        }
        let Plan { mut actions, events, warnings, backoff, .. } = self.cluster.plan(key, now.time)?;
        if daemonset.is_being_deleted() && !self.collect_garbage {
            actions.clear();
        }
        self.cluster.update_backoff(backoff, now.time);
        let before = self.warnings.insert(key.clone(), warnings.clone()).unwrap_or_default();
        let news = warnings.into_iter().filter(|warning| !before.contains(warning)).collect();
        let outdated_since = self.hold_status(&daemonset, key, &mut actions, now);
        let mut steps = Vec::with_capacity(actions.len());
        for action in actions {
            let mut step = Step::new(action, key, || self.unused_name(key, &mut name));
            if !self.dry_run {
                step.ticket = self.expect(key, &step);
            }
            steps.push(step);
        }
        self.in_flight.insert(key.clone());
        self.update_expectations(key);
        Some(Job { daemonset, steps, events, news, outdated_since })
    }

    /// Removes the status from `actions` unless it is to be written now. Returns since when it is outdated if it is.
    fn hold_status(
        &mut self,
        daemonset: &DaemonSet,
        key: &Key,
        actions: &mut Vec<Action>,
        now: Moment,
    ) -> Option<Instant> {
        if self.dry_run {
            return None;
        }
        let Some((Action::UpdateStatus { status, .. }, others)) = actions.split_last() else {
            self.statuses.settled(key);
            return None;
        };
        let since = self.statuses.write_now(key, &daemonset.status, status, now.instant);
        // One write to the DaemonSet at a time, so that each shows by its version.
        let is_alone = others.iter().all(|action| action.kind() != Kind::DaemonSet)
            && !self.expectations.has(Kind::DaemonSet, key);
        let since = since.filter(|_| is_alone);
        if since.is_none() {
            actions.pop();
        }
        since
    }

    fn expect(&mut self, daemonset: &Key, step: &Step) -> Ticket {
        self.expectations.expect(daemonset, step.kind(), step.key.clone(), step.effect())
    }

    /// Generates names until one is such that no known pod has it.
    fn unused_name(&self, daemonset: &Key, name: &mut impl FnMut(&Text) -> Text) -> Text {
        loop {
            let key = Key::new(daemonset.namespace.clone(), name(&daemonset.name));
            if self.cluster.pod(&key).is_none() && !self.expectations.has(Kind::Pod, &key) {
                return key.name;
            }
        }
    }

    /// Gives the pod of a step another name, since an unknown pod has its name.
    pub fn rename(&mut self, daemonset: &Key, step: &Step, mut name: impl FnMut(&Text) -> Text) -> Step {
        let mut renamed = Step::new(step.action.clone(), daemonset, || self.unused_name(daemonset, &mut name));
        renamed.ticket = self.expect(daemonset, &renamed);
        renamed
    }

    /// Records that a step was written, and its object's new version. Returns the write if it shows already.
    pub fn written(&mut self, step: &Step, version: &str, now: Moment) -> Option<Satisfied> {
        if let Action::UpdateStatus { .. } = step.action {
            self.statuses.written(&step.key, now.instant);
        }
        let shown = self.expectations.written(step.kind(), &step.key, step.ticket, version, now.instant);
        self.settle(shown).pop()
    }

    /// Records that a step was not written.
    pub fn cancelled(&mut self, step: &Step) {
        self.expectations.cancelled(step.kind(), &step.key, step.ticket);
    }

    /// Returns what the watch shows of a pod: the pod, and its version if that is known.
    pub fn shown_pod(&self, key: &Key) -> Option<(&Pod, Option<String>)> {
        Some((self.cluster.pod(key)?, self.versions.get(key)))
    }

    /// Records that the API server rejected a pod on a node. The policy may delay the next attempt there.
    pub fn refused(&mut self, daemonset: &DaemonSet, node: &Text, now: Moment) {
        if self.cluster.settings().policy_of(daemonset).is_ok_and(|policy| policy.backoff_by_reason) {
            let refused = self.cluster.backoff().refused(daemonset, node.clone(), now.time);
            self.cluster.update_backoff([refused], now.time);
        }
    }

    /// Records that the outcome of a step is unknown; waits for it to show for at most `patience`.
    pub fn doubted(&mut self, step: &Step, patience: Duration, now: Moment) {
        self.expectations.doubted(step.kind(), &step.key, step.ticket, patience, now.instant);
    }

    /// Adds an object that was read from the API server before the watch showed it.
    pub fn discover(&mut self, object: impl Into<Object>) {
        self.cluster.apply(object);
    }

    /// Ends a DaemonSet's job. Schedules a retry if it failed.
    pub fn finish(&mut self, job: &Job, outcome: Result<(), Failure>, now: Moment) {
        let key = &job.daemonset.key();
        self.in_flight.remove(key);
        for step in &job.steps {
            self.expectations.untried(step.kind(), &step.key, step.ticket);
        }
        self.update_expectations(key);
        match outcome {
            Err(Failure { retry_after, terminal }) if self.cluster.daemonset(key).is_some() => {
                let retry = self.retries.entry(key.clone()).or_default();
                let wait = FIRST_RETRY.saturating_mul(1 << retry.failures.min(16)).min(LAST_RETRY);
                let wait = if terminal { LAST_RETRY } else { wait };
                retry.failures += 1;
                retry.at = Some(now.instant + retry_after.unwrap_or_default().max(wait));
            }
            Ok(()) | Err(_) => drop(self.retries.remove(key)),
        }
    }

    /// Returns all DaemonSets.
    pub fn daemonsets(&self) -> impl Iterator<Item = &DaemonSet> {
        self.cluster.daemonsets()
    }

    /// Returns a snapshot of everything that a plan for a DaemonSet depends on.
    pub fn facts(&self, key: &Key, now: Moment) -> Option<OwnedSnapshot> {
        self.cluster.owned_snapshot(key, now.time)
    }

    /// Adds what the default scheduler makes of the pods to an explanation, if that is kept.
    pub fn explain_scheduling(&self, facts: &OwnedSnapshot, explanation: &mut Explanation) {
        if let Some(state) = self.cluster.cluster_state(&self.scheduling_objects) {
            facts.snapshot().explain_scheduling(&state, explanation);
        }
    }

    /// Returns the number of queued DaemonSets, jobs in flight and writes that do not show yet.
    pub fn load(&self, now: Moment) -> Load {
        let (stale, in_flight) = (self.cluster.stale(now.time).len(), self.in_flight.len());
        Load { stale, in_flight, expected: self.expectations.len() }
    }
}

/// The current load; see [`State::load`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// DaemonSets whose plan may have changed.
    pub stale: usize,
    /// DaemonSets with a job in flight.
    pub in_flight: usize,
    /// Writes that do not show yet.
    pub expected: usize,
}

/// Returns an object's uid and whether it is being deleted; empty for kinds that are never written.
fn identity(object: &Object) -> (Text, bool) {
    match object {
        Object::Pod(pod) => (pod.uid.clone(), pod.is_being_deleted()),
        Object::ControllerRevision(revision) => (revision.uid.clone(), revision.deleted.is_some()),
        Object::DaemonSet(daemonset) => (daemonset.uid.clone(), daemonset.is_being_deleted()),
        _ => (Text::default(), false),
    }
}

#[cfg(test)]
mod tests {
    use daemonplan::model::{Namespace, Node, Pod};
    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    use super::*;
    use crate::expectations::Effect;

    fn watched<T: Watch>(object: Value) -> Watched<T> {
        serde_json::from_value(object).unwrap()
    }

    fn list<T: Watch>(state: &mut State, objects: Vec<Value>, now: Moment) {
        state.observe::<T>(Event::Init, now);
        for object in objects {
            state.observe(Event::InitApply(watched::<T>(object)), now);
        }
        state.observe::<T>(Event::InitDone, now);
    }

    fn agent(generation: i64) -> Value {
        json!({"metadata": {"namespace": "prod", "name": "agent", "uid": "d", "generation": generation, "resourceVersion": "1"},
            "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": {"metadata": {"labels": {"app": "agent"}}}}})
    }

    fn key() -> Key {
        Key::new("prod", "agent")
    }

    /// Returns a state with one node, in which all kinds but DaemonSets are listed.
    fn state(now: Moment) -> State {
        let mut state = State::new(Settings::default(), false, false, Duration::from_secs(3));
        list::<Namespace>(&mut state, vec![json!({"metadata": {"name": "prod"}})], now);
        list::<Node>(&mut state, vec![json!({"metadata": {"name": "n1"}})], now);
        list::<daemonplan::model::ControllerRevision>(&mut state, vec![], now);
        list::<Pod>(&mut state, vec![], now);
        state
    }

    fn ready(state: &mut State, now: Moment) -> bool {
        !state.ready(now).0.is_empty()
    }

    fn later(now: Moment, millis: u64) -> Moment {
        let wait = Duration::from_millis(millis);
        Moment { time: now.time + wait, instant: now.instant + wait }
    }

    #[test]
    fn a_daemonset_is_ready_once_all_kinds_are_listed_and_has_one_job_at_a_time() {
        let now = Moment::now();
        let mut state = state(now);
        assert!(!state.is_complete() && !ready(&mut state, now));
        list::<DaemonSet>(&mut state, vec![agent(1)], now);
        assert!(ready(&mut state, now));
        let job = state.start(&key(), now, |_| "agent-1".into()).unwrap();
        assert_eq!(job.steps.last().unwrap().kind(), Kind::DaemonSet, "the status comes last");
        assert!(job.steps.iter().any(|step| step.kind() == Kind::Pod && step.key.name == "agent-1"));
        assert!(!ready(&mut state, now));
        state.forget_lists();
        state.finish(&job, Ok(()), now);
        assert!(!ready(&mut state, now), "a new leader starts with lists");
    }

    #[test]
    fn failures_delay_retries_ever_longer_until_the_daemonset_is_edited() {
        let now = Moment::now();
        let mut state = state(now);
        list::<DaemonSet>(&mut state, vec![agent(1)], now);
        let mut at = now;
        for wait in [100, 200, 400] {
            let job = state.start(&key(), at, |_| "agent-1".into()).unwrap();
            state.finish(&job, Err(Failure::default()), at);
            assert_eq!(state.next_wakeup(at), Some(at.instant + Duration::from_millis(wait)));
            assert!(!ready(&mut state, later(at, wait - 1)) && ready(&mut state, later(at, wait)));
            at = later(at, wait);
        }
        let job = state.start(&key(), at, |_| "agent-1".into()).unwrap();
        state.finish(&job, Err(Failure { retry_after: Some(Duration::from_secs(7)), terminal: false }), at);
        assert_eq!(
            state.next_wakeup(at),
            Some(at.instant + Duration::from_secs(7)),
            "the API server asks to retry later"
        );
        state.observe(Event::Apply(watched::<DaemonSet>(agent(2))), at);
        assert!(ready(&mut state, at), "the edit may have fixed it");
    }

    #[test]
    fn an_invalid_daemonset_is_left_alone_and_an_invalid_pod_keeps_its_last_version() {
        let now = Moment::now();
        let mut state = state(now);
        list::<DaemonSet>(&mut state, vec![agent(1)], now);
        let mut broken = agent(2);
        broken["spec"]["updateStrategy"] = json!({"rollingUpdate": {"maxUnavailable": "half"}});
        let (_, unreadable) = state.observe(Event::Apply(watched::<DaemonSet>(broken)), now);
        assert_eq!(unreadable.unwrap().0, key());
        assert!(state.start(&key(), now, |_| "agent-1".into()).is_none());
        // A pod of the same name is a different object.
        state.observe(Event::Apply(watched::<DaemonSet>(agent(3))), now);
        let pod = |labels: Value| json!({"metadata": {"namespace": "prod", "name": "agent", "labels": labels, "resourceVersion": "1"}});
        state.observe(Event::Apply(watched::<Pod>(pod(json!({"app": "agent"})))), now);
        let (_, unreadable) = state.observe(Event::Apply(watched::<Pod>(pod(json!("none")))), now);
        assert!(unreadable.is_some());
        assert_eq!(state.cluster.pod(&key()).unwrap().labels.get("app"), Some("agent"));
        assert!(state.cluster.daemonset(&key()).is_some());
    }

    #[test]
    fn each_step_knows_how_it_will_show() {
        let now = Moment::now();
        let mut state = state(now);
        list::<DaemonSet>(&mut state, vec![agent(1)], now);
        let pod = |name: &str| {
            json!({"metadata": {"namespace": "prod", "name": name, "uid": name, "labels": {"app": "agent"}, "resourceVersion": "1",
                "ownerReferences": [{"kind": "DaemonSet", "name": "agent", "uid": "d", "controller": true}]},
                "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}})
        };
        let expectations = |state: &mut State| -> Vec<Effect> {
            let job = state.start(&key(), now, |_| "agent-1".into()).unwrap();
            state.finish(&job, Ok(()), now);
            job.steps.iter().map(Step::effect).collect()
        };
        // A revision, a pod, the status.
        assert_eq!(expectations(&mut state), [Effect::Changed, Effect::Created, Effect::Noted]);
        state.observe(Event::Apply(watched::<Pod>(pod("a"))), now);
        state.observe(Event::Apply(watched::<Pod>(pod("b"))), now);
        assert_eq!(expectations(&mut state)[1], Effect::Deleted { uid: "b".into() }, "one too many");
    }

    #[test]
    fn a_new_pod_gets_a_name_that_no_known_or_expected_pod_has() {
        let now = Moment::now();
        let mut state = state(now);
        list::<DaemonSet>(&mut state, vec![agent(1)], now);
        let known = json!({"metadata": {"namespace": "prod", "name": "agent-1", "resourceVersion": "1"}});
        state.observe(Event::Apply(watched::<Pod>(known)), now);
        let mut numbers = 1..;
        let mut name = |_: &Text| Text::from(format!("agent-{}", numbers.next().unwrap_or_default()).as_str());
        let job = state.start(&key(), now, &mut name).unwrap();
        let step = job.steps.iter().find(|step| step.kind() == Kind::Pod).unwrap();
        assert_eq!(&*step.key.name, "agent-2");
        let mut again = ["agent-1", "agent-2", "agent-3"].into_iter();
        let renamed = state.rename(&key(), step, |_| again.next().unwrap_or_default().into());
        assert_eq!(&*renamed.key.name, "agent-3");
    }
}
