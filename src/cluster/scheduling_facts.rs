//! What the scheduler looks at, kept up to date: sums and pods for each node.

use std::collections::BTreeSet;

use super::{
    node_table::{NodeTable, Slot},
    pod_table::{PlacedPod, PodTable},
};
use crate::{
    model::{Namespace, Node, Pod},
    node::claimed_pod::PodIndex,
    scheduling::{KeptPods, KeptState, NodeLoad, excludes_others, is_nominated, takes_room},
};

/// The facts about scheduling, without the nodes and pods themselves.
#[derive(Clone, Debug, Default)]
pub(super) struct SchedulingFacts {
    /// By the node's slot.
    nodes: Vec<NodeFacts>,
    nominated: BTreeSet<PodIndex>,
    excluding: BTreeSet<PodIndex>,
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
            self.nominated.remove(&index);
            self.excluding.remove(&index);
            if let Some(facts) = slot.filter(|_| takes_room(pod)).and_then(|slot| self.node_mut(slot)) {
                facts.load.remove(pod);
                if let Some(at) = facts.pods.iter().position(|own| *own == index) {
                    facts.pods.swap_remove(at);
                }
            }
        }
        if let Some(PlacedPod { pod, slot }) = after {
            if is_nominated(pod) {
                self.nominated.insert(index);
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

    /// Returns the facts as the scheduler reads them.
    pub(super) fn state<'c>(
        &'c self,
        nodes: &'c NodeTable,
        pods: &'c PodTable,
        namespaces: impl Iterator<Item = &'c Namespace>,
    ) -> KeptState<'c> {
        let known = self
            .nodes
            .iter()
            .zip(0..)
            .filter_map(|(NodeFacts { load, pods }, slot)| Some((nodes.at(slot)?, slot, load, pods.as_slice())));
        let all = |indices: &BTreeSet<PodIndex>| {
            indices.iter().filter_map(|index| pods.get(*index)).map(|placed| &placed.pod).collect()
        };
        KeptState {
            pods,
            nodes: known.collect(),
            namespaces: namespaces.collect(),
            nominated: all(&self.nominated),
            excluding: all(&self.excluding),
        }
    }
}

/// Whether two states of a pod are the same to the scheduler's sums.
fn are_alike(before: &PlacedPod, after: &PlacedPod) -> bool {
    let face = |PlacedPod { pod, slot }: &PlacedPod| (*slot, takes_room(pod), is_nominated(pod));
    face(before) == face(after)
        && before.pod.scheduling == after.pod.scheduling
        && match (&before.pod.spec, &after.pod.spec) {
            (Some(before), Some(after)) => std::sync::Arc::ptr_eq(before, after) || before == after,
            (before, after) => before.is_none() && after.is_none(),
        }
}

impl KeptPods for PodTable {
    fn pod(&self, index: u32) -> Option<&Pod> {
        self.get(index).map(|placed| &placed.pod)
    }

    fn is_on(&self, pod: &Pod, slot: u32) -> bool {
        let known = self.find(&pod.namespace, &pod.name).and_then(|index| self.get(index));
        known.is_some_and(|placed| placed.slot == Some(slot) && takes_room(&placed.pod))
    }
}
