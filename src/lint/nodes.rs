//! The nodes that a DaemonSet is wanted on, though its pods hardly work there.

use std::collections::{BTreeMap, HashSet};

use super::{
    Finding, Lint,
    builder::{count, first_few, found},
};
use crate::{
    adoption::claim::controls_pod,
    model::{Node, Text},
    planner::Snapshot,
};

/// Labels of virtual nodes: those of Fargate and of the virtual kubelet.
const VIRTUAL: [(&str, &str); 2] = [("eks.amazonaws.com/compute-type", "fargate"), ("type", "virtual-kubelet")];
/// Label of the operating system of a node.
const OS: &str = "kubernetes.io/os";

pub(super) fn check(snapshot: &Snapshot<'_>, desired: &HashSet<&Text>) -> Vec<Finding> {
    // Where a pod is ready, it can run.
    let own = snapshot.pods.iter().filter(|pod| controls_pod(snapshot.daemonset, pod) && pod.is_ready());
    let ready: HashSet<_> = own.filter_map(|pod| pod.node.name()).collect();
    let nodes: Vec<_> = snapshot.nodes.iter().filter(|node| desired.contains(&node.name)).collect();
    let (proven, doubtful): (Vec<_>, Vec<_>) = nodes.iter().partition(|node| ready.contains(&node.name));
    let systems = operating_systems(snapshot, &nodes, &proven);
    virtual_nodes(snapshot, &doubtful).into_iter().chain(systems).collect()
}

fn virtual_nodes(snapshot: &Snapshot<'_>, nodes: &[&Node]) -> Option<Finding> {
    let label = |node: &Node| VIRTUAL.into_iter().find(|(key, value)| node.labels.get(key) == Some(*value));
    let found_nodes: Vec<_> = nodes.iter().filter_map(|node| Some((node.name.clone(), label(node)?))).collect();
    let (key, value) = found_nodes.first()?.1;
    let names: Vec<_> = found_nodes.into_iter().map(|(name, _)| name).collect();
    let finding = found(snapshot, Lint::VirtualNodes, "spec.template.spec");
    let message = format!(
        "wanted on {} ({}): a virtual node runs no daemon pods, so that they stay pending",
        count(names.len(), "virtual node"),
        first_few(&names)
    );
    let fix = format!("exclude them with a required node affinity: {key} NotIn [{value}]");
    Some(finding.with_message(message).with_fix(fix).on_nodes(names))
}

fn operating_systems(snapshot: &Snapshot<'_>, nodes: &[&Node], proven: &[&Node]) -> Option<Finding> {
    let mut systems = BTreeMap::<&str, Vec<Text>>::new();
    for node in nodes {
        if let Some(system) = node.labels.get(OS) {
            systems.entry(system).or_default().push(node.name.clone());
        }
    }
    let runs_on = |system: &&str| proven.iter().any(|node| node.labels.get(OS) == Some(*system));
    if systems.keys().all(runs_on) {
        return None;
    }
    // The rarest system is the likely mistake; that of daemons is linux.
    let rank = |system: &str, names: &Vec<Text>| (names.len(), system == "linux");
    let (_, rarest) = systems.iter().min_by_key(|(system, names)| rank(system, names)).filter(|_| systems.len() > 1)?;
    let (most, _) = systems.iter().max_by_key(|(system, names)| rank(system, names))?;
    let all: Vec<_> = systems
        .iter()
        .map(|(system, names)| format!("{} with {system} ({})", count(names.len(), "node"), first_few(names)))
        .collect();
    let message = format!("wanted on {}: without images for each of them, pods do not start", all.join(" and "));
    let fix = format!("choose one: nodeSelector {OS}: {most}");
    let finding = found(snapshot, Lint::SeveralOperatingSystems, "spec.template.spec.nodeSelector");
    Some(finding.with_message(message).with_fix(fix).on_nodes(rarest.clone()))
}
