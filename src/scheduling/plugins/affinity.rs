//! Required affinity and anti-affinity between pods.

use std::collections::HashMap;

use super::super::{
    Cause, ClusterState, Code, Plugin, SchedulingBlocker, load::is_same, pod_info::PodInfo, trial_node::TrialNode,
};
use crate::model::{Key, Node, Pod, PodAffinityTerm, PodSpec, Resource, Text};

/// The pods that count for each label and value of their nodes.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct AffinityCounts {
    /// Pods that match all terms of the incoming pod's affinity.
    affinity: Topology,
    /// Pods that match a term of its anti-affinity.
    anti_affinity: Topology,
    /// Pods that have a term of anti-affinity which the incoming pod matches.
    existing: Topology,
    /// Whether the scheduler leaves the plugin out, because nothing counts before other pods come to a node.
    is_skipped: bool,
}

/// Places without such pods are left out.
type Topology = HashMap<(Text, Text), i64>;

impl AffinityCounts {
    pub(in super::super) fn new(own: &PodInfo<'_>) -> Self {
        let (mut counts, state) = (Self::default(), own.state);
        let mut add = |node: &Node, pod: &Pod| {
            if !is_same(pod, own.pod) {
                counts.count(own, pod, node, 1);
            }
        };
        let has_terms = !own.spec.pod_affinity.is_empty() || !own.spec.pod_anti_affinity.is_empty();
        if has_terms {
            for info in state.nodes.iter() {
                info.pods.iter().for_each(|pod| add(info.node, pod));
            }
        } else {
            for pod in &state.excluding {
                if let Some(info) = pod.node.name().and_then(|node| state.nodes.get(node)) {
                    add(info.node, pod);
                }
            }
        }
        counts.decide_skip(own);
        counts
    }

    /// Decides as before a cycle whether the plugin is left out.
    pub(in super::super) fn decide_skip(&mut self, own: &PodInfo<'_>) {
        let has_terms = !own.spec.pod_affinity.is_empty() || !own.spec.pod_anti_affinity.is_empty();
        self.is_skipped = !has_terms && self.existing.is_empty();
    }

    /// Counts a pod on a node, or one less if `by` is negative.
    pub(in super::super) fn count(&mut self, own: &PodInfo<'_>, pod: &Pod, node: &Node, by: i64) {
        let state = own.state;
        for term in pod.spec.iter().flat_map(|spec| &spec.pod_anti_affinity) {
            if selects(state, term, pod, own.pod) {
                add(&mut self.existing, term, node, by);
            }
        }
        let terms = &own.spec.pod_affinity;
        if !terms.is_empty() && terms.iter().all(|term| selects(state, term, own.pod, pod)) {
            for term in terms {
                add(&mut self.affinity, term, node, by);
            }
        }
        for term in &own.spec.pod_anti_affinity {
            if selects(state, term, own.pod, pod) {
                add(&mut self.anti_affinity, term, node, by);
            }
        }
    }

