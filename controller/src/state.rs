//! What the controller knows: the cluster as the watches tell it, what has been written and does not show yet, and whose turn
//! it is. Nothing here waits or talks to anybody; times come from outside.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use daemonplan::{
    Cluster, Key, Kind, OwnedSnapshot, Plan, Resource, Settings, Warning,
    model::{DaemonSet, Text},
};
use jiff::Timestamp;
use kube::runtime::watcher;

use crate::{
    expectations::{Expectations, Observation, Satisfied},
    job::{Failure, Job, Step},
    watched::{Watch, Watched},
};

/// Every kind that is watched.
pub const KINDS: [Kind; 5] = [Kind::Namespace, Kind::Node, Kind::ControllerRevision, Kind::Pod, Kind::DaemonSet];

/// The first wait after a failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_mins(1);

/// The same moment for the planner, which goes by the calendar, and for waiting, which must not.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the calendar.
    pub time: Timestamp,
    /// By a clock that nobody sets.
    pub instant: Instant,
}

impl Moment {
    /// Now.
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

/// See the module.
#[derive(Debug)]
pub struct State {
    cluster: Cluster,
    collect_garbage: bool,
    dry_run: bool,
    expectations: Expectations,
    in_flight: HashSet<Key>,
    retries: HashMap<Key, Retry>,
    warnings: HashMap<Key, Vec<Warning>>,
    listings: HashMap<Kind, Listing>,
    listed: HashSet<Kind>,
}

impl State {
    /// Nothing is known yet. Unless `collect_garbage`, the pods of DaemonSets that are being deleted are left to the cluster's
    /// garbage collector. In a `dry_run` nothing is written, so that nothing is expected to show.
    pub fn new(settings: Settings, collect_garbage: bool, dry_run: bool) -> Self {
        let settings = if collect_garbage { settings } else { settings.keep_pods_on_missing_nodes() };
        Self {
            cluster: Cluster::new(settings),
            collect_garbage,
            dry_run,
            expectations: Expectations::default(),
            in_flight: HashSet::new(),
            retries: HashMap::new(),
            warnings: HashMap::new(),
            listings: HashMap::new(),
            listed: HashSet::new(),
        }
    }

