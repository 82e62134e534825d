//! What the scheduler would say about the new pods of a rollout, node by node.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    mem,
};

use crate::{
    adoption::claim::claim_pod,
    forecast::StuckCause,
    model::{Key, Pod, Resource, Text},
    planner::Snapshot,
    scheduling::{Cause, ClusterState, Plugin, PodsAlike, SchedulingBlocker, UnknownFact},
};

/// What a node makes of a new pod: `alone`, after the DaemonSet's other pods have left it, or `beside` those.
#[derive(Debug, Default)]
pub(super) struct NodeFit {
    pub(super) alone: Option<StuckCause>,
    pub(super) beside: Option<StuckCause>,
    /// The pods of others whose place a new pod takes.
    pub(super) victims: Vec<Key>,
    /// Whether it takes the place of the DaemonSet's other pods.
    pub(super) displaces_own: bool,
    pub(super) unknown: Vec<UnknownFact>,
}

/// Asks about pods like `new`, and returns the nodes where more is to be said than that they fit.
pub(super) fn node_fits(snapshot: &Snapshot<'_>, state: &ClusterState<'_>, new: &Pod) -> HashMap<Text, NodeFit> {
    let rules = snapshot.placement_rules();
    let mut own = HashMap::<&Text, Vec<&Pod>>::new();
    let is_on_node = |pod: &&Pod| pod.node.is_bound() && !pod.is_terminal();
    for pod in snapshot.pods.iter().filter(is_on_node).filter(|pod| claim_pod(snapshot.daemonset, pod).is_claimed()) {
        own.entry(pod.node.name().unwrap_or(&pod.name)).or_default().push(pod);
    }
    let own_keys: HashSet<Key> = own.values().flatten().map(|pod| pod.key()).collect();
    let surges = snapshot.daemonset.update_strategy.surges();
    let mut alike = state.pods_like(new);
    let wanted = snapshot.nodes.iter().filter(|node| rules.verdict(node).should_run());
    let fits = wanted.filter_map(|node| {
        let going: Vec<_> = state.pods_on(&node.name).filter(|pod| pod.is_being_deleted()).collect();
        let own = own.get(&node.name).map(Vec::as_slice).unwrap_or_default();
        let (beside, victims) = refusal(&mut alike, &node.name, &[], &going);
        let (displaced, victims): (Vec<_>, Vec<_>) = victims.into_iter().partition(|victim| own_keys.contains(victim));
        let alone = if own.is_empty() { beside.clone() } else { refusal(&mut alike, &node.name, own, &going).0 };
        let (displaces_own, unknown) = (!displaced.is_empty(), alike.unknown_on(&node.name));
        let mut fit = NodeFit { alone, beside, victims, displaces_own, unknown };
        fit.consider_others(&mut alike, &node.name, if surges { &[] } else { own });
        (!fit.is_plain()).then(|| (node.name.clone(), fit))
    });
    let mut fits = fits.collect();
    if alike.affect_each_other() {
        let_follow(snapshot, alike, &mut fits);
    }
    fits
}

impl NodeFit {
    fn is_plain(&self) -> bool {
        let Self { alone, beside, victims, displaces_own, unknown } = self;
        beside.is_none() && alone.is_none() && victims.is_empty() && !displaces_own && unknown.is_empty()
    }

    /// Looks at pods of others that come to the node that some pods have left: they may take the room, or be what is lacking.
    fn consider_others<'s>(&mut self, alike: &mut PodsAlike<'s>, name: &Text, leave: &[&'s Pod]) {
        if if leave.is_empty() { &self.beside } else { &self.alone }.is_none() {
            let competitors = alike.competitors(name.clone(), leave);
            self.unknown.extend(UnknownFact::of_competitors(name, competitors));
            return;
        }
        let daemonsets = alike.needed(name.clone(), leave);
        if !daemonsets.is_empty() {
            self.alone = None;
            self.beside = self.beside.take().filter(|_| !leave.is_empty());
            self.unknown.push(UnknownFact::NeededPods { node: name.clone(), daemonsets });
        }
    }
}

/// Lets the pods that affect each other come one after the other: some are refused only until others have come, others only
/// then. Which come first is not known, but how many can come hardly depends on it.
fn let_follow(snapshot: &Snapshot<'_>, mut alike: PodsAlike<'_>, fits: &mut HashMap<Text, NodeFit>) {
    let coming: BTreeMap<_, _> = snapshot.coming_nodes().into_iter().collect();
    // Of nodes with the same values of the labels that count, one is refused as the other.
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for node in snapshot.nodes.iter().rev() {
        let Some(leave) = coming.get(&node.name) else { continue };
        let refused_by = alike.refusal_after(node.name.clone(), leave).map(|blocker| blocker.plugin);
        if refused_by.is_none_or(|plugin| [Plugin::PodTopologySpread, Plugin::InterPodAffinity].contains(&plugin)) {
            let values: Vec<_> = alike.topology_keys().map(|key| node.labels.get_text(key).cloned()).collect();
            groups.entry(values).or_default().push((&node.name, leave));
        } else if fits.get(&node.name).is_none_or(|fit| fit.alone.is_none()) {
            alike.count_on(&node.name, leave);
        }
    }
    let mut has_come = true;
    while mem::take(&mut has_come) {
        for group in groups.values_mut() {
            while let Some((node, leave)) =
                group.pop_if(|(node, leave)| alike.refusal_after((*node).clone(), leave).is_none())
            {
                alike.count_on(node, leave);
                if let Some(fit) = fits.get_mut(node) {
                    (fit.alone, fit.beside) = (None, None);
                }
                has_come = true;
            }
        }
    }
    for (node, leave) in groups.into_values().flatten() {
        if let Some((blocker, fit)) = alike.refusal_after(node.clone(), leave).zip(fits.get_mut(node)) {
            fit.alone = fit.alone.take().or_else(|| Some(StuckCause::unschedulable(&blocker, &[])));
            fit.beside = fit.beside.take().or_else(|| fit.alone.clone());
        }
    }
}

/// Asks the scheduler about a node that some pods have left. A pod that takes the place of others starts. When pods are gone
/// whose deletion has begun is not known: they count, but if they are all that is in the way, that is said.
fn refusal(alike: &mut PodsAlike<'_>, node: &Text, left: &[&Pod], going: &[&Pod]) -> (Option<StuckCause>, Vec<Key>) {
    let Some(blocker) = alike.refusal_after(node.clone(), left) else { return (None, Vec::new()) };
    let victims =
        if blocker.plugin == Plugin::SchedulingGates { Vec::new() } else { alike.on(node.clone()).preempts().to_vec() };
    if !victims.is_empty() {
        return (None, victims);
    }
    let all: Vec<_> = left.iter().chain(going).copied().collect();
    let waits_for = if alike.refusal_after(node.clone(), &all).is_none() { going } else { &[] };
    (Some(StuckCause::unschedulable(&blocker, waits_for)), victims)
}

impl StuckCause {
    fn unschedulable(blocker: &SchedulingBlocker, waits_for: &[&Pod]) -> Self {
        let mut explanation: Vec<_> = blocker.causes.iter().map(Cause::explain).collect();
        if !waits_for.is_empty() {
            let mut pods: Vec<_> = waits_for.iter().map(|pod| pod.key().to_string()).collect();
            pods.sort_unstable();
            explanation.push(format!("it fits once {} is gone, whose deletion has begun", pods.join(" and ")));
        }
        Self::Unschedulable { reasons: blocker.reasons(), explanation: explanation.join("; ") }
    }
}
