//! The checks of what pods request on some nodes.

use std::collections::HashSet;

use super::{Finding, Lint, builder::found};
use crate::{
    affinity::NodeResources,
    model::{Resource, Text},
    planner::Snapshot,
};

/// Finds settings that have no effect on any node that should run a pod.
pub(super) fn check(snapshot: &Snapshot<'_>, desired: &HashSet<&Text>) -> Vec<Finding> {
    let Some(settings) = snapshot.settings else { return Vec::new() };
    let nodes: Vec<_> = snapshot.nodes.iter().filter(|node| desired.contains(&node.name)).collect();
    let counting = settings.resources_for(snapshot.daemonset, nodes.iter().copied());
    let why = |resources: &NodeResources| {
        let counts = counting.iter().any(|counting| std::ptr::eq(*counting, resources));
        let is_used = || nodes.iter().any(|node| resources.nodes.matches(&node.labels));
        match () {
            () if resources.is_empty() => Some(("sets nothing", "set requests or limits of a container, or remove it")),
            () if nodes.is_empty() || counts => None,
            () if is_used() => Some((
                "comes after others that select all its nodes",
                "move it to the front, or select fewer nodes before",
            )),
            () => Some(("selects no node that should run a pod", "select labels that nodes have")),
        }
    };
    let own = settings.node_resources.iter().enumerate();
    let own = own.filter(|(_, resources)| resources.daemon_set == snapshot.daemonset.key());
    let idle = own.filter_map(|(index, resources)| {
        let (problem, fix) = why(resources)?;
        let finding = found(snapshot, Lint::IdleNodeResources, format!("nodeResources[{index}]"));
        Some(finding.with_message(format!("the setting for {} {problem}", resources.on_nodes())).with_fix(fix))
    });
    idle.collect()
}
