//! The checks of one DaemonSet.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use serde_json::Value;

use super::{
    Finding, Lint,
    builder::{count, first_few, found},
    manifest, node_resources, nodes, pods, policy, room, update,
};
use crate::{
    adoption::claim::{controls_pod, selects},
    explain::{ClaimReason, Explanation},
    model::{
        HASH_LABEL, HostPort, IntOrPercent, NodeSelector, NodeSelectorTerm, TaintEffect, Text, TolerationOperator,
        UpdateStrategy,
        well_known::{NODE_SELECTOR_ANNOTATION, NOT_READY_TAINT, PROJECT_NODE_SELECTOR_ANNOTATION, UNREACHABLE_TAINT},
    },
    placement::{Placement, PlacementReason, SelectorSource},
    plan::Warning,
    planner::Snapshot,
    policy::PolicyPlace,
    util::duration::words,
};

const AFFINITY: &str = "spec.template.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution";

/// Runs all checks on one DaemonSet.
pub(super) fn check(snapshot: &Snapshot<'_>) -> Vec<Finding> {
    let placements: Vec<_> = snapshot.placements().collect();
    let desired = placements.iter().filter(|placement| placement.verdict.should_run());
    let desired: HashSet<_> = desired.map(|placement| &placement.node).collect();
    let explanation = snapshot.unscheduled().explain();
    let mut findings = Vec::new();
    findings.extend(manifest::check(snapshot));
    findings.extend(project_selector(snapshot, &placements));
    findings.extend(explanation.warnings.iter().filter_map(|warning| from_warning(snapshot, warning)));
    findings.extend(selector(snapshot));
    findings.extend(adopted(snapshot, &explanation));
    findings.extend(matches_no_node(snapshot));
    let has_reason = |finding: &Finding| matches!(finding.lint, Lint::MatchesNoNode | Lint::ProjectSelectorConflict);
    if desired.is_empty() && !snapshot.daemonset.is_being_deleted() && !findings.iter().any(has_reason) {
        findings.extend(wanted_nowhere(snapshot, &placements));
    }
    findings.extend(placement(snapshot));
    findings.extend(overridden_tolerations(snapshot));
    findings.extend(critical_priority(snapshot));
    findings.extend(image_with_spaces(snapshot));
    findings.extend(strategy(snapshot, desired.len()));
    findings.extend(policy::check(snapshot, &desired));
    findings.extend(node_resources::check(snapshot, &desired));
    findings.extend(nodes::check(snapshot, &desired));
    findings.extend(room::check(snapshot, &desired));
    findings.extend(pods::not_bound(snapshot, &explanation));
    findings.extend(pods::rejected(snapshot, &explanation));
    findings.extend(revisions(snapshot, &explanation));
    findings
}

/// The namespace's selector is checked last: where it is the reason, all rules of the DaemonSet itself hold.
fn project_selector(snapshot: &Snapshot<'_>, placements: &[Placement]) -> Option<Finding> {
    let excluded = placements.iter().filter_map(|placement| match &placement.reason {
        PlacementReason::NamespaceNodeSelector { source, .. } => Some((*source, placement.node.clone())),
        _ => None,
    });
    let (sources, nodes): (Vec<_>, Vec<_>) = excluded.unzip();
    let source = *sources.first()?;
    let key = match source {
        SelectorSource::ProjectAnnotation | SelectorSource::ProjectDefault => PROJECT_NODE_SELECTOR_ANNOTATION,
        SelectorSource::KubernetesAnnotation | SelectorSource::ClusterDefault => NODE_SELECTOR_ANNOTATION,
    };
    let message = format!(
        "the {source} excludes {} that the DaemonSet selects ({}): a controller that ignores it, such as that of \
         Kubernetes, creates pods there, which stay Pending where admission adds the selector",
        count(nodes.len(), "node"),
        first_few(&nodes),
    );
    let fix = format!("kubectl annotate namespace {} {key}=\"\" --overwrite", snapshot.namespace.name);
    let finding = found(snapshot, Lint::ProjectSelectorConflict, format!("metadata.annotations[{key}]"));
    Some(finding.in_namespace().with_message(message).with_fix(fix).on_nodes(nodes))
}

