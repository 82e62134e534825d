//! How remedies are found: each is tried out.

use std::collections::BTreeSet;

use super::{
    super::{
        Amounts, Cause, ComingPods,
        cluster_state::NodeInfo,
        cycle::refusal_without,
        incoming::{Incoming, Trial},
        load::{Allocatable, NodeLoad, assigned, daemonset_of, priority},
        plugins::missing_labels,
        pod_info::PodInfo,
        verdict::feasibility,
    },
    RemedyChange, SchedulingRemedy,
};
use crate::model::{Key, Pod, Resource, Text, Toleration};

/// How many remedies by pods that leave are named.
const MAX_PODS: usize = 3;

/// Finds what would make the pod fit on its node: pods that leave, and changes of the pod and the node.
pub(in super::super) fn remedies(incoming: &Incoming<'_>) -> Vec<SchedulingRemedy> {
    let Some(info) = incoming.info.target_info() else { return Vec::new() };
    if info.node.is_virtual() && incoming.info.spec.is_for_one_node {
        return Vec::new(); // a daemon pod does not run there, even if it is bound
    }
    // Pods for which the node is kept free need room there, too.
    let mut expected: Vec<_> = incoming.kept_free_for(info.node).collect();
    let blockers = incoming.blockers_with(info, &expected);
    if blockers.is_empty() || !incoming.refusals.is_empty() {
        return Vec::new();
    }
    // What pods that leave do not change.
    let (fixed, movable): (Vec<_>, Vec<_>) = blockers.iter().flat_map(|blocker| &blocker.causes).partition(|cause| {
        use Cause::{Cordoned, Gated, NodeAffinity, NodeSelector, Taint};
        matches!(cause, Taint { .. } | Cordoned | Gated { .. } | NodeSelector { .. } | NodeAffinity)
    });
    let Some(fixed) = fixed_changes(incoming, info, &fixed) else { return Vec::new() };
    let mut remedies = Vec::new();
    let mut going: Vec<_> = Trial::new(incoming, info).node.pods.iter().filter(|pod| pod.is_being_deleted()).collect();
    going.sort_by_key(|pod| pod.key());
    expected.sort_by_key(|pod| (priority(pod), pod.key()));
    let of_deletion = |pods| RemedyChange::DeletionEnds { pods };
    let of_expected = |pods| RemedyChange::KeptFreeForEnds { pods };
    let groups: [(&[_], fn(_) -> _); 2] = [(&going, of_deletion), (&expected, of_expected)];
    for (pods, change) in groups {
        for gone in with_changes(incoming, info, &fixed, |fits_without| fewest(pods, fits_without)) {
            let change = change(gone.iter().map(|pod| pod.key()).collect());
            remedies.push(SchedulingRemedy { changes: fixed.iter().cloned().chain([change]).collect() });
        }
    }
    if !movable.is_empty() {
        for pods in with_changes(incoming, info, &fixed, |fits_without| leaving(incoming, info, fits_without)) {
            let lacking = movable.iter().filter_map(|cause| cause.short_by()).map(|(resource, _)| resource);
            let lacking: Vec<_> = lacking.collect();
            let leave = pods.iter().map(|pod| {
                if pod.is_being_deleted() {
                    return RemedyChange::DeletionEnds { pods: vec![pod.key()] };
                }
                let node = pod.node.name().filter(|node| **node != info.node.name).cloned();
                let releases = if node.is_none() { releases(pod, &lacking) } else { String::new() };
                RemedyChange::PodLeaves { pod: pod.key(), node, releases, daemonset: successor(incoming, pod).cloned() }
            });
            remedies.push(SchedulingRemedy { changes: fixed.iter().cloned().chain(leave).collect() });
        }
    }
    if fixed.is_empty() {
        remedies.extend(higher_priority(incoming, info, &expected));
    }
    let more: Option<Vec<_>> = movable.into_iter().map(larger).collect();
    if let Some(more) = more {
        let changes: Vec<_> = fixed.into_iter().chain(more).collect();
        if with_changes(incoming, info, &changes, |fits_without| fits_without(&[])) {
            remedies.push(SchedulingRemedy { changes });
        }
    }
    // What helps with more changes than another needs is no remedy of its own.
    let all = remedies.clone();
    remedies.retain(|own| {
        let is_part = |other: &SchedulingRemedy| other.changes.iter().all(|change| own.changes.contains(change));
        !all.iter().any(|other| other.changes.len() < own.changes.len() && is_part(other))
    });
    remedies
}

