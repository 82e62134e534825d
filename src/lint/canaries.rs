//! The checks of the canaries of rollout policies.

use std::collections::HashSet;

use super::builder::first_few;
use crate::{
    adoption::revision_match::{RevisionLabels, RevisionMatch},
    model::{IntOrPercent, Node, Taint, Text, well_known::UNSCHEDULABLE_TAINT},
    planner::Snapshot,
    policy::{
        Approval, Canary, CanaryNodes, RolloutPolicy,
        annotations::{CANARY_APPROVED, CANARY_PROMOTED},
    },
    selector::SelectorExpression,
};

/// A part of a policy that has no effect, or waits for ever.
pub(super) struct Idle {
    /// The name of the annotation, without its prefix.
    pub(super) annotation: &'static str,
    pub(super) message: String,
    pub(super) fix: &'static str,
}

pub(super) fn check(
    snapshot: &Snapshot<'_>,
    desired: &HashSet<&Text>,
    canary: &Canary,
    rollout: &RolloutPolicy,
) -> Vec<Idle> {
    let mut idle = match &canary.nodes {
        CanaryNodes::Steps(steps) => check_steps(steps, canary, desired.len()),
        CanaryNodes::Matching(selector) => check_labels(snapshot, desired, selector, rollout),
    };
    idle.extend(check_hashes(snapshot, canary));
    idle
}

fn check_steps(steps: &[IntOrPercent], canary: &Canary, desired: usize) -> Vec<Idle> {
    let mut idle = Vec::new();
    let mut add = |message, fix| idle.push(Idle { annotation: "canary", message, fix });
    let is_open = |step: usize| canary.bake_of(step).is_zero() && canary.approval_of(step) == Approval::Automatic;
    let counts: Vec<_> = steps.iter().map(|step| step.of(desired)).collect();
    if counts.first().is_some_and(|first| *first >= desired) && desired > 1 {
        let message = "the canaries are all nodes that should run a pod: no node waits for them".to_owned();
        add(message, "choose fewer canaries than nodes");
    } else if counts == [0] && is_open(0) {
        add("no node is a canary: no node waits".to_owned(), "choose a number of canaries");
    }
    let mut most: Option<(usize, &IntOrPercent, usize)> = None;
    for (number, (step, count)) in (1..).zip(steps.iter().zip(counts)) {
        match most {
            Some((earlier, first, before)) if count < before => {
                let message = format!(
                    "of {desired} nodes, step {number} ({step}) has {count}, fewer than the {before} of step {earlier} \
                     ({first}): it adds none"
                );
                add(message, "let each step have more nodes than those before");
            }
            _ => most = Some((number, step, count)),
        }
    }
    idle
}

fn check_labels(
    snapshot: &Snapshot<'_>,
    desired: &HashSet<&Text>,
    selector: &SelectorExpression,
    rollout: &RolloutPolicy,
) -> Vec<Idle> {
    let mut idle = Vec::new();
    let mut add = |message, fix| idle.push(Idle { annotation: "canary-nodes", message, fix });
    let matching = snapshot.nodes.iter().filter(|node| selector.matches(&node.labels));
    let (canaries, others): (Vec<_>, Vec<_>) = matching.partition(|node| desired.contains(&node.name));
    if canaries.is_empty() {
        if !desired.is_empty() && !others.iter().any(|node| node.taints.iter().any(Taint::stops_pods)) {
            let message =
                format!("no node that should run a pod matches {selector}: the update waits for its canaries forever");
            add(message, "select labels that nodes have");
        }
        return idle;
    }
    let outdated = without_updated(snapshot, &canaries);
    let is_excused = |taint: &Taint| {
        taint.key == UNSCHEDULABLE_TAINT
            && rollout.away.cordoned.is_some_and(|after| {
                let end = taint.added.and_then(|added| added.checked_add(after).ok());
                after.is_zero() || end.zip(snapshot.now).is_some_and(|(end, now)| end <= now)
            })
    };
    let is_cordoned = |node: &&Node| node.taints.iter().any(is_excused);
    if outdated.len() == canaries.len() && canaries.iter().all(is_cordoned) {
        let nodes = first_few(&names(&outdated));
        add(
            format!("all canaries are cordoned and excused by away: the update waits for {nodes}"),
            "uncordon a canary",
        );
    }
    if let Some(selected) = &rollout.update_nodes {
        let unselected: Vec<_> = outdated.into_iter().filter(|node| !selected.matches(&node.labels)).collect();
        if !unselected.is_empty() {
            let nodes = first_few(&names(&unselected));
            let message = format!("the update waits for canaries that update-nodes does not select: {nodes}");
            add(message, "select the canaries with update-nodes, too");
        }
    }
    idle
}

/// Those of the nodes that run no pod of the current template.
fn without_updated<'n>(snapshot: &Snapshot<'_>, nodes: &[&'n Node]) -> Vec<&'n Node> {
    let hash = snapshot.history().hash().clone();
    let labels = RevisionLabels::new(snapshot.daemonset, snapshot.revisions.is_some());
    let is_updated = |node: &Node| {
        let mut pods = snapshot.pods.iter().filter(|pod| pod.node.name() == Some(&node.name));
        pods.any(|pod| labels.compare(&pod.labels, &hash) != RevisionMatch::Outdated)
    };
    nodes.iter().copied().filter(|node| !is_updated(node)).collect()
}

fn names(nodes: &[&Node]) -> Vec<Text> {
    let mut names: Vec<_> = nodes.iter().map(|node| node.name.clone()).collect();
    names.sort_unstable();
    names
}

/// Approvals and promotions of what does not exist.
fn check_hashes(snapshot: &Snapshot<'_>, canary: &Canary) -> Vec<Idle> {
    let mut idle = Vec::new();
    let history = snapshot.history();
    let is_known = |hash: &Text| {
        // Without the revisions, only the current one is known.
        snapshot.revisions.is_none() || history.hash() == hash || history.old().any(|(_, old)| *old == *hash)
    };
    let approved = canary.approved.as_ref().map(|approved| (CANARY_APPROVED, &approved.hash));
    let promoted = canary.promoted.as_ref().map(|hash| (CANARY_PROMOTED, hash));
    for (annotation, hash) in approved.into_iter().chain(promoted).filter(|(_, hash)| !is_known(hash)) {
        let message =
            format!("no revision of the DaemonSet has the hash {hash}; the current one is {}", history.hash());
        idle.push(Idle { annotation, message, fix: "set the hash of the current revision, or remove the annotation" });
    }
    if let Some(steps) = canary.approved.as_ref().and_then(|approved| approved.steps)
        && steps > canary.steps()
    {
        let message = format!("step {steps} is approved, but the canaries have {} in all", canary.steps());
        idle.push(Idle { annotation: CANARY_APPROVED, message, fix: "approve a step that exists" });
    }
    idle
}