fn from_warning(snapshot: &Snapshot<'_>, warning: &Warning) -> Option<Finding> {
    let (lint, field, fix) = match warning {
        Warning::SelectsNoPods => {
            (Lint::SelectorMissing, "spec.selector".into(), "set it to the labels of the template")
        }
        Warning::SelectsAllPods => {
            (Lint::SelectorMatchesAll, "spec.selector".into(), "set it to the labels of the template")
        }
        Warning::InvalidAffinityTerm { term, .. } => {
            (Lint::InvalidAffinityTerm, format!("{AFFINITY}.nodeSelectorTerms[{term}]"), "correct or remove the term")
        }
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
            "correct or remove the annotation",
        ),
        Warning::MisplacedPolicy { misplaced } => (
            Lint::MisplacedPolicy,
            misplaced.place.field(&misplaced.key),
            match misplaced.place {
                PolicyPlace::Annotation => "correct its name, or remove it",
                _ => "make it an annotation of the DaemonSet, or remove it",
            },
        ),
        Warning::UnknownContainer { .. } => {
            (Lint::IdleNodeResources, "nodeResources".into(), "name a container of the template")
        }
        Warning::RelabelsOtherTemplate { .. } => (
            Lint::RelabelsOtherTemplate,
            "spec.template".into(),
            "delete the surplus revisions that equal the template, with kubectl delete controllerrevision",
        ),
        Warning::CountsByGeneration { .. } => (
            Lint::CountsByGeneration,
            "spec.template".into(),
            "delete the pods by hand, a few at a time: those that replace them are of the current template",
        ),
        Warning::RunsOtherImage { .. } => (
            Lint::RunsOtherImage,
            "spec.template".into(),
            "delete the pods by hand, a few at a time: those that replace them are of the current template",
        ),
        Warning::EvictedRepeatedly { .. } => (
            Lint::EvictedRepeatedly,
            "spec.template.spec.tolerations".into(),
            "leave tolerationSeconds out, so that the pods stay, or leave the toleration out, so that none is created there",
        ),
        Warning::WaitsForFinalizers { .. } if update::is_old(snapshot, snapshot.daemonset.deleted) => (
            Lint::DeletionWaits,
            "metadata.finalizers".into(),
            "find out why the controllers of these finalizers do not remove them",
        ),
        // The rest is about the input rather than the DaemonSet, or has a rule of its own.
        Warning::SelectorMissesTemplate
        | Warning::OtherNamespace { .. }
        | Warning::NoUid
        | Warning::NoBurst
        | Warning::NamespaceBeingDeleted { .. }
        | Warning::WaitsForFinalizers { .. }
        | Warning::ClockNotGiven
        | Warning::HistoryNotGiven
        | Warning::NodesNotGiven
        | Warning::PodsNotGiven
        | Warning::NamespaceNotGiven { .. }
        | Warning::DuplicateNode { .. }
        | Warning::DuplicateRevision { .. }
        | Warning::RevisionSaysMore { .. } => return None,
    };
    let finding = found(snapshot, lint, field).with_message(warning.to_string()).with_fix(fix);
    Some(if lint == Lint::InvalidNamespaceSelector { finding.in_namespace() } else { finding })
}