/// The changes against what pods that leave do not change; `None` if there are none.
fn fixed_changes(incoming: &Incoming<'_>, info: NodeInfo<'_>, causes: &[&Cause]) -> Option<Vec<RemedyChange>> {
    let mut changes = Vec::new();
    for cause in causes {
        match cause {
            Cause::Gated { gates } => changes.push(RemedyChange::RemoveGates { gates: gates.clone() }),
            Cause::Cordoned => changes.push(RemedyChange::Uncordon),
            Cause::Taint { .. } => {
                let taints = crate::selector::untolerated(
                    &info.node.taints,
                    &incoming.info.spec.tolerations,
                    incoming.info.state.toleration_comparison,
                );
                let taints = taints.filter(|taint| !(info.node.unschedulable && taint.is_cordon()));
                changes.extend(taints.map(|taint| RemedyChange::Tolerate { taint: taint.clone() }));
            }
            // With the label, what pods count by labels of nodes can change, too.
            Cause::NodeSelector { .. } if !incoming.counts_pods() && !is_topology(incoming) => {
                let lacking = missing_labels(&incoming.info.spec, info.node);
                if lacking.clone().any(|(key, _)| OF_KUBELET.contains(&key.as_str())) {
                    return None;
                }
                changes
                    .extend(lacking.map(|(key, value)| RemedyChange::Label { key: key.clone(), value: value.clone() }));
            }
            _ => return None,
        }
    }
    Some(changes)
}

/// Labels that the kubelet sets.
const OF_KUBELET: [&str; 3] = ["kubernetes.io/arch", "kubernetes.io/hostname", "kubernetes.io/os"];

/// Whether pods keep others off by a label of nodes that the pod's node selector requires.
fn is_topology(incoming: &Incoming<'_>) -> bool {
    let PodInfo { state, spec, .. } = &incoming.info;
    let mut terms = state.excluding.iter().filter_map(|pod| pod.spec.as_ref()).flat_map(|spec| &spec.pod_anti_affinity);
    terms.any(|term| spec.node_selector.contains_key(&term.topology_key))
}

/// The change of pod or node that removes a lack of resources.
fn larger(cause: &Cause) -> Option<RemedyChange> {
    match cause {
        Cause::TooManyPods { pods, allowed } => {
            let count = i64::try_from(*pods).ok()?.saturating_add(1).saturating_sub(*allowed);
            Some(RemedyChange::MorePods { count })
        }
        other => {
            let (resource, missing) = other.short_by()?;
            let is_requested = matches!(other, Cause::Insufficient { resource, requested, .. }
                if missing <= Amounts::quantity(resource, *requested));
            let amount = missing.to_string();
            Some(RemedyChange::Resource { resource: resource.clone(), amount, is_requested })
        }
    }
}

/// Finds pods whose leaving makes the pod fit: single ones, those that release least first, or else a few of low priority, or
/// else such with pods whose deletion has begun, or else those on other nodes that exclude the pod.
fn leaving<'s>(
    incoming: &Incoming<'s>,
    info: NodeInfo<'s>,
    fits_without: &dyn Fn(&[&Pod]) -> bool,
) -> Vec<Vec<&'s Pod>> {
    let others = Trial::new(incoming, info).node.pods;
    let (mut going, mut pods): (Vec<_>, Vec<_>) = others.iter().partition(|pod| pod.is_being_deleted());
    pods.sort_by_cached_key(|pod| {
        let amounts = assigned(pod);
        (daemonset_of(pod).is_some(), priority(pod), amounts.milli_cpu, amounts.memory, pod.key())
    });
    let here = fewest(&pods, fits_without);
    if !here.is_empty() {
        return here;
    }
    if !going.is_empty() && !fits_without(&going) {
        going.sort_by_key(|pod| pod.key());
        let both = fewest(&[going, pods].concat(), fits_without);
        if !both.is_empty() {
            return both;
        }
    }
    let elsewhere = excluding_elsewhere(incoming, info);
    let helps = !elsewhere.is_empty() && fits_without(&elsewhere);
    if helps { vec![elsewhere] } else { Vec::new() }
}

