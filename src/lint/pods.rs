//! Pods that the kubelet rejects.

use super::{
    Finding, Lint,
    builder::{count, found},
};
use crate::{
    backoff::is_rejection,
    explain::{Explanation, PodState},
    model::{
        Pod,
        well_known::{OS_LABEL, PROJECT_NODE_SELECTOR_ANNOTATION},
    },
    placement::Verdict,
    planner::Snapshot,
};

/// Finds pods that failed because the kubelet rejected them.
pub(super) fn rejected(snapshot: &Snapshot<'_>, explanation: &Explanation) -> Option<Finding> {
    const SHOWN: usize = 3;
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