fn selector(snapshot: &Snapshot<'_>) -> Option<Finding> {
    let daemonset = snapshot.daemonset;
    daemonset.selector.as_ref()?;
    (!selects(daemonset, daemonset.template.labels())).then(|| {
        found(snapshot, Lint::SelectorMissesTemplate, "spec.selector")
            .with_message(
                "the selector does not match the labels of the template: none of the pods is claimed, and pods are \
                 created without end",
            )
            .with_fix("add the labels of the selector to spec.template.metadata.labels")
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
    let is_deleted = |pod: &&&Text| {
        let mut all = explanation.nodes.iter().flat_map(|node| &node.pods);
        all.any(|explained| explained.pod == ***pod && explained.deletion.is_some())
    };
    let deleted = match adopted.iter().filter(is_deleted).count() {
        0 => String::new(),
        deleted => format!(", and {deleted} of them deleted next"),
    };
    let message = format!(
        "{} will be adopted, because the labels match{deleted}: {}",
        count(adopted.len(), "orphaned pod"),
        first_few(adopted.iter().copied())
    );
    Some(found(snapshot, Lint::AdoptsPods, "spec.selector").with_message(message).with_fix(
        "if this is not intended, change the labels of the pods (the selector of a DaemonSet cannot be changed, only \
                 that of a new one)",
    ))
}

/// Finds rules of the template that match no node.
fn matches_no_node(snapshot: &Snapshot<'_>) -> Vec<Finding> {
    let (nodes, template) = (snapshot.nodes, &snapshot.daemonset.template);
    if nodes.is_empty() {
        return Vec::new();
    }
    let found = |field: String, what: String| {
        found(snapshot, Lint::MatchesNoNode, field)
            .with_message(format!("no node of the cluster {what}"))
            .with_fix("check the label's name and value, or label the nodes")
    };
    let pairs = template
        .node_selector()
        .iter()
        .filter(|(key, value)| !nodes.iter().any(|node| node.labels.get(key) == Some(value.as_str())));
    let pairs = pairs
        .map(|(key, value)| found(format!("spec.template.spec.nodeSelector[{key}]"), format!("has {key}={value}")));
    let terms = template.required_affinity().into_iter().flat_map(NodeSelector::terms).enumerate();
    // One of the terms is enough. Another lint reports invalid ones.
    let any_matches = terms.clone().any(|(_, term)| nodes.iter().any(|node| term.matches(node)));
    let unmatched = terms.filter(|(_, term)| !any_matches && !matches!(term, NodeSelectorTerm::Invalid(_)));
    let unmatched = unmatched.map(|(number, term)| {
        let field = format!("{AFFINITY}.nodeSelectorTerms[{number}]");
        if matches!(term, NodeSelectorTerm::Empty) {
            let fix = "give the term a requirement, or remove the required affinity";
            return found(field, "matches this term, which is empty".to_owned()).with_fix(fix);
        }
        found(field, "matches this term".to_owned())
    });
    pairs.chain(unmatched).collect()
}

/// Finds a DaemonSet that no node should run, though each of its rules matches some node.
fn wanted_nowhere(snapshot: &Snapshot<'_>, placements: &[Placement]) -> Option<Finding> {
    const SHOWN: usize = 3;
    let mut reasons = BTreeMap::<String, usize>::new();
    for placement in placements {
        *reasons.entry(placement.reason.to_string()).or_default() += 1;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, nodes)| std::cmp::Reverse(*nodes));
    let shown: Vec<_> =
        reasons.iter().take(SHOWN).map(|(reason, nodes)| format!("{}: {reason}", count(*nodes, "node"))).collect();
    let message = format!("no node of {} should run a pod ({})", placements.len(), shown.join("; "));
    let fix = "change the rules or the nodes: daemonplan explain shows for each node what keeps pods away";
    let finding = found(snapshot, Lint::WantedNowhere, "spec.template.spec");
    (!placements.is_empty()).then(|| finding.with_message(message).with_fix(fix))
}

/// Finds tolerations with a time that the controller replaces by its own without one.
fn overridden_tolerations(snapshot: &Snapshot<'_>) -> Vec<Finding> {
    let template = &snapshot.daemonset.template;
    let json = template.json().get("spec").and_then(|spec| spec.get("tolerations"));
    let overridden = template.tolerations().iter().enumerate().filter(|(number, toleration)| {
        let is_own = [NOT_READY_TAINT, UNREACHABLE_TAINT].contains(&toleration.key.as_str());
        let has_time = json.and_then(|json| json.get(number)?.get("tolerationSeconds")).is_some_and(Value::is_number);
        let is_same =
            toleration.operator == TolerationOperator::Exists && toleration.effect == Some(TaintEffect::NoExecute);
        is_own && is_same && has_time
    });
    let overridden = overridden.map(|(number, toleration)| {
        let field = format!("spec.template.spec.tolerations[{number}].tolerationSeconds");
        found(snapshot, Lint::TolerationOverridden, field)
            .with_message(format!(
                "the controller replaces the toleration of {} by its own without tolerationSeconds: pods are never \
                 evicted from such nodes",
                toleration.key
            ))
            .with_fix("leave tolerationSeconds out: it has no effect")
    });
    overridden.collect()
}

/// Finds the system's own priority classes in other namespaces than the system's.
fn critical_priority(snapshot: &Snapshot<'_>) -> Option<Finding> {
    let daemonset = snapshot.daemonset;
    let spec = daemonset.template.json().get("spec");
    let class = spec.and_then(|spec| spec.get("priorityClassName")?.as_str())?;
    let is_critical = matches!(class, "system-node-critical" | "system-cluster-critical");
    (is_critical && daemonset.namespace != "kube-system").then(|| {
        found(snapshot, Lint::CriticalPriority, "spec.template.spec.priorityClassName")
            .with_message(format!(
                "{class} outside kube-system: a cluster that limits this class refuses the pods, unless a ResourceQuota of \
                 the namespace allows it"
            ))
            .with_fix("allow it with a ResourceQuota whose scope is the PriorityClass, or use a class of your own")
    })
}

/// Finds an image that the API server refuses in a pod, though not in a template.
fn image_with_spaces(snapshot: &Snapshot<'_>) -> Option<Finding> {
    let spec = snapshot.daemonset.template.json().get("spec")?;
    ["containers", "initContainers"].into_iter().find_map(|list| {
        let mut containers = spec.get(list)?.as_array()?.iter().enumerate();
        let (index, image) = containers.find_map(|(index, container)| {
            let image = container.get("image")?.as_str()?;
            (image.trim() != image).then_some((index, image))
        })?;
        let finding = found(snapshot, Lint::PodsRefused, format!("spec.template.spec.{list}[{index}].image"));
        let message =
            format!("Invalid value: {image:?}: must not have leading or trailing whitespace: no pod is created");
        Some(finding.with_message(message).with_fix(format!("write it as {:?}", image.trim())))
    })
}

/// Checks the tolerations, the node name and the affinity of the template.
fn placement(snapshot: &Snapshot<'_>) -> Vec<Finding> {
    let template = &snapshot.daemonset.template;
    let mut findings = Vec::new();
    let everything = template.tolerations().iter().position(|toleration| {
        toleration.key.is_empty() && toleration.operator == TolerationOperator::Exists && toleration.effect.is_none()
    });
    // The class of what is part of each node, such as its network.
    let spec = template.json().get("spec");
    let is_of_node = spec.and_then(|spec| spec.get("priorityClassName")?.as_str()) == Some("system-node-critical");
    if let Some(number) = everything.filter(|_| !is_of_node) {
        findings.push(
            found(snapshot, Lint::ToleratesEverything, format!("spec.template.spec.tolerations[{number}]"))
                .with_message(
                    "operator Exists without a key tolerates every taint: pods also run on control planes and on \
                         reserved nodes",
                )
                .with_fix(
                    "tolerate only the intended taints, unless the DaemonSet is part of each node, such as its network",
                ),
        );
    }
    if !template.node_name().is_empty() {
        findings.push(
            found(snapshot, Lint::NodeNameInTemplate, "spec.template.spec.nodeName")
                .with_message(format!(
                    "the template sets nodeName to {}: no other node gets a pod",
                    template.node_name()
                ))
                .with_fix("select nodes with nodeSelector or affinity"),
        );
    }
    if template.required_affinity().is_some() {
        findings.push(
            found(snapshot, Lint::AffinityReplaced, AFFINITY)
                .with_message(
                    "the affinity decides which nodes get a pod, but each pod has an affinity to its own node instead",
                )
                .with_fix("none needed, unless a program reads the affinity of the pods"),
        );
    }
    findings
}

/// Checks the update strategy and `minReadySeconds`.
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
                .with_message(
                    "maxUnavailable and maxSurge are both 0, which the API server refuses: no update could proceed",
                )
                .with_fix("set maxUnavailable to 1 or more"),
        );
    }
    let limit = if is_none(max_surge) { max_unavailable.of(desired).max(1) } else { max_surge.of(desired) };
    if is_none(max_surge) && desired > 1 && limit >= desired {
        findings.push(
            found(snapshot, Lint::UpdateTakesAllDown, field("maxUnavailable"))
                .with_message(format!(
                    "maxUnavailable is {max_unavailable} of {}: all may be unavailable at once",
                    count(desired, "node")
                ))
                .with_fix("set maxUnavailable to a part of the nodes, such as 10%"),
        );
    }
    if let Some((field, HostPort { number, .. })) =
        daemonset.template.host_ports().first().filter(|_| !is_none(max_surge))
    {
        findings.push(
            found(snapshot, Lint::SurgeNeedsPort, format!("spec.template.{field}"))
                .with_message(format!(
                    "updates surge, but a new pod cannot start while the old pod holds port {number} of the node"
                ))
                .with_fix("set maxSurge to 0 and maxUnavailable to 1 or more"),
        );
    }
    let least = Duration::from_secs(daemonset.min_ready_seconds.into())
        .saturating_mul(u32::try_from(desired.div_ceil(limit.max(1))).unwrap_or(u32::MAX));
    if least > Duration::from_secs(24 * 3600) {
        findings.push(
            found(snapshot, Lint::SlowRollOut, "spec.minReadySeconds")
                .with_message(format!(
                    "an update of {}, {limit} at a time, takes at least {}",
                    count(desired, "node"),
                    words(least)
                ))
                .with_fix(format!(
                    "lower minReadySeconds, or raise {}",
                    if is_none(max_surge) { "maxUnavailable" } else { "maxSurge" }
                )),
        );
    }
    findings
}