/// Finds single pods without which the pod fits, or else as few of them as will do. The last ones stay first.
fn fewest<'s>(pods: &[&'s Pod], fits_without: &dyn Fn(&[&Pod]) -> bool) -> Vec<Vec<&'s Pod>> {
    let single = pods.iter().filter(|pod| fits_without(&[**pod]));
    let single: Vec<_> = single.take(MAX_PODS).map(|pod| vec![*pod]).collect();
    if !single.is_empty() || pods.is_empty() || !fits_without(pods) {
        return single;
    }
    let mut leaving = pods.to_vec();
    for index in (0..leaving.len()).rev() {
        let mut fewer = leaving.clone();
        fewer.remove(index);
        if fits_without(&fewer) {
            leaving = fewer;
        }
    }
    vec![leaving]
}

/// The pods on other nodes, at most a few, that use a claim of the pod's own, or that anti-affinity keeps apart from it.
fn excluding_elsewhere<'s>(incoming: &Incoming<'s>, info: NodeInfo<'s>) -> Vec<&'s Pod> {
    let mut gone = Vec::<&Pod>::new();
    let mut trial = Trial::new(incoming, info);
    while gone.len() < MAX_PODS {
        let cause = trial.refusal().and_then(|mut blocker| blocker.causes.pop());
        let Some(
            Cause::ClaimInUse { pod: Some(key), .. }
            | Cause::PodAntiAffinity { pod: Some(key), .. }
            | Cause::ExistingAntiAffinity { pod: Some(key), .. },
        ) = cause
        else {
            break;
        };
        let mut pods = incoming.info.state.nodes.iter().flat_map(|info| info.pods.iter());
        let Some(pod) = pods.find(|pod| pod.key() == key) else { break };
        trial.lose(pod);
        gone.push(pod);
    }
    gone
}

/// The DaemonSet that creates another pod in the place of one, as far as is known. In the place of an older pod of its own
/// DaemonSet comes the pod itself.
fn successor<'p>(incoming: &Incoming<'_>, pod: &'p Pod) -> Option<&'p Text> {
    let PodInfo { pod: own, state, .. } = incoming.info;
    let is_own = |name: &Text| pod.namespace == own.namespace && daemonset_of(own) == Some(name);
    let leaves = |coming: &ComingPods<'_>| coming.leaves_for_good(pod);
    daemonset_of(pod).filter(|name| !is_own(name) && !state.coming.iter().any(leaves))
}

/// The highest priority that a PriorityClass of users can have.
const HIGHEST_OF_USERS: i32 = 1_000_000_000;

