//! The checks of rollout policies.

use std::collections::HashSet;

use super::{
    Finding, Lint,
    builder::{count, found},
};
use crate::{
    model::{Labels, Text, UpdateStrategy},
    planner::Snapshot,
    policy::{Canary, CanaryNodes, OnFailure, RolloutPolicy},
};

/// Finds rollout policies that have no effect, or wait for nodes that do not exist.
pub(super) fn check(snapshot: &Snapshot<'_>, desired: &HashSet<&Text>) -> Vec<Finding> {
    let (daemonset, settings) = (snapshot.daemonset, snapshot.settings.cloned().unwrap_or_default());
    let Ok(rollout) = settings.policy_of(daemonset) else { return Vec::new() };
    let mut findings = Vec::new();
    let mut add = |annotation: &str, message: String, fix: &str| {
        let finding = found(snapshot, Lint::IdlePolicy, format!("metadata.annotations[{annotation}]"));
        findings.push(finding.with_message(message).with_fix(fix));
    };
    if daemonset.update_strategy == UpdateStrategy::OnDelete {
        if let Some((annotation, _)) = daemonset.annotations.iter().find(|(key, _)| guides_updates(key)) {
            let message = "the update strategy is OnDelete: the rollout policy has no effect";
            add(annotation, message.into(), "set spec.updateStrategy.type to RollingUpdate");
        }
        return findings;
    }
    let labels = snapshot.nodes.iter().filter(|node| desired.contains(&node.name)).map(|node| &node.labels);
    let none = |fits: &dyn Fn(&Labels) -> bool| !desired.is_empty() && !labels.clone().any(fits);
    if let Some(selector) = rollout.update_nodes.as_ref().filter(|selector| none(&|labels| selector.matches(labels))) {
        let message = format!("no node that should run a pod matches {selector}: nothing is updated");
        add("daemonplan/update-nodes", message, "select labels that nodes have");
    }
    if let Some(Canary { nodes: CanaryNodes::Matching(selector), .. }) = &rollout.canary
        && none(&|labels| selector.matches(labels))
    {
        let message =
            format!("no node that should run a pod matches {selector}: the update waits for its canaries forever");
        add("daemonplan/canary-nodes", message, "select labels that nodes have");
    }
    if let Some(groups) = rollout.groups.as_ref().filter(|groups| none(&|labels| labels.get(&groups.label).is_some())) {
        let message = format!("no node that should run a pod has the label {}: all nodes form one group", groups.label);
        add("daemonplan/groups", message, "choose a label that nodes have");
    }
    if let Some(kept) = rollout.partition.filter(|kept| !desired.is_empty() && kept.of(desired.len()) >= desired.len())
    {
        let nodes = count(desired.len(), "node");
        let message = format!("the partition keeps {kept} of {nodes} at the older template: nothing is updated");
        add("daemonplan/partition", message, "lower the partition");
    }
    let rolls_back = rollout.failure.is_some_and(|failure| failure.then == OnFailure::RollBack);
    if rolls_back && daemonset.revision_history_limit == 0 {
        let message = "revisionHistoryLimit is 0: once no pod uses the older template, a roll-back is impossible";
        add("daemonplan/on-failure", message.into(), "set spec.revisionHistoryLimit to 2 or more");
    }
    findings
}

/// Whether an annotation is a rollout policy for updates, not for back-off.
fn guides_updates(annotation: &str) -> bool {
    RolloutPolicy::ANNOTATIONS.contains(&annotation) && annotation != "daemonplan/backoff"
}
