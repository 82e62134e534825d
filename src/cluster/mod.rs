//! Incremental planning: a cluster that events keep up to date, and plans whose cost depends on what has changed.

mod daemonset_state;
mod events;
mod node_table;
mod pod_indices;
mod pod_table;
mod scheduling_facts;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    mem,
};

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use jiff::Timestamp;

use crate::{
    backoff::{Backoff, BackoffEntry, BackoffKey},
    model::{ControllerRevision, DaemonSet, Interner, Key, Kind, Namespace, Node, Object, Pod, Resource, Text},
    placement::PlacementRules,
    plan::Plan,
    planner::OwnedSnapshot,
    settings::Settings,
};
use daemonset_state::{ClusterView, DaemonSetState};
use node_table::NodeTable;
use pod_table::{PodTable, may_be_claimed};
use scheduling_facts::SchedulingFacts;

/// A cluster with all its DaemonSets, for controllers. The cost of a plan depends on what has changed since the last
/// plan, not on the size of the cluster.
///
/// Call its methods in this order:
///
/// 1. Lists: [`resync`](Cluster::resync) with all objects of each of the five kinds, or [`apply`](Cluster::apply) for each
///    and [`retain`](Cluster::retain) at the end of its list. Until every kind was listed, nothing is stale and there are no
///    plans, since what was not listed is unknown rather than missing. Pods with a controller of another kind than
///    DaemonSet are not kept, unless the scheduler's facts are ([`with_scheduling`](Cluster::with_scheduling)).
/// 2. Events: [`apply`](Cluster::apply) and [`delete`](Cluster::delete), and lists again after an interruption.
/// 3. [`stale`](Cluster::stale) returns the DaemonSets to plan for. [`next_stale_after`](Cluster::next_stale_after)
///    returns when time alone makes another DaemonSet stale.
/// 4. [`plan`](Cluster::plan) returns the same plan as [`Snapshot::plan`](crate::planner::Snapshot::plan) for the same
///    objects.
/// 5. Before the plan is carried out: [`update_backoff`](Cluster::update_backoff), and
///    [`set_expectations_satisfied`](Cluster::set_expectations_satisfied) with `false` until its effects show in the
///    events. If it is not carried out, or only in part: [`mark_stale`](Cluster::mark_stale), once the writes that were
///    made show.
///
/// ```
/// use daemonplan::{Cluster, Settings, model::{ControllerRevision, DaemonSet, Namespace, Node, Pod}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let now = "2026-01-02T03:04:05Z".parse().unwrap();
///
/// let mut cluster = Cluster::new(Settings::default());
/// cluster.resync([Namespace::new("prod")]);
/// cluster.resync([daemonset]);
/// cluster.resync([Node::new("node-7")]);
/// cluster.resync::<ControllerRevision>([]);
/// assert_eq!(cluster.stale(now), [], "pods were not listed: there may be one on the node");
/// cluster.resync::<Pod>([]);
/// let key = cluster.stale(now).into_iter().next().unwrap();
/// let plan = cluster.plan(&key, now).unwrap();
/// assert_eq!(plan.status.unwrap().desired_number_scheduled, 1);
/// assert_eq!(cluster.stale(now), []);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    settings: Settings,
    backoff: Backoff,
    nodes: NodeTable,
    pods: PodTable,
    interner: Interner,
    namespaces: HashMap<Text, NamespaceState, RandomState>,
    /// What the scheduler looks at, if that is kept.
    scheduling: Option<SchedulingFacts>,
    /// The kinds of which all objects are known.
    listed: BTreeSet<Kind>,
    /// The DaemonSets for which the effects of the last plan do not show yet, known or not, with their uid if it was
    /// known.
    unsatisfied: HashMap<Key, Option<Text>, RandomState>,
    /// The DaemonSets that events made stale.
    stale: HashSet<Key, RandomState>,
    /// When time alone makes a DaemonSet stale.
    due: BTreeSet<(Timestamp, Key)>,
}