/// Finds the lowest priority with which the pod would take the place of others, or that of pods the node is kept free for. Pods of
/// DaemonSets that would be created again are no remedy, nor those that leave anyway.
fn higher_priority(incoming: &Incoming<'_>, info: NodeInfo<'_>, expected: &[&Pod]) -> Option<SchedulingRemedy> {
    if incoming.info.spec.never_preempts() || !incoming.info.spec.is_of_default_scheduler() {
        return None;
    }
    // It already takes the place of others.
    if !feasibility(incoming).preempts().is_empty() {
        return None;
    }
    let others = Trial::new(incoming, info).node.pods;
    let priorities: BTreeSet<_> = others.iter().chain(expected.iter().copied()).map(priority).collect();
    let mut higher = priorities.into_iter().filter(|own| (incoming.info.priority()..HIGHEST_OF_USERS).contains(own));
    let (above, preempted) = higher.find_map(|above| {
        let (mut pod, mut spec) = (incoming.info.pod.clone(), incoming.info.spec.clone().into_owned());
        spec.priority = Some(above + 1);
        (pod.node, pod.spec) = (incoming.info.node.clone().into_owned(), Some(spec.into()));
        let mut later = Incoming::new(incoming.info.state, &pod);
        later.company = incoming.company.clone();
        let answer = feasibility(&later);
        let preempted = answer.preempts().to_vec();
        (answer.would_fit || !preempted.is_empty()).then_some((above, preempted))
    })?;
    let is_of_daemonset = |key: &Key| others.iter().any(|pod| pod.key() == *key && daemonset_of(pod).is_some());
    let is_going = |key: &Key| others.iter().any(|pod| pod.key() == *key && pod.is_being_deleted());
    let frees_nothing = !preempted.is_empty() && preempted.iter().all(is_going);
    (!frees_nothing && !preempted.iter().any(is_of_daemonset))
        .then(|| SchedulingRemedy { changes: vec![RemedyChange::HigherPriority { above, preempted }] })
}

/// Writes what a pod releases of some resources.
fn releases(pod: &Pod, resources: &[&Text]) -> String {
    let amounts = assigned(pod);
    let released = resources.iter().map(|resource| (resource, amounts.get(resource))).filter(|(_, amount)| *amount > 0);
    let released = released.map(|(resource, amount)| format!("{resource} {}", Amounts::quantity(resource, amount)));
    released.collect::<Vec<_>>().join(", ")
}

/// Changes the pod and the node, and lets `ask` try out whether the pod then fits without some of the other pods.
fn with_changes<T>(
    incoming: &Incoming<'_>,
    info: NodeInfo<'_>,
    changes: &[RemedyChange],
    ask: impl FnOnce(&dyn Fn(&[&Pod]) -> bool) -> T,
) -> T {
    let (mut pod, mut node) = (incoming.info.pod.clone(), info.node.clone());
    let mut spec = incoming.info.spec.clone().into_owned();
    let mut allocatable = info.load.allocatable.clone();
    for change in changes {
        match change {
            RemedyChange::Uncordon => {
                node.unschedulable = false;
                node.taints.retain(|taint| !taint.is_cordon());
            }
            RemedyChange::Label { key, value } => node.labels = node.labels.with(key.clone(), value.clone()),
            RemedyChange::RemoveGates { .. } => spec.scheduling_gates.clear(),
            RemedyChange::Tolerate { taint } => spec.tolerations.push(Toleration::new(taint.key.clone())),
            RemedyChange::MorePods { count } => {
                if let Some(Allocatable { pods, .. }) = &mut allocatable {
                    *pods = pods.saturating_add(*count);
                }
            }
            RemedyChange::Resource { resource, amount, .. } => {
                if let (Some(Allocatable { amounts, .. }), Ok(amount)) = (&mut allocatable, amount.parse()) {
                    amounts.add(&Amounts::from(&[(resource.clone(), amount)].into_iter().collect()));
                }
            }
            RemedyChange::PodLeaves { .. }
            | RemedyChange::Recreated
            | RemedyChange::HigherPriority { .. }
            | RemedyChange::DeletionEnds { .. }
            | RemedyChange::KeptFreeForEnds { .. } => {}
        }
    }
    (pod.node, pod.spec) = (incoming.info.node.clone().into_owned(), Some(spec.into()));
    let mut later = Incoming::new(incoming.info.state, &pod);
    later.company = incoming.company.clone();
    let load = NodeLoad { allocatable, ..NodeLoad::clone(info.load) };
    let info = NodeInfo { node: &node, pods: info.pods, load: &load };
    let trial = Trial::new(&later, info);
    ask(&|without| {
        let mut then = trial.clone();
        for pod in without {
            then.lose(pod);
        }
        refusal_without(&then, without).is_none()
    })
}
