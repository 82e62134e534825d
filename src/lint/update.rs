//! The checks of an update that is under way.

use std::time::Duration;

use jiff::Timestamp;

use super::{Finding, Lint, builder::found};
use crate::{
    explain::{Blocker, BlockerCause, Explanation, PodState, UpdateState},
    model::Pod,
    planner::Snapshot,
};

/// How long a pod may take to start or to stop before that is a danger.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Finds an update that does not go on: a node that blocks it has a problem, or has blocked it for long.
pub(super) fn check(snapshot: &Snapshot<'_>, explanation: &Explanation) -> Option<Finding> {
    const SHOWN: usize = 3;
    let UpdateState::Waiting { blocked_by, .. } = &explanation.update else { return None };
    let causes: Vec<_> = blocked_by.iter().filter(|blocker| is_cause(snapshot, explanation, blocker)).collect();
    let fix = fix(snapshot, causes.first()?, blocked_by.len());
    let shown: Vec<_> = causes.iter().take(SHOWN).map(|blocker| format!("{}: {blocker}", blocker.node)).collect();
    Some(
        found(snapshot, Lint::UpdateWaits, "spec.template")
            .with_message(format!("{} ({})", explanation.update, shown.join("; ")))
            .with_fix(fix)
            .on_nodes(causes.iter().map(|blocker| blocker.node.clone()).collect()),
    )
}

fn pod<'s>(snapshot: &Snapshot<'s>, name: &str) -> Option<&'s Pod> {
    let namespace = &snapshot.daemonset.namespace;
    snapshot.pods.iter().find(|pod| pod.namespace == *namespace && pod.name == *name)
}

/// Whether a node blocks an update for longer than a healthy one does. Without a clock only a problem counts.
fn is_cause(snapshot: &Snapshot<'_>, explanation: &Explanation, blocker: &Blocker) -> bool {
    let BlockerCause::Pod { pod: name, state } = &blocker.cause else {
        return matches!(blocker.cause, BlockerCause::PortTaken { .. }) || blocker.node_taint.is_some();
    };
    let is_old = |since: Option<Timestamp>| {
        let age = since.zip(snapshot.now).map(|(since, now)| now.duration_since(since));
        age.and_then(|age| Duration::try_from(age).ok()).is_some_and(|age| age > PATIENCE)
    };
    let problem =
        explanation.nodes.iter().flat_map(|node| &node.pods).any(|pod| pod.pod == *name && pod.problem.is_some());
    let known = pod(snapshot, name);
    let has_blocked_for_long = match state {
        PodState::Deleting => is_old(known.and_then(|pod| pod.deleted)),
        PodState::Pending | PodState::NotReady => is_old(known.and_then(|pod| pod.created)),
        PodState::Ready { .. } | PodState::Available => false,
        PodState::Succeeded | PodState::Failed => true,
    };
    problem || has_blocked_for_long || blocker.node_taint.is_some()
}

/// What can free the update, for the first cause.
fn fix(snapshot: &Snapshot<'_>, blocker: &Blocker, count: usize) -> String {
    let namespace = &snapshot.daemonset.namespace;
    let raise = format!("raise maxUnavailable to {} or more", count + 1);
    match &blocker.cause {
        BlockerCause::PortTaken { .. } => "set maxSurge to 0 and maxUnavailable to 1 or more".to_owned(),
        BlockerCause::Pod { pod, state: PodState::Deleting } if blocker.node_taint.is_some() => format!(
            "bring node {node} back, or if it is gone for good: kubectl delete node {node}, or kubectl delete pod -n \
             {namespace} {pod} --force; or {raise}, or leave such nodes out with the annotation daemonplan/away",
            node = blocker.node
        ),
        BlockerCause::Pod { pod, state: PodState::Deleting } => {
            format!("once nothing of it runs: kubectl delete pod -n {namespace} {pod} --force; or {raise}")
        }
        _ if blocker.node_taint.is_some() => format!(
            "bring node {} back, or {raise}, or leave such nodes out with the annotation daemonplan/away",
            blocker.node
        ),
        BlockerCause::Pod { pod, .. } => {
            format!("mend what kubectl describe pod -n {namespace} {pod} tells, or {raise}")
        }
        BlockerCause::NoPod | BlockerCause::SeveralPods => format!("check node {}, or {raise}", blocker.node),
    }
}