/// The known objects of a namespace.
#[derive(Clone, Debug, Default)]
struct NamespaceState {
    namespace: Option<Namespace>,
    daemonsets: IndexMap<Text, DaemonSetState, RandomState>,
    revisions: IndexMap<Text, ControllerRevision, RandomState>,
}

impl Cluster {
    /// Creates a cluster without objects.
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Creates a cluster without objects that also keeps what the default scheduler looks at: the pods of all controllers,
    /// and what they request of each node. See [`cluster_state`](Self::cluster_state).
    ///
    /// ```
    /// use daemonplan::{Cluster, Settings, model::{Node, Pod}, scheduling::SchedulingObjects};
    /// let mut cluster = Cluster::with_scheduling(Settings::default());
    /// let node = r#"{"metadata": {"name": "a"}, "status": {"allocatable": {"cpu": "1", "pods": "110"}}}"#;
    /// cluster.apply(serde_json::from_str::<Node>(node)?);
    /// let pod = r#"{"metadata": {"name": "web"}, "spec": {"nodeName": "a", "containers": [
    ///     {"name": "web", "resources": {"requests": {"cpu": "300m"}}}]}}"#;
    /// cluster.apply(serde_json::from_str::<Pod>(pod)?);
    /// cluster.set_complete();
    /// let objects = SchedulingObjects::default();
    /// let state = cluster.cluster_state(&objects).unwrap();
    /// assert_eq!(state.left_on("a").unwrap().get("cpu").to_string(), "700m");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn with_scheduling(settings: Settings) -> Self {
        Self { scheduling: Some(SchedulingFacts::default()), ..Self::new(settings) }
    }

    /// Applies an object that was added or changed: one of the five types, or an [`Object`] of any of them.
    pub fn apply(&mut self, object: impl Into<Object>) {
        match object.into() {
            Object::DaemonSet(daemonset) => self.apply_daemonset(daemonset),
            Object::Node(node) => self.apply_node(node),
            Object::Pod(pod) => self.apply_pod(pod),
            Object::Namespace(namespace) => self.apply_namespace(namespace),
            Object::ControllerRevision(revision) => self.apply_revision(revision),
        }
    }

    /// Removes an object; unknown ones are ignored.
    ///
    /// ```
    /// use daemonplan::{Cluster, Settings, model::{Node, Pod}};
    /// let mut cluster = Cluster::new(Settings::default());
    /// cluster.delete::<Node>("node-1");
    /// cluster.delete::<Pod>(("prod", "agent-x2k"));
    /// ```
    pub fn delete<R: Resource>(&mut self, id: impl Into<R::Id>) {
        self.delete_any(R::KIND, &R::key_of(id.into()));
    }

    /// Removes an object of a kind that is known only at run time, for streams that mix them; an unknown one is ignored.
    ///
    /// ```
    /// use daemonplan::{Cluster, Key, Kind, Settings};
    /// Cluster::new(Settings::default()).delete_any(Kind::Node, &Key::cluster_wide("node-1"));
    /// ```
    pub fn delete_any(&mut self, kind: Kind, key: &Key) {
        if kind == Kind::DaemonSet {
            self.unsatisfied.remove(key);
        }
        self.remove(kind, key);
    }

    fn remove(&mut self, kind: Kind, key: &Key) {
        match kind {
            Kind::DaemonSet => self.delete_daemonset(key),
            Kind::Node => self.delete_node(&key.name),
            Kind::Pod => self.remove_pod(self.pods.find(&key.namespace, &key.name)),
            Kind::Namespace => self.delete_namespace(&key.name),
            Kind::ControllerRevision => self.delete_revision(key),
        }
    }

    /// Applies all objects of a kind, for example after a watch was interrupted. Objects of the kind that are not among
    /// `objects` are removed. Unchanged objects make nothing stale.
    ///
    /// ```
    /// use daemonplan::{Cluster, Settings, model::Node};
    /// let mut cluster = Cluster::new(Settings::default());
    /// cluster.resync([Node::new("node-1"), Node::new("node-2")]);
    /// cluster.resync([Node::new("node-1")]);
    /// cluster.resync::<Node>([]);
    /// assert!(cluster.nodes().next().is_none());
    /// ```
    ///
    /// The kind follows from the type, so that a list of pods cannot be taken for one of nodes:
    ///
    /// ```compile_fail
    /// use daemonplan::{Cluster, Settings, model::{Node, Pod}};
    /// Cluster::new(Settings::default()).resync::<Node>([Pod::new("prod", "agent-x2k")]);
    /// ```
    pub fn resync<R: Resource>(&mut self, objects: impl IntoIterator<Item = R>) {
        let mut listed = HashSet::new();
        for object in objects {
            listed.insert(object.key());
            self.apply(object);
        }
        self.retain::<R>(|key| listed.contains(key));
    }

    /// Removes all objects of a kind except those for which `remains` returns `true`: the end of a list whose objects
    /// were applied one by one.
    ///
    /// ```
    /// use daemonplan::{Cluster, Settings, model::Node};
    /// let mut cluster = Cluster::new(Settings::default());
    /// cluster.resync([Node::new("node-1"), Node::new("node-2")]);
    /// cluster.retain::<Node>(|key| key.name == "node-2");
    /// assert_eq!(cluster.nodes().map(|node| &*node.name).collect::<Vec<_>>(), ["node-2"]);
    /// ```
    pub fn retain<R: Resource>(&mut self, mut remains: impl FnMut(&Key) -> bool) {
        self.listed.insert(R::KIND);
        let gone: Vec<Key> = self.keys(R::KIND).filter(|key| !remains(key)).collect();
        for key in gone {
            self.remove(R::KIND, &key);
        }
    }

    /// Whether all five kinds were listed, by [`resync`](Self::resync) or [`retain`](Self::retain). Before that there are
    /// no plans.
    pub fn is_complete(&self) -> bool {
        self.listed.len() == Kind::ALL.len()
    }

    /// States that all objects of all kinds were applied, one by one and without a list.
    ///
    /// ```
    /// use daemonplan::{Cluster, Settings, model::Namespace};
    /// let mut cluster = Cluster::new(Settings::default());
    /// cluster.apply(Namespace::new("prod"));
    /// assert!(!cluster.is_complete());
    /// cluster.set_complete();
    /// assert!(cluster.is_complete());
    /// ```
    pub fn set_complete(&mut self) {
        self.listed.extend(Kind::ALL);
    }

    /// Returns the DaemonSets whose plan may have changed, by an event or by time alone, ordered by namespace and name.
    /// DaemonSets in an unknown namespace are left out, and all of them until the cluster is
    /// [complete](Self::is_complete).
    pub fn stale(&self, now: Timestamp) -> Vec<Key> {
        if !self.is_complete() {
            return Vec::new();
        }
        let due = self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| key);
        let all: BTreeSet<&Key> = self.stale.iter().chain(due).filter(|key| self.is_ready(key)).collect();
        all.into_iter().cloned().collect()
    }

    /// Returns when time alone makes the next DaemonSet stale, after `now`. DaemonSets that are due by `now` are
    /// [stale](Cluster::stale) already.
    pub fn next_stale_after(&self, now: Timestamp) -> Option<Timestamp> {
        self.due.iter().map(|(at, _)| *at).find(|at| *at > now)
    }

    /// Makes a DaemonSet stale: for a plan that was not carried out, or not in full, because a write failed.
    ///
    /// ```
    /// use daemonplan::{Cluster, Key, Settings};
    /// Cluster::new(Settings::default()).mark_stale(&Key::new("prod", "agent")); // ignored: it is unknown
    /// ```
    pub fn mark_stale(&mut self, key: &Key) {
        if self.daemonset(key).is_some() {
            self.stale.insert(key.clone());
        }
    }

    /// Returns the plan for a DaemonSet, which is then no longer stale. `None` if it or its namespace is unknown, or if the
    /// cluster is not [complete](Self::is_complete).
    ///
    /// The plan's actions do not count as done until their effects are applied as events; until then, see
    /// [`Cluster::set_expectations_satisfied`]. If they are not carried out, see [`Cluster::mark_stale`]. A `now` before that
    /// of the last plan is allowed, but everything is then recomputed.
    pub fn plan(&mut self, key: &Key, now: Timestamp) -> Option<Plan> {
        if !self.is_complete() {
            return None;
        }
        let expectations_satisfied = self.are_satisfied(key);
        let Self { settings, backoff, nodes, pods, namespaces, .. } = self;
        let NamespaceState { namespace, daemonsets, revisions } = namespaces.get_mut(&key.namespace)?;
        let (namespace, daemonset) = (namespace.as_ref()?, daemonsets.get_mut(&key.name)?);
        let view = ClusterView { namespace, settings, backoff, nodes, pods, now, expectations_satisfied };
        daemonset.refresh(&view, revisions.values());
        let due = daemonset.changes_at(&view);
        let before = mem::replace(&mut daemonset.due, due);
        if before != due {
            before.map(|at| self.due.remove(&(at, key.clone())));
            self.due.extend(due.map(|at| (at, key.clone())));
        }
        self.stale.remove(key);
        Some(daemonset.plan(&view, revisions.values()))
    }

    /// Sets whether the effects of the last plan show in the applied objects. While they do not, plans create and delete
    /// no pods, delete no old revisions, roll nothing back, and do not raise the observed generation.
    ///
    /// Such plans still adopt, release, create revisions and update the status, and ask again for those of these writes that
    /// do not show yet. So do not plan until everything that was written shows, or leave out what you wait for. A change
    /// makes the DaemonSet stale, since its plan changes.
    ///
    /// What is set holds until it is set again or the DaemonSet is [deleted](Self::delete), also while a list does not have
    /// it. It does not hold for a DaemonSet of this name with another uid.
    ///
    /// ```
    /// use daemonplan::{Cluster, Key, Settings};
    /// let mut cluster = Cluster::new(Settings::default());
    /// cluster.set_expectations_satisfied(&Key::new("prod", "agent"), false);
    /// ```
    pub fn set_expectations_satisfied(&mut self, key: &Key, satisfied: bool) {
        let before = self.are_satisfied(key);
        if satisfied {
            self.unsatisfied.remove(key);
        } else {
            let uid = self.daemonset(key).map(|daemonset| daemonset.uid.clone());
            self.unsatisfied.insert(key.clone(), uid);
        }
        if before != satisfied {
            self.mark_stale(key);
        }
    }

    /// Whether the effects of the last plan show. What was set for a DaemonSet does not hold for a recreated one.
    fn are_satisfied(&self, key: &Key) -> bool {
        let Some(known) = self.unsatisfied.get(key) else { return true };
        let uid = self.daemonset(key).map(|daemonset| &daemonset.uid);
        known.is_some() && uid.is_some() && known.as_ref() != uid
    }

    /// Replaces the settings. All DaemonSets become stale.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
        for (namespace, state) in &mut self.namespaces {
            for (name, daemonset) in &mut state.daemonsets {
                daemonset.mark_everything_stale();
                self.stale.insert(Key::new(namespace.clone(), name.clone()));
            }
        }
    }

    /// Stores the entries that a plan returned ([`Plan::backoff`]), and drops those that have expired at `now`. The
    /// DaemonSets of either become stale.
    pub fn update_backoff(&mut self, entries: impl IntoIterator<Item = (BackoffKey, BackoffEntry)>, now: Timestamp) {
        let entries: Vec<_> = entries.into_iter().collect();
        let new = entries.iter().map(|(key, _)| key);
        let changed: HashSet<BackoffKey> = new.chain(self.backoff.forgotten(now)).cloned().collect();
        if changed.is_empty() {
            return;
        }
        self.backoff.update(entries, now);
        for state in self.namespaces.values_mut() {
            for daemonset in state.daemonsets.values_mut() {
                let own = changed.iter().filter(|key| key.uid == daemonset.daemonset.uid);
                let slots: Vec<_> = own.map(|key| self.nodes.find(&key.node)).collect();
                if !slots.is_empty() {
                    self.stale.insert(daemonset.daemonset.key());
                }
                for slot in slots {
                    daemonset.mark_stale(slot);
                }
            }
        }
    }

    /// Returns the settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the back-off of Failed pods.
    pub fn backoff(&self) -> &Backoff {
        &self.backoff
    }

    /// Returns a copy of the input of a DaemonSet's plan, to explain it, to forecast it or to try out changes. `None` where
    /// [`plan`](Self::plan) is.
    ///
    /// This clones all nodes, and the namespace's pods that a DaemonSet may claim.
    pub fn owned_snapshot(&self, key: &Key, now: Timestamp) -> Option<OwnedSnapshot> {
        if !self.is_complete() {
            return None;
        }
        let NamespaceState { namespace, daemonsets, revisions } = self.namespaces.get(&key.namespace)?;
        let (namespace, daemonset) = (namespace.clone()?, daemonsets.get(&key.name)?);
        let pods = self.pods().filter(|pod| pod.namespace == key.namespace).cloned().collect();
        let nodes = self.nodes.iter().cloned().collect();
        let mut facts = OwnedSnapshot::new(daemonset.daemonset.clone(), nodes, pods, namespace);
        facts.revisions = Some(revisions.values().cloned().collect());
        facts.now = Some(now);
        facts.settings = self.settings.clone();
        facts.backoff = self.backoff.clone();
        facts.expectations_satisfied = self.are_satisfied(key);
        Some(facts)
    }

    /// Returns the rules about nodes of a DaemonSet; `None` if it or its namespace is unknown.
    pub fn placement_rules(&self, key: &Key) -> Option<PlacementRules> {
        let NamespaceState { namespace, daemonsets, .. } = self.namespaces.get(&key.namespace)?;
        Some(PlacementRules::new(&daemonsets.get(&key.name)?.daemonset, namespace.as_ref()?, &self.settings))
    }

    /// Returns the DaemonSets as last applied, in any order.
    pub fn daemonsets(&self) -> impl Iterator<Item = &DaemonSet> {
        self.namespaces.values().flat_map(|state| state.daemonsets.values()).map(|daemonset| &daemonset.daemonset)
    }

    /// Returns a DaemonSet as last applied.
    pub fn daemonset(&self, key: &Key) -> Option<&DaemonSet> {
        Some(&self.namespaces.get(&key.namespace)?.daemonsets.get(&key.name)?.daemonset)
    }

    /// Returns the nodes as last applied, in any order.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// Returns the pods as last applied that a DaemonSet may claim, in any order.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.iter().filter(|pod| may_be_claimed(pod))
    }

    /// Returns the ControllerRevisions as last applied, in any order.
    pub fn revisions(&self) -> impl Iterator<Item = &ControllerRevision> {
        self.namespaces.values().flat_map(|state| state.revisions.values())
    }

    /// Returns a namespace as last applied.
    pub fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.get(name)?.namespace.as_ref()
    }

    /// Returns a pod as last applied, if a DaemonSet may claim it.
    pub fn pod(&self, key: &Key) -> Option<&Pod> {
        let placed = self.pods.get(self.pods.find(&key.namespace, &key.name)?)?;
        Some(&placed.pod).filter(|pod| may_be_claimed(pod))
    }

    /// Returns a node as last applied.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(&name.into())
    }

    /// Returns a ControllerRevision as last applied.
    pub fn revision(&self, key: &Key) -> Option<&ControllerRevision> {
        self.namespaces.get(&key.namespace)?.revisions.get(&key.name)
    }

    fn is_ready(&self, key: &Key) -> bool {
        self.namespaces.get(&key.namespace).is_some_and(|state| state.namespace.is_some())
    }

    /// The keys of all objects of a kind.
    fn keys(&self, kind: Kind) -> Box<dyn Iterator<Item = Key> + '_> {
        match kind {
            Kind::Node => Box::new(self.nodes().map(Node::key)),
            Kind::Pod => Box::new(self.pods.iter().map(Pod::key)),
            Kind::Namespace => {
                Box::new(self.namespaces.values().filter_map(|state| state.namespace.as_ref().map(Namespace::key)))
            }
            Kind::DaemonSet => Box::new(self.daemonsets().map(DaemonSet::key)),
            Kind::ControllerRevision => Box::new(self.revisions().map(ControllerRevision::key)),
        }
    }
}