    /// Takes in what a watch tells. Gives the writes that show by it, and why an object could not be read.
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
            watcher::Event::InitDone => return (self.end_of_list(kind), None),
            watcher::Event::Apply(watched) => return self.apply(watched),
            watcher::Event::Delete(watched) => return (self.delete(kind, &watched.key()), None),
        }
        (Vec::new(), None)
    }

    fn apply<T: Watch>(&mut self, watched: Watched<T>) -> (Vec<Satisfied>, Option<(Key, String)>) {
        let (key, version) = (watched.key(), watched.version().to_owned());
        let object = match watched.object {
            Ok(object) => object.into(),
            // A DaemonSet that nobody understands is left alone. Anything else stays as it was when it could be read.
            Err(reason) if T::KIND == Kind::DaemonSet => {
                return (self.delete(Kind::DaemonSet, &key), Some((key, reason)));
            }
            Err(reason) => return (Vec::new(), Some((key, reason))),
        };
        let (uid, being_deleted) = identity(&object);
        let observation = Observation { uid: &uid, version: &version, being_deleted };
        let shown = self.expectations.seen(T::KIND, &key, Some(observation));
        if let Resource::DaemonSet(new) = &object
            && self.cluster.daemonset(&key).is_none_or(|old| (&old.uid, old.generation) != (&new.uid, new.generation))
        {
            self.retries.remove(&key); // whatever was wrong with it may have been set right
        }
        self.cluster.apply(object);
        (self.settle(shown), None)
    }

    fn delete(&mut self, kind: Kind, key: &Key) -> Vec<Satisfied> {
        let shown = self.expectations.seen(kind, key, None);
        self.cluster.delete(kind, key);
        if kind == Kind::DaemonSet {
            self.retries.remove(key);
            self.warnings.remove(key);
        }
        self.settle(shown)
    }

    fn end_of_list(&mut self, kind: Kind) -> Vec<Satisfied> {
        self.listed.insert(kind);
        let Some(Listing { began, keys }) = self.listings.remove(&kind) else { return Vec::new() };
        self.cluster.retain(kind, |key| keys.contains(key));
        let Self { cluster, expectations, .. } = self;
        let shown = expectations.listed(kind, began, |key| match kind {
            Kind::Pod => cluster.pod(key).map(|pod| &pod.uid),
            Kind::ControllerRevision => cluster.revision(key).map(|revision| &revision.uid),
            _ => None,
        });
        self.settle(shown)
    }

    /// Plans may create and delete again for those DaemonSets whose writes all show.
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

    /// Takes nothing as complete until it is listed anew, as what another controller has written last may not have come in.
    pub fn forget_lists(&mut self) {
        self.listed.clear();
        self.listings.clear();
    }

    /// Whether a kind has been listed.
    pub fn is_listed(&self, kind: Kind) -> bool {
        self.listed.contains(&kind)
    }

    /// Whether every kind has been listed: before that, what seems to be missing may only not have come in yet.
    pub fn is_complete(&self) -> bool {
        KINDS.iter().all(|kind| self.is_listed(*kind))
    }

    /// Whose turn it is: DaemonSets whose plan may have changed, or whose last plan could not be carried out, but for those that
    /// somebody is at work for, that have changes to come that were made for them, or that must wait after a failure.
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
        keys.sort();
        keys.dedup();
        keys.retain(|key| {
            let waits = self.retries.get(key).and_then(|retry| retry.at).is_some_and(|at| at > now.instant);
            !waits && !self.in_flight.contains(key) && !self.expectations.has_changes(key)
        });
        (keys, expired)
    }

    /// When somebody's turn may come though nothing happens; `None`: not before something does.
    pub fn next_turn(&self, now: Moment) -> Option<Instant> {
        // Those whose turn has come and who must wait for something else get it once that happens.
        let of_plans = self.cluster.next_stale_after(now.time);
        let of_plans = of_plans.and_then(|at| Duration::try_from(at.duration_since(now.time)).ok());
        let of_plans = of_plans.map(|wait| now.instant + wait);
        let of_retries = self.retries.values().filter_map(|retry| retry.at).filter(|at| *at > now.instant).min();
        [of_plans, of_retries, self.expectations.next_expiry()].into_iter().flatten().min()
    }

    /// Plans for a DaemonSet and takes it as being worked for until it is [finished](State::finish). `name` gives a name to a
    /// pod that is to be created. `None` if it is not known.
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
        let steps: Vec<_> = actions.into_iter().map(|action| Step::new(action, key, &mut name)).collect();
        self.in_flight.insert(key.clone());
        if !self.dry_run {
            for step in &steps {
                self.expectations.expect(key, step.kind(), step.key.clone(), step.effect());
            }
            self.update_expectations(key);
        }
        Some(Job { daemonset, steps, events, news })
    }

    /// A step has been written, and its object has this version now. Gives it back if it shows already.
    pub fn written(&mut self, step: &Step, version: &str, now: Moment) -> Option<Satisfied> {
        let shown = self.expectations.written(step.kind(), &step.key, &step.effect(), version, now.instant);
        self.settle(shown).pop()
    }

    /// A step has not been written.
    pub fn cancelled(&mut self, step: &Step) {
        self.expectations.cancelled(step.kind(), &step.key);
    }

    /// The API server refuses to create a pod on a node: if the policy says so, none is tried there for a while.
    pub fn refused(&mut self, daemonset: &DaemonSet, node: &Text, now: Moment) {
        if self.cluster.settings().policy_of(daemonset).is_ok_and(|policy| policy.backoff_by_reason) {
            let refused = self.cluster.backoff().refused(daemonset, node.clone(), now.time);
            self.cluster.update_backoff([refused], now.time);
        }
    }

    /// Nobody knows whether a step has been written.
    pub fn doubted(&mut self, step: &Step, patience: Duration, now: Moment) {
        self.expectations.doubted(step.kind(), &step.key, patience, now.instant);
    }

    /// Takes in an object that was read beside the watch, which will tell of it later.
    pub fn discover(&mut self, object: impl Into<Resource>) {
        self.cluster.apply(object);
    }

    /// Nobody is at work for the DaemonSet any more.
    pub fn finish(&mut self, key: &Key, outcome: Result<(), Failure>, now: Moment) {
        self.in_flight.remove(key);
        self.expectations.untried(key);
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

    /// All DaemonSets.
    pub fn daemonsets(&self) -> impl Iterator<Item = &DaemonSet> {
        self.cluster.daemonsets()
    }

    /// All that a plan for a DaemonSet is made from.
    pub fn facts(&self, key: &Key, now: Moment) -> Option<OwnedSnapshot> {
        self.cluster.owned_snapshot(key, now.time)
    }

    /// How many DaemonSets wait for their turn or somebody is at work for, and how many writes do not show yet.
    pub fn load(&self, now: Moment) -> Load {
        let (stale, in_flight) = (self.cluster.stale(now.time).len(), self.in_flight.len());
        Load { stale, in_flight, expected: self.expectations.len() }
    }
}

