//! DaemonSets that need the same port of a node.

use std::collections::BTreeMap;

use super::{
    Finding, Lint,
    builder::{count, found},
};
use crate::{model::HostPort, planner::Snapshot};

/// Finds pairs of DaemonSets with the same host port that should both run on a node: one of the pods never starts there.
pub(super) fn check(snapshots: &[Snapshot<'_>], is_selected: impl Fn(&Snapshot<'_>) -> bool) -> Vec<Finding> {
    let mut by_number = BTreeMap::<u32, Vec<(usize, String, HostPort)>>::new();
    for (index, snapshot) in snapshots.iter().enumerate() {
        for (field, port) in snapshot.daemonset.template.host_ports() {
            by_number.entry(port.number).or_default().push((index, field, port));
        }
    }
    let mut findings = Vec::new();
    for ports in by_number.values() {
        for (one, field, port) in ports {
            for (other, ..) in ports.iter().filter(|(other, _, taken)| other != one && port.conflicts_with(taken)) {
                let (Some(one), Some(other)) = (snapshots.get(*one), snapshots.get(*other)) else { continue };
                if is_selected(one) {
                    findings.extend(conflict(one, other, field, port));
                }
            }
        }
    }
    findings
}

fn conflict(one: &Snapshot<'_>, other: &Snapshot<'_>, field: &str, port: &HostPort) -> Option<Finding> {
    let rules = [one.placement_rules(), other.placement_rules()];
    let shared = one.nodes.iter().filter(|node| rules.iter().all(|rules| rules.verdict(node).should_run()));
    let nodes: Vec<_> = shared.map(|node| node.name.clone()).collect();
    let (name, number) = (format!("{}/{}", other.daemonset.namespace, other.daemonset.name), port.number);
    let finding = found(one, Lint::HostPortConflict, format!("spec.template.{field}"));
    let fix = "give one of the two another port, or keep them apart with node selectors";
    (!nodes.is_empty()).then(|| {
        let nodes_text = count(nodes.len(), "node");
        let message = format!(
            "DaemonSet {name} needs port {number} as well, and both should run on {nodes_text}: one of the two pods never \
             starts there"
        );
        finding.with_message(message).with_fix(fix).on_nodes(nodes)
    })
}