/// Checks the revisions in use, the history and the progress of the update.
fn revisions(snapshot: &Snapshot<'_>, explanation: &Explanation) -> Vec<Finding> {
    const MANY: usize = 3;
    let daemonset = snapshot.daemonset;
    let mut findings = Vec::new();
    let own = snapshot.pods.iter().filter(|pod| controls_pod(daemonset, pod) && !pod.is_being_deleted());
    let hashes: BTreeSet<_> = own.filter_map(|pod| pod.labels.get(HASH_LABEL)).collect();
    if daemonset.update_strategy == UpdateStrategy::OnDelete && hashes.len() >= MANY {
        findings.push(
            found(snapshot, Lint::ManyRevisionsInUse, "spec.updateStrategy.type")
                .with_message(format!(
                    "pods of {} revisions run: OnDelete replaces a pod only after it is deleted by hand",
                    hashes.len()
                ))
                .with_fix("delete the outdated pods, a few at a time, or set the type to RollingUpdate"),
        );
    }
    if daemonset.revision_history_limit == 0 {
        findings.push(
            found(snapshot, Lint::NoHistory, "spec.revisionHistoryLimit")
                .with_message("no old revision is kept: a roll-back to an earlier template is impossible")
                .with_fix("set it to 2 or more; 10 is the default"),
        );
    }
    findings.extend(update::check(snapshot, explanation));
    findings
}
