//! Room for the pods: on the nodes that want one, and in admission.

use std::collections::HashSet;

use indexmap::IndexMap;

use super::{
    Finding, Lint,
    builder::{count, first_few, found},
};
use crate::{
    adoption::claim::claim_pod,
    model::{Node, Pod, PodSpec, Quantity, Text},
    plan::MissingFact,
    planner::Snapshot,
    scheduling::{AdmissionChange, AdmissionRefusal, Admitted, Amounts, ClusterState, QuotaRoom, SchedulingObjects},
    selector::PerNode,
};

pub(super) fn check(snapshot: &Snapshot<'_>, desired: &HashSet<&Text>) -> Vec<Finding> {
    // No pod comes any more.
    if snapshot.namespace.deleted.is_some() {
        return Vec::new();
    }
    let none = SchedulingObjects::default();
    let objects = snapshot.scheduling.map_or(&none, |state| state.objects());
    let Some(new) = snapshot.admitted_pods(objects) else { return Vec::new() };
    let wanted: Vec<_> = snapshot.nodes.iter().filter(|node| desired.contains(&node.name)).collect();
    let nodes: Vec<_> = wanted.iter().copied().filter(|node| !node.is_virtual()).collect();
    let mut findings = Vec::new();
    // What is refused for the same reason on all nodes is told once.
    let is_used = |own: &(Pod, Admitted)| nodes.iter().any(|node| std::ptr::eq(new.on(node), own));
    let of_all = Some(new.general()).filter(|own| nodes.is_empty() || is_used(own));
    let is_told = |own: &(Pod, Admitted)| of_all.is_some_and(|of_all| of_all.1.refusal == own.1.refusal);
    let special = new.special().filter(|(_, own)| is_used(own) && !is_told(own)).map(|(on, own)| (Some(on), own));
    for (on, (_, Admitted { changes, refusal, .. })) in of_all.map(|own| (None, own)).into_iter().chain(special) {
        // Room in a quota is another finding, and so is a template that the API server refuses.
        let is_template = on.is_none() && !has_defaults(changes);
        let is_found =
            |refusal: &&AdmissionRefusal| refusal.is_lasting() && !(is_template && refusal.is_of_validation());
        let Some(refusal) = refusal.as_ref().filter(is_found) else { continue };
        let finding = found(snapshot, Lint::AdmissionRefuses, "spec.template.spec");
        let says = |words| refusal.reasons.iter().any(|reason| reason.contains(words));
        let fix = match refusal.plugin {
            _ if says("must not be provided in pod spec") => {
                "remove priority and preemptionPolicy: they come from the class"
            }
            _ if says("Overhead") => "remove spec.template.spec.overhead: it comes from the RuntimeClass",
            _ if says("conflict: ") => "make the node selectors of the template and of the RuntimeClass agree",
            _ if on.is_some() => {
                "change what is set for these nodes, or what the plugin looks at: no pod is created there as it is"
            }
            "validation" if has_defaults(changes) => {
                "set requests and limits in the template, as the LimitRange allows: it fills in the missing ones"
            }
            "Priority" => "create the PriorityClass, or name one that exists in spec.template.spec.priorityClassName",
            "RuntimeClass" => "create the RuntimeClass, or name one that exists in spec.template.spec.runtimeClassName",
            "LimitRanger" => "request what the LimitRange allows, or change the LimitRange",
            "ResourceQuota" => "set what the ResourceQuota requires in the template, or change the ResourceQuota",
            "PodNodeSelector" => "make the node selectors of the template and of the namespace agree",
            _ => "change the template, or what the plugin looks at: no pod is created as it is",
        };
        let on = on.map(ToString::to_string);
        let on = on.map(|on| if on.is_empty() { " on all nodes".into() } else { format!(" on nodes with {on}") });
        let on = on.unwrap_or_default();
        findings.push(finding.with_message(format!("{}{on}: {refusal}", refusal.plugin)).with_fix(fix));
    }
    let specs = new.map(|(_, admitted)| &admitted.spec);
    let (_, Admitted { changes, .. }) = new.general();
    findings.extend(excluded_by_admission(snapshot, changes, specs.general(), &nodes));
    findings.extend(never_fits(snapshot, &specs, changes, &nodes));
    findings.extend(surge_never_fits(snapshot, &specs, &nodes));
    findings.extend(snapshot.scheduling.and_then(|state| quota(snapshot, &specs, state, &wanted)));
    findings
}

