//! The checks of rollout policies.

use std::collections::HashSet;

use super::{
    Finding, Lint,
    builder::{count, found},
    canaries::{self, Idle},
};
use crate::{
    context::DaemonSetRules,
    model::{Labels, Text, UpdateStrategy},
    planner::Snapshot,
    policy::{OnFailure, Order, RolloutPolicy},
};

/// Finds rollout policies that have no effect, or wait for nodes that do not exist.
pub(super) fn check(snapshot: &Snapshot<'_>, desired: &HashSet<&Text>) -> Vec<Finding> {
    let (daemonset, settings) = (snapshot.daemonset, snapshot.settings.cloned().unwrap_or_default());
    let Ok(mut rollout) = settings.policy_of(daemonset) else { return Vec::new() };
    let mut findings = Vec::new();
    let mut add = |name: &str, message: String, fix: &str| {
        let annotation = settings.policy_annotation(name);
        let finding = found(snapshot, Lint::IdlePolicy, format!("metadata.annotations[{annotation}]"));
        findings.push(finding.with_message(message).with_fix(fix));
    };
    if daemonset.update_strategy == UpdateStrategy::OnDelete {
        let mut names = daemonset.annotations.iter().filter_map(|(key, _)| key.strip_prefix(&*settings.policy_prefix));
        if let Some(name) = names.find(|name| guides_updates(name)) {
            let message = "the update strategy is OnDelete: the rollout policy has no effect";
            add(name, message.into(), "set spec.updateStrategy.type to RollingUpdate");
        }
        return findings;
    }
    let labels = snapshot.nodes.iter().filter(|node| desired.contains(&node.name)).map(|node| &node.labels);
    let none = |fits: &dyn Fn(&Labels) -> bool| !desired.is_empty() && !labels.clone().any(fits);
    if DaemonSetRules::compile(daemonset, snapshot.namespace, &settings, snapshot.history()).direction.is_back() {
        // Neither the selection nor the partition nor canaries hold up the way back.
        (rollout.update_nodes, rollout.partition, rollout.canary) = (None, None, None);
    }
    if let Some(selector) = rollout.update_nodes.as_ref().filter(|selector| none(&|labels| selector.matches(labels))) {
        let message = format!("no node that should run a pod matches {selector}: nothing is updated");
        add("update-nodes", message, "select labels that nodes have");
    }
    if let Some(canary) = &rollout.canary {
        for Idle { annotation, message, fix } in canaries::check(snapshot, desired, canary, &rollout) {
            add(annotation, message, fix);
        }
    }
    if let Some(groups) = rollout.groups.as_ref().filter(|groups| none(&|labels| labels.get(&groups.label).is_some())) {
        let message = format!("no node that should run a pod has the label {}: all nodes form one group", groups.label);
        add("groups", message, "choose a label that nodes have");
    } else if let Some(groups) = &rollout.groups {
        let is_unknown = |name: &&Text| none(&|labels| labels.get(&groups.label) == Some(&***name));
        let mut unknown = groups.first.iter().filter(is_unknown).peekable();
        if unknown.peek().is_some() {
            let names: Vec<_> = unknown.cloned().collect();
            let message = format!("no node that should run a pod has {}={}", groups.label, names.join(","));
            add("group-order", message, "list values of the label that nodes have");
        }
    }
    if let Order::Priority { label } = &rollout.order
        && none(&|labels| labels.get(label).is_some_and(|priority| priority.parse::<i64>().is_ok()))
    {
        let message =
            format!("no node that should run a pod has an integer in the label {label}: the order is by name");
        add("order", message, "set the label of nodes to integers");
    }
    if let Some(kept) = rollout.partition.filter(|kept| !desired.is_empty() && kept.of(desired.len()) >= desired.len())
    {
        let nodes = count(desired.len(), "node");
        let message = format!("the partition keeps {kept} of {nodes} at the older template: nothing is updated");
        add("partition", message, "lower the partition");
    }
    let rolls_back = rollout.failure.is_some_and(|failure| failure.then == OnFailure::RollBack);
    if rolls_back && daemonset.revision_history_limit == 0 {
        let message = "revisionHistoryLimit is 0: once no pod uses the older template, a roll-back is impossible";
        add("on-failure", message.into(), "set spec.revisionHistoryLimit to 2 or more");
    }
    findings
}

/// Whether a policy is one for updates, not for back-off.
fn guides_updates(name: &str) -> bool {
    RolloutPolicy::NAMES.contains(&name) && name != "backoff"
}
