//! What the scheduler would say about the new pods of a rollout, node by node.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    mem,
};

use indexmap::IndexSet;

use crate::{
    adoption::claim::claim_pod,
    forecast::StuckCause,
    model::{Key, Pod, Resource, Text},
    planner::Snapshot,
    scheduling::{
        Cause, ClusterState, Competitor, Displacement, Plugin, PodsAlike, SchedulingBlocker, UnknownFact, is_unbound,
    },
    selector::PerNode,
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
    /// Whether others would take the place of a pod of the DaemonSet.
    pub(super) threat: Option<UnknownFact>,
    /// Whether others take the place of its pods for certain.
    pub(super) loses_place: bool,
}

/// Asks about pods like `new`. Nodes on which they fit for sure are left out.
pub(super) fn node_fits(
    snapshot: &Snapshot<'_>,
    state: &ClusterState<'_>,
    new: PerNode<&Pod>,
) -> HashMap<Text, NodeFit> {
    let rules = snapshot.placement_rules();
    let mut own = HashMap::<&Text, Vec<&Pod>>::new();
    for pod in snapshot.pods.iter().filter(|pod| claim_pod(snapshot.daemonset, pod).is_claimed()) {
        own.entry(pod.node.name().unwrap_or(&pod.name)).or_default().push(pod);
    }
    let own_keys: HashSet<Key> = own.values().flatten().map(|pod| pod.key()).collect();
    let surges = snapshot.daemonset.update_strategy.surges();
    // Only some answers need it.
    let mut coming = None;
    let mut alike = state.pods_like(new);
    let wanted = snapshot.nodes.iter().filter(|node| rules.verdict(node).should_run());
    let fits = wanted.filter_map(|node| {
        let own = own.get(&node.name).map(Vec::as_slice).unwrap_or_default();
        // A new pod does not come beside one that waits.
        let waiting: Vec<_> = own.iter().copied().filter(|pod| is_unbound(pod)).collect();
        let (beside, of_beside) = refusal(&mut alike, &node.name, &waiting);
        let (alone, of_alone) =
            if own.is_empty() { (beside.clone(), of_beside.clone()) } else { refusal(&mut alike, &node.name, own) };
        let (displaced, of_beside): (Vec<_>, Vec<_>) =
            of_beside.into_iter().partition(|victim| own_keys.contains(victim));
        let victims = if surges { of_beside } else { of_alone };
        let (displaces_own, mut unknown) = (!displaced.is_empty(), alike.unknown_on(&node.name));
        unknown.retain(|fact| !own.iter().any(|pod| fact.is_disproved_by(pod)));
        let is_replaced = || !surges && coming.get_or_insert_with(|| snapshot.coming_nodes()).contains_key(&node.name);
        let displaced = if alone.is_none() { alike.displaced(&node.name, own, is_replaced) } else { None };
        if let Some(Displacement { by, blockers, takes_running: loses_place }) = displaced {
            let cause = Some(StuckCause::unschedulable(&blockers).once_there(&by));
            let fit = NodeFit { alone: cause.clone(), beside: cause, unknown, loses_place, ..NodeFit::default() };
            return Some((node.name.clone(), fit));
        }
        let staying: Vec<_> = own.iter().copied().filter(|pod| !pod.is_being_deleted()).collect();
        let by = alike.preempting(node.name.clone(), &staying);
        let threat = (!by.is_empty()).then(|| UnknownFact::Preemption { node: node.name.clone(), by });
        let mut fit = NodeFit { alone, beside, victims, displaces_own, unknown, threat, loses_place: false };
        fit.consider_others(&mut alike, &node.name, if surges { &waiting } else { own });
        (!fit.is_plain()).then(|| (node.name.clone(), fit))
    });
    let mut fits = fits.collect();
    if alike.affect_each_other() {
        let_follow(snapshot, alike, &coming.unwrap_or_else(|| snapshot.coming_nodes()), &own, &mut fits);
    }
    fits
}

/// Asks about a pod that waits, as it is.
pub(super) fn waiting_fit<'s>(alike: &mut PodsAlike<'s>, pod: &'s Pod, node: &Text) -> NodeFit {
    let (refusal, victims) = refusal(alike, node, &[pod]);
    let unknown = alike.unknown_on(node);
    let mut fit = NodeFit { alone: refusal, victims, unknown, ..NodeFit::default() };
    fit.consider_others(alike, node, &[pod]);
    // It is asked about beside those that are there.
    fit.beside = fit.alone.clone();
    fit
}

impl NodeFit {
    fn is_plain(&self) -> bool {
        let Self { alone, beside, victims, displaces_own, unknown, threat, loses_place } = self;
        threat.is_none()
            && beside.is_none()
            && alone.is_none()
            && victims.is_empty()
            && !displaces_own
            && !loses_place
            && unknown.is_empty()
    }

