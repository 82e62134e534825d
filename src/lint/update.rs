//! The checks of an update or a deletion that is under way.

use std::time::Duration;

use jiff::Timestamp;

use super::{Finding, Lint, builder::found};
use crate::{
    explain::{Blocker, BlockerCause, Explanation, PodExplanation, PodState, UpdateState},
    model::{DaemonSet, Pod, Taint, Text, UpdateStrategy},
    planner::Snapshot,
    policy::RolloutPhase,
};

/// How long a pod may take to start or to stop before that is a danger.
pub(super) const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Whether something has lasted for longer than that. Without a clock that is not known.
pub(super) fn is_old(snapshot: &Snapshot<'_>, since: Option<Timestamp>) -> bool {
    let age = since.zip(snapshot.now).map(|(since, now)| now.duration_since(since));
    age.and_then(|age| Duration::try_from(age).ok()).is_some_and(|age| age > PATIENCE)
}

/// Finds an update that does not go on, or a deletion: a node that blocks it has a problem, or has blocked it for long.
pub(super) fn check(snapshot: &Snapshot<'_>, explanation: &Explanation) -> Option<Finding> {
    const SHOWN: usize = 3;
    let (lint, field, blocked_by, at_most) = match &explanation.update {
        UpdateState::Held { phase: RolloutPhase::CanaryStarting { .. }, .. } => {
            return canaries(snapshot, explanation);
        }
        UpdateState::Held {
            phase: RolloutPhase::Failing { nodes, .. } | RolloutPhase::InDoubt { nodes, .. }, ..
        } => {
            return Some(by_failure(snapshot, explanation, nodes));
        }
        UpdateState::Waiting { blocked_by, limit, by_group, .. } => {
            (Lint::UpdateWaits, "spec.template", blocked_by, (!by_group).then_some(*limit))
        }
        UpdateState::Deleting { blocked_by } => (Lint::DeletionWaits, "metadata.deletionTimestamp", blocked_by, None),
        _ => return None,
    };
    let causes: Vec<_> = blocked_by.iter().filter(|blocker| is_cause(snapshot, blocker)).collect();
    let first = causes.first()?;
    // An update surges, or takes pods away: the API server refuses both limits at once.
    let limit = if snapshot.daemonset.update_strategy.surges() { "maxSurge" } else { "maxUnavailable" };
    let mut fixes = fixes(snapshot, explanation, first, &causes);
    if lint == Lint::UpdateWaits && !matches!(first.cause, BlockerCause::PortTaken { .. }) {
        if all_fail(explanation, &causes) {
            fixes.push(go_back(snapshot));
        } else if let Some(at_most) = at_most
            && has_others(explanation, blocked_by)
        {
            let limit = if is_slow_start(snapshot, explanation, at_most) { "the policy slow-start" } else { limit };
            fixes.push(format!("raise {limit} to {} or more", blocked_by.len().max(at_most) + 1));
        }
        if first.cause == BlockerCause::Away {
            fixes.push("raise the policy max-away".to_owned());
        } else if first.node_taint.is_some() {
            fixes.push("leave such nodes out with the annotation daemonplan/away, if this controller runs".to_owned());
        }
    }
    let shown: Vec<_> = causes.iter().take(SHOWN).map(|blocker| format!("{}: {blocker}", blocker.node)).collect();
    Some(
        found(snapshot, lint, field)
            .with_message(format!("{} ({})", explanation.update, shown.join("; ")))
            .with_fix(fixes.join(", or "))
            .on_nodes(causes.iter().map(|blocker| blocker.node.clone()).collect()),
    )
}

/// An update that the policy stops, as the new template fails or may fail on these nodes.
fn by_failure(snapshot: &Snapshot<'_>, explanation: &Explanation, nodes: &[Text]) -> Finding {
    let has_outdated = explanation.nodes.iter().flat_map(|node| &node.pods).any(is_outdated);
    let go_back = has_outdated.then(|| go_back(snapshot));
    let fixes: Vec<_> = ["correct the template".to_owned()].into_iter().chain(go_back).collect();
    found(snapshot, Lint::UpdateWaits, "spec.template")
        .with_message(explanation.update.to_string())
        .with_fix(fixes.join(", or "))
        .on_nodes(nodes.to_vec())
}

/// An update that waits for canaries that have a problem, or that have not become available for long.
fn canaries(snapshot: &Snapshot<'_>, explanation: &Explanation) -> Option<Finding> {
    let rollout = explanation.rollout.as_ref()?;
    let is_stuck = |explained: &PodExplanation| {
        let created = pod(snapshot, &explained.pod).and_then(|pod| pod.created);
        matches!(explained.state, PodState::NotReady | PodState::Pending)
            && (explained.problem.is_some() || is_old(snapshot, created))
    };
    let awaited = explanation.nodes.iter().filter(|node| rollout.waits_for.contains(&node.node));
    let stuck: Vec<_> = awaited.filter(|node| node.pods.iter().any(is_stuck)).map(|node| node.node.clone()).collect();
    let nodes: Vec<_> = stuck.iter().chain(&rollout.not_reporting).cloned().collect();
    let first = nodes.first()?;
    Some(
        found(snapshot, Lint::UpdateWaits, "spec.template")
            .with_message(format!("{}; {}", explanation.update, rollout.waiting().unwrap_or_default()))
            .with_fix(format!("find out what keeps the pod on {first} from being available, or {}", go_back(snapshot)))
            .on_nodes(nodes),
    )
}

fn go_back(snapshot: &Snapshot<'_>) -> String {
    let DaemonSet { namespace, name, .. } = snapshot.daemonset;
    format!("go back: kubectl rollout undo -n {namespace} daemonset/{name}")
}

