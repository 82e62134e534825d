//! The incremental form: a whole cluster that is kept up to date by events, and plans that cost what has changed.

mod daemon;
mod pods;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    mem,
};

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use jiff::Timestamp;

use crate::{
    Backoff, BackoffEntry, BackoffKey, ClusterFacts, Plan, Settings,
    member::PodIndex,
    model::{ControllerRevision, DaemonSet, Namespace, Node, Pod, PodNode, Text},
    nodes::{NodeTable, Slot},
    object::{Key, Kind, Object},
};
use daemon::{Around, Daemon};
use pods::{Placed, PodTable};

/// A cluster with all its DaemonSets, for controllers: events go in, it tells which DaemonSets are stale, and a plan costs
/// what has changed since the last one instead of the cluster's size.
///
/// A plan is the very same as [`Snapshot::plan`](crate::Snapshot::plan) gives for the same objects. Everything that the
/// API server holds of the five kinds goes in, with [`Cluster::apply`] and [`Cluster::delete`] as it changes, or with
/// [`Cluster::resync`] as a whole; pods that no DaemonSet can have to do with are not kept.
///
/// ```
/// use daemonplan::{Cluster, Settings, model::{DaemonSet, Namespace, Node}};
/// let mut daemonset = DaemonSet::new("prod", "agent");
/// daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// let now = "2026-01-02T03:04:05Z".parse().unwrap();
///
/// let mut cluster = Cluster::new(Settings::default());
/// cluster.apply(Namespace::new("prod"));
/// cluster.apply(daemonset);
/// cluster.apply(Node::new("node-7"));
/// let key = cluster.stale(now).into_iter().next().unwrap();
/// let plan = cluster.plan(&key, now).unwrap();
/// assert_eq!(plan.status.unwrap().desired_number_scheduled, 1);
/// assert_eq!(cluster.stale(now), []);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug)]
pub struct Cluster {
    settings: Settings,
    backoff: Backoff,
    nodes: NodeTable,
    pods: PodTable,
    spaces: HashMap<Text, Space, RandomState>,
    /// Which DaemonSets are stale by what happened.
    stale: HashSet<Key, RandomState>,
    /// When time alone makes them stale.
    due: BTreeSet<(Timestamp, Key)>,
}

/// What a namespace holds.
#[derive(Debug, Default)]
struct Space {
    namespace: Option<Namespace>,
    daemons: IndexMap<Text, Daemon, RandomState>,
    revisions: IndexMap<Text, ControllerRevision, RandomState>,
}

