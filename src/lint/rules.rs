//! What is looked for in one DaemonSet.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use serde_json::Value;

use super::{
    Finding, Lint,
    finding::{count, found},
    policy,
};
use crate::{
    adoption::claim::{controls_pod, selects},
    explain::{ClaimReason, Explanation, UpdateState},
    model::{
        HASH_LABEL, IntOrPercent, NodeSelector, NodeSelectorTerm, Text, TolerationOperator, UpdateStrategy,
        well_known::{NODE_SELECTOR_ANNOTATION, PROJECT_NODE_SELECTOR_ANNOTATION},
    },
    placement::{Placement, PlacementReason, SelectorSource},
    plan::Warning,
    planner::Snapshot,
    util::duration::words,
};

const AFFINITY: &str = "spec.template.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution";

/// All that is found in one DaemonSet.
pub(super) fn of(snapshot: &Snapshot<'_>) -> Vec<Finding> {
    let plan = snapshot.plan();
    let placements: Vec<_> = plan.placements().collect();
    let desired = placements.iter().filter(|placement| placement.verdict.should_run());
    let desired: HashSet<_> = desired.map(|placement| &placement.node).collect();
    let explanation = snapshot.explain();
    let mut findings = Vec::new();
    findings.extend(project_selector(snapshot, &placements));
    findings.extend(plan.warnings.iter().filter_map(|warning| warned_of(snapshot, warning)));
    findings.extend(selector(snapshot));
    findings.extend(adopted(snapshot, &explanation));
    findings.extend(matches_no_node(snapshot));
    findings.extend(placement(snapshot));
    findings.extend(strategy(snapshot, desired.len()));
    findings.extend(policy::of(snapshot, &desired));
    findings.extend(revisions(snapshot, &explanation));
    findings
}