    pub(in super::super) fn check<'s>(&self, own: &PodInfo<'s>, node: &TrialNode<'_, 's>) -> Option<SchedulingBlocker> {
        if self.is_skipped {
            return None;
        }
        let blocker = |code, cause| Some(SchedulingBlocker::of(Plugin::InterPodAffinity, code, cause));
        if let Some(cause) = self.unmet_affinity(own, node.info.node) {
            return blocker(Code::UnschedulableAndUnresolvable, cause);
        }
        let labels = &node.info.node.labels;
        let is_counted = |counts: &Topology, key: &Text| {
            let value = labels.get_text(key);
            value.is_some_and(|value| counts.contains_key(&(key.clone(), value.clone())))
        };
        let terms = own.spec.pod_anti_affinity.iter();
        if let Some(term) = terms.clone().find(|term| is_counted(&self.anti_affinity, &term.topology_key)) {
            let selected = |pod: &Pod| {
                let key = &term.topology_key;
                let mut terms = terms.clone().filter(|other| other.topology_key == *key);
                terms.any(|term| selects(own.state, term, own.pod, pod))
            };
            let (key, pod) = (term.topology_key.clone(), near(own, node, &term.topology_key, selected));
            return blocker(Code::Unschedulable, Cause::PodAntiAffinity { key, pod });
        }
        let topology = labels.iter().find(|(key, _)| is_counted(&self.existing, key))?.0;
        let excludes = |pod: &Pod| {
            let terms = pod.spec.iter().flat_map(|spec| &spec.pod_anti_affinity);
            let mut terms = terms.filter(|term| term.topology_key == *topology);
            terms.any(|term| selects(own.state, term, pod, own.pod))
        };
        let pod = near(own, node, topology, excludes);
        blocker(Code::Unschedulable, Cause::ExistingAntiAffinity { key: topology.clone(), pod })
    }

    fn unmet_affinity(&self, own: &PodInfo<'_>, node: &Node) -> Option<Cause> {
        let (terms, labels) = (&own.spec.pod_affinity, &node.labels);
        if let Some(term) = terms.iter().find(|term| !labels.contains_key(&term.topology_key)) {
            return Some(Cause::PodAffinity { key: term.topology_key.clone(), has_label: false });
        }
        let is_met = |term: &PodAffinityTerm| {
            let value = labels.get_text(&term.topology_key);
            let place = value.map(|value| (term.topology_key.clone(), value.clone()));
            place.is_some_and(|place| self.affinity.contains_key(&place))
        };
        let unmet = terms.iter().find(|term| !is_met(term))?;
        // The first pod of a group that wants to be together may go anywhere.
        let is_first = self.affinity.is_empty() && terms.iter().all(|term| selects(own.state, term, own.pod, own.pod));
        (!is_first).then(|| Cause::PodAffinity { key: unmet.topology_key.clone(), has_label: true })
    }
}

fn add(counts: &mut Topology, term: &PodAffinityTerm, node: &Node, by: i64) {
    let Some(value) = node.labels.get_text(&term.topology_key) else { return };
    let place = (term.topology_key.clone(), value.clone());
    let count = counts.entry(place.clone()).or_default();
    *count += by;
    if *count == 0 {
        counts.remove(&place);
    }
}

/// Whether a pod's anti-affinity excludes pods like itself from other nodes, or its affinity needs one of them. The first of
/// those that need each other may go anywhere, and the others only to it.
pub(in super::super) fn affects_itself(own: &PodInfo<'_>) -> bool {
    let PodSpec { pod_affinity, pod_anti_affinity, .. } = &*own.spec;
    let over_nodes = pod_anti_affinity.iter().filter(|term| term.topology_key != "kubernetes.io/hostname");
    pod_affinity.iter().chain(over_nodes).any(|term| selects(own.state, term, own.pod, own.pod))
}

/// Whether a term of a pod selects another pod.
fn selects(state: &ClusterState<'_>, term: &PodAffinityTerm, owner: &Pod, other: &Pod) -> bool {
    let is_selected = || term.selector.as_ref().is_some_and(|selector| selector.matches(&other.labels));
    let in_namespace = || match &term.namespace_selector {
        None if term.namespaces.is_empty() => owner.namespace == other.namespace,
        None => term.namespaces.contains(&other.namespace),
        Some(selector) => {
            term.namespaces.contains(&other.namespace) || selector.matches(&state.namespace_labels(&other.namespace))
        }
    };
    is_selected() && in_namespace()
}

/// Returns a pod that meets a condition, on this node first, or on any with the same value of a label; `None` if it is counted,
/// but has yet to be created.
fn near<'s>(
    own: &PodInfo<'s>,
    node: &TrialNode<'_, 's>,
    topology: &Text,
    condition: impl Fn(&Pod) -> bool,
) -> Option<Key> {
    let value = node.info.node.labels.get_text(topology);
    node.find_pod(own, |other| other.labels.get_text(topology) == value, condition).map(Pod::key)
}
