//! The controller's state: the watched cluster, writes that do not show yet, jobs in flight and retries.
//!
//! [`State`] performs no I/O and reads no clock; callers pass a [`Moment`].

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use daemonplan::{
    Action, Cluster, Explanation, Forecast, Key, Kind, Object, OwnedSnapshot, Plan, Settings, Warning,
    forecast::Assumptions,
    model::{DaemonSet, Pod, Resource, Text},
    scheduling::SchedulingObjects,
};
use jiff::Timestamp;
use kube::runtime::watcher;

use crate::{
    expectations::{Expectations, Observation, Satisfied, Ticket},
    job::{Failure, Job, Step},
    listings::{Listing, Listings, is_in},
    retries::Retries,
    scope::Scope,
    statuses::Statuses,
    updates::Updates,
    versions::Versions,
    watched::{Watch, Watched},
};

/// All watched kinds.
pub const KINDS: [Kind; 5] = [Kind::Namespace, Kind::Node, Kind::ControllerRevision, Kind::Pod, Kind::DaemonSet];

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

/// The controller's state; see the [module](self).
#[derive(Debug)]
pub struct State {
    cluster: Cluster,
    scope: Scope,
    /// The DaemonSets of namespaces whose labels do not count, which the cluster does not know.
    unselected: HashMap<Key, DaemonSet>,
    /// What is known besides nodes, pods and namespaces of what the scheduler looks at.
    scheduling_objects: SchedulingObjects,
    /// Whether the pods of all controllers are kept.
    keeps_all_pods: bool,
    collect_garbage: bool,
    dry_run: bool,
    expectations: Expectations,
    statuses: Statuses,
    versions: Versions,
    in_flight: HashSet<Key>,
    retries: Retries,
    updates: Updates,
    warnings: HashMap<Key, Vec<Warning>>,
    listings: Listings,
}

impl State {
    /// Creates an empty state for the DaemonSets of a scope.
    ///
    /// Without `collect_garbage`, pods of DaemonSets being deleted are left to the cluster's garbage collector. In a
    /// `dry_run` nothing is written, so no write is expected to show. A status of which only counts have changed waits for at
    /// most `status_delay`.
    pub fn new(settings: Settings, scope: Scope, collect_garbage: bool, dry_run: bool, status_delay: Duration) -> Self {
        Self {
            cluster: Cluster::new(settings),
            listings: Listings::new(scope.namespaces()),
            scope,
            unselected: HashMap::new(),
            scheduling_objects: SchedulingObjects::default(),
            keeps_all_pods: false,
            collect_garbage,
            dry_run,
            expectations: Expectations::default(),
            statuses: Statuses::new(status_delay),
            versions: Versions::default(),
            in_flight: HashSet::new(),
            retries: Retries::default(),
            updates: Updates::default(),
            warnings: HashMap::new(),
        }
    }

    /// Keeps what the default scheduler looks at, too; for an empty state.
    #[must_use]
    pub fn with_scheduling(mut self) -> Self {
        self.cluster = Cluster::with_scheduling(self.cluster.settings().clone());
        self.keeps_all_pods = true;
        let namespaces = self.scope.namespaces().join(", ");
        self.scheduling_objects.only_namespace_of_pods = (!namespaces.is_empty()).then(|| namespaces.into());
        self
    }