/// The first few, and how many more there are.
fn some<'t>(names: impl IntoIterator<Item = &'t Text>) -> String {
    const SHOWN: usize = 3;
    let names: Vec<_> = names.into_iter().map(Text::as_str).collect();
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// The namespace's selector comes last: where it is the reason, all that the DaemonSet itself asks for holds.
fn project_selector(snapshot: &Snapshot<'_>, placements: &[Placement]) -> Option<Finding> {
    let kept = placements.iter().filter_map(|placement| match &placement.reason {
        PlacementReason::NamespaceNodeSelector { source, .. } => Some((*source, placement.node.clone())),
        _ => None,
    });
    let (sources, nodes): (Vec<_>, Vec<_>) = kept.unzip();
    let source = *sources.first()?;
    let key = match source {
        SelectorSource::ProjectAnnotation | SelectorSource::ProjectDefault => PROJECT_NODE_SELECTOR_ANNOTATION,
        SelectorSource::KubernetesAnnotation | SelectorSource::ClusterDefault => NODE_SELECTOR_ANNOTATION,
    };
    let message = format!(
        "the {source} keeps pods from {} that the DaemonSet asks for ({}): a controller that is not told of it creates pods \
         there that fail at once, without end",
        count(nodes.len(), "node"),
        some(&nodes),
    );
    let fix = format!("kubectl annotate namespace {} {key}=\"\" --overwrite", snapshot.namespace.name);
    let finding = found(snapshot, Lint::ProjectSelectorConflict, format!("metadata.annotations[{key}]"));
    Some(finding.in_namespace().saying(message).mended_by(fix).on(nodes))
}

fn warned_of(snapshot: &Snapshot<'_>, warning: &Warning) -> Option<Finding> {
    let (lint, field, fix) = match warning {
        Warning::SelectsNoPods => (Lint::SelectorMissing, "spec.selector".into(), "select the labels of the template"),
        Warning::SelectsAllPods => {
            (Lint::SelectorMatchesAll, "spec.selector".into(), "select the labels of the template")
        }
        Warning::InvalidAffinityTerm { term, .. } => (
            Lint::InvalidAffinityTerm,
            format!("{AFFINITY}.nodeSelectorTerms[{term}]"),
            "mend the term or take it away",
        ),
        Warning::InvalidNodeSelector { source, .. } => {
            let field = match source {
                SelectorSource::KubernetesAnnotation => NODE_SELECTOR_ANNOTATION,
                _ => PROJECT_NODE_SELECTOR_ANNOTATION,
            };
            (
                Lint::InvalidNamespaceSelector,
                format!("metadata.annotations[{field}]"),
                "write it as key=value,key=value",
            )
        }
        Warning::InvalidPolicy { error } => (
            Lint::InvalidPolicy,
            format!("metadata.annotations[{}]", error.annotation()),
            "mend the annotation or take it away; until then no update moves",
        ),
        Warning::HistoryNotGiven | Warning::DuplicateNode { .. } => return None,
    };
    let finding = found(snapshot, lint, field).saying(warning.to_string()).mended_by(fix);
    Some(if lint == Lint::InvalidNamespaceSelector { finding.in_namespace() } else { finding })
}

fn selector(snapshot: &Snapshot<'_>) -> Option<Finding> {
    let daemonset = snapshot.daemonset;
    daemonset.selector.as_ref()?;
    (!selects(daemonset, daemonset.template.labels())).then(|| {
        found(snapshot, Lint::SelectorMissesTemplate, "spec.selector")
            .saying("it does not match the labels of the template: pods are created, not recognized, and created again")
            .mended_by("give spec.template.metadata.labels the labels that the selector asks for")
    })
}

fn adopted(snapshot: &Snapshot<'_>, explanation: &Explanation) -> Option<Finding> {
    let adopted: Vec<_> = explanation
        .claims
        .iter()
        .filter(|claim| claim.reason == ClaimReason::Adopted)
        .map(|claim| &claim.pod)
        .collect();
    if adopted.is_empty() {
        return None;
    }
    let dies = |pod: &&&Text| {
        let mut all = explanation.nodes.iter().flat_map(|node| &node.pods);
        all.any(|explained| explained.pod == ***pod && explained.deletion.is_some())
    };
    let deleted = match adopted.iter().filter(dies).count() {
        0 => String::new(),
        deleted => format!(", and {deleted} of them deleted next"),
    };
    let message = format!(
        "{} that nobody controls will be adopted, since the labels match{deleted}: {}",
        count(adopted.len(), "pod"),
        some(adopted.iter().copied())
    );
    Some(
        found(snapshot, Lint::AdoptsPods, "spec.selector")
            .saying(message)
            .mended_by("if they are not meant, change their labels, or make the selector narrower"),
    )
}

/// Rules of the template that hold nowhere.
fn matches_no_node(snapshot: &Snapshot<'_>) -> Vec<Finding> {
    let (nodes, template) = (snapshot.nodes, &snapshot.daemonset.template);
    if nodes.is_empty() {
        return Vec::new();
    }
    let found = |field: String, what: String| {
        found(snapshot, Lint::MatchesNoNode, field)
            .saying(format!("no node of the cluster {what}"))
            .mended_by("check the label's name and value, or label the nodes")
    };
    let pairs = template
        .node_selector()
        .iter()
        .filter(|(key, value)| !nodes.iter().any(|node| node.labels.get(key) == Some(value.as_str())));
    let pairs = pairs
        .map(|(key, value)| found(format!("spec.template.spec.nodeSelector[{key}]"), format!("has {key}={value}")));
    let terms = template.required_affinity().into_iter().flat_map(NodeSelector::terms).enumerate();
    let never = terms.filter(|(_, term)| {
        // An invalid one is a finding of its own.
        !matches!(term, NodeSelectorTerm::Invalid(_)) && !nodes.iter().any(|node| term.matches(node))
    });
    let never = never
        .map(|(number, _)| found(format!("{AFFINITY}.nodeSelectorTerms[{number}]"), "matches this term".to_owned()));
    pairs.chain(never).collect()
}

/// Where the template puts pods, or seems to.
fn placement(snapshot: &Snapshot<'_>) -> Vec<Finding> {
    let template = &snapshot.daemonset.template;
    let mut findings = Vec::new();
    let everything = template.tolerations().iter().position(|toleration| {
        toleration.key.is_empty() && toleration.operator == TolerationOperator::Exists && toleration.effect.is_none()
    });
    if let Some(number) = everything {
        findings.push(
            found(snapshot, Lint::ToleratesEverything, format!("spec.template.spec.tolerations[{number}]"))
                .saying(
                    "operator Exists without a key tolerates every taint: pods run on control planes and on nodes that \
                         are set aside, too",
                )
                .mended_by(
                    "name the taints that are meant, unless it is a part of the node itself, such as its network",
                ),
        );
    }
    if !template.node_name().is_empty() {
        findings.push(
            found(snapshot, Lint::NodeNameInTemplate, "spec.template.spec.nodeName")
                .saying(format!("the template names the node {}: no other node gets a pod", template.node_name()))
                .mended_by("choose nodes with nodeSelector or affinity"),
        );
    }
    if template.required_affinity().is_some() {
        findings.push(
            found(snapshot, Lint::AffinityReplaced, AFFINITY)
                .saying("it decides which nodes get a pod, but each pod has one instead that names its own node")
                .mended_by("nothing, unless something reads the affinity of the pods"),
        );
    }
    findings
}

/// How updates go on.
fn strategy(snapshot: &Snapshot<'_>, desired: usize) -> Vec<Finding> {
    let daemonset = snapshot.daemonset;
    let UpdateStrategy::RollingUpdate { max_unavailable, max_surge } = daemonset.update_strategy else {
        return Vec::new();
    };
    let field = |name: &str| format!("spec.updateStrategy.rollingUpdate.{name}");
    let is_none = |bound: IntOrPercent| bound.of(1) == 0;
    let mut findings = Vec::new();
    if is_none(max_unavailable) && is_none(max_surge) {
        findings.push(
            found(snapshot, Lint::UpdateNeverMoves, field("maxUnavailable"))
                .saying("maxUnavailable and maxSurge are both 0, which the API server refuses: no update could move")
                .mended_by("set maxUnavailable to 1 or more"),
        );
    }
    let limit = if is_none(max_surge) { max_unavailable.of(desired).max(1) } else { max_surge.of(desired) };
    if is_none(max_surge) && desired > 1 && limit >= desired {
        findings.push(
            found(snapshot, Lint::UpdateTakesAllDown, field("maxUnavailable"))
                .saying(format!("{max_unavailable} of {} may be without a pod at a time: all", count(desired, "node")))
                .mended_by("set maxUnavailable to a part of the nodes, such as 10%"),
        );
    }
    if let Some((path, port)) = node_port(daemonset.template.json().get("spec")).filter(|_| !is_none(max_surge)) {
        findings.push(
            found(snapshot, Lint::SurgeNeedsPort, format!("spec.template.spec.{path}"))
                .saying(format!(
                    "the update surges, but the new pod waits for port {port} of the node, which the old one has"
                ))
                .mended_by("set maxSurge to 0 and maxUnavailable to 1 or more"),
        );
    }
    let least = Duration::from_secs(daemonset.min_ready_seconds.into())
        .saturating_mul(u32::try_from(desired.div_ceil(limit.max(1))).unwrap_or(u32::MAX));
    if least > Duration::from_hours(24) {
        findings.push(
            found(snapshot, Lint::SlowRollOut, "spec.minReadySeconds")
                .saying(format!(
                    "an update of {}, {limit} at a time, takes at least {}",
                    count(desired, "node"),
                    words(least)
                ))
                .mended_by("lower minReadySeconds, or let more nodes be updated at a time"),
        );
    }
    findings
}

/// The first port of the node that a container takes, and where that is said.
fn node_port(spec: Option<&Value>) -> Option<(String, u64)> {
    let on_host = spec?.get("hostNetwork").and_then(Value::as_bool).unwrap_or_default();
    let field = if on_host { "containerPort" } else { "hostPort" };
    ["containers", "initContainers"].into_iter().find_map(|kind| {
        let containers = spec?.get(kind)?.as_array()?.iter().enumerate();
        // Of those that come first only the ones that stay keep a port.
        let mut staying = containers.filter(|(_, container)| {
            kind == "containers" || container.get("restartPolicy").and_then(Value::as_str) == Some("Always")
        });
        staying.find_map(|(number, container)| {
            let mut ports = container.get("ports")?.as_array()?.iter().enumerate();
            ports.find_map(|(place, port)| {
                let port = port.get(field)?.as_u64().filter(|port| *port > 0)?;
                Some((format!("{kind}[{number}].ports[{place}].{field}"), port))
            })
        })
    })
}

/// What runs, and the way back.
fn revisions(snapshot: &Snapshot<'_>, explanation: &Explanation) -> Vec<Finding> {
    const MANY: usize = 3;
    let daemonset = snapshot.daemonset;
    let mut findings = Vec::new();
    let own = snapshot.pods.iter().filter(|pod| controls_pod(daemonset, pod) && !pod.is_being_deleted());
    let hashes: BTreeSet<_> = own.filter_map(|pod| pod.labels.get(HASH_LABEL)).collect();
    if daemonset.update_strategy == UpdateStrategy::OnDelete && hashes.len() >= MANY {
        findings.push(
            found(snapshot, Lint::ManyRevisionsInUse, "spec.updateStrategy.type")
                .saying(format!(
                    "pods of {} revisions run: OnDelete leaves them until somebody deletes them",
                    hashes.len()
                ))
                .mended_by("delete the older pods, some at a time, or set the type to RollingUpdate"),
        );
    }
    if daemonset.revision_history_limit == 0 {
        findings.push(
            found(snapshot, Lint::NoHistory, "spec.revisionHistoryLimit")
                .saying("no old revision is kept: there is no way back to an earlier template")
                .mended_by("set it to 2 or more; 10 is the default"),
        );
    }
    if let UpdateState::Waiting { blocked_by, .. } = &explanation.update {
        let held: Vec<_> = blocked_by.iter().map(|holdup| format!("{}: {holdup}", holdup.node)).take(MANY).collect();
        findings.push(
            found(snapshot, Lint::UpdateWaits, "spec.template")
                .saying(format!("{} ({})", explanation.update, held.join("; ")))
                .mended_by("see to these nodes: the update moves on once they have an available pod")
                .on(blocked_by.iter().map(|holdup| holdup.node.clone()).collect()),
        );
    }
    findings
}