    /// Looks at pods of others that come to the node that some pods have left: they may take the room, or be what is lacking.
    fn consider_others<'s>(&mut self, alike: &mut PodsAlike<'s>, name: &Text, leave: &[&'s Pod]) {
        let waits = if leave.is_empty() { &self.beside } else { &self.alone };
        if waits.is_none() {
            let competitors = alike.competitors(name.clone(), leave);
            let is_sure = competitors.is_empty();
            self.unknown.extend(UnknownFact::of_competitors(name, competitors));
            let delaying = if is_sure { alike.delaying(name.clone(), leave) } else { Vec::new() };
            self.unknown.extend(UnknownFact::of_needed(name, delaying));
            if self.victims.is_empty() {
                self.unknown.extend(UnknownFact::of_later_victims(name, alike.preempts_later(name, leave)));
            }
            return;
        }
        if let Some(fact) = UnknownFact::of_needed(name, alike.needed(name.clone(), leave)) {
            self.alone = None;
            self.beside = self.beside.take().filter(|_| !leave.is_empty());
            self.unknown.push(fact);
        }
    }
}

/// Lets the pods that affect each other come one after the other: some are refused only until others have come, others only
/// then. Which come first is not known, but how many can come hardly depends on it.
fn let_follow<'a>(
    snapshot: &Snapshot<'a>,
    mut alike: PodsAlike<'a>,
    coming: &HashMap<Text, Vec<&'a Pod>>,
    own: &HashMap<&Text, Vec<&'a Pod>>,
    fits: &mut HashMap<Text, NodeFit>,
) {
    // During a surge the old pods stay until the new one is available.
    let surges = snapshot.daemonset.update_strategy.surges();
    // Of nodes with the same values of the labels that count, one is refused as the other.
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for node in snapshot.nodes.iter().rev() {
        let Some(leave) = coming.get(&node.name) else { continue };
        // A new pod does not come beside one that waits.
        let waiting = own.get(&node.name).into_iter().flatten().copied().filter(|pod| is_unbound(pod));
        let before: Vec<_> = if surges { &[][..] } else { leave }.iter().copied().chain(waiting).collect();
        let fit = fits.get(&node.name);
        if fit.is_some_and(|fit| fit.unknown.iter().any(|fact| matches!(fact, UnknownFact::NeededPods { .. }))) {
            alike.count_on(&node.name, leave);
            continue;
        }
        let refused_by = alike.refusal_after(node.name.clone(), &before).map(|blocker| blocker.plugin);
        if refused_by.is_none_or(Plugin::counts_pods) {
            let values: Vec<_> = alike.topology_keys().map(|key| node.labels.get_text(key).cloned()).collect();
            groups.entry(values).or_default().push((&node.name, before, leave));
        } else if fit.is_none_or(|fit| fit.alone.is_none()) {
            alike.count_on(&node.name, leave);
        }
    }
    let mut has_come = true;
    while mem::take(&mut has_come) {
        for group in groups.values_mut() {
            while let Some((node, _, leave)) =
                group.pop_if(|(node, before, _)| alike.refusal_after((*node).clone(), before).is_none())
            {
                alike.count_on(node, leave);
                if let Some(fit) = fits.get_mut(node) {
                    (fit.alone, fit.beside) = (None, None);
                }
                has_come = true;
            }
        }
    }
    for (node, before, _) in groups.into_values().flatten() {
        if let Some((blocker, fit)) = alike.refusal_after(node.clone(), &before).zip(fits.get_mut(node)) {
            if let Some(fact) = UnknownFact::of_needed(node, alike.needed(node.clone(), &before)) {
                fit.unknown.push(fact);
                continue;
            }
            fit.alone = fit.alone.take().or_else(|| Some(StuckCause::unschedulable(&[blocker])));
            fit.beside = fit.beside.take().or_else(|| fit.alone.clone());
        }
    }
}

/// Asks the scheduler about a node that some pods have left. A pod that takes the place of others starts.
fn refusal<'s>(alike: &mut PodsAlike<'s>, node: &Text, left: &[&'s Pod]) -> (Option<StuckCause>, Vec<Key>) {
    // What another scheduler decides is not known.
    let blocker = if alike.are_of_other_scheduler() { None } else { alike.refusal_after(node.clone(), left) };
    let Some(blocker) = blocker else { return (None, Vec::new()) };
    if blocker.plugin == Plugin::SchedulingGates {
        return (Some(StuckCause::unschedulable(&[blocker])), Vec::new());
    }
    let answer = alike.on_without(node.clone(), left);
    let victims = answer.preempts().to_vec();
    // Where the node is kept free for others, no plugin refuses it on its own.
    let all = if answer.blockers.is_empty() { vec![blocker] } else { answer.blockers };
    (victims.is_empty().then(|| StuckCause::unschedulable(&all)), victims)
}

impl StuckCause {
    /// Adds to the explanation after whom it is so.
    fn once_there(mut self, others: &Competitor) -> Self {
        if let Self::Unschedulable { explanation, .. } = &mut self {
            *explanation = format!("once {others} have come: {explanation}");
        }
        self
    }

    fn unschedulable(blockers: &[SchedulingBlocker]) -> Self {
        let reasons: IndexSet<_> = blockers.iter().flat_map(SchedulingBlocker::reasons).collect();
        let explanations: IndexSet<_> =
            blockers.iter().flat_map(|blocker| &blocker.causes).map(Cause::explain).collect();
        let explanation = explanations.into_iter().collect::<Vec<_>>().join("; ");
        Self::Unschedulable { reasons: reasons.into_iter().collect(), explanation }
    }
}
