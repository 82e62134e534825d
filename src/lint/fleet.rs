//! Room for all DaemonSets of a node together.

use std::collections::{BTreeMap, HashMap};

use super::{
    Finding, Lint,
    builder::{count, first_few, found},
};
use crate::{
    model::{Key, Node, Resource, Text},
    overhead::{DaemonSetFleet, Lacking, Overhead},
    planner::Snapshot,
};

/// Finds DaemonSets for which no room is left on nodes beside those that the scheduler takes first. Those that are too large for
/// a node by themselves are another finding.
pub(super) fn check(snapshots: &[Snapshot<'_>], is_selected: impl Fn(&Snapshot<'_>) -> bool) -> Vec<Finding> {
    let Some(first) = snapshots.first() else { return Vec::new() };
    let fleet = DaemonSetFleet::of(snapshots.iter().copied());
    // Nodes of one shape with the same DaemonSets are alike.
    let mut known = HashMap::<_, Vec<Key>>::new();
    let mut short = BTreeMap::<Key, Vec<(&Node, String)>>::new();
    for node in first.nodes.iter().filter(|node| !node.is_virtual()) {
        let overhead = fleet.overhead(node);
        let lacking = overhead.lacking().unwrap_or_default();
        // A single one that does not fit is another finding.
        if lacking.is_empty() || overhead.running().count() < 2 {
            continue;
        }
        let shape = (overhead.running().collect::<Vec<_>>(), node.allocatable.as_deref());
        let text: Vec<_> = lacking.iter().map(ToString::to_string).collect();
        for daemonset in known.entry(shape).or_insert_with(|| left_out(&overhead, &lacking)) {
            short.entry(daemonset.clone()).or_default().push((node, text.join(", ")));
        }
    }
    let own = snapshots.iter().filter(|snapshot| is_selected(snapshot));
    let found = own.filter_map(|snapshot| Some(finding(snapshot, short.get(&snapshot.daemonset.key())?)));
    found.collect()
}

/// The DaemonSets that the node has room for alone, and not beside the others.
fn left_out(overhead: &Overhead<'_>, lacking: &[Lacking]) -> Vec<Key> {
    let fits_alone = |daemonset: &Key| {
        let mut requests = overhead.requests_of(daemonset);
        !requests.any(|(resource, amount)| {
            lacking.iter().any(|lacking| lacking.resource == *resource && amount > lacking.allocatable)
        })
    };
    let is_of_room = |reason: &String| reason.starts_with("Insufficient ") || reason == "Too many pods";
    let pending = overhead.pending().into_iter().filter(|pending| pending.reasons.iter().all(is_of_room));
    pending.map(|pending| pending.daemon_set).filter(|daemonset| fits_alone(daemonset)).collect()
}

fn finding(snapshot: &Snapshot<'_>, short: &[(&Node, String)]) -> Finding {
    let nodes: Vec<Text> = short.iter().map(|(node, _)| node.name.clone()).collect();
    let lack = short.first().map(|(node, lack)| format!("{lack} on {}", node.name)).unwrap_or_default();
    let message = format!(
        "the DaemonSets that should run on {} request more than there is ({lack}): if the scheduler takes them by priority and \
         name, the pods of this one stay Pending ({})",
        count(nodes.len(), "node"),
        first_few(&nodes)
    );
    let set = snapshot
        .settings
        .map(|settings| settings.resources_for(snapshot.daemonset, short.iter().map(|(node, _)| *node)));
    let fix = if set.unwrap_or_default().is_empty() {
        "request less, keep some of them off these nodes, or give the more important ones a higher priority"
    } else {
        "request less in what is set for these nodes, keep some of the DaemonSets off them, or give the more important ones a \
         higher priority"
    };
    let finding = found(snapshot, Lint::DoNotFitTogether, "spec.template.spec.containers");
    finding.with_message(message).with_fix(fix).on_nodes(nodes)
}