/// See [`State::load`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// DaemonSets whose plan may have changed.
    pub stale: usize,
    /// DaemonSets that somebody is at work for.
    pub in_flight: usize,
    /// Writes that do not show yet.
    pub expected: usize,
}

/// The uid of an object, and whether it is being deleted, as far as writes to its kind go by them.
fn identity(object: &Resource) -> (Text, bool) {
    match object {
        Resource::Pod(pod) => (pod.uid.clone(), pod.is_being_deleted()),
        Resource::ControllerRevision(revision) => (revision.uid.clone(), revision.deleted.is_some()),
        Resource::DaemonSet(daemonset) => (daemonset.uid.clone(), daemonset.is_being_deleted()),
        Resource::Node(_) | Resource::Namespace(_) => (Text::default(), false),
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

    /// One node and one DaemonSet, all but the DaemonSets listed.
    fn state(now: Moment) -> State {
        let mut state = State::new(Settings::default(), false, false);
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
    fn nobody_has_a_turn_before_all_is_listed_and_nobody_has_two_at_once() {
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
        state.finish(&key(), Ok(()), now);
        assert!(!ready(&mut state, now), "a new leader begins with lists");
    }

    #[test]
    fn after_a_failure_its_turn_comes_later_and_later_unless_it_is_another_one_now() {
        let now = Moment::now();
        let mut state = state(now);
        list::<DaemonSet>(&mut state, vec![agent(1)], now);
        let mut at = now;
        for wait in [100, 200, 400] {
            state.start(&key(), at, |_| "agent-1".into()).unwrap();
            state.finish(&key(), Err(Failure::default()), at);
            assert_eq!(state.next_turn(at), Some(at.instant + Duration::from_millis(wait)));
            assert!(!ready(&mut state, later(at, wait - 1)) && ready(&mut state, later(at, wait)));
            at = later(at, wait);
        }
        state.start(&key(), at, |_| "agent-1".into()).unwrap();
        state.finish(&key(), Err(Failure { retry_after: Some(Duration::from_secs(7)), terminal: false }), at);
        assert_eq!(
            state.next_turn(at),
            Some(at.instant + Duration::from_secs(7)),
            "the API server wants to be left alone"
        );
        state.observe(Event::Apply(watched::<DaemonSet>(agent(2))), at);
        assert!(ready(&mut state, at), "it may have been set right");
    }

    #[test]
    fn a_daemonset_that_cannot_be_read_is_left_alone_and_a_pod_stays_as_it_was() {
        let now = Moment::now();
        let mut state = state(now);
        list::<DaemonSet>(&mut state, vec![agent(1)], now);
        let mut broken = agent(2);
        broken["spec"]["updateStrategy"] = json!({"rollingUpdate": {"maxUnavailable": "half"}});
        let (_, unreadable) = state.observe(Event::Apply(watched::<DaemonSet>(broken)), now);
        assert_eq!(unreadable.unwrap().0, key());
        assert!(state.start(&key(), now, |_| "agent-1".into()).is_none());
        // A pod of the same name is another thing.
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
            state.finish(&key(), Ok(()), now);
            job.steps.iter().map(Step::effect).collect()
        };
        // A revision, a pod, the status.
        assert_eq!(expectations(&mut state), [Effect::Change, Effect::CreateReason, Effect::Change]);
        state.observe(Event::Apply(watched::<Pod>(pod("a"))), now);
        state.observe(Event::Apply(watched::<Pod>(pod("b"))), now);
        assert_eq!(expectations(&mut state)[1], Effect::DeleteReason { uid: "b".into() }, "one too many");
    }
}