/// The node selector of a RuntimeClass is not part of the template: the controller creates pods where it does not hold.
fn excluded_by_admission(
    snapshot: &Snapshot<'_>,
    changes: &[AdmissionChange],
    spec: &PodSpec,
    nodes: &[&Node],
) -> Option<Finding> {
    let (plugin, labels) = changes.iter().find_map(|change| match change {
        AdmissionChange::NodeSelector { plugin, labels } => Some((plugin, labels)),
        _ => None,
    })?;
    let has_labels =
        |node: &Node| spec.node_selector.iter().all(|(key, value)| node.labels.get_text(key) == Some(value));
    let excluded: Vec<_> = nodes.iter().filter(|node| !has_labels(node)).map(|node| node.name.clone()).collect();
    let finding = found(snapshot, Lint::AdmissionExcludesNodes, "spec.template.spec.runtimeClassName");
    let message = format!(
        "{plugin} adds the node selector {labels} to pods, which the controller does not see: it creates pods on {} where they \
         stay Pending ({})",
        count(excluded.len(), "node"),
        first_few(&excluded)
    );
    let fix = format!("set the same nodeSelector in the template: {labels}");
    (!excluded.is_empty()).then(|| finding.with_message(message).with_fix(fix).on_nodes(excluded))
}

/// Whether a LimitRange fills in requests or limits.
fn has_defaults(changes: &[AdmissionChange]) -> bool {
    changes.iter().any(|change| matches!(change, AdmissionChange::Defaults { .. }))
}

/// The resource of which `times` pods request more than a whole node has.
fn lacking(spec: &PodSpec, node: &Node, times: i64) -> Option<(String, Quantity, Quantity)> {
    let list = node.allocatable.as_deref()?;
    let (allocatable, pods) = (Amounts::from(list), list.get("pods"));
    if list.contains("pods") && pods < times.into() {
        return Some(("pods".to_owned(), times.into(), pods));
    }
    let requests = Amounts::from(&spec.requests());
    requests.iter().find_map(|(resource, requested)| {
        let (requested, there) = (requested.saturating_mul(times), allocatable.get(resource));
        let quantity = |amount| Amounts::quantity(resource, amount);
        (requested > there).then(|| (resource.to_owned(), quantity(requested), quantity(there)))
    })
}

/// Finds the nodes on which a number of pods do not fit, and for the first of them what is lacking.
fn too_small(specs: &PerNode<&PodSpec>, nodes: &[&Node], times: i64) -> Option<(Vec<Text>, String)> {
    let small: Vec<_> =
        nodes.iter().filter_map(|node| Some((&node.name, lacking(specs.on(node), node, times)?))).collect();
    let (node, (resource, requested, there)) = small.first()?;
    let lack = format!("{resource} {requested}, and {node} has {there}");
    Some((small.iter().map(|(node, _)| (*node).clone()).collect(), lack))
}

fn never_fits(
    snapshot: &Snapshot<'_>,
    specs: &PerNode<&PodSpec>,
    changes: &[AdmissionChange],
    nodes: &[&Node],
) -> Option<Finding> {
    let (small, lack) = too_small(specs, nodes, 1)?;
    let message = format!(
        "wanted on {} {} too small even without any other pod ({}): a pod requests {lack}",
        count(small.len(), "node"),
        if small.len() == 1 { "that is" } else { "that are" },
        first_few(&small)
    );
    let is_special = |node: &Text| is_special(specs, nodes, node);
    let fix = if small.iter().all(is_special) {
        "request less in what is set for these nodes, or keep the pods off them"
    } else if small.iter().any(is_special) {
        "request less in the template and in what is set for some of these nodes, or keep the pods off them"
    } else if has_defaults(changes) {
        "request less in the template than the LimitRange fills in, or keep the pods off these nodes"
    } else {
        "request less, or keep the pods off these nodes with a node selector or affinity"
    };
    let finding = found(snapshot, Lint::NeverFits, "spec.template.spec.containers");
    Some(finding.with_message(message).with_fix(fix).on_nodes(small))
}

/// Whether something else is requested on a node than the template says.
fn is_special(specs: &PerNode<&PodSpec>, nodes: &[&Node], name: &Text) -> bool {
    let mut nodes = nodes.iter().filter(|node| node.name == *name);
    nodes.any(|node| specs.special().any(|(on, _)| on.matches(&node.labels)))
}

/// During a surge two pods run on a node, so that both must fit there.
fn surge_never_fits(snapshot: &Snapshot<'_>, specs: &PerNode<&PodSpec>, nodes: &[&Node]) -> Option<Finding> {
    if !snapshot.daemonset.update_strategy.surges() {
        return None;
    }
    let (small, lack) = too_small(specs, nodes, 2).filter(|_| too_small(specs, nodes, 1).is_none())?;
    // Priority and preemption do not depend on the node.
    let spec = specs.general();
    let own = snapshot.pods.iter().filter(|pod| claim_pod(snapshot.daemonset, pod).is_claimed());
    let mut priorities = own.filter_map(|pod| pod.spec.as_ref()).map(|spec| spec.priority.unwrap_or_default());
    let new = spec.priority.unwrap_or_default();
    let then = if !spec.never_preempts() && priorities.any(|old| old < new) {
        "the new pod has a higher priority and takes the place of the old one, which is gone before the new one is ready"
    } else {
        "the new pod stays Pending, and the update stops"
    };
    let message = format!(
        "during an update the old and the new pod request {lack}: on {} {then} ({})",
        count(small.len(), "node"),
        first_few(&small)
    );
    let fix = if small.iter().all(|node| is_special(specs, nodes, node)) {
        "set maxSurge to 0 and maxUnavailable to 1 or more, or request less in what is set for these nodes"
    } else {
        "set maxSurge to 0 and maxUnavailable to 1 or more, or request less"
    };
    let finding = found(snapshot, Lint::SurgeNeverFits, "spec.updateStrategy.rollingUpdate.maxSurge");
    Some(finding.with_message(message).with_fix(fix).on_nodes(small))
}