fn is_outdated(pod: &PodExplanation) -> bool {
    pod.revision.is_current == Some(false)
}

fn pod<'s>(snapshot: &Snapshot<'s>, name: &str) -> Option<&'s Pod> {
    let namespace = &snapshot.daemonset.namespace;
    snapshot.pods.iter().find(|pod| pod.namespace == *namespace && pod.name == *name)
}

/// Whether new pods come up nowhere: they have a problem on all nodes that block, and are available on none.
fn all_fail(explanation: &Explanation, causes: &[&Blocker]) -> bool {
    let is_new = |pod: &&PodExplanation| pod.revision.is_current == Some(true);
    let new = || explanation.nodes.iter().flat_map(|node| &node.pods).filter(is_new);
    let fails = |blocker: &&Blocker| match &blocker.cause {
        BlockerCause::Pod { pod, state: PodState::NotReady, problem: Some(_), .. } => new().any(|new| new.pod == *pod),
        _ => false,
    };
    causes.iter().all(fails) && new().all(|pod| pod.state != PodState::Available)
}

/// Whether outdated pods run elsewhere than on the nodes that block.
fn has_others(explanation: &Explanation, blocked_by: &[Blocker]) -> bool {
    let others = explanation.nodes.iter().filter(|node| !blocked_by.iter().any(|blocker| blocker.node == node.node));
    others.flat_map(|node| &node.pods).any(is_outdated)
}

/// Whether a node blocks an update for longer than a healthy one does. Without a clock only a problem counts.
fn is_cause(snapshot: &Snapshot<'_>, blocker: &Blocker) -> bool {
    let BlockerCause::Pod { pod: name, state, problem, lasts } = &blocker.cause else {
        return matches!(blocker.cause, BlockerCause::PortTaken { .. }) || blocker.node_taint.is_some();
    };
    let has_blocked_for_long = match state {
        PodState::Deleting | PodState::Pending => lasts.is_some_and(|lasts| lasts > PATIENCE),
        PodState::NotReady => is_old(snapshot, pod(snapshot, name).and_then(|pod| pod.created)),
        PodState::Ready { .. } | PodState::Available => false,
        PodState::Succeeded | PodState::Failed => true,
    };
    problem.is_some() || has_blocked_for_long || blocker.node_taint.is_some()
}

/// Whether fewer nodes may be unavailable, or surge, than the strategy allows.
fn is_slow_start(snapshot: &Snapshot<'_>, explanation: &Explanation, at_most: usize) -> bool {
    let desired = explanation.nodes.iter().filter(|node| node.verdict.should_run()).count();
    match snapshot.daemonset.update_strategy {
        UpdateStrategy::RollingUpdate { max_unavailable, max_surge } => {
            at_most < max_surge.of(desired).max(max_unavailable.of(desired))
        }
        UpdateStrategy::OnDelete => false,
    }
}

/// What can free the first node that blocks, and others that are lost as it is.
fn fixes(snapshot: &Snapshot<'_>, explanation: &Explanation, first: &Blocker, all: &[&Blocker]) -> Vec<String> {
    let (namespace, node, cause) = (&snapshot.daemonset.namespace, &first.node, &first.cause);
    let is_stopped = |blocker: &Blocker| blocker.node_taint.as_ref().is_some_and(Taint::stops_pods);
    let force = |name: &str| {
        let problem = pod(snapshot, name).and_then(|pod| pod.problem.as_ref());
        match problem.filter(|problem| !problem.finalizers.is_empty()) {
            Some(problem) => {
                let all = problem.finalizers.join(", ");
                format!("find out why its finalizers ({all}) stay: pod {name} is kept until they are gone")
            }
            None => format!("kubectl delete pod -n {namespace} {name} --force"),
        }
    };
    match cause {
        BlockerCause::PortTaken { .. } => vec!["set maxSurge to 0 and maxUnavailable to 1 or more".to_owned()],
        _ if is_stopped(first) => {
            let lost = || all.iter().filter(|blocker| is_stopped(blocker));
            let nodes: Vec<_> = lost().map(|blocker| blocker.node.as_str()).collect();
            let gone = if let [_] = nodes.as_slice() { "it is" } else { "they are" };
            let mut fixes = vec![
                format!("bring {} {} back", if nodes.len() == 1 { "node" } else { "nodes" }, nodes.join(", ")),
                format!("if {gone} gone for good: kubectl delete node {}", nodes.join(" ")),
            ];
            // Where another pod comes that does not start either, nothing is gained.
            let is_wanted = |name: &Text| {
                let mut nodes = explanation.nodes.iter();
                nodes
                    .any(|node| node.node == *name && node.verdict.should_run() && snapshot.daemonset.deleted.is_none())
            };
            let going = lost().filter(|blocker| !is_wanted(&blocker.node)).filter_map(|blocker| match &blocker.cause {
                BlockerCause::Pod { pod, state: PodState::Deleting, .. } => Some(pod.as_str()),
                _ => None,
            });
            let going: Vec<_> = going.collect();
            if !going.is_empty() {
                fixes.push(force(&going.join(" ")));
            }
            fixes
        }
        BlockerCause::Pod { pod, state: PodState::Deleting, .. } => {
            let has_containers = self::pod(snapshot, pod).is_some_and(|pod| pod.node.is_bound());
            let once = if has_containers { "once its containers have stopped: " } else { "" };
            vec![format!("{once}{}", force(pod))]
        }
        BlockerCause::Pod { pod, .. } => vec![format!("fix what kubectl describe pod -n {namespace} {pod} shows")],
        BlockerCause::NoPod | BlockerCause::SeveralPods | BlockerCause::Away => vec![format!("check node {node}")],
    }
}
