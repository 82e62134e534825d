//! The nodes that a DaemonSet is wanted on, though its pods hardly work there.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{
    Finding, Lint,
    builder::{count, first_few, found},
};
use crate::{
    adoption::claim::controls_pod,
    model::{Node, Pod, PodSpec, TaintEffect, Text, well_known::OS_LABEL},
    planner::Snapshot,
};

pub(super) fn check(snapshot: &Snapshot<'_>, desired: &HashSet<&Text>) -> Vec<Finding> {
    // Where a pod is ready, it can run.
    let own = || snapshot.pods.iter().filter(|pod| controls_pod(snapshot.daemonset, pod) && pod.is_ready());
    let ready: HashSet<_> = own().filter_map(|pod| pod.node.name()).collect();
    let nodes: Vec<_> = snapshot.nodes.iter().filter(|node| desired.contains(&node.name)).collect();
    let (proven, doubtful): (Vec<_>, Vec<_>) = nodes.iter().partition(|node| ready.contains(&node.name));
    let spec = PodSpec::of(&snapshot.daemonset.template).unwrap_or_default();
    let systems = if spec.os.is_empty() {
        operating_systems(snapshot, &nodes, &proven)
    } else {
        let is_proof = |pod: &&Pod| pod.spec.as_ref().is_some_and(|own| own.os == spec.os);
        let proven: HashSet<_> = own().filter(is_proof).filter_map(|pod| pod.node.name()).collect();
        let doubtful: Vec<_> = nodes.into_iter().filter(|node| !proven.contains(&node.name)).collect();
        other_system(snapshot, &spec, &doubtful)
    };
    virtual_nodes(snapshot, &doubtful).into_iter().chain(systems).collect()
}

fn virtual_nodes(snapshot: &Snapshot<'_>, nodes: &[&Node]) -> Option<Finding> {
    let nodes: Vec<_> = nodes.iter().filter(|node| node.is_virtual()).collect();
    let labels: BTreeSet<_> = nodes.iter().filter_map(|node| node.virtual_label()).collect();
    // Nodes without a label can only be kept out by their taints.
    let unlabelled = nodes.iter().filter(|node| node.virtual_label().is_none());
    let taints: BTreeSet<_> = unlabelled.filter_map(|node| node.virtual_taint()).collect();
    let exclude =
        labels.iter().map(|(key, value)| format!("exclude them with a required node affinity: {key} NotIn [{value}]"));
    let tolerate = taints.iter().map(|taint| match taint.effect {
        TaintEffect::PreferNoSchedule => "exclude them with a required node affinity".to_owned(),
        _ => format!("do not tolerate the taint {taint}"),
    });
    let fix: Vec<_> = exclude.chain(tolerate).collect();
    if fix.is_empty() {
        return None;
    }
    let names: Vec<_> = nodes.iter().map(|node| node.name.clone()).collect();
    let finding = found(snapshot, Lint::VirtualNodes, "spec.template.spec");
    let message = format!(
        "wanted on {} ({}): as a rule virtual nodes run no daemon pods, so that they stay pending",
        count(names.len(), "virtual node"),
        first_few(&names)
    );
    Some(finding.with_message(message).with_fix(fix.join(", and ")).on_nodes(names))
}

/// The kubelet rejects pods that are for another operating system.
fn other_system(snapshot: &Snapshot<'_>, spec: &PodSpec, nodes: &[&Node]) -> Option<Finding> {
    let other: Vec<_> =
        nodes.iter().filter(|node| spec.excludes_system_of(node)).map(|node| node.name.clone()).collect();
    let os = &spec.os;
    let message = format!(
        "spec.os is {os}, and the pods are wanted on {} with another operating system by their labels ({}): a kubelet of another \
         one rejects them, and they are created again without end",
        count(other.len(), "node"),
        first_few(&other)
    );
    let finding = found(snapshot, Lint::OtherOperatingSystem, "spec.template.spec.os");
    let fix = format!("keep them off these nodes: nodeSelector {OS_LABEL}: {os}");
    (!other.is_empty()).then(|| finding.with_message(message).with_fix(fix).on_nodes(other))
}

fn operating_systems(snapshot: &Snapshot<'_>, nodes: &[&Node], proven: &[&Node]) -> Option<Finding> {
    let mut systems = BTreeMap::<&str, Vec<Text>>::new();
    for node in nodes {
        if let Some(system) = node.labels.get(OS_LABEL) {
            systems.entry(system).or_default().push(node.name.clone());
        }
    }
    let runs_on = |system: &&str| proven.iter().any(|node| node.labels.get(OS_LABEL) == Some(*system));
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
    let fix = format!("choose one: nodeSelector {OS_LABEL}: {most}");
    let finding = found(snapshot, Lint::SeveralOperatingSystems, "spec.template.spec.nodeSelector");
    Some(finding.with_message(message).with_fix(fix).on_nodes(rarest.clone()))
}
