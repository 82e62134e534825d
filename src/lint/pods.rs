//! Pods that the scheduler does not bind, and those that the kubelet rejects.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::{
    Finding, Lint,
    builder::{count, found},
    update::PATIENCE,
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
    scheduling::is_unbound,
    util::duration::words,
};

/// How many nodes a message tells of.
const SHOWN: usize = 3;

/// Finds pods that have waited for long to be bound.
pub(super) fn not_bound(snapshot: &Snapshot<'_>, explanation: &Explanation) -> Option<Finding> {
    let wanted = explanation.nodes.iter().filter(|node| node.verdict == Verdict::Run);
    let stays = |pod: &&PodExplanation| pod.state == PodState::Pending && pod.deletion.is_none();
    let wanted = wanted.flat_map(|node| node.pods.iter().filter(stays).map(|pod| (&pod.pod, &node.node)));
    let wanted: HashMap<_, _> = wanted.collect();
    let waits = |pod: &&Pod| {
        let age = pod.created.zip(snapshot.now).map(|(created, now)| now.duration_since(created));
        let is_old = age.and_then(|age| Duration::try_from(age).ok()).is_some_and(|age| age > PATIENCE);
        is_old && pod.namespace == snapshot.daemonset.namespace && is_unbound(pod)
    };
    let waiting = snapshot.pods.iter().filter(waits);
    let waiting: BTreeMap<_, _> = waiting.filter_map(|pod| Some((*wanted.get(&pod.name)?, pod))).collect();
    let (_, first) = waiting.first_key_value()?;
    let explain = |pod: &Pod| snapshot.scheduling.map(|state| snapshot.explain_pod(state, pod));
    let why = |pod: &Pod| {
        let refused = explain(pod).filter(SchedulingExplanation::is_refused);
        let causes = refused.map(|refused| refused.causes().join("; "));
        let said = || pod.problem.as_ref().map(|problem| format!("the scheduler said: {}", problem.unschedulable));
        causes.filter(|causes| !causes.is_empty()).or_else(said).unwrap_or_else(|| "why is not known".to_owned())
    };
    let shown: Vec<_> = waiting.iter().take(SHOWN).map(|(node, pod)| format!("{node}: {}", why(pod))).collect();
    let of_first = explain(first).filter(SchedulingExplanation::is_refused);
    let helpful = of_first.map(|refused| refused.help().into_iter().take(2).collect::<Vec<_>>().join(", or "));
    let message = format!(
        "on {} a pod has waited for more than {} to be bound ({})",
        count(waiting.len(), "node"),
        words(PATIENCE),
        shown.join("; ")
    );
    let look = || format!("look at what kubectl describe pod -n {} {} shows", first.namespace, first.name);
    let fix = helpful.filter(|fix| !fix.is_empty()).unwrap_or_else(look);
    let finding = found(snapshot, Lint::NotBound, "spec.template.spec").with_message(message).with_fix(fix);
    Some(finding.on_nodes(waiting.keys().map(|node| (*node).clone()).collect()))
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
