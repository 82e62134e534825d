//! Pods that the scheduler does not bind, and those that the kubelet rejects.

use std::collections::HashMap;

use super::{
    Finding, Lint,
    builder::{count, found},
    update::{PATIENCE, is_old},
};
use crate::{
    backoff::is_rejection,
    explain::{Explanation, PodExplanation, PodState, SchedulingExplanation},
    model::{
        Pod,
        well_known::{OS_LABEL, PROJECT_NODE_SELECTOR_ANNOTATION},
    },
    placement::Verdict,
    planner::Snapshot,
    scheduling::{SchedulingVerdict, is_unbound},
    util::duration::words,
};

/// How many nodes a message tells of.
const SHOWN: usize = 3;

/// Finds pods that have waited for long to be bound.
pub(super) fn not_bound(snapshot: &Snapshot<'_>, explanation: &Explanation) -> Option<Finding> {
    let own = snapshot.pods.iter().filter(|pod| pod.namespace == snapshot.daemonset.namespace && is_unbound(pod));
    let old = own.filter(|pod| is_old(snapshot, pod.created));
    let old: HashMap<_, _> = old.map(|pod| (&pod.name, pod)).collect();
    let waits = |pod: &PodExplanation| pod.state == PodState::Pending && pod.deletion.is_none();
    let waits = |pod: &PodExplanation| waits(pod) && old.contains_key(&pod.pod);
    if !explanation.nodes.iter().flat_map(|node| &node.pods).any(waits) {
        return None;
    }
    let asked = snapshot.explain();
    let nodes = asked.nodes.iter().filter(|node| node.exists && node.verdict != Verdict::Refuse);
    let waiting: Vec<_> = nodes
        .filter_map(|node| {
            let pod = node.pods.iter().find(|pod| waits(pod))?;
            Some((&node.node, *old.get(&pod.pod)?, pod.scheduling.as_ref()))
        })
        .collect();
    let (first_node, first, of_first) = waiting.first()?;
    let shown = waiting.iter().take(SHOWN).map(|(node, pod, answer)| format!("{node}: {}", why(pod, *answer)));
    let more = waiting.len().saturating_sub(SHOWN);
    let more = (more > 0).then(|| format!("and {more} more"));
    let message = format!(
        "on {} a pod has waited for more than {} to be bound ({})",
        count(waiting.len(), "node"),
        words(PATIENCE),
        shown.chain(more).collect::<Vec<_>>().join("; ")
    );
    let help = of_first.filter(|answer| keeps_waiting(answer)).map(SchedulingExplanation::help).unwrap_or_default();
    let fix = if help.is_empty() {
        format!("look at what kubectl describe pod -n {} {} shows", first.namespace, first.name)
    } else {
        let of_node = if waiting.len() > 1 { format!("on {first_node}: ") } else { String::new() };
        format!("{of_node}{}", help.into_iter().take(2).collect::<Vec<_>>().join(", or "))
    };
    let finding = found(snapshot, Lint::NotBound, "spec.template.spec").with_message(message).with_fix(fix);
    Some(finding.on_nodes(waiting.into_iter().map(|(node, ..)| node.clone()).collect()))
}

/// Whether the facts say that a pod is not bound.
fn keeps_waiting(answer: &SchedulingExplanation) -> bool {
    answer.feasibility.verdict == SchedulingVerdict::Gated || answer.is_refused()
}

/// Says why a pod waits.
fn why(pod: &Pod, answer: Option<&SchedulingExplanation>) -> String {
    let is_of_other = |answer: &&SchedulingExplanation| answer.feasibility.verdict == SchedulingVerdict::OtherScheduler;
    if let Some(spec) = pod.spec.as_ref().filter(|_| answer.as_ref().is_some_and(is_of_other)) {
        return format!("left to the scheduler {}", spec.scheduler);
    }
    let causes = answer.filter(|answer| keeps_waiting(answer)).map(|answer| answer.causes().join("; "));
    let said = pod.problem.as_ref().map(|problem| &problem.unschedulable).filter(|said| !said.is_empty());
    let said = || said.map(|said| format!("the scheduler said: {said}"));
    causes.filter(|causes| !causes.is_empty()).or_else(said).unwrap_or_else(|| "why is not known".to_owned())
}

/// Finds pods that failed because the kubelet rejected them.
pub(super) fn rejected(snapshot: &Snapshot<'_>, explanation: &Explanation) -> Option<Finding> {
    let reason = |pod: &Pod| pod.problem.as_ref().map(|problem| problem.reason.clone());
    let pods = snapshot.pods.iter().filter(|pod| pod.namespace == snapshot.daemonset.namespace);
    let mut rejected = Vec::new();
    for node in explanation.nodes.iter().filter(|node| node.verdict == Verdict::Run) {
        for pod in node.pods.iter().filter(|pod| pod.state == PodState::Failed) {
            let known = pods.clone().find(|known| known.name == pod.pod);
            if let Some(reason) = known.and_then(reason).filter(|reason| is_rejection(reason)) {
                rejected.push((node.node.clone(), pod.problem.clone().unwrap_or_default(), reason));
            }
        }
    }
    let (_, _, first) = rejected.first()?;
    let fix = match first.as_str() {
        "NodeAffinity" => format!(
            "admission may have added a default node selector to the pods: name it with --project-node-selector or \
             --default-node-selector, or switch it off: kubectl annotate namespace {} {PROJECT_NODE_SELECTOR_ANNOTATION}=\"\"",
            snapshot.namespace.name
        ),
        "PodOSNotSupported" => {
            format!("keep them off nodes with another operating system than spec.os says: nodeSelector {OS_LABEL}")
        }
        "TaintToleration" => "tolerate the taints of the node, or keep the pods off it".to_owned(),
        "NodePorts" => "free the port on the node, or let the pod use another one".to_owned(),
        reason if reason.starts_with("OutOf") => "make room on the node, or lower what the pod needs".to_owned(),
        _ => "change the template or the node as the kubelet says, or keep the pods off the node".to_owned(),
    };
    let shown: Vec<_> = rejected.iter().take(SHOWN).map(|(node, problem, _)| format!("{node}: {problem}")).collect();
    let message = format!(
        "the kubelet rejects the pods of {}, each of which is deleted and created again, with back-off ({})",
        count(rejected.len(), "node"),
        shown.join("; ")
    );
    let finding = found(snapshot, Lint::KubeletRejects, "spec.template.spec");
    Some(finding.with_message(message).with_fix(fix).on_nodes(rejected.into_iter().map(|(node, _, _)| node).collect()))
}
