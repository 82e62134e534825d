//! What an event changes: one object of one kind is added, changed or removed.

use crate::{
    model::{ControllerRevision, DaemonSet, Key, Namespace, Node, Pod, PodNode, Resource, Text},
    node::claimed_pod::PodIndex,
};

use super::{
    Cluster, NamespaceState,
    daemonset_state::DaemonSetState,
    node_table::Slot,
    pod_table::{PlacedPod, may_be_claimed},
};

impl Cluster {
    pub(super) fn apply_daemonset(&mut self, daemonset: DaemonSet) {
        let key = daemonset.key();
        let state = self.namespaces.entry(key.namespace.clone()).or_default();
        match state.daemonsets.get_mut(&key.name) {
            Some(known) if known.daemonset == daemonset => return,
            Some(known) => known.update(daemonset, &self.nodes),
            None => {
                state.daemonsets.insert(key.name.clone(), DaemonSetState::new(daemonset));
            }
        }
        self.stale.insert(key);
    }

    pub(super) fn delete_daemonset(&mut self, key: &Key) {
        let state = self.namespaces.get_mut(&key.namespace);
        let daemonset = state.and_then(|state| state.daemonsets.swap_remove(&key.name));
        daemonset.and_then(|daemonset| daemonset.due).map(|at| self.due.remove(&(at, key.clone())));
        self.stale.remove(key);
        self.drop_if_empty(&key.namespace);
    }

    pub(super) fn apply_namespace(&mut self, namespace: Namespace) {
        let state = self.namespaces.entry(namespace.name.clone()).or_default();
        if state.namespace.as_ref() == Some(&namespace) {
            return;
        }
        let name = namespace.name.clone();
        state.namespace = Some(namespace);
        for (daemonset_name, daemonset) in &mut state.daemonsets {
            daemonset.mark_rules_stale();
            self.stale.insert(Key::new(name.clone(), daemonset_name.clone()));
        }
    }

    pub(super) fn delete_namespace(&mut self, name: &Text) {
        if let Some(state) = self.namespaces.get_mut(name) {
            state.namespace = None;
        }
        self.drop_if_empty(name);
    }

    pub(super) fn apply_revision(&mut self, revision: ControllerRevision) {
        let namespace = revision.namespace.clone();
        let state = self.namespaces.entry(namespace.clone()).or_default();
        if state.revisions.get(&revision.name) != Some(&revision) {
            state.revisions.insert(revision.name.clone(), revision);
            self.mark_histories_stale(&namespace);
        }
    }

    pub(super) fn delete_revision(&mut self, key: &Key) {
        let state = self.namespaces.get_mut(&key.namespace);
        if state.is_some_and(|state| state.revisions.swap_remove(&key.name).is_some()) {
            self.mark_histories_stale(&key.namespace);
            self.drop_if_empty(&key.namespace);
        }
    }

    /// A revision matters to every DaemonSet of its namespace: it may own it, adopt it, or find its name taken.
    fn mark_histories_stale(&mut self, namespace: &Text) {
        let daemonsets = self.namespaces.get_mut(namespace).into_iter().flat_map(|state| &mut state.daemonsets);
        for (name, daemonset) in daemonsets {
            daemonset.mark_history_stale();
            self.stale.insert(Key::new(namespace.clone(), name.clone()));
        }
    }

    fn drop_if_empty(&mut self, namespace: &Text) {
        let is_empty = |state: &NamespaceState| {
            state.namespace.is_none() && state.daemonsets.is_empty() && state.revisions.is_empty()
        };
        if self.namespaces.get(namespace).is_some_and(is_empty) {
            self.namespaces.remove(namespace);
        }
    }

    pub(super) fn apply_node(&mut self, mut node: Node) {
        if self.nodes.get(&node.name) == Some(&node) {
            return;
        }
        self.interner.share_node(&mut node);
        let (slot, before) = self.nodes.put(node);
        self.node_changed(slot, before.as_ref());
    }

    pub(super) fn delete_node(&mut self, name: &Text) {
        let Some(slot) = self.nodes.find(name) else { return };
        if let Some(before) = self.nodes.take(slot) {
            self.node_changed(slot, Some(&before));
            self.free_if_vacant(slot);
        }
    }

    fn node_changed(&mut self, slot: Slot, before: Option<&Node>) {
        let after = self.nodes.at(slot);
        if let Some(scheduling) = &mut self.scheduling {
            scheduling.node_changed(slot, after);
        }
        for (namespace, state) in &mut self.namespaces {
            for (name, daemonset) in &mut state.daemonsets {
                if daemonset.node_changed(slot, before, after) {
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
            for daemonset in self.namespaces.values_mut().flat_map(|state| state.daemonsets.values_mut()) {
                daemonset.free(slot, name);
            }
        }
        self.nodes.free(slot);
    }

    pub(super) fn apply_pod(&mut self, mut pod: Pod) {
        let known = self.pods.find(&pod.namespace, &pod.name);
        let before = known.and_then(|index| self.pods.get(index));
        if before.is_some_and(|placed| placed.pod == pod) {
            return;
        }
        if self.scheduling.is_none() && !may_be_claimed(&pod) {
            return self.remove_pod(known);
        }
        let slot = pod.node.name().map(|node| self.nodes.enter(node));
        match known.and_then(|index| self.pods.get(index)) {
            Some(PlacedPod { pod: known, .. })
                if (&known.controller, &known.labels, &known.spec) == (&pod.controller, &pod.labels, &pod.spec) =>
            {
                (pod.controller, pod.labels) = (known.controller.clone(), known.labels.clone());
                pod.spec.clone_from(&known.spec);
            }
            _ => self.interner.share_pod(&mut pod),
        }
        self.share_name(&mut pod, slot);
        let placed = PlacedPod { pod, slot };
        if let Some(index) = known {
            let before = self.pods.replace(index, placed);
            self.pod_changed(index, before.as_ref());
        } else {
            let index = self.pods.insert(placed);
            self.pod_changed(index, None);
        }
    }

    /// Shares the name of the node between the node and its pods.
    fn share_name(&self, pod: &mut Pod, slot: Option<Slot>) {
        let shared = slot.and_then(|slot| self.nodes.name(slot));
        if let (PodNode::Bound(name) | PodNode::Intended(name), Some(shared)) = (&mut pod.node, shared) {
            *name = shared.clone();
        }
    }

    pub(super) fn remove_pod(&mut self, index: Option<PodIndex>) {
        if let Some((index, before)) = index.and_then(|index| Some((index, self.pods.remove(index)?))) {
            self.pod_changed(index, Some(&before));
        }
    }

    fn pod_changed(&mut self, index: PodIndex, before: Option<&PlacedPod>) {
        let after = self.pods.get(index);
        if let Some(scheduling) = &mut self.scheduling {
            scheduling.pod_changed(index, before, after);
        }
        let Some(Pod { namespace, .. }) = before.or(after).map(|placed| &placed.pod) else { return };
        let matters = before.into_iter().chain(after).any(|placed| may_be_claimed(&placed.pod));
        let state = self.namespaces.get_mut(namespace).filter(|_| matters);
        for (name, daemonset) in state.into_iter().flat_map(|state| &mut state.daemonsets) {
            if daemonset.pod_changed(index, before, after) {
                self.stale.insert(Key::new(namespace.clone(), name.clone()));
            }
        }
        if let Some(slot) = before.and_then(|placed| placed.slot) {
            self.nodes.leave(slot);
            self.free_if_vacant(slot);
        }
    }
}