/// What the missing pods need of a resource of a quota.
struct QuotaNeed {
    /// The room for those that request most of it, and for how many of those there is room that request least.
    room: QuotaRoom,
    most: u64,
    /// What is used once all have come.
    needed: Quantity,
    /// How many nodes lack a pod that the quota counts.
    nodes: usize,
}

/// Finds a ResourceQuota that has too little room for a pod on every node that lacks one, even once pods are gone that go.
fn quota(
    snapshot: &Snapshot<'_>,
    specs: &PerNode<&PodSpec>,
    state: &ClusterState<'_>,
    wanted: &[&Node],
) -> Option<Finding> {
    let later = snapshot.quotas_after_deletions(state);
    let own = snapshot.pods.iter().filter(|pod| !pod.is_terminal() && claim_pod(snapshot.daemonset, pod).is_claimed());
    let nodes: HashSet<_> = own.filter_map(|pod| pod.node.name()).collect();
    let rooms = |spec: &PodSpec| later.room_by_resource(&later.use_of(spec)).collect::<Vec<_>>();
    // How many nodes lack a pod, by what that requests.
    let lacking: Vec<_> = if snapshot.missing.contains(MissingFact::Pods) {
        // What a quota counts can be pods of the DaemonSet.
        let counted = rooms(specs.general());
        let used = counted.iter().filter(|room| room.resource.ends_with("pods")).map(|room| room.used.value()).max();
        let scheduled = usize::try_from(snapshot.daemonset.status.current_number_scheduled).unwrap_or_default();
        let existing = scheduled.max(usize::try_from(used.unwrap_or_default()).unwrap_or_default());
        // On which nodes is not known.
        let lacking = specs.is_uniform().then(|| wanted.len().saturating_sub(existing))?;
        vec![(*specs.general(), lacking)]
    } else {
        let lacking: Vec<_> = wanted.iter().filter(|node| !nodes.contains(&node.name)).collect();
        let with = |spec: &PodSpec| lacking.iter().filter(|node| std::ptr::eq(*specs.on(node), spec)).count();
        specs.values().map(|spec| (*spec, with(spec))).filter(|(_, count)| *count > 0).collect()
    };
    let mut needs = IndexMap::<_, QuotaNeed>::new();
    for (spec, count) in &lacking {
        for room in rooms(spec) {
            let requested = room.requested * i64::try_from(*count).unwrap_or(i64::MAX);
            let key = (room.quota.clone(), room.resource.clone());
            let new = || QuotaNeed { most: room.pods, needed: room.used, nodes: 0, room: room.clone() };
            let need = needs.entry(key).or_insert_with(new);
            (need.room.pods, need.most) = (need.room.pods.min(room.pods), need.most.max(room.pods));
            need.needed += requested;
            need.nodes += count;
        }
    }
    let short = needs.into_values().filter(|need| need.nodes > 0 && need.needed > need.room.hard);
    let short: Vec<_> = short.collect();
    let &QuotaNeed { ref room, most, nodes: missing, .. } = short.iter().min_by_key(|need| need.room.pods)?;
    let admission = snapshot.admission(state.objects());
    let now = lacking.iter().flat_map(|(spec, _)| admission.quota_room(spec));
    let is_as_now = now.into_iter().any(|now| now.quota == room.quota && now.pods == room.pods);
    let message = format!(
        "ResourceQuota {} has room for {} more{}{}, and {} lack{} one ({} {} of {} used)",
        room.quota,
        count(usize::try_from(room.pods).unwrap_or(usize::MAX), "pod"),
        if most > room.pods { " of those that request most" } else { "" },
        if is_as_now { "" } else { " once those are gone that are deleted" },
        count(missing, "node"),
        if missing == 1 { "s" } else { "" },
        room.resource,
        room.used,
        room.hard
    );
    let raised = short
        .iter()
        .map(|QuotaNeed { room, needed, .. }| format!("{} of ResourceQuota {} to {needed}", room.resource, room.quota));
    let fix = format!("raise {}", raised.collect::<Vec<_>>().join(" and "));
    Some(found(snapshot, Lint::QuotaTooSmall, "spec.template.spec").with_message(message).with_fix(fix))
}