impl Cluster {
    /// A cluster without any objects.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            backoff: Backoff::default(),
            nodes: NodeTable::default(),
            pods: PodTable::default(),
            spaces: HashMap::default(),
            stale: HashSet::default(),
            due: BTreeSet::new(),
        }
    }

    /// Takes an object that was added or has changed.
    pub fn apply(&mut self, object: impl Into<Object>) {
        match object.into() {
            Object::DaemonSet(daemonset) => self.apply_daemonset(daemonset),
            Object::Node(node) => self.apply_node(node),
            Object::Pod(pod) => self.apply_pod(pod),
            Object::Namespace(namespace) => self.apply_namespace(namespace),
            Object::ControllerRevision(revision) => self.apply_revision(revision),
        }
    }

    /// Takes notice that an object is gone. One that is not known is no matter.
    pub fn delete(&mut self, kind: Kind, key: &Key) {
        match kind {
            Kind::DaemonSet => self.delete_daemonset(key),
            Kind::Node => self.delete_node(&key.name),
            Kind::Pod => self.remove_pod(self.pods.find(&key.namespace, &key.name)),
            Kind::Namespace => self.delete_namespace(&key.name),
            Kind::ControllerRevision => self.delete_revision(key),
        }
    }

    /// Takes all objects of a kind, as after a watch broke off: those that are not among them are gone. Objects of other
    /// kinds are [applied](Cluster::apply). What has not changed makes nothing stale.
    pub fn resync<T: Into<Object>>(&mut self, kind: Kind, objects: impl IntoIterator<Item = T>) {
        let mut listed = HashSet::new();
        for object in objects {
            let object = object.into();
            if object.kind() == kind {
                listed.insert(object.key());
            }
            self.apply(object);
        }
        self.retain(kind, |key| listed.contains(key));
    }

    /// Takes notice that all objects of a kind are gone but those that `remains` says are left: the end of a list whose
    /// objects were applied one by one.
    pub fn retain(&mut self, kind: Kind, mut remains: impl FnMut(&Key) -> bool) {
        let gone: Vec<Key> = self.keys(kind).filter(|key| !remains(key)).collect();
        for key in gone {
            self.delete(kind, &key);
        }
    }

    /// The DaemonSets whose plan may be another one than it was, by namespace and name: since something has happened that
    /// concerns them, or by the time alone. Those whose namespace is not known are not among them.
    pub fn stale(&self, now: Timestamp) -> Vec<Key> {
        let due = self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| key);
        let all: BTreeSet<&Key> = self.stale.iter().chain(due).filter(|key| self.is_ready(key)).collect();
        all.into_iter().cloned().collect()
    }

    /// When time alone makes the next DaemonSet stale, if nothing else happens. Those that it has made so by `now` are
    /// [stale](Cluster::stale) already.
    pub fn next_stale_after(&self, now: Timestamp) -> Option<Timestamp> {
        self.due.iter().map(|(at, _)| *at).find(|at| *at > now)
    }

    /// The plan for a DaemonSet, which is then no longer stale; `None` if it or its namespace is not known.
    ///
    /// What the plan asks for is not taken as done: it shows in the objects that are applied later. Until then see
    /// [`Cluster::set_effects_observed`]. A `now` before that of the last plan is right, but costs a plan from scratch.
    pub fn plan(&mut self, key: &Key, now: Timestamp) -> Option<Plan<'_>> {
        let Self { settings, backoff, nodes, pods, spaces, .. } = self;
        let Space { namespace, daemons, revisions } = spaces.get_mut(&key.namespace)?;
        let (namespace, daemon) = (namespace.as_ref()?, daemons.get_mut(&key.name)?);
        let around = Around { namespace, settings, backoff, nodes, pods, now };
        daemon.refresh(&around, revisions.values());
        let due = daemon.changes_at();
        let before = mem::replace(&mut daemon.due, due);
        if before != due {
            before.map(|at| self.due.remove(&(at, key.clone())));
            self.due.extend(due.map(|at| (at, key.clone())));
        }
        self.stale.remove(key);
        Some(daemon.plan(&around, revisions.values()))
    }

    /// Says whether the effects of the last plan show in the objects by now. As long as they do not, plans create and
    /// delete nothing.
    pub fn set_effects_observed(&mut self, key: &Key, observed: bool) {
        let daemon = self.spaces.get_mut(&key.namespace).and_then(|space| space.daemons.get_mut(&key.name));
        if daemon.is_some_and(|daemon| mem::replace(&mut daemon.effects_observed, observed) != observed) {
            self.stale.insert(key.clone());
        }
    }

    /// Takes over the entries that a plan gave back ([`Plan::backoff`]), and forgets those that are out of date.
    pub fn update_backoff(&mut self, entries: impl IntoIterator<Item = (BackoffKey, BackoffEntry)>, now: Timestamp) {
        let entries: Vec<_> = entries.into_iter().collect();
        let new = entries.iter().map(|(key, _)| key);
        let changed: HashSet<BackoffKey> = new.chain(self.backoff.forgotten(now)).cloned().collect();
        if changed.is_empty() {
            return;
        }
        self.backoff.update(entries, now);
        for space in self.spaces.values_mut() {
            for daemon in space.daemons.values_mut() {
                let own = changed.iter().filter(|key| key.uid == daemon.daemonset.uid);
                let slots: Vec<_> = own.map(|key| self.nodes.find(&key.node)).collect();
                if !slots.is_empty() {
                    self.stale.insert(Key::new(daemon.daemonset.namespace.clone(), daemon.daemonset.name.clone()));
                }
                for slot in slots {
                    daemon.outdate_at(slot);
                }
            }
        }
    }

    /// The settings that it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The back-off of Failed pods.
    pub fn backoff(&self) -> &Backoff {
        &self.backoff
    }

    /// All that a plan for a DaemonSet is made from, as it is now; `None` if it or its namespace is not known. To
    /// explain it, to forecast it, or to try out what would happen if something were otherwise.
    ///
    /// This copies the nodes, and the pods of the namespace that a DaemonSet may have to do with.
    pub fn facts(&self, key: &Key, now: Timestamp) -> Option<ClusterFacts> {
        let Space { namespace, daemons, revisions } = self.spaces.get(&key.namespace)?;
        let (namespace, daemon) = (namespace.clone()?, daemons.get(&key.name)?);
        let pods = self.pods.iter().filter(|pod| pod.namespace == key.namespace).cloned().collect();
        let nodes = self.nodes.iter().cloned().collect();
        let mut facts = ClusterFacts::new(daemon.daemonset.clone(), nodes, pods, namespace);
        facts.revisions = Some(revisions.values().cloned().collect());
        facts.now = Some(now);
        facts.settings = self.settings.clone();
        facts.backoff = self.backoff.clone();
        facts.effects_observed = daemon.effects_observed;
        Some(facts)
    }

    /// The DaemonSets as they were last applied, in no order.
    pub fn daemonsets(&self) -> impl Iterator<Item = &DaemonSet> {
        self.spaces.values().flat_map(|space| space.daemons.values()).map(|daemon| &daemon.daemonset)
    }

    /// A DaemonSet as it was last applied.
    pub fn daemonset(&self, key: &Key) -> Option<&DaemonSet> {
        Some(&self.spaces.get(&key.namespace)?.daemons.get(&key.name)?.daemonset)
    }

    /// A pod as it was last applied, if a DaemonSet may have to do with it.
    pub fn pod(&self, key: &Key) -> Option<&Pod> {
        Some(&self.pods.get(self.pods.find(&key.namespace, &key.name)?)?.pod)
    }

    /// A node as it was last applied.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(&name.into())
    }

    /// A ControllerRevision as it was last applied.
    pub fn revision(&self, key: &Key) -> Option<&ControllerRevision> {
        self.spaces.get(&key.namespace)?.revisions.get(&key.name)
    }

    fn is_ready(&self, key: &Key) -> bool {
        self.spaces.get(&key.namespace).is_some_and(|space| space.namespace.is_some())
    }

    /// The keys of all objects of a kind.
    fn keys(&self, kind: Kind) -> Box<dyn Iterator<Item = Key> + '_> {
        let spaces = self.spaces.iter();
        match kind {
            Kind::Node => Box::new(self.nodes.iter().map(|node| Key::cluster_wide(node.name.clone()))),
            Kind::Pod => Box::new(self.pods.iter().map(|pod| Key::new(pod.namespace.clone(), pod.name.clone()))),
            Kind::Namespace => Box::new(
                spaces.filter(|(_, space)| space.namespace.is_some()).map(|(name, _)| Key::cluster_wide(name.clone())),
            ),
            Kind::DaemonSet => Box::new(spaces.flat_map(|(namespace, space)| {
                space.daemons.keys().map(|name| Key::new(namespace.clone(), name.clone()))
            })),
            Kind::ControllerRevision => Box::new(spaces.flat_map(|(namespace, space)| {
                space.revisions.keys().map(|name| Key::new(namespace.clone(), name.clone()))
            })),
        }
    }

    fn apply_daemonset(&mut self, daemonset: DaemonSet) {
        let key = Key::new(daemonset.namespace.clone(), daemonset.name.clone());
        let space = self.spaces.entry(key.namespace.clone()).or_default();
        match space.daemons.get_mut(&key.name) {
            Some(daemon) if daemon.daemonset == daemonset => return,
            Some(daemon) => daemon.update(daemonset, &self.nodes),
            None => {
                space.daemons.insert(key.name.clone(), Daemon::new(daemonset));
            }
        }
        self.stale.insert(key);
    }

    fn delete_daemonset(&mut self, key: &Key) {
        let space = self.spaces.get_mut(&key.namespace);
        let daemon = space.and_then(|space| space.daemons.swap_remove(&key.name));
        daemon.and_then(|daemon| daemon.due).map(|at| self.due.remove(&(at, key.clone())));
        self.stale.remove(key);
        self.drop_empty_space(&key.namespace);
    }

    fn apply_namespace(&mut self, namespace: Namespace) {
        let space = self.spaces.entry(namespace.name.clone()).or_default();
        if space.namespace.as_ref() == Some(&namespace) {
            return;
        }
        let name = namespace.name.clone();
        space.namespace = Some(namespace);
        for (daemon_name, daemon) in &mut space.daemons {
            daemon.outdate_rules();
            self.stale.insert(Key::new(name.clone(), daemon_name.clone()));
        }
    }

    fn delete_namespace(&mut self, name: &Text) {
        if let Some(space) = self.spaces.get_mut(name) {
            space.namespace = None;
        }
        self.drop_empty_space(name);
    }

    fn apply_revision(&mut self, revision: ControllerRevision) {
        let namespace = revision.namespace.clone();
        let space = self.spaces.entry(namespace.clone()).or_default();
        if space.revisions.get(&revision.name) != Some(&revision) {
            space.revisions.insert(revision.name.clone(), revision);
            self.outdate_history(&namespace);
        }
    }

    fn delete_revision(&mut self, key: &Key) {
        let space = self.spaces.get_mut(&key.namespace);
        if space.is_some_and(|space| space.revisions.swap_remove(&key.name).is_some()) {
            self.outdate_history(&key.namespace);
            self.drop_empty_space(&key.namespace);
        }
    }

    /// A revision may be anybody's in its namespace, if only by taking a name.
    fn outdate_history(&mut self, namespace: &Text) {
        let daemons = self.spaces.get_mut(namespace).into_iter().flat_map(|space| &mut space.daemons);
        for (name, daemon) in daemons {
            daemon.outdate_history();
            self.stale.insert(Key::new(namespace.clone(), name.clone()));
        }
    }

    fn drop_empty_space(&mut self, namespace: &Text) {
        let is_empty =
            |space: &Space| space.namespace.is_none() && space.daemons.is_empty() && space.revisions.is_empty();
        if self.spaces.get(namespace).is_some_and(is_empty) {
            self.spaces.remove(namespace);
        }
    }

    fn apply_node(&mut self, node: Node) {
        if self.nodes.get(&node.name) == Some(&node) {
            return;
        }
        let (slot, before) = self.nodes.put(node);
        self.node_changed(slot, before.as_ref());
    }

    fn delete_node(&mut self, name: &Text) {
        let Some(slot) = self.nodes.find(name) else { return };
        if let Some(before) = self.nodes.take(slot) {
            self.node_changed(slot, Some(&before));
            self.free_if_vacant(slot);
        }
    }

    fn node_changed(&mut self, slot: Slot, before: Option<&Node>) {
        let after = self.nodes.at(slot);
        for (namespace, space) in &mut self.spaces {
            for (name, daemon) in &mut space.daemons {
                if daemon.node_changed(slot, before, after) {
                    self.stale.insert(Key::new(namespace.clone(), name.clone()));
                }
            }
        }
    }

    fn free_if_vacant(&mut self, slot: Slot) {
        if !self.nodes.is_vacant(slot) {
            return;
        }
        if let Some(name) = self.nodes.name(slot) {
            for daemon in self.spaces.values_mut().flat_map(|space| space.daemons.values_mut()) {
                daemon.free(slot, name);
            }
        }
        self.nodes.free(slot);
    }

    fn apply_pod(&mut self, mut pod: Pod) {
        let known = self.pods.find(&pod.namespace, &pod.name);
        let before = known.and_then(|index| self.pods.get(index));
        if before.is_some_and(|placed| placed.pod == pod) {
            return;
        }
        if pod.controller.as_ref().is_some_and(|owner| owner.kind != "DaemonSet") {
            return self.remove_pod(known);
        }
        let slot = pod.node.name().map(|node| self.nodes.enter(node));
        self.share_name(&mut pod, slot);
        let placed = Placed { pod, slot };
        if let Some(index) = known {
            let before = self.pods.replace(index, placed);
            self.pod_changed(index, before.as_ref());
        } else {
            let index = self.pods.insert(placed);
            self.pod_changed(index, None);
        }
    }

    /// Lets the pod share the name of its node.
    fn share_name(&self, pod: &mut Pod, slot: Option<Slot>) {
        let shared = slot.and_then(|slot| self.nodes.name(slot));
        if let (PodNode::Bound(name) | PodNode::Intended(name), Some(shared)) = (&mut pod.node, shared) {
            *name = shared.clone();
        }
    }

    fn remove_pod(&mut self, index: Option<PodIndex>) {
        if let Some((index, before)) = index.and_then(|index| Some((index, self.pods.remove(index)?))) {
            self.pod_changed(index, Some(&before));
        }
    }

    fn pod_changed(&mut self, index: PodIndex, before: Option<&Placed>) {
        let after = self.pods.get(index);
        let Some(Pod { namespace, .. }) = before.or(after).map(|placed| &placed.pod) else { return };
        let daemons = self.spaces.get_mut(namespace).into_iter().flat_map(|space| &mut space.daemons);
        for (name, daemon) in daemons {
            if daemon.pod_changed(index, before, after) {
                self.stale.insert(Key::new(namespace.clone(), name.clone()));
            }
        }
        if let Some(slot) = before.and_then(|placed| placed.slot) {
            self.nodes.leave(slot);
            self.free_if_vacant(slot);
        }
    }
}
