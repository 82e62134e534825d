//! What the scheduler looks at, kept up to date: sums and pods for each node.

use std::collections::BTreeSet;

use super::{Cluster, NamespaceState, node_table::Slot, pod_table::PlacedPod};
use crate::{
    adoption::RevisionHistory,
    model::{Key, Node, Pod, Text},
    node::claimed_pod::PodIndex,
    planner::Snapshot,
    scheduling::{
        Admitted, ClusterState, KeptFacts, KeptNode, NodeLoad, SchedulingObjects, excludes_others, is_unbound,
        takes_room,
    },
    selector::PerNode,
};

/// The facts about scheduling, without the nodes and pods themselves.
#[derive(Clone, Debug, Default)]
pub(super) struct SchedulingFacts {
    /// By the node's slot.
    nodes: Vec<NodeFacts>,
    /// The pods that wait for a node.
    pub(super) unbound: BTreeSet<PodIndex>,
    /// The pods on nodes that can keep others off by their anti-affinity.
    pub(super) excluding: BTreeSet<PodIndex>,
}

#[derive(Clone, Debug, Default)]
struct NodeFacts {
    load: NodeLoad,
    /// The pods that take room on the node.
    pods: Vec<PodIndex>,
}

impl SchedulingFacts {
    /// Applies a node's new state; `None` if it is gone.
    pub(super) fn node_changed(&mut self, slot: Slot, node: Option<&Node>) {
        if let Some(facts) = self.node_mut(slot) {
            facts.load.set_node(node);
        }
    }

    /// Applies a pod's new state.
    pub(super) fn pod_changed(&mut self, index: PodIndex, before: Option<&PlacedPod>, after: Option<&PlacedPod>) {
        if before.zip(after).is_some_and(|(before, after)| are_alike(before, after)) {
            return;
        }
        if let Some(PlacedPod { pod, slot }) = before {
            self.unbound.remove(&index);
            self.excluding.remove(&index);
            if let Some(facts) = slot.filter(|_| takes_room(pod)).and_then(|slot| self.node_mut(slot)) {
                facts.load.remove(pod);
                if let Some(at) = facts.pods.iter().position(|own| *own == index) {
                    facts.pods.swap_remove(at);
                }
            }
        }
        if let Some(PlacedPod { pod, slot }) = after {
            if is_unbound(pod) {
                self.unbound.insert(index);
            }
            if excludes_others(pod) {
                self.excluding.insert(index);
            }
            if let Some(facts) = slot.filter(|_| takes_room(pod)).and_then(|slot| self.node_mut(slot)) {
                facts.load.add(pod);
                facts.pods.push(index);
            }
        }
    }

    fn node_mut(&mut self, slot: Slot) -> Option<&mut NodeFacts> {
        let slot = usize::try_from(slot).ok()?;
        if slot >= self.nodes.len() {
            self.nodes.resize_with(slot + 1, NodeFacts::default);
        }
        self.nodes.get_mut(slot)
    }
}

/// Whether two states of a pod are the same to the scheduler's sums.
fn are_alike(before: &PlacedPod, after: &PlacedPod) -> bool {
    let face = |PlacedPod { pod, slot }: &PlacedPod| (*slot, takes_room(pod), is_unbound(pod));
    face(before) == face(after)
        && before.pod.scheduling == after.pod.scheduling
        && match (&before.pod.spec, &after.pod.spec) {
            (Some(before), Some(after)) => std::sync::Arc::ptr_eq(before, after) || before == after,
            (before, after) => before.is_none() && after.is_none(),
        }
}

impl Cluster {
    fn kept_node(&self, slot: Slot) -> Option<KeptNode<'_>> {
        let NodeFacts { load, pods } = self.scheduling.as_ref()?.nodes.get(usize::try_from(slot).ok()?)?;
        Some(KeptNode { node: self.nodes.at(slot)?, slot, load, pods })
    }

    /// Returns what the default scheduler knows of the cluster, to ask whether pods would be bound; `objects` are those besides
    /// nodes, pods and namespaces. `None` if the cluster does not [keep it](Self::with_scheduling) or is not
    /// [complete](Self::is_complete).
    ///
    /// The sums for each node are kept up to date, and pods are looked at only where a rule needs them.
    pub fn cluster_state<'c>(&'c self, objects: &'c SchedulingObjects) -> Option<ClusterState<'c>> {
        let facts = self.scheduling.as_ref().filter(|_| self.is_complete())?;
        let namespaces = self.namespaces.values().filter_map(|state| state.namespace.as_ref());
        let pods = |indices: &BTreeSet<PodIndex>| indices.iter().filter_map(|index| self.pod_at(*index)).collect();
        let (unbound, excluding) = (pods(&facts.unbound), pods(&facts.excluding));
        let state = ClusterState::kept(self, namespaces, unbound, excluding, objects);
        Some(state.toleration_comparison(self.settings.toleration_comparison))
    }

    /// Returns pods by the template of a DaemonSet for no node in particular, as admission would store them, each with what
    /// admission made of it: what [`ClusterState::pods_like`] takes. `None` if the DaemonSet or its namespace is unknown, or if
    /// its template cannot be read.
    ///
    /// ```
    /// use daemonplan::{Cluster, Key, Settings, model::{DaemonSet, Namespace, Node}, scheduling::SchedulingObjects};
    /// let mut cluster = Cluster::with_scheduling(Settings::default());
    /// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
    /// cluster.apply(Namespace::new("prod"));
    /// cluster.apply(daemonset);
    /// cluster.apply(Node::new("a"));
    /// cluster.set_complete();
    /// let objects = SchedulingObjects::default();
    /// let pods = cluster.admitted_pods(&Key::new("prod", "agent"), &objects).unwrap();
    /// let state = cluster.cluster_state(&objects).unwrap();
    /// assert!(state.pods_like(pods.map(|(pod, _)| pod)).on("a").would_fit);
    /// # Ok::<(), daemonplan::model::RequirementError>(())
    /// ```
    pub fn admitted_pods(&self, key: &Key, objects: &SchedulingObjects) -> Option<PerNode<(Pod, Admitted)>> {
        let NamespaceState { namespace, daemonsets, revisions } = self.namespaces.get(&key.namespace)?;
        let daemonset = &daemonsets.get(&key.name)?.daemonset;
        let history = RevisionHistory::new(daemonset, revisions.values());
        let snapshot = Snapshot::new(daemonset, &[], &[], namespace.as_ref()?).settings(&self.settings);
        snapshot.admitted_pods_anywhere(history.hash(), objects)
    }
}

impl KeptFacts for Cluster {
    fn node_count(&self) -> usize {
        self.nodes.count()
    }

    fn find_node(&self, name: &Text) -> Option<KeptNode<'_>> {
        self.kept_node(self.nodes.find(name)?)
    }

    fn all_nodes(&self) -> Vec<KeptNode<'_>> {
        (0..).take(self.nodes.len()).filter_map(|slot| self.kept_node(slot)).collect()
    }

    fn pod_at(&self, index: PodIndex) -> Option<&Pod> {
        self.pods.get(index).map(|placed| &placed.pod)
    }

    fn is_on(&self, pod: &Pod, slot: Slot) -> bool {
        let known = self.pods.find(&pod.namespace, &pod.name).and_then(|index| self.pods.get(index));
        known.is_some_and(|placed| placed.slot == Some(slot) && takes_room(&placed.pod))
    }
}