    /// Returns which DaemonSets are managed.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Applies an event of the watch of a namespace, or of all (`""`). Returns the writes that show by it, and the reason if its object is invalid.
    pub fn observe<T: Watch>(
        &mut self,
        namespace: &Text,
        event: watcher::Event<Watched<T>>,
        now: Moment,
    ) -> (Vec<Satisfied>, Option<(Key, String)>) {
        let kind = T::KIND;
        match event {
            watcher::Event::Init => self.listings.begin(kind, namespace, now.instant),
            watcher::Event::InitApply(watched) => {
                self.listings.add(kind, namespace, watched.key());
                return self.apply(watched);
            }
            watcher::Event::InitDone => return (self.end_of_list::<T>(namespace), None),
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
        // With what the scheduler looks at, all pods matter.
        let counts = self.keeps_all_pods && T::KIND == Kind::Pod || self.scope.concerns(&object);
        if !counts {
            return (self.delete::<T>(key), None);
        }
        let observation = Observation::of(&object, &version);
        let shown = self.expectations.seen(T::KIND, &key, Some(observation));
        match &object {
            Object::Pod(pod) if pod.controller.as_ref().is_some_and(|owner| owner.kind == "DaemonSet") => {
                self.versions.set(&key, &version);
            }
            Object::Pod(_) => self.versions.remove(&key),
            _ => {}
        }
        match object {
            Object::DaemonSet(daemonset) => self.apply_daemonset(daemonset),
            object => self.cluster.apply(object),
        }
        if T::KIND == Kind::Namespace {
            self.select(&key.name);
        }
        (self.settle(shown), None)
    }

    /// Applies a DaemonSet, unless the labels of its namespace say that it is not managed.
    fn apply_daemonset(&mut self, new: DaemonSet) {
        let key = new.key();
        if !self.scope.selects(self.cluster.namespace(&key.namespace)) {
            self.forget(&key);
            self.unselected.insert(key, new);
            return;
        }
        self.unselected.remove(&key);
        if self.cluster.daemonset(&key).is_none_or(|old| (&old.uid, old.generation) != (&new.uid, new.generation)) {
            self.retries.forget(&key); // the edit may have fixed the failure
        }
        self.cluster.apply(new);
    }

    /// Adds or removes the DaemonSets of a namespace as its labels say.
    fn select(&mut self, namespace: &Text) {
        if !self.scope.selects_namespaces() {
            return;
        }
        if self.scope.selects(self.cluster.namespace(namespace)) {
            let new: Vec<_> = self.unselected.extract_if(|key, _| key.namespace == *namespace).collect();
            for (_, daemonset) in new {
                self.cluster.apply(daemonset);
            }
        } else {
            let gone = self.cluster.daemonsets().filter(|daemonset| daemonset.namespace == *namespace);
            for daemonset in gone.cloned().collect::<Vec<_>>() {
                self.apply_daemonset(daemonset);
            }
        }
    }

    /// Removes a DaemonSet that is not managed any more.
    fn forget(&mut self, key: &Key) {
        self.retries.forget(key);
        self.updates.forget(key);
        self.warnings.remove(key);
        self.statuses.forget(key);
        self.unselected.remove(key);
        self.cluster.delete::<DaemonSet>(key.clone());
    }

    fn delete<R: Resource>(&mut self, key: Key) -> Vec<Satisfied> {
        let shown = self.expectations.seen(R::KIND, &key, None);
        match R::KIND {
            Kind::DaemonSet => self.forget(&key),
            Kind::Pod => self.versions.remove(&key),
            _ => {}
        }
        let name = key.name.clone();
        self.cluster.delete::<R>(R::id_of(key));
        if R::KIND == Kind::Namespace {
            self.select(&name);
        }
        self.settle(shown)
    }

    fn end_of_list<R: Resource>(&mut self, namespace: &Text) -> Vec<Satisfied> {
        let kind = R::KIND;
        let Some(Listing { began, keys }) = self.listings.end(kind, namespace) else { return Vec::new() };
        let remains = |key: &Key| !is_in(kind, namespace, key) || keys.contains(key);
        self.cluster.retain::<R>(remains);
        match kind {
            Kind::DaemonSet => self.unselected.retain(|key, _| remains(key)),
            Kind::Pod => self.versions.retain(self.cluster.pods().map(Pod::key)),
            Kind::Namespace => {
                let namespaces: HashSet<Text> = self.cluster.daemonsets().map(|one| one.namespace.clone()).collect();
                for namespace in &namespaces {
                    self.select(namespace);
                }
            }
            _ => {}
        }
        let Self { cluster, expectations, .. } = self;
        let is_listed = |key: &Key| is_in(kind, namespace, key);
        let shown = expectations.listed(kind, began, is_listed, |key| match kind {
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
        self.listings.forget();
    }

    /// Returns whether a kind has been listed.
    pub fn is_listed(&self, kind: Kind) -> bool {
        self.listings.has(kind)
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
        keys.extend(self.retries.due(now.instant).cloned());
        // A status that was written waits for the watch: only then is it known what has changed since.
        let unwritten = self.statuses.due(now.instant).filter(|key| !self.expectations.has(Kind::DaemonSet, key));
        keys.extend(unwritten.cloned());
        keys.sort();
        keys.dedup();
        keys.retain(|key| {
            !self.retries.waits(key, now.instant)
                && !self.in_flight.contains(key)
                && !self.expectations.has_changes(key)
        });
        (keys, expired)
    }

    /// Returns when a DaemonSet may become ready without an event; `None` if only an event can make one ready.
    pub fn next_wakeup(&self, now: Moment) -> Option<Instant> {
        // DaemonSets that are due but wait for something else become ready when that happens.
        let of_plans = self.cluster.next_stale_after(now.time);
        let of_plans = of_plans.and_then(|at| Duration::try_from(at.duration_since(now.time)).ok());
        let of_plans = of_plans.map(|wait| now.instant + wait);
        let of_statuses = self.statuses.next_due(now.instant, |key| !self.retries.waits(key, now.instant));
        [of_plans, self.retries.next(now.instant), of_statuses, self.expectations.next_expiry()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Plans a DaemonSet and starts a job, in flight until [`finish`](State::finish).
    ///
    /// `name` generates names of pods to be created. Returns `None` if the DaemonSet is unknown.
    pub fn start(&mut self, key: &Key, now: Moment, mut name: impl FnMut(&Text) -> Text) -> Option<Job> {
        let daemonset = self.cluster.daemonset(key)?.clone();
        self.retries.begun(key);
        let plan = self.cluster.plan(key, now.time)?;
        self.updates.planned(&daemonset, &plan);
        let Plan { mut actions, events, warnings, backoff, .. } = plan;
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
            Err(failure) if self.cluster.daemonset(key).is_some() => self.retries.failed(key, failure, now.instant),
            Ok(()) | Err(_) => self.retries.forget(key),
        }
    }

    /// Returns the number of nodes that each update still has to reach, where it goes on by itself or should.
    pub fn updates(&self) -> impl Iterator<Item = (&Key, usize)> {
        self.updates.iter()
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

    /// Forecasts how an update goes on, with what the default scheduler makes of the pods if that is kept.
    pub fn forecast(&self, facts: &OwnedSnapshot, assumptions: &Assumptions) -> Forecast {
        match self.cluster.cluster_state(&self.scheduling_objects) {
            Some(state) => facts.snapshot().scheduling(&state).forecast(assumptions),
            None => facts.snapshot().forecast(assumptions),
        }
    }

    /// Whether what the default scheduler looks at is kept.
    pub fn keeps_scheduling(&self) -> bool {
        self.keeps_all_pods
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

#[cfg(test)]
mod tests;
