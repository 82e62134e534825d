//! What each plugin of the scheduler refuses.

pub(super) mod affinity;
pub(super) mod binding;
pub(super) mod restrictions;
pub(super) mod spread;
pub(super) mod volume_limits;
pub(super) mod zones;

use std::collections::BTreeSet;

use super::{Cause, Code, Plugin, SchedulingBlocker, load::first, pod_info::PodInfo, trial_node::TrialNode};
use crate::{
    model::{
        HostPort, Node, NodeSelectorTerm, PodNode, PodSpec, Resource, Taint, TaintEffect, Text,
        well_known::UNSCHEDULABLE_TAINT,
    },
    selector::untolerated,
};

/// A cordoned node, unless the pod tolerates the taint that comes with that, as those of DaemonSets do.
pub(super) fn check_unschedulable(own: &PodInfo<'_>, node: &TrialNode<'_, '_>) -> Option<SchedulingBlocker> {
    if !node.info.node.unschedulable {
        return None;
    }
    let taint = Taint::new(UNSCHEDULABLE_TAINT, "", TaintEffect::NoSchedule);
    let is_tolerated = own.spec.tolerations.iter().any(|own| own.tolerates(&taint, false));
    let blocker =
        || SchedulingBlocker::of(Plugin::NodeUnschedulable, Code::UnschedulableAndUnresolvable, Cause::Cordoned);
    (!is_tolerated).then(blocker)
}

pub(super) fn check_taints(own: &PodInfo<'_>, node: &TrialNode<'_, '_>) -> Option<SchedulingBlocker> {
    let PodInfo { spec, state, .. } = own;
    let taint = untolerated(&node.info.node.taints, &spec.tolerations, state.toleration_comparison).next()?.clone();
    Some(SchedulingBlocker::of(Plugin::TaintToleration, Code::UnschedulableAndUnresolvable, Cause::Taint { taint }))
}

pub(super) fn check_node_affinity(own: &PodInfo<'_>, node: &TrialNode<'_, '_>) -> Option<SchedulingBlocker> {
    let (spec, node) = (&own.spec, node.info.node);
    let cause = match missing_labels(spec, node).next() {
        Some((key, required)) => {
            let found = node.labels.get_text(key).cloned();
            Cause::NodeSelector { key: key.clone(), required: required.clone(), found }
        }
        None if affinity_allows(spec, &own.node, node) => return None,
        None => Cause::NodeAffinity,
    };
    Some(SchedulingBlocker::of(Plugin::NodeAffinity, Code::UnschedulableAndUnresolvable, cause))
}

/// Returns the labels of the pod's node selector that the node lacks.
pub(super) fn missing_labels<'s>(spec: &'s PodSpec, node: &Node) -> impl Iterator<Item = (&'s Text, &'s Text)> + Clone {
    spec.node_selector.iter().filter(|(key, value)| node.labels.get_text(key) != Some(*value))
}

/// Whether the node selector and the required node affinity of a pod for the node `own` allow a node.
pub(super) fn allows_node(spec: &PodSpec, own: &PodNode, node: &Node) -> bool {
    missing_labels(spec, node).next().is_none() && affinity_allows(spec, own, node)
}

fn affinity_allows(spec: &PodSpec, own: &PodNode, node: &Node) -> bool {
    let is_own = || own.name().is_some_and(|name| *name == node.name);
    (!spec.is_for_one_node || is_own()) && spec.node_affinity.as_ref().is_none_or(|affinity| affinity.matches(node))
}

/// Returns the nodes that the terms of the required node affinity name, if each names some. Terms that each name different
/// nodes at once refuse all.
pub(super) fn named_nodes(spec: &PodSpec) -> Result<Option<BTreeSet<Text>>, SchedulingBlocker> {
    let named = spec.node_affinity.as_ref().and_then(|affinity| names_of(affinity.terms()));
    let is_conflict = named.as_ref().is_some_and(BTreeSet::is_empty);
    let conflict = || SchedulingBlocker::of_all(Plugin::NodeAffinity, Cause::AffinityConflict);
    if is_conflict { Err(conflict()) } else { Ok(named) }
}

fn names_of(terms: &[NodeSelectorTerm]) -> Option<BTreeSet<Text>> {
    let names = terms.iter().map(|term| match term {
        NodeSelectorTerm::All { fields, .. } => {
            let mut names = fields.iter().filter(|field| field.equal && field.key == "metadata.name");
            let first = names.next()?.value.clone();
            // Two different names exclude each other.
            Some(if names.all(|other| other.value == first) { BTreeSet::from([first]) } else { BTreeSet::new() })
        }
        NodeSelectorTerm::Empty | NodeSelectorTerm::Invalid(_) => None,
    });
    let names = names.collect::<Option<Vec<_>>>()?;
    (!names.is_empty()).then(|| names.into_iter().flatten().collect())
}

pub(super) fn check_ports(own: &PodInfo<'_>, node: &TrialNode<'_, '_>) -> Option<SchedulingBlocker> {
    let holder = own.host_ports().find_map(|port| {
        let is_held = |taken: &HostPort| !node.released.iter().any(|released| released.is_same(taken));
        let holders = node.pods.iter().filter(|pod| {
            let mut taken = pod.spec.iter().flat_map(|spec| spec.host_ports());
            taken.any(|taken| port.conflicts_with(taken) && is_held(taken))
        });
        Some(Cause::HostPort { port: port.clone(), pod: first(holders)?.key() })
    });
    Some(SchedulingBlocker::of(Plugin::NodePorts, Code::Unschedulable, holder?))
}

/// Too little of a resource; unresolvable if the whole node has too little of one. Requests of 0 always fit.
pub(super) fn check_resources(own: &PodInfo<'_>, node: &TrialNode<'_, '_>) -> Option<SchedulingBlocker> {
    let allocatable = node.info.load.allocatable.as_ref()?;
    let (pods, allowed) = (node.pods.len(), allocatable.pods);
    let mut causes = Vec::new();
    if i64::try_from(pods).is_ok_and(|pods| pods + 1 > allowed) {
        causes.push(Cause::TooManyPods { pods, allowed });
    }
    let mut code = Code::Unschedulable;
    for (resource, requested, [used, allocatable]) in own.requests.beside([&node.requested, &allocatable.amounts]) {
        if requested > 0 && requested > allocatable.saturating_sub(used) {
            causes.push(Cause::Insufficient { resource: resource.into(), requested, used, allocatable });
            if requested > allocatable {
                code = Code::UnschedulableAndUnresolvable;
            }
        }
    }
    (!causes.is_empty()).then(|| SchedulingBlocker::new(Plugin::NodeResourcesFit, super::Stage::Filter, code, causes))
}
